# Convolution, with an activation and a max-pool after it.
#
# Threads divide the samples. The gradient of a filter is a sum over the samples: fixed chunks of
# the batch have separate sums, which are added in order, so the bits do not depend on the threads.

from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset

from dispatch cimport FM_RELU, FM_STORE_RELU, FM_STORE_SET, real
from loops.convolution cimport (
    Lists, border_of, bordered, convolve, filter_gradient, gather_filters, input_gradient,
    is_separate, list_gradient, list_pooled, lists_in, lists_size, patch_of, transpose_filters,
    without_border,
)
from loops.matmul cimport lanes_of
from loops.pooling cimport max_pool_image, max_pool_image_backward
from loops.window cimport Window, image_size, places
from plan.operation cimport (
    CHUNK_ROWS, Op, Run, apply, apply_backward, apply_gradient, apply_panel_gradient, cut,
)
from plan.pooling cimport index_of


cdef inline Py_ssize_t row_of_filters(Py_ssize_t filters, Py_ssize_t lanes) noexcept nogil:
    """Return the values of a pixel's outputs, in whole panels."""
    return (filters + 2 * lanes - 1) // (2 * lanes) * (2 * lanes)


cdef inline Py_ssize_t image_scratch(
    const Window *w, Py_ssize_t filters, Py_ssize_t lanes
) noexcept nogil:
    """Return the maximum elements of scratch that the operations below need."""
    cdef Py_ssize_t pixels = places(w)
    return (2 * border_of(w, lanes) + pixels * row_of_filters(filters, lanes)
            + lists_size(pixels, filters) + 4 * CHUNK_ROWS * lanes + 8 * lanes)


cdef inline Py_ssize_t parts_size(
    const Window *w, Py_ssize_t filters, Py_ssize_t lanes
) noexcept nogil:
    """Return the elements of the gradients of a chunk: filters, transposed, and biases."""
    return filters * patch_of(w, lanes) + (filters + lanes - 1) // lanes * lanes


