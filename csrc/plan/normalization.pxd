# Batch and layer normalization.

from libc.math cimport sqrt
from libc.string cimport memcpy

from dispatch cimport real
from loops.normalization cimport (
    batch_factors, batch_slopes, column_moments, column_products, fold_moments,
    layer_norm_backward_rows, layer_norm_rows, layer_norm_sums, standardize, standardize_backward,
)
from plan.activations cimport finish_gradient, finish_rows
from plan.operation cimport Op, Run, apply_gradient, row_cut


# --- Batch normalization ------------------------------------------------------------------------
#
# Without positions the features are the columns of the samples: threads divide the columns, and one
# pass does everything. In images every `inputs` neighbours in a sample are the features at one
# position: a first operation sums the columns, and the next one adds up the positions.
# `statistics` contains the mean (I,) and the variance (I,), `partial` two sums (O,).


cdef inline double *doubles_of(real *scratch) noexcept nogil:
    return <double *>scratch


cdef inline real *reals_of(const Op *op, real *scratch) noexcept nogil:
    # The scratch after 4 doubles per feature.
    return <real *>(doubles_of(scratch) + 4 * op.inputs)


cdef inline void repeat(Py_ssize_t times, Py_ssize_t n, real *x) noexcept nogil:
    # Copy the first row of x (times, n) to the other rows.
    cdef Py_ssize_t i
    for i in range(1, times):
        memcpy(x + i * n, x, n * sizeof(real))


