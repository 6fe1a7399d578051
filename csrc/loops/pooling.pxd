# Pooling of one image (H, W, C).

from libc.stdint cimport int32_t, uint8_t
from libc.string cimport memset

from dispatch cimport fm_f32, fm_f64, real
from loops.rows cimport axpy
from loops.window cimport BYTE_PLACES, Window, image_size, places


cdef inline Py_ssize_t index_bytes(const Window *w) noexcept nogil:
    """Return the bytes of the place of a maximum."""
    return 1 if w.kernel_height * w.kernel_width <= BYTE_PLACES else sizeof(int32_t)


cdef inline void max_pool_image(
    const Window *w, const real *x, Py_ssize_t pixel, real *y, char *index
) noexcept nogil:
    """y (places, C) = the maximum of each window of x, whose pixels are `pixel` values apart.

    The first of equal values wins, and NaN wins over numbers. Unless index is NULL, it receives
    the place of each maximum in its window, counted row by row.
    """
    cdef Py_ssize_t i, q, item = index_bytes(w)
    cdef const real *at
    for i in range(w.out_height):
        for q in range(w.out_width):
            at = x + (i * w.stride_y * w.width + q * w.stride_x) * pixel
            if real is float:
                fm_f32.max_pool(w.channels, w.kernel_height, w.kernel_width, at, w.width * pixel,
                                pixel, y, index)
            else:
                fm_f64.max_pool(w.channels, w.kernel_height, w.kernel_width, at, w.width * pixel,
                                pixel, y, index)
            y += w.channels
            if index != NULL:
                index += w.channels * item


cdef inline void max_pool_image_backward(
    const Window *w, const real *dy, const char *index, real *dx
) noexcept nogil:
    """dx (H, W, C) = dy (places, C), each added at the place of its maximum."""
    cdef const uint8_t *bytes = <const uint8_t *>index
    cdef const int32_t *wide = <const int32_t *>index
    cdef bint narrow = index_bytes(w) == 1
    cdef Py_ssize_t offset[BYTE_PLACES]
    cdef Py_ssize_t i, q, c, place
    cdef real *at
    memset(dx, 0, image_size(w) * sizeof(real))
    if narrow:
        for i in range(w.kernel_height):
            for q in range(w.kernel_width):
                offset[i * w.kernel_width + q] = (i * w.width + q) * w.channels
    for i in range(w.out_height):
        for q in range(w.out_width):
            at = dx + (i * w.stride_y * w.width + q * w.stride_x) * w.channels
            if narrow:
                for c in range(w.channels):
                    at[offset[bytes[c]] + c] += dy[c]
                bytes += w.channels
            else:
                for c in range(w.channels):
                    place = wide[c]
                    place = place // w.kernel_width * w.width + place % w.kernel_width
                    at[place * w.channels + c] += dy[c]
                wide += w.channels
            dy += w.channels


cdef inline void average_pool_image(const Window *w, const real *x, real *y) noexcept nogil:
    """y (places, C) = the mean of each window."""
    cdef Py_ssize_t i, q, r, s
    cdef real scale = <real>1 / <real>(w.kernel_height * w.kernel_width)
    memset(y, 0, places(w) * w.channels * sizeof(real))
    for i in range(w.out_height):
        for q in range(w.out_width):
            for r in range(w.kernel_height):
                for s in range(w.kernel_width):
                    axpy(w.channels, scale, x + ((i * w.stride_y + r) * w.width
                                                 + q * w.stride_x + s) * w.channels, y)
            y += w.channels


cdef inline void average_pool_image_backward(
    const Window *w, const real *dy, real *dx
) noexcept nogil:
    """dx (H, W, C) = dy (places, C), each spread evenly over its window."""
    cdef Py_ssize_t i, q, r, s
    cdef real scale = <real>1 / <real>(w.kernel_height * w.kernel_width)
    memset(dx, 0, image_size(w) * sizeof(real))
    for i in range(w.out_height):
        for q in range(w.out_width):
            for r in range(w.kernel_height):
                for s in range(w.kernel_width):
                    axpy(w.channels, scale, dy, dx + ((i * w.stride_y + r) * w.width
                                                      + q * w.stride_x + s) * w.channels)
            dy += w.channels
