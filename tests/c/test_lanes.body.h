/* Included once per dtype by test_tile.c: products, sums and softmaxes with samples in the lanes. */
#define NAME(name) FM_PASTE(name, FM_PASTE(_, SUFFIX))

/* Rows of whole blocks, at the end of a page. Values behind the last sample are NaN. */
static REAL *NAME(lane_rows)(int slot, int rows, int samples, ptrdiff_t row, int seed)
{
    REAL *x = guarded(slot, (size_t)(rows * row) * sizeof(REAL));
    for (int k = 0; k < rows; k++)
        for (ptrdiff_t s = 0; s < row; s++)
            x[k * row + s] = s < samples ? NAME(value)(seed + 37 * k + (int)s) : (REAL)NAN;
    return x;
}

static void NAME(test_lane_products)(void)
{
    const FM_PASTE(fm_table_, SUFFIX) *table = &TABLE(SUFFIX);
    const int width = 2 * table->lanes;
    for (int rows = 1; rows <= 9; rows++)
        for (int count = 0; count <= 7; count++)
            for (int kind = 0; kind < 8; kind++) {
                const int samples = 1 + (rows * 5 + count * 7 + kind * 3) % (3 * width);
                const ptrdiff_t row = (samples + width - 1) / width * width;
                const int across = kind & 1, biased = kind & 2, relu = (kind & 4) != 0;
                const ptrdiff_t a_row = across ? 1 : count, a_col = across ? rows : 1;
                REAL *a = guarded(A, (size_t)(rows * count) * sizeof(REAL));
                REAL *bias = guarded(INIT, (size_t)rows * sizeof(REAL));
                REAL *x = NAME(lane_rows)(B, count, samples, row, 3);
                REAL *y = guarded(C, (size_t)(rows * row) * sizeof(REAL));
                for (int i = 0; i < rows * count; i++) a[i] = NAME(value)(i + 11);
                for (int i = 0; i < rows; i++) bias[i] = NAME(value)(i + 5);
                table->lane_product(samples, rows, count, a, a_row, a_col, x, row,
                                    biased ? bias : NULL, y, row, relu);
                int right = 1;
                for (int m = 0; m < rows; m++)
                    for (int s = 0; s < samples; s++) {
                        double sum = biased ? bias[m] : 0, size = fabs(sum);
                        for (int k = 0; k < count; k++) {
                            double term = (double)a[m * a_row + k * a_col] * x[k * row + s];
                            sum += term;
                            size += fabs(term);
                        }
                        if (relu && sum < 0) sum = 0;
                        right &= fabs(y[m * row + s] - sum) <= 2 * (count + 1) * EPSILON * size;
                    }
                check(right, "lane product " STRING(SUFFIX), rows, samples, count, kind);
            }
    /* relu lets NaN through */
    REAL *x = NAME(lane_rows)(B, 1, 0, width, 0), one = 1;
    REAL *y = guarded(C, (size_t)width * sizeof(REAL));
    table->lane_product(1, 1, 1, &one, 1, 1, x, width, NULL, y, width, 1);
    check(isnan(y[0]), "lane product of NaN " STRING(SUFFIX), 1, 1, 1, 4);
}

static void NAME(test_lane_sums)(void)
{
    const FM_PASTE(fm_table_, SUFFIX) *table = &TABLE(SUFFIX);
    const int width = 2 * table->lanes;
    for (int rows = 1; rows <= 9; rows++)
        for (int columns = 1; columns <= 5; columns++)
            for (int samples = 1; samples <= 2 * width + 1; samples++) {
                const ptrdiff_t row = (samples + width - 1) / width * width;
                REAL *x = NAME(lane_rows)(A, rows, samples, row, 7);
                REAL *y = NAME(lane_rows)(B, columns, samples, row, 23);
                REAL *g = guarded(C, (size_t)(rows * columns) * sizeof(REAL));
                int right = 1;
                table->lane_sums(samples, rows, columns, x, row, y, row, g, columns);
                for (int i = 0; i < rows; i++)
                    for (int j = 0; j < columns; j++) {
                        double sum = 0, size = 0;
                        for (int s = 0; s < samples; s++) {
                            double term = (double)x[i * row + s] * y[j * row + s];
                            sum += term;
                            size += fabs(term);
                        }
                        right &= fabs(g[i * columns + j] - sum) <= samples * EPSILON * size;
                        /* one of many sums is the same bits as alone */
                        REAL alone;
                        table->lane_sums(samples, 1, 1, x + i * row, row, y + j * row, row, &alone,
                                         1);
                        right &= alone == g[i * columns + j];
                    }
                check(right, "lane sums " STRING(SUFFIX), rows, columns, samples, 0);
            }
}

