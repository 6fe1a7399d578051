"""Activations forward and backward, exp, log, bias and the SGD update (arrays contiguous)."""

from dispatch cimport (
    FM_ELU, FM_ELU_BACKWARD, FM_EXP, FM_GELU, FM_GELU_BACKWARD, FM_LEAKY_RELU,
    FM_LEAKY_RELU_BACKWARD, FM_LOG, FM_RELU, FM_RELU_BACKWARD, FM_SIGMOID, FM_SIGMOID_BACKWARD,
    FM_SILU, FM_SILU_BACKWARD, FM_SOFTPLUS, FM_SOFTPLUS_BACKWARD, FM_TANH, FM_TANH_BACKWARD,
    fm_f32, fm_f64, import_tables, real,
)

from overlap cimport refuse_overlap

import_tables()

# Which function of the table: the first argument of unary and of backward.
EXP = FM_EXP
LOG = FM_LOG
RELU = FM_RELU
LEAKY_RELU = FM_LEAKY_RELU
ELU = FM_ELU
GELU = FM_GELU
SILU = FM_SILU
SOFTPLUS = FM_SOFTPLUS
TANH = FM_TANH
SIGMOID = FM_SIGMOID
RELU_BACKWARD = FM_RELU_BACKWARD
LEAKY_RELU_BACKWARD = FM_LEAKY_RELU_BACKWARD
ELU_BACKWARD = FM_ELU_BACKWARD
GELU_BACKWARD = FM_GELU_BACKWARD
SILU_BACKWARD = FM_SILU_BACKWARD
SOFTPLUS_BACKWARD = FM_SOFTPLUS_BACKWARD
TANH_BACKWARD = FM_TANH_BACKWARD
SIGMOID_BACKWARD = FM_SIGMOID_BACKWARD


def unary(int function, const real[::1] x not None, real[::1] out not None, double parameter):
    """Write function(x) to out, both of n values; out may be x."""
    cdef Py_ssize_t n = x.shape[0]
    if n == 0:
        return
    refuse_overlap(&x[0], n * sizeof(real), &out[0], n * sizeof(real), True)
    with nogil:
        if real is float:
            fm_f32.unary[function](n, &x[0], &out[0], <float>parameter)
        else:
            fm_f64.unary[function](n, &x[0], &out[0], parameter)


def backward(
    int function, const real[::1] dy not None, const real[::1] saved not None,
    real[::1] out not None, double parameter,
):
    """Write dy * the derivative to out; saved: the output or input of the forward function."""
    cdef Py_ssize_t n = dy.shape[0]
    if n == 0:
        return
    refuse_overlap(&dy[0], n * sizeof(real), &out[0], n * sizeof(real), True)
    refuse_overlap(&saved[0], n * sizeof(real), &out[0], n * sizeof(real), True)
    with nogil:
        if real is float:
            fm_f32.backward[function](n, &dy[0], &saved[0], &out[0], <float>parameter)
        else:
            fm_f64.backward[function](n, &dy[0], &saved[0], &out[0], parameter)


def add_bias(const real[:, ::1] x not None, const real[::1] bias not None,
             real[:, ::1] out not None):
    """Write x (N, O) + bias (O,) to out (N, O); out may be x."""
    cdef Py_ssize_t i, n = x.shape[1]
    if n == 0 or x.shape[0] == 0:
        return
    refuse_overlap(&x[0, 0], x.shape[0] * n * sizeof(real), &out[0, 0],
                   x.shape[0] * n * sizeof(real), True)
    refuse_overlap(&bias[0], n * sizeof(real), &out[0, 0], x.shape[0] * n * sizeof(real), False)
    with nogil:
        for i in range(x.shape[0]):
            if real is float:
                fm_f32.add(n, &x[i, 0], &bias[0], &out[i, 0])
            else:
                fm_f64.add(n, &x[i, 0], &bias[0], &out[i, 0])


def sgd_update(real[::1] weight not None, const real[::1] gradient not None,
               double learning_rate):
    """Subtract learning_rate * gradient from weight, both of n values."""
    cdef Py_ssize_t n = weight.shape[0]
    if n == 0:
        return
    refuse_overlap(&gradient[0], n * sizeof(real), &weight[0], n * sizeof(real), True)
    with nogil:
        if real is float:
            fm_f32.axpy(n, <float>-learning_rate, &gradient[0], &weight[0])
        else:
            fm_f64.axpy(n, -learning_rate, &gradient[0], &weight[0])


def multiply_adds(Py_ssize_t rounds, real tag):
    """Run `rounds` times 12 vector multiply-adds on registers: 24 * rounds * lanes operations.

    The peak that benchmarks compare with. tag chooses the dtype. Returns (a value, lanes).
    """
    cdef double value
    with nogil:
        if real is float:
            value = fm_f32.multiply_adds(rounds)
        else:
            value = fm_f64.multiply_adds(rounds)
    if real is float:
        return value, fm_f32.lanes
    else:
        return value, fm_f64.lanes
