/* Included once per dtype by test_tile.c: products that leave out zeros. */
#define NAME(name) FM_PASTE(name, FM_PASTE(_, SUFFIX))

/* x (rows, n), with values x_row and x_col apart, at the end of a page. Three of four columns are
 * zero; in the other columns two values of three are zero, some of them negative zero. */
static REAL *NAME(mostly_zero)(int slot, ptrdiff_t rows, ptrdiff_t n, ptrdiff_t x_row,
                               ptrdiff_t x_col)
{
    const ptrdiff_t size = n ? (rows - 1) * x_row + (n - 1) * x_col + 1 : 0;
    REAL *x = guarded(slot, (size_t)size * sizeof(REAL));
    for (ptrdiff_t m = 0; m < rows; m++)
        for (ptrdiff_t k = 0; k < n; k++)
            x[m * x_row + k * x_col] = (k * 7 + 3) % 4 || (k + m) % 3
                                           ? (REAL)(k % 2 ? 0.0 : -0.0)
                                           : NAME(value)((int)(k + 5 * m + 1));
    return x;
}

/* Whether a list has exactly these columns of x, in order, with their values. */
static int NAME(is_list)(const REAL *list, ptrdiff_t rows, ptrdiff_t n, const REAL *x,
                         ptrdiff_t x_row, ptrdiff_t x_col, int32_t step)
{
    const int32_t *index = (const int32_t *)(list + FM_LIST_ROWS * n);
    ptrdiff_t found = 0;
    for (ptrdiff_t k = 0; k < n; k++) {
        int any = 0;
        for (ptrdiff_t m = 0; m < rows; m++) any |= x[m * x_row + k * x_col] != 0;
        if (!any) continue;
        if (found == index[n] || index[found] != (int32_t)k * step) return 0;
        for (ptrdiff_t m = 0; m < FM_LIST_ROWS; m++)
            if (list[found * FM_LIST_ROWS + m] != (m < rows ? x[m * x_row + k * x_col] : 0)) return 0;
        found++;
    }
    return found == index[n];
}

static size_t NAME(list_values)(ptrdiff_t n)
{
    return (size_t)(FM_LIST_ROWS * n) + ((size_t)(n + 1) * 4 + sizeof(REAL) - 1) / sizeof(REAL);
}

static void NAME(test_nonzeros)(void)
{
    const FM_PASTE(fm_table_, SUFFIX) *table = &TABLE(SUFFIX);
    for (ptrdiff_t rows = 1; rows <= FM_LIST_ROWS; rows++)
        for (ptrdiff_t n = 0; n <= 37; n++) {
            REAL *list = guarded(B, NAME(list_values)(n) * sizeof(REAL));
            REAL *x = NAME(mostly_zero)(A, rows, n, n + 3, 1);
            table->list_rows(rows, n, x, n + 3, 5, list);
            check(NAME(is_list)(list, rows, n, x, n + 3, 1, 5), "list of rows " STRING(SUFFIX),
                  (int)rows, 0, n, 0);
            x = NAME(mostly_zero)(A, rows, n, 1, rows + 1);
            table->list_columns(rows, n, x, rows + 1, 7, list);
            check(NAME(is_list)(list, rows, n, x, 1, rows + 1, 7), "list of columns " STRING(SUFFIX),
                  (int)rows, 0, n, 0);
        }
    /* NaN and infinity are values */
    REAL odd[8] = {(REAL)NAN, 0, (REAL)INFINITY, 0, 0, 0, (REAL)-0.0, 0};
    REAL list[64];
    table->list_rows(2, 4, odd, 4, 1, list);
    const int32_t *index = (const int32_t *)(list + FM_LIST_ROWS * 4);
    check(index[4] == 2 && index[0] == 0 && index[1] == 2 && isnan(list[0]),
          "list of NaN " STRING(SUFFIX), 2, 0, 4, 0);
}

