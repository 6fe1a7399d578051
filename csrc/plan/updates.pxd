# Operations on whole parameters: penalties, and updates clipped by the norm of all gradients.
#
# A parameter is summed in chunks whose size depends only on the size of the parameter. One thread
# sums a chunk; users of the total add up the chunks from the first on.

from libc.math cimport sqrt

from dispatch cimport FM_MAX_COEFFICIENTS, fm_f32, fm_f64, real
from loops.matmul cimport lanes_of
from loops.rows cimport row_affine
from plan.operation cimport CHUNK_ROWS, LIMIT, Op, Run, coefficients_of, cut, sum_squares, update

cdef enum:
    SUM_CHUNK = 4096            # values


cdef inline double sum_magnitudes(Py_ssize_t n, const real *x) noexcept nogil:
    if real is float:
        return fm_f32.sum_magnitudes(n, x)
    else:
        return fm_f64.sum_magnitudes(n, x)


cdef inline void penalty(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """sums[c] = l1 sum |x| + l2 sum x^2 over chunk c of the I values of x."""
    cdef const real *x = <const real *>op.x
    cdef Py_ssize_t c, n, chunks = (op.inputs + SUM_CHUNK - 1) // SUM_CHUNK
    for c in range(cut(chunks, thread, threads), cut(chunks, thread + 1, threads)):
        n = min(<Py_ssize_t>SUM_CHUNK, op.inputs - c * SUM_CHUNK)
        op.sums[c] = 0
        if op.l1 != 0:
            op.sums[c] = op.l1 * sum_magnitudes(n, x + c * SUM_CHUNK)
        if op.l2 != 0:
            op.sums[c] += op.l2 * sum_squares(n, x + c * SUM_CHUNK)


cdef inline void gradient_norm(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """sums[c] = sum of squares over chunk c of the I values of x."""
    cdef const real *x = <const real *>op.x
    cdef Py_ssize_t c, chunks = (op.inputs + SUM_CHUNK - 1) // SUM_CHUNK
    for c in range(cut(chunks, thread, threads), cut(chunks, thread + 1, threads)):
        op.sums[c] = sum_squares(min(<Py_ssize_t>SUM_CHUNK, op.inputs - c * SUM_CHUNK),
                                 x + c * SUM_CHUNK)


cdef inline void clipped_update(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """Update w (I values) by its gradient x, scaled so that the norm of all gradients is clipped.

    sums contains O sums of squares: all chunks of all gradients.
    """
    cdef const double *p
    cdef double own[FM_MAX_COEFFICIENTS]
    cdef double total = 0
    cdef Py_ssize_t chunk = CHUNK_ROWS * 2 * lanes_of(scratch)
    cdef Py_ssize_t chunks = (op.inputs + chunk - 1) // chunk
    cdef Py_ssize_t i, n, at
    cdef const real *g
    cdef real *s0 = <real *>op.s0
    cdef real *s1 = <real *>op.s1
    for i in range(op.outputs):
        total += op.sums[i]
    # As PyTorch's clip_grad_norm_. A NaN norm also scales, so that NaN reaches the weights.
    total = run.coefficients[LIMIT] / (sqrt(total) + 1e-6)
    p = coefficients_of(op, run, own)
    for i in range(cut(chunks, thread, threads), cut(chunks, thread + 1, threads)):
        at = i * chunk
        n = min(chunk, op.inputs - at)
        g = <const real *>op.x + at
        if not total >= 1:
            row_affine(n, <real>total, g, <real>0, scratch)
            g = scratch
        update(op.rule, n, <real *>g, <real *>op.w + at, s0 + at if s0 != NULL else NULL,
               s1 + at if s1 != NULL else NULL, p)
