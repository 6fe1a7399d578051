# The operations of a plan: loop nests over raw pointers, each told which thread of how many it is.
#
# A thread computes its share of an operation's outputs, never of a sum, so results are the same
# bits for any number of threads. Rows of samples lie `_row` elements apart; what lies between the
# end of a row and the next is zero or of no meaning. Weights are in panels (P, I, width): panel p
# has outputs p * width and on, those beyond O are zero. `width` is two vectors.

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from loops.column cimport column, pack_tiles
from dispatch cimport (
    FM_LIST_ROWS, FM_MAX_COEFFICIENTS, FM_RELU, FM_SGD, FM_STORE_ADD, FM_STORE_RELU, FM_STORE_SET,
    fm_f32, fm_f64, real,
)
from loops.nonzeros cimport add_listed, list_block, list_size, listed_column, make_lists
from loops.dropout cimport fm_counter_key, mask_rows
from loops.matmul cimport even_block, lanes_of, pack_panel, store_sums, tile_rows_of
from loops.normalization cimport standardize
from loops.rows cimport row_affine, softmax_backward_rows, softmax_rows
from loops.window cimport Window

cdef extern from "fm_team.h" nogil:
    ctypedef struct fm_flag:
        long long value
    void fm_flag_set(fm_flag *, long long)
    long long fm_flag_get(const fm_flag *)

cdef enum:
    CHUNK_ROWS = 48            # rows of a weight whose gradient or sums wait in L1
    MANY_SAMPLES = 64          # from so many on a weight's update packs its input
    BLOCK_BYTES = 256 * 1024   # of a dense layer's input, at a time: half of a 512 KiB L2
    BACKWARD_BLOCK = 128       # outputs whose gradients pass at a time, on their way to the inputs
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


# One operation. Which members mean something depends on its function.
cdef struct Op:
    void (*f32)(const Op *, Run *, int, int, float *) noexcept nogil
    void (*f64)(const Op *, Run *, int, int, double *) noexcept nogil
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
    char *filters               # transposed (F, kh, segment): convolution.pxd
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


cdef inline bint is_plain_step(const Op *op, const Run *run) noexcept nogil:
    """Whether w loses a multiple of its gradient and no more: it may be subtracted when summed."""
    return op.rule == FM_SGD and run.coefficients[1] == 0 and op.l1 == 0 and op.l2 == 0 \
        and not op.clamps


cdef inline void mask_block(
    const Op *op, const Run *run, Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t x_row,
    real *y, Py_ssize_t y_row, Py_ssize_t row, Py_ssize_t at,
) noexcept nogil:
    """y (rows, n) = x with the mask of the operation, from row `row`, column `at` of the batch."""
    mask_rows(rows, n, x, x_row, y, y_row, fm_counter_key(op.key, run.step), row, at,
              op.threshold, op.keep_scale)


# --- The two ends of a pass ---------------------------------------------------------------------


