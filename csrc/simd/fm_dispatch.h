/* The levels that were built, the levels that this machine can run, and their tables. */
#ifndef FM_DISPATCH_H
#define FM_DISPATCH_H

#include "fm_table.h"

enum fm_level { FM_GENERIC, FM_AVX2, FM_AVX512, FM_NEON, FM_LEVEL_COUNT };

/* 1 if this build contains the level (x86-64 and AArch64 with gcc or clang). */
FM_HIDDEN int fm_level_built(int level);
/* 1 if the level is built and this processor and operating system can run it. */
FM_HIDDEN int fm_level_supported(int level);
FM_HIDDEN const fm_table_f32 *fm_level_table_f32(int level);
FM_HIDDEN const fm_table_f64 *fm_level_table_f64(int level);
/* The compiler of this build and its version. */
FM_HIDDEN const char *fm_compiler(void);

#endif
