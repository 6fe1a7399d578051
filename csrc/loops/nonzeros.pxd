# Products that leave out zeros, with the lists of csrc/simd/fm_nonzeros.body.h.

from libc.stdint cimport int32_t

from dispatch cimport (
    FM_LIST_ROWS, FM_STORE_ADD, fm_f32, fm_f64, fm_listed_f32, fm_listed_f64, real,
)
from loops.matmul cimport even_block

cdef enum:
    LIST_BLOCK = 256


cdef inline Py_ssize_t list_size(Py_ssize_t most, const real *tag) noexcept nogil:
    """Return the values of a list with room for `most` columns, in whole cache lines."""
    cdef Py_ssize_t line = 64 // <Py_ssize_t>sizeof(real)
    cdef Py_ssize_t size = FM_LIST_ROWS * most
    size += ((most + 1) * 4 + <Py_ssize_t>sizeof(real) - 1) // <Py_ssize_t>sizeof(real)
    return (size + line - 1) // line * line


cdef inline Py_ssize_t list_block(Py_ssize_t inputs) noexcept nogil:
    """Return the inputs per list of samples; their weights stay in L1."""
    return even_block(inputs, LIST_BLOCK)


cdef inline Py_ssize_t sample_lists_size(Py_ssize_t inputs, const real *tag) noexcept nogil:
    """Return the values of the lists of a tile of samples, one list per block of inputs."""
    cdef Py_ssize_t block = list_block(inputs)
    return (inputs + block - 1) // block * list_size(block, tag)


cdef inline void make_lists(
    bint across, Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t x_row, Py_ssize_t step,
    real *lists, Py_ssize_t list_step,
) noexcept nogil:
    """Make the lists of x (rows, n), or of the transpose of x (n, rows) if `across`.

    Column k belongs to the row of the other operand at step * k.
    """
    cdef Py_ssize_t r = 0, here
    while r < rows:
        here = min(rows - r, <Py_ssize_t>FM_LIST_ROWS)
        if real is float:
            if across:
                fm_f32.list_columns(here, n, x + r, x_row, <int32_t>step, lists)
            else:
                fm_f32.list_rows(here, n, x + r * x_row, x_row, <int32_t>step, lists)
        else:
            if across:
                fm_f64.list_columns(here, n, x + r, x_row, <int32_t>step, lists)
            else:
                fm_f64.list_rows(here, n, x + r * x_row, x_row, <int32_t>step, lists)
        lists += list_step
        r += FM_LIST_ROWS


cdef inline void listed_column(
    int vectors, Py_ssize_t rows, Py_ssize_t most, const real *lists, Py_ssize_t list_step,
    const real *b, const real *init, Py_ssize_t init_row, real *c, Py_ssize_t c_row, real alpha,
    int store,
) noexcept nogil:
    """Rows of c = the listed operand times one panel of b, stored as enum fm_store says.

    init may be NULL; its rows are init_row apart (0: one row for all). alpha is the factor of
    FM_STORE_ADD.
    """
    cdef fm_listed_f32 f
    cdef fm_listed_f64 d
    if real is float:
        f.rows, f.most, f.lists, f.list_step = rows, most, lists, list_step
        f.b, f.init, f.init_row, f.c, f.c_row = b, init, init_row, c, c_row
        f.alpha, f.store = alpha, store
        fm_f32.listed_column[vectors](&f)
    else:
        d.rows, d.most, d.lists, d.list_step = rows, most, lists, list_step
        d.b, d.init, d.init_row, d.c, d.c_row = b, init, init_row, c, c_row
        d.alpha, d.store = alpha, store
        fm_f64.listed_column[vectors](&d)


cdef inline void add_listed(
    Py_ssize_t rows, Py_ssize_t most, const real *lists, Py_ssize_t list_step, Py_ssize_t columns,
    const real *b, real *c, Py_ssize_t c_panel, real alpha,
) noexcept nogil:
    """Rows of c, in panels c_panel values apart, += alpha * the listed operand times b."""
    cdef Py_ssize_t width, panels, here, r = 0
    cdef fm_listed_f32 f
    cdef fm_listed_f64 d
    if real is float:
        width = 2 * fm_f32.lanes
        f.most, f.b, f.init, f.c_row, f.alpha, f.store = most, b, NULL, width, alpha, FM_STORE_ADD
    else:
        width = 2 * fm_f64.lanes
        d.most, d.b, d.init, d.c_row, d.alpha, d.store = most, b, NULL, width, alpha, FM_STORE_ADD
    # The strip leaves out a last panel of one vector.
    panels = (columns + width // 2 - 1) // width
    while r < rows:
        here = min(rows - r, <Py_ssize_t>FM_LIST_ROWS)
        if real is float:
            f.rows, f.lists, f.c = here, lists, c + r * width
            fm_f32.listed_strip(&f, panels, c_panel)
        else:
            d.rows, d.lists, d.c = here, lists, c + r * width
            fm_f64.listed_strip(&d, panels, c_panel)
        if panels * width < columns:
            listed_column(1, here, most, lists, list_step, b + panels * width, <const real *>NULL,
                          0, c + panels * c_panel + r * width, width, alpha, FM_STORE_ADD)
        lists += list_step
        r += FM_LIST_ROWS


ctypedef fused sample:
    unsigned char
    float
    double


cdef inline Py_ssize_t any_nonzero(
    Py_ssize_t n, const sample *x, const Py_ssize_t *first
) noexcept nogil:
    """Return how many of n columns have a nonzero in FM_LIST_ROWS rows; row i is at first[i]."""
    cdef Py_ssize_t k, count = 0
    cdef const sample *a = x + first[0]
    cdef const sample *b = x + first[1]
    cdef const sample *c = x + first[2]
    cdef const sample *d = x + first[3]
    for k in range(n):
        count += (a[k] != 0) | (b[k] != 0) | (c[k] != 0) | (d[k] != 0)
    return count
