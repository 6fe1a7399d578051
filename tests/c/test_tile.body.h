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

/* Sums continue in c: the bits equal one strip over all of k. */
static void NAME(test_sweep)(int rows, int fetching, ptrdiff_t k_count)
{
    const FM_PASTE(fm_table_, SUFFIX) *table = &TABLE(SUFFIX);
    const ptrdiff_t panels = 3, width = 2 * table->lanes, n_count = panels * width;
    const ptrdiff_t a_row = k_count + 1, c_row = n_count + 1, first = k_count / 2;
    REAL *a = guarded(A, (size_t)((rows - 1) * a_row + k_count) * sizeof(REAL));
    REAL *b = guarded(B, (size_t)(k_count * n_count) * sizeof(REAL));
    REAL *c = guarded(C, (size_t)((rows - 1) * c_row + n_count) * sizeof(REAL));
    REAL *whole = guarded(INIT, (size_t)((rows - 1) * c_row + n_count) * sizeof(REAL));
    for (ptrdiff_t i = 0; i < (rows - 1) * a_row + k_count; i++) a[i] = NAME(value)((int)i + 3);
    for (ptrdiff_t i = 0; i < k_count * n_count; i++) b[i] = NAME(value)((int)i + 11);
    for (ptrdiff_t i = 0; i < (rows - 1) * c_row + n_count; i++) c[i] = whole[i] = 7;
    table->strip[2][rows](panels, k_count, a, a_row, 1, b, n_count, width, NULL, 0, whole, c_row, 1,
                          FM_STORE_SET, NULL);
    table->strip[2][rows](panels, first, a, a_row, 1, b, n_count, width, NULL, 0, c, c_row, 1,
                          FM_STORE_SET, NULL);
    table->sweep[fetching][rows](panels, k_count - first, a + first, a_row, b + first * n_count,
                                 n_count, c, c_row);
    int same = 1;
    for (ptrdiff_t i = 0; i < (rows - 1) * c_row + n_count; i++) same &= c[i] == whole[i];
    check(same, "sweep " STRING(SUFFIX), rows, 2, k_count, fetching);
}

static void NAME(test_sweeps)(void)
{
    const ptrdiff_t sums[] = {0, 1, 2, 3, 17};
    for (int rows = 1; rows <= TABLE(SUFFIX).tile_rows[2]; rows++)
        for (int s = 0; s < 5; s++)
            for (int fetching = 0; fetching < 2; fetching++)
                NAME(test_sweep)(rows, fetching, sums[s]);
}

/* Several consecutive tiles. a is (tiles * rows, k) by rows, by columns (column_a 1) or by columns
 * within each tile (2). With blocks it is a weight in panels: consecutive blocks of k columns. c
 * has one value between its rows. */