cdef inline void gather(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """x (rows, I) = the samples of this batch, converted and scaled; (x - s0) * w + b if w is."""
    cdef Py_ssize_t i, j, row, n = op.inputs
    cdef real scale = <real>op.scale
    cdef real *to
    cdef const unsigned char *values
    cdef const real *source = <const real *>run.source
    for i in range(row_cut(run.rows, thread, threads), row_cut(run.rows, thread + 1, threads)):
        row = sample_of(run, i)
        to = <real *>op.y + i * op.y_row
        if op.bytes:
            values = <const unsigned char *>run.source + row * n
            for j in range(n):
                to[j] = <real>values[j] * scale
        elif op.scale != 1:
            row_affine(n, scale, source + row * n, <real>0, to)
        else:
            memcpy(to, source + row * n, n * sizeof(real))
        if op.w != NULL:
            standardize(n, to, <const real *>op.s0, <const real *>op.w, <const real *>op.b, to)


cdef inline void output(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """Copy the outputs (rows, O) to where the caller wants them."""
    cdef Py_ssize_t i, n = op.inputs
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    for i in range(row_cut(run.rows, thread, threads), row_cut(run.rows, thread + 1, threads)):
        memcpy(<real *>run.out + (run.first + i) * n, x + i * x_row, n * sizeof(real))


cdef inline void nonzeros(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """The lists of x (rows, I), without what is zero in all samples of a tile."""
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t begin = row_cut(run.rows, thread, threads)
    cdef Py_ssize_t end = row_cut(run.rows, thread + 1, threads)
    cdef Py_ssize_t block = list_block(op.inputs)
    cdef Py_ssize_t k = 0
    cdef real *lists = <real *>op.lists + begin // FM_LIST_ROWS * op.lists_row
    while k < op.inputs:
        make_lists(False, end - begin, min(block, op.inputs - k), x + begin * x_row + k, x_row,
                   2 * lanes_of(x), lists, op.lists_row)
        lists += list_size(block, x)
        k += block


# --- Dense --------------------------------------------------------------------------------------


cdef inline void listed_block(
    const Op *op, int vectors, Py_ssize_t rows, const real *lists, const real *w,
    const real *bias, real *z, int store,
) noexcept nogil:
    # The product of dense_block by the lists of x. The sums of a block of inputs go on from those
    # of the one before.
    cdef Py_ssize_t width = 2 * lanes_of(w)
    cdef Py_ssize_t block = list_block(op.inputs)
    cdef Py_ssize_t k = 0, count
    while True:
        count = min(block, op.inputs - k)
        listed_column(vectors, rows, count, lists, op.lists_row, w + k * width,
                      bias if k == 0 else z, 0 if k == 0 else op.z_row, z, op.z_row, <real>1,
                      store if k + count == op.inputs else FM_STORE_SET)
        lists += list_size(block, w)
        k += count
        if k == op.inputs:
            return


cdef inline void dense_block(
    const Op *op, const Run *run, Py_ssize_t p, Py_ssize_t rows, const real *x, Py_ssize_t x_row,
    Py_ssize_t first,
) noexcept nogil:
    # One panel of outputs of `rows` samples from number `first` on, where a tile begins.
    cdef Py_ssize_t lanes = lanes_of(x)
    cdef Py_ssize_t width = 2 * lanes
    cdef Py_ssize_t count = min(width, op.outputs - p * width)
    cdef real *z = <real *>op.z + first * op.z_row + p * width
    cdef real *y
    cdef const real *w = <const real *>op.w + p * op.inputs * width
    cdef const real *bias = NULL
    cdef int vectors = 1 if count <= lanes else 2
    cdef Py_ssize_t i
    cdef bint relu = op.activation == FM_RELU
    cdef int store = FM_STORE_RELU if relu else FM_STORE_SET
    if op.b != NULL:
        bias = <const real *>op.b + p * width
    if op.lists != NULL:
        listed_block(op, vectors, rows,
                     <const real *>op.lists + first // FM_LIST_ROWS * op.lists_row, w, bias, z,
                     store)
    else:
        column(False, vectors, rows, 1, op.inputs, x + first * x_row, x_row, 1, 0, w, width, bias,
               0, z, op.z_row, <real>1, store)
    y = <real *>op.y + first * op.y_row + p * width
    if op.activation >= 0 and not relu:
        if op.outputs <= op.y_row <= width and op.z_row == op.y_row:
            # Narrow rows, one after the other: the zeros behind them cost less than the calls.
            apply(op.activation, rows * op.y_row, z, y, op.parameter)
        else:
            for i in range(rows):
                apply(op.activation, count, z + i * op.z_row, y + i * op.y_row, op.parameter)
    if op.keep_scale != 0:
        mask_block(op, run, rows, count, y, op.y_row,
                   <real *>op.masked + first * op.masked_row + p * width, op.masked_row, first,
                   p * width)


cdef inline void dense_row(
    const Op *op, const Run *run, Py_ssize_t p, Py_ssize_t end, const real *x
) noexcept nogil:
    # Panels p .. end of the outputs of one sample.
    cdef Py_ssize_t width = 2 * lanes_of(x)
    cdef Py_ssize_t at = p * width
    cdef Py_ssize_t count = min(end * width, op.outputs) - at
    cdef bint relu = op.activation == FM_RELU
    cdef int store = FM_STORE_RELU if relu else FM_STORE_SET
    cdef const real *w = <const real *>op.w + at * op.inputs
    cdef const real *bias = NULL
    if p >= end:
        return
    if op.b != NULL:
        bias = <const real *>op.b + at
    if real is float:
        fm_f32.row_product(end - p, op.inputs, x, w, op.inputs * width, bias,
                           <real *>op.z + at, store)
    else:
        fm_f64.row_product(end - p, op.inputs, x, w, op.inputs * width, bias,
                           <real *>op.z + at, store)
    if op.activation >= 0 and not relu:
        apply(op.activation, count, <real *>op.z + at, <real *>op.y + at, op.parameter)
    if op.keep_scale != 0:
        mask_block(op, run, 1, count, <const real *>op.y + at, 0, <real *>op.masked + at, 0, 0, at)


cdef inline void dense_forward(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """y (rows, O) = activation of x (rows, I) @ w + b."""
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t lanes = lanes_of(x)
    cdef Py_ssize_t width = 2 * lanes
    cdef Py_ssize_t panels = (op.outputs + width - 1) // width
    # Weights: a last panel of one vector costs half of the others.
    cdef Py_ssize_t last = 1 if op.outputs - (panels - 1) * width <= lanes else 2
    cdef Py_ssize_t limit = FM_LIST_ROWS if op.lists != NULL else tile_rows_of(x, 2)
    cdef Py_ssize_t tiles = (run.rows + limit - 1) // limit
    cdef Py_ssize_t block, blocks, turn, t0, t1, chunks, total, end, unit, p, c, r0, r1
    if op.by_rows:
        r0 = row_cut(run.rows, thread, threads)
        r1 = row_cut(run.rows, thread + 1, threads)
        for p in range(panels):
            dense_block(op, run, p, r1 - r0, x, x_row, r0)
        return
    if run.rows == 1:
        # One sample: panels side by side. Rows of z end at a whole vector, perhaps half a panel.
        p = cut(panels, thread, threads)
        end = cut(panels, thread + 1, threads)
        if last == 1 and end == panels:
            end -= 1
            dense_block(op, run, end, 1, x, x_row, 0)
        dense_row(op, run, p, end, x)
        return
    # Blocks of rows that stay in L2 while all panels pass.
    block = max(<Py_ssize_t>4, BLOCK_BYTES // <Py_ssize_t>sizeof(real) // op.inputs // limit)
    blocks = (tiles + block - 1) // block
    for turn in range(blocks):
        t0 = cut(tiles, turn, blocks)
        t1 = cut(tiles, turn + 1, blocks)
        # Few panels: share pieces of them.
        chunks = 1
        if threads > 1 and panels < 8 * threads:
            chunks = min(t1 - t0, (8 * threads + panels - 1) // panels)
        total = chunks * (2 * (panels - 1) + last)
        unit = unit_at(cut(total, thread, threads), chunks, panels, last)
        end = unit_at(cut(total, thread + 1, threads), chunks, panels, last)
        while unit < end:
            p = unit // chunks
            c = unit % chunks
            r0 = row_at(op, t0 + cut(t1 - t0, c, chunks), run.rows, tiles)
            c = min(chunks, c + end - unit)
            r1 = row_at(op, t0 + cut(t1 - t0, c, chunks), run.rows, tiles)
            dense_block(op, run, p, r1 - r0, x, x_row, r0)
            unit = p * chunks + c


cdef inline Py_ssize_t row_at(
    const Op *op, Py_ssize_t tile, Py_ssize_t rows, Py_ssize_t tiles
) noexcept nogil:
    """The first row of a tile: lists are full, else the first rows % tiles have one row more."""
    if op.lists != NULL:
        return min(rows, tile * FM_LIST_ROWS)
    return tile * (rows // tiles) + min(tile, rows % tiles)


cdef inline Py_ssize_t unit_at(
    Py_ssize_t weight, Py_ssize_t chunks, Py_ssize_t panels, Py_ssize_t last
) noexcept nogil:
    """The unit (panel * chunks + chunk) that begins at so much of the total weight."""
    cdef Py_ssize_t full = 2 * chunks * (panels - 1)
    if weight <= full:
        return weight // 2
    return chunks * (panels - 1) + (weight - full) // last


cdef inline void transpose_rows(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t x_row, real *xt, Py_ssize_t xt_row
) noexcept nogil:
    """xt (n, rows) = x (rows, n) transposed; what is behind the columns of xt stays."""
    if real is float:
        fm_f32.pack_transposed(n, rows, rows, xt_row, x, x_row, xt)
    else:
        fm_f64.pack_transposed(n, rows, rows, xt_row, x, x_row, xt)


cdef inline void dense_backward(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """dx (rows, I) = dy (rows, O) @ w.T, times the derivative of the activation that made x.

    The samples go through the lanes, from dy transposed; each weight is broadcast from its panel.
    Also writes dx transposed, for the layer below, if op.dxt. Threads share the inputs, or the
    samples if op.by_rows.
    """
    cdef Py_ssize_t lanes = lanes_of(scratch)
    cdef Py_ssize_t width = 2 * lanes
    cdef Py_ssize_t panels = (op.outputs + width - 1) // width
    cdef Py_ssize_t limit = tile_rows_of(scratch, 2)
    cdef Py_ssize_t tiles = (op.inputs + limit - 1) // limit
    cdef Py_ssize_t k = min(op.inputs, cut(tiles, thread, threads) * limit)
    cdef Py_ssize_t end = min(op.inputs, cut(tiles, thread + 1, threads) * limit)
    cdef Py_ssize_t r0 = 0, r1 = run.rows
    # Panels of w at a time: the rows of dyt that they meet stay in L1 for all tiles of a chunk.
    cdef Py_ssize_t block = even_block(panels, BACKWARD_BLOCK // width)
    cdef Py_ssize_t rows, i, count, p
    cdef const real *w = <const real *>op.w
    cdef const real *dy = <const real *>op.dy
    cdef const real *dyt = <const real *>op.dyt
    cdef real *own
    cdef Py_ssize_t dyt_row = op.dyt_row
    cdef real *dx
    if op.by_rows:
        k = 0
        end = op.inputs
        r0 = row_cut(run.rows, thread, threads)
        r1 = row_cut(run.rows, thread + 1, threads)
    if dyt == NULL:
        # A last layer's gradient is small: every thread transposes it for itself.
        own = scratch + CHUNK_ROWS * width
        pack_panel(True, op.outputs, r1 - r0, dyt_row, dy + r0 * op.dy_row, op.dy_row, own)
        memset(own + op.outputs * dyt_row, 0,
               (panels * width - op.outputs) * dyt_row * sizeof(real))
        dyt = own
    else:
        dyt += r0
    while k < end:
        rows = min(<Py_ssize_t>CHUNK_ROWS, end - k)
        dx = <real *>op.dx + r0 * op.dx_row + k
        i = 0
        while i < r1 - r0:
            count = min(width, r1 - r0 - i)
            p = 0
            while p < panels:
                column(False, 1 if count <= lanes else 2, rows, min(block, panels - p), width,
                       w + (p * op.inputs + k) * width, width, 1, op.inputs * width,
                       dyt + i + p * width * dyt_row, dyt_row, NULL if p == 0 else scratch, width,
                       scratch, width, <real>1, FM_STORE_SET)
                p += block
            store_sums(rows, count, scratch, width, dx + i * op.dx_row, 1, op.dx_row, <real>1,
                       FM_STORE_SET)
            i += count
        if op.keep_scale != 0:
            mask_block(op, run, r1 - r0, rows, dx, op.dx_row, dx, op.dx_row, r0, k)
        if op.activation >= 0 and rows == op.inputs and op.dx_row <= width \
                and op.dx_row == op.saved_row:
            # Narrow rows, as in dense_block, all of them this thread's.
            apply_backward(op.activation, (r1 - r0) * op.dx_row, dx,
                           <const real *>op.saved + r0 * op.saved_row, dx, op.parameter)
        elif op.activation >= 0:
            for i in range(r1 - r0):
                apply_backward(op.activation, rows, dx + i * op.dx_row,
                               <const real *>op.saved + (r0 + i) * op.saved_row + k,
                               dx + i * op.dx_row, op.parameter)
        if op.dxt != NULL and op.by_rows:
            transpose_rows(r1 - r0, rows, dx, op.dx_row,
                           <real *>op.dxt + k * op.dxt_row + r0, op.dxt_row)
        elif op.dxt != NULL:
            pack_panel(True, rows, run.rows, op.dxt_row, dx, op.dx_row,
                       <real *>op.dxt + k * op.dxt_row)
        k += rows


cdef inline void gradient_rows(
    const Op *op, Run *run, Py_ssize_t p, Py_ssize_t k, Py_ssize_t rows,
    const real *x, Py_ssize_t x_row, real *scratch, bint packed, bint adds, real *to, real alpha,
) noexcept nogil:
    # Rows k .. k + rows of panel p of x.T @ dy: `to` is set to it, or gets alpha times it added.
    cdef Py_ssize_t lanes = lanes_of(x)
    cdef Py_ssize_t width = 2 * lanes
    cdef int vectors = 1 if op.outputs - p * width <= lanes else 2
    cdef const real *dy = <const real *>op.dy + p * width
    cdef const real *a = x + k
    if packed:
        a = scratch + CHUNK_ROWS * width
    if op.listed:
        listed_column(vectors, rows, run.rows, a, list_size(run.rows, a), dy, <const real *>NULL, 0,
                      to, width, alpha, FM_STORE_ADD if adds else FM_STORE_SET)
    else:
        column(adds, vectors, rows, 1, run.rows, a, 1, x_row, 0, dy, op.dy_row,
               <const real *>NULL, 0, to, width, alpha, FM_STORE_SET, packed)


cdef inline void listed_update(
    const Op *op, Run *run, int thread, int threads, const real *x, Py_ssize_t x_row, real *scratch
) noexcept nogil:
    # The lists of a chunk of inputs are made once for all panels. Inputs that are rarely zero may
    # lie side by side, so threads take chunks in turn.
    cdef Py_ssize_t width = 2 * lanes_of(x)
    cdef Py_ssize_t panels = (op.outputs + width - 1) // width
    cdef Py_ssize_t size = CHUNK_ROWS
    cdef Py_ssize_t k, p, rows
    if op.rule != KEEP_GRADIENT:  # (each chunk has a sum of squares of its own)
        while size > FM_LIST_ROWS and op.inputs < 4 * threads * size:
            size = size // 2 // FM_LIST_ROWS * FM_LIST_ROWS
    k = thread * size
    while k < op.inputs:
        rows = min(size, op.inputs - k)
        make_lists(True, rows, run.rows, x + k, x_row, op.dy_row, scratch + CHUNK_ROWS * width,
                   list_size(run.rows, x))
        if is_plain_step(op, run):
            add_listed(rows, run.rows, scratch + CHUNK_ROWS * width, list_size(run.rows, x),
                       op.outputs, <const real *>op.dy, <real *>op.w + k * width,
                       op.inputs * width, <real>(-run.coefficients[0] * op.multiplier))
        else:
            for p in range(panels):
                update_rows(op, run, p, k, rows, x, x_row, scratch, True)
        k += threads * size
    for p in range(cut(panels, thread, threads), cut(panels, thread + 1, threads)):
        update_bias(op, run, p, scratch)


cdef inline void update_rows(
    const Op *op, Run *run, Py_ssize_t p, Py_ssize_t k, Py_ssize_t rows,
    const real *x, Py_ssize_t x_row, real *scratch, bint packed,
) noexcept nogil:
    # Rows k .. k + rows of panel p; at most CHUNK_ROWS unless the rule is plain SGD. x, or where
    # packed the part of it behind the scratch for sums.
    cdef Py_ssize_t lanes = lanes_of(x)
    cdef Py_ssize_t width = 2 * lanes
    cdef Py_ssize_t count = min(width, op.outputs - p * width)
    cdef Py_ssize_t at = (p * op.inputs + k) * width
    cdef real *w = <real *>op.w + at
    cdef real *kept
    if is_plain_step(op, run):
        gradient_rows(op, run, p, k, rows, x, x_row, scratch, packed, True, w,
                      <real>(-run.coefficients[0] * op.multiplier))
        return
    if op.rule == KEEP_GRADIENT and op.sums != NULL:
        # Where there are no outputs it has been zero since the plan was made.
        kept = <real *>op.s0 + at
        gradient_rows(op, run, p, k, rows, x, x_row, scratch, packed, False, kept, <real>1)
        penalize(op, rows * width, w, kept)
        op.sums[p * ((op.inputs + CHUNK_ROWS - 1) // CHUNK_ROWS) + k // CHUNK_ROWS] = \
            sum_squares(rows * width, kept)
        return
    if count <= lanes:
        memset(scratch, 0, rows * width * sizeof(real))
    gradient_rows(op, run, p, k, rows, x, x_row, scratch, packed, False, scratch, <real>1)
    apply_panel_gradient(op, run, p, k, rows, scratch)


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


cdef inline void update_bias(
    const Op *op, Run *run, Py_ssize_t p, real *scratch
) noexcept nogil:
    # The bias of panel p. The sum over the batch is a product with ones.
    cdef Py_ssize_t lanes = lanes_of(scratch)
    cdef Py_ssize_t width = 2 * lanes
    cdef Py_ssize_t count = min(width, op.outputs - p * width)
    cdef Py_ssize_t at = p * width
    cdef real one = 1
    if op.b == NULL:
        return
    column(False, 1 if count <= lanes else 2, 1, 1, run.rows, <const real *>&one, 0, 0, 0,
           <const real *>op.dy + at, op.dy_row, <const real *>NULL, 0, scratch, width, <real>1,
           FM_STORE_SET)
    apply_gradient(op, run, True, at, count, scratch)


cdef inline void dense_update(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """w and b, updated by their gradients x.T @ dy and dy.sum(axis=0), as op.rule says.

    A gradient is never stored: it is subtracted where it is summed (plain SGD) or waits in L1,
    CHUNK_ROWS rows of a panel at a time, for the rule.
    """
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t lanes = lanes_of(x)
    cdef Py_ssize_t width = 2 * lanes
    cdef Py_ssize_t panels = (op.outputs + width - 1) // width
    cdef Py_ssize_t last = 1 if op.outputs - (panels - 1) * width <= lanes else 2
    cdef Py_ssize_t limit = tile_rows_of(x, 2)
    cdef Py_ssize_t tiles = (op.inputs + limit - 1) // limit
    cdef Py_ssize_t chunks = 1, total, unit, end, p, c, k, k1, rows
    if op.listed:
        listed_update(op, run, thread, threads, x, x_row, scratch)
        return
    if op.rule == KEEP_GRADIENT:
        # Chunks that are the same for any number of threads: each has a sum of squares.
        limit = CHUNK_ROWS
        tiles = (op.inputs + limit - 1) // limit
    if run.rows >= MANY_SAMPLES and panels >= 4 and (op.rule != KEEP_GRADIENT
                                                     or tiles >= 4 * threads):
        # Rows of x lie far apart: those of a chunk are packed once for all panels.
        k = min(op.inputs, cut(tiles, thread, threads) * limit)
        end = min(op.inputs, cut(tiles, thread + 1, threads) * limit)
        while k < end:
            rows = min(<Py_ssize_t>CHUNK_ROWS, end - k)
            pack_tiles(rows, run.rows, x + k, x_row, scratch + CHUNK_ROWS * width)
            for p in range(panels):
                update_rows(op, run, p, k, rows, x, x_row, scratch, True)
            k += rows
        for p in range(cut(panels, thread, threads), cut(panels, thread + 1, threads)):
            update_bias(op, run, p, scratch)
        return
    if op.rule == KEEP_GRADIENT:
        for unit in range(cut(panels * tiles, thread, threads),
                          cut(panels * tiles, thread + 1, threads)):
            p = unit // tiles
            k = unit % tiles * limit
            if k == 0:
                update_bias(op, run, p, scratch)
            update_rows(op, run, p, k, min(limit, op.inputs - k), x, x_row, scratch, False)
        return
    if threads > 1 and panels < 8 * threads:
        chunks = max(<Py_ssize_t>1, min(tiles // 2, (8 * threads + panels - 1) // panels))
    total = chunks * (2 * (panels - 1) + last)
    unit = unit_at(cut(total, thread, threads), chunks, panels, last)
    end = unit_at(cut(total, thread + 1, threads), chunks, panels, last)
    while unit < end:
        p = unit // chunks
        c = unit % chunks
        k = min(op.inputs, cut(tiles, c, chunks) * limit)
        c = min(chunks, c + end - unit)
        k1 = min(op.inputs, cut(tiles, c, chunks) * limit)
        if k == 0:
            update_bias(op, run, p, scratch)
        if is_plain_step(op, run):
            update_rows(op, run, p, k, k1 - k, x, x_row, scratch, False)
        else:
            while k < k1:
                rows = min(<Py_ssize_t>CHUNK_ROWS, k1 - k)
                update_rows(op, run, p, k, rows, x, x_row, scratch, False)
                k += rows
        unit = p * chunks + c


# --- Activations on their own -------------------------------------------------------------------


cdef inline void activation_forward(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """y (rows, O) = activation of x, softmax over groups of I; y may be x."""
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t i
    for i in range(row_cut(run.rows, thread, threads), row_cut(run.rows, thread + 1, threads)):
        if op.activation == SOFTMAX:
            softmax_rows(op.outputs // op.inputs, op.inputs, x + i * x_row,
                         <real *>op.y + i * op.y_row)
        else:
            apply(op.activation, op.outputs, x + i * x_row, <real *>op.y + i * op.y_row,
                  op.parameter)


cdef inline void activation_backward(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """dx (rows, O) = dy times the derivative; dx may be dy."""
    cdef const real *saved = <const real *>(op.saved if op.saved != NULL else run.x)
    cdef Py_ssize_t saved_row = op.saved_row if op.saved != NULL else run.x_row
    cdef const real *dy = <const real *>op.dy
    cdef real *dx = <real *>op.dx
    cdef Py_ssize_t i
    for i in range(row_cut(run.rows, thread, threads), row_cut(run.rows, thread + 1, threads)):
        if op.activation == SOFTMAX:
            softmax_backward_rows(op.outputs // op.inputs, op.inputs, dy + i * op.dy_row,
                                  saved + i * saved_row, dx + i * op.dx_row)
        else:
            apply_backward(op.activation, op.outputs, dy + i * op.dy_row, saved + i * saved_row,
                           dx + i * op.dx_row, op.parameter)


cdef inline void transpose(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """dyt (O, rows) = dy transposed."""
    cdef Py_ssize_t begin = row_cut(op.outputs, thread, threads)
    cdef Py_ssize_t end = row_cut(op.outputs, thread + 1, threads)
    if begin < end:
        pack_panel(True, end - begin, run.rows, op.dyt_row, <const real *>op.dy + begin,
                   op.dy_row, <real *>op.dyt + begin * op.dyt_row)
