"""Plans: lists of operations over one block of memory, run for many batches without the GIL."""

cimport cython
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)

from dispatch cimport (
    FM_ACTIVATION_COUNT, FM_LIST_ROWS, FM_LOSS_COUNT, FM_UPDATE_COUNT, fm_f32, fm_f64,
    fm_loss_names, fm_unary_names, fm_update_names, import_tables, numbers_of, real,
)
from loops.convolution cimport patch_of
from loops.losses cimport mean_of, sum_of
from loops.nonzeros cimport any_nonzero, list_size, sample_lists_size
from loops.window cimport Window
from plan cimport (
    activations, convolution, dense, dropout, embedding, losses, narrow, normalization, pooling,
    samples, updates,
)
from plan.operation cimport (
    CHUNK_ROWS, KEEP_GRADIENT, NO_ACTIVATION, SOFTMAX, STORE_GRADIENT, Op, Run, fm_flag,
    fm_flag_get, fm_flag_set, operation_f32, operation_f64,
)
from plan.thread_pace cimport Pace, begin_pace, next_pace

cdef extern from "fm_team.h" nogil:
    ctypedef struct fm_team:
        pass
    ctypedef void (*fm_team_body)(fm_team *, int, void *) noexcept nogil
    void fm_team_run(int, int, fm_team_body, void *)
    int fm_team_most(const fm_team *)
    int fm_team_size(const fm_team *)
    void fm_team_choose(fm_team *, int)
    int fm_team_rest(fm_team *, int)
    int FM_TEAM_RESTED, FM_TEAM_ENDED
    double fm_team_slept(const fm_team *)
    void fm_team_barrier(fm_team *)
    double fm_seconds()
    unsigned long fm_flush_subnormals()
    void fm_flush_restore(unsigned long)

import_tables()

# Values of Op.activation (forward and backward), Op.rule and Op.loss by name.
ACTIVATIONS = {
    "linear": NO_ACTIVATION, "softmax": SOFTMAX, **numbers_of(fm_unary_names, FM_ACTIVATION_COUNT),
}
UPDATE_RULES = numbers_of(fm_update_names, FM_UPDATE_COUNT)
ELEMENT_LOSSES = numbers_of(fm_loss_names, FM_LOSS_COUNT)
STORE = STORE_GRADIENT
KEEP = KEEP_GRADIENT
VALUES_OF_A_SUM = updates.SUM_CHUNK
SCRATCH_ROWS = CHUNK_ROWS
LIST_ROWS = FM_LIST_ROWS


def lanes():
    """Return the number of values in a vector, for float32 and float64."""
    return fm_f32.lanes, fm_f64.lanes


cdef Window _window(values) except *:
    """Return a window from the numbers of fastmlp.layers.window.Window."""
    cdef Window w
    (w.height, w.width, w.channels, w.kernel_height, w.kernel_width, w.stride_y, w.stride_x,
     w.pad_top, w.pad_bottom, w.pad_left, w.pad_right, w.out_height, w.out_width) = values
    return w


def list_memory(Py_ssize_t inputs, Py_ssize_t rows, bint double_precision):
    """Return the elements of the lists of a tile of samples, and of a tile of inputs of `rows`."""
    if double_precision:
        return (sample_lists_size(inputs, <const double *>NULL),
                list_size(rows, <const double *>NULL))
    return sample_lists_size(inputs, <const float *>NULL), list_size(rows, <const float *>NULL)


def listed_share(source, Py_ssize_t count, Py_ssize_t features, int groups):
    """Return the mean share of features in a list of samples, estimated from `groups` lists.

    source contains C-contiguous samples of uint8, float32 or float64, recognized by their size.
    The samples in the estimate are spread evenly over the source.
    """
    cdef Py_buffer view
    cdef Py_ssize_t found = 0, group, i
    cdef Py_ssize_t[FM_LIST_ROWS] first
    PyObject_GetBuffer(source, &view, PyBUF_C_CONTIGUOUS)
    try:
        if view.itemsize not in (1, 4, 8) or view.len != count * features * view.itemsize:
            raise ValueError("source has other samples.")
        for group in range(groups):
            for i in range(FM_LIST_ROWS):
                first[i] = (group * FM_LIST_ROWS + i) * count // (groups * FM_LIST_ROWS)
                first[i] *= features
            if view.itemsize == 1:
                found += any_nonzero(features, <const unsigned char *>view.buf, first)
            elif view.itemsize == 4:
                found += any_nonzero(features, <const float *>view.buf, first)
            else:
                found += any_nonzero(features, <const double *>view.buf, first)
    finally:
        PyBuffer_Release(&view)
    return found / <double>(groups * features)


