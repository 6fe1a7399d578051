/* Included once per dtype: elementwise functions over n values.
 *
 * Each function is a loop over whole vectors and one part vector. Both compute the same, so the
 * result of an element depends neither on its position nor on n. An output may be one of the
 * inputs, but must not overlap an input otherwise. Any alignment; n = 0 does nothing.
 */

/* y[i] = value of x, p */
#define FM_UNARY(name, value)                                                                      \
    FM_INLINE V FM(name##_v)(V x, V p)                                                             \
    {                                                                                              \
        (void)p;                                                                                   \
        return value;                                                                              \
    }                                                                                              \
    static void FM(name##_n)(ptrdiff_t n, const REAL *x, REAL *y, REAL parameter)                  \
    {                                                                                              \
        const V p = FM(v_set)(parameter);                                                          \
        ptrdiff_t i = 0;                                                                           \
        for (; i + FM_LANES <= n; i += FM_LANES)                                                   \
            FM(v_store)(y + i, FM(name##_v)(FM(v_load)(x + i), p));                                \
        if (i < n)                                                                                 \
            FM(v_store_part)(y + i, FM(name##_v)(FM(v_load_part)(x + i, n - i), p), n - i);        \
    }

/* dx[i] = value of dy, s, p */
#define FM_BACKWARD(name, value)                                                                   \
    FM_INLINE V FM(name##_v)(V dy, V s, V p)                                                       \
    {                                                                                              \
        (void)p;                                                                                   \
        return value;                                                                              \
    }                                                                                              \
    static void FM(name##_n)(ptrdiff_t n, const REAL *dy, const REAL *s, REAL *dx, REAL parameter) \
    {                                                                                              \
        const V p = FM(v_set)(parameter);                                                          \
        ptrdiff_t i = 0;                                                                           \
        for (; i + FM_LANES <= n; i += FM_LANES)                                                   \
            FM(v_store)(dx + i, FM(name##_v)(FM(v_load)(dy + i), FM(v_load)(s + i), p));           \
        if (i < n) {                                                                               \
            V last = FM(name##_v)(FM(v_load_part)(dy + i, n - i), FM(v_load_part)(s + i, n - i),   \
                                  p);                                                              \
            FM(v_store_part)(dx + i, last, n - i);                                                 \
        }                                                                                          \
    }

#define ZERO FM(v_set)(0)
#define ONE FM(v_set)(1)

/* x sigmoid(x). x is bounded in the product, so that silu(-inf) is 0, not inf * 0. */
FM_INLINE V FM(v_silu)(V x) { return FM(v_max)(FM(v_set)(-1000), x) * FM(v_sigmoid)(x); }

/* Derivative of silu: s (1 + x (1 - s)), s = sigmoid(x); 0 and 1 at -inf and inf. */
FM_INLINE V FM(v_silu_slope)(V x)
{
    V s, rest;
    FM(v_sigmoid_pair)(x, &s, &rest);
    x = FM(v_max)(FM(v_set)(-1000), FM(v_min)(FM(v_set)(1000), x));
    return s * FM(v_fma)(x, rest, ONE);
}

/* log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)) */
FM_INLINE V FM(v_softplus)(V x)
{
    return FM(v_max)(x, ZERO) + FM(v_log1p)(FM(v_exp)(-FM(v_abs)(x)));
}

/* Computes  the activations. p is the slope of leaky_relu, alpha of elu.
 * Range     all x; NaN gives NaN.
 * Error     exp, log, tanh, sigmoid, gelu: see fm_math.body.h; elu 2.5 ulp, softplus 2.5 ulp,
 *           silu 3 ulp (below 2^-119, 2^-1012 of the unit in the last place there). */
FM_UNARY(exp, FM(v_exp)(x))
FM_UNARY(log, FM(v_log)(x))
FM_UNARY(relu, FM(v_max)(ZERO, x))
FM_UNARY(leaky_relu, FM(v_select)(FM(v_lt)(ZERO, x), x, p * x))
FM_UNARY(elu, FM(v_select)(FM(v_lt)(ZERO, x), x, p * FM(v_expm1)(x)))
FM_UNARY(gelu, FM(v_gelu)(x))
FM_UNARY(silu, FM(v_silu)(x))
FM_UNARY(softplus, FM(v_softplus)(x))
FM_UNARY(tanh, FM(v_tanh)(x))
FM_UNARY(sigmoid, FM(v_sigmoid)(x))

/* Computes  dy f'(.); s is the output of f, or the input for gelu, silu and softplus.
 * Range     relu and leaky_relu treat a NaN in s as not above 0; otherwise NaN gives NaN.
 *           The derivatives of gelu, silu and softplus are 0 at -inf and 1 at inf.
 * Error     f' of gelu and silu 2 ulp of 1, absolute. */
FM_BACKWARD(relu_backward, FM(v_select)(FM(v_lt)(ZERO, s), dy, ZERO))
FM_BACKWARD(leaky_relu_backward, FM(v_select)(FM(v_lt)(ZERO, s), dy, p * dy))
FM_BACKWARD(elu_backward, FM(v_select)(FM(v_lt)(ZERO, s), dy, dy * (s + p)))
FM_BACKWARD(gelu_backward, dy * FM(v_gelu_slope)(s))
FM_BACKWARD(silu_backward, dy * FM(v_silu_slope)(s))
FM_BACKWARD(softplus_backward, dy * FM(v_sigmoid)(s))
FM_BACKWARD(tanh_backward, dy * FM(v_fma)(-s, s, ONE))
FM_BACKWARD(sigmoid_backward, dy * (s * (ONE - s)))

#undef ZERO
#undef ONE
#undef FM_UNARY
#undef FM_BACKWARD

/* y[i] += a * x[i] */
static void FM(axpy)(ptrdiff_t n, REAL a, const REAL *x, REAL *y)
{
    const V factor = FM(v_set)(a);
    ptrdiff_t i = 0;
    for (; i + FM_LANES <= n; i += FM_LANES)
        FM(v_store)(y + i, FM(v_fma)(factor, FM(v_load)(x + i), FM(v_load)(y + i)));
    if (i < n) {
        V last = FM(v_fma)(factor, FM(v_load_part)(x + i, n - i), FM(v_load_part)(y + i, n - i));
        FM(v_store_part)(y + i, last, n - i);
    }
}

/* y[i] = x[i] + b[i] */
static void FM(add)(ptrdiff_t n, const REAL *x, const REAL *b, REAL *y)
{
    ptrdiff_t i = 0;
    for (; i + FM_LANES <= n; i += FM_LANES)
        FM(v_store)(y + i, FM(v_load)(x + i) + FM(v_load)(b + i));
    if (i < n) {
        V last = FM(v_load_part)(x + i, n - i) + FM(v_load_part)(b + i, n - i);
        FM(v_store_part)(y + i, last, n - i);
    }
}
