/* Included once per dtype by test_math.c. REF is the type of references; R(f) is f in that type. */

#define TABLE FM_PASTE(FM(fm_table), FM_PASTE(_, FM_LEVEL))
#define SMALLEST_NORMAL (FM_F64 ? (REAL)DBL_MIN : (REAL)FLT_MIN)
#define INF ((REAL)INFINITY)
#define QUIET_NAN ((REAL)NAN)

/* ---- references, in REF ---- */

static REF FM(ref_exp)(REF x, REF p) { return (void)p, R(exp)(x); }
static REF FM(ref_log)(REF x, REF p) { return (void)p, R(log)(x); }
static REF FM(ref_tanh)(REF x, REF p) { return (void)p, R(tanh)(x); }
static REF FM(ref_relu)(REF x, REF p) { return (void)p, x < 0 ? 0 : x; }
static REF FM(ref_leaky_relu)(REF x, REF p) { return x > 0 ? x : p * x; }
static REF FM(ref_elu)(REF x, REF p) { return x > 0 ? x : p * R(expm1)(x); }
static REF FM(ref_sigmoid)(REF x, REF p)
{
    REF e = R(exp)(-R(fabs)(x));
    (void)p;
    return (x < 0 ? e : 1) / (1 + e);
}
static REF FM(ref_silu)(REF x, REF p) { return x < -2000 ? 0 : x * FM(ref_sigmoid)(x, p); }
static REF FM(ref_softplus)(REF x, REF p)
{
    (void)p;
    return (x > 0 ? x : x != x ? x : 0) + R(log1p)(R(exp)(-R(fabs)(x)));
}
/* Phi(x) = erfc(z) / 2 with z = -x / sqrt(2), corrected for the rounding of z. */
static REF FM(ref_normal_cdf)(REF x)
{
    REF z = -x * (REF)0.70710678118654752440084436210484903928L;
    if (!(R(fabs)(x) < 60)) return x < 0 ? 0 : x > 0 ? 1 : x;
    REF z2 = z * z, x2 = x * x;
    REF error = (z2 - x2 / 2) + (R(fma)(z, z, -z2) - R(fma)(x, x, -x2) / 2);
    REF y = R(erfc)(z) / 2;
    return x < 0 ? y * (1 + error) : y;
}
static REF FM(ref_gelu)(REF x, REF p) { return (void)p, x < -60 ? 0 : x * FM(ref_normal_cdf)(x); }
static REF FM(ref_gelu_slope)(REF x)
{
    const REF inverse_sqrt_2pi = (REF)0.39894228040143267793994605993438186848L;
    if (R(fabs)(x) > 60) return x < 0 ? 0 : 1;
    return FM(ref_normal_cdf)(x) + x * R(exp)(-x * x / 2) * inverse_sqrt_2pi;
}
static REF FM(ref_silu_slope)(REF x)
{
    if (R(fabs)(x) > 2000) return x < 0 ? 0 : 1;
    return FM(ref_sigmoid)(x, 0) * (1 + x * FM(ref_sigmoid)(-x, 0));
}

/* ---- errors in units of the last place ---- */

/* |y - r| in units of the last place of r, or of floor if r is smaller. */
static double FM(ulps)(REAL y, REF r, REF floor)
{
    const REF beyond = R(ldexp)(1, BIAS + 1); /* infinity counts as the next number */
    int exponent;
    if (y != y || r != r) return (y != y) == (r != r) ? 0 : 1e30;
    REF value = R(fabs)((REF)y) < beyond ? (REF)y : y > 0 ? beyond : -beyond;
    r = r > beyond ? beyond : r < -beyond ? -beyond : r;
    if (value == r) return 0;
    R(frexp)(R(fabs)(r) > floor ? R(fabs)(r) : floor, &exponent);
    exponent = exponent - 1 > BIAS ? BIAS : exponent - 1 < 1 - BIAS ? 1 - BIAS : exponent - 1;
    return (double)R(fabs)(R(ldexp)(value - r, MANTISSA - exponent));
}

