/* Included once per dtype: sparse rows for convolution, and pooling. */

/* A sparse row times a dense matrix. The sums of some columns stay in registers.
 *
 * Computes   c[s * c_block + i] += sum_j values[j] * rows[index[j] * step + s * block + i]
 * Shapes     j < count, s < segments, i < vectors * FM_LANES; segments and vectors are compile-time
 *            constants
 * Layout     whole vectors of rows and c are read and written, unaligned
 * Aliasing   c overlaps nothing else, and its segments do not overlap each other
 * Order      j ascends, in one accumulator per sum; with few sums in two (even and odd j)
 *
 * After a relu or a max-pool most of the gradient of a convolution's output is zero: after a
 * 2 x 2 pool at least three quarters. Both products with this gradient have this form. */
FM_INLINE void FM(sparse_step)(const int segments, const int vectors, V acc[][12], REAL value,
                               const REAL *row, ptrdiff_t block)
{
    V a = FM(v_set)(value);
    FM_UNROLL
    for (int s = 0; s < segments; s++) {
        FM_UNROLL
        for (int v = 0; v < vectors; v++)
            acc[s][v] = FM(v_fma)(a, FM(v_load)(row + v * FM_LANES), acc[s][v]);
        row += block;
    }
}

FM_INLINE void FM(sparse_rows)(const int segments, const int vectors, ptrdiff_t count,
                               const REAL *values, const int32_t *index, ptrdiff_t step,
                               const REAL *rows, ptrdiff_t block, REAL *c, ptrdiff_t c_block)
{
    V even[12][12], odd[12][12];
    const int two = segments * vectors <= 5; /* a single chain per sum would wait for itself */
    ptrdiff_t j = 0;
    FM_UNROLL
    for (int s = 0; s < segments; s++) {
        FM_UNROLL
        for (int v = 0; v < vectors; v++) {
            even[s][v] = FM(v_load)(c + s * c_block + v * FM_LANES);
            odd[s][v] = FM(v_set)(0);
        }
    }
    if (two) {
        for (; j + 2 <= count; j += 2) {
            FM(sparse_step)(segments, vectors, even, values[j], rows + index[j] * step, block);
            FM(sparse_step)(segments, vectors, odd, values[j + 1], rows + index[j + 1] * step,
                            block);
        }
    }
    for (; j < count; j++)
        FM(sparse_step)(segments, vectors, even, values[j], rows + index[j] * step, block);
    FM_UNROLL
    for (int s = 0; s < segments; s++) {
        FM_UNROLL
        for (int v = 0; v < vectors; v++) {
            if (two) even[s][v] = even[s][v] + odd[s][v];
            FM(v_store)(c + s * c_block + v * FM_LANES, even[s][v]);
        }
    }
}

#define FM_SPARSE_ROWS(segments, vectors)                                                          \
    static void FM(sparse_rows_##segments##x##vectors)(                                            \
        ptrdiff_t count, const REAL *values, const int32_t *index, ptrdiff_t step,                 \
        const REAL *rows, ptrdiff_t block, REAL *c, ptrdiff_t c_block)                             \
    {                                                                                              \
        FM(sparse_rows)(segments, vectors, count, values, index, step, rows, block, c, c_block);   \
    }
FM_SPARSE_SHAPES(FM_SPARSE_ROWS)
#undef FM_SPARSE_ROWS

/* values[m] = x[i], index[m] = i for every x[i] != 0; returns their number. May write n of each. */
static ptrdiff_t FM(nonzero)(ptrdiff_t n, const REAL *x, REAL *values, int32_t *index)
{
    ptrdiff_t m = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        values[m] = x[i];
        index[m] = (int32_t)i;
        m += x[i] != 0;
    }
    return m;
}

