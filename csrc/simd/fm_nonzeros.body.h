/* Included once per dtype: products that leave out the zeros of one operand.
 *
 * Images, counts and one-hot codes are mostly zero, and often a whole column is zero in a few
 * samples: 61 % of the pixels in four MNIST digits. A *list* is a tile of FM_LIST_ROWS rows of an
 * operand without the columns that are zero in all of them.
 *
 * Layout     values: FM_LIST_ROWS per column, contiguous; room for `most` columns
 *            then int32: the start of each column's row in the other operand, room for `most`,
 *            and the number of columns. list_size(most) of loops/nonzeros.pxd values in all
 *
 * A sum with a list has the nonzero terms of the full sum, in the same order. */
FM_INLINE int32_t *FM(list_index)(REAL *list, ptrdiff_t most)
{
    return (int32_t *)(list + FM_LIST_ROWS * most);
}

/* The bits of four values, or-ed without the signs: 0 if all values are zero. */
FM_INLINE uint64_t FM(any_of_four)(const REAL *x)
{
    uint64_t words[FM_LIST_ROWS * sizeof(REAL) / 8], any = 0;
    memcpy(words, x, sizeof words);
    FM_UNROLL
    for (size_t i = 0; i < sizeof words / 8; i++) any |= words[i];
    return any & (FM_F64 ? 0x7fffffffffffffff : 0x7fffffff7fffffff);
}

/* Makes the list of at most FM_LIST_ROWS rows of x (rows, n). Column k belongs to the row of the
 * other operand at `step` * k. */
static void FM(list_rows)(ptrdiff_t rows, ptrdiff_t n, const REAL *x, ptrdiff_t x_row, int32_t step,
                          REAL *list)
{
    int32_t *index = FM(list_index)(list, n);
    ptrdiff_t k = 0;
    int32_t count = 0;
#if FM_VECTOR_BYTES && !FM_F64
    for (; rows == FM_LIST_ROWS && k + Q_SIDE <= n; k += Q_SIDE) {
        Q block[Q_SIDE];
        FM(QI) any = {0};
        FM_UNROLL
        for (int q = 0; q < Q_SIDE; q++) {
            block[q] = FM(q_load)(x + q * x_row + k);
            any |= (FM(QI))block[q];
        }
        any &= 0x7fffffff;
        UINT one[Q_SIDE];
        uint64_t two[2];
        memcpy(one, &any, sizeof one);
        memcpy(two, &any, sizeof two);
        if ((two[0] | two[1]) == 0) continue;
        FM(q_transpose)(block);
        FM_UNROLL
        for (int q = 0; q < Q_SIDE; q++) {
            FM(q_store)(list + count * FM_LIST_ROWS, block[q]);
            index[count] = (int32_t)(k + q) * step;
            count += one[q] != 0;
        }
    }
#endif
    for (; k < n; k++) {
        REAL *to = list + count * FM_LIST_ROWS;
        for (int m = 0; m < FM_LIST_ROWS; m++) to[m] = m < rows ? x[m * x_row + k] : 0;
        index[count] = (int32_t)k * step;
        count += FM(any_of_four)(to) != 0;
    }
    index[n] = count;
}

/* Makes the list of the transpose of x (n, columns), at most FM_LIST_ROWS columns. Row k belongs to
 * the row of the other operand at `step` * k. */
static void FM(list_columns)(ptrdiff_t columns, ptrdiff_t n, const REAL *x, ptrdiff_t x_row,
                             int32_t step, REAL *list)
{
    int32_t *index = FM(list_index)(list, n);
    int32_t count = 0;
    for (ptrdiff_t k = 0; k < n; k++, x += x_row) {
        REAL *to = list + count * FM_LIST_ROWS;
        if (columns == FM_LIST_ROWS)
            memcpy(to, x, FM_LIST_ROWS * sizeof(REAL));
        else
            for (int m = 0; m < FM_LIST_ROWS; m++) to[m] = m < columns ? x[m] : 0;
        index[count] = (int32_t)k * step;
        count += FM(any_of_four)(columns == FM_LIST_ROWS ? x : to) != 0;
    }
    index[n] = count;
}

