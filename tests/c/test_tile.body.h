/* Included once per dtype by test_tile.c. */
#define NAME(name) FM_PASTE(name, FM_PASTE(_, SUFFIX))

static REAL NAME(value)(int i) { return (REAL)((i * 7919 % 1000) / 500.0 - 1.0); }

static void NAME(test_strip)(int rows, int vectors, int packing, ptrdiff_t k_count, int store,
                             int with_init, int column_a)
{
    const FM_PASTE(fm_table_, SUFFIX) *table = &TABLE(SUFFIX);
    const ptrdiff_t panels = 2, width = vectors * table->lanes, n_count = panels * width;
    const ptrdiff_t a_row = column_a ? 1 : k_count + 1, a_col = column_a ? rows : 1;
    const size_t a_size = column_a ? (size_t)(rows * k_count)
                                   : (size_t)((rows - 1) * a_row + k_count);
    const REAL alpha = store & FM_STORE_RELU ? 1 : (REAL)-0.5;
    REAL *a = guarded(A, a_size * sizeof(REAL));
    REAL *b = guarded(B, (size_t)(k_count * n_count) * sizeof(REAL));
    REAL *c = guarded(C, (size_t)(rows * n_count) * sizeof(REAL));
    REAL *init = guarded(INIT, (size_t)n_count * sizeof(REAL));
    REAL *pack = guarded(PACK, (size_t)(k_count * n_count) * sizeof(REAL));
    for (size_t i = 0; i < a_size; i++) a[i] = NAME(value)((int)i + 3);
    for (ptrdiff_t i = 0; i < k_count * n_count; i++) b[i] = NAME(value)((int)i + 11);
    for (ptrdiff_t i = 0; i < rows * n_count; i++) c[i] = NAME(value)((int)i + 5);
    for (ptrdiff_t i = 0; i < n_count; i++) init[i] = NAME(value)((int)i + 17);
    if (packing)
        table->packing_strip[rows](panels, k_count, a, a_row, a_col, b, n_count, width,
                                   with_init ? init : NULL, 0, c, n_count, alpha, store, pack);
    else
        table->strip[vectors][rows](panels, k_count, a, a_row, a_col, b, n_count, width,
                                    with_init ? init : NULL, 0, c, n_count, alpha, store, NULL);
    int right = 1, packed = 1;
    for (ptrdiff_t m = 0; m < rows; m++) {
        for (ptrdiff_t n = 0; n < n_count; n++) {
            double sum = with_init ? (double)init[n] : 0, size = fabs(sum);
            for (ptrdiff_t k = 0; k < k_count; k++) {
                double term = (double)a[m * a_row + k * a_col] * (double)b[k * n_count + n];
                sum += term;
                size += fabs(term);
            }
            double expected = (double)alpha * sum;
            if (store & FM_STORE_ADD) expected += (double)NAME(value)((int)(m * n_count + n) + 5);
            if ((store & FM_STORE_RELU) && expected < 0) expected = 0;
            right &= fabs((double)c[m * n_count + n] - expected) <=
                     EPSILON * (double)(k_count + 3) * (size + 1);
        }
    }
    if (packing)
        for (ptrdiff_t p = 0; p < panels; p++)
            for (ptrdiff_t k = 0; k < k_count; k++)
                for (ptrdiff_t n = 0; n < width; n++)
                    packed &= pack[(p * k_count + k) * width + n] == b[k * n_count + p * width + n];
    check(right, packing ? "packing strip " STRING(SUFFIX) : "strip " STRING(SUFFIX), rows, vectors,
          k_count, store);
    check(packed, "packed panel " STRING(SUFFIX), rows, vectors, k_count, store);
}

static void NAME(test_strips)(void)
{
    const FM_PASTE(fm_table_, SUFFIX) *table = &TABLE(SUFFIX);
    const ptrdiff_t sums[] = {0, 1, 2, 3, 17};
    for (int vectors = 1; vectors <= FM_MAX_TILE_VECTORS; vectors++)
        for (int rows = 1; rows <= table->tile_rows[vectors]; rows++)
            for (int s = 0; s < 5; s++)
                for (int store = 0; store < 4; store++)
                    for (int column_a = 0; column_a < 2; column_a++) {
                        NAME(test_strip)(rows, vectors, 0, sums[s], store, store != 1, column_a);
                        if (vectors == 2)
                            NAME(test_strip)(rows, vectors, 1, sums[s], store, store == 2, column_a);
                    }
}

static void NAME(test_packing)(void)
{
    const FM_PASTE(fm_table_, SUFFIX) *table = &TABLE(SUFFIX);
    for (int count = 1; count <= 24; count++)
        for (int k_count = 1; k_count <= 19; k_count++)
            for (int extra = 0; extra < 10; extra += 3) {
                const int width = count + extra;
                const size_t room = (size_t)(k_count * width + FM_MAX_LANES);
                /* rows of `width` values, of which the last ends at the guard page */
                REAL *from =
                    guarded(FROM, (size_t)((k_count - 1) * width + count) * sizeof(REAL));
                REAL *across = guarded(
                    ACROSS,
                    (size_t)((count - 1) * (k_count + extra) + k_count) * sizeof(REAL));
                REAL *to = calloc(3 * room, sizeof(REAL));
                REAL *right = to + room, *columns = right + room;
                for (int i = 0; i < (k_count - 1) * width + count; i++) from[i] = NAME(value)(i);
                for (int i = 0; i < (count - 1) * (k_count + extra) + k_count; i++)
                    across[i] = NAME(value)(i);
                table->pack_rows(k_count, count, width, from, width, to);
                table->pack_transposed(k_count, count, width, across, k_count + extra, right);
                table->pack_columns(k_count, count, from, width, columns);
                int ok = 1;
                for (int k = 0; k < k_count; k++)
                    for (int i = 0; i < width; i++) {
                        ok &= to[k * width + i] == (i < count ? from[k * width + i] : 0);
                        ok &= right[k * width + i] ==
                              (i < count ? across[i * (k_count + extra) + k] : 0);
                        if (i < count) ok &= columns[k * count + i] == from[k * width + i];
                    }
                check(ok, "packing " STRING(SUFFIX), count, width, k_count, 0);
                /* sums (k_count rows of width) to a transposed c, in place and added */
                for (int store = 0; store < 4; store++) {
                    REAL *c = guarded(C, (size_t)(k_count * count) * sizeof(REAL));
                    REAL alpha = store & FM_STORE_RELU ? 1 : 2;
                    for (int i = 0; i < k_count * count; i++) c[i] = 1;
                    table->store_sums(k_count, count, to, width, c, 1, k_count, alpha, store);
                    int same = 1;
                    for (int k = 0; k < k_count; k++)
                        for (int i = 0; i < count; i++) {
                            REAL expected = alpha * to[k * width + i];
                            if (store & FM_STORE_ADD) expected += 1;
                            if ((store & FM_STORE_RELU) && expected < 0) expected = 0;
                            same &= c[i * k_count + k] == expected;
                        }
                    check(same, "store_sums " STRING(SUFFIX), count, width, k_count, store);
                }
                free(to);
            }
}
#undef NAME
