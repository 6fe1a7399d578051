/* The avx512 level for processors without AVX-512: a LEVEL_FILE of the C tests.
 *
 * It includes the file of the level, compiled for AVX2 and FMA. Compilers split vectors of 64
 * bytes. The intrinsics of the level are functions here, which treat each lane as Intel's manual
 * says.
 */
#include <immintrin.h> /* before the macros, which change what it declares */
#include <stdint.h>
#include <string.h>

/* Both halves by an intrinsic of AVX2, whose lanes behave like lanes of AVX-512: fmadd rounds once;
 * max and min return b if a or b is NaN, or if both are zero. */
#define SOFT(name, whole, half, expression)                                                        \
    static inline whole soft_##name(whole a, whole b, whole c)                                     \
    {                                                                                              \
        half x[2], y[2], z[2];                                                                     \
        memcpy(x, &a, sizeof a);                                                                   \
        memcpy(y, &b, sizeof b);                                                                   \
        memcpy(z, &c, sizeof c);                                                                   \
        for (int i = 0; i < 2; i++) x[i] = expression;                                             \
        memcpy(&a, x, sizeof a);                                                                   \
        return a;                                                                                  \
    }
SOFT(fmadd_ps, __m512, __m256, _mm256_fmadd_ps(x[i], y[i], z[i]))
SOFT(fmadd_pd, __m512d, __m256d, _mm256_fmadd_pd(x[i], y[i], z[i]))
SOFT(max_ps, __m512, __m256, _mm256_max_ps(x[i], y[i]))
SOFT(max_pd, __m512d, __m256d, _mm256_max_pd(x[i], y[i]))
SOFT(min_ps, __m512, __m256, _mm256_min_ps(x[i], y[i]))
SOFT(min_pd, __m512d, __m256d, _mm256_min_pd(x[i], y[i]))
SOFT(sqrt_ps, __m512, __m256, _mm256_sqrt_ps(x[i]))
SOFT(sqrt_pd, __m512d, __m256d, _mm256_sqrt_pd(x[i]))
#undef SOFT

/* Loads the lanes whose bit is set from p and zeros the others, without reading them. */
#define SOFT(name, whole, real, bits)                                                              \
    static inline whole soft_##name(bits mask, const real *p)                                      \
    {                                                                                              \
        real lanes[64 / sizeof(real)] = {0};                                                       \
        whole result;                                                                              \
        for (int i = 0; i < 64 / (int)sizeof(real); i++)                                           \
            if (mask >> i & 1) lanes[i] = p[i];                                                    \
        memcpy(&result, lanes, sizeof result);                                                     \
        return result;                                                                             \
    }
SOFT(maskz_loadu_ps, __m512, float, __mmask16)
SOFT(maskz_loadu_pd, __m512d, double, __mmask8)
#undef SOFT

/* The low byte of each of 16 integers. */
static inline __m128i soft_cvtepi32_epi8(__m512i a)
{
    uint32_t lanes[16];
    uint8_t bytes[16];
    __m128i result;
    memcpy(lanes, &a, sizeof a);
    for (int i = 0; i < 16; i++) bytes[i] = (uint8_t)lanes[i];
    memcpy(&result, bytes, sizeof result);
    return result;
}

#define _mm512_fmadd_ps(a, b, c) soft_fmadd_ps(a, b, c)
#define _mm512_fmadd_pd(a, b, c) soft_fmadd_pd(a, b, c)
#define _mm512_max_ps(a, b) soft_max_ps(a, b, b)
#define _mm512_max_pd(a, b) soft_max_pd(a, b, b)
#define _mm512_min_ps(a, b) soft_min_ps(a, b, b)
#define _mm512_min_pd(a, b) soft_min_pd(a, b, b)
#define _mm512_sqrt_ps(a) soft_sqrt_ps(a, a, a)
#define _mm512_sqrt_pd(a) soft_sqrt_pd(a, a, a)
#define _mm512_maskz_loadu_ps(mask, p) soft_maskz_loadu_ps(mask, p)
#define _mm512_maskz_loadu_pd(mask, p) soft_maskz_loadu_pd(mask, p)
#define _mm512_cvtepi32_epi8(a) soft_cvtepi32_epi8(a)

#define __AVX512F__ 1
#define __AVX512BW__ 1
#define __AVX512DQ__ 1
#define __AVX512VL__ 1
#include "fm_avx512.c"
