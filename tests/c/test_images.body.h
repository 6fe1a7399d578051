/* Included once per dtype by test_tile.c: sums of sparse rows, lists of values, max-pooling. */
#define NAME(name) FM_PASTE(name, FM_PASTE(_, SUFFIX))

static void NAME(test_sparse_rows)(int segments, int vectors, ptrdiff_t count)
{
    const FM_PASTE(fm_table_, SUFFIX) *table = &TABLE(SUFFIX);
    const ptrdiff_t n = vectors * table->lanes, block = n + 3, c_block = n + 1, step = 5;
    const ptrdiff_t size = 7 * step + (segments - 1) * block + n;
    REAL *rows = guarded(A, (size_t)size * sizeof(REAL));
    REAL *values = guarded(B, (size_t)(count + 1) * sizeof(REAL));
    int32_t *index = guarded(FROM, (size_t)(count + 1) * sizeof(int32_t));
    REAL *c = guarded(C, (size_t)((segments - 1) * c_block + n) * sizeof(REAL));
    int right = 1;
    for (ptrdiff_t i = 0; i < size; i++) rows[i] = NAME(value)((int)i + 3);
    for (ptrdiff_t j = 0; j < count; j++) {
        values[j] = NAME(value)((int)j + 11);
        index[j] = (int32_t)(j * 3 % 8);
    }
    for (ptrdiff_t i = 0; i < (segments - 1) * c_block + n; i++) c[i] = NAME(value)((int)i + 5);
    table->sparse_rows[segments][vectors](count, values, index, step, rows, block, c, c_block);
    for (ptrdiff_t i = 0; i < (segments - 1) * c_block + n; i++) {
        const ptrdiff_t s = i / c_block, at = i % c_block;
        double sum = (double)NAME(value)((int)i + 5);
        for (ptrdiff_t j = 0; at < n && j < count; j++)
            sum += (double)values[j] * (double)rows[index[j] * step + s * block + at];
        right &= fabs((double)c[i] - sum) <= EPSILON * (double)(count + 2) * (double)(count + 1);
    }
    check(right, "sparse rows " STRING(SUFFIX), segments, vectors, count, 0);
}

static void NAME(test_nonzero)(ptrdiff_t n)
{
    const FM_PASTE(fm_table_, SUFFIX) *table = &TABLE(SUFFIX);
    REAL *x = guarded(A, (size_t)n * sizeof(REAL));
    REAL *values = guarded(B, (size_t)n * sizeof(REAL));
    int32_t *index = guarded(FROM, (size_t)n * sizeof(int32_t));
    ptrdiff_t expected = 0;
    int right = 1;
    for (ptrdiff_t i = 0; i < n; i++) x[i] = i % 3 == 1 ? (REAL)-0.0 : NAME(value)((int)i + 1);
    ptrdiff_t found = table->nonzero(n, x, values, index);
    for (ptrdiff_t i = 0; i < n; i++) {
        if (x[i] == 0) continue;
        right &= expected < found && values[expected] == x[i] && index[expected] == i;
        expected++;
    }
    check(right && found == expected, "nonzero " STRING(SUFFIX), 0, 0, n, 0);
}

/* Few different values, so that many are equal, and some NaN. */
static void NAME(test_max_pool)(ptrdiff_t channels, ptrdiff_t rows, ptrdiff_t columns)
{
    const FM_PASTE(fm_table_, SUFFIX) *table = &TABLE(SUFFIX);
    const ptrdiff_t pixel = channels + 2, row = columns * pixel + 1;
    const ptrdiff_t size = (rows - 1) * row + columns * pixel;
    const int wide = rows * columns > 256;
    REAL *x = guarded(A, (size_t)size * sizeof(REAL));
    REAL *y = guarded(C, (size_t)channels * sizeof(REAL));
    char *index = guarded(FROM, (size_t)channels * (wide ? sizeof(int32_t) : 1));
    int right = 1;
    for (ptrdiff_t i = 0; i < size; i++)
        x[i] = i % 31 == 30 ? (REAL)NAN : (REAL)((int)(i * 7919 % 5) - 3);
    table->max_pool(channels, rows, columns, x, row, pixel, y, index);
    for (ptrdiff_t c = 0; c < channels; c++) {
        REAL best = x[c];
        ptrdiff_t at = 0;
        for (ptrdiff_t p = 1; p < rows * columns; p++) {
            REAL a = x[p / columns * row + p % columns * pixel + c];
            if (a > best || (a != a && best == best)) {
                best = a;
                at = p;
            }
        }
        int32_t place = (uint8_t)index[c];
        if (wide) memcpy(&place, index + 4 * c, 4);
        right &= place == at && (y[c] == best || (y[c] != y[c] && best != best));
    }
    table->max_pool(channels, rows, columns, x, row, pixel, y, NULL);
    check(right, "max pool " STRING(SUFFIX), (int)rows, (int)columns, channels, 0);
}

static void NAME(test_images)(void)
{
    for (int segments = 1; segments <= FM_MAX_SPARSE; segments++)
        for (int vectors = 1; segments * vectors <= FM_MAX_SPARSE; vectors++)
            for (ptrdiff_t count = 0; count < 8; count++)
                NAME(test_sparse_rows)(segments, vectors, count);
    for (ptrdiff_t n = 0; n < 40; n += 1) NAME(test_nonzero)(n);
    for (ptrdiff_t channels = 1; channels < 36; channels++) {
        NAME(test_max_pool)(channels, 1, 1);
        NAME(test_max_pool)(channels, 2, 3);
        NAME(test_max_pool)(channels, 17, 16);
    }
}
#undef NAME
