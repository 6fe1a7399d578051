/* Included once per dtype: the register tile, the building block of every product.
 *
 * Computes   acc[m][n] = init[m][n] + sum_k a[m * a_row + k * a_col] * b[k * b_row + n],
 *            then stores it at c as enum fm_store says
 * Shapes     m < rows, n < vectors * FM_LANES, compile-time constants of each instance
 * Layout     a is read value by value (any strides), b in whole vectors, unaligned
 * Aliasing   init may be c (continue a sum); c must not overlap a, b or pack
 * Order      k ascends, with one accumulator per element: the bits of a result depend neither on
 *            the shape of the tile, nor on its neighbours, nor on where a sum was interrupted
 * Source     the batch-reduce matrix multiply of Georganas et al. 2019, arXiv:1906.06440
 */

/* One k: acc += a_k * b_k. The packing form also copies b_k to the panel that the next row tiles
 * read; its stores are free beside the multiply-adds. The prefetch is short: rows of b that are a
 * power of two apart share few cache sets, and would evict each other. */
FM_INLINE void FM(tile_step)(const int rows, const int vectors, const int packing,
                             V acc[][FM_MAX_TILE_VECTORS], const REAL **a_m, ptrdiff_t a_row,
                             ptrdiff_t a_col, const REAL **b, ptrdiff_t b_row, REAL **pack)
{
    V b_k[FM_MAX_TILE_VECTORS];
    FM_UNROLL
    for (int v = 0; v < vectors; v++) {
        b_k[v] = FM(v_load)(*b + v * FM_LANES);
        if (packing) FM(v_store)(*pack + v * FM_LANES, b_k[v]);
    }
    if (packing) {
        FM_PREFETCH(*b + 4 * b_row);
        *pack += vectors * FM_LANES;
    }
    FM_UNROLL
    for (int m = 0; m < rows; m++) {
        V a_mk = FM(v_set)(a_m[m / 3][(m % 3) * a_row]);
        FM_UNROLL
        for (int v = 0; v < vectors; v++) acc[m][v] = FM(v_fma)(a_mk, b_k[v], acc[m][v]);
    }
    FM_UNROLL
    for (int p = 0; p < (rows + 2) / 3; p++) a_m[p] += a_col;
    *b += b_row;
}

FM_INLINE void FM(tile)(const int rows, const int vectors, const int packing, ptrdiff_t blocks,
                        ptrdiff_t a_jump, ptrdiff_t k_count, const REAL *a, ptrdiff_t a_row,
                        ptrdiff_t a_col, const REAL *b, ptrdiff_t b_row, const REAL *init,
                        ptrdiff_t init_row, REAL *c, ptrdiff_t c_row, REAL alpha, int store,
                        REAL *pack)
{
    V acc[FM_MAX_TILE_ROWS][FM_MAX_TILE_VECTORS];
    const REAL *a_m[(FM_MAX_TILE_ROWS + 2) / 3]; /* every third row: x86 addresses reach p + 2 r */

    FM_UNROLL
    for (int m = 0; m < rows; m++) {
        if (m % 3 == 0) a_m[m / 3] = a + m * a_row;
        FM_PREFETCH(c + m * c_row);
        FM_UNROLL
        for (int v = 0; v < vectors; v++) acc[m][v] = FM(v_set)(0);
    }
    if (init) {
        FM_UNROLL
        for (int m = 0; m < rows; m++) {
            FM_UNROLL
            for (int v = 0; v < vectors; v++)
                acc[m][v] = FM(v_load)(init + m * init_row + v * FM_LANES);
        }
    }

    for (ptrdiff_t block = 0; block < blocks; block++) {
        ptrdiff_t k = 0;
        for (; !packing && k + 2 <= k_count; k += 2) {
            FM(tile_step)(rows, vectors, packing, acc, a_m, a_row, a_col, &b, b_row, &pack);
            FM(tile_step)(rows, vectors, packing, acc, a_m, a_row, a_col, &b, b_row, &pack);
        }
        for (; k < k_count; k++)
            FM(tile_step)(rows, vectors, packing, acc, a_m, a_row, a_col, &b, b_row, &pack);
        FM_UNROLL
        for (int p = 0; p < (rows + 2) / 3; p++) a_m[p] += a_jump;
    }

    FM_OPAQUE(alpha); /* keeps its broadcast out of the registers of the loop */
    if (store & FM_STORE_ADD) {
        FM_UNROLL
        for (int m = 0; m < rows; m++) {
            FM_UNROLL
            for (int v = 0; v < vectors; v++)
                acc[m][v] = FM(v_fma)(FM(v_set)(alpha), acc[m][v],
                                      FM(v_load)(c + m * c_row + v * FM_LANES));
        }
    } else if (alpha != 1) {
        FM_UNROLL
        for (int m = 0; m < rows; m++) {
            FM_UNROLL
            for (int v = 0; v < vectors; v++) acc[m][v] = acc[m][v] * FM(v_set)(alpha);
        }
    }
    if (store & FM_STORE_RELU) {
        FM_UNROLL
        for (int m = 0; m < rows; m++) {
            FM_UNROLL
            for (int v = 0; v < vectors; v++) /* a NaN sum stays NaN */
                acc[m][v] = FM(v_max)(FM(v_set)(0), acc[m][v]);
        }
    }
    FM_UNROLL
    for (int m = 0; m < rows; m++) {
        FM_UNROLL
        for (int v = 0; v < vectors; v++)
            FM(v_store)(c + m * c_row + v * FM_LANES, acc[m][v]);
    }
}