/* Every height, width and way to store; the bits equal the tile that leaves out no zeros. */
static void NAME(test_listed)(void)
{
    const FM_PASTE(fm_table_, SUFFIX) *table = &TABLE(SUFFIX);
    for (int vectors = 1; vectors <= 2; vectors++)
        for (ptrdiff_t rows = 1; rows <= 9; rows++)
            for (ptrdiff_t n = 0; n <= 21; n += 3)
                for (int kind = 0; kind < 6; kind++) {
                    const ptrdiff_t width = vectors * table->lanes, c_row = width + 1;
                    const ptrdiff_t values = (ptrdiff_t)NAME(list_values)(n) + 1;
                    const int store = kind % 3; /* set, add, relu */
                    const ptrdiff_t init_row = kind < 3 ? 0 : width;
                    const REAL alpha = store == FM_STORE_ADD ? (REAL)-0.5 : 1;
                    REAL *x = NAME(mostly_zero)(A, rows, n, n + 1, 1);
                    REAL *b = guarded(B, (size_t)(n * width) * sizeof(REAL));
                    REAL *init = guarded(INIT, (size_t)((rows - 1) * init_row + width) * sizeof(REAL));
                    REAL *c = guarded(C, (size_t)((rows - 1) * c_row + width) * sizeof(REAL));
                    REAL *lists = guarded(PACK, (size_t)((rows + 3) / 4 * values) * sizeof(REAL));
                    for (ptrdiff_t i = 0; i < n * width; i++) b[i] = NAME(value)((int)i + 3);
                    for (ptrdiff_t i = 0; i < (rows - 1) * init_row + width; i++)
                        init[i] = NAME(value)((int)i + 5);
                    for (ptrdiff_t i = 0; i < (rows - 1) * c_row + width; i++)
                        c[i] = NAME(value)((int)i + 9);
                    for (ptrdiff_t r = 0; r < rows; r += FM_LIST_ROWS)
                        table->list_rows(rows - r < FM_LIST_ROWS ? rows - r : FM_LIST_ROWS, n,
                                         x + r * (n + 1), n + 1, (int32_t)width,
                                         lists + r / FM_LIST_ROWS * values);
                    FM_PASTE(fm_listed_, SUFFIX) t = {
                        .rows = rows, .most = n, .lists = lists, .list_step = values, .b = b,
                        .init = init, .init_row = init_row, .c = c, .c_row = c_row, .alpha = alpha,
                        .store = store};
                    table->listed_column[vectors](&t);
                    int right = 1;
                    for (ptrdiff_t m = 0; m < rows; m++) {
                        REAL one[2 * FM_MAX_LANES];
                        for (ptrdiff_t i = 0; i < width; i++)
                            one[i] = NAME(value)((int)(m * c_row + i) + 9);
                        table->strip[vectors][1](1, n, x + m * (n + 1), 0, 1, b, width, 0,
                                                 init + m * init_row, 0, one, 0, alpha, store, NULL);
                        right &= !memcmp(one, c + m * c_row, (size_t)width * sizeof(REAL));
                        if (m + 1 < rows)
                            right &= c[m * c_row + width] == NAME(value)((int)(m * c_row + width) + 9);
                    }
                    check(right, "listed column " STRING(SUFFIX), (int)rows, vectors, n, kind);
                }
}

static void NAME(test_listed_strip)(void)
{
    const FM_PASTE(fm_table_, SUFFIX) *table = &TABLE(SUFFIX);
    const ptrdiff_t width = 2 * table->lanes;
    for (ptrdiff_t rows = 1; rows <= FM_LIST_ROWS; rows++)
        for (ptrdiff_t panels = 0; panels <= 3; panels++)
            for (ptrdiff_t n = 0; n <= 13; n++) {
                const ptrdiff_t b_row = panels * width + 3, c_panel = rows * width + 2;
                REAL *x = NAME(mostly_zero)(A, rows, n, 1, rows);
                REAL *b = guarded(B, (size_t)(n * b_row) * sizeof(REAL));
                REAL *c = guarded(C, (size_t)(panels * c_panel) * sizeof(REAL));
                REAL *list = guarded(PACK, NAME(list_values)(n) * sizeof(REAL));
                for (ptrdiff_t i = 0; i < n * b_row; i++) b[i] = NAME(value)((int)i + 3);
                for (ptrdiff_t i = 0; i < panels * c_panel; i++) c[i] = NAME(value)((int)i + 9);
                table->list_columns(rows, n, x, rows, (int32_t)b_row, list);
                FM_PASTE(fm_listed_, SUFFIX) t = {
                    .rows = rows, .most = n, .lists = list, .b = b, .c = c, .c_row = width,
                    .alpha = (REAL)-0.25, .store = FM_STORE_ADD};
                table->listed_strip(&t, panels, c_panel);
                int right = 1;
                for (ptrdiff_t p = 0; p < panels; p++)
                    for (ptrdiff_t m = 0; m < rows; m++) {
                        const ptrdiff_t at = p * c_panel + m * width;
                        REAL one[2 * FM_MAX_LANES];
                        for (ptrdiff_t i = 0; i < width; i++) one[i] = NAME(value)((int)(at + i) + 9);
                        table->strip[2][1](1, n, x + m, 0, rows, b + p * width, b_row, 0, NULL, 0,
                                           one, 0, (REAL)-0.25, FM_STORE_ADD, NULL);
                        right &= !memcmp(one, c + at, (size_t)width * sizeof(REAL));
                    }
                check(right, "listed strip " STRING(SUFFIX), (int)rows, (int)panels, n, 0);
            }
}
