/* Included once per dtype: the vector layer. Needs REAL, UINT, FM_F64 and the level's macros.
 *
 * V is a vector of FM_LANES reals. VI is a vector of unsigned integers of the same width, and the
 * type of masks (all bits set if true). Arithmetic uses the C operators, which GNU C defines for
 * vectors and plain C for scalars. Everything else has a name here, so one source compiles for
 * AVX-512, AVX2, NEON, the baseline of any machine and compilers without vectors.
 */

#if FM_VECTOR_BYTES

#define FM_LANES (FM_VECTOR_BYTES / (int)sizeof(REAL))

typedef REAL FM(V) __attribute__((vector_size(FM_VECTOR_BYTES)));
typedef REAL FM(VU) __attribute__((vector_size(FM_VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));
typedef UINT FM(VI) __attribute__((vector_size(FM_VECTOR_BYTES)));
#define V FM(V)
#define VU FM(VU)
#define VI FM(VI)

FM_INLINE V FM(v_load)(const REAL *p) { return *(const VU *)p; }
FM_INLINE void FM(v_store)(REAL *p, V a) { *(VU *)p = a; }
FM_INLINE V FM(v_set)(REAL a) { return a - (V){0}; }
FM_INLINE VI FM(v_seti)(UINT a) { return a - (VI){0}; }
FM_INLINE VI FM(v_bits)(V a) { return (VI)a; }
FM_INLINE V FM(v_real)(VI a) { return (V)a; }
FM_INLINE VI FM(v_lt)(V a, V b) { return (VI)(a < b); }
FM_INLINE VI FM(v_le)(V a, V b) { return (VI)(a <= b); }
FM_INLINE VI FM(v_equal)(V a, V b) { return (VI)(a == b); }
FM_INLINE VI FM(v_nan)(V a) { return (VI)(a != a); }

#else /* plain C: vectors of one lane */

#define FM_LANES 1

#define V REAL
#define VI UINT

FM_INLINE V FM(v_load)(const REAL *p) { return *p; }
FM_INLINE void FM(v_store)(REAL *p, V a) { *p = a; }
FM_INLINE V FM(v_set)(REAL a) { return a; }
FM_INLINE VI FM(v_seti)(UINT a) { return a; }
FM_INLINE VI FM(v_bits)(V a)
{
    UINT b;
    memcpy(&b, &a, sizeof b);
    return b;
}
FM_INLINE V FM(v_real)(VI a)
{
    REAL r;
    memcpy(&r, &a, sizeof r);
    return r;
}
FM_INLINE VI FM(v_lt)(V a, V b) { return (UINT)0 - (UINT)(a < b); }
FM_INLINE VI FM(v_le)(V a, V b) { return (UINT)0 - (UINT)(a <= b); }
FM_INLINE VI FM(v_equal)(V a, V b) { return (UINT)0 - (UINT)(a == b); }
FM_INLINE VI FM(v_nan)(V a) { return (UINT)0 - (UINT)(a != a); }

#endif

/* a if the mask is set, else b */
FM_INLINE V FM(v_select)(VI mask, V a, V b)
{
#if defined(FM_LEVEL_AVX2) && FM_F64
    return (V)_mm256_blendv_pd((__m256d)b, (__m256d)a, (__m256d)mask);
#elif defined(FM_LEVEL_AVX2)
    return (V)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)mask);
#else
    return FM(v_real)((FM(v_bits)(a) & mask) | (FM(v_bits)(b) & ~mask));
#endif
}

/* a * b + c, fused if the level has such an instruction. Nothing else in csrc/ is contracted
 * (-ffp-contract=off), so each level computes what the code says. */
FM_INLINE V FM(v_fma)(V a, V b, V c)
{
#if defined(FM_LEVEL_AVX512) && FM_F64
    return (V)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(FM_LEVEL_AVX512)
    return (V)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(FM_LEVEL_AVX2) && FM_F64
    return (V)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(FM_LEVEL_AVX2)
    return (V)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(FM_LEVEL_NEON) && FM_F64
    return (V)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#elif defined(FM_LEVEL_NEON)
    return (V)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
    return a * b + c;
#endif
}