/* Stores the places of a vector of maxima: bytes, or int32 if a window has more than 256 places. */
FM_INLINE void FM(store_places)(VI at, ptrdiff_t n, int wide, void *index)
{
    UINT places[FM_LANES];
    memcpy(places, &at, sizeof at);
    if (wide) {
        for (ptrdiff_t j = 0; j < n; j++) ((int32_t *)index)[j] = (int32_t)places[j];
        return;
    }
    uint8_t bytes[FM_LANES];
#if defined(FM_LEVEL_AVX2) && !FM_F64
    __m128i pairs = _mm_packus_epi32(_mm256_castsi256_si128((__m256i)at),
                                     _mm256_extracti128_si256((__m256i)at, 1));
    _mm_storel_epi64((__m128i *)bytes, _mm_packus_epi16(pairs, pairs));
#elif defined(FM_LEVEL_AVX512) && !FM_F64
    _mm_storeu_si128((__m128i *)bytes, _mm512_cvtepi32_epi8((__m512i)at));
#else
    FM_UNROLL
    for (int j = 0; j < FM_LANES; j++) bytes[j] = (uint8_t)places[j];
#endif
    if (n == FM_LANES)
        memcpy(index, bytes, FM_LANES);
    else
        for (ptrdiff_t j = 0; j < n; j++) ((uint8_t *)index)[j] = bytes[j];
}

/* Takes one more value of each window: the first of equal values and the first NaN win. */
FM_INLINE void FM(pool_step)(const int indexed, V a, UINT place, V *best, VI *at)
{
    VI better = FM(v_lt)(*best, a) | (FM(v_nan)(a) & ~FM(v_nan)(*best));
    *best = FM(v_select)(better, a, *best);
    if (indexed) *at = (better & FM(v_seti)(place)) | (~better & *at);
}

/* If `small`, rows and columns are constants of at most 3. */
FM_INLINE void FM(pool_window)(const int indexed, const int small, ptrdiff_t channels,
                               const ptrdiff_t rows, const ptrdiff_t columns, const REAL *x,
                               ptrdiff_t row, ptrdiff_t pixel, REAL *y, void *index)
{
    for (ptrdiff_t i = 0; i < channels; i += FM_LANES, x += FM_LANES) {
        const ptrdiff_t n = channels - i < FM_LANES ? channels - i : FM_LANES;
        const int whole = i + FM_LANES <= pixel;
        V best = whole ? FM(v_load)(x) : FM(v_load_part)(x, n);
        VI at = FM(v_seti)(0);
        if (small && whole) {
            FM_UNROLL
            for (int p = 1; p < 9; p++) {
                if (p < rows * columns) {
                    V a = FM(v_load)(x + p / columns * row + p % columns * pixel);
                    FM(pool_step)(indexed, a, (UINT)p, &best, &at);
                }
            }
        } else {
            UINT place = 0;
            for (ptrdiff_t r = 0; r < rows; r++) {
                const REAL *from = x + r * row;
                for (ptrdiff_t q = 0; q < columns; q++, from += pixel, place++) {
                    V a = whole ? FM(v_load)(from) : FM(v_load_part)(from, n);
                    if (place > 0) FM(pool_step)(indexed, a, place, &best, &at);
                }
            }
        }
        if (n == FM_LANES)
            FM(v_store)(y + i, best);
        else
            FM(v_store_part)(y + i, best, n);
        if (indexed) {
            const int wide = rows * columns > 256;
            FM(store_places)(at, n, wide, index);
            index = (char *)index + FM_LANES * (wide ? sizeof(int32_t) : 1);
        }
    }
}

/* y[i] = the maximum of x[r * row + q * pixel + i] over a window of rows x columns, i < channels.
 * The first of equal values wins, and the first NaN wins over numbers. Unless index is NULL, it
 * receives the place r * columns + q: a byte, or int32 if the window has more than 256 places.
 * Layout    values after the last channel of a pixel may be read */
static void FM(max_pool)(ptrdiff_t channels, ptrdiff_t rows, ptrdiff_t columns, const REAL *x,
                         ptrdiff_t row, ptrdiff_t pixel, REAL *y, void *index)
{
    if (rows == 2 && columns == 2) {
        if (index)
            FM(pool_window)(1, 1, channels, 2, 2, x, row, pixel, y, index);
        else
            FM(pool_window)(0, 1, channels, 2, 2, x, row, pixel, y, NULL);
    } else if (rows == 3 && columns == 3) {
        if (index)
            FM(pool_window)(1, 1, channels, 3, 3, x, row, pixel, y, index);
        else
            FM(pool_window)(0, 1, channels, 3, 3, x, row, pixel, y, NULL);
    } else if (index) {
        FM(pool_window)(1, 0, channels, rows, columns, x, row, pixel, y, index);
    } else {
        FM(pool_window)(0, 0, channels, rows, columns, x, row, pixel, y, NULL);
    }
}