/* A strip: one row tile against consecutive panels of b, b_panel values apart. */
#define FM_STRIP(rows, vectors, name, packing)                                                     \
    static void FM(name##_##rows##x##vectors)(                                                     \
        ptrdiff_t panels, ptrdiff_t k_count, const REAL *a, ptrdiff_t a_row, ptrdiff_t a_col,      \
        const REAL *b, ptrdiff_t b_row, ptrdiff_t b_panel, const REAL *init, ptrdiff_t init_row,   \
        REAL *c, ptrdiff_t c_row, REAL alpha, int store, REAL *pack)                               \
    {                                                                                              \
        for (ptrdiff_t p = 0; p < panels; p++) {                                                   \
            FM(tile)(rows, vectors, packing, 1, 0, k_count, a, a_row, a_col, b, b_row, init,       \
                     init_row, c, c_row, alpha, store, pack);                                      \
            b += b_panel;                                                                          \
            c += vectors * FM_LANES;                                                               \
            if (init) init += vectors * FM_LANES;                                                  \
            if (packing) pack += k_count * (vectors * FM_LANES);                                   \
        }                                                                                          \
    }
#define FM_PLAIN_STRIP(rows, vectors) FM_STRIP(rows, vectors, strip, 0)
#define FM_PACKING_STRIP(rows, vectors) FM_STRIP(rows, vectors, packing_strip, 1)
FM_ROWS(FM_TILE_ROWS_1)(FM_PLAIN_STRIP, 1)
FM_ROWS(FM_TILE_ROWS_2)(FM_PLAIN_STRIP, 2)
FM_ROWS(FM_TILE_ROWS_3)(FM_PLAIN_STRIP, 3)
FM_ROWS(FM_TILE_ROWS_2)(FM_PACKING_STRIP, 2)
#undef FM_STRIP
#undef FM_PLAIN_STRIP
#undef FM_PACKING_STRIP

/* A sweep adds a few rows of b to the sums in c, from the first column to the last. b is read in
 * memory order, and c and these rows stay in L1. a is stored by rows. The fetching form is for the
 * first row tile: each step prefetches its row of the next panel. A tile of so short a sum cannot
 * afford anything else, not even reloading spilled offsets. */
#define FM_SWEEP(rows, vectors, name, fetching)                                                    \
    static void FM(name##_##rows##x##vectors)(ptrdiff_t panels, ptrdiff_t k_count, const REAL *a,  \
                                              ptrdiff_t a_row, const REAL *b, ptrdiff_t b_row,     \
                                              REAL *c, ptrdiff_t c_row)                            \
    {                                                                                              \
        for (ptrdiff_t p = 0; p < panels; p++) {                                                   \
            V acc[FM_MAX_TILE_ROWS][FM_MAX_TILE_VECTORS];                                          \
            const REAL *a_m[(FM_MAX_TILE_ROWS + 2) / 3], *b_k = b;                                 \
            REAL *c_m = c;                                                                         \
            FM_UNROLL                                                                              \
            for (int m = 0; m < rows; m++) {                                                       \
                if (m % 3 == 0) a_m[m / 3] = a + m * a_row;                                        \
                FM_UNROLL                                                                          \
                for (int v = 0; v < vectors; v++) acc[m][v] = FM(v_load)(c_m + v * FM_LANES);      \
                c_m += c_row;                                                                      \
                FM_KEEP(c_m);                                                                      \
            }                                                                                      \
            for (ptrdiff_t k = 0; k < k_count; k++) {                                              \
                if (fetching) FM_PREFETCH(b_k + vectors * FM_LANES);                               \
                FM(tile_step)(rows, vectors, 0, acc, a_m, a_row, 1, &b_k, b_row, NULL);            \
            }                                                                                      \
            c_m = c;                                                                               \
            FM_UNROLL                                                                              \
            for (int m = 0; m < rows; m++) {                                                       \
                FM_UNROLL                                                                          \
                for (int v = 0; v < vectors; v++) FM(v_store)(c_m + v * FM_LANES, acc[m][v]);      \
                c_m += c_row;                                                                      \
                FM_KEEP(c_m);                                                                      \
            }                                                                                      \
            b += vectors * FM_LANES;                                                               \
            c += vectors * FM_LANES;                                                               \
        }                                                                                          \
    }