def convolution_memory(window, Py_ssize_t filters, Py_ssize_t lanes):
    """Return the elements of scratch, of a transposed filter and of a chunk's gradients."""
    cdef Window w = _window(window)
    return (convolution.image_scratch(&w, filters, lanes), patch_of(&w, lanes),
            convolution.parts_size(&w, filters, lanes))


cdef int put(
    dict functions, str kind, void (*function)(const Op *, Run *, int, int, real *) noexcept nogil
) except -1:
    functions[kind] = <uintptr_t>function
    return 0


cdef dict functions_of(const real *tag):
    """Return the functions of one dtype by kind of operation.

    A kind is the name of its function. "python" has none, and the elementwise losses share one.
    """
    cdef dict functions = {}
    put(functions, "gather", samples.gather[real])
    put(functions, "output", samples.output[real])
    put(functions, "nonzeros", samples.nonzeros[real])
    put(functions, "transpose", samples.transpose[real])
    put(functions, "dense", dense.dense[real])
    put(functions, "dense_backward", dense.dense_backward[real])
    put(functions, "dense_update", dense.dense_update[real])
    put(functions, "activation", activations.activation[real])
    put(functions, "activation_backward", activations.activation_backward[real])
    put(functions, "convolution", convolution.convolution[real])
    put(functions, "filters", convolution.filters[real])
    put(functions, "convolution_backward", convolution.convolution_backward[real])
    put(functions, "convolution_update", convolution.convolution_update[real])
    put(functions, "max_pool", pooling.max_pool[real])
    put(functions, "max_pool_backward", pooling.max_pool_backward[real])
    put(functions, "average_pool", pooling.average_pool[real])
    put(functions, "average_pool_backward", pooling.average_pool_backward[real])
    put(functions, "batch_moments", normalization.batch_moments[real])
    put(functions, "batch_norm", normalization.batch_norm[real])
    put(functions, "batch_products", normalization.batch_products[real])
    put(functions, "batch_norm_backward", normalization.batch_norm_backward[real])
    put(functions, "batch_update", normalization.batch_update[real])
    put(functions, "scale_shift", normalization.scale_shift[real])
    put(functions, "layer_norm", normalization.layer_norm[real])
    put(functions, "layer_norm_backward", normalization.layer_norm_backward[real])
    put(functions, "layer_norm_update", normalization.layer_norm_update[real])
    put(functions, "dropout", dropout.dropout[real])
    put(functions, "gaussian_noise", dropout.gaussian_noise[real])
    put(functions, "embedding", embedding.embedding[real])
    put(functions, "embedding_update", embedding.embedding_update[real])
    put(functions, "cross_entropy", losses.cross_entropy[real])
    put(functions, "hinge", losses.hinge[real])
    put(functions, "element_loss", losses.element_loss[real])
    put(functions, "penalty", updates.penalty[real])
    put(functions, "gradient_norm", updates.gradient_norm[real])
    put(functions, "clipped_update", updates.clipped_update[real])
    put(functions, "lane_gather", narrow.lane_gather[real])
    put(functions, "lane_output", narrow.lane_output[real])
    put(functions, "lane_rows", narrow.lane_rows[real])
    put(functions, "lane_dense", narrow.lane_dense[real])
    put(functions, "lane_dense_backward", narrow.lane_dense_backward[real])
    put(functions, "lane_dense_update", narrow.lane_dense_update[real])
    put(functions, "lane_activation", narrow.lane_activation[real])
    put(functions, "lane_activation_backward", narrow.lane_activation_backward[real])
    put(functions, "lane_cross_entropy", narrow.lane_cross_entropy[real])
    return functions


cdef dict FUNCTIONS_F32 = functions_of(<const float *>NULL)
cdef dict FUNCTIONS_F64 = functions_of(<const double *>NULL)


cdef int _set_function(Op *op, str kind, bint double_precision) except -1:
    cdef dict functions = FUNCTIONS_F64 if double_precision else FUNCTIONS_F32
    cdef uintptr_t function
    if kind == "python":
        return 0
    if kind in ELEMENT_LOSSES:
        op.loss = ELEMENT_LOSSES[kind]
        kind = "element_loss"
    if kind not in functions:
        raise RuntimeError(f"internal error: there is no operation of kind {kind!r}.")
    function = functions[kind]
    if double_precision:
        op.f64 = <operation_f64>function
    else:
        op.f32 = <operation_f32>function
    return 0


