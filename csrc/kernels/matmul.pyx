"""Matrix products and the forward pass of a dense layer (arguments: see arrays.pxd)."""

from libc.stdlib cimport free, malloc

from dispatch cimport (
    FM_MAX_LANES, FM_STORE_ADD, FM_STORE_RELU, FM_STORE_SET, import_tables,
)
from kernels.arrays cimport (
    NPY_FLOAT, _import_array, data_of, is_array, npy_intp, output, real_type, refuse_shared,
    shape_of,
)
from loops.matmul cimport SHORT_SUM, WORKSPACE_BYTES, aligned, product
from loops.matmul cimport matmul as _matmul

import_tables()
_import_array()


cdef enum:
    SMALL_BYTES = 16384


cdef inline void *workspace(
    char *small, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, int type
) except NULL:
    """Return memory for a product: `small`, SMALL_BYTES and a line, if it is large enough."""
    cdef Py_ssize_t size = sizeof(float) if type == NPY_FLOAT else sizeof(double)
    cdef void *memory = small
    # The panels of either operand fit SMALL_BYTES, and a sum this short packs nothing else.
    if k > SHORT_SUM or k * (max(m, n) + 3 * FM_MAX_LANES) * size > SMALL_BYTES:
        memory = malloc(WORKSPACE_BYTES + 64)
        if memory == NULL:
            raise MemoryError
    return memory


def matmul(a, b, out, bint transpose_a, bint transpose_b, bint accumulate, double alpha):
    """Write (or add) alpha * op(a) @ op(b) to out (M, N), a new array if None."""
    cdef int type = real_type(a, 2), store = FM_STORE_ADD if accumulate else FM_STORE_SET
    cdef npy_intp shape[2]
    cdef npy_intp m, n, k, lda, ldb
    cdef const void *left
    cdef const void *right
    cdef void *to
    cdef char small[SMALL_BYTES + 64]
    cdef void *memory
    if type < 0 or real_type(b, 2) != type or accumulate and out is None:
        return None
    lda, ldb = shape_of(a)[1], shape_of(b)[1]
    m, k = shape_of(a)[transpose_a], shape_of(a)[not transpose_a]
    n = shape_of(b)[not transpose_b]
    if k != shape_of(b)[transpose_b]:
        return None
    shape[0], shape[1] = m, n
    out = output(out, type, 2, shape)
    if out is None:
        return None
    refuse_shared(a, out)
    refuse_shared(b, out)
    left, right, to = data_of(a), data_of(b), data_of(out)
    memory = workspace(small, m, n, k, type)
    with nogil:
        if type == NPY_FLOAT:
            _matmul(transpose_a, transpose_b, m, n, k, <const float *>left, lda,
                    <const float *>right, ldb, <float *>to, n, <float>alpha, store,
                    <float *>aligned(memory))
        else:
            _matmul(transpose_a, transpose_b, m, n, k, <const double *>left, lda,
                    <const double *>right, ldb, <double *>to, n, alpha, store,
                    <double *>aligned(memory))
        if memory != <void *>small:
            free(memory)
    return out


def dense(x, weight, bias, out, bint relu):
    """Write x (N, I) @ weight (I, O) + bias (O,), then max(0, .) if relu, to out (N, O).

    bias may be None. out is a new array if None.
    """
    cdef int type = real_type(x, 2), store = FM_STORE_RELU if relu else FM_STORE_SET
    cdef npy_intp shape[2]
    cdef npy_intp m, n, k
    cdef const void *left
    cdef const void *right
    cdef const void *init = NULL
    cdef void *to
    cdef char small[SMALL_BYTES + 64]
    cdef void *memory
    if type < 0 or real_type(weight, 2) != type:
        return None
    m, k, n = shape_of(x)[0], shape_of(x)[1], shape_of(weight)[1]
    shape[0], shape[1] = m, n
    if shape_of(weight)[0] != k or bias is not None and not is_array(bias, type, 1, &shape[1]):
        return None
    out = output(out, type, 2, shape)
    if out is None:
        return None
    refuse_shared(x, out)
    refuse_shared(weight, out)
    if bias is not None:
        refuse_shared(bias, out)
        init = data_of(bias)
    left, right, to = data_of(x), data_of(weight), data_of(out)
    memory = workspace(small, m, n, k, type)
    with nogil:
        if type == NPY_FLOAT:
            product(m, n, k, <const float *>left, k, 1, <const float *>right, n, False,
                    <const float *>init, <float *>to, n, 1, <float>1, store,
                    <float *>aligned(memory))
        else:
            product(m, n, k, <const double *>left, k, 1, <const double *>right, n, False,
                    <const double *>init, <double *>to, n, 1, <double>1, store,
                    <double *>aligned(memory))
        if memory != <void *>small:
            free(memory)
    return out
