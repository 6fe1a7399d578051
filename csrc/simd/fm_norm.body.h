/* Included once per dtype: batch and layer normalization.
 *
 * Sums are in double. Sums of columns run down the rows, so they do not depend on the other columns
 * of a call. The order of a sum along a row depends only on its length. Loops are plain, without
 * fused operations: compilers vectorise them.
 */

#define FM_COLUMN_BLOCK 32

/* mean and squares of m columns; m is a constant for full blocks */
FM_INLINE void FM(moments_block)(ptrdiff_t rows, ptrdiff_t m, const REAL *x, ptrdiff_t x_row,
                                 double *mean, double *squares)
{
    double sum[FM_COLUMN_BLOCK] = {0}, centre[FM_COLUMN_BLOCK];
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < m; j++) sum[j] += (double)x[i * x_row + j];
    for (ptrdiff_t j = 0; j < m; j++) mean[j] = centre[j] = sum[j] / (double)rows;
    for (ptrdiff_t j = 0; j < m; j++) sum[j] = 0;
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < m; j++) {
            const double distance = (double)x[i * x_row + j] - centre[j];
            sum[j] += distance * distance;
        }
    for (ptrdiff_t j = 0; j < m; j++) squares[j] = sum[j];
}

/* Computes  the mean of each of n columns of x (rows, n), rows >= 1, and the sum of the squared
 *           deviations from it. */
static void FM(column_moments)(ptrdiff_t rows, ptrdiff_t n, const REAL *x, ptrdiff_t x_row,
                               double *mean, double *squares)
{
    ptrdiff_t j = 0;
    for (; j + FM_COLUMN_BLOCK <= n; j += FM_COLUMN_BLOCK)
        FM(moments_block)(rows, FM_COLUMN_BLOCK, x + j, x_row, mean + j, squares + j);
    if (j < n) FM(moments_block)(rows, n - j, x + j, x_row, mean + j, squares + j);
}

FM_INLINE void FM(products_block)(ptrdiff_t rows, ptrdiff_t m, const REAL *dy, ptrdiff_t dy_row,
                                  const REAL *x, ptrdiff_t x_row, const double *mean, double *sum,
                                  double *dot)
{
    double sums[FM_COLUMN_BLOCK] = {0}, dots[FM_COLUMN_BLOCK] = {0}, centre[FM_COLUMN_BLOCK];
    for (ptrdiff_t j = 0; j < m; j++) centre[j] = mean[j];
    for (ptrdiff_t i = 0; i < rows; i++)
        for (ptrdiff_t j = 0; j < m; j++) {
            const double value = (double)dy[i * dy_row + j];
            sums[j] += value;
            dots[j] += value * ((double)x[i * x_row + j] - centre[j]);
        }
    for (ptrdiff_t j = 0; j < m; j++) {
        sum[j] = sums[j];
        dot[j] = dots[j];
    }
}

/* Computes  the sums of n columns of dy (rows, n), and of n columns of dy * (x - mean). */
static void FM(column_products)(ptrdiff_t rows, ptrdiff_t n, const REAL *dy, ptrdiff_t dy_row,
                                const REAL *x, ptrdiff_t x_row, const double *mean, double *sum,
                                double *dot)
{
    ptrdiff_t j = 0;
    for (; j + FM_COLUMN_BLOCK <= n; j += FM_COLUMN_BLOCK)
        FM(products_block)(rows, FM_COLUMN_BLOCK, dy + j, dy_row, x + j, x_row, mean + j, sum + j,
                           dot + j);
    if (j < n)
        FM(products_block)(rows, n - j, dy + j, dy_row, x + j, x_row, mean + j, sum + j, dot + j);
}
#undef FM_COLUMN_BLOCK

/* Computes  y[j] = (x[j] - mean[j]) * factor[j] + offset[j].
 * Aliasing  y may be x. */
static void FM(standardize)(ptrdiff_t n, const REAL *x, const REAL *mean, const REAL *factor,
                            const REAL *offset, REAL *y)
{
    FM_INDEPENDENT
    for (ptrdiff_t j = 0; j < n; j++) y[j] = (x[j] - mean[j]) * factor[j] + offset[j];
}

/* Computes  dx[j] = dy[j] * factor[j] + (x[j] - mean[j]) * slope[j] + offset[j].
 * Aliasing  dx may be dy or x. */
