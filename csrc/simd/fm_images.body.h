/* Included once per dtype: what convolution and pooling need beside the tile. */

/* A sparse row times a dense matrix, a part of whose columns stays in registers:
 *
 * Computes   c[s * c_block + i] += sum_j values[j] * rows[index[j] * step + s * block + i]
 * Shapes     j < count, s < segments, i < vectors * FM_LANES; the last two compile-time constants
 * Layout     whole vectors of rows and c are read and written, unaligned
 * Aliasing   c overlaps nothing else, and its segments not each other
 * Order      j ascends, in one accumulator, or in two (even and odd j) where there are few
 *
 * The gradient of a convolution's output is mostly zero behind a relu or a max-pool: of 64 channels
 * by 2 x 2 pixels at most a quarter is not. Both products with it are of this form. */
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
    const int two = segments * vectors <= 5; /* one chain of each sum would wait for itself */
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

/* values[m] = x[i], index[m] = i for the i with x[i] != 0; returns how many. May write n of each. */
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

/* y[i] = largest x[r * row + q * pixel + i] of a window of rows x columns; its place r * columns + q
 * goes to index: a byte, or int32 where the window has more than 256 places (NULL: not wanted).
 * The first of equal values; the first NaN, if there is one. i < channels. */
static void FM(max_pool)(ptrdiff_t channels, ptrdiff_t rows, ptrdiff_t columns, const REAL *x,
                         ptrdiff_t row, ptrdiff_t pixel, REAL *y, void *index)
{
    const int wide = rows * columns > 256;
    for (ptrdiff_t i = 0; i < channels; i += FM_LANES) {
        const ptrdiff_t n = channels - i < FM_LANES ? channels - i : FM_LANES;
        V best = FM(v_set)(0);
        VI at = FM(v_seti)(0);
        UINT place = 0, places[FM_LANES];
        for (ptrdiff_t r = 0; r < rows; r++) {
            const REAL *from = x + r * row + i;
            for (ptrdiff_t q = 0; q < columns; q++, from += pixel, place++) {
                V a = n == FM_LANES ? FM(v_load)(from) : FM(v_load_part)(from, n);
                VI better = FM(v_lt)(best, a) | (FM(v_nan)(a) & ~FM(v_nan)(best));
                if (place == 0) {
                    best = a;
                } else {
                    best = FM(v_select)(better, a, best);
                    at = (better & FM(v_seti)(place)) | (~better & at);
                }
            }
        }
        if (n == FM_LANES)
            FM(v_store)(y + i, best);
        else
            FM(v_store_part)(y + i, best, n);
        if (index) {
            memcpy(places, &at, sizeof at);
            for (ptrdiff_t j = 0; j < n; j++) {
                if (wide)
                    ((int32_t *)index)[i + j] = (int32_t)places[j];
                else
                    ((uint8_t *)index)[i + j] = (uint8_t)places[j];
            }
        }
    }
}