# --- A run --------------------------------------------------------------------------------------

# The position of a thread in a run.
cdef struct Place:
    Py_ssize_t epoch, first, step
    const int64_t *order
    long long turn


# One call of Program.run, shared by its threads.
cdef struct Job:
    Pace *pace                  # NULL: all threads work on all steps
    Place place                 # where a thread continues that has rested
    const Op *ops
    int count
    Run run                     # members that are the same for every batch
    bint in_place               # batches are read from the array of the caller
    Py_ssize_t sample_bytes
    Py_ssize_t total, batch, epochs
    uint64_t first_step         # number of the first step, from the creation of the network
    const double *coefficients  # (steps, coefficient_count)
    Py_ssize_t coefficient_count
    const double *penalties     # summands of the loss that operations compute before it
    Py_ssize_t penalty_count
    char *scratch               # of all threads
    Py_ssize_t scratch_bytes    # of each
    # The step after which all threads end, and the turn at which a Python operation failed; 0 means
    # none. They are numbers because thread 0 may be a step ahead of the thread that reads them. All
    # threads must leave at the same place, or some would wait forever.
    fm_flag stop, failed
    void *program               # borrowed
    bint stops                  # before the updates of a loss that is not finite
    bint polls
    bint every_step
    double interval
    Py_ssize_t steps_between
    Py_ssize_t watched          # steps between two calls of `watch`; 0: no calls
    Py_ssize_t steps_before     # steps of the network before the run
    Py_ssize_t start            # samples of the first epoch that are already done
    const double *python_weight  # weight of a batch whose loss is computed in Python
    # Results, written by thread 0: for the last batch, the epoch so far, and each complete epoch.
    double loss
    double loss_sum, weight_sum
    Py_ssize_t correct, done
    Py_ssize_t epochs_done
    double *epoch_loss          # (epochs,) means over the samples
    double *epoch_seconds       # (epochs,)
    int64_t *epoch_correct      # (epochs,)


cdef bint _call(void *program, int index, Py_ssize_t rows, Py_ssize_t first) noexcept with gil:
    """Run a Python operation; False if it raised."""
    cdef Program p = <Program>program
    fm_flush_restore(0)  # Python code computes with subnormal numbers
    try:
        p.functions[index](rows, first)
        return True
    except BaseException as error:
        p.error = error
        return False
    finally:
        fm_flush_subnormals()


cdef bint _poll(
    void *program, Py_ssize_t done, double loss, Py_ssize_t correct
) noexcept with gil:
    """Report progress to Python; False if the run is to end."""
    cdef Program p = <Program>program
    fm_flush_restore(0)
    try:
        return not p.poll(done, loss, correct)
    except BaseException as error:
        p.error = error
        return False
    finally:
        fm_flush_subnormals()


cdef bint _watch(void *program, const Job *job) noexcept with gil:
    """Call `watch` after a step; False if the run is to end."""
    cdef Program p = <Program>program
    fm_flush_restore(0)
    try:
        return not p.watch(job.done, job.loss_sum, job.weight_sum, job.correct, job.loss)
    except BaseException as error:
        p.error = error
        return False
    finally:
        fm_flush_subnormals()


cdef inline bint is_reached(long long mark, long long now) noexcept nogil:
    return 0 < mark <= now


