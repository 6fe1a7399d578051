# Activations, as separate operations and as the end of another operation.

from dispatch cimport real
from loops.matmul cimport pack_panel
from loops.rows cimport softmax_backward_rows, softmax_rows
from plan.dropout cimport mask_block
from plan.operation cimport SOFTMAX, Op, Run, apply, apply_backward, row_cut


cdef inline void activation(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """y (rows, O) = activation of x; softmax is over groups of I. y may be x."""
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t i
    for i in range(row_cut(run.rows, thread, threads), row_cut(run.rows, thread + 1, threads)):
        if op.activation == SOFTMAX:
            softmax_rows(op.outputs // op.inputs, op.inputs, x + i * x_row,
                         <real *>op.y + i * op.y_row)
        else:
            apply(op.activation, op.outputs, x + i * x_row, <real *>op.y + i * op.y_row,
                  op.parameter)


cdef inline void activation_backward(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """dx (rows, O) = dy times the derivative. dx may be dy."""
    cdef const real *saved = <const real *>(op.saved if op.saved != NULL else run.x)
    cdef Py_ssize_t saved_row = op.saved_row if op.saved != NULL else run.x_row
    cdef const real *dy = <const real *>op.dy
    cdef real *dx = <real *>op.dx
    cdef Py_ssize_t i
    for i in range(row_cut(run.rows, thread, threads), row_cut(run.rows, thread + 1, threads)):
        if op.activation == SOFTMAX:
            softmax_backward_rows(op.outputs // op.inputs, op.inputs, dy + i * op.dy_row,
                                  saved + i * saved_row, dx + i * op.dx_row)
        else:
            apply_backward(op.activation, op.outputs, dy + i * op.dy_row, saved + i * saved_row,
                           dx + i * op.dx_row, op.parameter)


cdef inline void finish_rows(
    const Op *op, const Run *run, Py_ssize_t begin, Py_ssize_t end, Py_ssize_t c, Py_ssize_t n,
    real *tag,
) noexcept nogil:
    """Apply the activation and the mask to columns c .. c + n of rows begin .. end of z.

    tag chooses the dtype.
    """
    cdef Py_ssize_t i
    cdef const real *z = <const real *>op.z + c
    cdef real *y = <real *>op.y + c
    if op.activation >= 0:
        for i in range(begin, end):
            apply(op.activation, n, z + i * op.z_row, y + i * op.y_row, op.parameter)
    if op.keep_scale != 0 and begin < end:
        mask_block(op, run, end - begin, n, y + begin * op.y_row, op.y_row,
                   <real *>op.masked + begin * op.masked_row + c, op.masked_row, begin, c)


cdef inline void finish_gradient(
    const Op *op, const Run *run, Py_ssize_t begin, Py_ssize_t end, Py_ssize_t c, Py_ssize_t n,
    real *tag,
) noexcept nogil:
    """Apply the mask and the derivative to columns c .. c + n of rows begin .. end of dx.

    If op.dxt, also write them transposed; the rows are the whole batch then.
    """
    cdef Py_ssize_t i
    cdef real *dx = <real *>op.dx + c
    if op.keep_scale != 0 and begin < end:
        mask_block(op, run, end - begin, n, dx + begin * op.dx_row, op.dx_row,
                   dx + begin * op.dx_row, op.dx_row, begin, c)
    if op.activation >= 0:
        for i in range(begin, end):
            apply_backward(op.activation, n, dx + i * op.dx_row,
                           <const real *>op.saved + i * op.saved_row + c, dx + i * op.dx_row,
                           op.parameter)
    if op.dxt != NULL:
        pack_panel(True, n, run.rows, op.dxt_row, dx, op.dx_row,
                   <real *>op.dxt + c * op.dxt_row)
