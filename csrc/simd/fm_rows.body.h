/* Included once per dtype: reductions and maps of one row (softmax, means, dot products).
 *
 * Rows are often short (10 classes). The rest of a row is one part vector, whose lanes beyond the
 * row hold the neutral element. The order of a sum depends only on n: four vectors of partial sums
 * over blocks of four vectors, added as ((0 + 1) + (2 + 3)); then the remaining vectors; then the
 * halves of the vector, one onto the other. Any alignment.
 */

/* The mask of the lanes whose number is less than n. */
FM_INLINE VI FM(v_first)(ptrdiff_t n)
{
    static const REAL lane[FM_MAX_LANES] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return FM(v_lt)(FM(v_load)(lane), FM(v_set)((REAL)n));
}

/* The sum of all lanes: the upper half is added onto the lower half until one lane is left. */
FM_INLINE REAL FM(v_sum)(V a)
{
    REAL lanes[FM_LANES];
    FM(v_store)(lanes, a);
    FM_UNROLL
    for (int half = FM_LANES / 2; half > 0; half /= 2) {
        FM_UNROLL
        for (int i = 0; i < half; i++) lanes[i] += lanes[i + half];
    }
    return lanes[0];
}

/* A sum over the row: full(s, i) adds the vector of terms from i on to s, part(s, i, m) adds the
 * last m < FM_LANES terms. */
#define FM_ROW_SUM(n, full, part)                                                                  \
    ptrdiff_t i = 0;                                                                               \
    V s0 = FM(v_set)(0);                                                                           \
    if ((n) >= 4 * FM_LANES) {                                                                     \
        V s1 = s0, s2 = s0, s3 = s0;                                                               \
        for (; i + 4 * FM_LANES <= (n); i += 4 * FM_LANES) {                                       \
            s0 = full(s0, i);                                                                      \
            s1 = full(s1, i + FM_LANES);                                                           \
            s2 = full(s2, i + 2 * FM_LANES);                                                       \
            s3 = full(s3, i + 3 * FM_LANES);                                                       \
        }                                                                                          \
        s0 = (s0 + s1) + (s2 + s3);                                                                \
    }                                                                                              \
    for (; i + FM_LANES <= (n); i += FM_LANES) s0 = full(s0, i);                                   \
    if (i < (n)) s0 = part(s0, i, (n)-i);                                                          \
    return FM(v_sum)(s0);

/* Computes  the maximum of x[i], n >= 1. NaN if any x[i] is NaN. */
static REAL FM(row_max)(ptrdiff_t n, const REAL *x)
{
    const V least = FM(v_set)((REAL)-INFINITY);
    V largest = least;
    VI nan = FM(v_seti)(0);
    ptrdiff_t i = 0;
    for (; i + FM_LANES <= n; i += FM_LANES) {
        V a = FM(v_load)(x + i);
        largest = FM(v_max)(a, largest); /* keeps largest where a is NaN */
        nan |= FM(v_nan)(a);
    }
    if (i < n) {
        V a = n >= FM_LANES ? FM(v_load)(x + n - FM_LANES) /* some twice: same maximum */
                            : FM(v_select)(FM(v_first)(n), FM(v_load_part)(x, n), least);
        largest = FM(v_max)(a, largest);
        nan |= FM(v_nan)(a);
    }
    REAL lanes[FM_LANES];
    FM(v_store)(lanes, largest);
    FM_UNROLL
    for (int half = FM_LANES / 2; half > 0; half /= 2) {
        FM_UNROLL
        for (int j = 0; j < half; j++)
            lanes[j] = lanes[j] > lanes[j + half] ? lanes[j] : lanes[j + half];
    }
    return lanes[0] + FM(v_sum)(FM(v_real)(nan)); /* lanes of nan are NaN or 0 */
}

/* row_exp_sum; keep: write y. Whole vectors are added to two partial sums in alternation. */
FM_INLINE REAL FM(exp_sum)(ptrdiff_t n, const REAL *x, REAL shift, REAL *y, int keep)
{
    const V b = FM(v_set)(shift);
    V sum = FM(v_set)(0), other = sum;
    ptrdiff_t i = 0;
    for (; i + FM_LANES <= n; i += FM_LANES) {
        V e = FM(v_exp)(FM(v_load)(x + i) - b);
        V next = other + e;
        if (keep) FM(v_store)(y + i, e);
        other = sum;
        sum = next;
    }
    if (i < n) {
        V e = FM(v_exp)(FM(v_load_part)(x + i, n - i) - b);
        if (keep) FM(v_store_part)(y + i, e, n - i);
        other = other + FM(v_select)(FM(v_first)(n - i), e, FM(v_set)(0));
    }
    return FM(v_sum)(sum + other);
}