FM_INLINE void FM(listed_tile)(const int rows, const int vectors, const FM(fm_listed) *t,
                               const REAL *list, const REAL *b, const REAL *init, REAL *c)
{
    const int32_t *index = FM(list_index)((REAL *)list, t->most);
    const int32_t *end = index + index[t->most];
    V acc[FM_LIST_ROWS][2];
    if (index == end && !init && t->store == FM_STORE_ADD) return;
    FM_UNROLL
    for (int m = 0; m < rows; m++) {
        FM_UNROLL
        for (int v = 0; v < vectors; v++)
            acc[m][v] = init ? FM(v_load)(init + m * t->init_row + v * FM_LANES) : FM(v_set)(0);
    }
    for (; index < end; index++, list += FM_LIST_ROWS) {
        const REAL *row = b + *index;
        V b_k[2];
        FM_UNROLL
        for (int v = 0; v < vectors; v++) b_k[v] = FM(v_load)(row + v * FM_LANES);
        FM_UNROLL
        for (int m = 0; m < rows; m++) {
            V a_mk = FM(v_set)(list[m]);
            FM_UNROLL
            for (int v = 0; v < vectors; v++) acc[m][v] = FM(v_fma)(a_mk, b_k[v], acc[m][v]);
        }
    }
    FM_UNROLL
    for (int m = 0; m < rows; m++) {
        FM_UNROLL
        for (int v = 0; v < vectors; v++) {
            REAL *at = c + m * t->c_row + v * FM_LANES;
            if (t->store & FM_STORE_ADD)
                acc[m][v] = FM(v_fma)(FM(v_set)(t->alpha), acc[m][v], FM(v_load)(at));
            if (t->store & FM_STORE_RELU) /* a NaN sum stays NaN */
                acc[m][v] = FM(v_max)(FM(v_set)(0), acc[m][v]);
            FM(v_store)(at, acc[m][v]);
        }
    }
}

/* Consecutive lists against one panel of b: `rows` rows of c, FM_LIST_ROWS per list. */
#define FM_LISTED_COLUMN(vectors)                                                                  \
    static void FM(listed_column_##vectors)(const FM(fm_listed) *t)                                \
    {                                                                                              \
        const REAL *list = t->lists, *init = t->init;                                              \
        REAL *c = t->c;                                                                            \
        ptrdiff_t rows = t->rows;                                                                  \
        for (; rows >= FM_LIST_ROWS; rows -= FM_LIST_ROWS) {                                       \
            FM(listed_tile)(FM_LIST_ROWS, vectors, t, list, t->b, init, c);                        \
            list += t->list_step;                                                                  \
            c += FM_LIST_ROWS * t->c_row;                                                          \
            if (init) init += FM_LIST_ROWS * t->init_row;                                          \
        }                                                                                          \
        if (rows == 3) FM(listed_tile)(3, vectors, t, list, t->b, init, c);                        \
        if (rows == 2) FM(listed_tile)(2, vectors, t, list, t->b, init, c);                        \
        if (rows == 1) FM(listed_tile)(1, vectors, t, list, t->b, init, c);                        \
    }
FM_LISTED_COLUMN(1)
FM_LISTED_COLUMN(2)
#undef FM_LISTED_COLUMN

/* One list against `panels` panels of b, two vectors wide, for `panels` panels of c, c_panel values
 * apart. The branch predictor knows the length of a short list after the first panel, and c of a
 * later panel is prefetched meanwhile. At 8 samples this takes half the time of columns. */
static void FM(listed_strip)(const FM(fm_listed) *t, ptrdiff_t panels, ptrdiff_t c_panel)
{
    const REAL *b = t->b;
    REAL *c = t->c;
    for (ptrdiff_t p = 0; p < panels; p++, b += 2 * FM_LANES, c += c_panel) {
        FM_UNROLL
        for (int m = 0; m < FM_LIST_ROWS; m++) FM_PREFETCH(c + 2 * c_panel + m * t->c_row);
        if (t->rows == FM_LIST_ROWS) FM(listed_tile)(FM_LIST_ROWS, 2, t, t->lists, b, NULL, c);
        if (t->rows == 3) FM(listed_tile)(3, 2, t, t->lists, b, NULL, c);
        if (t->rows == 2) FM(listed_tile)(2, 2, t, t->lists, b, NULL, c);
        if (t->rows == 1) FM(listed_tile)(1, 2, t, t->lists, b, NULL, c);
    }
}
