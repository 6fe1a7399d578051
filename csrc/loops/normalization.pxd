# Batch and layer normalization. Sums and statistics are double, everything else is real.
#
# The mean is rounded to real, and the offset contains the rounding error times the factor. So
# (x - mean) * factor + offset loses no accuracy, however far the mean is from 0.

from libc.math cimport sqrt

from dispatch cimport fm_f32, fm_f64, real


cdef inline void column_moments(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t x_row, double *mean, double *squares
) noexcept nogil:
    if real is float:
        fm_f32.column_moments(rows, n, x, x_row, mean, squares)
    else:
        fm_f64.column_moments(rows, n, x, x_row, mean, squares)


cdef inline void column_products(
    Py_ssize_t rows, Py_ssize_t n, const real *dy, Py_ssize_t dy_row, const real *x,
    Py_ssize_t x_row, const double *mean, double *sums, double *dots,
) noexcept nogil:
    if real is float:
        fm_f32.column_products(rows, n, dy, dy_row, x, x_row, mean, sums, dots)
    else:
        fm_f64.column_products(rows, n, dy, dy_row, x, x_row, mean, sums, dots)


cdef inline void standardize(
    Py_ssize_t n, const real *x, const real *mean, const real *factor, const real *offset, real *y
) noexcept nogil:
    """y = (x - mean) * factor + offset; y may be x."""
    if real is float:
        fm_f32.standardize(n, x, mean, factor, offset, y)
    else:
        fm_f64.standardize(n, x, mean, factor, offset, y)


cdef inline void standardize_backward(
    Py_ssize_t n, const real *dy, const real *x, const real *mean, const real *factor,
    const real *slope, const real *offset, real *dx,
) noexcept nogil:
    """dx = dy * factor + (x - mean) * slope + offset; dx may be dy or x."""
    if real is float:
        fm_f32.standardize_backward(n, dy, x, mean, factor, slope, offset, dx)
    else:
        fm_f64.standardize_backward(n, dy, x, mean, factor, slope, offset, dx)


cdef inline void fold_moments(
    Py_ssize_t positions, Py_ssize_t n, Py_ssize_t rows, const double *means,
    const double *squares, double *mean, double *variance,
) noexcept nogil:
    """Combine the moments (positions, n) over `rows` samples to mean and variance (n,)."""
    cdef Py_ssize_t p, j
    cdef double distance
    for j in range(n):
        mean[j] = 0
        variance[j] = 0
    for p in range(positions):
        for j in range(n):
            mean[j] += means[p * n + j]
    for j in range(n):
        mean[j] /= <double>positions
    for p in range(positions):
        for j in range(n):
            distance = means[p * n + j] - mean[j]
            variance[j] += squares[p * n + j] + <double>rows * distance * distance
    for j in range(n):
        variance[j] /= <double>(rows * positions)


cdef inline void batch_factors(
    Py_ssize_t n, const double *mean, const double *variance, double epsilon, const real *gamma,
    const real *beta, real *shift, real *factor, real *offset,
) noexcept nogil:
    """Compute the arguments with which `standardize` normalizes n features."""
    cdef Py_ssize_t j
    cdef double scale
    for j in range(n):
        scale = <double>gamma[j] / sqrt(variance[j] + epsilon)
        shift[j] = <real>mean[j]
        factor[j] = <real>scale
        offset[j] = <real>(<double>beta[j] + (<double>shift[j] - mean[j]) * scale)


cdef inline void batch_slopes(
    Py_ssize_t n, Py_ssize_t count, const double *mean, const double *variance, double epsilon,
    const real *gamma, const double *sums, const double *dots, real *shift, real *factor,
    real *slope, real *offset,
) noexcept nogil:
    """Compute the arguments of `standardize_backward`.

    sums and dots are the sums of dy and of dy * (x - mean) over `count` values.
    """
    cdef Py_ssize_t j
    cdef double inverse, scale, along
    for j in range(n):
        inverse = 1 / sqrt(variance[j] + epsilon)
        scale = <double>gamma[j] * inverse
        along = -scale * inverse * inverse * dots[j] / <double>count
        shift[j] = <real>mean[j]
        factor[j] = <real>scale
        slope[j] = <real>along
        offset[j] = <real>((<double>shift[j] - mean[j]) * along - scale * sums[j] / <double>count)


