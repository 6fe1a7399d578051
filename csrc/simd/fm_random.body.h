/* Included once per dtype: dropout masks and noise, which are computed again for every use.
 *
 * Element (i, j) of a row-major block takes the word of row `row + i` and column `column + j`
 * (fm_random.h), so the word does not depend on where the block begins. y may be x; no other
 * overlap. The loops are plain, and compilers vectorise them. No operation is fused, so every level
 * and numpy compute the same bits.
 */

/* Computes  y = x * scale if the word is at least `threshold`, else 0 (also for NaN). */
static void FM(mask)(ptrdiff_t rows, ptrdiff_t n, const REAL *x, ptrdiff_t x_row, REAL *y,
                     ptrdiff_t y_row, uint64_t key, uint32_t row, uint32_t column,
                     uint32_t threshold, REAL scale)
{
    for (ptrdiff_t i = 0; i < rows; i++, x += x_row, y += y_row) {
        const uint64_t own = fm_counter_key(key, (uint64_t)row + (uint64_t)i);
        const uint32_t low = (uint32_t)own, high = (uint32_t)(own >> 32);
        FM_INDEPENDENT
        for (ptrdiff_t j = 0; j < n; j++) {
            const REAL value = x[j] * scale;
            y[j] = fm_word(low, high, column + (uint32_t)j) >= threshold ? value : 0;
        }
    }
}

#if !FM_F64
/* Natural logarithm of x in (0, 1), like _log in fastmlp/_random.py, by the series of atanh. */
FM_INLINE double fm_exact_log(double x)
{
    uint64_t bits;
    double mantissa, exponent, s, square, series = 0;
    memcpy(&bits, &x, sizeof bits);
    /* the exponent in the low bits of 2^52 is a number */
    const uint64_t biased = (bits >> 52) | 0x4330000000000000u;
    memcpy(&exponent, &biased, sizeof exponent);
    exponent -= 4503599627370496.0 + 1022.0;
    bits = (bits & 0x000fffffffffffffu) | 0x3fe0000000000000u;
    memcpy(&mantissa, &bits, sizeof mantissa);
    const int low = mantissa < 0.7071067811865476;
    mantissa = low ? 2.0 * mantissa : mantissa;
    exponent = low ? exponent - 1.0 : exponent;
    s = (mantissa - 1.0) / (mantissa + 1.0);
    square = s * s;
    FM_UNROLL
    for (int k = 23; k > 0; k -= 2) series = series * square + 1.0 / k;
    return 2.0 * s * series + exponent * 0.6931471805599453;
}

/* A value of N(0, 1) from a word, by inversion (Wichura 1988, AS 241, PPND16). All operations are
 * correctly rounded, in the order of `normal_of` in fastmlp/_random.py. Words of 32 bits give at
 * most 6.4 standard deviations, so the formula for the far tail is not needed. */
FM_INLINE double fm_normal_of(uint32_t word)
{
    /* in two exact halves: vector instructions convert only signed integers */
    const double p = ((double)(int32_t)(word >> 16) * 65536.0 + (double)(int32_t)(word & 0xffff) + 0.5)
                     * 0x1p-32;
    const double q = p - 0.5, distance = fabs(q);
    double r = 0.180625 - q * q, top, bottom, central, tail, outer;
    const double rest = 1.0 - p, least = p < rest ? p : rest;
    r = distance <= 0.425 ? r : 0.0;
    top = 2.5090809287301226727e3;
    top = top * r + 3.3430575583588128105e4;
    top = top * r + 6.7265770927008700853e4;
    top = top * r + 4.5921953931549871457e4;
    top = top * r + 1.3731693765509461125e4;
    top = top * r + 1.9715909503065514427e3;
    top = top * r + 1.3314166789178437745e2;
    top = top * r + 3.3871328727963666080e0;
    bottom = 5.2264952788528545610e3;
    bottom = bottom * r + 2.8729085735721942674e4;
    bottom = bottom * r + 3.9307895800092710610e4;
    bottom = bottom * r + 2.1213794301586595867e4;
    bottom = bottom * r + 5.3941960214247511077e3;
    bottom = bottom * r + 6.8718700749205790830e2;
    bottom = bottom * r + 4.2313330701600911252e1;
    bottom = bottom * r + 1.0;
    central = q * (top / bottom);
    tail = sqrt(-fm_exact_log(least)) - 1.6;
    top = 7.74545014278341407640e-4;
    top = top * tail + 2.27238449892691845833e-2;
    top = top * tail + 2.41780725177450611770e-1;
    top = top * tail + 1.27045825245236838258e0;
    top = top * tail + 3.64784832476320460504e0;
    top = top * tail + 5.76949722146069140550e0;
    top = top * tail + 4.63033784615654529590e0;
    top = top * tail + 1.42343711074968357734e0;
    bottom = 1.05075007164441684324e-9;
    bottom = bottom * tail + 5.47593808499534494600e-4;
    bottom = bottom * tail + 1.51986665636164571966e-2;
    bottom = bottom * tail + 1.48103976427480074590e-1;
    bottom = bottom * tail + 6.89767334985100004550e-1;
    bottom = bottom * tail + 1.67638483018380384940e0;
    bottom = bottom * tail + 2.05319162663775882187e0;
    bottom = bottom * tail + 1.0;
    outer = top / bottom;
    outer = q < 0 ? -outer : outer;
    return distance <= 0.425 ? central : outer;
}
#endif

/* Computes  y = x + stddev * N(0, 1); the product is rounded to REAL first. */
static void FM(noise)(ptrdiff_t rows, ptrdiff_t n, const REAL *x, ptrdiff_t x_row, REAL *y,
                      ptrdiff_t y_row, uint64_t key, uint32_t row, uint32_t column, double stddev)
{
    for (ptrdiff_t i = 0; i < rows; i++, x += x_row, y += y_row) {
        const uint64_t own = fm_counter_key(key, (uint64_t)row + (uint64_t)i);
        const uint32_t low = (uint32_t)own, high = (uint32_t)(own >> 32);
        FM_INDEPENDENT
        for (ptrdiff_t j = 0; j < n; j++) {
            const double value = fm_normal_of(fm_word(low, high, column + (uint32_t)j));
            y[j] = x[j] + (REAL)(stddev * value);
        }
    }
}
