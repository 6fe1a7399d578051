/* Included once per dtype: narrow layers, with samples in the lanes.
 *
 * A value of a narrow network is a matrix (columns, samples) with few columns; its rows are `row`
 * elements apart. Two vectors of samples are a block, and rows are whole blocks. Products read and
 * write values after the last sample, but never add them to another sample or to a sum over
 * samples.
 */

/* R rows of y for one block of samples: R rows of a against the block of x. */
FM_INLINE void FM(lane_tile)(int R, ptrdiff_t k_count, const REAL *a, ptrdiff_t a_row,
                             ptrdiff_t a_col, const REAL *x, ptrdiff_t x_row, const REAL *init,
                             REAL *y, ptrdiff_t y_row, int relu)
{
    V acc[4][2];
    FM_UNROLL
    for (int r = 0; r < R; r++)
        acc[r][0] = acc[r][1] = FM(v_set)(init != NULL ? init[r] : 0);
    for (ptrdiff_t k = 0; k < k_count; k++) {
        V x0 = FM(v_load)(x + k * x_row), x1 = FM(v_load)(x + k * x_row + FM_LANES);
        FM_UNROLL
        for (int r = 0; r < R; r++) {
            V factor = FM(v_set)(a[r * a_row + k * a_col]);
            acc[r][0] = FM(v_fma)(factor, x0, acc[r][0]);
            acc[r][1] = FM(v_fma)(factor, x1, acc[r][1]);
        }
    }
    FM_UNROLL
    for (int r = 0; r < R; r++) {
        FM_UNROLL
        for (int v = 0; v < 2; v++) {
            V z = acc[r][v];
            if (relu) z = FM(v_max)(FM(v_set)(0), z); /* keeps NaN */
            FM(v_store)(y + r * y_row + v * FM_LANES, z);
        }
    }
}

/* Computes   y[m][s] = init[m] + sum_k a[m * a_row + k * a_col] * x[k][s]; if relu, its maximum
 *            with 0
 * Shapes     m < rows, k < k_count, s < samples; if init is NULL, it is 0
 * Order      of the sum: k ascends
 * Precondition  rows of x and y are whole blocks of 2 * FM_LANES samples; y is not x */
static void FM(lane_product)(ptrdiff_t samples, ptrdiff_t rows, ptrdiff_t k_count, const REAL *a,
                             ptrdiff_t a_row, ptrdiff_t a_col, const REAL *x, ptrdiff_t x_row,
                             const REAL *init, REAL *y, ptrdiff_t y_row, int relu)
{
    for (ptrdiff_t s = 0; s < samples; s += 2 * FM_LANES) {
        for (ptrdiff_t m = 0; m < rows; m += 4) {
            const REAL *from = a + m * a_row, *start = init != NULL ? init + m : NULL;
            REAL *to = y + m * y_row + s;
            switch (rows - m) {
            case 1:
                FM(lane_tile)(1, k_count, from, a_row, a_col, x + s, x_row, start, to, y_row, relu);
                break;
            case 2:
                FM(lane_tile)(2, k_count, from, a_row, a_col, x + s, x_row, start, to, y_row, relu);
                break;
            case 3:
                FM(lane_tile)(3, k_count, from, a_row, a_col, x + s, x_row, start, to, y_row, relu);
                break;
            default:
                FM(lane_tile)(4, k_count, from, a_row, a_col, x + s, x_row, start, to, y_row, relu);
            }
        }
    }
}

/* c[r * c_row] = v_sum(acc[r][column]), r < R, bit for bit, Q_SIDE sums at once. */
FM_INLINE void FM(lane_totals)(int R, V acc[4][2], int column, REAL *c, ptrdiff_t c_row)
{
#if FM_VECTOR_BYTES
    Q part[Q_SIDE];
    REAL totals[Q_SIDE];
    for (int first = 0; first < R; first += Q_SIDE) {
        FM_UNROLL
        for (int i = 0; i < Q_SIDE; i++) {
            union {
                V whole;
                Q parts[FM_LANES / Q_SIDE];
            } sum = {first + i < R ? acc[first + i][column] : FM(v_set)(0)};
            FM_UNROLL
            for (int half = FM_LANES / Q_SIDE / 2; half > 0; half /= 2) {
                FM_UNROLL
                for (int q = 0; q < half; q++) sum.parts[q] += sum.parts[q + half];
            }
            part[i] = sum.parts[0];
        }
        FM(q_transpose)(part);
        FM_UNROLL
        for (int half = Q_SIDE / 2; half > 0; half /= 2) {
            FM_UNROLL
            for (int i = 0; i < half; i++) part[i] += part[i + half];
        }
        FM(q_store)(totals, part[0]);
        FM_UNROLL
        for (int i = 0; i < Q_SIDE; i++)
            if (first + i < R) c[(first + i) * c_row] = totals[i];
    }
#else
    for (int r = 0; r < R; r++) c[r * c_row] = acc[r][column];
#endif
}