static void NAME(test_column)(int rows, int vectors, int update, ptrdiff_t tiles, ptrdiff_t blocks,
                              ptrdiff_t k_count, int store, int with_init, int column_a)
{
    const FM_PASTE(fm_table_, SUFFIX) *table = &TABLE(SUFFIX);
    const ptrdiff_t width = vectors * table->lanes, all = tiles * rows, sums = blocks * k_count;
    const ptrdiff_t a_row = column_a ? 1 : k_count + 1;
    const ptrdiff_t a_col = column_a == 2 ? rows : column_a ? all + 1 : 1;
    const ptrdiff_t a_tile = column_a == 2 ? rows * k_count + 1 : rows * a_row;
    const ptrdiff_t a_block = column_a == 2 ? tiles * a_tile
                              : column_a    ? k_count * a_col + 2
                                            : all * a_row + 2;
    const ptrdiff_t b_row = width + 3, c_row = update ? 2 * table->lanes : width + 1;
    /* init_row 0 is a bias, the same for all rows; with_init 2 has a row for each */
    const ptrdiff_t init_row = with_init == 2 ? width + 2 : 0;
    const REAL alpha = store & FM_STORE_RELU ? 1 : (REAL)-0.5;
    const size_t a_size = (size_t)(k_count ? (blocks - 1) * a_block + (tiles - 1) * a_tile +
                                                 (rows - 1) * a_row + (k_count - 1) * a_col + 1
                                           : 0);
    const size_t b_size = (size_t)(sums ? (sums - 1) * b_row + width : 0);
    const size_t c_size = (size_t)((all - 1) * c_row + width);
    const size_t init_size = (size_t)((all - 1) * init_row + width);
    REAL *a = guarded(A, a_size * sizeof(REAL));
    REAL *b = guarded(B, b_size * sizeof(REAL));
    REAL *c = guarded(C, c_size * sizeof(REAL));
    REAL *init = guarded(INIT, init_size * sizeof(REAL));
    for (size_t i = 0; i < a_size; i++) a[i] = NAME(value)((int)i + 3);
    for (size_t i = 0; i < b_size; i++) b[i] = NAME(value)((int)i + 11);
    for (size_t i = 0; i < c_size; i++) c[i] = NAME(value)((int)i + 5);
    for (size_t i = 0; i < init_size; i++) init[i] = NAME(value)((int)i + 17);
    FM_PASTE(fm_column_, SUFFIX) t = {
        .tiles = tiles, .blocks = blocks, .k_count = k_count, .a = a, .a_row = a_row,
        .a_col = a_col, .a_block = a_block, .a_tile = a_tile, .b = b, .b_row = b_row,
        .init = with_init ? init : NULL, .init_row = init_row, .c = c, .c_row = c_row,
        .alpha = alpha, .store = store};
    (update ? table->update_column : table->column)[vectors][rows](&t);
    int right = 1, untouched = 1;
    for (ptrdiff_t m = 0; m < all; m++) {
        for (ptrdiff_t n = 0; n < width; n++) {
            double sum = with_init ? (double)init[m * init_row + n] : 0, size = fabs(sum);
            for (ptrdiff_t k = 0; k < sums; k++) {
                const REAL *of = a + k / k_count * a_block + m / rows * a_tile + m % rows * a_row +
                                 k % k_count * a_col;
                double term = (double)*of * (double)b[k * b_row + n];
                sum += term;
                size += fabs(term);
            }
            double expected = (double)alpha * sum;
            if (store & FM_STORE_ADD) expected += (double)NAME(value)((int)(m * c_row + n) + 5);
            if ((store & FM_STORE_RELU) && expected < 0) expected = 0;
            right &= fabs((double)c[m * c_row + n] - expected) <=
                     EPSILON * (double)(sums + 3) * (size + 1);
        }
        for (ptrdiff_t n = width; n < c_row && m < all - 1; n++)
            untouched &= c[m * c_row + n] == NAME(value)((int)(m * c_row + n) + 5);
    }
    const char *what = update ? "update column " STRING(SUFFIX) : "column " STRING(SUFFIX);
    check(right, what, rows, vectors, k_count, store);
    check(untouched, what, rows, vectors, -1, store);
}

static void NAME(test_columns)(void)
{
    const FM_PASTE(fm_table_, SUFFIX) *table = &TABLE(SUFFIX);
    const ptrdiff_t sums[] = {0, 1, 2, 3, 17};
    for (int vectors = 1; vectors <= 2; vectors++)
        for (int rows = 1; rows <= table->tile_rows[vectors]; rows++)
            for (int s = 0; s < 5; s++)
                for (int tiles = 1; tiles <= 3; tiles++) {
                    NAME(test_column)(rows, vectors, 1, tiles, 1, sums[s], FM_STORE_ADD, 0, 1);
                    NAME(test_column)(rows, vectors, 1, tiles, 1, sums[s], FM_STORE_ADD, 0, 2);
                    for (int mode = 0; mode < 2 * 4 * 3 * 3; mode++)
                        NAME(test_column)(rows, vectors, 0, tiles, mode < 36 ? 1 : tiles + 1,
                                          sums[s], mode % 4, mode / 4 % 3, mode / 12 % 3);
                }
}