static REAL FM(from_bits)(UINT bits)
{
    REAL x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static UINT FM(to_bits)(REAL x)
{
    UINT bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static int FM(same)(REAL a, REAL b)
{
    return (a != a && b != b) || FM(to_bits)(a) == FM(to_bits)(b);
}

/* One half: all exponents and signs with many mantissas, including the ends of each binade. The
 * other half: the ranges in which the functions vary, and values around their branches. */
static void FM(fill_samples)(REAL *x)
{
    static const REAL borders[] = {0.41421356f, 0.70710678f, 1.0f,   1.4142135f, 0.34657359f,
                                   1.0397208f,  20.0f,       88.72f, 104.0f,     64.0f,
                                   9.01f,       15.0f,       39.0f,  709.78f,    746.0f,
                                   87.33f,      103.9f,      19.06f, 708.39f,    745.13f};
    static const REAL ranges[] = {1, 3, 10, 20, 40, 120, 800};
    const UINT exponents = 2 * (2 * BIAS + 2);
    const UINT per_exponent = (UINT)(SAMPLES / 2) / exponents;
    ptrdiff_t i = 0;
    for (UINT e = 0; e < exponents; e++) {
        for (UINT m = 0; m < per_exponent; m++) {
            UINT low = (UINT)random_bits() & (((UINT)1 << MANTISSA) - 1);
            if (m < 2) low = m;
            if (m >= 2 && m < 4) low = ((UINT)1 << MANTISSA) - (m - 1);
            x[i++] = FM(from_bits)((e << MANTISSA) | low);
        }
    }
    for (size_t b = 0; b < sizeof borders / sizeof borders[0]; b++) {
        for (int sign = 0; sign < 2; sign++) {
            for (int step = -64; step <= 64; step++) {
                UINT bits = FM(to_bits)(sign ? -borders[b] : borders[b]);
                x[i++] = FM(from_bits)(bits + (UINT)step);
            }
        }
    }
    for (int j = 0; i < SAMPLES; j++) {
        double edge = (double)ranges[j % (int)(sizeof ranges / sizeof ranges[0])];
        x[i++] = (REAL)random_between(-edge, edge);
    }
}

/* ---- accuracy ---- */

typedef struct {
    const char *name;
    int index;
    REAL p;
    REF (*reference)(REF x, REF p);
    REF floor;    /* smaller results are held to its unit in the last place */
    double bound; /* in units of the last place */
} FM(unary_check);

static void FM(test_accuracy)(const REAL *x, REAL *y)
{
    const REF subnormal_times_x = (REF)SMALLEST_NORMAL * (FM_F64 ? 1024 : 128);
    const FM(unary_check) checks[] = {
        {"exp", FM_EXP, 0, FM(ref_exp), 0, 1.2},
        {"log", FM_LOG, 0, FM(ref_log), 0, 1.2},
        {"tanh", FM_TANH, 0, FM(ref_tanh), 0, 1.6},
        {"sigmoid", FM_SIGMOID, 0, FM(ref_sigmoid), 0, 2.0},
        {"relu", FM_RELU, 0, FM(ref_relu), 0, 0},
        {"leaky_relu", FM_LEAKY_RELU, (REAL)0.01, FM(ref_leaky_relu), 0, 0.51},
        {"elu", FM_ELU, (REAL)1, FM(ref_elu), 0, 2.0},
        {"elu 0.7", FM_ELU, (REAL)0.7, FM(ref_elu), 0, 2.5},
        {"gelu", FM_GELU, 0, FM(ref_gelu), 0, 8.0},
        {"silu", FM_SILU, 0, FM(ref_silu), subnormal_times_x, 3.0},
        {"softplus", FM_SOFTPLUS, 0, FM(ref_softplus), 0, 2.5},
    };
    for (size_t c = 0; c < sizeof checks / sizeof checks[0]; c++) {
        const FM(unary_check) *check = &checks[c];
        double worst = 0;
        REAL worst_x = 0, worst_y = 0;
        ptrdiff_t above_one = 0;
        TABLE.unary[check->index](SAMPLES, x, y, check->p);
        for (ptrdiff_t i = 0; i < SAMPLES; i++) {
            REF r = check->reference((REF)x[i], (REF)check->p);
            double error = FM(ulps)(y[i], r, check->floor);
            above_one += error > 1;
            if (error > worst) worst = error, worst_x = x[i], worst_y = y[i];
        }
        printf("%s %-22s %8.3f ulp at %-15.9g above 1: %ld of %ld\n", DTYPE, check->name, worst,
               (double)worst_x, (long)above_one, (long)SAMPLES);
        if (worst > check->bound)
            fail(check->name, DTYPE, (double)worst_x, (double)worst_y,
                 (double)check->reference((REF)worst_x, (REF)check->p));
    }
}

/* Derivatives that are computed from the input: error in units of the last place of 1. */
static void FM(test_slopes)(const REAL *x, REAL *y, REAL *one)
{
    static const struct {
        const char *name;
        int index;
        REF (*reference)(REF x);
        double bound;
    } checks[] = {
        {"gelu_backward", FM_GELU, FM(ref_gelu_slope), 3.0},
        {"silu_backward", FM_SILU, FM(ref_silu_slope), 3.0},
    };
    for (ptrdiff_t i = 0; i < SAMPLES; i++) one[i] = 1;
    for (size_t c = 0; c < sizeof checks / sizeof checks[0]; c++) {
        double worst = 0;
        REAL worst_x = 0, worst_y = 0;
        TABLE.backward[checks[c].index](SAMPLES, one, x, y, 0);
        for (ptrdiff_t i = 0; i < SAMPLES; i++) {
            double error = FM(ulps)(y[i], x[i] != x[i] ? (REF)x[i] : checks[c].reference(x[i]), 1);
            if (error > worst) worst = error, worst_x = x[i], worst_y = y[i];
        }
        printf("%s %-22s %8.3f ulp of 1 at %-15.9g\n", DTYPE, checks[c].name, worst,
               (double)worst_x);
        if (worst > checks[c].bound)
            fail(checks[c].name, DTYPE, (double)worst_x, (double)worst_y,
                 (double)checks[c].reference((REF)worst_x));
    }
    TABLE.backward[FM_SOFTPLUS](SAMPLES, one, x, y, 0);
    TABLE.unary[FM_SIGMOID](SAMPLES, x, one, 0);
    for (ptrdiff_t i = 0; i < SAMPLES; i++)
        if (!FM(same)(y[i], one[i]))
            fail("softplus_backward", DTYPE, (double)x[i], (double)y[i], (double)one[i]);
}

/* ---- special values ---- */

static void FM(test_specials)(void)
{
    const REAL tiny = FM_F64 ? (REAL)0x1p-1074 : (REAL)0x1p-149;
    const REAL largest = FM_F64 ? (REAL)DBL_MAX : (REAL)FLT_MAX;
    const struct {
        int index;
        REAL p, x, y;
    } unary[] = {
        {FM_EXP, 0, -INF, 0},           {FM_EXP, 0, INF, INF},
        {FM_EXP, 0, 0, 1},              {FM_EXP, 0, (REAL)-0.0, 1},
        {FM_EXP, 0, largest, INF},      {FM_EXP, 0, -largest, 0},
        {FM_EXP, 0, tiny, 1},           {FM_LOG, 0, 0, -INF},
        {FM_LOG, 0, (REAL)-0.0, -INF},  {FM_LOG, 0, -tiny, QUIET_NAN},
        {FM_LOG, 0, -1, QUIET_NAN},     {FM_LOG, 0, -INF, QUIET_NAN},
        {FM_LOG, 0, INF, INF},          {FM_LOG, 0, 1, 0},
        {FM_TANH, 0, INF, 1},           {FM_TANH, 0, -INF, -1},
        {FM_TANH, 0, largest, 1},       {FM_TANH, 0, (REAL)-0.0, (REAL)-0.0},
        {FM_TANH, 0, 0, 0},             {FM_TANH, 0, tiny, tiny},
        {FM_TANH, 0, -tiny, -tiny},     {FM_SIGMOID, 0, INF, 1},
        {FM_SIGMOID, 0, -INF, 0},       {FM_SIGMOID, 0, 0, (REAL)0.5},
        {FM_SIGMOID, 0, -largest, 0},   {FM_RELU, 0, -INF, 0},
        {FM_RELU, 0, INF, INF},         {FM_LEAKY_RELU, (REAL)0.5, -4, -2},
        {FM_LEAKY_RELU, 0.5, INF, INF}, {FM_LEAKY_RELU, (REAL)0.5, -INF, -INF},
        {FM_ELU, 2, -INF, -2},          {FM_ELU, 2, INF, INF},
        {FM_ELU, 1, -tiny, -tiny},      {FM_GELU, 0, INF, INF},
        {FM_GELU, 0, -INF, 0},          {FM_GELU, 0, largest, largest},
        {FM_GELU, 0, 0, 0},             {FM_SILU, 0, INF, INF},
        {FM_SILU, 0, -INF, 0},          {FM_SILU, 0, largest, largest},
        {FM_SOFTPLUS, 0, INF, INF},     {FM_SOFTPLUS, 0, -INF, 0},
        {FM_SOFTPLUS, 0, largest, largest},
    };
    const struct {
        int index;
        REAL p, dy, s, dx;
    } backward[] = {
        {FM_RELU, 0, 3, 2, 3},
        {FM_RELU, 0, 3, 0, 0},
        {FM_RELU, 0, 3, QUIET_NAN, 0},
        {FM_RELU, 0, QUIET_NAN, 1, QUIET_NAN},
        {FM_RELU, 0, INF, -1, 0},
        {FM_LEAKY_RELU, (REAL)0.5, 4, -1, 2},
        {FM_LEAKY_RELU, (REAL)0.5, 4, 1, 4},
        {FM_ELU, 2, 4, -1, 4},
        {FM_ELU, 2, 4, 1, 4},
        {FM_ELU, 2, 4, (REAL)-1.5, 2},
        {FM_GELU, 0, 3, INF, 3},
        {FM_GELU, 0, 3, -INF, 0},
        {FM_GELU, 0, 3, 0, (REAL)1.5},
        {FM_GELU, 0, 3, QUIET_NAN, QUIET_NAN},
        {FM_SILU, 0, 3, INF, 3},
        {FM_SILU, 0, 3, -INF, 0},
        {FM_SILU, 0, 3, 0, (REAL)1.5},
        {FM_SILU, 0, 3, QUIET_NAN, QUIET_NAN},
        {FM_SOFTPLUS, 0, 3, INF, 3},
        {FM_SOFTPLUS, 0, 3, -INF, 0},
        {FM_TANH, 0, 4, (REAL)0.5, 3},
        {FM_TANH, 0, 4, 1, 0},
        {FM_SIGMOID, 0, 8, (REAL)0.25, (REAL)1.5},
    };
    for (size_t i = 0; i < sizeof unary / sizeof unary[0]; i++) {
        REAL y;
        int sign_matters = unary[i].index == FM_TANH;
        TABLE.unary[unary[i].index](1, &unary[i].x, &y, unary[i].p);
        if (!FM(same)(y, unary[i].y) && (sign_matters || y != unary[i].y))
            fail("special value of a function", DTYPE, (double)unary[i].x, (double)y,
                 (double)unary[i].y);
    }
    for (size_t i = 0; i < sizeof backward / sizeof backward[0]; i++) {
        REAL dx;
        TABLE.backward[backward[i].index](1, &backward[i].dy, &backward[i].s, &dx, backward[i].p);
        if (!FM(same)(dx, backward[i].dx) && dx != backward[i].dx)
            fail("special value of a derivative", DTYPE, (double)backward[i].s, (double)dx,
                 (double)backward[i].dx);
    }
    for (int f = 0; f < FM_UNARY_COUNT; f++) {
        for (int sign = 0; sign < 2; sign++) {
            REAL x = sign ? -QUIET_NAN : QUIET_NAN, y = 0;
            TABLE.unary[f](1, &x, &y, 1);
            if (y == y) fail("NaN through a function", DTYPE, (double)x, (double)y, (double)x);
        }
    }
}

/* ---- tails, positions and memory bounds ---- */

/* All elementwise functions under one signature: out = f(a, b). */
static void FM(element)(int f, ptrdiff_t n, const REAL *a, const REAL *b, REAL *out)
{
    const REAL p = (REAL)0.25;
    if (f < FM_UNARY_COUNT) {
        TABLE.unary[f](n, a, out, p);
    } else if (f < FM_UNARY_COUNT + FM_ACTIVATION_COUNT) {
        TABLE.backward[f - FM_UNARY_COUNT](n, a, b, out, p);
    } else if (f == FM_UNARY_COUNT + FM_ACTIVATION_COUNT) {
        memmove(out, b, (size_t)n * sizeof(REAL));
        TABLE.axpy(n, p, a, out);
    } else if (f == FM_UNARY_COUNT + FM_ACTIVATION_COUNT + 1) {
        TABLE.add(n, a, b, out);
    } else if (f == FM_UNARY_COUNT + FM_ACTIVATION_COUNT + 2) {
        REAL count;
        TABLE.hinge(n, p, a, (REAL)0.5, 1, out, &count);
    } else if (f == FM_UNARY_COUNT + FM_ACTIVATION_COUNT + 3) {
        TABLE.row_exp_sum(n, a, p, out);
    } else if (f == FM_UNARY_COUNT + FM_ACTIVATION_COUNT + 4) {
        TABLE.row_affine(n, p, a, (REAL)3, out);
    } else if (f == FM_UNARY_COUNT + FM_ACTIVATION_COUNT + 5) {
        TABLE.row_softmax_backward(n, a, b, p, out);
    } else if (f == FM_UNARY_COUNT + FM_ACTIVATION_COUNT + 6) {
        TABLE.row_log_softmax_backward(n, a, b, p, out);
    } else {
        TABLE.loss[f - FM_UNARY_COUNT - FM_ACTIVATION_COUNT - 7](n, p, p, a, b, out);
    }
}
#define ELEMENT_COUNT (FM_UNARY_COUNT + FM_ACTIVATION_COUNT + 7 + FM_LOSS_COUNT)

/* All reductions under one signature. */
static double FM(reduce)(int f, ptrdiff_t n, const REAL *a, const REAL *b, REAL *out)
{
    switch (f) {
    case 0: return n > 0 ? (double)TABLE.row_max(n, a) : 0;
    case 1: return (double)TABLE.row_exp_sum(n, a, (REAL)0.25, out);
    case 2: return (double)TABLE.row_exp_sum(n, a, (REAL)0.25, NULL);
    case 3: return (double)TABLE.row_dot(n, a, b);
    case 4: return (double)TABLE.row_sum(n, a);
    case 5: {
        REAL count;
        double total = TABLE.hinge(n, (REAL)0.25, a, (REAL)0.5, 1, out, &count);
        return total + (double)count;
    }
    default: return TABLE.loss[f - 6](n, (REAL)0.25, (REAL)0.5, a, b, out);
    }
}
#define REDUCE_COUNT (6 + FM_LOSS_COUNT)

static void FM(test_bounds)(void)
{
    const long size = sysconf(_SC_PAGESIZE);
    const ptrdiff_t reals = size / (ptrdiff_t)sizeof(REAL);
    REAL *pages[3];
    REAL values[2][LONGEST], expected[LONGEST];
    char text[96];
    for (int i = 0; i < 3; i++) pages[i] = (REAL *)(void *)guarded_page(size);
    for (int i = 0; i < LONGEST; i++) {
        values[0][i] = (REAL)random_between(-6, 6);
        values[1][i] = (REAL)random_between(-1, 1);
    }
    for (int f = 0; f < ELEMENT_COUNT; f++) {
        for (int i = 0; i < LONGEST; i++)
            FM(element)(f, 1, &values[0][i], &values[1][i], &expected[i]);
        for (ptrdiff_t n = 0; n <= LONGEST; n++) {
            for (int at_end = 0; at_end < 2; at_end++) {
                REAL *array[3];
                snprintf(text, sizeof text, "element function %d " DTYPE, f);
                name_length(text + strlen(text), sizeof text - strlen(text), "", n, at_end);
                current = text;
                for (int i = 0; i < 3; i++) {
                    memset(pages[i], 0x5a, (size_t)size);
                    array[i] = pages[i] + (at_end ? reals - n : 0);
                    if (i < 2) memcpy(array[i], values[i], (size_t)n * sizeof(REAL));
                }
                /* Out of place, then into each input. */
                for (int out = 2; out >= 0; out--) {
                    int into_input = out < 2;
                    if (out == 0) memcpy(array[1], values[1], (size_t)n * sizeof(REAL));
                    if (f == FM_UNARY_COUNT + FM_ACTIVATION_COUNT && out == 0) continue;
                    FM(element)(f, n, array[0], array[1], array[out]);
                    for (ptrdiff_t i = 0; i < n; i++)
                        if (!FM(same)(array[out][i], expected[i]))
                            fail(into_input ? "tail, in place" : text, DTYPE, (double)values[0][i],
                                 (double)array[out][i], (double)expected[i]);
                    for (ptrdiff_t i = 0; i < reals; i++) {
                        REAL *p = pages[out] + i;
                        UINT pattern = (UINT)0x5a5a5a5a5a5a5a5a;
                        if ((p < array[out] || p >= array[out] + n) &&
                            memcmp(p, &pattern, sizeof pattern))
                            fail("written outside", DTYPE, (double)i, (double)*p, 0);
                    }
                }
            }
        }
    }
    for (int f = 0; f < REDUCE_COUNT; f++) {
        for (ptrdiff_t n = 0; n <= LONGEST; n++) {
            double results[2];
            for (int at_end = 0; at_end < 2; at_end++) {
                REAL *array[3];
                snprintf(text, sizeof text, "reduction %d " DTYPE, f);
                name_length(text + strlen(text), sizeof text - strlen(text), "", n, at_end);
                current = text;
                for (int i = 0; i < 3; i++) {
                    array[i] = pages[i] + (at_end ? reals - n : 0);
                    if (i < 2) memcpy(array[i], values[i], (size_t)n * sizeof(REAL));
                }
                results[at_end] = FM(reduce)(f, n, array[0], array[1], array[2]);
            }
            if (memcmp(&results[0], &results[1], sizeof results[0]))
                fail("reduction depends on the place", DTYPE, (double)n, results[1], results[0]);
        }
    }
    current = "the tests after the guard pages";
}

/* ---- reductions ---- */

static void FM(test_reductions)(void)
{
    enum { MOST = 10000 };
    static REAL a[MOST], b[MOST], t[MOST], out[MOST];
    const double unit = ldexp(1, -MANTISSA - 1);
    ptrdiff_t lengths[LONGEST + 6] = {0};
    int count = 0;
    for (ptrdiff_t n = 0; n <= LONGEST; n++) lengths[count++] = n;
    lengths[count++] = 250;
    lengths[count++] = 1000;
    lengths[count++] = 4099;
    lengths[count++] = MOST;
    for (int c = 0; c < count; c++) {
        const ptrdiff_t n = lengths[c];
        REF sums[4] = {0}, sizes[4] = {0}, losses[FM_LOSS_COUNT] = {0}, margins = 0;
        REAL above = 0;
        REAL largest = -INF;
        for (ptrdiff_t i = 0; i < n; i++) {
            a[i] = i % 7 == 3 ? -INF : (REAL)random_between(-9, 3);
            if (a[i] > largest) largest = a[i];
            sums[1] += R(exp)((REF)(REAL)(a[i] - 3));
        }
        sizes[1] = sums[1];
        double got[4];
        double sum_only = (double)TABLE.row_exp_sum(n, a, 3, NULL);
        got[1] = (double)TABLE.row_exp_sum(n, a, 3, out);
        if (sum_only != got[1]) fail("row_exp_sum, y NULL", DTYPE, (double)n, sum_only, got[1]);
        if (n > 0 && TABLE.row_max(n, a) != largest)
            fail("row_max", DTYPE, (double)n, (double)TABLE.row_max(n, a), (double)largest);
        for (ptrdiff_t i = 0; i < n; i++) {
            a[i] = (REAL)random_between(-9, 9);
            b[i] = (REAL)random_between(-9, 9);
            REF d = (REAL)(a[i] - b[i]);
            sums[0] += a[i];
            sums[2] += (REF)a[i] * b[i];
            sums[3] += d * d;
            losses[FM_MAE] += R(fabs)(d);
            losses[FM_HUBER] += R(fabs)(d) <= 3 ? d * d / 2 : 3 * (R(fabs)(d) - (REF)1.5);
            t[i] = (REAL)random_between(0, 1);
            losses[FM_BINARY_CROSS_ENTROPY] +=
                (a[i] > 0 ? a[i] * (1 - (REF)t[i]) : -(REF)a[i] * t[i]) +
                R(log1p)(R(exp)(-R(fabs)((REF)a[i])));
            REAL m = (REAL)(a[i] - (REAL)0.5) + 1;
            margins += m > 0 ? m : 0;
            above += m > 0;
            sizes[0] += R(fabs)((REF)a[i]);
            sizes[2] += R(fabs)((REF)a[i] * b[i]);
        }
        sizes[3] = sums[3] * (FM_F64 ? 1 : (REF)1e-7);
        got[0] = (double)TABLE.row_sum(n, a);
        got[2] = (double)TABLE.row_dot(n, a, b);
        got[3] = TABLE.loss[FM_MSE](n, 2, 0, a, b, out);
        const double chain = unit * (8 + 2 * sqrt((double)n));
        for (int f = FM_MAE; f < FM_LOSS_COUNT; f++) {
            double found = TABLE.loss[f](n, 2, 3, a, f == FM_BINARY_CROSS_ENTROPY ? t : b, out);
            if (!(fabs(found - (double)losses[f]) <= chain * (double)(losses[f] + 9)))
                fail("loss", DTYPE, f, found, (double)losses[f]);
        }
        REAL counted;
        double hinge = TABLE.hinge(n, 2, a, (REAL)0.5, 1, out, &counted);
        if (!(fabs(hinge - (double)margins) <= chain * (double)margins) || counted != above)
            fail("hinge", DTYPE, (double)n, hinge, (double)margins);
        for (int k = 0; k < 4; k++) {
            /* One rounding per term of the longest chain would allow n / lanes; log is ample. */
            double allowed = unit * (4 + 2 * sqrt((double)n)) * (double)sizes[k];
            if (!(fabs(got[k] - (double)sums[k]) <= allowed))
                fail(k == 0   ? "row_sum"
                     : k == 1 ? "row_exp_sum"
                     : k == 2 ? "row_dot"
                              : "squared",
                     DTYPE, (double)n, got[k], (double)sums[k]);
        }
        for (ptrdiff_t i = 0; i < n && n <= LONGEST; i++) { /* NaN anywhere, also before larger */
            REAL kept = a[i];
            a[i] = QUIET_NAN;
            REAL m = TABLE.row_max(n, a);
            if (m == m) fail("row_max with NaN", DTYPE, (double)i, (double)m, (double)a[i]);
            a[i] = INF;
            if (TABLE.row_max(n, a) != INF)
                fail("row_max with inf", DTYPE, (double)i, (double)TABLE.row_max(n, a), INFINITY);
            a[i] = kept;
        }
        for (ptrdiff_t i = 0; i < n; i++) a[i] = -INF;
        if (n > 0 && TABLE.row_max(n, a) != -INF)
            fail("row_max of -inf", DTYPE, (double)n, (double)TABLE.row_max(n, a), -INFINITY);
    }
}

/* ---- updates of weights ---- */

/* The formulas of fm_updates.body.h in REF; a: g, w, s0, s1 before, then w, s0, s1 after. */
static void FM(expected_update)(int kind, const double *p, REF *a)
{
    REF g = a[0], w = a[1], first = a[2], second = a[3], step = p[0];
    if (kind == FM_ADAMW)
        w *= 1 - p[0] * p[1];
    else
        g += p[1] * w;
    if (kind == FM_MOMENTUM || kind == FM_NESTEROV) {
        first = p[2] * first + g;
        g = kind == FM_NESTEROV ? g + p[2] * first : first;
    } else if (kind == FM_ADAGRAD || kind == FM_RMSPROP) {
        first = kind == FM_ADAGRAD ? first + g * g : p[3] * first + (1 - p[3]) * g * g;
        g /= R(sqrt)(first) + p[2];
    } else if (kind == FM_ADAM || kind == FM_ADAMW) {
        first = p[3] * first + (1 - p[3]) * g;
        second = p[4] * second + (1 - p[4]) * g * g;
        g = first / (R(sqrt)(second) * p[6] + p[2]);
        step = p[5];
    }
    a[1] = w - step * g;
    a[2] = first;
    a[3] = second;
}

static void FM(test_updates)(void)
{
    static const double coefficients[FM_UPDATE_COUNT][FM_MAX_COEFFICIENTS] = {
        [FM_SGD] = {0.05, 0.3},
        [FM_MOMENTUM] = {0.05, 0.3, 0.9},
        [FM_NESTEROV] = {0.05, 0.3, 0.9},
        [FM_ADAGRAD] = {0.05, 0.3, 0.1},
        [FM_RMSPROP] = {0.05, 0.3, 0.1, 0.8},
        [FM_ADAM] = {0.05, 0.3, 0.1, 0.8, 0.95, 0.14, 3.2},
        [FM_ADAMW] = {0.05, 0.3, 0.1, 0.8, 0.95, 0.14, 3.2},
    };
    const long size = sysconf(_SC_PAGESIZE);
    const ptrdiff_t reals = size / (ptrdiff_t)sizeof(REAL);
    REAL values[4][LONGEST], *pages[4], *array[4];
    REF expected[4];
    char text[80], label[20];
    for (int k = 0; k < 4; k++) {
        pages[k] = (REAL *)guarded_page(size);
        for (int i = 0; i < LONGEST; i++)
            values[k][i] = (REAL)random_between(k == 3 ? 0 : -2, 2); /* g, w, s0, s1 */
    }
    for (int kind = 0; kind < FM_UPDATE_COUNT; kind++) {
        const int arrays = kind == FM_SGD ? 2 : kind < FM_ADAM ? 3 : 4;
        const double *p = coefficients[kind];
        const int squares = kind == FM_ADAGRAD || kind == FM_RMSPROP;
        snprintf(label, sizeof label, "update %d " DTYPE, kind);
        for (ptrdiff_t n = 0; n <= LONGEST; n++) {
            for (int at_end = 0; at_end < 2; at_end++) {
                name_length(text, sizeof text, label, n, at_end);
                for (int k = 0; k < 4; k++) {
                    array[k] = k < arrays ? pages[k] + (at_end ? reals - n : 0) : NULL;
                    for (ptrdiff_t i = 0; i < n && k < arrays; i++)
                        array[k][i] = values[k == 2 && squares ? 3 : k][i];
                }
                TABLE.update[kind](n, array[0], array[1], array[2], array[3], p);
                for (ptrdiff_t i = 0; i < n; i++) {
                    for (int k = 0; k < 4; k++)
                        expected[k] = (REF)values[k == 2 && squares ? 3 : k][i];
                    FM(expected_update)(kind, p, expected);
                    for (int k = 0; k < arrays; k++)
                        if (!(R(fabs)(array[k][i] - expected[k]) <= ldexp(32, -MANTISSA - 1)))
                            fail(label, DTYPE, (double)i, (double)array[k][i],
                                 (double)expected[k]);
                }
            }
        }
    }
    current = "the tests after the updates";
}

static void FM(test_dtype)(void)
{
    REAL *x = malloc((size_t)SAMPLES * sizeof(REAL));
    REAL *y = malloc((size_t)SAMPLES * sizeof(REAL));
    REAL *one = malloc((size_t)SAMPLES * sizeof(REAL));
    if (x == NULL || y == NULL || one == NULL) {
        printf("FAILED: no memory\n");
        exit(1);
    }
    FM(fill_samples)(x);
    FM(test_specials)();
    FM(test_bounds)();
    FM(test_reductions)();
    FM(test_updates)();
    FM(test_accuracy)(x, y);
    FM(test_slopes)(x, y, one);
    free(x);
    free(y);
    free(one);
}

#undef TABLE
#undef SMALLEST_NORMAL
#undef INF
#undef QUIET_NAN
#undef ELEMENT_COUNT
#undef REDUCE_COUNT
