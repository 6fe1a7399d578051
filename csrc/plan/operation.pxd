# What the operations of a plan share: Op, Run, the shares of threads, updates of parameters.
#
# An operation is a loop nest over raw pointers. Every thread calls it with its own number and the
# number of threads. It computes a share of the outputs, never a share of a sum, so results are the
# same bits for any number of threads.
#
# Rows of samples lie `_row` elements apart. Values between the end of a row and the next row are
# zero or meaningless. Weights are in panels (P, I, width), where `width` is two vectors. Panel p
# contains the outputs from p * width on; outputs beyond O are zero.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from dispatch cimport FM_MAX_COEFFICIENTS, FM_STORE_SET, fm_f32, fm_f64, real
from loops.matmul cimport lanes_of, store_sums
from loops.window cimport Window

cdef extern from "fm_team.h" nogil:
    ctypedef struct fm_flag:
        long long value
    void fm_flag_set(fm_flag *, long long)
    long long fm_flag_get(const fm_flag *)

cdef enum:
    CHUNK_ROWS = 48            # rows of a weight whose gradient or sums wait in L1
    NO_ACTIVATION = -1
    SOFTMAX = -2
    # Rules that update nothing: they write the gradient of w to s0 and the gradient of b to bs0.
    STORE_GRADIENT = -1        # as users see it, (I, O) for a weight in panels
    KEEP_GRADIENT = -2         # in the order in which the parameter lies in memory
    LIMIT = 7                  # index of the coefficient that holds the limit of clipping


# The state of a batch. Every thread has its own Run.
cdef struct Run:
    Py_ssize_t rows             # samples of this batch
    Py_ssize_t first            # position of the first sample in the call
    uint64_t step               # number of the step, counted from the creation of the network
    bint again                  # the samples are the same as in the step before
    const char *x               # the batch, for operations whose x is NULL
    Py_ssize_t x_row
    const char *source          # samples of the call, contiguous
    const int64_t *order        # order of the samples; NULL: as in memory
    const int64_t *labels       # of all samples of the call, as in memory; if NULL:
    const char *targets         # of all samples of the call (N, O)
    const double *coefficients  # of the optimizer, in this step
    const double *weights       # of all samples of the call, as in memory; NULL: 1
    double weight               # sum of weights over the batch, the divisor of its loss
    double *losses              # (rows,) contribution of each sample to the loss of the batch
    int *correct                # (rows,) correct answers of each sample
    bint counts                 # whether to fill `correct`
    char *out                   # predictions (N, O)
    fm_flag *bad                # set to 1 if a loss is not finite


cdef struct Op


# A function takes (op, run, thread, threads, scratch) and computes the share of one thread. Every
# thread has its own scratch memory.
ctypedef void (*operation_f32)(const Op *, Run *, int, int, float *) noexcept nogil
ctypedef void (*operation_f64)(const Op *, Run *, int, int, double *) noexcept nogil


# One operation. Its function determines which members are used.
cdef struct Op:
    operation_f32 f32           # NULL in a plan of float64
    operation_f64 f64           # NULL in a plan of float32
    int python                  # number of the Python function to call instead, or -1
    int threads                 # maximum number of threads that share it
    bint barrier                # all threads wait for each other after it
    bint checks                 # the loss is known after it: the run may stop here
    Py_ssize_t inputs, outputs  # I, O
    bint by_rows                # threads divide the rows of samples, not the outputs
    const char *x
    Py_ssize_t x_row
    char *y
    Py_ssize_t y_row
    char *z                     # values before the activation; equal to y if it runs in place
    Py_ssize_t z_row
    char *w
    char *b
    char *dy
    Py_ssize_t dy_row
    char *dyt                   # dy transposed (O, samples); zero rows complete the last panel
    Py_ssize_t dyt_row
    char *dx
    Py_ssize_t dx_row
    char *dxt
    Py_ssize_t dxt_row
    const char *saved           # input of the derivative of the activation
    Py_ssize_t saved_row
    int activation
    double parameter
    int loss                    # an elementwise loss: enum fm_loss
    char *class_weight          # (O,) of a loss; NULL: 1
    int rule                    # how weights are updated: enum fm_update, or a rule from above
    double multiplier           # of the learning rate
    double l1, l2               # the penalty l1 sum |w| + l2 sum w^2, a part of the loss
    double *sums                # sums of squares of parts of a gradient, or penalties
    bint clamps                 # clips every value of a gradient to the coefficient LIMIT
    char *s0                    # optimizer state of w, or its stored gradient (I, O)
    char *s1
    char *bs0                   # the same of b
    char *bs1
    bint bytes                  # the source holds uint8
    double scale                # of the source, or of noise
    Window window               # of a convolution or a pooling layer
    Window pool                 # of a max-pool that follows a convolution; height 0: no pool
    char *index                 # place of each maximum in its window: a byte or int32
    Py_ssize_t index_row        # in values of the plan's dtype
    char *filters               # transposed (F, kh, segment): loops/convolution.pxd
    Py_ssize_t filters_row
    char *parts                 # gradients of filters and biases, one part per chunk of samples
    Py_ssize_t parts_row
    int chunks                  # maximum number of chunks
    uint64_t key                # of the random stream of the layer
    uint32_t threshold          # a value is dropped if its random word is below
    double keep_scale           # factor of the values that are kept; 0: there is no mask
    char *masked                # y times its mask; may be y
    Py_ssize_t masked_row
    double epsilon              # added to a variance
    double momentum             # share of the running statistics that each step keeps
    double *statistics          # of a normalization: see plan/normalization.pxd
    double *partial             # sums that the next operation adds up
    char *running_mean
    char *running_variance
    int index_bytes             # bytes of an integer in the samples of an embedding
    bint sums_rows              # the output is the sum of the rows that a sample names
    Py_ssize_t vocabulary       # rows of w
    char *row_gradients         # of w
    signed char *marks          # (vocabulary,) whether a row has a gradient in this step
    char *lists                 # of x, one per tile of samples (simd/fm_nonzeros.body.h), or NULL
    Py_ssize_t lists_row        # distance of two lists, in values
    bint listed                 # the update makes lists of x itself


