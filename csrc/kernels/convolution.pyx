"""Convolution and pooling of batches of images (C-contiguous arrays of checked sizes)."""

from libc.stdint cimport int32_t, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from dispatch cimport FM_STORE_RELU, FM_STORE_SET, import_tables, real
from kernels.overlap cimport refuse_overlap
from loops.convolution cimport (
    Lists, border_of, bordered, convolve, filter_gradient, input_gradient, list_gradient, lists_in,
    lists_size, patch_of, segment_of, without_border,
)
from loops.matmul cimport aligned, lanes_of, pack_panel, store_sums
from loops.pooling cimport (
    average_pool_image, average_pool_image_backward, max_pool_image, max_pool_image_backward,
)
from loops.window cimport Window, image_size, places

import_tables()

ctypedef fused place:
    uint8_t
    int32_t


cdef Window window_of(
    Py_ssize_t height, Py_ssize_t width, Py_ssize_t channels, Py_ssize_t kernel_height,
    Py_ssize_t kernel_width, Py_ssize_t out_height, Py_ssize_t out_width, Py_ssize_t sy,
    Py_ssize_t sx, Py_ssize_t top=0, Py_ssize_t left=0,
) noexcept:
    cdef Window w
    w.height, w.width, w.channels = height, width, channels
    w.kernel_height, w.kernel_width = kernel_height, kernel_width
    w.stride_y, w.stride_x = sy, sx
    w.pad_top, w.pad_left = top, left
    w.pad_bottom = max(<Py_ssize_t>0, (out_height - 1) * sy + kernel_height - height - top)
    w.pad_right = max(<Py_ssize_t>0, (out_width - 1) * sx + kernel_width - width - left)
    w.out_height, w.out_width = out_height, out_width
    return w


cdef int refuse(const real *x, Py_ssize_t n, const real *out, Py_ssize_t count) except -1:
    """Raise ValueError if n values at x and `count` values at out overlap."""
    return refuse_overlap(x, n * sizeof(real), out, count * sizeof(real), False)


cdef void *memory_for(Py_ssize_t elements, size_t size) except NULL:
    cdef void *memory = malloc(elements * size + 128)
    if memory == NULL:
        raise MemoryError
    return memory