/* R x C sums over the samples: products of a row of x and a row of y. */
FM_INLINE void FM(lane_sums_tile)(int R, int C, ptrdiff_t samples, const REAL *x, ptrdiff_t x_row,
                                  const REAL *y, ptrdiff_t y_row, REAL *g, ptrdiff_t g_row)
{
    V acc[4][2], b[2];
    ptrdiff_t s = 0;
    FM_UNROLL
    for (int r = 0; r < R; r++) acc[r][0] = acc[r][1] = FM(v_set)(0);
    for (; s + FM_LANES <= samples; s += FM_LANES) {
        FM_UNROLL
        for (int c = 0; c < C; c++) b[c] = FM(v_load)(y + c * y_row + s);
        FM_UNROLL
        for (int r = 0; r < R; r++) {
            V factor = FM(v_load)(x + r * x_row + s);
            FM_UNROLL
            for (int c = 0; c < C; c++) acc[r][c] = FM(v_fma)(factor, b[c], acc[r][c]);
        }
    }
    if (s < samples) {
        FM_UNROLL
        for (int c = 0; c < C; c++) b[c] = FM(v_load_part)(y + c * y_row + s, samples - s);
        FM_UNROLL
        for (int r = 0; r < R; r++) {
            V factor = FM(v_load_part)(x + r * x_row + s, samples - s);
            FM_UNROLL
            for (int c = 0; c < C; c++) acc[r][c] = FM(v_fma)(factor, b[c], acc[r][c]);
        }
    }
    FM_UNROLL
    for (int c = 0; c < C; c++) FM(lane_totals)(R, acc, c, g + c, g_row);
}

/* Computes   g[i][j] = sum_s x[i][s] * y[j][s]
 * Shapes     i < rows, j < columns, s < samples
 * Order      of the sum: FM_LANES partial sums, added as in v_sum */
static void FM(lane_sums)(ptrdiff_t samples, ptrdiff_t rows, ptrdiff_t columns, const REAL *x,
                          ptrdiff_t x_row, const REAL *y, ptrdiff_t y_row, REAL *g,
                          ptrdiff_t g_row)
{
#define FM_TILE(R, C)                                                                              \
    FM(lane_sums_tile)(R, C, samples, x + i * x_row, x_row, y + j * y_row, y_row,                  \
                       g + i * g_row + j, g_row)
    for (ptrdiff_t i = 0; i < rows; i += 4) {
        for (ptrdiff_t j = 0; j < columns; j += 2) {
            int one = columns - j == 1;
            switch (rows - i) {
            case 1:
                if (one) FM_TILE(1, 1);
                else FM_TILE(1, 2);
                break;
            case 2:
                if (one) FM_TILE(2, 1);
                else FM_TILE(2, 2);
                break;
            case 3:
                if (one) FM_TILE(3, 1);
                else FM_TILE(3, 2);
                break;
            default:
                if (one) FM_TILE(4, 1);
                else FM_TILE(4, 2);
            }
        }
    }
#undef FM_TILE
}

/* Maximum classes that lane_classes keeps in registers, and samples of lane_block. */
#undef FM_FEW_CLASSES
#undef FM_LANE_BLOCK
#define FM_FEW_CLASSES 3
#define FM_LANE_BLOCK (8 * FM_LANES)

/* Softmax over the rows of x for one vector of samples; total = sum exp(x - high). */
FM_INLINE void FM(lane_softmax)(ptrdiff_t n, const REAL *x, ptrdiff_t x_row, REAL scale, REAL *p,
                                ptrdiff_t p_row, V *high, V *best, V *total)
{
    V most = FM(v_set)((REAL)-INFINITY), at = FM(v_set)(0), sum = FM(v_set)(0), factor;
    VI nan = FM(v_seti)(0);
    for (ptrdiff_t c = 0; c < n; c++) {
        V a = FM(v_load)(x + c * x_row);
        at = FM(v_select)(FM(v_lt)(most, a), FM(v_set)((REAL)c), at);
        most = FM(v_max)(a, most);
        nan |= FM(v_nan)(a);
    }
    most = FM(v_select)(nan, FM(v_set)((REAL)NAN), most);
    for (ptrdiff_t c = 0; c < n; c++) {
        V e = FM(v_exp)(FM(v_load)(x + c * x_row) - most);
        FM(v_store)(p + c * p_row, e);
        sum = sum + e;
    }
    factor = FM(v_set)(scale) / sum;
    for (ptrdiff_t c = 0; c < n; c++)
        FM(v_store)(p + c * p_row, FM(v_load)(p + c * p_row) * factor);
    *high = most;
    *best = FM(v_select)(nan, FM(v_set)(-1), at);
    *total = sum;
}