cdef inline Py_ssize_t cut(Py_ssize_t count, int thread, int threads) noexcept nogil:
    """Return the start of the share of a thread."""
    return count * thread // threads


cdef extern from * nogil:
    """
    /* A load whose result is unused. A prefetch is no substitute: processors drop prefetches that
     * miss the TLB. */
    #define fm_touch(address) ((void)*(const volatile char *)(address))
    """
    void fm_touch(const void *address)


cdef inline Py_ssize_t sample_of(const Run *run, Py_ssize_t i) noexcept nogil:
    """Return the index of row i of the batch among the samples of the call."""
    return run.order[run.first + i] if run.order != NULL else run.first + i


cdef inline Py_ssize_t row_cut(Py_ssize_t rows, int thread, int threads) noexcept nogil:
    """Return the start of the share of a thread in rows of samples, a multiple of eight."""
    return min(rows, cut((rows + 7) // 8, thread, threads) * 8)


cdef inline void apply(
    int function, Py_ssize_t n, const real *x, real *y, double parameter
) noexcept nogil:
    if real is float:
        fm_f32.unary[function](n, x, y, <float>parameter)
    else:
        fm_f64.unary[function](n, x, y, parameter)


cdef inline void apply_backward(
    int function, Py_ssize_t n, const real *dy, const real *saved, real *dx, double parameter
) noexcept nogil:
    if real is float:
        fm_f32.backward[function](n, dy, saved, dx, <float>parameter)
    else:
        fm_f64.backward[function](n, dy, saved, dx, parameter)


cdef inline void update(
    int rule, Py_ssize_t n, const real *g, real *w, real *s0, real *s1, const double *p
) noexcept nogil:
    if real is float:
        fm_f32.update[rule](n, g, w, s0, s1, p)
    else:
        fm_f64.update[rule](n, g, w, s0, s1, p)


cdef inline double sum_squares(Py_ssize_t n, const real *x) noexcept nogil:
    if real is float:
        return fm_f32.sum_squares(n, x)
    else:
        return fm_f64.sum_squares(n, x)


cdef inline const double *coefficients_of(
    const Op *op, const Run *run, double *own
) noexcept nogil:
    """Return the coefficients of this step for the parameters of op.

    own has room for FM_MAX_COEFFICIENTS numbers, for the case that they have to be scaled.
    """
    if op.multiplier == 1:
        return run.coefficients
    memcpy(own, run.coefficients, FM_MAX_COEFFICIENTS * sizeof(double))
    own[0] *= op.multiplier
    own[5] *= op.multiplier  # a learning rate in ADAM and ADAMW, unused in other rules
    return own


cdef inline void penalize(const Op *op, Py_ssize_t n, const real *w, real *g) noexcept nogil:
    """Add the gradient of the penalty of n values of w to g."""
    if op.l1 == 0 and op.l2 == 0:
        return
    if real is float:
        fm_f32.penalize(n, <float>op.l1, <float>(2 * op.l2), w, g)
    else:
        fm_f64.penalize(n, op.l1, 2 * op.l2, w, g)


cdef inline void apply_gradient(
    const Op *op, const Run *run, bint bias, Py_ssize_t at, Py_ssize_t n, real *g
) noexcept nogil:
    """Apply op.rule to a part of a gradient: update the values at .. at + n, or store the part.

    The values belong to b if `bias`, else to w, in the order in which they lie in memory. g is the
    gradient of the loss without penalties and may be overwritten.
    """
    cdef real *w = <real *>(op.b if bias else op.w)
    cdef real *s0 = <real *>(op.bs0 if bias else op.s0)
    cdef real *s1 = <real *>(op.bs1 if bias else op.s1)
    cdef double own[FM_MAX_COEFFICIENTS]
    if not bias:
        penalize(op, n, w + at, g)
    if op.rule < 0:
        memcpy(s0 + at, g, n * sizeof(real))
        return
    if op.clamps:
        if real is float:
            fm_f32.clamp(n, <float>run.coefficients[LIMIT], g, g)
        else:
            fm_f64.clamp(n, run.coefficients[LIMIT], g, g)
    update(op.rule, n, g, w + at, s0 + at if s0 != NULL else NULL,
           s1 + at if s1 != NULL else NULL, coefficients_of(op, run, own))


cdef inline void apply_panel_gradient(
    const Op *op, const Run *run, Py_ssize_t p, Py_ssize_t k, Py_ssize_t rows, real *g
) noexcept nogil:
    """Apply op.rule to rows k .. k + rows of panel p; a stored gradient is in the order (I, O)."""
    cdef Py_ssize_t width = 2 * lanes_of(g)
    if op.rule == STORE_GRADIENT:
        penalize(op, rows * width, <const real *>op.w + (p * op.inputs + k) * width, g)
        store_sums(rows, min(width, op.outputs - p * width), g, width,
                   <real *>op.s0 + k * op.outputs + p * width, op.outputs, 1, <real>1,
                   FM_STORE_SET)
    else:
        apply_gradient(op, run, False, (p * op.inputs + k) * width, rows * width, g)