cdef void _body(fm_team *team, int thread, void *context) noexcept nogil:
    cdef Job *job = <Job *>context
    cdef Run run = job.run
    cdef const Op *op
    cdef int i, threads, size, most = fm_team_most(team)
    cdef void *scratch = job.scratch + thread * job.scratch_bytes
    cdef Py_ssize_t first = job.start, row, right, step = 0, epoch = 0
    cdef long long turn = 0
    cdef double loss, extra, now, began, next_poll = 0
    began = fm_seconds()
    if thread == 0 and job.pace != NULL and most > 1:
        begin_pace(job.pace, most)
    while epoch < job.epochs:
        if thread > 0:
            i = fm_team_rest(team, thread)
            if i == FM_TEAM_RESTED:
                epoch, first, step = job.place.epoch, job.place.first, job.place.step
                turn = job.place.turn
                run.order = job.place.order
            if i == FM_TEAM_ENDED or epoch >= job.epochs:
                return
        size = fm_team_size(team)
        if is_reached(fm_flag_get(&job.stop), step):
            return
        run.first = first
        run.step = job.first_step + <uint64_t>step
        run.rows = min(job.batch, job.total - first)
        # The samples are one batch in a fixed order, and no call between steps may change them.
        run.again = step > 0 and run.rows == job.total and run.order == NULL and job.watched == 0
        run.weight = losses.sum_of_weights(&run)
        if job.in_place:
            run.x = job.run.source + first * job.sample_bytes
        if job.coefficients != NULL:
            run.coefficients = job.coefficients + step * job.coefficient_count
        for i in range(job.count):
            op = job.ops + i
            threads = min(op.threads, size)
            turn += 1
            if thread < threads:
                if op.f32 != NULL:
                    op.f32(op, &run, thread, threads, <float *>scratch)
                elif op.f64 != NULL:
                    op.f64(op, &run, thread, threads, <double *>scratch)
                elif not _call(job.program, op.python, run.rows, first):
                    fm_flag_set(&job.failed, turn)
                elif op.checks and not isfinite(run.losses[0]):
                    fm_flag_set(run.bad, 1)
            if op.barrier:
                fm_team_barrier(team)
            if op.python >= 0 and is_reached(fm_flag_get(&job.failed), turn):
                return
            if op.checks:
                if thread == 0:
                    loss = sum_of(run.rows, run.losses)
                    right = 0
                    for row in range(run.rows):
                        right += run.correct[row]
                    job.correct += right
                    if op.python >= 0:
                        run.weight = job.python_weight[0]
                    extra = 0
                    for row in range(job.penalty_count):
                        extra += job.penalties[row]
                    job.loss = mean_of(loss, run.weight) + extra
                    loss += extra * run.weight
                    job.loss_sum += loss
                    job.weight_sum += run.weight
                if job.stops and fm_flag_get(run.bad):
                    return
        step += 1
        first += run.rows
        if thread == 0:
            job.done = first
            if job.polls and (job.every_step or step == 1 or step % job.steps_between == 0):
                now = fm_seconds()
                if job.every_step or now >= next_poll:
                    loss = mean_of(job.loss_sum, job.weight_sum)
                    if not _poll(job.program, first, loss, job.correct):
                        fm_flag_set(&job.stop, step)
                    next_poll = fm_seconds() + job.interval
        if job.watched > 0 and (job.steps_before + step) % job.watched == 0:
            # All threads must have updated their parts before the call, and wait during it.
            fm_team_barrier(team)
            if thread == 0 and not _watch(job.program, job):
                fm_flag_set(&job.stop, step)
        if first >= job.total:
            if thread == 0:
                now = fm_seconds()
                job.epoch_loss[epoch] = mean_of(job.loss_sum, job.weight_sum)
                job.epoch_seconds[epoch] = now - began
                job.epoch_correct[epoch] = job.correct
                job.epochs_done = epoch + 1
                began = now
                if epoch + 1 < job.epochs:
                    job.loss_sum = 0
                    job.weight_sum = 0
                    job.correct = 0
                    job.done = 0
            epoch += 1
            first = 0
            if run.order != NULL:
                run.order += job.total
        if thread == 0 and job.pace != NULL and most > 1:
            threads = next_pace(job.pace, most, fm_team_slept(team))
            if threads > size:
                job.place.epoch, job.place.first, job.place.step = epoch, first, step
                job.place.turn = turn
                job.place.order = run.order
            fm_team_choose(team, threads)
        # The barrier after the last operation.
        fm_team_barrier(team)


cdef int _shaken = 0


def change_threads(int every):
    """Change the number of threads every `every` steps, for tests; 0: by time."""
    global _shaken
    _shaken = every


