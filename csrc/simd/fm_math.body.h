/* Included once per dtype: exp, log, tanh, ... of a vector.
 *
 * Every function is branch-free: if lanes need different formulas, all lanes compute both and
 * select. The functions rely only on IEEE arithmetic, rounded to nearest, with subnormal numbers:
 * with and without a fused multiply-add they stay within the same bounds. NaN in, NaN out.
 * Coefficients: make_coefficients.py. Error bounds: tests/c/test_math.c measures them.
 */
#include "fm_coefficients.h"

#undef FM_MANTISSA_BITS
#undef FM_BIAS
#undef FM_ROUND
#undef FM_BIT
#undef FM_COUNT
#undef FM_POLY
#if FM_F64
#define FM_MANTISSA_BITS 52
#define FM_BIAS 1023
#define FM_ROUND 0x1.8p52 /* adding it rounds to an integer, found in the low bits */
#define FM_BIT(n) ((uint64_t)1 << (n))
#else
#define FM_MANTISSA_BITS 23
#define FM_BIAS 127
#define FM_ROUND 0x1.8p23f
#define FM_BIT(n) ((uint32_t)1 << (n))
#endif

#define FM_COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))
#define FM_POLY(x, x2, name) FM(v_poly)(x, x2, FM(name), FM_COUNT(FM(name)))

/* The sum of c[i] * x^i, i < n, from pairs c[i] + c[i + 1] x by Horner's rule in x2 = x * x: the
 * same number of operations in a chain of half the length. n is a constant: the loop unrolls. */
FM_INLINE V FM(v_poly)(V x, V x2, const REAL *c, int n)
{
    V y = FM(v_set)(c[n - 1]);
    if (n % 2 == 0) y = FM(v_fma)(y, x, FM(v_set)(c[n - 2]));
    FM_UNROLL
    for (int i = (n - 3) | 1; i > 0; i -= 2) {
        V pair = FM(v_fma)(FM(v_set)(c[i]), x, FM(v_set)(c[i - 1]));
        y = FM(v_fma)(y, x2, pair);
    }
    return y;
}

FM_INLINE V FM(v_abs)(V x)
{
    return FM(v_real)(FM(v_bits)(x) & FM(v_seti)(~FM_BIT(8 * sizeof(REAL) - 1)));
}

/* |y| with the sign of x, y >= 0 or NaN. */
FM_INLINE V FM(v_signed)(V y, V x)
{
    VI sign = FM(v_bits)(x) & FM(v_seti)(FM_BIT(8 * sizeof(REAL) - 1));
    return FM(v_real)(FM(v_bits)(y) | sign);
}

/* Returns n = x / ln(2), rounded to nearest. The bits of *power below FM_MANTISSA_BITS - 1 hold
 * n + 2 FM_BIAS. The results are undefined for |x| > 2^20. */
FM_INLINE V FM(v_exp_round)(V x, VI *power)
{
    const V round = FM(v_set)((REAL)(FM_ROUND + 2 * FM_BIAS));
    V t = FM(v_fma)(x, FM(v_set)(FM(fm_log2e)), round);
    *power = FM(v_bits)(t);
    return t - round;
}

/* x - n ln(2); the product with the high part is exact. */
FM_INLINE V FM(v_exp_rest)(V x, V n)
{
    V r = FM(v_fma)(n, FM(v_set)(-FM(fm_ln2_high)), x);
    return FM(v_fma)(n, FM(v_set)(-FM(fm_ln2_low)), r);
}

/* exp(r) - 1, |r| <= ln(2) / 2. */
FM_INLINE V FM(v_expm1_small)(V r)
{
    V r2 = r * r;
    return FM(v_fma)(r2, FM_POLY(r, r2, fm_exp), r);
}

/* 2^n of v_exp_round, -FM_BIAS < n <= FM_BIAS. */
FM_INLINE V FM(v_power)(VI power)
{
    return FM(v_real)((power - FM(v_seti)(FM_BIAS)) << FM_MANTISSA_BITS);
}

/* 2^n = first * second of v_exp_round, both normal, -2 FM_BIAS < n <= 2 FM_BIAS. p * first is
 * exact; the product with second is rounded once if subnormal, and infinite if too large. */
FM_INLINE V FM(v_power_halves)(VI power, V *second)
{
    VI half = power >> 1;
    *second = FM(v_real)((power - half) << FM_MANTISSA_BITS);
    return FM(v_real)(half << FM_MANTISSA_BITS);
}

/* Computes  exp(x): x = n ln(2) + r, 2^n (1 + r + r^2 q(r)).
 * Range     all x; 0 below -104 (f32), -746 (f64), infinite above 88.7, 709.8; exp(+-0) = 1.
 * Error     1.04 ulp. */
