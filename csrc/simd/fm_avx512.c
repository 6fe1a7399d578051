/* AVX-512 (F, BW, DQ, VL): 32 registers of 64 bytes; up to 28 accumulators. gcc 12 spills some of
 * 9 x 3 accumulators to memory. */
#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define FM_LEVEL_AVX512
#define FM_VECTOR_BYTES 64
#define FM_LEVEL avx512
#define FM_TILE_ROWS_1 24
#define FM_TILE_ROWS_2 14
#define FM_TILE_ROWS_3 8
#include "fm_level.h"
#endif