/* The maximum of a and b; b if a or b is NaN. */
FM_INLINE V FM(v_max)(V a, V b)
{
#if defined(FM_LEVEL_AVX512) && FM_F64
    return (V)_mm512_max_pd((__m512d)a, (__m512d)b);
#elif defined(FM_LEVEL_AVX512)
    return (V)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(FM_LEVEL_AVX2) && FM_F64
    return (V)_mm256_max_pd((__m256d)a, (__m256d)b);
#elif defined(FM_LEVEL_AVX2)
    return (V)_mm256_max_ps((__m256)a, (__m256)b);
#else
    return FM(v_select)(FM(v_lt)(b, a), a, b);
#endif
}

/* The minimum of a and b; b if a or b is NaN. */
FM_INLINE V FM(v_min)(V a, V b)
{
#if defined(FM_LEVEL_AVX512) && FM_F64
    return (V)_mm512_min_pd((__m512d)a, (__m512d)b);
#elif defined(FM_LEVEL_AVX512)
    return (V)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(FM_LEVEL_AVX2) && FM_F64
    return (V)_mm256_min_pd((__m256d)a, (__m256d)b);
#elif defined(FM_LEVEL_AVX2)
    return (V)_mm256_min_ps((__m256)a, (__m256)b);
#else
    return FM(v_select)(FM(v_lt)(a, b), a, b);
#endif
}

/* The square root, correctly rounded; NaN below zero. */
FM_INLINE V FM(v_sqrt)(V a)
{
#if defined(FM_LEVEL_AVX512) && FM_F64
    return (V)_mm512_sqrt_pd((__m512d)a);
#elif defined(FM_LEVEL_AVX512)
    return (V)_mm512_sqrt_ps((__m512)a);
#elif defined(FM_LEVEL_AVX2) && FM_F64
    return (V)_mm256_sqrt_pd((__m256d)a);
#elif defined(FM_LEVEL_AVX2)
    return (V)_mm256_sqrt_ps((__m256)a);
#elif defined(FM_LEVEL_NEON) && FM_F64
    return (V)vsqrtq_f64((float64x2_t)a);
#elif defined(FM_LEVEL_NEON)
    return (V)vsqrtq_f32((float32x4_t)a);
#else
    REAL lanes[FM_LANES];
    FM(v_store)(lanes, a);
    FM_UNROLL
    for (int i = 0; i < FM_LANES; i++) lanes[i] = FM_F64 ? sqrt(lanes[i]) : sqrtf(lanes[i]);
    return FM(v_load)(lanes);
#endif
}

/* Loads n lanes from p, 0 <= n <= FM_LANES, and zeros the others. Reads nothing beyond them. */
FM_INLINE V FM(v_load_part)(const REAL *p, ptrdiff_t n)
{
#if defined(FM_LEVEL_AVX512) && FM_F64
    return (V)_mm512_maskz_loadu_pd((__mmask8)((1u << n) - 1), p);
#elif defined(FM_LEVEL_AVX512)
    return (V)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#elif defined(FM_LEVEL_AVX2) && FM_F64
    __m256i lane = _mm256_setr_epi64x(0, 1, 2, 3);
    return (V)_mm256_maskload_pd(p, _mm256_cmpgt_epi64(_mm256_set1_epi64x(n), lane));
#elif defined(FM_LEVEL_AVX2)
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return (V)_mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lane));
#else
    REAL lanes[FM_LANES] = {0};
    for (ptrdiff_t i = 0; i < n; i++) lanes[i] = p[i];
    return FM(v_load)(lanes);
#endif
}

/* Stores the first n lanes to p, 0 <= n <= FM_LANES, as halves, quarters, ... of the vector: masked
 * stores of AVX2 are slow on some processors. */
FM_INLINE void FM(v_store_part)(REAL *p, V a, ptrdiff_t n)
{
    REAL lanes[FM_LANES];
    const REAL *from = lanes;
    FM(v_store)(lanes, a);
    FM_UNROLL
    for (int width = FM_LANES; width > 0; width /= 2) {
        if (n & width) {
            memcpy(p, from, (size_t)width * sizeof(REAL));
            p += width;
            from += width;
        }
    }
}
