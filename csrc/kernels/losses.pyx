"""Softmax, log-softmax, losses with gradients, batch sums (arguments: see arrays.pxd)."""

from libc.stdint cimport int64_t

from dispatch cimport FM_LOSS_COUNT, fm_loss_names, import_tables, numbers_of, real
from kernels.arrays cimport (
    NPY_DOUBLE, NPY_FLOAT, NPY_INT64, _import_array, data_of, is_array, ndim_of, npy_intp, output,
    output_like, real_type, refuse_shared, shape_of, size_of,
)
from loops.losses cimport cross_entropy_row, element_losses, hinge_row, mean_of, target_weight
from loops.rows cimport (
    count_correct_rows, log_softmax_backward_rows, log_softmax_rows, row_max,
    softmax_backward_rows, softmax_rows, sum_batch_rows,
)

import_tables()
_import_array()

# The first argument of element_loss by name.
ELEMENT_LOSSES = numbers_of(fm_loss_names, FM_LOSS_COUNT)


def softmax(x, out):
    """Write softmax over the last axis of x to out. out may be x; it is a new array if None."""
    return rows_of(False, x, out)


def log_softmax(x, out):
    """Write log-softmax over the last axis of x to out. out is as for softmax."""
    return rows_of(True, x, out)


def softmax_backward(dy, y, out):
    """Write the gradient by the input of softmax to out, from dy, the gradient by its output y."""
    return rows_backward_of(False, dy, y, out)


def log_softmax_backward(dy, y, out):
    """Write the gradient by the input of log-softmax to out, from the gradient by its output y."""
    return rows_backward_of(True, dy, y, out)


cdef inline Py_ssize_t columns_of(object x) noexcept:
    return shape_of(x)[ndim_of(x) - 1]


cdef inline Py_ssize_t row_count(object x) noexcept:
    # Rows without columns do not count: there is nothing to do for them.
    return size_of(x) // columns_of(x) if columns_of(x) else 0


cdef object rows_of(bint logarithm, object x, object out):
    cdef int type = real_type(x)
    cdef const void *source
    cdef void *to
    cdef Py_ssize_t n, rows
    if type < 0 or ndim_of(x) == 0:
        return None
    out = output_like(x, type, out)
    if out is None:
        return None
    rows, n, source, to = row_count(x), columns_of(x), data_of(x), data_of(out)
    with nogil:
        if type == NPY_FLOAT:
            (log_softmax_rows[float] if logarithm else softmax_rows[float])(
                rows, n, <const float *>source, <float *>to)
        else:
            (log_softmax_rows[double] if logarithm else softmax_rows[double])(
                rows, n, <const double *>source, <double *>to)
    return out


cdef object rows_backward_of(bint logarithm, object dy, object y, object out):
    cdef int type = real_type(y)
    cdef const void *source
    cdef const void *kept
    cdef void *to
    cdef Py_ssize_t n, rows
    if type < 0 or ndim_of(y) == 0 or not is_array(dy, type, ndim_of(y), shape_of(y)):
        return None
    out = output_like(y, type, out)
    if out is None:
        return None
    refuse_shared(dy, out, True)
    rows, n, source, kept, to = row_count(y), columns_of(y), data_of(dy), data_of(y), data_of(out)
    with nogil:
        if type == NPY_FLOAT:
            (log_softmax_backward_rows[float] if logarithm else softmax_backward_rows[float])(
                rows, n, <const float *>source, <const float *>kept, <float *>to)
        else:
            (log_softmax_backward_rows[double] if logarithm else softmax_backward_rows[double])(
                rows, n, <const double *>source, <const double *>kept, <double *>to)
    return out


cdef double cross_entropy_rows(
    Py_ssize_t rows, Py_ssize_t n, const real *x, const int64_t *labels, const real *targets,
    double smoothing, const real *class_weight, const double *weights, real *dx,
) noexcept nogil:
    cdef Py_ssize_t i, label = 0
    cdef const real *target = NULL
    cdef double loss = 0, total = <double>rows, weight = 1, size
    if class_weight != NULL or weights != NULL:
        total = 0
        for i in range(rows):
            size = weights[i] if weights != NULL else 1
            if class_weight != NULL:
                if labels != NULL:
                    label = labels[i]
                else:
                    target = targets + i * n
                size *= target_weight(n, label, target, class_weight)
            total += size
    for i in range(rows):
        if labels != NULL:
            label = labels[i]
        else:
            target = targets + i * n
        if weights != NULL:
            weight = weights[i]
        loss += weight * cross_entropy_row(
            n, x + i * n, row_max(n, x + i * n), label, target, smoothing, class_weight,
            weight / total if total > 0 else 0, dx + i * n)
    return mean_of(loss, total)


