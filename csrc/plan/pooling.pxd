# Pooling of images. Threads divide the samples.

from dispatch cimport real
from loops.pooling cimport (
    average_pool_image, average_pool_image_backward, max_pool_image, max_pool_image_backward,
)
from loops.window cimport image_size
from plan.operation cimport Op, Run, apply_backward, cut


cdef inline char *index_of(const Op *op, Py_ssize_t sample, const real *tag) noexcept nogil:
    """Return the places of a sample's maxima, or NULL if they are not needed."""
    return op.index + sample * op.index_row * <Py_ssize_t>sizeof(real) if op.index != NULL else NULL


cdef inline void max_pool(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """y = the maximum of each window of x."""
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t i
    for i in range(cut(run.rows, thread, threads), cut(run.rows, thread + 1, threads)):
        max_pool_image(&op.window, x + i * x_row, op.window.channels,
                       <real *>op.y + i * op.y_row, index_of(op, i, x))


cdef inline void max_pool_backward(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """dx = dy at the place of each maximum, times the derivative of the activation of x."""
    cdef Py_ssize_t i
    cdef real *dx
    for i in range(cut(run.rows, thread, threads), cut(run.rows, thread + 1, threads)):
        dx = <real *>op.dx + i * op.dx_row
        max_pool_image_backward(&op.window, <const real *>op.dy + i * op.dy_row,
                                index_of(op, i, <const real *>dx), dx)
        if op.activation >= 0:
            apply_backward(op.activation, image_size(&op.window), dx,
                           <const real *>op.saved + i * op.saved_row, dx, op.parameter)


cdef inline void average_pool(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """y = the mean of each window of x."""
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t i
    for i in range(cut(run.rows, thread, threads), cut(run.rows, thread + 1, threads)):
        average_pool_image(&op.window, x + i * x_row, <real *>op.y + i * op.y_row)


cdef inline void average_pool_backward(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """dx = dy spread over each window, times the derivative of the activation of x."""
    cdef Py_ssize_t i
    cdef real *dx
    for i in range(cut(run.rows, thread, threads), cut(run.rows, thread + 1, threads)):
        dx = <real *>op.dx + i * op.dx_row
        average_pool_image_backward(&op.window, <const real *>op.dy + i * op.dy_row, dx)
        if op.activation >= 0:
            apply_backward(op.activation, image_size(&op.window), dx,
                           <const real *>op.saved + i * op.saved_row, dx, op.parameter)
