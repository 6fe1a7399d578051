/* AVX2 + FMA: 16 registers of 32 bytes; 6 x 2, 12 x 1 and 4 x 3 tiles keep 12 accumulators. */
#if defined(__AVX2__) && defined(__FMA__)
#define FM_LEVEL_AVX2
#define FM_VECTOR_BYTES 32
#define FM_LEVEL avx2
#define FM_TILE_ROWS_1 12
#define FM_TILE_ROWS_2 6
#define FM_TILE_ROWS_3 4
#include "fm_level.h"
#endif