/* Softmax and the terms of cross-entropy, with one sample per lane.
 *
 * Computes   p[c][s] = exp(x[c][s] - high[s]) * (scale / total[s]), where high[s] is the maximum of
 *            x[c][s] (NaN if any is NaN), total[s] the sum of the exponentials, log_total[s] =
 *            log(total[s]), and best[s] the first c of the maximum (-1 if any x[c][s] is NaN)
 * Shapes     s < samples, c < n; high, best, log_total: whole vectors of samples
 * Order      of the sums: c ascends
 * Aliasing   p may be x */
static void FM(lane_softmax_n)(ptrdiff_t samples, ptrdiff_t n, const REAL *x, ptrdiff_t x_row,
                               REAL scale, REAL *p, ptrdiff_t p_row, REAL *high, REAL *best,
                               REAL *log_total)
{
    for (ptrdiff_t s = 0; s < samples; s += FM_LANES) {
        V most, at, total;
        FM(lane_softmax)(n, x + s, x_row, scale, p + s, p_row, &most, &at, &total);
        FM(v_store)(high + s, most);
        FM(v_store)(best + s, at);
        FM(v_store)(log_total + s, FM(v_log)(total));
    }
}

/* The classes of one vector of samples: high, best and total of lane_softmax, own = the value of
 * the label, and p of lane_cross_entropy. `few` is n if n is a constant; all classes stay in
 * registers then. Otherwise it is 0. */
FM_INLINE void FM(lane_classes)(const int few, ptrdiff_t n, const REAL *x, ptrdiff_t x_row, V label,
                                REAL scale, REAL *p, ptrdiff_t p_row, V *high, V *best, V *total,
                                V *own)
{
    const V zero = FM(v_set)(0), whole = FM(v_set)(scale);
    *own = zero;
    if (!few) {
        FM(lane_softmax)(n, x, x_row, scale, p, p_row, high, best, total);
        for (ptrdiff_t c = 0; c < n; c++) {
            VI here = FM(v_equal)(label, FM(v_set)((REAL)c));
            V less = FM(v_load)(p + c * p_row) - FM(v_select)(here, whole, zero);
            FM(v_store)(p + c * p_row, less);
            *own = FM(v_select)(here, FM(v_load)(x + c * x_row), *own);
        }
        return;
    }
    V a[FM_FEW_CLASSES], e[FM_FEW_CLASSES], most = FM(v_set)((REAL)-INFINITY), at = zero;
    V sum = zero, factor;
    VI nan = FM(v_seti)(0);
    FM_UNROLL
    for (int c = 0; c < few; c++) {
        a[c] = FM(v_load)(x + c * x_row);
        at = FM(v_select)(FM(v_lt)(most, a[c]), FM(v_set)((REAL)c), at);
        most = FM(v_max)(a[c], most);
        nan |= FM(v_nan)(a[c]);
    }
    most = FM(v_select)(nan, FM(v_set)((REAL)NAN), most);
    FM_UNROLL
    for (int c = 0; c < few; c++) {
        e[c] = FM(v_exp)(a[c] - most);
        sum = sum + e[c];
    }
    factor = whole / sum;
    FM_UNROLL
    for (int c = 0; c < few; c++) {
        VI here = FM(v_equal)(label, FM(v_set)((REAL)c));
        FM(v_store)(p + c * p_row, e[c] * factor - FM(v_select)(here, whole, zero));
        *own = FM(v_select)(here, a[c], *own);
    }
    *high = most;
    *best = FM(v_select)(nan, FM(v_set)(-1), at);
    *total = sum;
}

/* An element of wrong stays zero as long as its losses are finite. */
FM_INLINE void FM(lane_losses)(const int n, const REAL *high, const REAL *own,
                               const REAL *log_total, double *losses, double *wrong)
{
    for (int i = 0; i < n; i++) {
        losses[i] = (double)high[i] - (double)own[i] + (double)log_total[i];
        wrong[i] += losses[i] * 0;
    }
}

/* At most FM_LANE_BLOCK samples, in several short passes. A processor overlaps the iterations of a
 * short loop. In one long loop exp would wait for the maximum, and log would wait for exp. */
