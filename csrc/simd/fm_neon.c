/* NEON of AArch64: 32 registers of 16 bytes; up to 24 accumulators. */
#if defined(__aarch64__) && (defined(__GNUC__) || defined(__clang__))
#define FM_LEVEL_NEON
#define FM_VECTOR_BYTES 16
#define FM_LEVEL neon
#define FM_TILE_ROWS_1 16
#define FM_TILE_ROWS_2 12
#define FM_TILE_ROWS_3 8
#include "fm_level.h"
#endif