static void NAME(test_lane_softmax)(void)
{
    const FM_PASTE(fm_table_, SUFFIX) *table = &TABLE(SUFFIX);
    const int lanes = table->lanes;
    for (int n = 1; n <= 5; n++)
        for (int samples = 1; samples <= 3 * lanes; samples++) {
            const ptrdiff_t row = (samples + 2 * lanes - 1) / (2 * lanes) * 2 * lanes;
            REAL *x = NAME(lane_rows)(A, n, samples, row, n);
            REAL *p = guarded(B, (size_t)(n * row) * sizeof(REAL));
            REAL *most = guarded(C, (size_t)(3 * row) * sizeof(REAL));
            REAL *best = most + row, *log_total = best + row;
            int right = 1;
            if (n > 2) x[2 * row] = x[0]; /* a tie: the first of them */
            if (samples > 1) x[(n - 1) * row + 1] = (REAL)NAN;
            table->lane_softmax(samples, n, x, row, 2, p, row, most, best, log_total);
            for (int s = 0; s < samples; s++) {
                double high = -INFINITY, total = 0;
                int first = 0, nan = 0;
                for (int c = 0; c < n; c++) {
                    nan |= isnan(x[c * row + s]);
                    if (x[c * row + s] > high) {
                        high = x[c * row + s];
                        first = c;
                    }
                }
                if (nan) {
                    right &= isnan(most[s]) && best[s] == -1 && isnan(p[s]);
                    continue;
                }
                for (int c = 0; c < n; c++) total += exp(x[c * row + s] - high);
                right &= most[s] == (REAL)high && best[s] == first;
                right &= fabs(log_total[s] - log(total)) <= 8 * EPSILON * (1 + log(total));
                for (int c = 0; c < n; c++)
                    right &= fabs(p[c * row + s] - 2 * exp(x[c * row + s] - high) / total) <=
                             16 * EPSILON;
            }
            check(right, "lane softmax " STRING(SUFFIX), n, samples, row, 0);
        }
}

static void NAME(test_lane_losses)(void)
{
    const FM_PASTE(fm_table_, SUFFIX) *table = &TABLE(SUFFIX);
    const int lanes = table->lanes;
    for (int n = 1; n <= 5; n++)
        for (int samples = 1; samples <= 3 * lanes; samples++)
            for (int kind = 0; kind < 4; kind++) {
                const ptrdiff_t row = (samples + 2 * lanes - 1) / (2 * lanes) * 2 * lanes;
                const size_t values = (size_t)(n * row) * sizeof(REAL);
                const REAL scale = (REAL)0.25;
                int64_t *order = guarded(PACK, (size_t)samples * sizeof(int64_t));
                int64_t *labels = guarded(INIT, (size_t)samples * sizeof(int64_t));
                REAL *x = NAME(lane_rows)(A, n, samples, row, n);
                REAL *p = guarded(B, values);
                double *losses = guarded(C, (size_t)samples * sizeof(double));
                int *correct = guarded(FROM, (size_t)samples * sizeof(int));
                int right = 1, bad = 0, found;
                for (int s = 0; s < samples; s++) {
                    order[s] = samples - 1 - s;
                    labels[s] = (s * 7 + n) % n;
                }
                if (kind == 2) x[(samples - 1) % samples] = (REAL)INFINITY;
                if (kind == 3) x[(n - 1) * row] = (REAL)NAN;
                found = table->lane_cross_entropy(samples, n, x, row, labels,
                                                  kind == 1 ? order : NULL, scale, p, row, losses,
                                                  correct);
                for (int s = 0; s < samples; s++) {
                    const int label = (int)labels[kind == 1 ? order[s] : s];
                    double high = -INFINITY, total = 0, loss;
                    int best = -1, nan = 0;
                    for (int c = 0; c < n; c++) {
                        nan |= isnan(x[c * row + s]);
                        if (x[c * row + s] > high) {
                            high = x[c * row + s];
                            best = c;
                        }
                    }
                    for (int c = 0; c < n; c++) total += exp(x[c * row + s] - high);
                    loss = high - x[label * row + s] + log(total);
                    bad |= nan || !isfinite(loss);
                    right &= correct[s] == (!nan && best == label);
                    if (nan || !isfinite(loss)) {
                        right &= !isfinite(losses[s]);
                        continue;
                    }
                    right &= fabs(losses[s] - loss) <= 16 * EPSILON * (1 + fabs(loss));
                    for (int c = 0; c < n; c++)
                        right &= fabs(p[c * row + s] - scale * (exp(x[c * row + s] - high) / total -
                                                                (c == label))) <= 16 * EPSILON;
                }
                check(right && found == bad, "lane cross-entropy " STRING(SUFFIX), n, samples, row,
                      kind);
            }
}
#undef NAME
