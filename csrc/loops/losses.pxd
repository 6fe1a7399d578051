# Losses of one row with their gradients, for kernels/losses.pyx and plan/losses.pxd.
#
# `share` is the weight of the row in the mean, a factor of its gradient. dx may be x.

from dispatch cimport fm_f32, fm_f64, real
from loops.rows cimport axpy, log_of, row_affine, row_dot, row_exp_sum, row_sum


cdef inline double target_weight(
    Py_ssize_t n, Py_ssize_t label, const real *target, const real *class_weight
) noexcept nogil:
    """Return sum(class_weight * target). If target is NULL, it is 1 at the label."""
    if target != NULL:
        return row_dot(n, class_weight, target)
    return class_weight[label]


cdef inline double cross_entropy_row(
    Py_ssize_t n, const real *x, real high, Py_ssize_t label, const real *target,
    double smoothing, const real *class_weight, double share, real *dx,
) noexcept nogil:
    """Return -sum(v * log_softmax(x)); dx = share * (sum(v) * softmax(x) - v), unless dx is NULL.

    v = class_weight * ((1 - smoothing) * target + smoothing / n). If target is NULL, it is 1 at
    the label; if class_weight is NULL, it is 1. high is the maximum of x, as row_max finds it.
    """
    cdef double even = smoothing / <double>n, kept = 1 - smoothing
    cdef double loss = 0, sum_v = 0, at_label = 0, v
    cdef real total
    cdef Py_ssize_t j
    if target == NULL:
        at_label = kept if class_weight == NULL else kept * <double>class_weight[label]
        sum_v = at_label
        loss = at_label * (<double>high - <double>x[label])
        if smoothing != 0 and class_weight == NULL:
            sum_v += smoothing
            loss += smoothing * <double>high - even * <double>row_sum(n, x)
        elif smoothing != 0:
            v = even * <double>row_sum(n, class_weight)
            sum_v += v
            loss += v * <double>high - even * <double>row_dot(n, class_weight, x)
    else:
        for j in range(n):
            v = kept * <double>target[j] + even
            if class_weight != NULL:
                v *= <double>class_weight[j]
            sum_v += v
            if v != 0:
                loss -= v * (<double>x[j] - <double>high)
    total = row_exp_sum(n, x, high, dx)
    loss += sum_v * <double>log_of(total)
    if dx == NULL:
        return loss
    row_affine(n, <real>(share * sum_v / <double>total), dx,
               <real>(-share * even if class_weight == NULL else 0), dx)
    if target == NULL:
        if smoothing != 0 and class_weight != NULL:
            axpy(n, <real>(-share * even), class_weight, dx)
        dx[label] -= <real>(share * at_label)
    elif class_weight == NULL:
        axpy(n, <real>(-share * kept), target, dx)
    else:
        for j in range(n):
            dx[j] -= <real>(share * (kept * <double>target[j] + even) * <double>class_weight[j])
    return loss


cdef inline double hinge_row(
    Py_ssize_t n, const real *x, Py_ssize_t label, double margin, double share, real *dx
) noexcept nogil:
    """Return the sum of max(0, x[j] - x[label] + margin), j != label; dx = its gradient * share."""
    cdef real count = 0, own = <real>margin
    cdef double total
    if real is float:
        total = fm_f32.hinge(n, <real>share, x, x[label], own, dx, &count)
    else:
        total = fm_f64.hinge(n, <real>share, x, x[label], own, dx, &count)
    dx[label] = -<real>share * (count - 1)
    return total - <double>own


cdef inline double element_losses(
    int loss, Py_ssize_t n, const real *x, const real *target, double parameter, double share,
    real *dx,
) noexcept nogil:
    """Return the sum of an elementwise loss (enum fm_loss); dx = its gradient times share."""
    if real is float:
        return fm_f32.loss[loss](n, <float>share, <float>parameter, x, target, dx)
    else:
        return fm_f64.loss[loss](n, share, parameter, x, target, dx)


cdef inline double sum_of(Py_ssize_t n, const double *losses) noexcept nogil:
    """Return the sum of losses, from four partial sums so that additions overlap."""
    cdef double s0 = 0, s1 = 0, s2 = 0, s3 = 0
    cdef Py_ssize_t i = 0
    while i + 4 <= n:
        s0 += losses[i]
        s1 += losses[i + 1]
        s2 += losses[i + 2]
        s3 += losses[i + 3]
        i += 4
    while i < n:
        s0 += losses[i]
        i += 1
    return (s0 + s1) + (s2 + s3)


cdef inline double mean_of(double total, double weight) noexcept nogil:
    """Return total / weight. If weight is 0, return total, which is 0 or not finite."""
    return total / weight if weight > 0 else total
