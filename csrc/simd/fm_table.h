/* The function table: all functions that Cython calls, one table per (dtype, instruction set).
 *
 * Lengths are ptrdiff_t, strides count elements. Callers check the preconditions (fastmlp/kernels);
 * the functions themselves cannot fail.
 */
#ifndef FM_TABLE_H
#define FM_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "fm_tile_list.h"

#if defined(__GNUC__) || defined(__clang__)
#define FM_HIDDEN __attribute__((visibility("hidden")))
#else
#define FM_HIDDEN
#endif

/* Lists of names. A name appears only here: enums, tables, the arrays of names below and the
 * dictionaries that Python sees are made from these lists. */
#define FM_ENUMERATOR(NAME, name) FM_##NAME,
#define FM_STRING(NAME, name) #name,
#define FM_PLUS_ONE(NAME, name) +1

/* Activations: csrc/simd/fm_elementwise.body.h has the formulas. Forward, y[i] = f(x[i]); y may be
 * x. Backward, dx[i] = dy[i] * f'(.), computed from s, the output y of f, or from the input x for
 * gelu, silu and softplus; dx may be dy or s. p is negative_slope of leaky_relu, alpha of elu. */
#define FM_ACTIVATIONS(X)     \
    X(RELU, relu)             \
    X(LEAKY_RELU, leaky_relu) \
    X(ELU, elu)               \
    X(GELU, gelu)             \
    X(SILU, silu)             \
    X(SOFTPLUS, softplus)     \
    X(TANH, tanh)             \
    X(SIGMOID, sigmoid)
/* Activations, and functions without a derivative. */
#define FM_UNARIES(X) FM_ACTIVATIONS(X) X(EXP, exp) X(LOG, log)
enum fm_unary { FM_UNARIES(FM_ENUMERATOR) FM_UNARY_COUNT };
enum { FM_ACTIVATION_COUNT = FM_ACTIVATIONS(FM_PLUS_ONE) };
static const char *const fm_unary_names[] = {FM_UNARIES(FM_STRING)};

/* Update rules: one step of an optimizer on n weights, with states s0 and s1 and coefficients p.
 * csrc/simd/fm_updates.body.h has the formulas. p[0] is the learning rate and p[1] the weight decay
 * of every rule; p[2], p[3], ... are listed below. ADAM and ADAMW take p[5] = p[0] / (1 - beta1^t)
 * and p[6] = 1 / sqrt(1 - beta2^t) in step t, counted from 1. Plans multiply p[0] and p[5] of every
 * rule by the learning-rate multiplier of a parameter, and clip gradients to p[7].
 * fm_updates.body.h relies on the order: SGD has no state, and from ADAGRAD on p[2] is eps. From ADAM
 * on there is s1, p[3] and p[4] are the factors of s0 and s1, and the rate is p[5]. */
#define FM_UPDATES(X)                                          \
    X(SGD, sgd)                                                \
    X(MOMENTUM, momentum) /* s0 velocity        momentum    */ \
    X(NESTEROV, nesterov) /* s0 velocity        momentum    */ \
    X(ADAGRAD, adagrad)   /* s0 sum of squares  eps         */ \
    X(RMSPROP, rmsprop)   /* s0 mean square     eps, rho    */ \
    X(ADAM, adam)         /* s0 m, s1 v  eps, beta1, beta2  */ \
    X(ADAMW, adamw)       /* s0 m, s1 v  eps, beta1, beta2  */
enum fm_update { FM_UPDATES(FM_ENUMERATOR) FM_UPDATE_COUNT };
static const char *const fm_update_names[] = {FM_UPDATES(FM_STRING)};
#define FM_MAX_COEFFICIENTS 8

/* Elementwise losses: csrc/simd/fm_losses.body.h has the formulas. p is delta of huber. */
#define FM_LOSSES(X) \
    X(MSE, mse)      \
    X(MAE, mae)      \
    X(HUBER, huber)  \
    X(BINARY_CROSS_ENTROPY, binary_cross_entropy)
enum fm_loss { FM_LOSSES(FM_ENUMERATOR) FM_LOSS_COUNT };
static const char *const fm_loss_names[] = {FM_LOSSES(FM_STRING)};

/* How a tile stores its sums (acc) at C; flags. */
enum fm_store {
    FM_STORE_SET = 0,  /* C = alpha * acc         */
    FM_STORE_ADD = 1,  /* C += alpha * acc        */
    FM_STORE_RELU = 2, /* then C = max(0, C)      */
};

#define FM_MAX_TILE_VECTORS 3
#define FM_MAX_TILE_ROWS 24
#define FM_MAX_LANES 16
#define FM_LIST_ROWS 4 /* rows of a list of nonzeros: csrc/simd/fm_nonzeros.body.h */

