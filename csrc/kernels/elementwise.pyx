"""Activations and their derivatives, exp, log, bias, updates (arguments: see arrays.pxd)."""

from dispatch cimport (
    FM_MAX_COEFFICIENTS, FM_UNARY_COUNT, FM_UPDATE_COUNT, fm_f32, fm_f64,
    fm_unary_names, fm_update_names, import_tables, numbers_of, real,
)
from kernels.arrays cimport (
    NPY_ARRAY_CARRAY, NPY_DOUBLE, NPY_FLOAT, _import_array, data_of, is_array, ndim_of,
    output_like, real_type, refuse_shared, shape_of, size_of, type_of,
)

import_tables()
_import_array()

# The first arguments of unary and backward, and of update, by name.
UNARY = numbers_of(fm_unary_names, FM_UNARY_COUNT)
UPDATE_RULES = numbers_of(fm_update_names, FM_UPDATE_COUNT)


def unary(int function, x, out, double parameter):
    """Write function(x) to out, of the same shape. out may be x; it is a new array if None."""
    cdef int type = real_type(x)
    cdef const void *source
    cdef void *to
    cdef Py_ssize_t n
    if type < 0:
        return None
    out = output_like(x, type, out)
    if out is None:
        return None
    n, source, to = size_of(x), data_of(x), data_of(out)
    with nogil:
        if type == NPY_FLOAT:
            fm_f32.unary[function](n, <const float *>source, <float *>to, <float>parameter)
        else:
            fm_f64.unary[function](n, <const double *>source, <double *>to, parameter)
    return out


def backward(int function, dy, saved, out, double parameter):
    """Write dy * the derivative to out. saved is the output or input of the forward function.

    All arrays have the same shape. out may be dy or saved; it is a new array if None.
    """
    cdef int type = real_type(dy)
    cdef const void *source
    cdef const void *kept
    cdef void *to
    cdef Py_ssize_t n
    if type < 0 or not is_array(saved, type, ndim_of(dy), shape_of(dy)):
        return None
    out = output_like(dy, type, out)
    if out is None:
        return None
    refuse_shared(saved, out, True)
    n, source, kept, to = size_of(dy), data_of(dy), data_of(saved), data_of(out)
    with nogil:
        if type == NPY_FLOAT:
            fm_f32.backward[function](n, <const float *>source, <const float *>kept, <float *>to,
                                      <float>parameter)
        else:
            fm_f64.backward[function](n, <const double *>source, <const double *>kept, <double *>to,
                                      parameter)
    return out


def add_bias(x, bias, out):
    """Write x (N, O) + bias (O,) to out (N, O). out may be x; it is a new array if None."""
    cdef int type = real_type(x, 2)
    cdef const void *source
    cdef const void *added
    cdef void *to
    cdef Py_ssize_t i, n, rows
    if type < 0 or not is_array(bias, type, 1, shape_of(x) + 1):
        return None
    out = output_like(x, type, out)
    if out is None:
        return None
    refuse_shared(bias, out)
    rows, n = shape_of(x)[0], shape_of(x)[1]
    source, added, to = data_of(x), data_of(bias), data_of(out)
    with nogil:
        for i in range(rows if n else 0):
            if type == NPY_FLOAT:
                fm_f32.add(n, <const float *>source + i * n, <const float *>added,
                           <float *>to + i * n)
            else:
                fm_f64.add(n, <const double *>source + i * n, <const double *>added,
                           <double *>to + i * n)
    return out


