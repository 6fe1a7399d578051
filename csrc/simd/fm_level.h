/* One instruction set, both dtypes: the content of fm_generic.c, fm_avx2.c, ...
 *
 * Each of these files defines FM_LEVEL (the suffix of its exported tables), FM_LEVEL_<NAME> if it
 * uses intrinsics, FM_VECTOR_BYTES and the tile limits, and includes this header. The build
 * compiles each file with its own flags (setup.py), so no other file may use more than the baseline
 * of the machine. All functions are static, so the linker can never give a copy compiled for AVX2
 * to a baseline caller.
 */
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(FM_LEVEL_AVX2) || defined(FM_LEVEL_AVX512)
#include <immintrin.h>
#elif defined(FM_LEVEL_NEON)
#include <arm_neon.h>
#endif

/* Without this GCC makes a second copy of the tile's loop for unit strides, and the copy for other
 * strides runs at 66 % of the speed. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC optimize("no-version-loops-for-strides")
#endif

#include "fm_random.h"
#include "fm_table.h"
#include "fm_tile_list.h"

#if defined(__GNUC__) || defined(__clang__)
#define FM_INLINE static inline __attribute__((always_inline, unused))
#define FM_RESTRICT __restrict__
#elif defined(_MSC_VER)
#define FM_INLINE static __forceinline
#define FM_RESTRICT __restrict
#else
#define FM_INLINE static inline
#define FM_RESTRICT
#endif

/* A loop whose iterations are independent, even if an output is one of the inputs. */
#if defined(__clang__)
#define FM_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define FM_INDEPENDENT _Pragma("GCC ivdep")
#else
#define FM_INDEPENDENT
#endif

#if defined(__clang__)
#define FM_UNROLL _Pragma("clang loop unroll(full)") /* early, so that arrays become registers */
#elif defined(__GNUC__)
#define FM_UNROLL _Pragma("GCC unroll 24")
#else
#define FM_UNROLL
#endif

#if defined(__GNUC__) || defined(__clang__)
#define FM_PREFETCH(address) __builtin_prefetch(address)
#define FM_OPAQUE(variable) __asm__("" : "+m"(variable)) /* the compiler forgets its value here */
#define FM_KEEP(pointer) __asm__("" : "+r"(pointer)) /* incremented, never recomputed */
#else
#define FM_PREFETCH(address) ((void)0)
#define FM_KEEP(pointer) ((void)0)
#define FM_OPAQUE(variable) ((void)0)
#endif

#if defined(__clang__) || __GNUC__ >= 12
#define FM_SHUFFLE2(a, b, i, j) __builtin_shufflevector(a, b, i, j)
#define FM_SHUFFLE4(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#elif defined(__GNUC__)
#define FM_SHUFFLE2(a, b, i, j) \
    __builtin_shuffle(a, b, (uint64_t __attribute__((vector_size(16)))){i, j})
#define FM_SHUFFLE4(a, b, i, j, k, l) \
    __builtin_shuffle(a, b, (uint32_t __attribute__((vector_size(16)))){i, j, k, l})
#endif

#define FM_PASTE_(a, b) a##b
#define FM_PASTE(a, b) FM_PASTE_(a, b)

#define FM_F64 0
#define REAL float
#define UINT uint32_t
#define FM(name) FM_PASTE(name, _f32)
#include "fm_dtype.body.h"
#undef FM_F64
#undef REAL
#undef UINT
#undef FM
#undef FM_LANES
#undef V
#undef VU
#undef VI

#define FM_F64 1
#define REAL double
#define UINT uint64_t
#define FM(name) FM_PASTE(name, _f64)
#include "fm_dtype.body.h"
#undef FM_F64
#undef REAL
#undef UINT
#undef FM
#undef FM_LANES
#undef V
#undef VU
#undef VI
