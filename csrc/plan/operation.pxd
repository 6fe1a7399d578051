# The operations of a plan: loop nests over raw pointers, each told which thread of how many it is.
#
# A thread computes its share of an operation's outputs, never of a sum, so results are the same
# bits for any number of threads. Rows of samples lie `_row` elements apart; what lies between the
# end of a row and the next is zero or of no meaning. Weights are in panels (P, I, width): panel p
# has outputs p * width and on, those beyond O are zero. `width` is two vectors.

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
    # Rules that write gradients and update nothing, w's gradient to s0 and b's to bs0:
    STORE_GRADIENT = -1        # as users see it, (I, O) for a weight in panels
    KEEP_GRADIENT = -2         # in the order in which the parameter lies in memory
    LIMIT = 7                  # the coefficient that gradients are clipped to


# What changes from one batch to the next; every thread has its own.
cdef struct Run:
    Py_ssize_t rows             # samples of this batch
    Py_ssize_t first            # position of the first among those of the call
    uint64_t step               # number of the step in the life of the network
    bint again                  # the same samples as in the step before
    const char *x               # the batch, for operations with no x of their own
    Py_ssize_t x_row
    const char *source          # samples of the call, one after the other
    const int64_t *order        # their order; NULL: as they come
    const int64_t *labels       # of the whole call, in its own order; or NULL and
    const char *targets         # targets (N, O)
    const double *coefficients  # of the optimizer, in this step
    const double *weights       # of the samples of the call, in its own order; NULL: 1
    double weight               # sum over the batch: what the sum of its losses is divided by
    double *losses              # (rows,) what each sample adds to the loss of the batch
    int *correct                # (rows,) how many of its answers are right
    bint counts                 # whether `correct` is wanted
    char *out                   # where predictions go, (N, O)
    fm_flag *bad                # set where a loss is not finite


cdef struct Op


# What computes the share of thread `thread` of `threads`, with scratch memory for itself.
ctypedef void (*operation_f32)(const Op *, Run *, int, int, float *) noexcept nogil
ctypedef void (*operation_f64)(const Op *, Run *, int, int, double *) noexcept nogil


# One operation. Which members mean something depends on its function.
cdef struct Op:
    operation_f32 f32           # NULL in a plan of float64
    operation_f64 f64           # NULL in a plan of float32
    int python                  # number of the Python function in place of these, or -1
    int threads                 # how many share it, at most
    bint barrier                # all threads meet after it
    bint checks                 # the loss is known after it: stop where it is bad
    Py_ssize_t inputs, outputs  # I, O
    bint by_rows                # threads share the rows of samples, not the outputs
    const char *x
    Py_ssize_t x_row
    char *y
    Py_ssize_t y_row
    char *z                     # before the activation; y where it works in place
    Py_ssize_t z_row
    char *w
    char *b
    char *dy
    Py_ssize_t dy_row
    char *dyt                   # dy transposed (O, samples); rows up to a whole panel, zero
    Py_ssize_t dyt_row
    char *dx
    Py_ssize_t dx_row
    char *dxt
    Py_ssize_t dxt_row
    const char *saved           # what the activation's derivative is computed from
    Py_ssize_t saved_row
    int activation
    double parameter
    int loss                    # of single values: enum fm_loss
    char *class_weight          # of a loss (O,); NULL: 1
    int rule                    # how weights are updated: enum fm_update, or one of the above
    double multiplier           # of the learning rate
    double l1, l2               # the penalty l1 sum |w| + l2 sum w^2, part of the loss
    double *sums                # of squares of parts of a gradient, for its norm; or of penalties
    bint clamps                 # every value of a gradient, to the coefficient LIMIT
    char *s0                    # optimizer state of w, or the gradient to be stored (I, O)
    char *s1
    char *bs0                   # and of b
    char *bs1
    bint bytes                  # the source holds uint8
    double scale                # of the source, or of noise
    Window window               # of a convolution or a pooling layer
    Window pool                 # of the max-pool that follows a convolution; no height: none
    char *index                 # where each maximum came from, a byte or int32
    Py_ssize_t index_row        # in values of the plan's dtype
    char *filters               # transposed (F, kh, segment): loops/convolution.pxd
    Py_ssize_t filters_row
    char *parts                 # their gradients and the biases', from each chunk of samples
    Py_ssize_t parts_row
    int chunks                  # at most
    uint64_t key                # of what is drawn in every step
    uint32_t threshold          # words below it mean that a value is dropped
    double keep_scale           # of the others; 0: there is no mask
    char *masked                # y with its mask; perhaps y itself
    Py_ssize_t masked_row
    double epsilon              # added to a variance
    double momentum             # what stays of running statistics
    double *statistics          # of a normalisation
    double *partial             # sums that the next operation adds up
    char *running_mean
    char *running_variance
    int index_bytes             # of an integer of the samples, in an embedding
    bint sums_rows              # its output is the sum of the rows they name
    Py_ssize_t vocabulary       # rows of w
    char *row_gradients         # of w
    signed char *marks          # (vocabulary,) whether a row has a gradient in this step
    char *lists                 # of x, by tiles of samples: csrc/simd/fm_nonzeros.body.h; or NULL
    Py_ssize_t lists_row        # a list and the next, in values
    bint listed                 # an update makes such lists of x for itself


