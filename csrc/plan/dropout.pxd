# Dropout and Gaussian noise.

from dispatch cimport real
from loops.dropout cimport fm_counter_key, mask_rows, noise_rows
from plan.operation cimport Op, Run, row_cut


cdef inline void mask_block(
    const Op *op, const Run *run, Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t x_row,
    real *y, Py_ssize_t y_row, Py_ssize_t row, Py_ssize_t at,
) noexcept nogil:
    """y (rows, n) = x times the mask of the operation, from (row, at) of the batch on."""
    mask_rows(rows, n, x, x_row, y, y_row, fm_counter_key(op.key, run.step), row, at,
              op.threshold, op.keep_scale)


cdef inline void dropout(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """y (rows, O) = x times the mask of this step; y may be x."""
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t i = row_cut(run.rows, thread, threads)
    cdef Py_ssize_t end = row_cut(run.rows, thread + 1, threads)
    if i < end:
        mask_block(op, run, end - i, op.outputs, x + i * x_row, x_row,
                   <real *>op.y + i * op.y_row, op.y_row, i, 0)


cdef inline void gaussian_noise(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """y (rows, O) = x + scale * N(0, 1); y may be x."""
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t i = row_cut(run.rows, thread, threads)
    cdef Py_ssize_t end = row_cut(run.rows, thread + 1, threads)
    if i < end:
        noise_rows(end - i, op.outputs, x + i * x_row, x_row, <real *>op.y + i * op.y_row,
                   op.y_row, fm_counter_key(op.key, run.step), i, op.scale)
