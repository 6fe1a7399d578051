# Operations of narrow networks: a value is a matrix (columns, samples), with samples in the lanes.
#
# Units in the lanes would leave most of a vector empty in layers of two or ten units. With samples
# in the lanes vectors are full for any width. Rows are whole blocks of two vectors, and values
# after the last sample of a batch are meaningless. Weights are plain, (I, O). Threads divide the
# samples into blocks; in an update they divide the rows of the weight.

from libc.math cimport isfinite
from libc.stdint cimport int64_t

from dispatch cimport FM_RELU, fm_f32, fm_f64, real
from loops.losses cimport cross_entropy_row
from loops.matmul cimport lanes_of, transpose_rows
from loops.rows cimport argmax, row_max, row_sum
from plan.losses cimport fetch_labels, note, share_of, weigh_classes, weight_of
from plan.operation cimport (
    Op, Run, apply, apply_backward, apply_gradient, cut, fm_flag_set, sample_of,
)

cdef enum:
    ONE_BY_ONE = 6             # maximum values of a sample that are moved one at a time


# The samples begin .. end of a thread, in blocks of `width`; the last block may be partial.
cdef struct Span:
    Py_ssize_t begin, end, width


cdef inline Span span_of(
    const Run *run, int thread, int threads, const real *tag
) noexcept nogil:
    cdef Span my
    cdef Py_ssize_t blocks
    my.width = 2 * lanes_of(tag)
    blocks = (run.rows + my.width - 1) // my.width
    my.begin = min(run.rows, cut(blocks, thread, threads) * my.width)
    my.end = min(run.rows, cut(blocks, thread + 1, threads) * my.width)
    return my


cdef inline void copy_row(
    Py_ssize_t n, const Op *op, const Run *run, Py_ssize_t sample, real *to, Py_ssize_t step,
) noexcept nogil:
    # Write a sample of the call as values of the network, `step` apart.
    cdef Py_ssize_t j
    cdef real scale = <real>op.scale
    cdef const unsigned char *values
    cdef const real *source
    if op.bytes:
        values = <const unsigned char *>run.source + sample * n
        for j in range(n):
            to[j * step] = <real>values[j] * scale
    else:
        source = <const real *>run.source + sample * n
        for j in range(n):
            to[j * step] = source[j] * scale


