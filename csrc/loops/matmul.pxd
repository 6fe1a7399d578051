# The loop nests of matrix products, around the register tile of csrc/simd/fm_tile.body.h.
#
# One operand is in the vector lanes, in panels of two vectors. The other operand is broadcast value
# by value, in row tiles of at most six rows (AVX2). There are three orders of the loops:
#
#   panel order   for each panel: for each row tile    few rows: the broadcast operand stays in
#                                                      cache, each panel is read from memory once
#   row order     for each row tile: for each panel    many rows or a short sum: the panels stay
#                                                      in L2, c is written in order
#
#   sweeps        row order for a few k at a time      one or two row tiles: the lanes operand is
#                                                      read in memory order, c stays in L1
#
# In the first two orders the first row tile reads the lanes operand from the user's array and packs
# it on the way, which costs little. If the whole operand fits in L1, no tile packs it. An operand
# that must be transposed, or a partial panel, is packed beforehand.

from libc.stdint cimport uintptr_t

from dispatch cimport (
    FM_MAX_LANES, FM_MAX_TILE_ROWS, FM_MAX_TILE_VECTORS, FM_STORE_ADD, FM_STORE_RELU,
    FM_STORE_SET, fm_f32, fm_f64, real,
)

cdef enum:
    WORKSPACE_BYTES = 320 * 1024  # maximum scratch of a product: panels and one row tile
    PANEL_BYTES = 256 * 1024      # packed panels in row order: half of a 512 KiB L2
    ROWS_BYTES = 128 * 1024       # rows of the broadcast operand beside the panels
    IN_PLACE_BYTES = 16 * 1024    # maximum lanes operand that stays in L1 and is not packed
    SWEEP_BYTES = 32 * 1024       # L1: c (at most half of it) and the rows that a sweep reads
    MIN_SWEEP_ROWS = 8            # with fewer rows, continuing the sums costs too much
    MAX_SWEEP_ROWS = 32
    SUMS_ROWS = 96                # rows of complete sums before they are copied to c
    # Reduction blocks, in values.
    FEW_ROWS_BLOCK = 256          # a packed panel that stays in L1 beside a row tile
    PANEL_ORDER_BLOCK = 1024
    ROW_ORDER_BLOCK = 384
    LONG_ROW_ORDER_BLOCK = 1024   # if no part of a is packed beside the panels
    PARTIAL_BLOCK = 1024
    # Row order is faster from MANY_ROWS rows on, or for sums of at most SHORT_SUM values.
    MANY_ROWS = 128
    SHORT_SUM = 64


cdef inline void *aligned(void *memory) noexcept nogil:
    """Return the first cache line that begins in the memory."""
    return <void *>((<uintptr_t>memory + 63) & ~<uintptr_t>63)


cdef inline int lanes_of(const real *tag) noexcept nogil:
    if real is float:
        return fm_f32.lanes
    else:
        return fm_f64.lanes


cdef inline int tile_rows_of(const real *tag, int vectors) noexcept nogil:
    if real is float:
        return fm_f32.tile_rows[vectors]
    else:
        return fm_f64.tile_rows[vectors]


cdef inline void strip(
    bint packing, Py_ssize_t rows, int vectors, Py_ssize_t panels, Py_ssize_t k,
    const real *a, Py_ssize_t a_row, Py_ssize_t a_col,
    const real *b, Py_ssize_t b_row, Py_ssize_t b_panel,
    const real *init, Py_ssize_t init_row, real *c, Py_ssize_t c_row, real alpha, int store,
    real *pack,
) noexcept nogil:
    if real is float:
        if packing:
            fm_f32.packing_strip[rows](panels, k, a, a_row, a_col, b, b_row, b_panel, init,
                                       init_row, c, c_row, alpha, store, pack)
        else:
            fm_f32.strip[vectors][rows](panels, k, a, a_row, a_col, b, b_row, b_panel, init,
                                        init_row, c, c_row, alpha, store, pack)
    else:
        if packing:
            fm_f64.packing_strip[rows](panels, k, a, a_row, a_col, b, b_row, b_panel, init,
                                       init_row, c, c_row, alpha, store, pack)
        else:
            fm_f64.strip[vectors][rows](panels, k, a, a_row, a_col, b, b_row, b_panel, init,
                                        init_row, c, c_row, alpha, store, pack)