#define FM_PLAIN_SWEEP(rows, vectors) FM_SWEEP(rows, vectors, sweep, 0)
#define FM_FETCHING_SWEEP(rows, vectors) FM_SWEEP(rows, vectors, fetching_sweep, 1)
FM_ROWS(FM_TILE_ROWS_2)(FM_PLAIN_SWEEP, 2)
FM_ROWS(FM_TILE_ROWS_2)(FM_FETCHING_SWEEP, 2)
#undef FM_SWEEP
#undef FM_PLAIN_SWEEP
#undef FM_FETCHING_SWEEP

/* A column: consecutive row tiles against one panel of b. The sum may run over blocks of a, a_block
 * values apart, while b is contiguous: a weight in panels is such an a. */
#define FM_COLUMN(rows, vectors)                                                                   \
    static void FM(column_##rows##x##vectors)(const FM(fm_column) *t)                              \
    {                                                                                              \
        const REAL *a = t->a, *init = t->init;                                                     \
        REAL *c = t->c;                                                                            \
        for (ptrdiff_t tile = 0; tile < t->tiles; tile++) {                                        \
            FM(tile)(rows, vectors, 0, t->blocks, t->a_block - t->k_count * t->a_col, t->k_count,  \
                     a, t->a_row, t->a_col, t->b, t->b_row, init, t->init_row, c, t->c_row,        \
                     t->alpha, t->store, NULL);                                                    \
            a += t->a_tile;                                                                        \
            c += rows * t->c_row;                                                                  \
            if (init) init += rows * t->init_row;                                                  \
        }                                                                                          \
    }
/* The same for the gradient of a weight, where more is known: no blocks, no init, rows of a are
 * neighbours, c is a panel of two vectors, the product is added. At 8 samples a sixth faster. */
#define FM_UPDATE_COLUMN(rows, vectors)                                                            \
    static void FM(update_column_##rows##x##vectors)(const FM(fm_column) *t)                       \
    {                                                                                              \
        const REAL *a = t->a;                                                                      \
        REAL *c = t->c;                                                                            \
        const REAL *b = t->b;                                                                      \
        const ptrdiff_t k_count = t->k_count, a_col = t->a_col, b_row = t->b_row;                  \
        const ptrdiff_t a_tile = t->a_tile;                                                        \
        const REAL alpha = t->alpha;                                                               \
        for (ptrdiff_t tile = t->tiles; tile > 0; tile--) {                                        \
            FM(tile)(rows, vectors, 0, 1, 0, k_count, a, 1, a_col, b, b_row, NULL, 0, c,           \
                     2 * FM_LANES, alpha, FM_STORE_ADD, NULL);                                     \
            a += a_tile;                                                                           \
            c += rows * 2 * FM_LANES;                                                              \
        }                                                                                          \
    }
FM_ROWS(FM_TILE_ROWS_1)(FM_COLUMN, 1)
FM_ROWS(FM_TILE_ROWS_2)(FM_COLUMN, 2)
FM_ROWS(FM_TILE_ROWS_1)(FM_UPDATE_COLUMN, 1)
FM_ROWS(FM_TILE_ROWS_2)(FM_UPDATE_COLUMN, 2)
#undef FM_COLUMN
#undef FM_UPDATE_COLUMN

/* One row of a against several panels at once: a tile of one row would wait for its two sums. Zeros
 * of a are skipped (the values of b must be finite): most inputs of images and outputs of relu are
 * zero, and each would cost a cache line of b. */
FM_INLINE void FM(row_panels)(const int panels, ptrdiff_t k_count, const REAL *a, const REAL *b,
                              ptrdiff_t b_panel, const REAL *init, REAL *c, int store)
{
    V acc[6][2];
    FM_UNROLL
    for (int p = 0; p < panels; p++) {
        FM_UNROLL
        for (int v = 0; v < 2; v++)
            acc[p][v] = init ? FM(v_load)(init + (2 * p + v) * FM_LANES) : FM(v_set)(0);
    }
    for (ptrdiff_t k = 0; k < k_count; k++, b += 2 * FM_LANES) {
        if (a[k] == 0) continue;
        V a_k = FM(v_set)(a[k]);
        FM_UNROLL
        for (int p = 0; p < panels; p++) {
            FM_UNROLL
            for (int v = 0; v < 2; v++)
                acc[p][v] = FM(v_fma)(a_k, FM(v_load)(b + p * b_panel + v * FM_LANES), acc[p][v]);
        }
    }
    FM_UNROLL
    for (int p = 0; p < panels; p++) {
        FM_UNROLL
        for (int v = 0; v < 2; v++) {
            if (store & FM_STORE_RELU) acc[p][v] = FM(v_max)(FM(v_set)(0), acc[p][v]);
            FM(v_store)(c + (2 * p + v) * FM_LANES, acc[p][v]);
        }
    }
}

static void FM(row_product)(ptrdiff_t panels, ptrdiff_t k_count, const REAL *a, const REAL *b,
                            ptrdiff_t b_panel, const REAL *init, REAL *c, int store)
{
    while (panels > 0) {
        int here = panels >= 6 ? 6 : (int)panels;
        switch (here) {
        case 6: FM(row_panels)(6, k_count, a, b, b_panel, init, c, store); break;
        case 5: FM(row_panels)(5, k_count, a, b, b_panel, init, c, store); break;
        case 4: FM(row_panels)(4, k_count, a, b, b_panel, init, c, store); break;
        case 3: FM(row_panels)(3, k_count, a, b, b_panel, init, c, store); break;
        case 2: FM(row_panels)(2, k_count, a, b, b_panel, init, c, store); break;
        default: FM(row_panels)(1, k_count, a, b, b_panel, init, c, store); break;
        }
        panels -= here;
        b += here * b_panel;
        c += here * 2 * FM_LANES;
        if (init) init += here * 2 * FM_LANES;
    }
}

/* The instances of this level, for the table. */
#ifndef FM_STRIPS
#define FM_COLUMN_ENTRY(rows, vectors) [rows] = FM(column_##rows##x##vectors),
#define FM_UPDATE_COLUMN_ENTRY(rows, vectors) [rows] = FM(update_column_##rows##x##vectors),
#define FM_UPDATE_COLUMNS                                                                          \
    {                                                                                              \
        [1] = {FM_ROWS(FM_TILE_ROWS_1)(FM_UPDATE_COLUMN_ENTRY, 1)},                                \
        [2] = {FM_ROWS(FM_TILE_ROWS_2)(FM_UPDATE_COLUMN_ENTRY, 2)},                                \
    }
#define FM_COLUMNS                                                                                 \
    {                                                                                              \
        [1] = {FM_ROWS(FM_TILE_ROWS_1)(FM_COLUMN_ENTRY, 1)},                                       \
        [2] = {FM_ROWS(FM_TILE_ROWS_2)(FM_COLUMN_ENTRY, 2)},                                       \
    }
#define FM_STRIP_ENTRY(rows, vectors) [rows] = FM(strip_##rows##x##vectors),
#define FM_PACKING_STRIP_ENTRY(rows, vectors) [rows] = FM(packing_strip_##rows##x##vectors),
#define FM_STRIPS                                                                                  \
    {                                                                                              \
        [1] = {FM_ROWS(FM_TILE_ROWS_1)(FM_STRIP_ENTRY, 1)},                                        \
        [2] = {FM_ROWS(FM_TILE_ROWS_2)(FM_STRIP_ENTRY, 2)},                                        \
        [3] = {FM_ROWS(FM_TILE_ROWS_3)(FM_STRIP_ENTRY, 3)},                                        \
    }
#define FM_SWEEP_ENTRY(rows, vectors) [rows] = FM(sweep_##rows##x##vectors),
#define FM_FETCHING_SWEEP_ENTRY(rows, vectors) [rows] = FM(fetching_sweep_##rows##x##vectors),
#define FM_SWEEPS                                                                                  \
    {                                                                                              \
        {FM_ROWS(FM_TILE_ROWS_2)(FM_SWEEP_ENTRY, 2)},                                              \
        {FM_ROWS(FM_TILE_ROWS_2)(FM_FETCHING_SWEEP_ENTRY, 2)},                                     \
    }
#define FM_PACKING_STRIPS                                                                          \
    {                                                                                              \
        FM_ROWS(FM_TILE_ROWS_2)(FM_PACKING_STRIP_ENTRY, 2)                                         \
    }
#endif

/* to[k * width + i] = from[k * from_row + i] for i < count, zero for count <= i < width. */
static void FM(pack_rows)(ptrdiff_t k_count, ptrdiff_t count, ptrdiff_t width, const REAL *from,
                          ptrdiff_t from_row, REAL *to)
{
    for (ptrdiff_t k = 0; k < k_count; k++, from += from_row, to += width) {
        ptrdiff_t i = 0;
        for (; i + FM_LANES <= count; i += FM_LANES) FM(v_store)(to + i, FM(v_load)(from + i));
        for (; i < count; i++) to[i] = from[i];
        for (; i < width; i++) to[i] = 0;
    }
}

/* to[k * count + i] = from[k * from_row + i]: a few columns side by side, for broadcasting. Rows
 * are copied in whole vectors, except the last; the next row overwrites the excess. */
static void FM(pack_columns)(ptrdiff_t k_count, ptrdiff_t count, const REAL *from,
                             ptrdiff_t from_row, REAL *to)
{
    ptrdiff_t k = 0;
    if (from_row >= FM_LANES)
        for (; k + 1 < k_count; k++, from += from_row, to += count)
            for (ptrdiff_t i = 0; i < count; i += FM_LANES) FM(v_store)(to + i, FM(v_load)(from + i));
    for (; k < k_count; k++, from += from_row, to += count)
        for (ptrdiff_t i = 0; i < count; i++) to[i] = from[i];
}

#if FM_VECTOR_BYTES

/* Blocks of Q_SIDE x Q_SIDE values are transposed in registers of 16 bytes on every level. */
#define Q FM(Q)
#define Q_SIDE (16 / (int)sizeof(REAL))
typedef REAL Q __attribute__((vector_size(16)));
typedef UINT FM(QI) __attribute__((vector_size(16)));
typedef REAL FM(QU) __attribute__((vector_size(16), aligned(sizeof(REAL)), may_alias));

FM_INLINE Q FM(q_load)(const REAL *p) { return *(const FM(QU) *)p; }
FM_INLINE void FM(q_store)(REAL *p, Q a) { *(FM(QU) *)p = a; }

FM_INLINE void FM(q_transpose)(Q *r)
{
#if FM_F64
    Q first = FM_SHUFFLE2(r[0], r[1], 0, 2);
    r[1] = FM_SHUFFLE2(r[0], r[1], 1, 3);
    r[0] = first;
#else
    Q low01 = FM_SHUFFLE4(r[0], r[1], 0, 4, 1, 5), high01 = FM_SHUFFLE4(r[0], r[1], 2, 6, 3, 7);
    Q low23 = FM_SHUFFLE4(r[2], r[3], 0, 4, 1, 5), high23 = FM_SHUFFLE4(r[2], r[3], 2, 6, 3, 7);
    r[0] = FM_SHUFFLE4(low01, low23, 0, 1, 4, 5);
    r[1] = FM_SHUFFLE4(low01, low23, 2, 3, 6, 7);
    r[2] = FM_SHUFFLE4(high01, high23, 0, 1, 4, 5);
    r[3] = FM_SHUFFLE4(high01, high23, 2, 3, 6, 7);
#endif
}

#else
#define Q_SIDE 1
#endif

/* to[k * width + i] = from[i * from_row + k] for i < count, zero for count <= i < end. */
static void FM(pack_transposed)(ptrdiff_t k_count, ptrdiff_t count, ptrdiff_t end, ptrdiff_t width,
                                const REAL *from, ptrdiff_t from_row, REAL *to)
{
    ptrdiff_t i = 0;
#if FM_VECTOR_BYTES
    for (; i + Q_SIDE <= count; i += Q_SIDE) {
        const REAL *rows = from + i * from_row;
        ptrdiff_t k = 0;
        for (; k + Q_SIDE <= k_count; k += Q_SIDE) {
            Q block[Q_SIDE];
            FM_UNROLL
            for (int q = 0; q < Q_SIDE; q++) block[q] = FM(q_load)(rows + q * from_row + k);
            FM(q_transpose)(block);
            FM_UNROLL
            for (int q = 0; q < Q_SIDE; q++) FM(q_store)(to + (k + q) * width + i, block[q]);
        }
        for (; k < k_count; k++)
            for (int q = 0; q < Q_SIDE; q++) to[k * width + i + q] = rows[q * from_row + k];
    }
#endif
    for (; i < end; i++) {
        const REAL *row = from + i * from_row;
        for (ptrdiff_t k = 0; k < k_count; k++) to[k * width + i] = i < count ? row[k] : 0;
    }
}

/* Stores sums[m * width + n] at c[m * c_row + n * c_lane], m < rows, n < lanes, in the cases that a
 * tile cannot store itself: some of the lanes, or the transpose. */
static void FM(store_sums)(ptrdiff_t rows, ptrdiff_t lanes, const REAL *FM_RESTRICT sums,
                           ptrdiff_t width, REAL *FM_RESTRICT c, ptrdiff_t c_row,
                           ptrdiff_t c_lane, REAL alpha, int store)
{
    ptrdiff_t m_done = 0, n_done = 0;
#if FM_VECTOR_BYTES
    if (c_row == 1) { /* transposed: whole blocks */
        m_done = rows / Q_SIDE * Q_SIDE;
        n_done = lanes / Q_SIDE * Q_SIDE;
        for (ptrdiff_t m = 0; m < m_done; m += Q_SIDE) {
            for (ptrdiff_t n = 0; n < n_done; n += Q_SIDE) {
                Q block[Q_SIDE];
                FM_UNROLL
                for (int q = 0; q < Q_SIDE; q++) block[q] = FM(q_load)(sums + (m + q) * width + n);
                FM(q_transpose)(block);
                FM_UNROLL
                for (int q = 0; q < Q_SIDE; q++) {
                    REAL *at = c + (n + q) * c_lane + m;
                    if (alpha != 1) block[q] = block[q] * alpha;
                    if (store & FM_STORE_ADD) block[q] = block[q] + FM(q_load)(at);
                    if (store & FM_STORE_RELU)
                        block[q] = (Q)((FM(QI))block[q] & ~(FM(QI))(block[q] < 0));
                    FM(q_store)(at, block[q]);
                }
            }
        }
    }
#endif
    if (c_lane == 1) { /* rows: whole vectors */
        m_done = rows;
        n_done = lanes / FM_LANES * FM_LANES;
        for (ptrdiff_t m = 0; m < rows; m++) {
            for (ptrdiff_t n = 0; n < n_done; n += FM_LANES) {
                REAL *at = c + m * c_row + n;
                V sum = FM(v_load)(sums + m * width + n) * FM(v_set)(alpha), zero = FM(v_set)(0);
                if (store & FM_STORE_ADD) sum = sum + FM(v_load)(at);
                if (store & FM_STORE_RELU) sum = FM(v_select)(FM(v_lt)(sum, zero), zero, sum);
                FM(v_store)(at, sum);
            }
        }
    }
    for (ptrdiff_t n = 0; n < lanes; n++) {
        for (ptrdiff_t m = n < n_done ? m_done : 0; m < rows; m++) {
            REAL *at = c + m * c_row + n * c_lane;
            REAL sum = sums[m * width + n] * alpha;
            if (store & FM_STORE_ADD) sum += *at;
            if ((store & FM_STORE_RELU) && sum < 0) sum = 0;
            *at = sum;
        }
    }
}

/* n rounds of 12 independent multiply-adds on registers: 24 * n * FM_LANES operations. */
static REAL FM(multiply_adds)(ptrdiff_t n)
{
    V acc[12];
    V factor = FM(v_set)((REAL)0.999), term = FM(v_set)((REAL)0.001);
    FM_UNROLL
    for (int i = 0; i < 12; i++) acc[i] = FM(v_set)((REAL)i);
    for (ptrdiff_t round = 0; round < n; round++) {
        FM_UNROLL
        for (int i = 0; i < 12; i++) acc[i] = FM(v_fma)(acc[i], factor, term);
    }
    REAL total = 0, lanes[FM_LANES];
    for (int i = 0; i < 12; i++) {
        FM(v_store)(lanes, acc[i]);
        total += lanes[0];
    }
    return total;
}