FM_INLINE V FM(v_exp)(V x)
{
    const REAL low = FM_F64 ? (REAL)-746 : (REAL)-104, high = FM_F64 ? (REAL)710 : (REAL)89;
    VI power;
    x = FM(v_max)(FM(v_set)(low), FM(v_min)(FM(v_set)(high), x));
    V n = FM(v_exp_round)(x, &power);
    V p = FM(v_expm1_small)(FM(v_exp_rest)(x, n));
    V second, first = FM(v_power_halves)(power, &second);
    return FM(v_fma)(first, p, first) * second;
}

/* Computes  exp(x) - 1 = 2^n (exp(r) - 1) + (2^n - 1).
 * Range     x <= 0; for other x any value.
 * Error     1.2 ulp. */
FM_INLINE V FM(v_expm1)(V x)
{
    VI power;
    x = FM(v_max)(FM(v_set)(-64), x);
    V n = FM(v_exp_round)(x, &power);
    V p = FM(v_expm1_small)(FM(v_exp_rest)(x, n));
    V scale = FM(v_power)(power);
    return FM(v_fma)(scale, p, scale - FM(v_set)(1));
}

/* Computes  k ln(2) + log(1 + f), sqrt(1/2) <= 1 + f <= sqrt(2), k an integer:
 *           s = f / (2 + f), log(1 + f) = f - (f^2/2 - s (f^2/2 + s^2 l(s^2))). */
FM_INLINE V FM(v_log_parts)(V f, V k)
{
    V s = f / (f + FM(v_set)(2));
    V half_square = FM(v_set)((REAL)0.5) * f * f;
    V z = s * s;
    V series = FM(v_fma)(z, FM_POLY(z, z * z, fm_log), half_square);
    V high = k * FM(v_set)(FM(fm_ln2_high)); /* exact */
    V sum = high + f;
    V lost = (high - sum) + f; /* exact: high is 0 or larger than f */
    V low = FM(v_fma)(s, series, k * FM(v_set)(FM(fm_ln2_low)));
    return sum + ((lost - half_square) + low);
}

/* Computes  log(x): x = 2^k (1 + f).
 * Range     all x; log(+-0) = -inf, log(x < 0) = NaN, log(inf) = inf; subnormal x in full.
 * Error     0.83 ulp. */
FM_INLINE V FM(v_log)(V x)
{
    const UINT mantissa = FM_BIT(FM_MANTISSA_BITS) - 1;
    const UINT one = (UINT)FM_BIAS << FM_MANTISSA_BITS;
    const UINT sqrt_half = FM_F64 ? (UINT)0x3fe6a09e667f3bcd : (UINT)0x3f3504f3;
    const REAL shift = (REAL)FM_BIT(FM_MANTISSA_BITS); /* its low bits hold an integer */
    const UINT shift_bits = (UINT)(FM_BIAS + FM_MANTISSA_BITS) << FM_MANTISSA_BITS;
    const REAL least = FM_F64 ? (REAL)0x1p-1022 : (REAL)0x1p-126;

    VI small = FM(v_lt)(x, FM(v_set)(least));
    VI bits = FM(v_bits)(FM(v_select)(small, x * FM(v_set)(shift), x));
    bits = bits + FM(v_seti)(one - sqrt_half);
    V k = FM(v_real)((bits >> FM_MANTISSA_BITS) | FM(v_seti)(shift_bits));
    k = k - FM(v_select)(small, FM(v_set)(shift + FM_BIAS + FM_MANTISSA_BITS),
                         FM(v_set)(shift + FM_BIAS));
    V m = FM(v_real)((bits & FM(v_seti)(mantissa)) + FM(v_seti)(sqrt_half));
    V y = FM(v_log_parts)(m - FM(v_set)(1), k);

    V edge = FM(v_select)(FM(v_lt)(x, FM(v_set)(0)), FM(v_set)((REAL)NAN),
                          FM(v_set)((REAL)-INFINITY));
    y = FM(v_select)(FM(v_le)(x, FM(v_set)(0)), edge, y);
    return FM(v_select)(FM(v_lt)(x, FM(v_set)((REAL)INFINITY)), y, x);
}

/* Computes  log(1 + u).
 * Range     0 <= u <= 1; for other u any value.
 * Error     1.5 ulp. */
FM_INLINE V FM(v_log1p)(V u)
{
    const V half = FM(v_set)((REAL)0.5);
    VI large = FM(v_lt)(FM(v_set)((REAL)0.41421356), u);
    V f = FM(v_select)(large, half * u - half, u);
    return FM(v_log_parts)(f, FM(v_real)(FM(v_bits)(FM(v_set)(1)) & large));
}

/* Computes  tanh(x): x + x z p(z) / q(z) with z = x^2 if |x| < tanh_edge, else
 *           1 - 2 / (exp(2 |x|) + 1) with the sign of x. Both use the same division.
 * Range     all x; odd, tanh(-0) = -0, +-1 from 9.02 (f32), 19.1 (f64) on.
 * Error     1.5 ulp. */