cdef inline void sweep(
    bint fetching, Py_ssize_t rows, Py_ssize_t panels, Py_ssize_t k, const real *a,
    Py_ssize_t a_row, const real *b, Py_ssize_t b_row, real *c, Py_ssize_t c_row,
) noexcept nogil:
    if real is float:
        fm_f32.sweep[fetching][rows](panels, k, a, a_row, b, b_row, c, c_row)
    else:
        fm_f64.sweep[fetching][rows](panels, k, a, a_row, b, b_row, c, c_row)


cdef inline void pack_panel(
    bint transposed, Py_ssize_t k, Py_ssize_t count, Py_ssize_t width,
    const real *source, Py_ssize_t source_row, real *to,
) noexcept nogil:
    if real is float:
        if transposed:
            fm_f32.pack_transposed(k, count, width, width, source, source_row, to)
        else:
            fm_f32.pack_rows(k, count, width, source, source_row, to)
    else:
        if transposed:
            fm_f64.pack_transposed(k, count, width, width, source, source_row, to)
        else:
            fm_f64.pack_rows(k, count, width, source, source_row, to)


cdef inline void transpose_rows(
    Py_ssize_t rows, Py_ssize_t n, const real *x, Py_ssize_t x_row, real *xt, Py_ssize_t xt_row
) noexcept nogil:
    """xt (n, rows) = x (rows, n) transposed; values after the columns of xt stay unchanged."""
    if real is float:
        fm_f32.pack_transposed(n, rows, rows, xt_row, x, x_row, xt)
    else:
        fm_f64.pack_transposed(n, rows, rows, xt_row, x, x_row, xt)


cdef inline void pack_columns(
    Py_ssize_t k, Py_ssize_t count, const real *source, Py_ssize_t source_row, real *to
) noexcept nogil:
    if real is float:
        fm_f32.pack_columns(k, count, source, source_row, to)
    else:
        fm_f64.pack_columns(k, count, source, source_row, to)


cdef inline void store_sums(
    Py_ssize_t rows, Py_ssize_t lanes, const real *sums, Py_ssize_t width,
    real *c, Py_ssize_t c_row, Py_ssize_t c_lane, real alpha, int store,
) noexcept nogil:
    if real is float:
        fm_f32.store_sums(rows, lanes, sums, width, c, c_row, c_lane, alpha, store)
    else:
        fm_f64.store_sums(rows, lanes, sums, width, c, c_row, c_lane, alpha, store)


# The constants of a product, in place of twenty arguments of each pass.
cdef struct Shape:
    Py_ssize_t rows, lanes, k_count
    Py_ssize_t a_row, a_col, b_row, c_row, c_lane
    bint b_transposed
    int store