cdef inline void batch_moments(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """partial = the mean and the sum of squared deviations of each column of x (rows, O)."""
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t c = row_cut(op.outputs, thread, threads)
    cdef Py_ssize_t end = row_cut(op.outputs, thread + 1, threads)
    if c < end:
        column_moments(run.rows, end - c, x + c, x_row, op.partial + c,
                       op.partial + op.outputs + c)


cdef inline void batch_norm(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """z (rows, O) = x normalized over the batch, times w, plus b; y = activation of z."""
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t n = op.inputs, width = op.outputs, positions = op.outputs // op.inputs
    cdef Py_ssize_t i, j, c = 0, begin = 0, end = run.rows
    cdef double *mean = op.statistics
    cdef double *variance = op.statistics + n
    cdef real *shift = reals_of(op, scratch)
    cdef real *factor = shift + width
    cdef real *offset = factor + width
    if positions == 1:
        c = row_cut(n, thread, threads)
        width = row_cut(n, thread + 1, threads) - c
        if width <= 0:
            return
        column_moments(run.rows, width, x + c, x_row, mean + c, variance + c)
        for j in range(c, c + width):
            variance[j] /= <double>run.rows
        batch_factors(width, mean + c, variance + c, op.epsilon, <const real *>op.w + c,
                      <const real *>op.b + c, shift, factor, offset)
    else:
        begin = row_cut(run.rows, thread, threads)
        end = row_cut(run.rows, thread + 1, threads)
        if thread > 0:
            # Every thread computes all moments; the backward pass uses the result of thread 0.
            mean = doubles_of(scratch)
            variance = mean + n
        fold_moments(positions, n, run.rows, op.partial, op.partial + width, mean, variance)
        batch_factors(n, mean, variance, op.epsilon, <const real *>op.w, <const real *>op.b,
                      shift, factor, offset)
        repeat(positions, n, shift)
        repeat(positions, n, factor)
        repeat(positions, n, offset)
    for i in range(begin, end):
        standardize(width, x + i * x_row + c, shift, factor, offset,
                    <real *>op.z + i * op.z_row + c)
    finish_rows(op, run, begin, end, c, width, scratch)


cdef inline void batch_products(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """partial = sums over the rows of dy (rows, O) and of dy * (x - mean)."""
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t c = row_cut(op.outputs, thread, threads)
    cdef Py_ssize_t end = row_cut(op.outputs, thread + 1, threads)
    cdef Py_ssize_t n = op.inputs, stop
    while c < end:
        # All positions have the same means.
        stop = min(end, (c // n + 1) * n)
        column_products(run.rows, stop - c, <const real *>op.dy + c, op.dy_row, x + c, x_row,
                        op.statistics + c % n, op.partial + c, op.partial + op.outputs + c)
        c = stop


cdef inline void fold_sums(
    const Op *op, Py_ssize_t begin, Py_ssize_t end, double *sums, double *dots
) noexcept nogil:
    """Sum the columns of features begin .. end over the positions."""
    cdef Py_ssize_t n = op.inputs, p, j
    for j in range(begin, end):
        sums[j - begin] = 0
        dots[j - begin] = 0
    for p in range(op.outputs // n):
        for j in range(begin, end):
            sums[j - begin] += op.partial[p * n + j]
            dots[j - begin] += op.partial[op.outputs + p * n + j]


cdef inline void batch_update_features(
    const Op *op, const Run *run, Py_ssize_t c, Py_ssize_t n, const double *sums,
    const double *dots, real *gradient,
) noexcept nogil:
    """Update features c .. c + n of w and b, and their running mean and variance."""
    cdef Py_ssize_t j, count = run.rows * (op.outputs // op.inputs)
    cdef const double *mean = op.statistics + c
    cdef const double *variance = op.statistics + op.inputs + c
    cdef real *running_mean = <real *>op.running_mean + c
    cdef real *running_variance = <real *>op.running_variance + c
    cdef double keep = op.momentum, take = 1 - op.momentum
    if op.running_mean != NULL:
        for j in range(n):
            running_mean[j] = <real>(keep * <double>running_mean[j] + take * mean[j])
            running_variance[j] = <real>(
                keep * <double>running_variance[j]
                + take * (variance[j] * (<double>count / <double>(count - 1))))
    for j in range(n):
        gradient[j] = <real>(dots[j] / sqrt(variance[j] + op.epsilon))
    if op.b == NULL:
        return  # w and b are frozen
    apply_gradient(op, run, False, c, n, gradient)
    for j in range(n):
        gradient[j] = <real>sums[j]
    apply_gradient(op, run, True, c, n, gradient)


cdef inline void batch_norm_backward(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """dx (rows, O) from dy, unless op.dx is NULL; without positions also update w and b."""
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t n = op.inputs, width = op.outputs, positions = op.outputs // op.inputs
    cdef Py_ssize_t i, c = 0, begin = 0, end = run.rows
    cdef const double *mean = op.statistics
    cdef const double *variance = op.statistics + n
    cdef double *sums = doubles_of(scratch)
    cdef double *dots = sums + n
    cdef real *shift = reals_of(op, scratch)
    cdef real *factor = shift + width
    cdef real *slope = factor + width
    cdef real *offset = slope + width
    if positions == 1:
        c = row_cut(n, thread, threads)
        width = row_cut(n, thread + 1, threads) - c
        if width <= 0:
            return
        column_products(run.rows, width, <const real *>op.dy + c, op.dy_row, x + c, x_row,
                        mean + c, sums, dots)
    else:
        begin = row_cut(run.rows, thread, threads)
        end = row_cut(run.rows, thread + 1, threads)
        fold_sums(op, 0, n, sums, dots)
    if op.dx != NULL:
        batch_slopes(width // positions, run.rows * positions, mean + c, variance + c, op.epsilon,
                     <const real *>op.w + c, sums, dots, shift, factor, slope, offset)
        repeat(positions, n, shift)
        repeat(positions, n, factor)
        repeat(positions, n, slope)
        repeat(positions, n, offset)
        for i in range(begin, end):
            standardize_backward(width, <const real *>op.dy + i * op.dy_row + c,
                                 x + i * x_row + c, shift, factor, slope, offset,
                                 <real *>op.dx + i * op.dx_row + c)
        finish_gradient(op, run, begin, end, c, width, scratch)
    if positions == 1:
        batch_update_features(op, run, c, width, sums, dots, shift)


cdef inline void batch_update(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """Update w, b and the running statistics from sums of columns."""
    cdef Py_ssize_t c = row_cut(op.inputs, thread, threads)
    cdef Py_ssize_t end = row_cut(op.inputs, thread + 1, threads)
    cdef double *sums = doubles_of(scratch)
    cdef double *dots = sums + op.inputs
    if c < end:
        fold_sums(op, c, end, sums, dots)
        batch_update_features(op, run, c, end - c, sums, dots, reals_of(op, scratch))


cdef inline void scale_shift(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """z (rows, O) = (x - s0) * w + b of every sample; y = activation of z. z may be x."""
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t i
    cdef Py_ssize_t begin = row_cut(run.rows, thread, threads)
    cdef Py_ssize_t end = row_cut(run.rows, thread + 1, threads)
    for i in range(begin, end):
        standardize(op.outputs, x + i * x_row, <const real *>op.s0, <const real *>op.w,
                    <const real *>op.b, <real *>op.z + i * op.z_row)
    finish_rows(op, run, begin, end, 0, op.outputs, scratch)


# --- Layer normalization ------------------------------------------------------------------------


cdef inline void layer_norm(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """z (rows, O) = every I neighbours of x normalized, times w, plus b; y = activation of z.

    `statistics` receives the moments (rows, O / I, 2).
    """
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t i, positions = op.outputs // op.inputs
    cdef Py_ssize_t begin = row_cut(run.rows, thread, threads)
    cdef Py_ssize_t end = row_cut(run.rows, thread + 1, threads)
    for i in range(begin, end):
        layer_norm_rows(positions, op.inputs, x + i * x_row, op.epsilon, <const real *>op.w,
                        <const real *>op.b, <real *>op.z + i * op.z_row,
                        op.statistics + 2 * i * positions)
    finish_rows(op, run, begin, end, 0, op.outputs, scratch)


cdef inline void layer_norm_backward(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """dx (rows, O) from dy."""
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t i, positions = op.outputs // op.inputs
    cdef Py_ssize_t begin = row_cut(run.rows, thread, threads)
    cdef Py_ssize_t end = row_cut(run.rows, thread + 1, threads)
    for i in range(begin, end):
        layer_norm_backward_rows(positions, op.inputs, <const real *>op.dy + i * op.dy_row,
                                 x + i * x_row, op.epsilon, <const real *>op.w,
                                 op.statistics + 2 * i * positions,
                                 <real *>op.dx + i * op.dx_row)
    finish_gradient(op, run, begin, end, 0, op.outputs, scratch)


cdef inline void layer_norm_update(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """Update w and b."""
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t i, j, positions = op.outputs // op.inputs
    cdef Py_ssize_t c = row_cut(op.inputs, thread, threads)
    cdef Py_ssize_t end = row_cut(op.inputs, thread + 1, threads)
    cdef double *sums = doubles_of(scratch)
    cdef double *dots = sums + op.inputs
    cdef real *gradient = reals_of(op, scratch)
    if c >= end:
        return
    for j in range(end - c):
        sums[j] = 0
        dots[j] = 0
    for i in range(run.rows):
        layer_norm_sums(positions, op.inputs, c, end, <const real *>op.dy + i * op.dy_row,
                        x + i * x_row, op.epsilon, op.statistics + 2 * i * positions, sums, dots)
    for j in range(end - c):
        gradient[j] = <real>dots[j]
    apply_gradient(op, run, False, c, end - c, gradient)
    for j in range(end - c):
        gradient[j] = <real>sums[j]
    apply_gradient(op, run, True, c, end - c, gradient)
