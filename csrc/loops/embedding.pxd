# Embeddings: integers name rows of a weight (V, D).

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy

from dispatch cimport real
from loops.rows cimport axpy


cdef inline Py_ssize_t index_at(const void *x, int index_bytes, Py_ssize_t i) noexcept nogil:
    """Return element i of an array of int32 or int64."""
    if index_bytes == 4:
        return (<const int32_t *>x)[i]
    return <Py_ssize_t>(<const int64_t *>x)[i]


cdef inline void embed(
    Py_ssize_t length, Py_ssize_t dim, const void *x, int index_bytes, Py_ssize_t first,
    bint sums, const real *w, real *y,
) noexcept nogil:
    """y (length, dim) = the rows of w that elements first .. first + length of x name.

    If `sums`, y (dim,) = the sum of these rows, in order; length must be at least 1.
    """
    cdef Py_ssize_t k
    for k in range(length):
        if sums and k > 0:
            axpy(dim, <real>1, w + index_at(x, index_bytes, first + k) * dim, y)
        else:
            memcpy(y + k * dim, w + index_at(x, index_bytes, first + k) * dim, dim * sizeof(real))