cdef inline Py_ssize_t cut(Py_ssize_t count, int thread, int threads) noexcept nogil:
    """Where the share of a thread begins."""
    return count * thread // threads


cdef extern from * nogil:
    """
    /* A load that nobody waits for. Not a prefetch: processors drop those that miss the TLB too. */
    #define fm_touch(address) ((void)*(const volatile char *)(address))
    """
    void fm_touch(const void *address)


cdef inline Py_ssize_t sample_of(const Run *run, Py_ssize_t i) noexcept nogil:
    """Where row i of the batch is among the samples of the call."""
    return run.order[run.first + i] if run.order != NULL else run.first + i


cdef inline Py_ssize_t row_cut(Py_ssize_t rows, int thread, int threads) noexcept nogil:
    """The same for rows of samples, in whole lines of eight."""
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
    """The coefficients of this step for the parameters of op; own: room for FM_MAX_COEFFICIENTS."""
    if op.multiplier == 1:
        return run.coefficients
    memcpy(own, run.coefficients, FM_MAX_COEFFICIENTS * sizeof(double))
    own[0] *= op.multiplier
    own[5] *= op.multiplier  # of ADAM and ADAMW, a learning rate too
    return own


cdef inline void penalize(const Op *op, Py_ssize_t n, const real *w, real *g) noexcept nogil:
    """Add the gradient of the penalty of n values of w to theirs."""
    if op.l1 == 0 and op.l2 == 0:
        return
    if real is float:
        fm_f32.penalize(n, <float>op.l1, <float>(2 * op.l2), w, g)
    else:
        fm_f64.penalize(n, op.l1, 2 * op.l2, w, g)


cdef inline void apply_gradient(
    const Op *op, const Run *run, bint bias, Py_ssize_t at, Py_ssize_t n, real *g
) noexcept nogil:
    """Do with part of a gradient what op.rule says: update the values at .. at + n, or store it.

    Of w, or of b if `bias`, in the order in which the parameter lies in memory. g, the gradient
    of the loss without penalties, may be overwritten.
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
    """The same as apply_gradient, of rows k .. k + rows of panel p; stored as users see them."""
    cdef Py_ssize_t width = 2 * lanes_of(g)
    if op.rule == STORE_GRADIENT:
        penalize(op, rows * width, <const real *>op.w + (p * op.inputs + k) * width, g)
        store_sums(rows, min(width, op.outputs - p * width), g, width,
                   <real *>op.s0 + k * op.outputs + p * width, op.outputs, 1, <real>1,
                   FM_STORE_SET)
    else:
        apply_gradient(op, run, False, (p * op.inputs + k) * width, rows * width, g)