def conv2d(
    const real[:, :, :, ::1] x not None, const real[:, :, :, ::1] w not None, const real[::1] b,
    real[:, :, :, ::1] y not None, Py_ssize_t sy, Py_ssize_t sx, Py_ssize_t top, Py_ssize_t left,
    bint relu,
):
    """y (N, OH, OW, F) = x (N, H, W, C) convolved with w (kh, kw, C, F), plus b; then relu."""
    cdef Window window = window_of(x.shape[1], x.shape[2], x.shape[3], w.shape[0], w.shape[1],
                                   y.shape[1], y.shape[2], sy, sx, top, left)
    cdef Py_ssize_t filters = w.shape[3], pixels = places(&window), n, p, j
    cdef Py_ssize_t lanes, width, wide, taps = w.shape[0] * w.shape[1] * w.shape[2]
    cdef real *panels
    cdef real *bias
    cdef real *sums
    cdef real *border
    cdef const real *image
    cdef void *memory
    if y.shape[0] * pixels * filters == 0:
        return
    refuse(&x[0, 0, 0, 0], x.shape[0] * image_size(&window),
           &y[0, 0, 0, 0], y.shape[0] * pixels * filters)
    refuse(&w[0, 0, 0, 0], taps * filters, &y[0, 0, 0, 0], y.shape[0] * pixels * filters)
    lanes = lanes_of(&y[0, 0, 0, 0])
    width = 2 * lanes
    wide = (filters + width - 1) // width * width
    memory = memory_for(wide * (taps + 1 + pixels) + border_of(&window, lanes), sizeof(real))
    panels = <real *>aligned(memory)
    bias = panels + wide * taps
    sums = bias + wide
    border = sums + wide * pixels
    memset(bias, 0, wide * sizeof(real))
    if b is not None:
        memcpy(bias, &b[0], filters * sizeof(real))
    with nogil:
        for p in range(wide // width):
            pack_panel(False, taps, min(width, filters - p * width), width,
                       &w[0, 0, 0, 0] + p * width, filters, panels + p * taps * width)
        for n in range(x.shape[0]):
            image = bordered(&window, &x[n, 0, 0, 0], False, border)
            convolve(&window, filters, image, <const real *>panels, <const real *>bias, sums, wide,
                     FM_STORE_RELU if relu else FM_STORE_SET)
            for j in range(pixels):
                memcpy(&y[n, 0, 0, 0] + j * filters, sums + j * wide, filters * sizeof(real))
        free(memory)


def conv2d_backward_input(
    const real[:, :, :, ::1] dy not None, const real[:, :, :, ::1] w not None,
    real[:, :, :, ::1] dx not None, Py_ssize_t sy, Py_ssize_t sx, Py_ssize_t top, Py_ssize_t left,
):
    """dx (N, H, W, C) = the gradient by the input of a convolution."""
    cdef Window window = window_of(dx.shape[1], dx.shape[2], dx.shape[3], w.shape[0], w.shape[1],
                                   dy.shape[1], dy.shape[2], sy, sx, top, left)
    cdef Py_ssize_t filters = w.shape[3], pixels = places(&window), n, s
    cdef Py_ssize_t lanes, patch, segment, taps = w.shape[1] * w.shape[2]
    cdef real *turned
    cdef real *border
    cdef const real *row
    cdef Lists lists
    cdef void *memory
    if dx.shape[0] * image_size(&window) == 0:
        return
    if pixels * filters == 0:
        dx[...] = 0
        return
    refuse(&dy[0, 0, 0, 0], dy.shape[0] * pixels * filters,
           &dx[0, 0, 0, 0], dx.shape[0] * image_size(&window))
    refuse(&w[0, 0, 0, 0], w.shape[0] * taps * filters,
           &dx[0, 0, 0, 0], dx.shape[0] * image_size(&window))
    lanes = lanes_of(&dx[0, 0, 0, 0])
    patch = patch_of(&window, lanes)
    segment = segment_of(&window, lanes)
    memory = memory_for(filters * patch + border_of(&window, lanes) + lists_size(pixels, filters),
                        sizeof(real))
    turned = <real *>aligned(memory)
    border = turned + filters * patch
    lists = lists_in(border + border_of(&window, lanes), pixels, filters)
    with nogil:
        memset(turned, 0, filters * patch * sizeof(real))
        for s in range(window.kernel_height):
            row = &w[s, 0, 0, 0]
            store_sums(taps, filters, row, filters, turned + s * segment, 1, patch, <real>1,
                       FM_STORE_SET)
        for n in range(dx.shape[0]):
            list_gradient(&window, filters, &dy[n, 0, 0, 0], &lists)
            input_gradient(&window, &lists, <const real *>turned, patch, border)
            without_border(&window, <const real *>border, &dx[n, 0, 0, 0])
        free(memory)


def conv2d_backward_weights(
    const real[:, :, :, ::1] x not None, const real[:, :, :, ::1] dy not None,
    real[:, :, :, ::1] dw not None, Py_ssize_t sy, Py_ssize_t sx, Py_ssize_t top, Py_ssize_t left,
):
    """dw (kh, kw, C, F) = the gradient by the filters of a convolution."""
    cdef Window window = window_of(x.shape[1], x.shape[2], x.shape[3], dw.shape[0], dw.shape[1],
                                   dy.shape[1], dy.shape[2], sy, sx, top, left)
    cdef Py_ssize_t filters = dw.shape[3], pixels = places(&window), n, s
    cdef Py_ssize_t lanes, patch, segment, taps = dw.shape[1] * dw.shape[2]
    cdef real *sums
    cdef real *border
    cdef Lists lists
    cdef void *memory
    if dw.shape[0] * taps * filters == 0:
        return
    if x.shape[0] * pixels == 0:
        dw[...] = 0
        return
    refuse(&x[0, 0, 0, 0], x.shape[0] * image_size(&window),
           &dw[0, 0, 0, 0], dw.shape[0] * taps * filters)
    refuse(&dy[0, 0, 0, 0], dy.shape[0] * pixels * filters,
           &dw[0, 0, 0, 0], dw.shape[0] * taps * filters)
    lanes = lanes_of(&dw[0, 0, 0, 0])
    patch = patch_of(&window, lanes)
    segment = segment_of(&window, lanes)
    memory = memory_for(filters * (patch + 1) + border_of(&window, lanes)
                        + lists_size(pixels, filters), sizeof(real))
    sums = <real *>aligned(memory)
    border = sums + filters * (patch + 1)
    lists = lists_in(border + border_of(&window, lanes), pixels, filters)
    with nogil:
        memset(sums, 0, filters * (patch + 1) * sizeof(real))
        for n in range(x.shape[0]):
            list_gradient(&window, filters, &dy[n, 0, 0, 0], &lists)
            filter_gradient(&window, filters, &lists,
                            bordered(&window, &x[n, 0, 0, 0], True, border), sums,
                            sums + filters * patch)
        for s in range(window.kernel_height):
            store_sums(filters, taps, sums + s * segment, patch, &dw[s, 0, 0, 0], 1, filters,
                       <real>1, FM_STORE_SET)
        free(memory)


def max_pool2d(
    const real[:, :, :, ::1] x not None, real[:, :, :, ::1] y not None,
    place[:, :, :, ::1] index not None, Py_ssize_t ph, Py_ssize_t pw, Py_ssize_t sy, Py_ssize_t sx,
):
    """y = the maximum of each window of x, index = its place in the window."""
    cdef Window window = window_of(x.shape[1], x.shape[2], x.shape[3], ph, pw, y.shape[1],
                                   y.shape[2], sy, sx)
    cdef Py_ssize_t n
    if y.shape[0] * places(&window) * window.channels == 0:
        return
    refuse(&x[0, 0, 0, 0], x.shape[0] * image_size(&window),
           &y[0, 0, 0, 0], y.shape[0] * places(&window) * window.channels)
    with nogil:
        for n in range(x.shape[0]):
            max_pool_image(&window, &x[n, 0, 0, 0], window.channels, &y[n, 0, 0, 0],
                           <char *>&index[n, 0, 0, 0])


def max_pool2d_backward(
    const real[:, :, :, ::1] dy not None, const place[:, :, :, ::1] index not None,
    real[:, :, :, ::1] dx not None, Py_ssize_t ph, Py_ssize_t pw, Py_ssize_t sy, Py_ssize_t sx,
):
    """dx = dy, each added at the place of its maximum."""
    cdef Window window = window_of(dx.shape[1], dx.shape[2], dx.shape[3], ph, pw, dy.shape[1],
                                   dy.shape[2], sy, sx)
    cdef Py_ssize_t n
    if dx.shape[0] * image_size(&window) == 0:
        return
    if places(&window) == 0:
        dx[...] = 0
        return
    refuse(&dy[0, 0, 0, 0], dy.shape[0] * places(&window) * window.channels,
           &dx[0, 0, 0, 0], dx.shape[0] * image_size(&window))
    with nogil:
        for n in range(dx.shape[0]):
            max_pool_image_backward(&window, &dy[n, 0, 0, 0], <const char *>&index[n, 0, 0, 0],
                                    &dx[n, 0, 0, 0])


def avg_pool2d(
    const real[:, :, :, ::1] x not None, real[:, :, :, ::1] y not None, Py_ssize_t ph,
    Py_ssize_t pw, Py_ssize_t sy, Py_ssize_t sx,
):
    """y = the mean of each window of x."""
    cdef Window window = window_of(x.shape[1], x.shape[2], x.shape[3], ph, pw, y.shape[1],
                                   y.shape[2], sy, sx)
    cdef Py_ssize_t n
    if y.shape[0] * places(&window) * window.channels == 0:
        return
    refuse(&x[0, 0, 0, 0], x.shape[0] * image_size(&window),
           &y[0, 0, 0, 0], y.shape[0] * places(&window) * window.channels)
    with nogil:
        for n in range(x.shape[0]):
            average_pool_image(&window, &x[n, 0, 0, 0], &y[n, 0, 0, 0])


def avg_pool2d_backward(
    const real[:, :, :, ::1] dy not None, real[:, :, :, ::1] dx not None, Py_ssize_t ph,
    Py_ssize_t pw, Py_ssize_t sy, Py_ssize_t sx,
):
    """dx = dy, each spread evenly over its window."""
    cdef Window window = window_of(dx.shape[1], dx.shape[2], dx.shape[3], ph, pw, dy.shape[1],
                                   dy.shape[2], sy, sx)
    cdef Py_ssize_t n
    if dx.shape[0] * image_size(&window) == 0:
        return
    if places(&window) == 0:
        dx[...] = 0
        return
    refuse(&dy[0, 0, 0, 0], dy.shape[0] * places(&window) * window.channels,
           &dx[0, 0, 0, 0], dx.shape[0] * image_size(&window))
    with nogil:
        for n in range(dx.shape[0]):
            average_pool_image_backward(&window, &dy[n, 0, 0, 0], &dx[n, 0, 0, 0])