cdef inline void convolution(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """y = activation of x convolved with w, plus b; then the maximum of each window of op.pool."""
    cdef const Window *w = &op.window
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t lanes = lanes_of(x)
    cdef Py_ssize_t filters = op.outputs, pixels = places(w)
    cdef Py_ssize_t wide = row_of_filters(filters, lanes)
    cdef bint relu = op.activation == FM_RELU
    cdef bint direct = op.pool.height == 0 and filters % lanes == 0
    cdef const real *image
    cdef real *sums = scratch + border_of(w, lanes)
    cdef real *z
    cdef real *y
    cdef Py_ssize_t i, j
    for i in range(cut(run.rows, thread, threads), cut(run.rows, thread + 1, threads)):
        image = bordered(w, x + i * x_row, False, scratch)
        y = <real *>op.y + i * op.y_row
        z = <real *>op.z + i * op.z_row if direct else sums
        convolve(w, filters, image, <const real *>op.w, <const real *>op.b, z,
                 filters if direct else wide, FM_STORE_RELU if relu else FM_STORE_SET)
        if op.pool.height:
            if op.activation >= 0 and not relu:
                apply(op.activation, pixels * wide, sums, sums, op.parameter)
            max_pool_image(&op.pool, <const real *>sums, wide, y, index_of(op, i, <const real *>y))
            continue
        if not direct:
            z = <real *>op.z + i * op.z_row
            for j in range(pixels):
                memcpy(z + j * filters, sums + j * wide, filters * sizeof(real))
        if op.activation >= 0 and not relu:
            apply(op.activation, pixels * filters, z, y, op.parameter)


cdef inline void filters(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """Write the filters w (panels) transposed, for the gradient of the input."""
    cdef Py_ssize_t width = 2 * lanes_of(scratch)
    cdef Py_ssize_t panels = (op.outputs + width - 1) // width
    transpose_filters(&op.window, op.outputs, cut(panels, thread, threads),
                      cut(panels, thread + 1, threads), <const real *>op.w, <real *>op.filters,
                      op.filters_row)


cdef inline Py_ssize_t chunks_of(const Op *op, Run *run) noexcept nogil:
    return min(<Py_ssize_t>op.chunks, run.rows)


cdef inline void convolution_backward(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """Compute the gradient of x, if op.dx, and the gradients of filters and biases of each chunk.

    dy is the gradient before the activation, but after the max-pool if there is one. dx is
    multiplied by the derivative of the activation that made x.
    """
    cdef const Window *w = &op.window
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t lanes = lanes_of(x)
    cdef Py_ssize_t filters = op.outputs, pixels = places(w), chunks = chunks_of(op, run)
    cdef Py_ssize_t border = border_of(w, lanes), patch = filters * patch_of(w, lanes)
    cdef real *padded_dx = scratch + border
    cdef real *scattered = padded_dx + border
    cdef real *parts
    cdef real *dx
    cdef const real *dz
    cdef Lists lists = lists_in(scattered + pixels * filters, pixels, filters)
    cdef Py_ssize_t c, i
    for c in range(cut(chunks, thread, threads), cut(chunks, thread + 1, threads)):
        parts = <real *>op.parts + c * op.parts_row
        if op.parts != NULL:
            memset(parts, 0, parts_size(w, filters, lanes) * sizeof(real))
        for i in range(cut(run.rows, <int>c, <int>chunks), cut(run.rows, <int>c + 1, <int>chunks)):
            dz = <const real *>op.dy + i * op.dy_row
            if op.pool.height and is_separate(&op.pool):
                list_pooled(w, &op.pool, dz, <const uint8_t *>index_of(op, i, dz), op.dx != NULL,
                            &lists)
            else:
                if op.pool.height:
                    max_pool_image_backward(&op.pool, dz, index_of(op, i, dz), scattered)
                    dz = scattered
                list_gradient(w, filters, dz, &lists)
            # Whole vectors are read beyond the end of an image that is not copied. In the arena
            # another image or padding follows; in an array of the caller nothing may follow.
            if op.parts != NULL:
                filter_gradient(w, filters, &lists,
                                bordered(w, x + i * x_row, op.x == NULL, scratch), parts,
                                parts + patch)
            if op.dx == NULL:
                continue
            input_gradient(w, &lists, <const real *>op.filters, op.filters_row, padded_dx)
            dx = <real *>op.dx + i * op.dx_row
            without_border(w, padded_dx, dx)
            if op.activation >= 0:
                apply_backward(op.activation, image_size(w), dx,
                               <const real *>op.saved + i * op.saved_row, dx, op.parameter)


cdef inline void convolution_update(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """Update w and b by the sum of the gradients of all chunks, as op.rule says."""
    cdef const Window *w = &op.window
    cdef Py_ssize_t lanes = lanes_of(scratch)
    cdef Py_ssize_t width = 2 * lanes
    cdef Py_ssize_t filters = op.outputs, chunks = chunks_of(op, run)
    cdef Py_ssize_t taps = w.kernel_width * w.channels
    cdef Py_ssize_t panels = (filters + width - 1) // width
    cdef Py_ssize_t units = panels * w.kernel_height
    cdef Py_ssize_t unit, p, s, k, rows, c, i, count
    cdef const real *parts = <const real *>op.parts
    cdef const real *biases
    for unit in range(cut(units, thread, threads), cut(units, thread + 1, threads)):
        p = unit // w.kernel_height
        s = unit % w.kernel_height
        k = 0
        while k < taps:
            rows = min(<Py_ssize_t>CHUNK_ROWS, taps - k)
            gather_filters(w, filters, p, s, k, rows, parts, op.parts_row, chunks,
                           scratch + CHUNK_ROWS * width, scratch)
            apply_panel_gradient(op, run, p, s * taps + k, rows, scratch)
            k += rows
        if s == 0 and op.b != NULL:
            count = min(width, filters - p * width)
            biases = parts + filters * patch_of(w, lanes) + p * width
            memcpy(scratch, biases, count * sizeof(real))
            for c in range(1, chunks):
                for i in range(count):
                    scratch[i] += biases[c * op.parts_row + i]
            apply_gradient(op, run, True, p * width, count, scratch)
