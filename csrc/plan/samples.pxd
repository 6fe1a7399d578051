# Samples: into a plan, out of a plan, as lists of nonzeros, and transposed.

from libc.string cimport memcpy

from dispatch cimport FM_LIST_ROWS, real
from loops.matmul cimport lanes_of, pack_panel
from loops.nonzeros cimport list_block, list_size, make_lists
from loops.normalization cimport standardize
from loops.rows cimport row_affine
from plan.operation cimport Op, Run, row_cut, sample_of


cdef inline void gather(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """y (rows, I) = the samples of this batch times op.scale; if w is set, (y - s0) * w + b."""
    cdef Py_ssize_t i, j, row, n = op.inputs
    cdef real scale = <real>op.scale
    cdef real *to
    cdef const unsigned char *values
    cdef const real *source = <const real *>run.source
    for i in range(row_cut(run.rows, thread, threads), row_cut(run.rows, thread + 1, threads)):
        row = sample_of(run, i)
        to = <real *>op.y + i * op.y_row
        if op.bytes:
            values = <const unsigned char *>run.source + row * n
            for j in range(n):
                to[j] = <real>values[j] * scale
        elif op.scale != 1:
            row_affine(n, scale, source + row * n, <real>0, to)
        else:
            memcpy(to, source + row * n, n * sizeof(real))
        if op.w != NULL:
            standardize(n, to, <const real *>op.s0, <const real *>op.w, <const real *>op.b, to)


cdef inline void output(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """Copy the outputs (rows, O) to the array of the caller."""
    cdef Py_ssize_t i, n = op.inputs
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    for i in range(row_cut(run.rows, thread, threads), row_cut(run.rows, thread + 1, threads)):
        memcpy(<real *>run.out + (run.first + i) * n, x + i * x_row, n * sizeof(real))


cdef inline void nonzeros(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """Make the lists of x (rows, I): one per tile of samples, without columns that are zero."""
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t begin = row_cut(run.rows, thread, threads)
    cdef Py_ssize_t end = row_cut(run.rows, thread + 1, threads)
    cdef Py_ssize_t block = list_block(op.inputs)
    cdef Py_ssize_t k = 0
    cdef real *lists = <real *>op.lists + begin // FM_LIST_ROWS * op.lists_row
    while k < op.inputs:
        make_lists(False, end - begin, min(block, op.inputs - k), x + begin * x_row + k, x_row,
                   2 * lanes_of(x), lists, op.lists_row)
        lists += list_size(block, x)
        k += block


cdef inline void transpose(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """dyt (O, rows) = dy transposed."""
    cdef Py_ssize_t begin = row_cut(op.outputs, thread, threads)
    cdef Py_ssize_t end = row_cut(op.outputs, thread + 1, threads)
    if begin < end:
        pack_panel(True, end - begin, run.rows, op.dyt_row, <const real *>op.dy + begin,
                   op.dy_row, <real *>op.dyt + begin * op.dyt_row)
