# Embeddings: the integers of a sample name rows of a weight.

from libc.string cimport memset

from dispatch cimport FM_ADAGRAD, FM_SGD, real
from loops.embedding cimport embed, index_at
from loops.rows cimport axpy
from plan.activations cimport finish_rows
from plan.operation cimport Op, Run, apply_gradient, cut, fm_touch, row_cut, sample_of


cdef inline void embedding(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """z (rows, I, O), or their sums (rows, O) = rows of w; y = activation of z."""
    cdef Py_ssize_t i
    cdef Py_ssize_t begin = row_cut(run.rows, thread, threads)
    cdef Py_ssize_t end = row_cut(run.rows, thread + 1, threads)
    if run.order != NULL:
        for i in range(begin, end):  # all cache misses at once
            fm_touch(<const char *>run.source + sample_of(run, i) * op.inputs * op.index_bytes)
    for i in range(begin, end):
        embed(op.inputs, op.outputs, run.source, op.index_bytes, sample_of(run, i) * op.inputs,
              op.sums_rows, <const real *>op.w, <real *>op.z + i * op.z_row)
    finish_rows(op, run, begin, end, 0, op.outputs if op.sums_rows else op.inputs * op.outputs,
                scratch)


cdef inline void embedding_update(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """Update w. Threads divide its rows, and each thread scans all integers for its rows.

    The rule is applied to all rows, unless it leaves rows without a gradient unchanged.
    """
    cdef Py_ssize_t begin = cut(op.vocabulary, thread, threads)
    cdef Py_ssize_t end = cut(op.vocabulary, thread + 1, threads)
    cdef Py_ssize_t i, k, at, row, dim = op.outputs
    cdef real *gradients = <real *>op.row_gradients
    cdef bint few = (op.rule == FM_SGD or op.rule == FM_ADAGRAD) and run.coefficients[1] == 0 \
        and op.l1 == 0 and op.l2 == 0
    if not few:
        memset(gradients + begin * dim, 0, (end - begin) * dim * sizeof(real))
    for i in range(run.rows):
        at = sample_of(run, i) * op.inputs
        for k in range(op.inputs):
            row = index_at(run.source, op.index_bytes, at + k)
            if begin <= row < end:
                if few and not op.marks[row]:
                    op.marks[row] = 1
                    memset(gradients + row * dim, 0, dim * sizeof(real))
                axpy(dim, <real>1,
                     <const real *>op.dy + i * op.dy_row + (0 if op.sums_rows else k * dim),
                     gradients + row * dim)
    if not few:
        apply_gradient(op, run, False, begin * dim, (end - begin) * dim, gradients + begin * dim)
        return
    for i in range(run.rows):
        at = sample_of(run, i) * op.inputs
        for k in range(op.inputs):
            row = index_at(run.source, op.index_bytes, at + k)
            if begin <= row < end and op.marks[row]:
                op.marks[row] = 0
                apply_gradient(op, run, False, row * dim, dim, gradients + row * dim)
