"""Dropout, noise, normalization and embeddings (C-contiguous arrays)."""

from libc.math cimport sqrt
from libc.stdint cimport int64_t, uint32_t, uint64_t

from dispatch cimport import_tables, real
from kernels.overlap cimport refuse_overlap
from loops.dropout cimport fm_counter_key, mask_rows, noise_rows
from loops.embedding cimport embed
from loops.normalization cimport (
    batch_factors, batch_slopes, column_moments, column_products, layer_norm_backward_rows,
    layer_norm_rows, layer_norm_sums, moments_of, standardize, standardize_backward,
)
from loops.rows cimport axpy

import_tables()


cdef inline size_t bytes_of(const real[:, ::1] x) noexcept nogil:
    return x.shape[0] * x.shape[1] * sizeof(real)


def dropout(const real[:, ::1] x not None, real[:, ::1] out not None, uint64_t key,
            uint64_t step, uint32_t threshold, double scale):
    """Write x (N, C) * scale, or 0 where dropped in this step, to out (N, C). out may be x."""
    if x.shape[0] and x.shape[1]:
        refuse_overlap(&x[0, 0], bytes_of(x), &out[0, 0], bytes_of(out), True)
        with nogil:
            mask_rows(x.shape[0], x.shape[1], &x[0, 0], x.shape[1], &out[0, 0], x.shape[1],
                      fm_counter_key(key, step), 0, 0, threshold, scale)


def gaussian_noise(const real[:, ::1] x not None, real[:, ::1] out not None, uint64_t key,
                   uint64_t step, double stddev):
    """Write x (N, C) + stddev * N(0, 1), drawn for this step, to out (N, C). out may be x."""
    if x.shape[0] and x.shape[1]:
        refuse_overlap(&x[0, 0], bytes_of(x), &out[0, 0], bytes_of(out), True)
        with nogil:
            noise_rows(x.shape[0], x.shape[1], &x[0, 0], x.shape[1], &out[0, 0], x.shape[1],
                       fm_counter_key(key, step), 0, stddev)


# --- Normalization by columns --------------------------------------------------------------------


def batch_moments(const real[:, ::1] x not None, double[::1] mean not None,
                  double[::1] variance not None):
    """Write the mean and the variance of each column of x (M, F), M >= 1, to arrays (F,)."""
    cdef Py_ssize_t j, n = x.shape[1]
    if n:
        with nogil:
            column_moments(x.shape[0], n, &x[0, 0], n, &mean[0], &variance[0])
            for j in range(n):
                variance[j] /= <double>x.shape[0]


def batch_norm(const real[:, ::1] x not None, const real[::1] gamma not None,
               const real[::1] beta not None, const double[::1] mean not None,
               const double[::1] variance not None, double epsilon, real[:, ::1] factors not None,
               real[:, ::1] out not None):
    """Write gamma * (x - mean) / sqrt(variance + epsilon) + beta to out (M, F). out may be x.

    factors (3, F) is overwritten.
    """
    cdef Py_ssize_t i, n = x.shape[1]
    if n and x.shape[0]:
        refuse_overlap(&x[0, 0], bytes_of(x), &out[0, 0], bytes_of(out), True)
        with nogil:
            batch_factors(n, &mean[0], &variance[0], epsilon, &gamma[0], &beta[0], &factors[0, 0],
                          &factors[1, 0], &factors[2, 0])
            for i in range(x.shape[0]):
                standardize(n, &x[i, 0], &factors[0, 0], &factors[1, 0], &factors[2, 0],
                            &out[i, 0])


def batch_norm_backward(
    const real[:, ::1] dy not None, const real[:, ::1] x not None,
    const real[::1] gamma not None, const double[::1] mean not None,
    const double[::1] variance not None, double epsilon, double[:, ::1] sums not None,
    real[:, ::1] factors not None, real[:, ::1] out not None, real[::1] dgamma not None,
    real[::1] dbeta not None,
):
    """Write the gradient by x to out (M, F), M >= 1, and by gamma and beta to dgamma, dbeta (F,).

    out may be dy or x. sums (2, F) and factors (4, F) are overwritten.
    """
    cdef Py_ssize_t i, j, n = x.shape[1]
    if n == 0:
        return
    refuse_overlap(&dy[0, 0], bytes_of(dy), &out[0, 0], bytes_of(out), True)
    refuse_overlap(&x[0, 0], bytes_of(x), &out[0, 0], bytes_of(out), True)
    with nogil:
        column_products(x.shape[0], n, &dy[0, 0], n, &x[0, 0], n, &mean[0], &sums[0, 0],
                        &sums[1, 0])
        batch_slopes(n, x.shape[0], &mean[0], &variance[0], epsilon, &gamma[0], &sums[0, 0],
                     &sums[1, 0], &factors[0, 0], &factors[1, 0], &factors[2, 0], &factors[3, 0])
        for j in range(n):
            dbeta[j] = <real>sums[0, j]
            dgamma[j] = <real>(sums[1, j] / sqrt(variance[j] + epsilon))
        for i in range(x.shape[0]):
            standardize_backward(n, &dy[i, 0], &x[i, 0], &factors[0, 0], &factors[1, 0],
                                 &factors[2, 0], &factors[3, 0], &out[i, 0])