FM_INLINE void FM(lane_block)(const int few, const int samples, ptrdiff_t n, const REAL *x,
                              ptrdiff_t x_row, const int64_t *labels, const int64_t *order,
                              REAL scale, REAL *p, ptrdiff_t p_row, double *losses, int *correct,
                              double *wrong)
{
    REAL label[FM_LANE_BLOCK], high[FM_LANE_BLOCK], own[FM_LANE_BLOCK], total[FM_LANE_BLOCK];
    REAL first[FM_LANE_BLOCK];
    if (order != NULL)
        for (int i = 0; i < samples; i++) label[i] = (REAL)(int32_t)labels[order[i]];
    else
        for (int i = 0; i < samples; i++) label[i] = (REAL)(int32_t)labels[i];
    for (int i = samples; i % FM_LANES; i++) label[i] = 0;
    for (int s = 0; s < samples; s += FM_LANES) {
        V most, best, sum, picked;
        FM(lane_classes)(few, n, x + s, x_row, FM(v_load)(label + s), scale, p + s, p_row, &most,
                         &best, &sum, &picked);
        FM(v_store)(high + s, most);
        FM(v_store)(first + s, best);
        FM(v_store)(total + s, sum);
        FM(v_store)(own + s, picked);
    }
    for (int s = 0; s < samples; s += FM_LANES)
        FM(v_store)(total + s, FM(v_log)(FM(v_load)(total + s)));
    int s = 0;
    for (; s + FM_LANES <= samples; s += FM_LANES)
        FM(lane_losses)(FM_LANES, high + s, own + s, total + s, losses + s, wrong);
    FM(lane_losses)(samples - s, high + s, own + s, total + s, losses + s, wrong);
    if (correct != NULL)
        for (int i = 0; i < samples; i++) correct[i] = first[i] == label[i];
}

FM_INLINE int FM(lane_blocks)(const int few, ptrdiff_t samples, ptrdiff_t n, const REAL *x,
                              ptrdiff_t x_row, const int64_t *labels, const int64_t *order,
                              REAL scale, REAL *p, ptrdiff_t p_row, double *losses, int *correct)
{
    double wrong[FM_LANES] = {0};
    int bad = 0;
    for (ptrdiff_t s = 0; s < samples; s += FM_LANE_BLOCK) {
        const ptrdiff_t rest = samples - s;
        FM(lane_block)(few, rest < FM_LANE_BLOCK ? (int)rest : FM_LANE_BLOCK, n, x + s, x_row,
                       order ? labels : labels + s, order ? order + s : NULL, scale, p + s, p_row,
                       losses + s, correct ? correct + s : NULL, wrong);
    }
    for (int i = 0; i < FM_LANES; i++) bad |= wrong[i] != 0;
    return bad;
}

/* Softmax with cross-entropy, with one sample per lane.
 *
 * Computes   losses[s] = high[s] - x[label][s] + log_total[s], p[c][s] = scale * (softmax - 1 at
 *            the label), correct[s] = (label == best[s]), with the names of lane_softmax_n
 * Returns    1 if a loss is not finite, else 0
 * Shapes     s < samples, c < n; the label of s is labels[order[s]], or labels[s] if order is NULL;
 *            correct may be NULL
 * Aliasing   p must not be x */
static int FM(lane_cross_entropy)(ptrdiff_t samples, ptrdiff_t n, const REAL *x, ptrdiff_t x_row,
                                  const int64_t *labels, const int64_t *order, REAL scale, REAL *p,
                                  ptrdiff_t p_row, double *losses, int *correct)
{
#define FM_BATCH(few)                                                                              \
    FM(lane_blocks)(few, samples, n, x, x_row, labels, order, scale, p, p_row, losses, correct)
    if (n == 2) return FM_BATCH(2);
    if (n == 3) return FM_BATCH(3);
    return FM_BATCH(0);
#undef FM_BATCH
}

/* Softmax of at most FM_LANES rows at once, one row per lane, for few classes: a vector along such
 * a row would be half empty.
 *
 * Computes   t[c][i] = exp(x[i][c] - high[i]) * (scale / total[i]), where high[i] is the maximum of
 *            x[i][c] (NaN if any is NaN), total[i] the sum of the exponentials, log_total[i] =
 *            log(total[i])
 * Shapes     i < rows <= FM_LANES, c < n; t has FM_LANES columns; high, log_total FM_LANES values
 * Order      of the sums: c ascends */
static void FM(softmax_lanes)(ptrdiff_t rows, ptrdiff_t n, const REAL *x, ptrdiff_t x_row,
                              REAL scale, REAL *t, REAL *high, REAL *log_total)
{
    V most, best, total;
    FM(pack_transposed)(n, rows, FM_LANES, FM_LANES, x, x_row, t);
    FM(lane_softmax)(n, t, FM_LANES, scale, t, FM_LANES, &most, &best, &total);
    FM(v_store)(high, most);
    FM(v_store)(log_total, FM(v_log)(total));
}
#undef Q
#undef Q_SIDE