/* One row against several panels; some values are zero and left out. */
static void NAME(test_row_product)(ptrdiff_t panels, ptrdiff_t k_count, int store, int with_init)
{
    const FM_PASTE(fm_table_, SUFFIX) *table = &TABLE(SUFFIX);
    const ptrdiff_t width = 2 * table->lanes, panel = k_count * width + 1;
    REAL *a = guarded(A, (size_t)k_count * sizeof(REAL));
    REAL *b = guarded(B, (size_t)(panels * panel - 1) * sizeof(REAL));
    REAL *c = guarded(C, (size_t)(panels * width) * sizeof(REAL));
    REAL *init = guarded(INIT, (size_t)(panels * width) * sizeof(REAL));
    for (ptrdiff_t i = 0; i < k_count; i++) a[i] = i % 3 ? NAME(value)((int)i + 3) : 0;
    for (ptrdiff_t i = 0; i < panels * panel - 1; i++) b[i] = NAME(value)((int)i + 11);
    for (ptrdiff_t i = 0; i < panels * width; i++) init[i] = NAME(value)((int)i + 17);
    table->row_product(panels, k_count, a, b, panel, with_init ? init : NULL, c, store);
    int right = 1;
    for (ptrdiff_t n = 0; n < panels * width; n++) {
        double sum = with_init ? (double)init[n] : 0, size = fabs(sum);
        for (ptrdiff_t k = 0; k < k_count; k++) {
            double term = (double)a[k] * (double)b[n / width * panel + k * width + n % width];
            sum += term;
            size += fabs(term);
        }
        if ((store & FM_STORE_RELU) && sum < 0) sum = 0;
        right &= fabs((double)c[n] - sum) <= EPSILON * (double)(k_count + 3) * (size + 1);
    }
    check(right, "row product " STRING(SUFFIX), (int)panels, with_init, k_count, store);
}

static void NAME(test_row_products)(void)
{
    const ptrdiff_t sums[] = {1, 2, 3, 17};
    for (ptrdiff_t panels = 1; panels <= 14; panels++)
        for (int s = 0; s < 4; s++)
            for (int mode = 0; mode < 4; mode++)
                NAME(test_row_product)(panels, sums[s], mode % 2 ? FM_STORE_RELU : 0, mode / 2);
}

/* A sum of n terms, each computed by exp with an error of two units. */
#define SOFTMAX_BOUND(n) (EPSILON * ((double)(n) + 12))

static int NAME(close)(REAL value, long double expected, double bound)
{
    if (isnan(expected)) return value != value;
    if (isinf(expected)) return (long double)value == expected;
    return fabsl((long double)value - expected) <= (long double)bound;
}