#define FM_DECLARE_TABLE(REAL, SUFFIX)                                                             \
    /* One row tile against `panels` panels of b: csrc/simd/fm_tile.body.h. */                     \
    typedef void (*fm_strip_##SUFFIX)(                                                             \
        ptrdiff_t panels, ptrdiff_t k_count, const REAL *a, ptrdiff_t a_row, ptrdiff_t a_col,      \
        const REAL *b, ptrdiff_t b_row, ptrdiff_t b_panel, const REAL *init, ptrdiff_t init_row,   \
        REAL *c, ptrdiff_t c_row, REAL alpha, int store, REAL *pack);                              \
    /* c += a @ b for a few rows of b and `panels` panels of c: csrc/simd/fm_tile.body.h. */       \
    typedef void (*fm_sweep_##SUFFIX)(ptrdiff_t panels, ptrdiff_t k_count, const REAL *a,          \
                                      ptrdiff_t a_row, const REAL *b, ptrdiff_t b_row, REAL *c,    \
                                      ptrdiff_t c_row);                                            \
    /* Consecutive row tiles, a_tile values of a apart: csrc/simd/fm_tile.body.h. */               \
    typedef struct {                                                                               \
        ptrdiff_t tiles, blocks, k_count;                                                          \
        const REAL *a;                                                                             \
        ptrdiff_t a_row, a_col, a_block, a_tile;                                                   \
        const REAL *b;                                                                             \
        ptrdiff_t b_row;                                                                           \
        const REAL *init;                                                                          \
        ptrdiff_t init_row;                                                                        \
        REAL *c;                                                                                   \
        ptrdiff_t c_row;                                                                           \
        REAL alpha;                                                                                \
        int store;                                                                                 \
    } fm_column_##SUFFIX;                                                                          \
    /* The same without zeros; lists are list_step values apart: csrc/simd/fm_nonzeros.body.h. */  \
    typedef struct {                                                                               \
        ptrdiff_t rows, most;                                                                      \
        const REAL *lists;                                                                         \
        ptrdiff_t list_step;                                                                       \
        const REAL *b, *init;                                                                      \
        ptrdiff_t init_row;                                                                        \
        REAL *c;                                                                                   \
        ptrdiff_t c_row;                                                                           \
        REAL alpha;                                                                                \
        int store;                                                                                 \
    } fm_listed_##SUFFIX;                                                                          \
    typedef struct {                                                                               \
        int lanes;                                                                                 \
        int tile_rows[FM_MAX_TILE_VECTORS + 1]; /* maximum rows, by vectors */                \
        fm_strip_##SUFFIX strip[FM_MAX_TILE_VECTORS + 1][FM_MAX_TILE_ROWS + 1];                    \
        fm_strip_##SUFFIX packing_strip[FM_MAX_TILE_ROWS + 1]; /* of two vectors */                \
        fm_sweep_##SUFFIX sweep[2][FM_MAX_TILE_ROWS + 1]; /* [fetching][rows], of two vectors */   \
        void (*column[3][FM_MAX_TILE_ROWS + 1])(const fm_column_##SUFFIX *);                       \
        void (*update_column[3][FM_MAX_TILE_ROWS + 1])(const fm_column_##SUFFIX *);                \
        void (*listed_column[3])(const fm_listed_##SUFFIX *);                                      \
        void (*listed_strip)(const fm_listed_##SUFFIX *, ptrdiff_t panels, ptrdiff_t c_panel);      \
        void (*list_rows)(ptrdiff_t rows, ptrdiff_t n, const REAL *x, ptrdiff_t x_row,             \
                          int32_t step, REAL *list);                                               \
        void (*list_columns)(ptrdiff_t columns, ptrdiff_t n, const REAL *x, ptrdiff_t x_row,       \
                             int32_t step, REAL *list);                                            \
        /* c = init + a @ B, stored as `store` says: one row a, whole panels of two vectors */     \
        void (*row_product)(ptrdiff_t panels, ptrdiff_t k_count, const REAL *a, const REAL *b,     \
                            ptrdiff_t b_panel, const REAL *init, REAL *c, int store);              \
        void (*store_sums)(ptrdiff_t rows, ptrdiff_t lanes, const REAL *sums, ptrdiff_t width,     \
                           REAL *c, ptrdiff_t c_row, ptrdiff_t c_lane, REAL alpha, int store);     \
        /* n rounds of 12 multiply-adds on registers: the machine's peak, for benchmarks */        \
        REAL (*multiply_adds)(ptrdiff_t n);                                                        \
        /* to[k * width + i] = from[i * from_row + k], i < count, zero for count <= i < end */     \
        void (*pack_transposed)(ptrdiff_t k_count, ptrdiff_t count, ptrdiff_t end,                 \
                                ptrdiff_t width, const REAL *from, ptrdiff_t from_row, REAL *to);  \
        /* to[k * width + i] = from[k * from_row + i], i < count, zero for count <= i < width */   \
        void (*pack_rows)(ptrdiff_t k_count, ptrdiff_t count, ptrdiff_t width, const REAL *from,   \
                          ptrdiff_t from_row, REAL *to);                                           \
        /* to[k * count + i] = from[k * from_row + i], i < count <= FM_MAX_TILE_ROWS; may          \
         * write up to lanes - 1 values after the end */                                           \
        void (*pack_columns)(ptrdiff_t k_count, ptrdiff_t count, const REAL *from,                 \
                             ptrdiff_t from_row, REAL *to);                                        \
        void (*unary[FM_UNARY_COUNT])(ptrdiff_t n, const REAL *x, REAL *y, REAL p);                \
        void (*backward[FM_ACTIVATION_COUNT])(ptrdiff_t n, const REAL *dy, const REAL *s,         \
                                              REAL *dx, REAL p);                                   \
        /* p has the coefficients that the rule reads, at most FM_MAX_COEFFICIENTS */              \
        void (*update[FM_UPDATE_COUNT])(ptrdiff_t n, const REAL *g, REAL *w, REAL *s0, REAL *s1,   \
                                        const double *p);                                          \
        /* g[i] += l1 * sign(w[i]) + l2 * w[i] */                                                  \
        void (*penalize)(ptrdiff_t n, REAL l1, REAL l2, const REAL *w, REAL *g);                   \
        /* y[i] = x[i] clipped to [-limit, limit]; y may be x */                                   \
        void (*clamp)(ptrdiff_t n, REAL limit, const REAL *x, REAL *y);                            \
        /* sums of x[i]^2 and of |x[i]|, in double */                                              \
        double (*sum_squares)(ptrdiff_t n, const REAL *x);                                         \
        double (*sum_magnitudes)(ptrdiff_t n, const REAL *x);                                      \
        /* y[i] += a * x[i] */                                                                     \
        void (*axpy)(ptrdiff_t n, REAL a, const REAL *x, REAL *y);                                 \
        /* y[i] = x[i] + b[i] */                                                                   \
        void (*add)(ptrdiff_t n, const REAL *x, const REAL *b, REAL *y);                           \
        /* csrc/simd/fm_images.body.h; [segments][vectors] */                                      \
        void (*sparse_rows[FM_MAX_SPARSE + 1][FM_MAX_SPARSE + 1])(                                 \
            ptrdiff_t count, const REAL *values, const int32_t *index, ptrdiff_t step,             \
            const REAL *rows, ptrdiff_t block, REAL *c, ptrdiff_t c_block);                        \
        ptrdiff_t (*nonzero)(ptrdiff_t n, const REAL *x, REAL *values, int32_t *index);            \
        void (*max_pool)(ptrdiff_t channels, ptrdiff_t rows, ptrdiff_t columns, const REAL *x,     \
                         ptrdiff_t row, ptrdiff_t pixel, REAL *y, void *index);                    \
        /* dx[i] = a * derivative by x[i]; returns the sum of the losses of x[i], t[i] */          \
        double (*loss[FM_LOSS_COUNT])(ptrdiff_t n, REAL a, REAL p, const REAL *x, const REAL *t,   \
                                      REAL *dx);                                                   \
        /* one row, including the margin of the label: csrc/simd/fm_losses.body.h */               \
        double (*hinge)(ptrdiff_t n, REAL a, const REAL *x, REAL picked, REAL margin, REAL *dx,    \
                        REAL *count);                                                              \
        /* softmax of at most `lanes` rows, transposed: csrc/simd/fm_lanes.body.h */               \
        void (*softmax_lanes)(ptrdiff_t rows, ptrdiff_t n, const REAL *x, ptrdiff_t x_row,         \
                              REAL scale, REAL *t, REAL *high, REAL *log_total);                   \
        /* narrow layers with samples in the lanes: csrc/simd/fm_lanes.body.h */                   \
        void (*lane_product)(ptrdiff_t samples, ptrdiff_t rows, ptrdiff_t k_count, const REAL *a,  \
                             ptrdiff_t a_row, ptrdiff_t a_col, const REAL *x, ptrdiff_t x_row,     \
                             const REAL *init, REAL *y, ptrdiff_t y_row, int relu);                \
        void (*lane_sums)(ptrdiff_t samples, ptrdiff_t rows, ptrdiff_t columns, const REAL *x,     \
                          ptrdiff_t x_row, const REAL *y, ptrdiff_t y_row, REAL *g,                \
                          ptrdiff_t g_row);                                                        \
        void (*lane_softmax)(ptrdiff_t samples, ptrdiff_t n, const REAL *x, ptrdiff_t x_row,       \
                             REAL scale, REAL *p, ptrdiff_t p_row, REAL *high, REAL *best,         \
                             REAL *log_total);                                                     \
        int (*lane_cross_entropy)(ptrdiff_t samples, ptrdiff_t n, const REAL *x, ptrdiff_t x_row,  \
                                  const int64_t *labels, const int64_t *order, REAL scale,         \
                                  REAL *p, ptrdiff_t p_row, double *losses, int *correct);         \
        /* the maximum (NaN if any value is NaN), n >= 1 */                                        \
        REAL (*row_max)(ptrdiff_t n, const REAL *x);                                               \
        /* y[i] = exp(x[i] - shift); returns the sum. y may be x, or NULL for the sum only */      \
        REAL (*row_exp_sum)(ptrdiff_t n, const REAL *x, REAL shift, REAL *y);                      \
        /* y[i] = a * x[i] + b; y may be x */                                                      \
        void (*row_affine)(ptrdiff_t n, REAL a, const REAL *x, REAL b, REAL *y);                   \
        /* sum of x[i] * y[i] */                                                                   \
        REAL (*row_dot)(ptrdiff_t n, const REAL *x, const REAL *y);                                \
        /* sum of x[i] */                                                                          \
        REAL (*row_sum)(ptrdiff_t n, const REAL *x);                                               \
        /* dx[i] = y[i] * (dy[i] - shift) */                                                       \
        void (*row_softmax_backward)(ptrdiff_t n, const REAL *dy, const REAL *y, REAL shift,       \
                                     REAL *dx);                                                    \
        /* dx[i] = dy[i] - exp(y[i]) * total */                                                    \
        void (*row_log_softmax_backward)(ptrdiff_t n, const REAL *dy, const REAL *y, REAL total,   \
                                         REAL *dx);                                                \
        /* dropout and noise: csrc/simd/fm_random.body.h */                                        \
        void (*mask)(ptrdiff_t rows, ptrdiff_t n, const REAL *x, ptrdiff_t x_row, REAL *y,         \
                     ptrdiff_t y_row, uint64_t key, uint32_t row, uint32_t column,                 \
                     uint32_t threshold, REAL scale);                                              \
        void (*noise)(ptrdiff_t rows, ptrdiff_t n, const REAL *x, ptrdiff_t x_row, REAL *y,        \
                      ptrdiff_t y_row, uint64_t key, uint32_t row, uint32_t column,                \
                      double stddev);                                                              \
        /* normalization: csrc/simd/fm_norm.body.h */                                              \
        void (*column_moments)(ptrdiff_t rows, ptrdiff_t n, const REAL *x, ptrdiff_t x_row,        \
                               double *mean, double *squares);                                     \
        void (*column_products)(ptrdiff_t rows, ptrdiff_t n, const REAL *dy, ptrdiff_t dy_row,     \
                                const REAL *x, ptrdiff_t x_row, const double *mean, double *sum,   \
                                double *dot);                                                      \
        void (*standardize)(ptrdiff_t n, const REAL *x, const REAL *mean, const REAL *factor,      \
                            const REAL *offset, REAL *y);                                          \
        void (*standardize_backward)(ptrdiff_t n, const REAL *dy, const REAL *x, const REAL *mean, \
                                     const REAL *factor, const REAL *slope, const REAL *offset,    \
                                     REAL *dx);                                                    \
        void (*row_moments)(ptrdiff_t n, const REAL *x, double *to);                               \
        void (*row_standardize)(ptrdiff_t n, const REAL *x, REAL mean, REAL factor, REAL offset,   \
                                const REAL *gamma, const REAL *beta, REAL *y);                     \
        void (*row_products)(ptrdiff_t n, const REAL *dy, const REAL *x, REAL mean, REAL factor,   \
                             REAL offset, const REAL *gamma, double *to);                          \
        void (*row_standardize_backward)(ptrdiff_t n, const REAL *dy, const REAL *x, REAL mean,    \
                                         REAL factor, REAL offset, const REAL *gamma, REAL a,      \
                                         REAL b, REAL *dx);                                        \
        void (*row_accumulate)(ptrdiff_t n, const REAL *dy, const REAL *x, REAL mean, REAL factor, \
                               REAL offset, double *sum, double *dot);                             \
    } fm_table_##SUFFIX;

FM_DECLARE_TABLE(float, f32)
FM_DECLARE_TABLE(double, f64)

#endif