cdef int check_labels(const int64_t *labels, Py_ssize_t rows, Py_ssize_t n) except -1:
    cdef Py_ssize_t i
    for i in range(rows):
        if not 0 <= labels[i] < n:
            raise ValueError(f"labels must lie from 0 to {n - 1}, got {labels[i]} at index {i}.")
    return 0


def cross_entropy(logits, labels, out, double smoothing, class_weight, weights):
    """Return the weighted mean of cross_entropy_row over logits (N, C), and out.

    labels are numbers (N,) or targets (N, C), not empty. The gradient is written to out, a new
    array if None. A label outside 0 .. C - 1 raises ValueError before anything is written.
    """
    cdef int type = real_type(logits, 2)
    cdef const int64_t *numbers = NULL
    cdef const void *targets = NULL
    cdef const void *of_classes = NULL
    cdef const void *x
    cdef const double *of_rows = NULL
    cdef void *dx
    cdef Py_ssize_t n, rows
    cdef double loss
    if type < 0 or size_of(logits) == 0:
        return None
    rows, n = shape_of(logits)[0], shape_of(logits)[1]
    if is_array(labels, NPY_INT64, 1, shape_of(logits)):
        numbers = <const int64_t *>data_of(labels)
    elif is_array(labels, type, 2, shape_of(logits)):
        targets = data_of(labels)
    else:
        return None
    if class_weight is not None:
        if not is_array(class_weight, type, 1, shape_of(logits) + 1):
            return None
        of_classes = data_of(class_weight)
    if weights is not None:
        if not is_array(weights, NPY_DOUBLE, 1, shape_of(logits)):
            return None
        of_rows = <const double *>data_of(weights)
    out = output_like(logits, type, out)
    if out is None:
        return None
    if numbers != NULL:
        check_labels(numbers, rows, n)
    # Labels are read again after the gradient is written, so they must not overlap it.
    refuse_shared(labels, out)
    if class_weight is not None:
        refuse_shared(class_weight, out)
    if weights is not None:
        refuse_shared(weights, out)
    x, dx = data_of(logits), data_of(out)
    with nogil:
        if type == NPY_FLOAT:
            loss = cross_entropy_rows(
                rows, n, <const float *>x, numbers, <const float *>targets, smoothing,
                <const float *>of_classes, of_rows, <float *>dx)
        else:
            loss = cross_entropy_rows(
                rows, n, <const double *>x, numbers, <const double *>targets, smoothing,
                <const double *>of_classes, of_rows, <double *>dx)
    return loss, out


