# The function tables as Cython sees them. A module calls import_tables() once, at its import. Then
# fm_f32 and fm_f64 are the tables of the chosen instruction set, and a call costs one indirection.
# `real` is the fused type of the whole package.

from libc.stdint cimport uint32_t, uint64_t

from cpython.pycapsule cimport PyCapsule_GetPointer
from cpython.unicode cimport PyUnicode_FromString
from libc.stdint cimport int32_t, int64_t

ctypedef fused real:
    float
    double

cdef extern from "fm_table.h" nogil:
    enum:
        # Names that loops handle specially. numbers_of gives all names to Python.
        FM_LOG, FM_RELU, FM_SGD, FM_ADAGRAD, FM_BINARY_CROSS_ENTROPY
        FM_UNARY_COUNT, FM_ACTIVATION_COUNT, FM_UPDATE_COUNT, FM_LOSS_COUNT
        FM_MAX_COEFFICIENTS
        FM_STORE_SET, FM_STORE_ADD, FM_STORE_RELU
        FM_MAX_LANES, FM_MAX_TILE_ROWS, FM_MAX_TILE_VECTORS, FM_MAX_SPARSE, FM_LIST_ROWS
    const char *const *fm_unary_names
    const char *const *fm_update_names
    const char *const *fm_loss_names
    ctypedef void (*fm_strip_f32)(
        Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t,
        Py_ssize_t, const float *, Py_ssize_t, float *, Py_ssize_t, float, int,
        float *) noexcept nogil
    ctypedef void (*fm_sweep_f32)(
        Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, const float *, Py_ssize_t, float *,
        Py_ssize_t) noexcept nogil
    ctypedef struct fm_column_f32:
        Py_ssize_t tiles, blocks, k_count
        const float *a
        Py_ssize_t a_row, a_col, a_block, a_tile
        const float *b
        Py_ssize_t b_row
        const float *init
        Py_ssize_t init_row
        float *c
        Py_ssize_t c_row
        float alpha
        int store
    ctypedef struct fm_listed_f32:
        Py_ssize_t rows, most
        const float *lists
        Py_ssize_t list_step
        const float *b
        const float *init
        Py_ssize_t init_row
        float *c
        Py_ssize_t c_row
        float alpha
        int store
    ctypedef struct fm_table_f32:
        int lanes
        int tile_rows[4]
        fm_strip_f32 strip[4][25]
        fm_strip_f32 packing_strip[25]
        fm_sweep_f32 sweep[2][25]
        void (*column[3][25])(const fm_column_f32 *) noexcept nogil
        void (*update_column[3][25])(const fm_column_f32 *) noexcept nogil
        void (*listed_column[3])(const fm_listed_f32 *) noexcept nogil
        void (*listed_strip)(const fm_listed_f32 *, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*list_rows)(Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, int32_t,
                          float *) noexcept nogil
        void (*list_columns)(Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, int32_t,
                             float *) noexcept nogil
        void (*row_product)(Py_ssize_t, Py_ssize_t, const float *, const float *, Py_ssize_t,
                            const float *, float *, int) noexcept nogil
        void (*store_sums)(Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, float *, Py_ssize_t,
                           Py_ssize_t, float, int) noexcept nogil
        float (*multiply_adds)(Py_ssize_t) noexcept nogil
        void (*pack_transposed)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *,
                                Py_ssize_t, float *) noexcept nogil
        void (*pack_rows)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t,
                          float *) noexcept nogil
        void (*pack_columns)(Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t,
                             float *) noexcept nogil
        void (*unary[FM_UNARY_COUNT])(Py_ssize_t, const float *, float *, float) noexcept nogil
        void (*backward[FM_ACTIVATION_COUNT])(Py_ssize_t, const float *, const float *, float *,
                                              float) noexcept nogil
        void (*update[FM_UPDATE_COUNT])(Py_ssize_t, const float *, float *, float *,
                                        float *, const double *) noexcept nogil
        void (*penalize)(Py_ssize_t, float, float, const float *, float *) noexcept nogil
        void (*clamp)(Py_ssize_t, float, const float *, float *) noexcept nogil
        double (*sum_squares)(Py_ssize_t, const float *) noexcept nogil
        double (*sum_magnitudes)(Py_ssize_t, const float *) noexcept nogil
        void (*axpy)(Py_ssize_t, float, const float *, float *) noexcept nogil
        void (*add)(Py_ssize_t, const float *, const float *, float *) noexcept nogil
        void (*sparse_rows[13][13])(Py_ssize_t, const float *, const int32_t *, Py_ssize_t,
                                    const float *, Py_ssize_t, float *, Py_ssize_t) noexcept nogil
        Py_ssize_t (*nonzero)(Py_ssize_t, const float *, float *, int32_t *) noexcept nogil
        void (*max_pool)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, Py_ssize_t,
                         float *, void *) noexcept nogil
        double (*loss[FM_LOSS_COUNT])(Py_ssize_t, float, float, const float *,
                                      const float *, float *) noexcept nogil
        double (*hinge)(Py_ssize_t, float, const float *, float, float, float *,
                        float *) noexcept nogil
        void (*softmax_lanes)(Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, float, float *,
                              float *, float *) noexcept nogil
        void (*lane_product)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t,
                             Py_ssize_t, const float *, Py_ssize_t, const float *, float *,
                             Py_ssize_t, int) noexcept nogil
        void (*lane_sums)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t,
                          const float *, Py_ssize_t, float *, Py_ssize_t) noexcept nogil
        void (*lane_softmax)(Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, float, float *,
                             Py_ssize_t, float *, float *, float *) noexcept nogil
        bint (*lane_cross_entropy)(Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t,
                                   const int64_t *, const int64_t *, float, float *, Py_ssize_t,
                                   double *, int *) noexcept nogil
        float (*row_max)(Py_ssize_t, const float *) noexcept nogil
        float (*row_exp_sum)(Py_ssize_t, const float *, float, float *) noexcept nogil
        void (*row_affine)(Py_ssize_t, float, const float *, float, float *) noexcept nogil
        float (*row_dot)(Py_ssize_t, const float *, const float *) noexcept nogil
        float (*row_sum)(Py_ssize_t, const float *) noexcept nogil
        void (*row_softmax_backward)(Py_ssize_t, const float *, const float *, float,
                                     float *) noexcept nogil
        void (*row_log_softmax_backward)(Py_ssize_t, const float *, const float *, float,
                                         float *) noexcept nogil
        void (*mask)(Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, float *, Py_ssize_t,
                     uint64_t, uint32_t, uint32_t, uint32_t, float) noexcept nogil
        void (*noise)(Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, float *, Py_ssize_t,
                      uint64_t, uint32_t, uint32_t, double) noexcept nogil
        void (*column_moments)(Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, double *,
                               double *) noexcept nogil
        void (*column_products)(Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t, const float *,
                                Py_ssize_t, const double *, double *, double *) noexcept nogil
        void (*standardize)(Py_ssize_t, const float *, const float *, const float *,
                            const float *, float *) noexcept nogil
        void (*standardize_backward)(Py_ssize_t, const float *, const float *, const float *,
                                     const float *, const float *, const float *,
                                     float *) noexcept nogil
        void (*row_moments)(Py_ssize_t, const float *, double *) noexcept nogil
        void (*row_standardize)(Py_ssize_t, const float *, float, float, float, const float *,
                                const float *, float *) noexcept nogil
        void (*row_products)(Py_ssize_t, const float *, const float *, float, float, float,
                             const float *, double *) noexcept nogil
        void (*row_standardize_backward)(Py_ssize_t, const float *, const float *, float, float,
                                         float, const float *, float, float,
                                         float *) noexcept nogil
        void (*row_accumulate)(Py_ssize_t, const float *, const float *, float, float, float,
                               double *, double *) noexcept nogil
    ctypedef void (*fm_strip_f64)(
        Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t,
        Py_ssize_t, const double *, Py_ssize_t, double *, Py_ssize_t, double, int,
        double *) noexcept nogil
    ctypedef void (*fm_sweep_f64)(
        Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, const double *, Py_ssize_t, double *,
        Py_ssize_t) noexcept nogil
    ctypedef struct fm_column_f64:
        Py_ssize_t tiles, blocks, k_count
        const double *a
        Py_ssize_t a_row, a_col, a_block, a_tile
        const double *b
        Py_ssize_t b_row
        const double *init
        Py_ssize_t init_row
        double *c
        Py_ssize_t c_row
        double alpha
        int store
    ctypedef struct fm_listed_f64:
        Py_ssize_t rows, most
        const double *lists
        Py_ssize_t list_step
        const double *b
        const double *init
        Py_ssize_t init_row
        double *c
        Py_ssize_t c_row
        double alpha
        int store
    ctypedef struct fm_table_f64:
        int lanes
        int tile_rows[4]
        fm_strip_f64 strip[4][25]
        fm_strip_f64 packing_strip[25]
        fm_sweep_f64 sweep[2][25]
        void (*column[3][25])(const fm_column_f64 *) noexcept nogil
        void (*update_column[3][25])(const fm_column_f64 *) noexcept nogil
        void (*listed_column[3])(const fm_listed_f64 *) noexcept nogil
        void (*listed_strip)(const fm_listed_f64 *, Py_ssize_t, Py_ssize_t) noexcept nogil
        void (*list_rows)(Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, int32_t,
                          double *) noexcept nogil
        void (*list_columns)(Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, int32_t,
                             double *) noexcept nogil
        void (*row_product)(Py_ssize_t, Py_ssize_t, const double *, const double *, Py_ssize_t,
                            const double *, double *, int) noexcept nogil
        void (*store_sums)(Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, double *, Py_ssize_t,
                           Py_ssize_t, double, int) noexcept nogil
        double (*multiply_adds)(Py_ssize_t) noexcept nogil
        void (*pack_transposed)(Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *,
                                Py_ssize_t, double *) noexcept nogil
        void (*pack_rows)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t,
                          double *) noexcept nogil
        void (*pack_columns)(Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t,
                             double *) noexcept nogil
        void (*unary[FM_UNARY_COUNT])(Py_ssize_t, const double *, double *, double) noexcept nogil
        void (*backward[FM_ACTIVATION_COUNT])(Py_ssize_t, const double *, const double *, double *,
                                              double) noexcept nogil
        void (*update[FM_UPDATE_COUNT])(Py_ssize_t, const double *, double *, double *,
                                        double *, const double *) noexcept nogil
        void (*penalize)(Py_ssize_t, double, double, const double *, double *) noexcept nogil
        void (*clamp)(Py_ssize_t, double, const double *, double *) noexcept nogil
        double (*sum_squares)(Py_ssize_t, const double *) noexcept nogil
        double (*sum_magnitudes)(Py_ssize_t, const double *) noexcept nogil
        void (*axpy)(Py_ssize_t, double, const double *, double *) noexcept nogil
        void (*add)(Py_ssize_t, const double *, const double *, double *) noexcept nogil
        void (*sparse_rows[13][13])(Py_ssize_t, const double *, const int32_t *, Py_ssize_t,
                                    const double *, Py_ssize_t, double *, Py_ssize_t) noexcept nogil
        Py_ssize_t (*nonzero)(Py_ssize_t, const double *, double *, int32_t *) noexcept nogil
        void (*max_pool)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, Py_ssize_t,
                         double *, void *) noexcept nogil
        double (*loss[FM_LOSS_COUNT])(Py_ssize_t, double, double, const double *,
                                      const double *, double *) noexcept nogil
        double (*hinge)(Py_ssize_t, double, const double *, double, double, double *,
                        double *) noexcept nogil
        void (*softmax_lanes)(Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, double, double *,
                              double *, double *) noexcept nogil
        void (*lane_product)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t,
                             Py_ssize_t, const double *, Py_ssize_t, const double *, double *,
                             Py_ssize_t, int) noexcept nogil
        void (*lane_sums)(Py_ssize_t, Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t,
                          const double *, Py_ssize_t, double *, Py_ssize_t) noexcept nogil
        void (*lane_softmax)(Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, double, double *,
                             Py_ssize_t, double *, double *, double *) noexcept nogil
        bint (*lane_cross_entropy)(Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t,
                                   const int64_t *, const int64_t *, double, double *, Py_ssize_t,
                                   double *, int *) noexcept nogil
        double (*row_max)(Py_ssize_t, const double *) noexcept nogil
        double (*row_exp_sum)(Py_ssize_t, const double *, double, double *) noexcept nogil
        void (*row_affine)(Py_ssize_t, double, const double *, double, double *) noexcept nogil
        double (*row_dot)(Py_ssize_t, const double *, const double *) noexcept nogil
        double (*row_sum)(Py_ssize_t, const double *) noexcept nogil
        void (*row_softmax_backward)(Py_ssize_t, const double *, const double *, double,
                                     double *) noexcept nogil
        void (*row_log_softmax_backward)(Py_ssize_t, const double *, const double *, double,
                                         double *) noexcept nogil
        void (*mask)(Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, double *, Py_ssize_t,
                     uint64_t, uint32_t, uint32_t, uint32_t, double) noexcept nogil
        void (*noise)(Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, double *, Py_ssize_t,
                      uint64_t, uint32_t, uint32_t, double) noexcept nogil
        void (*column_moments)(Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, double *,
                               double *) noexcept nogil
        void (*column_products)(Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t, const double *,
                                Py_ssize_t, const double *, double *, double *) noexcept nogil
        void (*standardize)(Py_ssize_t, const double *, const double *, const double *,
                            const double *, double *) noexcept nogil
        void (*standardize_backward)(Py_ssize_t, const double *, const double *, const double *,
                                     const double *, const double *, const double *,
                                     double *) noexcept nogil
        void (*row_moments)(Py_ssize_t, const double *, double *) noexcept nogil
        void (*row_standardize)(Py_ssize_t, const double *, double, double, double, const double *,
                                const double *, double *) noexcept nogil
        void (*row_products)(Py_ssize_t, const double *, const double *, double, double, double,
                             const double *, double *) noexcept nogil
        void (*row_standardize_backward)(Py_ssize_t, const double *, const double *, double, double,
                                         double, const double *, double, double,
                                         double *) noexcept nogil
        void (*row_accumulate)(Py_ssize_t, const double *, const double *, double, double, double,
                               double *, double *) noexcept nogil

cdef extern from *:
    """
    static const fm_table_f32 *fm_f32;
    static const fm_table_f64 *fm_f64;
    """
    const fm_table_f32 *fm_f32
    const fm_table_f64 *fm_f64


cdef inline int import_tables() except -1:
    """Get the tables that the module cpu chose at its import."""
    global fm_f32, fm_f64
    from fastmlp._compiled.cpu import tables

    fm_f32 = <const fm_table_f32 *>PyCapsule_GetPointer(tables[0], "fastmlp.table_f32")
    fm_f64 = <const fm_table_f64 *>PyCapsule_GetPointer(tables[1], "fastmlp.table_f64")
    return 0


cdef inline dict numbers_of(const char *const *names, int count):
    """Return {name: number} for the first `count` names of a list in fm_table.h."""
    cdef dict numbers = {}
    cdef int i
    for i in range(count):
        numbers[PyUnicode_FromString(names[i])] = i
    return numbers
