"""Softmax, log-softmax, losses with their gradients and batch sums (arrays C-contiguous)."""

from libc.stdint cimport int64_t

from dispatch cimport fm_f32, fm_f64, import_tables, real
from overlap cimport refuse_overlap
from rows cimport (
    count_correct_rows, cross_entropy_rows, log_softmax_backward_rows, log_softmax_rows,
    softmax_backward_rows, softmax_rows, sum_batch_rows,
)

import_tables()


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


def cross_entropy_labels(
    const real[:, ::1] logits not None, const int64_t[::1] labels not None,
    real[:, ::1] out not None,
):
    """Return the mean cross-entropy of logits (N, C), N >= 1, with labels (N,); gradient to out.

    A label outside 0 .. C - 1 raises ValueError before anything is written.
    """
    cdef double loss
    cdef Py_ssize_t i
    for i in range(labels.shape[0]):
        if not 0 <= labels[i] < logits.shape[1]:
            raise ValueError(
                f"labels must lie from 0 to {logits.shape[1] - 1}, got {labels[i]} at index {i}."
            )
    refuse_overlap(&logits[0, 0], bytes_of(logits), &out[0, 0], bytes_of(out), True)
    with nogil:
        loss = cross_entropy_rows(logits.shape[0], logits.shape[1], &logits[0, 0], &labels[0],
                                  <const real *>NULL, &out[0, 0])
    return loss


def cross_entropy_targets(
    const real[:, ::1] logits not None, const real[:, ::1] targets not None,
    real[:, ::1] out not None,
):
    """The same with targets (N, C): one-hot rows or probabilities."""
    cdef double loss
    refuse_overlap(&logits[0, 0], bytes_of(logits), &out[0, 0], bytes_of(out), True)
    refuse_overlap(&targets[0, 0], bytes_of(targets), &out[0, 0], bytes_of(out), False)
    with nogil:
        loss = cross_entropy_rows(logits.shape[0], logits.shape[1], &logits[0, 0],
                                  <const int64_t *>NULL, &targets[0, 0], &out[0, 0])
    return loss


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


def mse(
    const real[::1] prediction not None, const real[::1] target not None, real[::1] out not None
):
    """Return mean((prediction - target)^2) of n >= 1 values; its gradient to out."""
    cdef Py_ssize_t n = prediction.shape[0]
    cdef double total
    refuse_overlap(&prediction[0], n * sizeof(real), &out[0], n * sizeof(real), True)
    refuse_overlap(&target[0], n * sizeof(real), &out[0], n * sizeof(real), True)
    with nogil:
        if real is float:
            total = fm_f32.squared_difference(n, <float>(2.0 / n), &prediction[0], &target[0],
                                              &out[0])
        else:
            total = fm_f64.squared_difference(n, 2.0 / n, &prediction[0], &target[0], &out[0])
    return total / n


def sum_batch(const real[:, ::1] x not None, real[::1] out not None):
    """Write the sum over the rows of x (N, O) to out (O,)."""
    if out.shape[0]:
        if x.shape[0]:
            refuse_overlap(&x[0, 0], bytes_of(x), &out[0], out.shape[0] * sizeof(real), False)
        with nogil:
            sum_batch_rows(x.shape[0], x.shape[1], &x[0, 0] if x.shape[0] else NULL, &out[0])
