"""Matrix products and the dense layer's forward pass (arrays C-contiguous, sizes checked)."""

from libc.stdlib cimport free, malloc

from dispatch cimport (
    FM_MAX_LANES, FM_STORE_ADD, FM_STORE_RELU, FM_STORE_SET, import_tables, real,
)
from matmul cimport SHORT_SUM, WORKSPACE_BYTES, aligned, product
from matmul cimport matmul as _matmul
from overlap cimport refuse_overlap

import_tables()


cdef enum:
    SMALL_BYTES = 16384


cdef inline bint is_small(Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, size_t size) noexcept nogil:
    # The panels of either operand fit SMALL_BYTES, and a sum this short packs nothing else.
    return k <= SHORT_SUM and k * (max(m, n) + 3 * FM_MAX_LANES) * size <= SMALL_BYTES


def matmul(
    const real[:, ::1] a not None, const real[:, ::1] b not None, real[:, ::1] out not None,
    bint transpose_a, bint transpose_b, bint accumulate, double alpha,
):
    """Write (or add) alpha * op(a) @ op(b) to out (M, N)."""
    cdef Py_ssize_t m = out.shape[0]
    cdef Py_ssize_t n = out.shape[1]
    cdef Py_ssize_t k = a.shape[0] if transpose_a else a.shape[1]
    cdef char small[SMALL_BYTES + 64]
    cdef void *memory = <void *>small
    cdef bint allocated = False
    if m == 0 or n == 0:
        return
    if k:
        refuse_overlap(&a[0, 0], m * k * sizeof(real), &out[0, 0], m * n * sizeof(real), False)
        refuse_overlap(&b[0, 0], k * n * sizeof(real), &out[0, 0], m * n * sizeof(real), False)
    if not is_small(m, n, k, sizeof(real)):
        memory = malloc(WORKSPACE_BYTES + 64)
        if memory == NULL:
            raise MemoryError
        allocated = True
    with nogil:
        _matmul(transpose_a, transpose_b, m, n, k, &a[0, 0] if k else NULL, a.shape[1],
                &b[0, 0] if k else NULL, b.shape[1], &out[0, 0], n, <real>alpha,
                FM_STORE_ADD if accumulate else FM_STORE_SET, <real *>aligned(memory))
        if allocated:
            free(memory)


def dense(
    const real[:, ::1] x not None, const real[:, ::1] weight not None,
    const real[::1] bias, real[:, ::1] out not None, bint relu,
):
    """Write x (N, I) @ weight (I, O) + bias (O,), through max(0, .) where relu, to out (N, O).

    bias may be None.
    """
    cdef Py_ssize_t m = out.shape[0]
    cdef Py_ssize_t n = out.shape[1]
    cdef Py_ssize_t k = x.shape[1]
    cdef const real *init = NULL
    cdef char small[SMALL_BYTES + 64]
    cdef void *memory = <void *>small
    cdef bint allocated = False
    if m == 0 or n == 0:
        return
    if bias is not None:
        init = &bias[0]
        refuse_overlap(init, n * sizeof(real), &out[0, 0], m * n * sizeof(real), False)
    if k:
        refuse_overlap(&x[0, 0], m * k * sizeof(real), &out[0, 0], m * n * sizeof(real), False)
        refuse_overlap(&weight[0, 0], k * n * sizeof(real), &out[0, 0], m * n * sizeof(real),
                       False)
    if not is_small(m, n, k, sizeof(real)):
        memory = malloc(WORKSPACE_BYTES + 64)
        if memory == NULL:
            raise MemoryError
        allocated = True
    with nogil:
        product(m, n, k, &x[0, 0] if k else NULL, k, 1, &weight[0, 0] if k else NULL, n, False,
                init, &out[0, 0], n, 1, <real>1, FM_STORE_RELU if relu else FM_STORE_SET,
                <real *>aligned(memory))
        if allocated:
            free(memory)