cdef inline Py_ssize_t even_block(Py_ssize_t count, Py_ssize_t limit) noexcept nogil:
    """Return the block size, at most limit, that splits count evenly (no short last block)."""
    cdef Py_ssize_t blocks = max(<Py_ssize_t>1, (count + limit - 1) // limit)
    return (count + blocks - 1) // blocks


cdef inline void block_store(
    const Shape *s, Py_ssize_t k0, Py_ssize_t kb, real alpha, bint chained,
    int *store, bint *from_c,
) noexcept nogil:
    # Plain sums continue from c, so the result does not depend on the blocks. Other sums are added
    # block by block.
    cdef bint last = k0 + kb >= s.k_count
    store[0] = s.store if last else s.store & ~FM_STORE_RELU
    from_c[0] = chained and k0 > 0
    if k0 > 0 and not chained:
        store[0] |= FM_STORE_ADD


cdef inline void full_panels(
    const Shape *s, Py_ssize_t panels, const real *a, const real *b, const real *init, real *c,
    real alpha, bint panel_order, Py_ssize_t k_block, real *workspace,
) noexcept nogil:
    # Columns 0 .. panels * width of c: all lanes are in use, and tiles write c directly.
    cdef Py_ssize_t width = 2 * lanes_of(b)
    cdef Py_ssize_t row_limit = tile_rows_of(b, 2)
    cdef Py_ssize_t tiles = (s.rows + row_limit - 1) // row_limit
    # Rows are split evenly: the first `longer` tiles have one row more.
    cdef Py_ssize_t tile_rows = s.rows // tiles
    cdef Py_ssize_t longer = s.rows % tiles
    cdef bint chained = not s.store & FM_STORE_ADD and alpha == 1
    cdef Py_ssize_t k0 = 0, kb, p0, pb, t, m, here, a_row, a_col, group, b_step, b_panel
    cdef Py_ssize_t init_row
    cdef const real *a_t
    cdef const real *b_t
    cdef const real *start
    cdef real *a_pack = workspace + PANEL_BYTES // sizeof(real)
    cdef int store
    cdef bint from_c, packing, pack_a
    cdef bint small = s.k_count * s.b_row * <Py_ssize_t>sizeof(real) <= IN_PLACE_BYTES

    while True:
        kb = min(k_block, s.k_count - k0)
        block_store(s, k0, kb, alpha, chained, &store, &from_c)
        group = 1
        if not panel_order:
            group = even_block(
                panels, max(<Py_ssize_t>1, <Py_ssize_t>(PANEL_BYTES // sizeof(real))
                            // max(<Py_ssize_t>1, kb * width)))
        p0 = 0
        while p0 < panels:
            pb = min(group, panels - p0)
            if s.b_transposed:
                for t in range(pb):
                    pack_panel(True, kb, width, width, b + (p0 + t) * width * s.b_row + k0,
                               s.b_row, workspace + t * kb * width)
            # If the columns of a are a row apart, they are gathered once per group of panels.
            pack_a = s.a_col > 1 and pb >= 4 and kb > SHORT_SUM
            m = 0
            for t in range(tiles):
                here = tile_rows + (t < longer)
                a_t = a + m * s.a_row + k0 * s.a_col
                a_row = s.a_row
                a_col = s.a_col
                if pack_a:
                    pack_columns(kb, here, a_t, s.a_col, a_pack)
                    a_t = a_pack
                    a_row = 1
                    a_col = here
                b_t = workspace
                b_step = width
                b_panel = kb * width
                packing = False
                if (t == 0 or small) and not s.b_transposed:
                    b_t = b + k0 * s.b_row + p0 * width
                    b_step = s.b_row
                    b_panel = width
                    packing = tiles > 1 and not small
                start = NULL
                init_row = 0
                if from_c:
                    start = c + m * s.c_row + p0 * width
                    init_row = s.c_row
                elif init != NULL and k0 == 0:
                    start = init + p0 * width
                strip(packing, here, 2, pb, kb, a_t, a_row, a_col, b_t, b_step, b_panel,
                      start, init_row, c + m * s.c_row + p0 * width, s.c_row, alpha, store,
                      workspace)
                m += here
            p0 += pb
        k0 += kb
        if k0 >= s.k_count:
            return


cdef inline Py_ssize_t rows_of_sweep(
    const Shape *s, Py_ssize_t panels, const real *b, real alpha
) noexcept nogil:
    """Return the rows of b in a sweep; 0 if panel order is as fast."""
    cdef Py_ssize_t size = sizeof(real)
    cdef Py_ssize_t c_bytes = s.rows * panels * 2 * lanes_of(b) * size
    cdef Py_ssize_t count
    if s.a_col != 1 or s.b_transposed or s.store & FM_STORE_ADD or alpha != 1:
        return 0
    # Panels of a matrix that stays in L2 are read as fast.
    if s.k_count * s.b_row * size <= PANEL_BYTES:
        return 0
    if s.rows > 2 * tile_rows_of(b, 2) or 2 * c_bytes > SWEEP_BYTES:
        return 0
    count = min(<Py_ssize_t>MAX_SWEEP_ROWS, (SWEEP_BYTES - c_bytes) // (s.b_row * size))
    return count if count >= MIN_SWEEP_ROWS else 0


cdef inline void sweeps(
    const Shape *s, Py_ssize_t panels, const real *a, const real *b, const real *init, real *c,
    Py_ssize_t k_block,
) noexcept nogil:
    # Like full_panels, but c, in L1, keeps the sums from one block of k to the next.
    cdef Py_ssize_t width = 2 * lanes_of(b)
    cdef Py_ssize_t row_limit = tile_rows_of(b, 2)
    cdef Py_ssize_t tiles = (s.rows + row_limit - 1) // row_limit
    cdef Py_ssize_t tile_rows = s.rows // tiles
    cdef Py_ssize_t longer = s.rows % tiles
    cdef Py_ssize_t k0 = 0, kb, t, m, here
    cdef const real *start
    cdef int store
    cdef bint from_c

    while k0 < s.k_count:
        kb = min(k_block, s.k_count - k0)
        block_store(s, k0, kb, <real>1, True, &store, &from_c)
        m = 0
        for t in range(tiles):
            here = tile_rows + (t < longer)
            if from_c and store == FM_STORE_SET:
                sweep(t == 0, here, panels, kb, a + m * s.a_row + k0, s.a_row,
                      b + k0 * s.b_row, s.b_row, c + m * s.c_row, s.c_row)
            else:
                start = init
                if from_c:
                    start = c + m * s.c_row
                strip(False, here, 2, panels, kb, a + m * s.a_row + k0, s.a_row, 1,
                      b + k0 * s.b_row, s.b_row, width, start, s.c_row if from_c else 0,
                      c + m * s.c_row, s.c_row, <real>1, store, <real *>NULL)
            m += here
        k0 += kb


cdef inline void partial_panels(
    const Shape *s, const real *a, const real *b, const real *init, real *c, real alpha,
    real *workspace,
) noexcept nogil:
    # All columns, for panels with idle lanes or a transposed c: complete sums are copied to c. The
    # panels of a group are packed first. A block of rows, which stays in L2, is then multiplied by
    # the panels one by one.
    cdef real sums[SUMS_ROWS * FM_MAX_LANES * FM_MAX_TILE_VECTORS]
    cdef real padded_init[FM_MAX_LANES * FM_MAX_TILE_VECTORS]
    cdef Py_ssize_t lanes = lanes_of(b)
    cdef int vectors = 1 if s.lanes <= lanes else 3 if 2 * lanes < s.lanes <= 3 * lanes else 2
    cdef Py_ssize_t width = vectors * lanes
    cdef Py_ssize_t panels = (s.lanes + width - 1) // width
    cdef Py_ssize_t row_limit = tile_rows_of(b, vectors)
    cdef Py_ssize_t k_block = even_block(s.k_count, PARTIAL_BLOCK)
    cdef Py_ssize_t k0 = 0, kb, k1, k1b, k1_block, p0, pb, p, m0, mb, m, t, here, group, count
    cdef Py_ssize_t tiles, tile_rows, longer
    cdef const real *start
    cdef Py_ssize_t start_row
    cdef int store

    while True:
        kb = min(k_block, s.k_count - k0)
        store = s.store if k0 + kb >= s.k_count else s.store & ~FM_STORE_RELU
        if k0 > 0:
            store |= FM_STORE_ADD
        group = even_block(
            panels, max(<Py_ssize_t>1, <Py_ssize_t>(PANEL_BYTES // sizeof(real))
                        // max(<Py_ssize_t>1, kb * width)))
        k1_block = even_block(kb, FEW_ROWS_BLOCK)
        mb = min(<Py_ssize_t>SUMS_ROWS,
                 ROWS_BYTES // <Py_ssize_t>sizeof(real) // max(<Py_ssize_t>1, kb))
        mb = max(row_limit, mb // row_limit * row_limit)
        p0 = 0
        while p0 < panels:
            pb = min(group, panels - p0)
            for p in range(pb):
                count = min(width, s.lanes - (p0 + p) * width)
                if s.b_transposed:
                    start = b + (p0 + p) * width * s.b_row + k0
                else:
                    start = b + k0 * s.b_row + (p0 + p) * width
                pack_panel(s.b_transposed, kb, count, width, start, s.b_row,
                           workspace + p * kb * width)
            m0 = 0
            while m0 < s.rows:
                mb = min(mb, s.rows - m0)
                tiles = (mb + row_limit - 1) // row_limit
                tile_rows = mb // tiles
                longer = mb % tiles
                for p in range(pb):
                    count = min(width, s.lanes - (p0 + p) * width)
                    start = NULL
                    start_row = 0
                    if init != NULL and k0 == 0:
                        pack_panel(False, 1, count, width, init + (p0 + p) * width, 0,
                                   padded_init)
                        start = padded_init
                    k1 = 0
                    while True:
                        k1b = min(k1_block, kb - k1)
                        m = 0
                        for t in range(tiles):
                            here = tile_rows + (t < longer)
                            # A last panel may need only one vector.
                            strip(False, here, 1 if count <= lanes else vectors, 1, k1b,
                                  a + (m0 + m) * s.a_row + (k0 + k1) * s.a_col, s.a_row,
                                  s.a_col, workspace + (p * kb + k1) * width, width, 0,
                                  start + m * start_row if start != NULL else NULL, start_row,
                                  sums + m * width, width, <real>1, FM_STORE_SET, <real *>NULL)
                            m += here
                        start = sums
                        start_row = width
                        k1 += k1b
                        if k1 >= kb:
                            break
                    store_sums(mb, count, sums, width,
                               c + m0 * s.c_row + (p0 + p) * width * s.c_lane, s.c_row, s.c_lane,
                               alpha, store)
                m0 += mb
            p0 += pb
        k0 += kb
        if k0 >= s.k_count:
            return


cdef inline void product(
    Py_ssize_t rows, Py_ssize_t lanes, Py_ssize_t k_count,
    const real *a, Py_ssize_t a_row, Py_ssize_t a_col,
    const real *b, Py_ssize_t b_row, bint b_transposed,
    const real *init, real *c, Py_ssize_t c_row, Py_ssize_t c_lane, real alpha, int store,
    real *workspace,
) noexcept nogil:
    """C[m, n] (store) alpha * (init[n] + sum_k A[m, k] B[k, n]).

    A[m, k] = a[m * a_row + k * a_col] is broadcast. B[k, n] = b[k * b_row + n], or
    b[n * b_row + k] if b_transposed, is in the lanes. C[m, n] = c[m * c_row + n * c_lane]. init may
    be NULL; if it is not, alpha must be 1 and store must not be FM_STORE_ADD. The workspace has
    WORKSPACE_BYTES, is 64-byte aligned and needs no initialization.
    """
    cdef Shape s
    cdef Py_ssize_t width = 2 * lanes_of(b)
    cdef Py_ssize_t panels = lanes // width
    cdef Py_ssize_t limit, block, done = 0
    cdef bint panel_order

    if rows <= 0 or lanes <= 0:
        return
    s.rows = rows
    s.lanes = lanes
    s.k_count = k_count
    s.a_row = a_row
    s.a_col = a_col
    s.b_row = b_row
    s.c_row = c_row
    s.c_lane = c_lane
    s.b_transposed = b_transposed
    s.store = store
    panel_order = rows < MANY_ROWS and k_count > SHORT_SUM and (a_col == 1 or panels < 4)
    limit = ROW_ORDER_BLOCK
    if a_col == 1 and alpha == 1 and not store & FM_STORE_ADD:
        # c is not in L2 here: few long sums cost less than returning to c. Sums that are added
        # block by block keep their blocks, because the result depends on them.
        limit = LONG_ROW_ORDER_BLOCK
    if panel_order:
        limit = FEW_ROWS_BLOCK if rows <= 2 * tile_rows_of(b, 2) else PANEL_ORDER_BLOCK
    if c_lane == 1 and panels:
        # A rest of at most half a panel joins the last panel, in tiles of three vectors.
        if 0 < lanes - panels * width <= width // 2:
            panels -= 1
        block = rows_of_sweep(&s, panels, b, alpha) if panels and panel_order else 0
        if block:
            sweeps(&s, panels, a, b, init, c, block)
        elif panels:
            full_panels(&s, panels, a, b, init, c, alpha, panel_order,
                        even_block(k_count, limit), workspace)
        done = panels * width
    if done < lanes:
        s.lanes = lanes - done
        partial_panels(&s, a, b + done * (b_row if b_transposed else 1),
                       init + done if init != NULL else NULL, c + done * c_lane, alpha,
                       workspace)


cdef inline void matmul(
    bint transpose_a, bint transpose_b, Py_ssize_t m, Py_ssize_t n, Py_ssize_t k,
    const real *a, Py_ssize_t lda, const real *b, Py_ssize_t ldb,
    real *c, Py_ssize_t ldc, real alpha, int store, real *workspace,
) noexcept nogil:
    """C (m, n) (store) alpha * op(A) (m, k) @ op(B) (k, n), all row-major.

    The lanes run along n if B is stored that way, else along m if A is. Otherwise one operand is
    transposed while it is packed: B, unless A is much smaller. With A in the lanes the result is
    transposed when it is stored.
    """
    if not transpose_b or (not transpose_a and 4 * m > n):
        product(m, n, k, a, 1 if transpose_a else lda, lda if transpose_a else 1,
                b, ldb, transpose_b, <const real *>NULL, c, ldc, 1, alpha, store, workspace)
    else:
        product(n, m, k, b, ldb, 1, a, lda, not transpose_a, <const real *>NULL,
                c, 1, ldc, alpha, store, workspace)