def update(int rule, w, g, tuple states, tuple coefficients):
    """Apply one step of an update rule to w, in place, with the gradient g; return w.

    The rule has at most two states, with the shape of w.
    """
    cdef double p[FM_MAX_COEFFICIENTS]
    cdef int type
    cdef const void *gradient
    cdef void *weight
    cdef void *first = NULL
    cdef void *second = NULL
    cdef Py_ssize_t i, n
    for i in range(min(len(coefficients), FM_MAX_COEFFICIENTS)):
        p[i] = coefficients[i]
    type = type_of(w, NPY_ARRAY_CARRAY)
    if type != NPY_FLOAT and type != NPY_DOUBLE:
        return None
    if not is_array(g, type, ndim_of(w), shape_of(w)):
        return None
    for state in states:
        if not is_array(state, type, ndim_of(w), shape_of(w), NPY_ARRAY_CARRAY):
            return None
    refuse_shared(g, w, True)
    for state in states:
        refuse_shared(g, state)
        refuse_shared(w, state)
    if len(states) > 0:
        first = data_of(states[0])
    if len(states) > 1:
        refuse_shared(states[0], states[1])
        second = data_of(states[1])
    n, gradient, weight = size_of(w), data_of(g), data_of(w)
    with nogil:
        if type == NPY_FLOAT:
            fm_f32.update[rule](n, <const float *>gradient, <float *>weight, <float *>first,
                                <float *>second, p)
        else:
            fm_f64.update[rule](n, <const double *>gradient, <double *>weight, <double *>first,
                                <double *>second, p)
    return w


def penalize(double l1, double l2, w, g):
    """Add l1 * sign(w) + l2 * w to g, of the same shape, and return g."""
    cdef int type = real_type(w)
    cdef const void *weight
    cdef void *gradient
    cdef Py_ssize_t n
    if type < 0 or not is_array(g, type, ndim_of(w), shape_of(w), NPY_ARRAY_CARRAY):
        return None
    refuse_shared(w, g)
    n, weight, gradient = size_of(w), data_of(w), data_of(g)
    with nogil:
        if type == NPY_FLOAT:
            fm_f32.penalize(n, <float>l1, <float>l2, <const float *>weight, <float *>gradient)
        else:
            fm_f64.penalize(n, l1, l2, <const double *>weight, <double *>gradient)
    return g


def clamp(double limit, x, out):
    """Write x clipped to [-limit, limit] to out. out may be x; it is a new array if None."""
    cdef int type = real_type(x)
    cdef const void *source
    cdef void *to
    cdef Py_ssize_t n
    if type < 0:
        return None
    out = output_like(x, type, out)
    if out is None:
        return None
    n, source, to = size_of(x), data_of(x), data_of(out)
    with nogil:
        if type == NPY_FLOAT:
            fm_f32.clamp(n, <float>limit, <const float *>source, <float *>to)
        else:
            fm_f64.clamp(n, limit, <const double *>source, <double *>to)
    return out


def scale(double factor, x):
    """Multiply x by a factor, in place, and return it."""
    cdef int type = real_type(x)
    cdef void *to
    cdef Py_ssize_t n
    if type < 0:
        return None
    n, to = size_of(x), data_of(x)
    with nogil:
        if type == NPY_FLOAT:
            fm_f32.row_affine(n, <float>factor, <float *>to, 0, <float *>to)
        else:
            fm_f64.row_affine(n, factor, <double *>to, 0, <double *>to)
    return x


def sums(x, bint squares):
    """Return the sum of the squares of x, or of its magnitudes, in double."""
    cdef int type = real_type(x)
    cdef const void *source
    cdef Py_ssize_t n
    cdef double result
    if type < 0:
        return None
    n, source = size_of(x), data_of(x)
    with nogil:
        if type == NPY_FLOAT:
            result = (fm_f32.sum_squares(n, <const float *>source) if squares
                      else fm_f32.sum_magnitudes(n, <const float *>source))
        else:
            result = (fm_f64.sum_squares(n, <const double *>source) if squares
                      else fm_f64.sum_magnitudes(n, <const double *>source))
    return result


def multiply_adds(Py_ssize_t rounds, real tag):
    """Run `rounds` times 12 vector multiply-adds on registers: 24 * rounds * lanes operations.

    Benchmarks compare with this peak. tag chooses the dtype. Returns (a value, lanes).
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
