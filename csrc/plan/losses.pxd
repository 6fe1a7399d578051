# Losses: the contribution of each sample, the gradient of the weighted mean, and the number of
# correct answers of each sample.
#
# losses[i] = w[i] * l[i]. The loss of the batch is the sum of losses over run.weight, the sum of w.
# Every thread computes run.weight itself, in the order of the samples. A batch of weight 0 has no
# loss and no gradient.

from libc.math cimport isfinite
from libc.string cimport memset

from dispatch cimport FM_BINARY_CROSS_ENTROPY, FM_STORE_SET, fm_f32, fm_f64, real
from loops.losses cimport cross_entropy_row, element_losses, hinge_row, target_weight
from loops.matmul cimport lanes_of, store_sums, transpose_rows
from loops.rows cimport argmax, row_dot, row_max, row_sum
from plan.operation cimport Op, Run, fm_flag_set, fm_touch, row_cut, sample_of

cdef enum:
    FEW_CLASSES = 64           # maximum classes for which a row in each lane is faster


cdef inline void fetch_labels(const Run *run, Py_ssize_t begin, Py_ssize_t end) noexcept nogil:
    """Load the labels of rows early.

    Every label of a shuffled sample is a cache miss. Rows are too long for the processor to reach
    the next label ahead of time.
    """
    cdef Py_ssize_t i
    if run.labels != NULL and run.order != NULL:
        for i in range(begin, end):
            fm_touch(&run.labels[sample_of(run, i)])


cdef inline double sum_of_weights(const Run *run) noexcept nogil:
    """Return the sum of the sample weights of a batch."""
    cdef Py_ssize_t i
    cdef double total = 0
    if run.weights == NULL:
        return <double>run.rows
    for i in range(run.rows):
        total += run.weights[sample_of(run, i)]
    return total


cdef inline double weight_of(const Run *run, Py_ssize_t sample) noexcept nogil:
    return run.weights[sample] if run.weights != NULL else 1


cdef inline double share_of(const Run *run, double weight) noexcept nogil:
    return weight / run.weight if run.weight > 0 else 0


cdef inline void weigh_classes(
    const Op *op, Run *run, const real *class_weight
) noexcept nogil:
    """Set run.weight to the sum over the batch of sample weight times class weight."""
    cdef Py_ssize_t i, sample, n = op.inputs
    cdef double of_class
    if class_weight == NULL:
        return
    run.weight = 0
    for i in range(run.rows):
        sample = sample_of(run, i)
        if run.labels != NULL:
            of_class = class_weight[run.labels[sample]]
        else:
            of_class = target_weight(n, 0, <const real *>run.targets + sample * n, class_weight)
        run.weight += weight_of(run, sample) * of_class


cdef inline void note(Run *run, Py_ssize_t i, double loss) noexcept nogil:
    run.losses[i] = loss
    if not isfinite(loss):
        fm_flag_set(run.bad, 1)


