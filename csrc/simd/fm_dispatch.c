#include "fm_dispatch.h"

#if defined(__GNUC__) || defined(__clang__)
#if defined(__x86_64__)
#define FM_X86 1
#elif defined(__aarch64__)
#define FM_ARM 1
#endif
#endif
#ifndef FM_X86
#define FM_X86 0
#endif
#ifndef FM_ARM
#define FM_ARM 0
#endif

extern FM_HIDDEN const fm_table_f32 fm_table_f32_generic;
extern FM_HIDDEN const fm_table_f64 fm_table_f64_generic;
#if FM_X86
extern FM_HIDDEN const fm_table_f32 fm_table_f32_avx2, fm_table_f32_avx512;
extern FM_HIDDEN const fm_table_f64 fm_table_f64_avx2, fm_table_f64_avx512;
#endif
#if FM_ARM
extern FM_HIDDEN const fm_table_f32 fm_table_f32_neon;
extern FM_HIDDEN const fm_table_f64 fm_table_f64_neon;
#endif

int fm_level_built(int level)
{
    return level == FM_GENERIC || (FM_X86 && (level == FM_AVX2 || level == FM_AVX512)) ||
           (FM_ARM && level == FM_NEON);
}

int fm_level_supported(int level)
{
    if (!fm_level_built(level)) return 0;
#if FM_X86
    /* These also check that the operating system saves the wide registers. */
    __builtin_cpu_init();
    int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (level == FM_AVX2) return avx2;
    if (level == FM_AVX512)
        return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
    return 1;
}

const fm_table_f32 *fm_level_table_f32(int level)
{
#if FM_X86
    if (level == FM_AVX2) return &fm_table_f32_avx2;
    if (level == FM_AVX512) return &fm_table_f32_avx512;
#endif
#if FM_ARM
    if (level == FM_NEON) return &fm_table_f32_neon;
#endif
    return &fm_table_f32_generic;
}

const fm_table_f64 *fm_level_table_f64(int level)
{
#if FM_X86
    if (level == FM_AVX2) return &fm_table_f64_avx2;
    if (level == FM_AVX512) return &fm_table_f64_avx512;
#endif
#if FM_ARM
    if (level == FM_NEON) return &fm_table_f64_neon;
#endif
    return &fm_table_f64_generic;
}

const char *fm_compiler(void)
{
#if defined(__clang__)
    return "clang " __clang_version__;
#elif defined(__GNUC__)
    return "gcc " __VERSION__;
#elif defined(_MSC_VER)
    return "msvc";
#else
    return "unknown";
#endif
}
