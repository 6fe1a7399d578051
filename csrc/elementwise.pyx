"""Activations forward and backward, exp, log, bias and optimizers (arrays contiguous)."""

from dispatch cimport (
    FM_ADAGRAD, FM_ADAM, FM_ADAMW, FM_ELU, FM_ELU_BACKWARD, FM_EXP, FM_GELU, FM_GELU_BACKWARD,
    FM_LEAKY_RELU, FM_LEAKY_RELU_BACKWARD, FM_LOG, FM_MOMENTUM, FM_NESTEROV, FM_RELU,
    FM_RELU_BACKWARD, FM_RMSPROP, FM_SGD, FM_SIGMOID, FM_SIGMOID_BACKWARD, FM_SILU,
    FM_SILU_BACKWARD, FM_SOFTPLUS, FM_SOFTPLUS_BACKWARD, FM_TANH, FM_TANH_BACKWARD,
    FM_UPDATE_COUNT, fm_f32, fm_f64, import_tables, real,
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
# The first argument of update, and the names in the order of the table.
SGD = FM_SGD
MOMENTUM = FM_MOMENTUM
NESTEROV = FM_NESTEROV
ADAGRAD = FM_ADAGRAD
RMSPROP = FM_RMSPROP
ADAM = FM_ADAM
ADAMW = FM_ADAMW
_NAMES = {
    FM_SGD: "SGD", FM_MOMENTUM: "MOMENTUM", FM_NESTEROV: "NESTEROV", FM_ADAGRAD: "ADAGRAD",
    FM_RMSPROP: "RMSPROP", FM_ADAM: "ADAM", FM_ADAMW: "ADAMW",
}
UPDATES = tuple([_NAMES[kind] for kind in range(FM_UPDATE_COUNT)])


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


def update(
    int kind, real[::1] w not None, const real[::1] g not None, real[::1] s0, real[::1] s1,
    const double[::1] p not None,
):
    """Do one step of the optimizer `kind` on w, in place, given the gradient g.

    s0 and s1 are its states, of the size of w; None for those it has not. p: its coefficients.
    """
    cdef Py_ssize_t n = w.shape[0]
    cdef real *first = NULL
    cdef real *second = NULL
    if n == 0:
        return
    refuse_overlap(&g[0], n * sizeof(real), &w[0], n * sizeof(real), True)
    if s0 is not None:
        first = &s0[0]
        refuse_overlap(&g[0], n * sizeof(real), first, n * sizeof(real), False)
        refuse_overlap(&w[0], n * sizeof(real), first, n * sizeof(real), False)
    if s1 is not None:
        second = &s1[0]
        refuse_overlap(&g[0], n * sizeof(real), second, n * sizeof(real), False)
        refuse_overlap(&w[0], n * sizeof(real), second, n * sizeof(real), False)
        refuse_overlap(first, n * sizeof(real), second, n * sizeof(real), False)
    with nogil:
        if real is float:
            fm_f32.update[kind](n, &g[0], &w[0], first, second, &p[0])
        else:
            fm_f64.update[kind](n, &g[0], &w[0], first, second, &p[0])


def penalize(double l1, double l2, const real[::1] w not None, real[::1] g not None):
    """Add l1 * sign(w) + l2 * w to g, both of n values."""
    cdef Py_ssize_t n = w.shape[0]
    if n == 0:
        return
    refuse_overlap(&w[0], n * sizeof(real), &g[0], n * sizeof(real), False)
    with nogil:
        if real is float:
            fm_f32.penalize(n, <float>l1, <float>l2, &w[0], &g[0])
        else:
            fm_f64.penalize(n, l1, l2, &w[0], &g[0])


def clamp(double limit, const real[::1] x not None, real[::1] out not None):
    """Write x brought to [-limit, limit] to out, both of n values; out may be x."""
    cdef Py_ssize_t n = x.shape[0]
    if n == 0:
        return
    refuse_overlap(&x[0], n * sizeof(real), &out[0], n * sizeof(real), True)
    with nogil:
        if real is float:
            fm_f32.clamp(n, <float>limit, &x[0], &out[0])
        else:
            fm_f64.clamp(n, limit, &x[0], &out[0])


def scale(double factor, real[::1] x not None):
    """Multiply x by a factor, in place."""
    cdef Py_ssize_t n = x.shape[0]
    if n == 0:
        return
    with nogil:
        if real is float:
            fm_f32.row_affine(n, <float>factor, &x[0], 0, &x[0])
        else:
            fm_f64.row_affine(n, factor, &x[0], 0, &x[0])


def sums(const real[::1] x not None, bint squares):
    """Return the sum of the squares, or of the magnitudes, in double."""
    cdef Py_ssize_t n = x.shape[0]
    cdef double result
    if n == 0:
        return 0.0
    with nogil:
        if real is float:
            result = fm_f32.sum_squares(n, &x[0]) if squares else fm_f32.sum_magnitudes(n, &x[0])
        else:
            result = fm_f64.sum_squares(n, &x[0]) if squares else fm_f64.sum_magnitudes(n, &x[0])
    return result


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