# --- Rows ---------------------------------------------------------------------------------------


cdef inline void moments_of(Py_ssize_t n, const real *x, double *to) noexcept nogil:
    """to[0] = the mean of x (n,), to[1] = the sum of squared deviations."""
    if real is float:
        fm_f32.row_moments(n, x, to)
    else:
        fm_f64.row_moments(n, x, to)


cdef inline void row_factors(
    Py_ssize_t n, const double *moments, double epsilon, real *shift, real *factor, real *offset
) noexcept nogil:
    """Compute the arguments that normalize a row of n values with these moments."""
    cdef double scale = 1 / sqrt(moments[1] / <double>n + epsilon)
    shift[0] = <real>moments[0]
    factor[0] = <real>scale
    offset[0] = <real>((<double>shift[0] - moments[0]) * scale)


cdef inline void layer_norm_rows(
    Py_ssize_t rows, Py_ssize_t n, const real *x, double epsilon, const real *gamma,
    const real *beta, real *y, double *moments,
) noexcept nogil:
    """y (rows, n) = every row of x normalized; moments (rows, 2) are written. y may be x."""
    cdef Py_ssize_t i
    cdef real shift, factor, offset
    for i in range(rows):
        moments_of(n, x + i * n, moments + 2 * i)
        row_factors(n, moments + 2 * i, epsilon, &shift, &factor, &offset)
        if real is float:
            fm_f32.row_standardize(n, x + i * n, shift, factor, offset, gamma, beta, y + i * n)
        else:
            fm_f64.row_standardize(n, x + i * n, shift, factor, offset, gamma, beta, y + i * n)


cdef inline void layer_norm_backward_rows(
    Py_ssize_t rows, Py_ssize_t n, const real *dy, const real *x, double epsilon,
    const real *gamma, const double *moments, real *dx,
) noexcept nogil:
    """dx (rows, n) = the gradient of every row of x. dx may be dy or x."""
    cdef Py_ssize_t i
    cdef real shift, factor, offset, a, b
    cdef double sums[2]
    for i in range(rows):
        row_factors(n, moments + 2 * i, epsilon, &shift, &factor, &offset)
        if real is float:
            fm_f32.row_products(n, dy + i * n, x + i * n, shift, factor, offset, gamma, sums)
        else:
            fm_f64.row_products(n, dy + i * n, x + i * n, shift, factor, offset, gamma, sums)
        a = <real>(sums[0] / <double>n)
        b = <real>(sums[1] / <double>n)
        if real is float:
            fm_f32.row_standardize_backward(n, dy + i * n, x + i * n, shift, factor, offset,
                                            gamma, a, b, dx + i * n)
        else:
            fm_f64.row_standardize_backward(n, dy + i * n, x + i * n, shift, factor, offset,
                                            gamma, a, b, dx + i * n)


cdef inline void layer_norm_sums(
    Py_ssize_t rows, Py_ssize_t n, Py_ssize_t begin, Py_ssize_t end, const real *dy,
    const real *x, double epsilon, const double *moments, double *sums, double *dots,
) noexcept nogil:
    """sums and dots (end - begin,) += sums of dy and dy * t over columns begin .. end of the rows.

    t is the normalized row, before gamma.
    """
    cdef Py_ssize_t i
    cdef real shift, factor, offset
    for i in range(rows):
        row_factors(n, moments + 2 * i, epsilon, &shift, &factor, &offset)
        if real is float:
            fm_f32.row_accumulate(end - begin, dy + i * n + begin, x + i * n + begin, shift,
                                  factor, offset, sums, dots)
        else:
            fm_f64.row_accumulate(end - begin, dy + i * n + begin, x + i * n + begin, shift,
                                  factor, offset, sums, dots)