static void NAME(test_softmax)(int rows, int n, int kind)
{
    const FM_PASTE(fm_table_, SUFFIX) *table = &TABLE(SUFFIX);
    const int lanes = table->lanes, x_row = n + kind % 3;
    const REAL scale = (REAL)0.125;
    const size_t size = (size_t)((rows - 1) * x_row + n);
    REAL *x = guarded(A, size * sizeof(REAL));
    REAL *t = guarded(B, (size_t)(n * lanes) * sizeof(REAL));
    REAL *high = guarded(C, (size_t)lanes * sizeof(REAL));
    REAL *log_total = guarded(INIT, (size_t)lanes * sizeof(REAL));
    const REAL wide[] = {1, 30, 1e30f, 80};
    for (size_t i = 0; i < size; i++) x[i] = NAME(value)((int)i + kind) * wide[kind % 4];
    for (int i = 0; i < rows; i++) { /* one row of several is special, its neighbours are not */
        REAL *at = x + i * x_row + (i + kind) % n;
        if (kind >= 4 && i % 3 == 0)
            *at = kind == 4 ? (REAL)NAN : kind == 5 ? (REAL)INFINITY : (REAL)-INFINITY;
        if (kind == 7 && i % 2)
            for (int c = 0; c < n; c++) x[i * x_row + c] = (REAL)-INFINITY;
    }
    table->softmax_lanes(rows, n, x, x_row, scale, t, high, log_total);
    int right = 1;
    for (int i = 0; i < rows; i++) {
        const REAL *row = x + i * x_row;
        long double most = -INFINITY, total = 0;
        for (int c = 0; c < n; c++) most = isnan(row[c]) || row[c] > most ? row[c] : most;
        for (int c = 0; c < n; c++)
            if (isnan(row[c])) most = NAN;
        for (int c = 0; c < n; c++) total += expl((long double)row[c] - most);
        right &= NAME(close)(high[i], most, 0);
        right &= NAME(close)(log_total[i], logl(total), SOFTMAX_BOUND(n) * (1 + log(n)));
        for (int c = 0; c < n; c++) {
            long double p = expl((long double)row[c] - most) / total;
            /* the rounding of x - high, and all that underflows */
            double bound = (SOFTMAX_BOUND(n) + EPSILON * fabs((double)(row[c] - most))) *
                               (double)p + (double)1e-37f;
            if (isnan(bound)) bound = 0;
            right &= NAME(close)(t[c * lanes + i], p * (long double)scale, bound);
        }
    }
    check(right, "softmax lanes " STRING(SUFFIX), rows, n, x_row, kind);
}

static void NAME(test_softmaxes)(void)
{
    for (int rows = 1; rows <= TABLE(SUFFIX).lanes; rows++)
        for (int n = 1; n <= 40; n++)
            for (int kind = 0; kind < 8; kind++) NAME(test_softmax)(rows, n, kind);
}
#undef SOFTMAX_BOUND

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
                /* zeros up to `end`; what is behind it stays */
                const int end = count + extra / 2;
                for (int i = 0; i < k_count * width; i++) right[i] = 7;
                table->pack_transposed(k_count, count, end, width, across, k_count + extra, right);
                table->pack_columns(k_count, count, from, width, columns);
                int ok = 1;
                for (int k = 0; k < k_count; k++)
                    for (int i = 0; i < width; i++) {
                        ok &= to[k * width + i] == (i < count ? from[k * width + i] : 0);
                        ok &= right[k * width + i] ==
                              (i < count ? across[i * (k_count + extra) + k] : i < end ? 0 : 7);
                        if (i < count) ok &= columns[k * count + i] == from[k * width + i];
                    }
                check(ok, "packing " STRING(SUFFIX), count, width, k_count, 0);
                /* sums (k_count rows of width) to c and to a transposed one, set and added */
                for (int store = 0; store < 8; store++) {
                    const int c_row = store & 4 ? count : 1, c_lane = store & 4 ? 1 : k_count;
                    REAL *c = guarded(C, (size_t)(k_count * count) * sizeof(REAL));
                    REAL alpha = store & FM_STORE_RELU ? 1 : 2;
                    for (int i = 0; i < k_count * count; i++) c[i] = 1;
                    table->store_sums(k_count, count, to, width, c, c_row, c_lane, alpha, store & 3);
                    int same = 1;
                    for (int k = 0; k < k_count; k++)
                        for (int i = 0; i < count; i++) {
                            REAL expected = alpha * to[k * width + i];
                            if (store & FM_STORE_ADD) expected += 1;
                            if ((store & FM_STORE_RELU) && expected < 0) expected = 0;
                            same &= c[k * c_row + i * c_lane] == expected;
                        }
                    check(same, "store_sums " STRING(SUFFIX), count, width, k_count, store);
                }
                free(to);
            }
}
#undef NAME