cdef double hinge_rows(
    Py_ssize_t rows, Py_ssize_t n, const real *x, const int64_t *labels, double margin,
    const double *weights, real *dx,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef double loss = 0, total = <double>rows, weight = 1
    if weights != NULL:
        total = 0
        for i in range(rows):
            total += weights[i]
    for i in range(rows):
        if weights != NULL:
            weight = weights[i]
        loss += weight * hinge_row(n, x + i * n, labels[i], margin,
                                   weight / total if total > 0 else 0, dx + i * n)
    return mean_of(loss, total)


def hinge(scores, labels, out, double margin, weights):
    """Return the weighted mean of hinge_row over scores (N, C), and out, as cross_entropy does."""
    cdef int type = real_type(scores, 2)
    cdef const int64_t *numbers
    cdef const void *x
    cdef const double *of_rows = NULL
    cdef void *dx
    cdef Py_ssize_t n, rows
    cdef double loss
    if type < 0 or size_of(scores) == 0:
        return None
    rows, n = shape_of(scores)[0], shape_of(scores)[1]
    if not is_array(labels, NPY_INT64, 1, shape_of(scores)):
        return None
    if weights is not None:
        if not is_array(weights, NPY_DOUBLE, 1, shape_of(scores)):
            return None
        of_rows = <const double *>data_of(weights)
    out = output_like(scores, type, out)
    if out is None:
        return None
    numbers = <const int64_t *>data_of(labels)
    check_labels(numbers, rows, n)
    refuse_shared(labels, out)
    if weights is not None:
        refuse_shared(weights, out)
    x, dx = data_of(scores), data_of(out)
    with nogil:
        if type == NPY_FLOAT:
            loss = hinge_rows(rows, n, <const float *>x, numbers, margin, of_rows, <float *>dx)
        else:
            loss = hinge_rows(rows, n, <const double *>x, numbers, margin, of_rows, <double *>dx)
    return loss, out


cdef double element_loss_rows(
    int kind, Py_ssize_t rows, Py_ssize_t n, const real *x, const real *target, double parameter,
    const double *weights, real *dx,
) noexcept nogil:
    cdef Py_ssize_t i
    cdef double loss = 0, total = <double>rows, weight = 1
    if weights != NULL:
        total = 0
        for i in range(rows):
            total += weights[i]
    for i in range(rows):
        if weights != NULL:
            weight = weights[i]
        loss += weight * element_losses(
            kind, n, x + i * n, target + i * n, parameter,
            weight / total / <double>n if total > 0 else 0, dx + i * n)
    return mean_of(loss / <double>n, total)


def element_loss(int kind, prediction, target, out, double parameter, weights):
    """Return the mean of an elementwise loss over all values, at least one, and out.

    `kind` is a number in ELEMENT_LOSSES. There is one weight per element of the first axis (one
    weight for an array without axes); the result is the weighted mean of the means of these
    elements. The gradient is written to out, with the shape of prediction and target; out is a
    new array if None.
    """
    cdef int type = real_type(prediction)
    cdef npy_intp rows = 1
    cdef const void *x
    cdef const void *y
    cdef const double *of_rows = NULL
    cdef void *dx
    cdef Py_ssize_t n
    cdef double loss
    if type < 0 or size_of(prediction) == 0:
        return None
    if not is_array(target, type, ndim_of(prediction), shape_of(prediction)):
        return None
    if weights is not None:
        if ndim_of(prediction):
            rows = shape_of(prediction)[0]
        if not is_array(weights, NPY_DOUBLE, 1, &rows):
            return None
        of_rows = <const double *>data_of(weights)
    out = output_like(prediction, type, out)
    if out is None:
        return None
    refuse_shared(target, out, True)
    if weights is not None:
        refuse_shared(weights, out)
    n = size_of(prediction) // rows
    x, y, dx = data_of(prediction), data_of(target), data_of(out)
    with nogil:
        if type == NPY_FLOAT:
            loss = element_loss_rows(kind, rows, n, <const float *>x, <const float *>y, parameter,
                                     of_rows, <float *>dx)
        else:
            loss = element_loss_rows(kind, rows, n, <const double *>x, <const double *>y,
                                     parameter, of_rows, <double *>dx)
    return loss, out


def count_correct(scores, labels):
    """Return how many rows of scores (N, C), C >= 1, have their maximum at the label.

    labels are numbers (N,), or rows (N, C) whose maximum is the label.
    """
    cdef int type = real_type(scores, 2)
    cdef const int64_t *numbers = NULL
    cdef const void *targets = NULL
    cdef const void *x
    cdef Py_ssize_t n, rows, correct
    if type < 0 or shape_of(scores)[1] == 0:
        return None
    if is_array(labels, NPY_INT64, 1, shape_of(scores)):
        numbers = <const int64_t *>data_of(labels)
    elif is_array(labels, type, 2, shape_of(scores)):
        targets = data_of(labels)
    else:
        return None
    rows, n, x = shape_of(scores)[0], shape_of(scores)[1], data_of(scores)
    with nogil:
        if type == NPY_FLOAT:
            correct = count_correct_rows(rows, n, <const float *>x, numbers,
                                         <const float *>targets)
        else:
            correct = count_correct_rows(rows, n, <const double *>x, numbers,
                                         <const double *>targets)
    return correct


def sum_batch(x, out):
    """Write the sum over the rows of x (N, O) to out (O,), a new array if None."""
    cdef int type = real_type(x, 2)
    cdef const void *source
    cdef void *to
    cdef Py_ssize_t n, rows
    if type < 0:
        return None
    out = output(out, type, 1, shape_of(x) + 1)
    if out is None:
        return None
    refuse_shared(x, out)
    rows, n, source, to = row_count(x), columns_of(x), data_of(x), data_of(out)
    with nogil:
        if type == NPY_FLOAT:
            sum_batch_rows(rows, n, <const float *>source, <float *>to)
        else:
            sum_batch_rows(rows, n, <const double *>source, <double *>to)
    return out