static void FM(standardize_backward)(ptrdiff_t n, const REAL *dy, const REAL *x, const REAL *mean,
                                     const REAL *factor, const REAL *slope, const REAL *offset,
                                     REAL *dx)
{
    FM_INDEPENDENT
    for (ptrdiff_t j = 0; j < n; j++)
        dx[j] = dy[j] * factor[j] + ((x[j] - mean[j]) * slope[j] + offset[j]);
}

#define FM_ROW_LANES 8

/* Computes  to[0] = the mean of x (n,), n >= 1, to[1] = the sum of the squared deviations. */
static void FM(row_moments)(ptrdiff_t n, const REAL *x, double *to)
{
    double sum[FM_ROW_LANES] = {0}, total = 0, mean;
    ptrdiff_t i = 0;
    for (; i + FM_ROW_LANES <= n; i += FM_ROW_LANES)
        for (int j = 0; j < FM_ROW_LANES; j++) sum[j] += (double)x[i + j];
    for (int j = 0; i + j < n; j++) sum[j] += (double)x[i + j];
    for (int j = 0; j < FM_ROW_LANES; j++) total += sum[j];
    to[0] = mean = total / (double)n;
    for (int j = 0; j < FM_ROW_LANES; j++) sum[j] = 0;
    for (i = 0; i + FM_ROW_LANES <= n; i += FM_ROW_LANES)
        for (int j = 0; j < FM_ROW_LANES; j++) {
            const double distance = (double)x[i + j] - mean;
            sum[j] += distance * distance;
        }
    for (int j = 0; i + j < n; j++) {
        const double distance = (double)x[i + j] - mean;
        sum[j] += distance * distance;
    }
    total = 0;
    for (int j = 0; j < FM_ROW_LANES; j++) total += sum[j];
    to[1] = total;
}

/* Computes  y = t * gamma + beta, t = (x - mean) * factor + offset, for one row: mean, factor and
 *           offset are numbers. Aliasing: y may be x. */
static void FM(row_standardize)(ptrdiff_t n, const REAL *x, REAL mean, REAL factor, REAL offset,
                                const REAL *gamma, const REAL *beta, REAL *y)
{
    FM_INDEPENDENT
    for (ptrdiff_t j = 0; j < n; j++)
        y[j] = ((x[j] - mean) * factor + offset) * gamma[j] + beta[j];
}

/* Computes  to[0] = the sum of dy * gamma, to[1] = the sum of dy * gamma * t, t as above. */
static void FM(row_products)(ptrdiff_t n, const REAL *dy, const REAL *x, REAL mean, REAL factor,
                             REAL offset, const REAL *gamma, double *to)
{
    double sums[FM_ROW_LANES] = {0}, dots[FM_ROW_LANES] = {0}, sum = 0, dot = 0;
    ptrdiff_t i = 0;
    for (; i + FM_ROW_LANES <= n; i += FM_ROW_LANES)
        for (int j = 0; j < FM_ROW_LANES; j++) {
            const double g = (double)dy[i + j] * (double)gamma[i + j];
            sums[j] += g;
            dots[j] += g * (double)((x[i + j] - mean) * factor + offset);
        }
    for (int j = 0; i + j < n; j++) {
        const double g = (double)dy[i + j] * (double)gamma[i + j];
        sums[j] += g;
        dots[j] += g * (double)((x[i + j] - mean) * factor + offset);
    }
    for (int j = 0; j < FM_ROW_LANES; j++) {
        sum += sums[j];
        dot += dots[j];
    }
    to[0] = sum;
    to[1] = dot;
}
#undef FM_ROW_LANES

/* Computes  dx = factor * (dy * gamma - a - t * b), t as above. Aliasing: dx may be dy or x. */
static void FM(row_standardize_backward)(ptrdiff_t n, const REAL *dy, const REAL *x, REAL mean,
                                         REAL factor, REAL offset, const REAL *gamma, REAL a,
                                         REAL b, REAL *dx)
{
    FM_INDEPENDENT
    for (ptrdiff_t j = 0; j < n; j++)
        dx[j] = factor * (dy[j] * gamma[j] - a - ((x[j] - mean) * factor + offset) * b);
}

/* Computes  sum[j] += dy[j], dot[j] += dy[j] * t[j], t as above. */
static void FM(row_accumulate)(ptrdiff_t n, const REAL *dy, const REAL *x, REAL mean, REAL factor,
                               REAL offset, double *sum, double *dot)
{
    FM_INDEPENDENT
    for (ptrdiff_t j = 0; j < n; j++) {
        const double value = (double)dy[j];
        sum[j] += value;
        dot[j] += value * (double)((x[j] - mean) * factor + offset);
    }
}
