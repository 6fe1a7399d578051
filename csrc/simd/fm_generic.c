/* The level of every machine: the compiler's baseline (SSE2 on x86-64) with 16-byte vectors, or
 * scalar C if the compiler has no vectors (FM_PLAIN_C forces that). No fused multiply-add. */
#if (defined(__GNUC__) || defined(__clang__)) && !defined(FM_PLAIN_C)
#define FM_VECTOR_BYTES 16
#else
#define FM_VECTOR_BYTES 0
#endif
#define FM_LEVEL generic
#define FM_TILE_ROWS_1 8
#define FM_TILE_ROWS_2 6
#define FM_TILE_ROWS_3 4
#include "fm_level.h"
