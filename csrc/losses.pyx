"""Softmax, log-softmax, losses with their gradients and batch sums (arrays C-contiguous)."""

from libc.stdint cimport int64_t

from dispatch cimport (
    FM_ABSOLUTE, FM_BINARY_CROSS_ENTROPY, FM_HUBER, FM_SQUARED, import_tables, real,
)
from loss_rows cimport cross_entropy_row, element_losses, hinge_row, mean_of, target_weight
from overlap cimport refuse_overlap
from rows cimport (
    count_correct_rows, log_softmax_backward_rows, log_softmax_rows, softmax_backward_rows,
    softmax_rows, sum_batch_rows,
)

import_tables()

MSE, MAE, HUBER = FM_SQUARED, FM_ABSOLUTE, FM_HUBER
BINARY_CROSS_ENTROPY = FM_BINARY_CROSS_ENTROPY


cdef inline size_t bytes_of(const real[:, ::1] x) noexcept nogil:
    return x.shape[0] * x.shape[1] * sizeof(real)


def softmax(const real[:, ::1] x not None, real[:, ::1] out not None):
    """Write softmax over the last axis of x (N, C) to out (N, C); out may be x."""
    if x.shape[0] and x.shape[1]:
        refuse_overlap(&x[0, 0], bytes_of(x), &out[0, 0], bytes_of(out), True)
        with nogil:
            softmax_rows(x.shape[0], x.shape[1], &x[0, 0], &out[0, 0])


def log_softmax(const real[:, ::1] x not None, real[:, ::1] out not None):
    """Write log-softmax over the last axis of x (N, C) to out (N, C); out may be x."""
    if x.shape[0] and x.shape[1]:
        refuse_overlap(&x[0, 0], bytes_of(x), &out[0, 0], bytes_of(out), True)
        with nogil:
            log_softmax_rows(x.shape[0], x.shape[1], &x[0, 0], &out[0, 0])


def softmax_backward(
    const real[:, ::1] dy not None, const real[:, ::1] y not None, real[:, ::1] out not None
):
    """Write the gradient by the input of softmax, from that by its output y, to out (N, C)."""
    if y.shape[0] and y.shape[1]:
        refuse_overlap(&dy[0, 0], bytes_of(dy), &out[0, 0], bytes_of(out), True)
        refuse_overlap(&y[0, 0], bytes_of(y), &out[0, 0], bytes_of(out), True)
        with nogil:
            softmax_backward_rows(y.shape[0], y.shape[1], &dy[0, 0], &y[0, 0], &out[0, 0])


def log_softmax_backward(
    const real[:, ::1] dy not None, const real[:, ::1] y not None, real[:, ::1] out not None
):
    """Write the gradient by the input of log-softmax, from that by its output y, to out (N, C)."""
    if y.shape[0] and y.shape[1]:
        refuse_overlap(&dy[0, 0], bytes_of(dy), &out[0, 0], bytes_of(out), True)
        refuse_overlap(&y[0, 0], bytes_of(y), &out[0, 0], bytes_of(out), True)
        with nogil:
            log_softmax_backward_rows(y.shape[0], y.shape[1], &dy[0, 0], &y[0, 0], &out[0, 0])


def cross_entropy(
    const real[:, ::1] logits not None, const int64_t[::1] labels, const real[:, ::1] targets,
    real[:, ::1] out not None, double smoothing, const real[::1] class_weight,
    const double[::1] weights,
):
    """Return the weighted mean of loss_rows.cross_entropy_row over logits (N, C), N >= 1.

    With labels (N,), or targets (N, C) where they are None; the gradient goes to out. A label
    outside 0 .. C - 1 raises ValueError before anything is written.
    """
    cdef Py_ssize_t i, n = logits.shape[1], rows = logits.shape[0], label = 0
    cdef const real *target = NULL
    cdef const real *of_classes = NULL
    cdef double loss = 0, total = <double>rows, weight = 1, size
    refuse_overlap(&logits[0, 0], bytes_of(logits), &out[0, 0], bytes_of(out), True)
    if labels is not None:
        for i in range(rows):
            if not 0 <= labels[i] < n:
                raise ValueError(
                    f"labels must lie from 0 to {n - 1}, got {labels[i]} at index {i}."
                )
    else:
        refuse_overlap(&targets[0, 0], bytes_of(targets), &out[0, 0], bytes_of(out), False)
    if class_weight is not None:
        of_classes = &class_weight[0]
        refuse_overlap(of_classes, n * sizeof(real), &out[0, 0], bytes_of(out), False)
    with nogil:
        if of_classes != NULL or weights is not None:
            total = 0
            for i in range(rows):
                size = weights[i] if weights is not None else 1
                if of_classes != NULL:
                    if labels is not None:
                        label = labels[i]
                    else:
                        target = &targets[i, 0]
                    size *= target_weight(n, label, target, of_classes)
                total += size
        for i in range(rows):
            if labels is not None:
                label = labels[i]
            else:
                target = &targets[i, 0]
            if weights is not None:
                weight = weights[i]
            loss += weight * cross_entropy_row(
                n, &logits[i, 0], label, target, smoothing, of_classes,
                weight / total if total > 0 else 0, &out[i, 0])
    return mean_of(loss, total)


