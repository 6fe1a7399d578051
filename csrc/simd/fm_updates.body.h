/* Included once per dtype: the update rules of optimizers, in place.
 *
 * Computes  one step, elementwise, in three parts:
 *           decay      g += wd w                        w *= 1 - lr wd (only ADAMW, first)
 *           state      MOMENTUM, NESTEROV               s0 = mu s0 + g
 *                      ADAGRAD                          s0 += g^2
 *                      RMSPROP                          s0 = rho s0 + (1 - rho) g^2
 *                      ADAM, ADAMW                      s0 = b1 s0 + (1 - b1) g
 *                                                       s1 = b2 s1 + (1 - b2) g^2
 *           weights    SGD                              w -= lr g
 *                      MOMENTUM                         w -= lr s0
 *                      NESTEROV                         w -= lr (g + mu s0)
 *                      ADAGRAD, RMSPROP                 w -= lr g / (sqrt(s0) + eps)
 *                      ADAM, ADAMW                      w -= p[5] s0 / (sqrt(s1) p[6] + eps)
 * Shapes    g, w, s0, s1 have n values; s0 and s1 may be NULL if the rule has no such state.
 *           p: see FM_UPDATES. 1 - rho, 1 - b1, 1 - b2 and 1 - lr wd are computed in double;
 *           then every coefficient is rounded to REAL, once per call.
 * Aliasing  g may be w; no other overlap. Any alignment; n = 0 does nothing.
 * Range     s0 (s1 of ADAM) must not be negative if its root is taken. The decay is computed even
 *           for wd = 0, so an infinite weight becomes NaN; finite weights keep their bits.
 * Error     exact square roots and quotients: a few roundings.
 *
 * Whole vectors and the part vector compute the same, so the result of an element depends neither
 * on its position nor on n. Robbins and Monro 1951; Polyak 1964; Sutskever et al. 2013; Duchi et
 * al. 2011; Tieleman and Hinton 2012; Kingma and Ba 2015; Loshchilov and Hutter 2019.
 */

/* The coefficients of a step. A coefficient that the rule does not use is not set. */
typedef struct {
    V minus_rate;               /* factor of the last subtraction: -lr, or -p[5] */
    V decay;                    /* wd, or 1 - lr wd */
    V keep, take;               /* of the first moment: mu or b1, and 1 - b1 */
    V keep_square, take_square; /* of the second moment: rho or b2, and 1 - it */
    V scale, eps;               /* factor and summand of the root: p[6] and eps */
} FM(step);

FM_INLINE FM(step) FM(step_of)(int kind, const double *p)
{
    FM(step) c;
    c.minus_rate = FM(v_set)((REAL)-p[kind >= FM_ADAM ? 5 : 0]);
    c.decay = FM(v_set)((REAL)(kind == FM_ADAMW ? 1 - p[0] * p[1] : p[1]));
    if (kind == FM_MOMENTUM || kind == FM_NESTEROV) c.keep = FM(v_set)((REAL)p[2]);
    if (kind >= FM_ADAGRAD) c.eps = FM(v_set)((REAL)p[2]);
    if (kind == FM_RMSPROP) {
        c.keep_square = FM(v_set)((REAL)p[3]);
        c.take_square = FM(v_set)((REAL)(1 - p[3]));
    }
    if (kind >= FM_ADAM) {
        c.keep = FM(v_set)((REAL)p[3]);
        c.take = FM(v_set)((REAL)(1 - p[3]));
        c.keep_square = FM(v_set)((REAL)p[4]);
        c.take_square = FM(v_set)((REAL)(1 - p[4]));
        c.scale = FM(v_set)((REAL)p[6]);
    }
    return c;
}

/* New weights from one vector of each array; the states are updated. */
FM_INLINE V FM(update_v)(int kind, const FM(step) *c, V g, V w, V *s0, V *s1)
{
    if (kind == FM_ADAMW)
        w = w * c->decay;
    else
        g = FM(v_fma)(c->decay, w, g);
    switch (kind) {
    case FM_MOMENTUM:
        g = *s0 = FM(v_fma)(c->keep, *s0, g);
        break;
    case FM_NESTEROV:
        *s0 = FM(v_fma)(c->keep, *s0, g);
        g = FM(v_fma)(c->keep, *s0, g);
        break;
    case FM_ADAGRAD:
        *s0 = FM(v_fma)(g, g, *s0);
        g = g / (FM(v_sqrt)(*s0) + c->eps);
        break;
    case FM_RMSPROP:
        *s0 = FM(v_fma)(c->take_square * g, g, c->keep_square * *s0);
        g = g / (FM(v_sqrt)(*s0) + c->eps);
        break;
    case FM_ADAM:
    case FM_ADAMW:
        *s0 = FM(v_fma)(c->take, g, c->keep * *s0);
        *s1 = FM(v_fma)(c->take_square * g, g, c->keep_square * *s1);
        g = *s0 / FM(v_fma)(FM(v_sqrt)(*s1), c->scale, c->eps);
        break;
    }
    return FM(v_fma)(c->minus_rate, g, w);
}