# --- Normalization by rows -----------------------------------------------------------------------


def layer_norm(const real[:, ::1] x not None, const real[::1] gamma not None,
               const real[::1] beta not None, double epsilon, double[:, ::1] moments not None,
               real[:, ::1] out not None):
    """Write gamma * t + beta to out (M, F), where t is x with rows of mean 0 and variance 1.

    out may be x. moments (M, 2) is overwritten.
    """
    if x.shape[0] and x.shape[1]:
        refuse_overlap(&x[0, 0], bytes_of(x), &out[0, 0], bytes_of(out), True)
        with nogil:
            layer_norm_rows(x.shape[0], x.shape[1], &x[0, 0], epsilon, &gamma[0], &beta[0],
                            &out[0, 0], &moments[0, 0])


def layer_norm_backward(
    const real[:, ::1] dy not None, const real[:, ::1] x not None, const real[::1] gamma not None,
    double epsilon, double[:, ::1] moments not None, double[:, ::1] sums not None,
    real[:, ::1] out not None, real[::1] dgamma not None, real[::1] dbeta not None,
):
    """Write the gradient by x to out (M, F), and by gamma and beta to dgamma, dbeta (F,).

    out may be dy or x. moments (M, 2) belong to x; sums (2, F) must be zero.
    """
    cdef Py_ssize_t j, n = x.shape[1]
    if n and x.shape[0]:
        refuse_overlap(&dy[0, 0], bytes_of(dy), &out[0, 0], bytes_of(out), True)
        refuse_overlap(&x[0, 0], bytes_of(x), &out[0, 0], bytes_of(out), True)
        with nogil:
            layer_norm_sums(x.shape[0], n, 0, n, &dy[0, 0], &x[0, 0], epsilon, &moments[0, 0],
                            &sums[0, 0], &sums[1, 0])
            layer_norm_backward_rows(x.shape[0], n, &dy[0, 0], &x[0, 0], epsilon, &gamma[0],
                                     &moments[0, 0], &out[0, 0])
    for j in range(n):
        dbeta[j] = <real>sums[0, j]
        dgamma[j] = <real>sums[1, j]


def row_moments(const real[:, ::1] x not None, double[:, ::1] moments not None):
    """Write the mean and the squared deviations of every row of x (M, F), F >= 1, to moments."""
    cdef Py_ssize_t i
    if x.shape[0]:
        with nogil:
            for i in range(x.shape[0]):
                moments_of(x.shape[1], &x[i, 0], &moments[i, 0])


# --- Embeddings ----------------------------------------------------------------------------------


def embedding(const int64_t[:, ::1] x not None, const real[:, ::1] weight not None, bint sums,
              real[:, ::1] out not None):
    """Write the rows of weight (V, D) that x (N, L) names to out (N, L * D), or their sums (N, D).

    With sums L must be at least 1. Every element of x must be from 0 to V - 1.
    """
    cdef Py_ssize_t i, length = x.shape[1], dim = weight.shape[1]
    if x.shape[0] and length and dim:
        refuse_overlap(&weight[0, 0], bytes_of(weight), &out[0, 0], bytes_of(out), False)
        with nogil:
            for i in range(x.shape[0]):
                embed(length, dim, &x[0, 0], sizeof(int64_t), i * length, sums, &weight[0, 0],
                      &out[i, 0])


def embedding_backward(const real[:, ::1] dy not None, const int64_t[:, ::1] x not None,
                       bint sums, real[:, ::1] out not None):
    """Add parts of dy, with the shapes of embedding, to the rows of out (V, D) that x names."""
    cdef Py_ssize_t i, k, length = x.shape[1], dim = out.shape[1]
    if x.shape[0] and length and dim:
        refuse_overlap(&dy[0, 0], bytes_of(dy), &out[0, 0], bytes_of(out), False)
        with nogil:
            for i in range(x.shape[0]):
                for k in range(length):
                    axpy(dim, <real>1, &dy[i, 0] + (0 if sums else k * dim), &out[x[i, k], 0])
