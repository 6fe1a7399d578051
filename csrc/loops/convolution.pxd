# Convolution of one image: the outputs, the gradient of the input and the gradient of the filters.
#
# Images are (H, W, C), filters (kh, kw, C, F). With `taps` = kw * C:
#
#   outputs    A row of a filter covers `taps` neighbouring values of the image. The tile reads the
#              image itself, row by row of the filter. Only an image with a border is copied.
#              Filters are in panels, like the weight (kh * taps, F) of a dense layer.
#   gradients  Behind a relu or a max-pool most of the gradient dz of the outputs is zero. The
#              nonzeros are listed, by pixel and by filter. Each nonzero adds a multiple of a filter
#              to the gradient of the input, and a multiple of a patch of the input to the gradient
#              of the filter. Both are kh rows of `taps` contiguous values, which stay in registers
#              while a list is read.
#
# For gradients the filters are transposed, (F, kh, segment). A segment has `taps` values, and zeros
# up to a whole vector.

from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memcpy, memset

from dispatch cimport FM_MAX_SPARSE, FM_STORE_SET, fm_f32, fm_f64, real
from loops.column cimport column
from loops.matmul cimport lanes_of, pack_panel, store_sums
from loops.window cimport BYTE_PLACES, Window, is_padded, padded_row, padded_size, places


cdef inline Py_ssize_t segment_of(const Window *w, Py_ssize_t lanes) noexcept nogil:
    """Return the values of a row of a filter, in whole vectors."""
    return (w.kernel_width * w.channels + lanes - 1) // lanes * lanes


cdef inline Py_ssize_t patch_of(const Window *w, Py_ssize_t lanes) noexcept nogil:
    """Return the values of a transposed filter."""
    return w.kernel_height * segment_of(w, lanes)


cdef inline Py_ssize_t border_of(const Window *w, Py_ssize_t lanes) noexcept nogil:
    """Return the values of an image with its border and room to read whole vectors at its end."""
    return padded_size(w) + segment_of(w, lanes) + 2 * lanes


cdef inline const real *bordered(
    const Window *w, const real *x, bint copied, real *to
) noexcept nogil:
    """Return the image with its border: a copy in `to` if it has a border or `copied` is set."""
    cdef Py_ssize_t row = padded_row(w), count = w.width * w.channels, i
    if not (copied or is_padded(w)):
        return x
    memset(to, 0, border_of(w, lanes_of(x)) * sizeof(real))
    for i in range(w.height):
        memcpy(to + (w.pad_top + i) * row + w.pad_left * w.channels, x + i * count,
               count * sizeof(real))
    return to


cdef inline void without_border(const Window *w, const real *padded, real *x) noexcept nogil:
    cdef Py_ssize_t row = padded_row(w), count = w.width * w.channels, i
    for i in range(w.height):
        memcpy(x + i * count, padded + (w.pad_top + i) * row + w.pad_left * w.channels,
               count * sizeof(real))


# --- Outputs ------------------------------------------------------------------------------------


