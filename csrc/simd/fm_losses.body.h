/* Included once per dtype: losses with their gradients.
 *
 * Values are computed in REAL and summed in double, in FM_LANES sums that are added from the first
 * on, so the order depends only on n. The output may be one of the inputs. Any alignment; n = 0
 * gives 0.
 */

/* The loss of x[i], t[i] is `term` of the doubles u and v, its derivative by x[i] is slope, p is a
 * parameter. at_zero is set if the loss of zeros, which fill the last vector, is not 0.
 * Computes  dx[i] = a * slope; returns the sum of the losses. */
#define FM_LOSS(name, at_zero, u, v, term, slope)                                                  \
    FM_INLINE void FM(name##_v)(V x, V t, V p, V *one, V *two, V *dx)                              \
    {                                                                                              \
        V d = x - t;                                                                               \
        (void)d;                                                                                   \
        (void)p;                                                                                   \
        *one = u;                                                                                  \
        *two = v;                                                                                  \
        *dx = slope;                                                                               \
    }                                                                                              \
    static double FM(name)(ptrdiff_t n, REAL a, REAL parameter, const REAL *x, const REAL *t,      \
                           REAL *dx)                                                               \
    {                                                                                              \
        const V factor = FM(v_set)(a), p = FM(v_set)(parameter);                                   \
        REAL ones[FM_LANES], twos[FM_LANES];                                                       \
        double sums[FM_LANES] = {0}, total = 0;                                                    \
        for (ptrdiff_t i = 0; i < n; i += FM_LANES) {                                              \
            V one, two, g;                                                                         \
            if (n - i >= FM_LANES) {                                                               \
                FM(name##_v)(FM(v_load)(x + i), FM(v_load)(t + i), p, &one, &two, &g);             \
                FM(v_store)(dx + i, factor * g);                                                   \
            } else {                                                                               \
                V last = FM(v_load_part)(x + i, n - i);                                            \
                FM(name##_v)(last, FM(v_load_part)(t + i, n - i), p, &one, &two, &g);              \
                FM(v_store_part)(dx + i, factor * g, n - i);                                       \
                if (at_zero) one = FM(v_select)(FM(v_first)(n - i), one, FM(v_set)(0));            \
            }                                                                                      \
            FM(v_store)(ones, one);                                                                \
            FM(v_store)(twos, two);                                                                \
            for (int j = 0; j < FM_LANES; j++) sums[j] += term((double)ones[j], (double)twos[j]);  \
        }                                                                                          \
        for (int j = 0; j < FM_LANES; j++) total += sums[j];                                       \
        return total;                                                                              \
    }

#define ZERO FM(v_set)(0)
#define ONE FM(v_set)(1)

/* -1, 0 or 1; NaN if d is NaN. */
FM_INLINE V FM(v_sign)(V d)
{
    return FM(v_select)(FM(v_lt)(ZERO, d), ONE, FM(v_select)(FM(v_lt)(d, ZERO), -ONE, d));
}

/* d clipped to -p .. p; NaN if d is NaN. */
FM_INLINE V FM(v_clip)(V d, V p) { return FM(v_min)(p, FM(v_max)(-p, d)); }

/* log(1 + exp(x)) - x t, without cancellation for large x; t in [0, 1]. */
FM_INLINE V FM(v_cross_entropy)(V x, V t)
{
    V linear = FM(v_fma)(-x, t, FM(v_max)(ZERO, x));
    return linear + FM(v_log1p)(FM(v_exp)(-FM(v_abs)(x)));
}

/* sigmoid(x) - t, accurate to the last places if t is 0 or 1. */
FM_INLINE V FM(v_cross_entropy_slope)(V x, V t)
{
    V s, rest;
    FM(v_sigmoid_pair)(x, &s, &rest);
    return FM(v_fma)(s, ONE - t, -(rest * t));
}

/* Computes  with d = x - t, rounded to REAL: d^2; |d|, with slope 0 at 0; c (d - c / 2), where c is
 *           d clipped to -p .. p (Huber); the cross-entropy of sigmoid(x) and t.
 * Range     all x; t of the cross-entropy in [0, 1]; NaN gives NaN.
 * Error     of the sum, per term: 3 ulp of the largest term for the cross-entropy, else 1. */
#define FM_FIRST(u, v) (u)
#define FM_SQUARE(u, v) ((u) * (u))
#define FM_PRODUCT(u, v) ((u) * (v))
FM_LOSS(mse, 0, d, d, FM_SQUARE, d + d)
FM_LOSS(mae, 0, FM(v_abs)(d), d, FM_FIRST, FM(v_sign)(d))
FM_LOSS(huber, 0, FM(v_clip)(d, p), d - FM(v_set)((REAL)0.5) * FM(v_clip)(d, p), FM_PRODUCT,
        FM(v_clip)(d, p))
FM_LOSS(binary_cross_entropy, 1, FM(v_cross_entropy)(x, t), x, FM_FIRST,
        FM(v_cross_entropy_slope)(x, t))
#undef FM_FIRST
#undef FM_SQUARE
#undef FM_PRODUCT
#undef FM_LOSS

/* Computes  the multi-class hinge loss of a row, with m[j] = (x[j] - picked) + margin:
 *           dx[j] = a if m[j] > 0, else 0; returns the sum of max(0, m[j]), and in *count the
 *           number of m[j] above 0. Both include the margin of the label, which the caller removes.
 * Aliasing  dx may be x.
 * Range     all x; NaN gives NaN. */
static double FM(hinge)(ptrdiff_t n, REAL a, const REAL *x, REAL picked, REAL margin, REAL *dx,
                        REAL *count)
{
    const V factor = FM(v_set)(a), shift = FM(v_set)(picked), add = FM(v_set)(margin);
    REAL lanes[FM_LANES];
    double sums[FM_LANES] = {0}, total = 0;
    V above = ZERO;
    for (ptrdiff_t i = 0; i < n; i += FM_LANES) {
        V m = (n - i >= FM_LANES ? FM(v_load)(x + i) : FM(v_load_part)(x + i, n - i)) - shift + add;
        VI more = FM(v_lt)(ZERO, m);
        if (n - i >= FM_LANES) {
            FM(v_store)(dx + i, FM(v_select)(more, factor, ZERO));
        } else {
            m = FM(v_select)(FM(v_first)(n - i), m, ZERO);
            more = FM(v_lt)(ZERO, m);
            FM(v_store_part)(dx + i, FM(v_select)(more, factor, ZERO), n - i);
        }
        above = above + FM(v_select)(more, ONE, ZERO);
        FM(v_store)(lanes, FM(v_max)(ZERO, m));
        for (int j = 0; j < FM_LANES; j++) sums[j] += (double)lanes[j];
    }
    for (int j = 0; j < FM_LANES; j++) total += sums[j];
    *count = FM(v_sum)(above);
    return total;
}

#undef ZERO
#undef ONE