FM_INLINE V FM(v_tanh)(V x)
{
    VI power;
    V a = FM(v_min)(FM(v_set)(20), FM(v_abs)(x));
    VI small = FM(v_lt)(a, FM(v_set)(FM(fm_tanh_edge)));

    V twice = a + a;
    V n = FM(v_exp_round)(twice, &power);
    V p = FM(v_expm1_small)(FM(v_exp_rest)(twice, n));
    V scale = FM(v_power)(power);
    V large_bottom = FM(v_fma)(scale, p, scale + FM(v_set)(1));

    V z = a * a;
    V z2 = z * z;
    V small_top = a * z * FM_POLY(z, z2, fm_tanh_top);
    V small_bottom = FM_POLY(z, z2, fm_tanh_bottom);

    V top = FM(v_select)(small, small_top, FM(v_set)(-2));
    V bottom = FM(v_select)(small, small_bottom, large_bottom);
    V y = FM(v_select)(small, a, FM(v_set)(1)) + top / bottom;
    return FM(v_signed)(y, x);
}

/* Computes  y = 1 / (1 + exp(-x)) and rest = 1 - y = 1 / (1 + exp(x)), each to full precision:
 *           with e = exp(-|x|) and q = e / (1 + e), the larger one is 1 - q and the smaller
 *           one e - e q, which is more accurate than q: it scales the rounding of 1 + e by e.
 * Range     all x; relative accuracy down to subnormal results, 0 below -104 (f32), -746.
 * Error     1.7 ulp with a fused multiply-add, 1.9 without. */
FM_INLINE void FM(v_sigmoid_pair)(V x, V *y, V *rest)
{
    const V one = FM(v_set)(1);
    V e = FM(v_exp)(-FM(v_abs)(x));
    V q = -e / (one + e);
    VI negative = FM(v_lt)(x, FM(v_set)(0));
    V a = FM(v_select)(negative, e, one);
    V b = FM(v_select)(negative, one, e);
    *y = FM(v_fma)(a, q, a);
    *rest = FM(v_fma)(b, q, b);
}

/* y of v_sigmoid_pair. */
FM_INLINE V FM(v_sigmoid)(V x)
{
    V y, rest;
    FM(v_sigmoid_pair)(x, &y, &rest);
    return y;
}

/* The normal distribution at -a: with v = 2^n (first * second), Phi(-a) = g v and
 * exp(-a^2 / 2) = v; returns v / second. a^2 / 2 needs more precision than the dtype has, so a is
 * split, and the square of its upper half is exact. 0 <= a <= cdf_limit. */
FM_INLINE V FM(v_normal_tail)(V a, V *g, V *second)
{
    const V half = FM(v_set)((REAL)-0.5);
    const UINT lower = FM_BIT(FM_F64 ? 27 : 12) - 1;
    VI power;
    V upper = FM(v_real)(FM(v_bits)(a) & FM(v_seti)(~lower));
    V high = half * upper * upper;
    V low = half * (a - upper) * (a + upper);
    V n = FM(v_exp_round)(high + low, &power);
    V p = FM(v_expm1_small)(FM(v_exp_rest)(high, n) + low);
    V first = FM(v_power_halves)(power, second);

    const V k = FM(v_set)(FM(fm_cdf_k));
    V w = FM(v_set)(1) / (a + k);
    V v = (a - k) * w;
    *g = FM_POLY(v, v * v, fm_cdf) * w;
    return FM(v_fma)(first, p, first);
}

/* Computes  x Phi(x) = max(x, 0) - |x| Phi(-|x|), Phi the normal distribution function.
 * Range     all x; gelu(-inf) = 0.
 * Error     8 ulp in the negative tail, down to subnormal results; 3 ulp for x > 0. */
FM_INLINE V FM(v_gelu)(V x)
{
    V g, second;
    V a = FM(v_min)(FM(v_set)(FM(fm_cdf_limit)), FM(v_abs)(x));
    V first = FM(v_normal_tail)(a, &g, &second);
    return FM(v_max)(x, FM(v_set)(0)) - a * g * first * second;
}

/* Computes  Phi(x) + x phi(x), the derivative of gelu.
 * Range     all x; 0 at -inf, 1 at inf.
 * Error     2 ulp of 1, absolute. */
FM_INLINE V FM(v_gelu_slope)(V x)
{
    V g, second;
    V a = FM(v_min)(FM(v_set)(FM(fm_cdf_limit)), FM(v_abs)(x));
    V first = FM(v_normal_tail)(a, &g, &second);
    V h = FM(v_fma)(a, FM(v_set)(FM(fm_inverse_sqrt_2pi)), -g) * first * second;
    return FM(v_select)(FM(v_lt)(x, FM(v_set)(0)), -h, h + FM(v_set)(1));
}