def hinge(
    const real[:, ::1] scores not None, const int64_t[::1] labels not None,
    real[:, ::1] out not None, double margin, const double[::1] weights,
):
    """Return the weighted mean of loss_rows.hinge_row over scores (N, C), N >= 1; likewise."""
    cdef Py_ssize_t i, n = scores.shape[1], rows = scores.shape[0]
    cdef double loss = 0, total = <double>rows, weight = 1
    refuse_overlap(&scores[0, 0], bytes_of(scores), &out[0, 0], bytes_of(out), True)
    for i in range(rows):
        if not 0 <= labels[i] < n:
            raise ValueError(f"labels must lie from 0 to {n - 1}, got {labels[i]} at index {i}.")
    with nogil:
        if weights is not None:
            total = 0
            for i in range(rows):
                total += weights[i]
        for i in range(rows):
            if weights is not None:
                weight = weights[i]
            loss += weight * hinge_row(n, &scores[i, 0], labels[i], margin,
                                       weight / total if total > 0 else 0, &out[i, 0])
    return mean_of(loss, total)


def element_loss(
    int kind, const real[:, ::1] prediction not None, const real[:, ::1] target not None,
    real[:, ::1] out not None, double parameter, const double[::1] weights,
):
    """Return the weighted mean over the rows (N, D), N and D >= 1, of a loss of single values.

    The loss of a row is its mean over the columns; the gradient goes to out. MSE, MAE, HUBER and
    BINARY_CROSS_ENTROPY are the kinds.
    """
    cdef Py_ssize_t i, n = prediction.shape[1], rows = prediction.shape[0]
    cdef double loss = 0, total = <double>rows, weight = 1
    refuse_overlap(&prediction[0, 0], bytes_of(prediction), &out[0, 0], bytes_of(out), True)
    refuse_overlap(&target[0, 0], bytes_of(target), &out[0, 0], bytes_of(out), True)
    with nogil:
        if weights is not None:
            total = 0
            for i in range(rows):
                total += weights[i]
        for i in range(rows):
            if weights is not None:
                weight = weights[i]
            loss += weight * element_losses(
                kind, n, &prediction[i, 0], &target[i, 0], parameter,
                weight / total / <double>n if total > 0 else 0, &out[i, 0])
    return mean_of(loss / <double>n, total)


def count_correct_labels(
    const real[:, ::1] scores not None, const int64_t[::1] labels not None
):
    """Return how many rows of scores (N, C), C >= 1, have their largest value at the label."""
    cdef Py_ssize_t correct = 0
    if scores.shape[0]:
        with nogil:
            correct = count_correct_rows(scores.shape[0], scores.shape[1], &scores[0, 0],
                                         &labels[0], <const real *>NULL)
    return correct


def count_correct_targets(
    const real[:, ::1] scores not None, const real[:, ::1] targets not None
):
    """The same with targets (N, C) in place of labels."""
    cdef Py_ssize_t correct = 0
    if scores.shape[0]:
        with nogil:
            correct = count_correct_rows(scores.shape[0], scores.shape[1], &scores[0, 0],
                                         <const int64_t *>NULL, &targets[0, 0])
    return correct


def sum_batch(const real[:, ::1] x not None, real[::1] out not None):
    """Write the sum over the rows of x (N, O) to out (O,)."""
    if out.shape[0]:
        if x.shape[0]:
            refuse_overlap(&x[0, 0], bytes_of(x), &out[0], out.shape[0] * sizeof(real), False)
        with nogil:
            sum_batch_rows(x.shape[0], x.shape[1], &x[0, 0] if x.shape[0] else NULL, &out[0])