/* Computes  y[i] = exp(x[i] - shift) and their sum.
 * Aliasing  y may be x; if y is NULL, only the sum is computed.
 * Range     x[i] - shift as for v_exp; -inf gives 0. */
static REAL FM(row_exp_sum)(ptrdiff_t n, const REAL *x, REAL shift, REAL *y)
{
    return y != NULL ? FM(exp_sum)(n, x, shift, y, 1) : FM(exp_sum)(n, x, shift, y, 0);
}

/* Computes  y[i] = a * x[i] + b. Aliasing: y may be x. */
static void FM(row_affine)(ptrdiff_t n, REAL a, const REAL *x, REAL b, REAL *y)
{
    const V factor = FM(v_set)(a), offset = FM(v_set)(b);
    ptrdiff_t i = 0;
    for (; i + FM_LANES <= n; i += FM_LANES)
        FM(v_store)(y + i, FM(v_fma)(factor, FM(v_load)(x + i), offset));
    if (i < n)
        FM(v_store_part)(y + i, FM(v_fma)(factor, FM(v_load_part)(x + i, n - i), offset), n - i);
}

/* Computes  the sum of x[i] * y[i]. */
static REAL FM(row_dot)(ptrdiff_t n, const REAL *x, const REAL *y)
{
#define FM_FULL(s, i) FM(v_fma)(FM(v_load)(x + (i)), FM(v_load)(y + (i)), s)
#define FM_PART(s, i, m) FM(v_fma)(FM(v_load_part)(x + (i), m), FM(v_load_part)(y + (i), m), s)
    FM_ROW_SUM(n, FM_FULL, FM_PART)
#undef FM_FULL
#undef FM_PART
}

/* Computes  the sum of x[i]. */
static REAL FM(row_sum)(ptrdiff_t n, const REAL *x)
{
#define FM_FULL(s, i) (s + FM(v_load)(x + (i)))
#define FM_PART(s, i, m) (s + FM(v_load_part)(x + (i), m))
    FM_ROW_SUM(n, FM_FULL, FM_PART)
#undef FM_FULL
#undef FM_PART
}
#undef FM_ROW_SUM

/* Computes  dx[i] = y[i] * (dy[i] - shift), where shift is the dot product of dy and y.
 * Aliasing  dx may be dy or y. */
static void FM(row_softmax_backward)(ptrdiff_t n, const REAL *dy, const REAL *y, REAL shift,
                                     REAL *dx)
{
    const V b = FM(v_set)(shift);
    ptrdiff_t i = 0;
    for (; i + FM_LANES <= n; i += FM_LANES)
        FM(v_store)(dx + i, FM(v_load)(y + i) * (FM(v_load)(dy + i) - b));
    if (i < n) {
        V last = FM(v_load_part)(y + i, n - i) * (FM(v_load_part)(dy + i, n - i) - b);
        FM(v_store_part)(dx + i, last, n - i);
    }
}

/* Computes  dx[i] = dy[i] - exp(y[i]) * total, where total is the sum of dy.
 * Aliasing  dx may be dy or y. */
static void FM(row_log_softmax_backward)(ptrdiff_t n, const REAL *dy, const REAL *y, REAL total,
                                         REAL *dx)
{
    const V factor = FM(v_set)(-total);
    ptrdiff_t i = 0;
    for (; i + FM_LANES <= n; i += FM_LANES)
        FM(v_store)(dx + i, FM(v_fma)(FM(v_exp)(FM(v_load)(y + i)), factor, FM(v_load)(dy + i)));
    if (i < n) {
        V last = FM(v_fma)(FM(v_exp)(FM(v_load_part)(y + i, n - i)), factor,
                           FM(v_load_part)(dy + i, n - i));
        FM(v_store_part)(dx + i, last, n - i);
    }
}
