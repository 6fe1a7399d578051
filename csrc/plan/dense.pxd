# Dense layers. Weights are in panels: see plan/operation.pxd.

from libc.string cimport memset

from dispatch cimport (
    FM_LIST_ROWS, FM_RELU, FM_SGD, FM_STORE_ADD, FM_STORE_RELU, FM_STORE_SET, fm_f32, fm_f64, real,
)
from loops.column cimport column, pack_tiles
from loops.matmul cimport (
    even_block, lanes_of, pack_panel, store_sums, tile_rows_of, transpose_rows,
)
from loops.nonzeros cimport add_listed, list_block, list_size, listed_column, make_lists
from plan.dropout cimport mask_block
from plan.operation cimport (
    CHUNK_ROWS, KEEP_GRADIENT, Op, Run, apply, apply_backward, apply_gradient,
    apply_panel_gradient, cut, penalize, row_cut, sum_squares,
)

cdef enum:
    MANY_SAMPLES = 64          # minimum samples for which a weight's update packs its input
    BLOCK_BYTES = 256 * 1024   # block of a layer's input: half of a 512 KiB L2
    BACKWARD_BLOCK = 128       # outputs whose gradients are summed at a time


cdef inline bint is_plain_step(const Op *op, const Run *run) noexcept nogil:
    """Return whether the step is w -= rate * gradient: the product can subtract it directly."""
    return op.rule == FM_SGD and run.coefficients[1] == 0 and op.l1 == 0 and op.l2 == 0 \
        and not op.clamps


cdef inline void listed_block(
    const Op *op, int vectors, Py_ssize_t rows, const real *lists, const real *w,
    const real *bias, real *z, int store,
) noexcept nogil:
    # The product of dense_block with the lists of x. The sums of a block of inputs continue the
    # sums of the block before.
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
    # One panel of outputs for `rows` samples. The first has number `first` and begins a tile.
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
            # Narrow rows are contiguous: their zeros cost less than one call per row.
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
    # Panels p .. end of the outputs for one sample.
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


cdef inline void dense(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """y (rows, O) = activation of x (rows, I) @ w + b."""
    cdef const real *x = <const real *>(op.x if op.x != NULL else run.x)
    cdef Py_ssize_t x_row = op.x_row if op.x != NULL else run.x_row
    cdef Py_ssize_t lanes = lanes_of(x)
    cdef Py_ssize_t width = 2 * lanes
    cdef Py_ssize_t panels = (op.outputs + width - 1) // width
    # A last panel of one vector costs half as much as the others.
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
        # One sample: panels side by side. A row of z ends at a whole vector, maybe at half a panel.
        p = cut(panels, thread, threads)
        end = cut(panels, thread + 1, threads)
        if last == 1 and end == panels:
            end -= 1
            dense_block(op, run, end, 1, x, x_row, 0)
        dense_row(op, run, p, end, x)
        return
    # A block of rows stays in L2 while all panels pass.
    block = max(<Py_ssize_t>4, BLOCK_BYTES // <Py_ssize_t>sizeof(real) // op.inputs // limit)
    blocks = (tiles + block - 1) // block
    for turn in range(blocks):
        t0 = cut(tiles, turn, blocks)
        t1 = cut(tiles, turn + 1, blocks)
        # With few panels, threads share pieces of panels.
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
    """Return the first row of a tile.

    Lists are full. Other tiles have equal heights, the first rows % tiles one row more.
    """
    if op.lists != NULL:
        return min(rows, tile * FM_LIST_ROWS)
    return tile * (rows // tiles) + min(tile, rows % tiles)


cdef inline Py_ssize_t unit_at(
    Py_ssize_t weight, Py_ssize_t chunks, Py_ssize_t panels, Py_ssize_t last
) noexcept nogil:
    """Return the unit (panel * chunks + chunk) that begins at this part of the total cost."""
    cdef Py_ssize_t full = 2 * chunks * (panels - 1)
    if weight <= full:
        return weight // 2
    return chunks * (panels - 1) + (weight - full) // last


cdef inline void dense_backward(
    const Op *op, Run *run, int thread, int threads, real *scratch
) noexcept nogil:
    """dx (rows, I) = dy (rows, O) @ w.T, times the derivative of the activation that made x.

    The samples are in the lanes, from dy transposed; each weight is broadcast from its panel. If
    op.dxt, dx is also written transposed, for the layer below. Threads divide the inputs, or the
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
    # A block of panels of w is multiplied by rows of dyt that stay in L1 for all tiles of a chunk.
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
        # The gradient of a last layer is small, so every thread transposes it for itself.
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
            # Narrow rows, as in dense_block; this thread has all columns of them.
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
    # Rows k .. k + rows of panel p of x.T @ dy: written to `to`, or added, times alpha, if `adds`.
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
    # be neighbours, so threads take chunks in alternation.
    cdef Py_ssize_t width = 2 * lanes_of(x)
    cdef Py_ssize_t panels = (op.outputs + width - 1) // width
    cdef Py_ssize_t size = CHUNK_ROWS
    cdef Py_ssize_t k, p, rows
    if op.rule != KEEP_GRADIENT:  # which has one sum of squares per chunk of CHUNK_ROWS
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
    # Update rows k .. k + rows of panel p, at most CHUNK_ROWS unless the rule is plain SGD. If
    # `packed`, the rows of x are in the scratch after the sums.
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
        # Columns without outputs have been zero since the plan was made.
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


cdef inline void update_bias(
    const Op *op, Run *run, Py_ssize_t p, real *scratch
) noexcept nogil:
    # Update the bias of panel p. The sum over the batch is a product with ones.
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
    """Update w and b by their gradients x.T @ dy and dy.sum(axis=0), as op.rule says.

    A gradient is never stored as a whole. The product subtracts it directly (plain SGD), or
    CHUNK_ROWS rows of a panel at a time wait in L1 for the rule.
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
        # Each chunk has a sum of squares, so chunks are the same for any number of threads.
        limit = CHUNK_ROWS
        tiles = (op.inputs + limit - 1) // limit
    if run.rows >= MANY_SAMPLES and panels >= 4 and (op.rule != KEEP_GRADIENT
                                                     or tiles >= 4 * threads):
        # Rows of x are far apart: the rows of a chunk are packed once for all panels.
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
