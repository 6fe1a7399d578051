/* The tile instances of a level: FM_ROWS_n(X, v) expands X(1, v) ... X(n, v). */
#ifndef FM_TILE_LIST_H
#define FM_TILE_LIST_H

#define FM_ROWS_4(X, v) X(1, v) X(2, v) X(3, v) X(4, v)
#define FM_ROWS_6(X, v) FM_ROWS_4(X, v) X(5, v) X(6, v)
#define FM_ROWS_8(X, v) FM_ROWS_6(X, v) X(7, v) X(8, v)
#define FM_ROWS_12(X, v) FM_ROWS_8(X, v) X(9, v) X(10, v) X(11, v) X(12, v)
#define FM_ROWS_14(X, v) FM_ROWS_12(X, v) X(13, v) X(14, v)
#define FM_ROWS_16(X, v) FM_ROWS_14(X, v) X(15, v) X(16, v)
#define FM_ROWS_24(X, v) FM_ROWS_16(X, v) X(17, v) X(18, v) X(19, v) X(20, v) X(21, v) X(22, v) X(23, v) X(24, v)

#define FM_ROWS(n) FM_PASTE(FM_ROWS_, n)

/* Sums that sparse_rows keeps in registers: at most 12 vectors, X(segments, vectors). */
#define FM_MAX_SPARSE 12
#define FM_SPARSE_SHAPES(X)                                                                        \
    X(1, 1) X(1, 2) X(1, 3) X(1, 4) X(1, 5) X(1, 6) X(1, 7) X(1, 8) X(1, 9) X(1, 10) X(1, 11)      \
    X(1, 12) X(2, 1) X(2, 2) X(2, 3) X(2, 4) X(2, 5) X(2, 6) X(3, 1) X(3, 2) X(3, 3) X(3, 4)       \
    X(4, 1) X(4, 2) X(4, 3) X(5, 1) X(5, 2) X(6, 1) X(6, 2) X(7, 1) X(8, 1) X(9, 1) X(10, 1)       \
    X(11, 1) X(12, 1)

#endif