cdef inline void convolve(
    const Window *w, Py_ssize_t filters, const real *x, const real *panels, const real *bias,
    real *z, Py_ssize_t z_pixel, int store,
) noexcept nogil:
    """z (places, F), pixels z_pixel apart, = x with its border, convolved, plus bias.

    Whole vectors are written, for which z_pixel must have room.
    """
    cdef Py_ssize_t lanes = lanes_of(x)
    cdef Py_ssize_t width = 2 * lanes
    cdef Py_ssize_t taps = w.kernel_width * w.channels
    cdef Py_ssize_t row = padded_row(w)
    cdef Py_ssize_t p, i
    for p in range((filters + width - 1) // width):
        for i in range(w.out_height):
            column(False, 1 if filters - p * width <= lanes else 2, w.out_width, w.kernel_height,
                   taps, x + i * w.stride_y * row, w.stride_x * w.channels, 1, row,
                   panels + p * w.kernel_height * taps * width, width,
                   bias + p * width if bias != NULL else NULL, 0,
                   z + i * w.out_width * z_pixel + p * width, z_pixel, <real>1, store)


# --- Gradients ----------------------------------------------------------------------------------


# The nonzeros of a gradient dz (places, F), by pixel and by filter.
cdef struct Lists:
    Py_ssize_t pixels       # number of pixels with nonzeros
    int32_t *first          # (pixels + 1,) start of the list of each pixel
    int32_t *at             # (pixels,) start of the pixel's patch in the image with border
    int32_t *filter         # filters in the lists of all pixels,
    void *by_pixel          # and their values
    int32_t *count          # (F,) length of the list of each filter
    int32_t *pixel          # (F, places) starts of the patches in the lists of the filters,
    void *by_filter         # and their values
    int32_t *filter_here    # (F,) filters with a nonzero at one place of a pool,
    void *here              # and their values


cdef inline Py_ssize_t lists_size(Py_ssize_t pixels, Py_ssize_t filters) noexcept nogil:
    """Return the elements of memory for Lists, in either dtype."""
    return 4 * pixels * filters + 2 * pixels + 3 * filters + 1


cdef inline Lists lists_in(real *memory, Py_ssize_t pixels, Py_ssize_t filters) noexcept nogil:
    cdef Lists l
    cdef Py_ssize_t n = pixels * filters
    l.pixels = 0
    l.by_pixel = memory
    l.by_filter = memory + n
    l.here = memory + 2 * n
    l.filter = <int32_t *>(memory + 2 * n + filters)
    l.pixel = l.filter + n
    l.filter_here = l.pixel + n
    l.first = l.filter_here + filters
    l.at = l.first + pixels + 1
    l.count = l.at + pixels
    return l


cdef inline Py_ssize_t nonzero(
    Py_ssize_t n, const real *x, real *values, int32_t *index
) noexcept nogil:
    if real is float:
        return fm_f32.nonzero(n, x, values, index)
    else:
        return fm_f64.nonzero(n, x, values, index)


cdef inline void list_gradient(
    const Window *w, Py_ssize_t filters, const real *dz, Lists *l
) noexcept nogil:
    """Fill the lists from dz (places, F)."""
    cdef Py_ssize_t pixels = places(w), row = padded_row(w), i, q, n, f
    cdef int32_t begin = 0, at, j, end
    cdef real *values = <real *>l.by_pixel
    cdef real *sorted_values = <real *>l.by_filter
    memset(l.count, 0, filters * sizeof(int32_t))
    l.pixels = 0
    for i in range(w.out_height):
        for q in range(w.out_width):
            end = begin + <int32_t>nonzero(filters, dz, values + begin, l.filter + begin)
            dz += filters
            at = <int32_t>(i * w.stride_y * row + q * w.stride_x * w.channels)
            l.first[l.pixels] = begin
            l.at[l.pixels] = at
            l.pixels += end > begin
            for j in range(begin, end):
                f = l.filter[j]
                n = f * pixels + l.count[f]
                sorted_values[n] = values[j]
                l.pixel[n] = at
                l.count[f] += 1
            begin = end
    l.first[l.pixels] = begin


cdef inline bint is_separate(const Window *pool) noexcept nogil:
    """Return whether windows of the pool do not overlap and places in them are bytes."""
    return (pool.stride_y >= pool.kernel_height and pool.stride_x >= pool.kernel_width
            and pool.kernel_height * pool.kernel_width <= BYTE_PLACES)


cdef inline void list_pooled(
    const Window *w, const Window *pool, const real *dy, const uint8_t *index, bint both, Lists *l
) noexcept nogil:
    """Fill the lists from the gradient dy (places of the pool, F) after a separate max-pool.

    index (places of the pool, F) is the place of each maximum in its window. The lists by pixel
    are filled only if `both`.
    """
    cdef Py_ssize_t filters = pool.channels, pixels = places(w), row = padded_row(w)
    cdef Py_ssize_t i, q, n, f, origin, place, window = pool.kernel_height * pool.kernel_width
    # For each place of the window: the number of values, then the position of the next one.
    cdef int32_t here[BYTE_PLACES]
    cdef int32_t at[BYTE_PLACES]
    cdef int32_t begin = 0, j, count
    cdef real *values = <real *>l.here
    cdef real *by_pixel = <real *>l.by_pixel
    cdef real *by_filter = <real *>l.by_filter
    memset(l.count, 0, filters * sizeof(int32_t))
    l.pixels = 0
    for i in range(pool.out_height):
        for q in range(pool.out_width):
            count = <int32_t>nonzero(filters, dy, values, l.filter_here)
            origin = (i * pool.stride_y * w.stride_y * row
                      + q * pool.stride_x * w.stride_x * w.channels)
            for place in range(window):
                at[place] = <int32_t>(origin + place // pool.kernel_width * w.stride_y * row
                                      + place % pool.kernel_width * w.stride_x * w.channels)
            for j in range(count):
                f = l.filter_here[j]
                n = f * pixels + l.count[f]
                by_filter[n] = values[j]
                l.pixel[n] = at[index[f]]
                l.count[f] += 1
            if both:
                memset(here, 0, window * sizeof(int32_t))
                for j in range(count):
                    here[index[l.filter_here[j]]] += 1
                for place in range(window):
                    n = here[place]
                    l.first[l.pixels] = begin
                    l.at[l.pixels] = at[place]
                    l.pixels += n > 0
                    here[place] = begin
                    begin += <int32_t>n
                for j in range(count):
                    f = l.filter_here[j]
                    n = here[index[f]]
                    here[index[f]] = <int32_t>n + 1
                    l.filter[n] = <int32_t>f
                    by_pixel[n] = values[j]
            dy += filters
            index += filters
    l.first[l.pixels] = begin


# The pieces of a filter whose sums stay in registers.
cdef struct Cut:
    Py_ssize_t segments     # rows of the filter in a piece
    Py_ssize_t vectors      # vectors of each row


cdef inline Cut cut_filter(Py_ssize_t rows, Py_ssize_t vectors) noexcept nogil:
    cdef Cut c
    cdef Py_ssize_t pieces
    if vectors > FM_MAX_SPARSE:
        pieces = (vectors + FM_MAX_SPARSE - 1) // FM_MAX_SPARSE
        c.segments = 1
        c.vectors = (vectors + pieces - 1) // pieces
        return c
    c.vectors = vectors
    pieces = (rows * vectors + FM_MAX_SPARSE - 1) // FM_MAX_SPARSE
    pieces = max(pieces, (rows + FM_MAX_SPARSE // vectors - 1) // (FM_MAX_SPARSE // vectors))
    c.segments = (rows + pieces - 1) // pieces
    return c


cdef inline void sparse_rows(
    Py_ssize_t segments, Py_ssize_t vectors, Py_ssize_t count, const real *values,
    const int32_t *index, Py_ssize_t step, const real *rows, Py_ssize_t block, real *c,
    Py_ssize_t c_block,
) noexcept nogil:
    if real is float:
        fm_f32.sparse_rows[segments][vectors](count, values, index, step, rows, block, c, c_block)
    else:
        fm_f64.sparse_rows[segments][vectors](count, values, index, step, rows, block, c, c_block)


cdef inline void input_gradient(
    const Window *w, const Lists *l, const real *transposed, Py_ssize_t apart, real *dx
) noexcept nogil:
    """dx with its border, border_of(w) values, = the filters, `apart` values apart, times dz."""
    cdef Py_ssize_t lanes = lanes_of(dx)
    cdef Py_ssize_t segment = segment_of(w, lanes)
    cdef Py_ssize_t row = padded_row(w), s = 0, v, i, segments, vectors
    cdef Cut c = cut_filter(w.kernel_height, segment // lanes)
    cdef int32_t first
    cdef const real *values = <const real *>l.by_pixel
    if c.vectors * lanes > row:
        c.segments = 1  # the vectors of a row would overlap the next row
    memset(dx, 0, border_of(w, lanes) * sizeof(real))
    # One piece of all filters stays in L1 while the pixels pass.
    while s < w.kernel_height:
        segments = min(c.segments, w.kernel_height - s)
        v = 0
        while v < segment:
            vectors = min(c.vectors, (segment - v) // lanes)
            for i in range(l.pixels):
                first = l.first[i]
                sparse_rows(segments, vectors, l.first[i + 1] - first, values + first,
                            l.filter + first, apart, transposed + s * segment + v, segment,
                            dx + l.at[i] + s * row + v, row)
            v += vectors * lanes
        s += segments


cdef inline void filter_gradient(
    const Window *w, Py_ssize_t filters, const Lists *l, const real *x, real *dw, real *db
) noexcept nogil:
    """dw (F, kh, segment) += x with its border, times dz; db (F,) += sums of dz."""
    cdef Py_ssize_t lanes = lanes_of(x)
    cdef Py_ssize_t segment = segment_of(w, lanes), patch = patch_of(w, lanes)
    cdef Py_ssize_t row = padded_row(w), pixels = places(w), s = 0, v, f, segments, vectors
    cdef Cut c = cut_filter(w.kernel_height, segment // lanes)
    cdef const real *values = <const real *>l.by_filter
    cdef int32_t j
    cdef double total
    while s < w.kernel_height:
        segments = min(c.segments, w.kernel_height - s)
        v = 0
        while v < segment:
            vectors = min(c.vectors, (segment - v) // lanes)
            for f in range(filters):
                if l.count[f]:
                    sparse_rows(segments, vectors, l.count[f], values + f * pixels,
                                l.pixel + f * pixels, 1, x + s * row + v, row,
                                dw + f * patch + s * segment + v, segment)
            v += vectors * lanes
        s += segments
    for f in range(filters):
        total = 0
        for j in range(l.count[f]):
            total += values[f * pixels + j]
        db[f] += <real>total


cdef inline void transpose_filters(
    const Window *w, Py_ssize_t filters, Py_ssize_t first, Py_ssize_t end, const real *panels,
    real *transposed, Py_ssize_t apart,
) noexcept nogil:
    """Write panels first .. end of the filters transposed, without the zeros of segments."""
    cdef Py_ssize_t lanes = lanes_of(panels)
    cdef Py_ssize_t width = 2 * lanes
    cdef Py_ssize_t taps = w.kernel_width * w.channels
    cdef Py_ssize_t segment = segment_of(w, lanes), p, s, count
    for p in range(first, end):
        count = min(width, filters - p * width)
        for s in range(w.kernel_height):
            store_sums(taps, count, panels + (p * w.kernel_height + s) * taps * width, width,
                       transposed + p * width * apart + s * segment, 1, apart, <real>1,
                       FM_STORE_SET)


cdef inline void gather_filters(
    const Window *w, Py_ssize_t filters, Py_ssize_t p, Py_ssize_t s, Py_ssize_t first,
    Py_ssize_t rows, const real *parts, Py_ssize_t part, Py_ssize_t count, real *scratch, real *g,
) noexcept nogil:
    """g (rows, width) = taps first .. first + rows of row s of the filters of panel p.

    The result is the sum over `count` parts (F, kh, segment), `part` values apart, in order. The
    scratch has width x rows values.
    """
    cdef Py_ssize_t lanes = lanes_of(g)
    cdef Py_ssize_t width = 2 * lanes
    cdef Py_ssize_t patch = patch_of(w, lanes)
    cdef Py_ssize_t here = min(width, filters - p * width)
    cdef Py_ssize_t f, c
    cdef const real *source
    for f in range(here):
        source = parts + (p * width + f) * patch + s * segment_of(w, lanes) + first
        memcpy(scratch + f * rows, source, rows * sizeof(real))
        for c in range(1, count):
            if real is float:
                fm_f32.add(rows, scratch + f * rows, source + c * part, scratch + f * rows)
            else:
                fm_f64.add(rows, scratch + f * rows, source + c * part, scratch + f * rows)
    pack_panel(True, rows, here, width, scratch, rows, g)
