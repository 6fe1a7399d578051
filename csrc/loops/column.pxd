# Rows against one panel: the product that plans use.

from dispatch cimport fm_column_f32, fm_column_f64, fm_f32, fm_f64, real
from loops.matmul cimport pack_columns, tile_rows_of


cdef inline void column(
    bint update, int vectors, Py_ssize_t rows, Py_ssize_t blocks, Py_ssize_t k,
    const real *a, Py_ssize_t a_row, Py_ssize_t a_col, Py_ssize_t a_block,
    const real *b, Py_ssize_t b_row, const real *init, Py_ssize_t init_row,
    real *c, Py_ssize_t c_row, real alpha, int store, bint packed=False,
) noexcept nogil:
    """Compute rows of c from one panel of b, in tiles of nearly equal height (fm_tile.body.h).

    If `packed`, a comes from pack_tiles, tile by tile, and a_row is 1.
    """
    cdef Py_ssize_t limit = tile_rows_of(b, 2 if packed else vectors)
    cdef Py_ssize_t tiles = (rows + limit - 1) // limit
    cdef Py_ssize_t here, longer, _
    cdef fm_column_f32 f
    cdef fm_column_f64 d
    if rows <= 0:
        return
    here = rows // tiles + 1
    longer = rows % tiles
    if real is float:
        f.blocks = blocks
        f.k_count = k
        f.a = a
        f.a_row = a_row
        f.a_block = a_block
        f.b = b
        f.b_row = b_row
        f.init = init
        f.init_row = init_row
        f.c = c
        f.c_row = c_row
        f.alpha = alpha
        f.store = store
        f.tiles = longer
        for _ in range(2):
            f.a_col = here if packed else a_col
            f.a_tile = here * (k if packed else a_row)
            if f.tiles:
                if update:
                    fm_f32.update_column[vectors][here](&f)
                else:
                    fm_f32.column[vectors][here](&f)
                f.a += f.tiles * f.a_tile
                f.c += f.tiles * here * c_row
                if init != NULL:
                    f.init += f.tiles * here * init_row
            here -= 1
            f.tiles = tiles - longer
    else:
        d.blocks = blocks
        d.k_count = k
        d.a = a
        d.a_row = a_row
        d.a_block = a_block
        d.b = b
        d.b_row = b_row
        d.init = init
        d.init_row = init_row
        d.c = c
        d.c_row = c_row
        d.alpha = alpha
        d.store = store
        d.tiles = longer
        for _ in range(2):
            d.a_col = here if packed else a_col
            d.a_tile = here * (k if packed else a_row)
            if d.tiles:
                if update:
                    fm_f64.update_column[vectors][here](&d)
                else:
                    fm_f64.column[vectors][here](&d)
                d.a += d.tiles * d.a_tile
                d.c += d.tiles * here * c_row
                if init != NULL:
                    d.init += d.tiles * here * init_row
            here -= 1
            d.tiles = tiles - longer


cdef inline void pack_tiles(
    Py_ssize_t rows, Py_ssize_t k, const real *a, Py_ssize_t a_col, real *to
) noexcept nogil:
    """Copy `rows` neighbours of each of k rows of a, in the tiles that `column` uses."""
    cdef Py_ssize_t limit = tile_rows_of(a, 2)
    cdef Py_ssize_t tiles = (rows + limit - 1) // limit
    cdef Py_ssize_t t, here
    for t in range(tiles):
        here = rows // tiles + (t < rows % tiles)
        pack_columns(k, here, a, a_col, to)
        a += here
        to += here * k