cdef inline void cross_entropy_lanes(
    const Op *op, Run *run, const real *x, Py_ssize_t x_row, Py_ssize_t begin, Py_ssize_t end,
    real *scratch,
) noexcept nogil:
    # cross_entropy_row of loops/losses.pxd for labels of few classes, `lanes` rows at a time.
    cdef Py_ssize_t lanes = lanes_of(x)
    cdef Py_ssize_t i, j, c, rows, label, sample
    cdef Py_ssize_t n = op.inputs
    cdef Py_ssize_t padded = min((n + 3) // 4 * 4, (n + lanes - 1) // lanes * lanes)
    cdef real *high = scratch + padded * lanes
    cdef real *log_total = high + lanes
    # Factors per row: of the softmax, of the smoothed classes, and the share of the label.
    cdef real *factor = log_total + lanes
    cdef real *spread = factor + lanes
    cdef real *at_label = spread + lanes
    cdef const real *class_weight = <const real *>op.class_weight
    cdef bint plain = run.weights == NULL and class_weight == NULL and op.parameter == 0
    cdef real inverse = <real>1 / <real>run.rows
    cdef double even = op.parameter / <double>n, kept = 1 - op.parameter
    cdef double even_sum = op.parameter
    cdef double loss, own, share, weight
    cdef const real *row
    cdef real v
    if class_weight != NULL:
        even_sum = even * <double>row_sum(n, class_weight)
    memset(scratch + n * lanes, 0, (padded - n) * lanes * sizeof(real))
    i = begin
    while i < end:
        rows = min(lanes, end - i)
        v = inverse if plain else <real>1
        if real is float:
            fm_f32.softmax_lanes(rows, n, x + i * x_row, x_row, v, scratch, high, log_total)
        else:
            fm_f64.softmax_lanes(rows, n, x + i * x_row, x_row, v, scratch, high, log_total)
        for j in range(rows):
            sample = sample_of(run, i + j)
            label = run.labels[sample]
            row = x + (i + j) * x_row
            loss = <double>high[j] - <double>row[label]
            if plain:
                loss += <double>log_total[j]
                scratch[label * lanes + j] -= inverse
            else:
                weight = weight_of(run, sample)
                share = share_of(run, weight)
                own = kept if class_weight == NULL else kept * <double>class_weight[label]
                loss *= own
                if op.parameter != 0:
                    loss += even_sum * <double>high[j] - even * <double>(
                        row_sum(n, row) if class_weight == NULL else row_dot(n, class_weight, row))
                loss = weight * (loss + (own + even_sum) * <double>log_total[j])
                factor[j] = <real>(share * (own + even_sum))
                spread[j] = <real>(share * even)
                at_label[j] = <real>(share * own)
            note(run, i + j, loss)
            if run.counts:
                # Correct if the label is the first of the largest, as argmax finds it.
                c = label
                if row[label] == high[j]:
                    c = 0
                    while row[c] != high[j]:
                        c += 1
                    run.correct[i + j] = c == label
                else:
                    run.correct[i + j] = False
        if op.dy != NULL and not plain:
            for c in range(n):
                v = class_weight[c] if class_weight != NULL else <real>1
                for j in range(rows):
                    scratch[c * lanes + j] = scratch[c * lanes + j] * factor[j] - spread[j] * v
            for j in range(rows):
                scratch[run.labels[sample_of(run, i + j)] * lanes + j] -= at_label[j]
        if op.dy != NULL:
            # The transposition writes whole blocks: rows of dy end in zeros.
            store_sums(padded, rows, scratch, lanes, <real *>op.dy + i * op.dy_row, 1, op.dy_row,
                       <real>1, FM_STORE_SET)
        i += rows


cdef inline void cross_entropy(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """Compute cross_entropy_row of loops/losses.pxd for every sample.

    op.parameter is the smoothing. If run.labels is NULL, run.targets (N, O) are used. dy may be x,
    the logits. dyt is dy transposed, for the layer below, or NULL.
    """
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef const real *class_weight = <const real *>op.class_weight
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t i, sample, label = 0, n = op.inputs
    cdef Py_ssize_t begin = row_cut(run.rows, thread, threads)
    cdef Py_ssize_t end = row_cut(run.rows, thread + 1, threads)
    cdef Py_ssize_t c
    cdef int equals
    cdef double weight
    cdef real high
    cdef const real *row
    cdef const real *target = NULL
    cdef real *dy = NULL
    fetch_labels(run, begin, end)
    weigh_classes(op, run, class_weight)
    if run.labels != NULL and n <= FEW_CLASSES:
        cross_entropy_lanes(op, run, x, x_row, begin, end, scratch)
        if op.dyt != NULL:
            transpose_rows(end - begin, n, <const real *>op.dy + begin * op.dy_row, op.dy_row,
                           <real *>op.dyt + begin, op.dyt_row)
        return
    for i in range(begin, end):
        sample = sample_of(run, i)
        if run.labels != NULL:
            label = run.labels[sample]
        else:
            target = <const real *>run.targets + sample * n
        row = x + i * x_row
        high = row_max(n, row)
        if run.counts and target == NULL:
            # Correct if the label is the first maximum, as argmax finds it, but much faster.
            equals = row[label] != high
            for c in range(label):
                equals |= row[c] == high
            run.correct[i] = not equals
        elif run.counts:
            run.correct[i] = argmax(n, row) == argmax(n, target)
        if op.dy != NULL:
            dy = <real *>op.dy + i * op.dy_row
        weight = weight_of(run, sample)
        note(run, i, weight * cross_entropy_row(
            n, row, high, label, target, op.parameter, class_weight, share_of(run, weight), dy))
    if op.dyt != NULL:
        transpose_rows(end - begin, n, <const real *>op.dy + begin * op.dy_row, op.dy_row,
                       <real *>op.dyt + begin, op.dyt_row)


cdef inline void hinge(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """Compute hinge_row of loops/losses.pxd for every sample.

    op.parameter is the margin. dy may be x.
    """
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t i, sample, label, n = op.inputs
    cdef double weight
    for i in range(row_cut(run.rows, thread, threads), row_cut(run.rows, thread + 1, threads)):
        sample = sample_of(run, i)
        label = run.labels[sample]
        if run.counts:
            run.correct[i] = argmax(n, x + i * x_row) == label
        weight = weight_of(run, sample)
        note(run, i, weight * hinge_row(
            n, x + i * x_row, label, op.parameter, share_of(run, weight),
            <real *>op.dy + i * op.dy_row if op.dy != NULL else scratch))


cdef inline void element_loss(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """Compute the mean of the elementwise loss op.loss over the outputs of every sample.

    dy may be x. An output of binary cross-entropy is correct if it has the sign of target - 1/2.
    """
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t i, j, sample, n = op.inputs
    cdef double loss, weight = 1, share = share_of(run, 1) / <double>n
    cdef const real *row
    cdef const real *target
    cdef int right
    for i in range(row_cut(run.rows, thread, threads), row_cut(run.rows, thread + 1, threads)):
        sample = sample_of(run, i)
        target = <const real *>run.targets + sample * n
        if run.counts and op.loss == FM_BINARY_CROSS_ENTROPY:
            row = x + i * x_row
            right = 0
            for j in range(n):
                right += (row[j] > 0) == (target[j] > <real>0.5)
            run.correct[i] = right
        if run.weights != NULL:
            weight = run.weights[sample]
            share = share_of(run, weight) / <double>n
        loss = element_losses(
            op.loss, n, x + i * x_row, target, op.parameter, share,
            <real *>op.dy + i * op.dy_row if op.dy != NULL else scratch)
        note(run, i, weight * (loss / <double>n))