cdef inline void lane_gather(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """y (I, rows) = the samples of this batch times op.scale; if w is set, (y - s0) * w."""
    cdef Span my = span_of(run, thread, threads, scratch)
    cdef Py_ssize_t n = op.inputs
    cdef Py_ssize_t i = my.begin, j, count
    cdef real *y = <real *>op.y
    cdef real *row
    cdef real mean, factor
    if run.again:
        return
    if run.order == NULL and not op.bytes and op.scale == 1:
        transpose_rows(my.end - my.begin, n, <const real *>run.source + (run.first + my.begin) * n,
                       n, y + my.begin, op.y_row)
        i = my.end
    while i < my.end:
        count = min(my.width, my.end - i)
        if n <= ONE_BY_ONE:
            for j in range(i, i + count):
                copy_row(n, op, run, sample_of(run, j), y + j, op.y_row)
        else:
            for j in range(count):
                copy_row(n, op, run, sample_of(run, i + j), scratch + j * n, 1)
            transpose_rows(count, n, <const real *>scratch, n, y + i, op.y_row)
        i += count
    if op.w != NULL:
        for j in range(n):
            mean = (<const real *>op.s0)[j]
            factor = (<const real *>op.w)[j]
            row = y + j * op.y_row
            for i in range(my.begin, my.end):
                row[i] = (row[i] - mean) * factor


cdef inline void lane_output(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """Copy the outputs (O, rows) to the array of the caller, sample by sample."""
    cdef Span my = span_of(run, thread, threads, scratch)
    cdef Py_ssize_t n = op.inputs
    transpose_rows(n, my.end - my.begin, <const real *>op.x + my.begin, op.x_row,
                   <real *>run.out + (run.first + my.begin) * n, n)


cdef inline void lane_rows(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """y (rows, I) = x (I, rows) transposed, for operations on rows of samples."""
    cdef Span my = span_of(run, thread, threads, scratch)
    transpose_rows(op.inputs, my.end - my.begin, <const real *>op.x + my.begin, op.x_row,
                   <real *>op.y + my.begin * op.y_row, op.y_row)


cdef inline void lane_product(
    Py_ssize_t samples, Py_ssize_t rows, Py_ssize_t k, const real *a, Py_ssize_t a_row,
    Py_ssize_t a_col, const real *x, Py_ssize_t x_row, const real *init, real *y,
    Py_ssize_t y_row, bint relu,
) noexcept nogil:
    if real is float:
        fm_f32.lane_product(samples, rows, k, a, a_row, a_col, x, x_row, init, y, y_row, relu)
    else:
        fm_f64.lane_product(samples, rows, k, a, a_row, a_col, x, x_row, init, y, y_row, relu)


cdef inline bint is_whole(Span my, Py_ssize_t row) noexcept nogil:
    """Return whether the samples fill rows of this length."""
    return my.begin == 0 and row - my.end < my.width


cdef inline void lane_activation_of(
    int function, Py_ssize_t rows, Span my, const real *x, Py_ssize_t x_row, real *y,
    Py_ssize_t y_row, double parameter,
) noexcept nogil:
    cdef Py_ssize_t j
    if x_row == y_row and is_whole(my, y_row):
        apply(function, rows * y_row, x, y, parameter)
        return
    for j in range(rows):
        apply(function, my.end - my.begin, x + j * x_row + my.begin, y + j * y_row + my.begin,
              parameter)


cdef inline void lane_derivative_of(
    int function, Py_ssize_t rows, Span my, real *dx, Py_ssize_t dx_row, const real *saved,
    Py_ssize_t saved_row, double parameter,
) noexcept nogil:
    cdef Py_ssize_t j
    if dx_row == saved_row and is_whole(my, dx_row):
        apply_backward(function, rows * dx_row, dx, saved, dx, parameter)
        return
    for j in range(rows):
        apply_backward(function, my.end - my.begin, dx + j * dx_row + my.begin,
                       saved + j * saved_row + my.begin, dx + j * dx_row + my.begin, parameter)


cdef inline void lane_dense(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """y (O, rows) = activation of w.T @ x (I, rows) + b."""
    cdef Span my = span_of(run, thread, threads, scratch)
    cdef bint relu = op.activation == FM_RELU
    lane_product(my.end - my.begin, op.outputs, op.inputs, <const real *>op.w, 1, op.outputs,
                 <const real *>op.x + my.begin, op.x_row, <const real *>op.b,
                 <real *>op.z + my.begin, op.z_row, relu)
    if op.activation >= 0 and not relu:
        lane_activation_of(op.activation, op.outputs, my, <const real *>op.z, op.z_row,
                           <real *>op.y, op.y_row, op.parameter)


cdef inline void lane_dense_backward(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """dx (I, rows) = w @ dy (O, rows), times the derivative of the activation that made x."""
    cdef Span my = span_of(run, thread, threads, scratch)
    lane_product(my.end - my.begin, op.inputs, op.outputs, <const real *>op.w, op.outputs, 1,
                 <const real *>op.dy + my.begin, op.dy_row, <const real *>NULL,
                 <real *>op.dx + my.begin, op.dx_row, False)
    if op.activation >= 0:
        lane_derivative_of(op.activation, op.inputs, my, <real *>op.dx, op.dx_row,
                           <const real *>op.saved, op.saved_row, op.parameter)


cdef inline void lane_dense_update(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """Update w and b by their gradients x @ dy.T and dy.sum(axis=1), as op.rule says.

    Threads divide the rows of w; the last thread also updates b.
    """
    cdef Py_ssize_t n = op.outputs, j
    cdef Py_ssize_t begin = cut(op.inputs, thread, threads)
    cdef Py_ssize_t end = cut(op.inputs, thread + 1, threads)
    cdef const real *x = <const real *>op.x + begin * op.x_row
    cdef const real *dy = <const real *>op.dy
    if real is float:
        fm_f32.lane_sums(run.rows, end - begin, n, x, op.x_row, dy, op.dy_row, scratch, n)
    else:
        fm_f64.lane_sums(run.rows, end - begin, n, x, op.x_row, dy, op.dy_row, scratch, n)
    apply_gradient(op, run, False, begin * n, (end - begin) * n, scratch)
    if op.b != NULL and thread == threads - 1:
        for j in range(n):
            scratch[j] = row_sum(run.rows, dy + j * op.dy_row)
        apply_gradient(op, run, True, 0, n, scratch)


cdef inline void lane_activation(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """y (O, rows) = activation of x, except softmax. y may be x."""
    cdef Span my = span_of(run, thread, threads, scratch)
    lane_activation_of(op.activation, op.outputs, my, <const real *>op.x, op.x_row, <real *>op.y,
                       op.y_row, op.parameter)


cdef inline void lane_activation_backward(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """Multiply dx (O, rows), the gradient of the activation's output, by the derivative."""
    cdef Span my = span_of(run, thread, threads, scratch)
    lane_derivative_of(op.activation, op.outputs, my, <real *>op.dx, op.dx_row,
                       <const real *>op.saved, op.saved_row, op.parameter)


cdef inline void lane_targets(
    const Op *op, Run *run, Py_ssize_t begin, Py_ssize_t end, real *scratch
) noexcept nogil:
    # Cross-entropy of targets (N, C), sample by sample. The scratch holds a row and its gradient.
    cdef Py_ssize_t i, c, sample, n = op.inputs
    cdef const real *x = <const real *>op.x
    cdef const real *target
    cdef real *dy = <real *>op.dy
    cdef real *gradient = NULL if dy == NULL else scratch + n
    cdef double weight
    for i in range(begin, end):
        sample = sample_of(run, i)
        target = <const real *>run.targets + sample * n
        for c in range(n):
            scratch[c] = x[c * op.x_row + i]
        if run.counts:
            run.correct[i] = argmax(n, <const real *>scratch) == argmax(n, target)
        weight = weight_of(run, sample)
        note(run, i, weight * cross_entropy_row(
            n, <const real *>scratch, row_max(n, <const real *>scratch), 0, target, op.parameter,
            <const real *>op.class_weight, share_of(run, weight), gradient))
        if dy != NULL:
            for c in range(n):
                dy[c * op.dy_row + i] = gradient[c]


cdef inline void lane_cross_entropy(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """Compute cross_entropy_row of loops/losses.pxd for every sample of x (C, rows).

    op.parameter is the smoothing. If run.labels is NULL, run.targets (N, C) are used. dy (C, rows)
    must not be x.
    """
    cdef Span my = span_of(run, thread, threads, scratch)
    cdef Py_ssize_t n = op.inputs, begin = my.begin, count = my.end - my.begin
    cdef Py_ssize_t room = (count + my.width - 1) // my.width * my.width
    cdef Py_ssize_t i, c, label, sample, first = run.first + begin
    cdef Py_ssize_t x_row = op.x_row, dy_row = op.dy_row
    # Local copies: otherwise the compiler assumes that the writes below change the members.
    cdef const int64_t *labels = run.labels
    cdef const int64_t *order = run.order + first if run.order != NULL else NULL
    cdef const double *weights = run.weights
    cdef double *losses = run.losses + begin
    cdef int *correct = run.correct + begin
    cdef const real *class_weight = <const real *>op.class_weight
    cdef const real *x = <const real *>op.x + begin
    cdef real *dy = <real *>op.dy + begin
    cdef real *high = scratch
    cdef real *best = high + room
    cdef real *log_total = best + room
    # Factors per sample: of the softmax, of the smoothed classes, and the share of the label.
    cdef real *factor = log_total + room
    cdef real *spread = factor + room
    cdef real *at_label = spread + room
    cdef bint plain = weights == NULL and class_weight == NULL and op.parameter == 0
    cdef bint bad = False
    cdef double even = op.parameter / <double>n, kept = 1 - op.parameter, even_sum = op.parameter
    cdef double loss, own, weight, share, mean
    cdef real v, inverse = <real>1 / <real>run.rows
    weigh_classes(op, run, class_weight)
    if labels == NULL:
        lane_targets(op, run, begin, my.end, scratch)
        return
    fetch_labels(run, begin, my.end)
    if op.dy == NULL:
        # The gradient is computed in any case, here into scratch.
        dy = at_label + room
        dy_row = room
    if plain:
        if order == NULL:
            labels += first
        if real is float:
            bad = fm_f32.lane_cross_entropy(count, n, x, x_row, labels, order, inverse, dy, dy_row,
                                            losses, correct if run.counts else NULL)
        else:
            bad = fm_f64.lane_cross_entropy(count, n, x, x_row, labels, order, inverse, dy, dy_row,
                                            losses, correct if run.counts else NULL)
    else:
        if real is float:
            fm_f32.lane_softmax(count, n, x, x_row, 1, dy, dy_row, high, best, log_total)
        else:
            fm_f64.lane_softmax(count, n, x, x_row, 1, dy, dy_row, high, best, log_total)
        if class_weight != NULL:
            even_sum = even * <double>row_sum(n, class_weight)
        for i in range(count):
            sample = order[i] if order != NULL else first + i
            label = labels[sample]
            weight = weights[sample] if weights != NULL else 1
            share = share_of(run, weight)
            own = kept if class_weight == NULL else kept * <double>class_weight[label]
            loss = own * (<double>high[i] - <double>x[label * x_row + i])
            if op.parameter != 0:
                mean = 0
                for c in range(n):
                    v = class_weight[c] if class_weight != NULL else <real>1
                    mean += <double>v * <double>x[c * x_row + i]
                loss += even_sum * <double>high[i] - even * mean
            loss = weight * (loss + (own + even_sum) * <double>log_total[i])
            factor[i] = <real>(share * (own + even_sum))
            spread[i] = <real>(share * even)
            at_label[i] = <real>(share * own)
            losses[i] = loss
            bad |= not isfinite(loss)
        for c in range(n):
            v = class_weight[c] if class_weight != NULL else <real>1
            for i in range(count):
                dy[c * dy_row + i] = dy[c * dy_row + i] * factor[i] - spread[i] * v
        for i in range(count):
            dy[labels[order[i] if order != NULL else first + i] * dy_row + i] -= at_label[i]
        if run.counts:
            for i in range(count):
                correct[i] = best[i] == <real>labels[order[i] if order != NULL else first + i]
    if bad:
        fm_flag_set(run.bad, 1)
