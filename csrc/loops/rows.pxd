# Softmax by rows, and sums over the batch, with the row functions of the table.

from libc.math cimport isnan
from libc.stdint cimport int64_t

from dispatch cimport FM_LOG, fm_f32, fm_f64, real


cdef inline real row_max(Py_ssize_t n, const real *x) noexcept nogil:
    if real is float:
        return fm_f32.row_max(n, x)
    else:
        return fm_f64.row_max(n, x)


cdef inline real row_exp_sum(Py_ssize_t n, const real *x, real shift, real *y) noexcept nogil:
    if real is float:
        return fm_f32.row_exp_sum(n, x, shift, y)
    else:
        return fm_f64.row_exp_sum(n, x, shift, y)


cdef inline void row_affine(
    Py_ssize_t n, real a, const real *x, real b, real *y
) noexcept nogil:
    if real is float:
        fm_f32.row_affine(n, a, x, b, y)
    else:
        fm_f64.row_affine(n, a, x, b, y)


cdef inline real row_dot(Py_ssize_t n, const real *x, const real *y) noexcept nogil:
    if real is float:
        return fm_f32.row_dot(n, x, y)
    else:
        return fm_f64.row_dot(n, x, y)


cdef inline real row_sum(Py_ssize_t n, const real *x) noexcept nogil:
    if real is float:
        return fm_f32.row_sum(n, x)
    else:
        return fm_f64.row_sum(n, x)


cdef inline real log_of(real x) noexcept nogil:
    cdef real y
    if real is float:
        fm_f32.unary[FM_LOG](1, &x, &y, 0)
    else:
        fm_f64.unary[FM_LOG](1, &x, &y, 0)
    return y


cdef inline void axpy(Py_ssize_t n, real a, const real *x, real *y) noexcept nogil:
    if real is float:
        fm_f32.axpy(n, a, x, y)
    else:
        fm_f64.axpy(n, a, x, y)


cdef inline void softmax_rows(
    Py_ssize_t rows, Py_ssize_t n, const real *x, real *y
) noexcept nogil:
    """y (rows, n) = softmax of every row of x; y may be x."""
    cdef Py_ssize_t i
    cdef real total
    for i in range(rows):
        total = row_exp_sum(n, x + i * n, row_max(n, x + i * n), y + i * n)
        row_affine(n, 1 / total, y + i * n, <real>0, y + i * n)


cdef inline void log_softmax_rows(
    Py_ssize_t rows, Py_ssize_t n, const real *x, real *y
) noexcept nogil:
    """y (rows, n) = x - log(sum(exp(x))) of every row; y may be x."""
    cdef Py_ssize_t i
    cdef real high, total
    for i in range(rows):
        high = row_max(n, x + i * n)
        total = row_exp_sum(n, x + i * n, high, <real *>NULL)
        # Two steps: the sum high + log(total) would lose the low digits of x - high.
        row_affine(n, <real>1, x + i * n, -high, y + i * n)
        row_affine(n, <real>1, y + i * n, -log_of(total), y + i * n)


cdef inline void softmax_backward_rows(
    Py_ssize_t rows, Py_ssize_t n, const real *dy, const real *y, real *dx
) noexcept nogil:
    """dx = y * (dy - sum(dy * y)) of every row; dx may be dy or y."""
    cdef Py_ssize_t i
    cdef real dot
    for i in range(rows):
        dot = row_dot(n, dy + i * n, y + i * n)
        if real is float:
            fm_f32.row_softmax_backward(n, dy + i * n, y + i * n, dot, dx + i * n)
        else:
            fm_f64.row_softmax_backward(n, dy + i * n, y + i * n, dot, dx + i * n)


cdef inline void log_softmax_backward_rows(
    Py_ssize_t rows, Py_ssize_t n, const real *dy, const real *y, real *dx
) noexcept nogil:
    """dx = dy - exp(y) * sum(dy) of every row; dx may be dy or y."""
    cdef Py_ssize_t i
    cdef real total
    for i in range(rows):
        total = row_sum(n, dy + i * n)
        if real is float:
            fm_f32.row_log_softmax_backward(n, dy + i * n, y + i * n, total, dx + i * n)
        else:
            fm_f64.row_log_softmax_backward(n, dy + i * n, y + i * n, total, dx + i * n)


cdef inline Py_ssize_t count_correct_rows(
    Py_ssize_t rows, Py_ssize_t n, const real *scores, const int64_t *labels, const real *targets,
) noexcept nogil:
    """Return how many rows have their maximum (first of equals, first NaN) at the label."""
    cdef Py_ssize_t i, correct = 0
    for i in range(rows):
        if labels != NULL:
            correct += argmax(n, scores + i * n) == labels[i]
        else:
            correct += argmax(n, scores + i * n) == argmax(n, targets + i * n)
    return correct


cdef inline Py_ssize_t argmax(Py_ssize_t n, const real *x) noexcept nogil:
    cdef Py_ssize_t j, best = 0
    for j in range(1, n):
        if isnan(x[best]):
            break
        if x[j] > x[best] or isnan(x[j]):
            best = j
    return best


cdef inline void sum_batch_rows(
    Py_ssize_t rows, Py_ssize_t n, const real *x, real *total
) noexcept nogil:
    """total (n,) = the sum of the rows of x (rows, n), from the first on."""
    cdef Py_ssize_t i, j
    for j in range(n):
        total[j] = 0
    for i in range(rows):
        axpy(n, <real>1, x + i * n, total)