@cython.auto_pickle(False)
@cython.final
cdef class Program:
    """A list of operations over buffers whose owners it keeps alive.

    Parameters
    ----------
    double_precision : bool
        float64 if true, else float32.
    capacity : int
        Maximum rows of a batch.
    threads : int
        Maximum threads of a run.
    scratch : int
        Elements of scratch memory per thread.
    """

    cdef Op *ops
    cdef int count, room
    cdef bint double_precision, running
    cdef Py_ssize_t capacity, scratch_bytes
    cdef readonly int threads
    cdef void *memory
    cdef char *scratch
    cdef const double *penalties
    cdef Py_ssize_t penalty_count
    cdef double *losses_at
    cdef int *correct_at
    cdef public double weight
    cdef list functions, kept
    # Complete epochs, and samples of the next one, of the last run; also set if Python raised.
    cdef readonly tuple progress
    cdef object poll, watch, error
    cdef Pace pace

    def __cinit__(self, bint double_precision, Py_ssize_t capacity, int threads,
                  Py_ssize_t scratch):
        cdef Py_ssize_t item = 8 if double_precision else 4
        cdef char *start
        self.double_precision = double_precision
        self.capacity = capacity
        self.threads = threads
        self.functions = []
        self.kept = []
        # A page between the parts of the threads prevents false sharing.
        self.scratch_bytes = (scratch * item + 8191) // 4096 * 4096
        self.memory = calloc(1, threads * self.scratch_bytes + capacity * 12 + 4096)
        if self.memory == NULL:
            raise MemoryError(f"cannot allocate scratch memory for {threads} threads.")
        start = <char *>((<uintptr_t>self.memory + 63) & ~<uintptr_t>63)
        self.scratch = start
        self.losses_at = <double *>(start + threads * self.scratch_bytes)
        self.correct_at = <int *>(self.losses_at + capacity)

    @property
    def losses(self):
        """Contributions of the samples to the loss, (capacity,), written by losses in Python.

        Such a loss also sets `weight`, by which the sum is divided.
        """
        return <double[:self.capacity]> self.losses_at

    @property
    def correct(self):
        """Correct answers of each sample, (capacity,) int32, written by losses in Python."""
        return <int[:self.capacity]> self.correct_at

    def __dealloc__(self):
        free(self.ops)
        free(self.memory)

    def add(self, str kind, *, keep=(), function=None, Py_ssize_t inputs=0, Py_ssize_t outputs=0,
            size_t x=0, Py_ssize_t x_row=0, size_t y=0, Py_ssize_t y_row=0,
            size_t z=0, Py_ssize_t z_row=0, size_t w=0, size_t b=0,
            size_t dy=0, Py_ssize_t dy_row=0, size_t dyt=0, Py_ssize_t dyt_row=0,
            size_t dx=0, Py_ssize_t dx_row=0, size_t dxt=0, Py_ssize_t dxt_row=0,
            size_t saved=0, Py_ssize_t saved_row=0, int activation=NO_ACTIVATION,
            double parameter=0, int rule=0, double multiplier=1, double l1=0, double l2=0,
            bint clamps=False, size_t sums=0, size_t s0=0, size_t s1=0, size_t bs0=0, size_t bs1=0,
            bint bytes=False, double scale=1, int threads=1, bint barrier=False,
            bint checks=False, bint by_rows=False, window=None, pool=None, size_t index=0,
            Py_ssize_t index_row=0, size_t filters=0, Py_ssize_t filters_row=0, size_t parts=0,
            Py_ssize_t parts_row=0, int chunks=0, size_t class_weight=0, uint64_t key=0,
            uint32_t threshold=0, double keep_scale=0, size_t masked=0, Py_ssize_t masked_row=0,
            double epsilon=0, double momentum=0, size_t statistics=0, size_t partial=0,
            size_t running_mean=0, size_t running_variance=0, int index_bytes=0,
            bint sums_rows=False, Py_ssize_t vocabulary=0, size_t row_gradients=0, size_t marks=0,
            size_t lists=0, Py_ssize_t lists_row=0, bint listed=False):
        """Append an operation. Buffers are given by address; `keep` contains their owners."""
        cdef Op *grown
        cdef Op *op
        cdef int i
        if self.count == self.room:
            grown = <Op *>calloc(2 * self.room + 8, sizeof(Op))
            if grown == NULL:
                raise MemoryError("cannot allocate the list of operations.")
            for i in range(self.count):
                grown[i] = self.ops[i]
            free(self.ops)
            self.ops = grown
            self.room = 2 * self.room + 8
        op = &self.ops[self.count]
        memset(op, 0, sizeof(Op))
        _set_function(op, kind, self.double_precision)
        op.python = -1
        if kind == "python":
            op.python = <int>len(self.functions)
            self.functions.append(function)
        self.kept.append(keep)
        op.inputs, op.outputs = inputs, outputs
        op.x = <const char *>x
        op.x_row = x_row
        op.y, op.y_row = <char *>y, y_row
        op.z, op.z_row = <char *>z, z_row
        op.w, op.b = <char *>w, <char *>b
        op.dy, op.dy_row = <char *>dy, dy_row
        op.dyt, op.dyt_row = <char *>dyt, dyt_row
        op.dx, op.dx_row = <char *>dx, dx_row
        op.dxt, op.dxt_row = <char *>dxt, dxt_row
        op.saved = <const char *>saved
        op.saved_row = saved_row
        op.activation, op.parameter, op.rule = activation, parameter, rule
        op.multiplier, op.l1, op.l2, op.clamps = multiplier, l1, l2, clamps
        op.sums = <double *>sums
        op.class_weight = <char *>class_weight
        op.s0, op.s1, op.bs0, op.bs1 = <char *>s0, <char *>s1, <char *>bs0, <char *>bs1
        op.bytes, op.scale = bytes, scale
        if window is not None:
            op.window = _window(window)
        if pool is not None:
            op.pool = _window(pool)
        op.index, op.index_row, op.filters = <char *>index, index_row, <char *>filters
        op.filters_row = filters_row
        op.parts, op.parts_row, op.chunks = <char *>parts, parts_row, chunks
        op.threads, op.barrier, op.checks, op.by_rows = threads, barrier, checks, by_rows
        op.key, op.threshold, op.keep_scale = key, threshold, keep_scale
        op.masked, op.masked_row = <char *>masked, masked_row
        op.epsilon, op.momentum = epsilon, momentum
        op.statistics, op.partial = <double *>statistics, <double *>partial
        op.running_mean, op.running_variance = <char *>running_mean, <char *>running_variance
        op.index_bytes, op.sums_rows, op.vocabulary = index_bytes, sums_rows, vocabulary
        op.row_gradients, op.marks = <char *>row_gradients, <signed char *>marks
        op.lists, op.lists_row, op.listed = <char *>lists, lists_row, listed
        self.count += 1

    def add_penalties(self, const double[::1] penalties not None):
        """Add the sum of these numbers, which operations write, to the loss of every batch."""
        self.kept.append(penalties)
        self.penalties = &penalties[0]
        self.penalty_count = penalties.shape[0]

    def run(self, source, Py_ssize_t total, Py_ssize_t batch, *, Py_ssize_t sample_bytes,
            bint in_place, Py_ssize_t x_row, const int64_t[::1] order=None,
            const int64_t[::1] labels=None, targets=None, const double[::1] weights=None,
            out=None, bint counts=False, bint stops=False,
            const double[:, ::1] coefficients=None, uint64_t first_step=1, poll=None,
            double interval=0.05, bint every_step=False, Py_ssize_t steps_between=1, watch=None,
            Py_ssize_t watched=0, Py_ssize_t steps_before=0, sums=None, int threads=1,
            double[::1] epoch_loss not None, double[::1] epoch_seconds not None,
            int64_t[::1] epoch_correct not None):
        """Run all batches of `total` samples, once for every element of `epoch_loss`.

        With `sums` the first epoch continues after the samples that are done. The four sums are
        the samples (whole batches, fewer than all), their losses, their weights and their correct
        answers. `watch` is called with these four and the loss of the batch after every step whose
        number, counted from `steps_before`, is a multiple of `watched`. All threads wait during the
        call. The run ends if it returns true.

        Returns
        -------
        mean, loss : float
            Mean loss over the samples of the last epoch, and loss of the last batch.
        correct, done : int
            Correct answers and samples of complete batches in the last epoch.
        bad : bool
            Whether a loss was not finite. If the run `stops` there, its batch is not counted in
            `done`.
        epochs : int
            Complete epochs. The three arrays contain the mean loss, the time and the correct
            answers of each.
        """
        cdef Job job
        cdef fm_flag bad
        cdef Py_buffer source_view, targets_view, out_view
        cdef bint has_source = False, has_targets = False, has_out = False
        cdef int active
        if self.running:
            raise RuntimeError("this model is already running; use another model in each thread.")
        if batch > self.capacity or batch < 1:
            raise ValueError(f"batch must be from 1 to {self.capacity}, got {batch}.")
        memset(&job, 0, sizeof(Job))
        if sums is not None:
            job.start, job.loss_sum, job.weight_sum, job.correct = sums
            if not 0 <= job.start < total or job.start % batch:
                raise ValueError(f"a run of {total} samples cannot begin at {job.start}.")
        job.done = job.start
        bad.value = 0
        self.running = True
        try:
            if source is not None:
                PyObject_GetBuffer(source, &source_view, PyBUF_C_CONTIGUOUS)
                has_source = True
                job.run.source = <const char *>source_view.buf
            if targets is not None:
                PyObject_GetBuffer(targets, &targets_view, PyBUF_C_CONTIGUOUS)
                has_targets = True
                job.run.targets = <const char *>targets_view.buf
            if out is not None:
                PyObject_GetBuffer(out, &out_view, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
                has_out = True
                job.run.out = <char *>out_view.buf
            if order is not None:
                job.run.order = &order[0]
            if labels is not None:
                job.run.labels = &labels[0]
            if weights is not None:
                job.run.weights = &weights[0]
            if coefficients is not None:
                job.coefficients = &coefficients[0, 0]
                job.coefficient_count = coefficients.shape[1]
            job.penalties = self.penalties
            job.penalty_count = self.penalty_count
            job.first_step = first_step
            job.run.losses = self.losses_at
            job.run.correct = self.correct_at
            job.run.counts = counts
            job.run.bad = &bad
            job.python_weight = &self.weight
            job.run.x_row = x_row
            job.in_place = in_place
            job.stops = stops
            job.sample_bytes = sample_bytes
            job.ops = self.ops
            job.pace = &self.pace
            job.count = self.count
            job.total = total
            job.epochs = epoch_loss.shape[0]
            job.epoch_loss = &epoch_loss[0]
            job.epoch_seconds = &epoch_seconds[0]
            job.epoch_correct = &epoch_correct[0]
            job.batch = batch
            job.scratch = self.scratch
            job.scratch_bytes = self.scratch_bytes
            job.program = <void *>self
            job.polls = poll is not None
            job.every_step = every_step
            job.interval = interval
            job.steps_between = steps_between
            job.watched = 0 if watch is None else watched
            job.steps_before = steps_before
            self.poll, self.watch = poll, watch
            self.error = None
            self.progress = 0, job.start
            memset(self.correct_at, 0, self.capacity * sizeof(int))
            threads = min(threads, self.threads)
            with nogil:
                self.pace.shaken = _shaken
                active = self.pace.active if 1 <= self.pace.active <= threads else threads
                fm_team_run(threads, active, _body, &job)
                if threads > 1:
                    self.pace.ended = fm_seconds()
            self.progress = job.epochs_done, job.done
            if self.error is not None:
                raise self.error
            return (mean_of(job.loss_sum, job.weight_sum), job.loss, job.correct, job.done,
                    bad.value != 0, job.epochs_done)
        finally:
            self.running = False
            self.poll = self.watch = self.error = None
            if has_source:
                PyBuffer_Release(&source_view)
            if has_targets:
                PyBuffer_Release(&targets_view)
            if has_out:
                PyBuffer_Release(&out_view)

    def one(self, source, out, Py_ssize_t sample_bytes, bint in_place, Py_ssize_t x_row):
        """Predict one sample: `run` without its options, which is faster."""
        cdef Job job
        cdef fm_flag bad
        cdef Py_buffer source_view, out_view
        cdef double loss, seconds
        cdef int64_t correct
        if self.running:
            raise RuntimeError("this model is already running; use another model in each thread.")
        memset(&job, 0, sizeof(Job))
        PyObject_GetBuffer(source, &source_view, PyBUF_C_CONTIGUOUS)
        try:
            PyObject_GetBuffer(out, &out_view, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
        except BaseException:
            PyBuffer_Release(&source_view)
            raise
        bad.value = 0
        job.run.source = <const char *>source_view.buf
        job.run.out = <char *>out_view.buf
        job.run.bad = &bad
        job.run.losses = self.losses_at
        job.run.correct = self.correct_at
        job.run.x_row = x_row
        job.in_place = in_place
        job.sample_bytes = sample_bytes
        job.ops = self.ops
        job.count = self.count
        job.total = job.batch = job.epochs = job.steps_between = 1
        job.epoch_loss = &loss
        job.epoch_seconds = &seconds
        job.epoch_correct = &correct
        job.scratch = self.scratch
        job.scratch_bytes = self.scratch_bytes
        job.program = <void *>self
        self.running = True
        with nogil:
            fm_team_run(1, 1, _body, &job)
        self.running = False
        PyBuffer_Release(&source_view)
        PyBuffer_Release(&out_view)