/* The first n lanes. With the constant n = FM_LANES it is a plain load or store. */
FM_INLINE V FM(load_lanes)(const REAL *p, ptrdiff_t n)
{
    return n == FM_LANES ? FM(v_load)(p) : FM(v_load_part)(p, n);
}

FM_INLINE void FM(store_lanes)(REAL *p, V a, ptrdiff_t n)
{
    if (n == FM_LANES)
        FM(v_store)(p, a);
    else
        FM(v_store_part)(p, a, n);
}

/* Elements i to i + n. */
FM_INLINE void FM(update_lanes)(int kind, const FM(step) *c, ptrdiff_t i, ptrdiff_t n,
                                const REAL *g, REAL *w, REAL *s0, REAL *s1)
{
    const int states = kind == FM_SGD ? 0 : kind < FM_ADAM ? 1 : 2;
    V first = FM(v_set)(0), second = FM(v_set)(0), updated;
    if (states > 0) first = FM(load_lanes)(s0 + i, n);
    if (states > 1) second = FM(load_lanes)(s1 + i, n);
    updated = FM(update_v)(kind, c, FM(load_lanes)(g + i, n), FM(load_lanes)(w + i, n), &first,
                           &second);
    FM(store_lanes)(w + i, updated, n);
    if (states > 0) FM(store_lanes)(s0 + i, first, n);
    if (states > 1) FM(store_lanes)(s1 + i, second, n);
}

FM_INLINE void FM(update_n)(int kind, ptrdiff_t n, const REAL *g, REAL *w, REAL *s0, REAL *s1,
                            const double *p)
{
    const FM(step) c = FM(step_of)(kind, p);
    ptrdiff_t i = 0;
    for (; i + FM_LANES <= n; i += FM_LANES)
        FM(update_lanes)(kind, &c, i, FM_LANES, g, w, s0, s1);
    if (i < n) FM(update_lanes)(kind, &c, i, n - i, g, w, s0, s1);
}

#define FM_UPDATE(NAME, name)                                                                      \
    static void FM(name##_update)(ptrdiff_t n, const REAL *g, REAL *w, REAL *s0, REAL *s1,         \
                                  const double *p)                                                 \
    {                                                                                              \
        FM(update_n)(FM_##NAME, n, g, w, s0, s1, p);                                               \
    }

FM_UPDATES(FM_UPDATE)

#undef FM_UPDATE

/* Computes  g[i] += l1 sign(w[i]) + l2 w[i], sign(0) = 0: the gradient of a penalty.
 * Range     NaN gives NaN. */
static void FM(penalize)(ptrdiff_t n, REAL l1, REAL l2, const REAL *w, REAL *g)
{
    const V a = FM(v_set)(l1), b = FM(v_set)(l2), zero = FM(v_set)(0);
    for (ptrdiff_t i = 0; i < n; i += FM_LANES) {
        const ptrdiff_t m = n - i < FM_LANES ? n - i : FM_LANES;
        const V weight = FM(load_lanes)(w + i, m);
        const V sign = FM(v_select)(FM(v_lt)(zero, weight), a,
                                    FM(v_select)(FM(v_lt)(weight, zero), -a, zero * weight));
        FM(store_lanes)(g + i, FM(v_fma)(b, weight, FM(load_lanes)(g + i, m) + sign), m);
    }
}

/* Computes  y[i] = x[i] clipped to [-limit, limit].
 * Aliasing  y may be x.
 * Range     limit > 0; NaN stays NaN. */
static void FM(clamp)(ptrdiff_t n, REAL limit, const REAL *x, REAL *y)
{
    const V high = FM(v_set)(limit), low = FM(v_set)(-limit);
    for (ptrdiff_t i = 0; i < n; i += FM_LANES) {
        const ptrdiff_t m = n - i < FM_LANES ? n - i : FM_LANES;
        const V a = FM(v_min)(high, FM(load_lanes)(x + i, m)); /* both keep NaN in x */
        FM(store_lanes)(y + i, FM(v_max)(low, a), m);
    }
}

/* Computes  the sum of f(x[i]) in double, f(x) = x^2 or |x|.
 * Order     of the sum, which depends only on n: 4 FM_LANES sums, added from the first on. */
#define FM_SUM(name, f)                                                                            \
    static double FM(name)(ptrdiff_t n, const REAL *x)                                             \
    {                                                                                              \
        enum { COUNT = 4 * FM_LANES };                                                             \
        double sums[COUNT] = {0}, total = 0;                                                       \
        ptrdiff_t i = 0;                                                                           \
        for (; i + COUNT <= n; i += COUNT)                                                         \
            for (int j = 0; j < COUNT; j++) {                                                      \
                const double a = (double)x[i + j];                                                 \
                sums[j] += f;                                                                      \
            }                                                                                      \
        for (int j = 0; i < n; i++, j++) {                                                         \
            const double a = (double)x[i];                                                         \
            sums[j] += f;                                                                          \
        }                                                                                          \
        for (int j = 0; j < COUNT; j++) total += sums[j];                                          \
        return total;                                                                              \
    }

FM_SUM(sum_squares, a * a)
FM_SUM(sum_magnitudes, (a < 0 ? -a : a))

#undef FM_SUM
