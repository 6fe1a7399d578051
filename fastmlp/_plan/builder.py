"""The builder of one plan: a list of operations and the memory they use.

The lowering rules of the layer families (``dense.py``, ``convolution.py``, ...) add operations to a
:class:`Builder`. It places their values in one arena and hands the list to the compiled
:class:`~fastmlp._compiled.plan.Program`, which runs it for many batches without the GIL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp import _backend
from fastmlp._arrays import empty
from fastmlp._compiled import plan as compiled
from fastmlp._plan.memory import allocate, row_stride, without_aliasing
from fastmlp._plan.operation import Buffer, Gradient, Operation, Value
from fastmlp._types import Array, DType
from fastmlp.layers.base import Layer, Training
from fastmlp.optimizers import OptimizerState
from fastmlp.parameter import Derived, Parameter

__all__ = ["Builder", "PythonContext"]

# Minimum floating-point operations per thread; below this a barrier costs more than the thread
# saves.
_GRAIN = 40_000
# Floating-point operations in the time of moving one element individually.
_MOVE = 16
# Minimum number of samples per thread where threads share the samples.
OWN_SAMPLES = 16


@dataclass
class PythonContext:
    """Data of the run in progress, for the Python operations of a plan.

    Attributes
    ----------
    first_step : int
        Number of the run's first step, counted from the creation of the network.
    batch : int
        Samples per step.
    x, y, order, weights : array or None
        Samples, targets, order of the samples, and sample weights.
    losses, correct : array
        Where a loss in Python writes the loss and the correct predictions of each sample.
    program : Program
        Where a loss in Python sets the weight of the batch.
    """

    first_step: int = 1
    batch: int = 1
    x: Array | None = None
    y: Array | None = None
    order: Array | None = None
    weights: Array | None = None
    losses: Any = None
    correct: Any = None
    program: Any = None

    def rows(self, count: int, first: int) -> Any:
        """Return the index of ``count`` samples at position ``first`` of the epoch."""
        here = slice(first, first + count)
        return here if self.order is None else self.order[here]

    def clear(self) -> None:
        """Drop the caller's arrays."""
        self.x = self.y = self.order = self.weights = None


class Builder:
    """The operations of a plan for batches of at most ``rows`` samples, and their memory.

    Parameters
    ----------
    dtype : numpy.dtype
    rows : int
        Samples of the largest batch.
    threads : int
        Maximum number of threads of a run.
    state : OptimizerState or None
        The optimizer's state, for a plan that trains.
    gradients : dict of str to array, or None
        Where a plan stores the gradients, by parameter name, instead of updating.
    training : Training or None
        Information for layers about the training passes; None if the plan predicts.

    Attributes
    ----------
    operations : list of Operation
    lanes, width : int
        Elements of a vector, and columns of a weight panel (two vectors).
    in_panels : bool
        Whether the weights of dense layers are in panels.
    index_bytes : int
        Bytes of an integer if samples are integers, otherwise 0.
    listed : bool
        Whether the samples have many zeros, which the first products leave out.
    storage : list of (Storage, array)
        Arrays whose addresses the plan holds. The plan is invalid as soon as one of them moves.
    derived : list of Derived
        Arrays that the plan has computed from stored arrays, refreshed when these change.
    workspaces : dict of str to dict
        Workspaces of the layers that run in Python, by layer name and number of rows.
    kept_gradients : dict
        Gradients to clip by the global norm; see ``updates.py``.
    penalties : array of float64
        Partial sums that the program adds to the loss of every batch.
    context : PythonContext
        Data of the run in progress, for operations in Python.
    """

    in_panels = True

    def __init__(
        self,
        dtype: DType,
        rows: int,
        threads: int,
        state: OptimizerState | None = None,
        gradients: dict[str, Array] | None = None,
        training: Training | None = None,
    ) -> None:
        self.dtype = dtype
        self.rows = rows
        self.threads = threads
        self.state = state
        self.gradients = gradients
        self.training = training
        self.context = PythonContext(batch=rows)
        self.operations: list[Operation] = []
        self.index_bytes = 0
        self.listed = False
        self.lanes: int = compiled.lanes()[dtype.itemsize == 8]
        self.width = 2 * self.lanes
        self.storage: list[tuple[Any, Array]] = []
        self.derived: list[Derived] = []
        self.workspaces: dict[str, dict[int, Any]] = {}
        self.kept_gradients: dict[str, Any] = {}
        self.penalties: npt.NDArray[np.float64] = np.empty(0)
        self.ops = _backend.load("kernels")
        self.arena = np.empty(0, dtype)
        self._buffers: list[Buffer] = []
        self._phase = 0
        # Scratch elements per thread: the sums of a chunk of rows, and its packed inputs.
        self._scratch = compiled.SCRATCH_ROWS * (self.width + rows) + self.lanes

    # --- Operations -----------------------------------------------------------------------------

    def add(
        self,
        kind: str,
        layer: Layer | None,
        shape: str,
        flops: int,
        reads: list[Buffer | None],
        writes: list[Buffer | None],
        *,
        moved: int = 0,
        moves: int = 0,
        barrier: bool = True,
        by_samples: bool = False,
        **arguments: Any,
    ) -> Operation:
        """Add an operation.

        Parameters
        ----------
        kind : str
            Name of the compiled operation.
        layer : Layer or None
        shape : str
            Shapes of the operands, for the table.
        flops : int
            Floating-point operations.
        reads, writes : list of Buffer or None
            Buffers that the operation uses, which determine their phases. None entries are left
            out.
        moved : int
            Elements read or written besides the buffers.
        moves : int
            Elements that are moved individually or looked up.
        barrier : bool
            Whether all threads synchronize after the operation.
        by_samples : bool
            Whether samples are divided among threads, and each thread reads only what it wrote.
        **arguments
            Fields of the compiled operation: numbers, arrays and buffers (which become addresses).
        """
        used = [buffer for buffer in (*reads, *writes) if buffer is not None]
        elements = moved + sum(buffer.rows * buffer.columns for buffer in used)
        # Without a barrier a thread costs little, because it continues with the next operation.
        work = (flops + _MOVE * moves) * (1 if barrier else 4)
        threads = 1 if kind == "python" else work // _GRAIN
        if by_samples:
            threads = self.rows // OWN_SAMPLES
        threads = max(1, min(self.threads, threads))
        if barrier and self._flows_into(kind, threads, by_samples):
            self.operations[-1].barrier = False
            self._phase -= 1
        operation = Operation(
            kind,
            layer.name if layer is not None else "",
            shape,
            flops,
            elements * self.dtype.itemsize,
            self._phase,
            barrier,
            arguments=arguments,
            threads=threads,
            by_samples=by_samples,
        )
        for buffer in used:
            buffer.first = min(buffer.first, self._phase)
            buffer.last = max(buffer.last, self._phase)
        self.operations.append(operation)
        if barrier:
            self._phase += 1
        return operation

    def _flows_into(self, kind: str, threads: int, by_samples: bool) -> bool:
        """Return whether a new operation can run without the barrier after the last one."""
        before = self.operations[-1] if self.operations else None
        if before is None or not before.barrier or before.arguments.get("checks"):
            return False
        if before.threads == threads == 1:
            return "python" not in (kind, before.kind)  # one thread runs both
        # Each thread continues with its samples, which are in its cache.
        return by_samples and before.by_samples and before.threads == threads

    def meet(self) -> None:
        """Add a barrier for all threads after the last operation."""
        if not self.operations[-1].barrier:
            self.operations[-1].barrier = True
            self._phase += 1

    def compiled_kind(self, operation: Operation) -> str:
        """Return the name of the compiled operation in the layout of the plan."""
        return operation.kind

    def finish(self) -> tuple[compiled.Program, Array]:
        """Return the program and its arena."""
        self.arena = allocate(self._buffers, self._phase, self.dtype)
        program = compiled.Program(self.dtype.itemsize == 8, self.rows, self.threads, self._scratch)
        if self.penalties.size:
            program.add_penalties(self.penalties)
        base = self.arena.ctypes.data
        for operation in self.operations:
            arguments: dict[str, Any] = {}
            kept = []
            for name, value in operation.arguments.items():
                if isinstance(value, Buffer):
                    arguments[name] = base + value.offset * self.dtype.itemsize
                    arguments.setdefault(name + "_row", value.stride)
                elif isinstance(value, np.ndarray):
                    arguments[name] = value.ctypes.data
                    kept.append(value)
                elif value is not None:
                    arguments[name] = value
            program.add(
                self.compiled_kind(operation),
                keep=(self.arena, *kept),
                threads=operation.threads,
                barrier=operation.barrier,
                **arguments,
            )
        self.context.losses = np.asarray(program.losses)
        self.context.correct = np.asarray(program.correct)
        self.context.program = program
        return program, self.arena

    # --- Values ---------------------------------------------------------------------------------

    def gradient(self, dy: Buffer, x: Value) -> Gradient:
        """Return the gradient of ``x`` in ``dy``, to which no derivative is applied yet."""
        return Gradient(dy, x.activation is None)

    def on_rows(self, x: Value) -> Value:
        """Return a value with one row per sample, for a loss that needs this layout."""
        return x

    def gradient_on_rows(self, dy: Buffer, x: Value) -> Gradient:
        """Return the gradient of ``x`` from ``dy``, which is the gradient of ``on_rows(x)``."""
        return self.gradient(dy, x)

    # --- Memory ---------------------------------------------------------------------------------

    def buffer(self, name: str, columns: int, *, zero: bool = False) -> Buffer:
        """Return a new buffer for the samples of a batch, in the layout of the plan."""
        return self.row_buffer(name, columns, zero=zero)

    def row_buffer(self, name: str, columns: int, *, zero: bool = False) -> Buffer:
        """Return a new buffer with one row per sample, in whole vectors."""
        return self.new_buffer(name, self.rows, columns, self.stride(columns), zero)

    def output_buffer(self, layer: Layer, columns: int) -> Buffer:
        """Return a new buffer for a layer's output."""
        # Derivatives are computed for whole vectors, so the elements after the last column must not
        # be NaN: 0 * NaN would get into the panels of the weights.
        return self.buffer(layer.name, columns, zero=columns % self.lanes != 0)

    def memory(self, name: str, rows: int, columns: int) -> Buffer:
        """Return a new buffer that does not hold samples; elements never written are zero."""
        stride = -(-columns // self.width) * self.width
        return self.new_buffer(name, rows, columns, stride, True)

    def transposed_buffer(self, name: str, columns: int) -> Buffer:
        """Return a new buffer for a gradient as (columns, samples)."""
        # Products read whole panels, so the padding after the last row must be zero.
        padded = -(-columns // self.width) * self.width
        stride = self.stride(self.rows)
        return self.new_buffer(
            f"d {name}, transposed", padded, self.rows, stride, padded != columns
        )

    def transposed_for(self, name: str, x: Value) -> Buffer | None:
        """Return a buffer for the transposed gradient of ``x`` if a dense layer will read it."""
        softmax = x.activation is not None and x.activation.name == "softmax"
        producer = x.fusible
        wanted = x.deep and producer is not None and producer.kind == "dense" and not softmax
        return self.transposed_buffer(name, x.columns) if wanted else None

    def new_buffer(self, name: str, rows: int, columns: int, stride: int, zero: bool) -> Buffer:
        """Return a new buffer, in use from the current phase on."""
        buffer = Buffer(name, rows, columns, stride, zero, self._phase)
        self._buffers.append(buffer)
        return buffer

    def drop_buffer(self, unused: Buffer | None) -> None:
        """Remove a buffer that no operation uses any more."""
        self._buffers = [buffer for buffer in self._buffers if buffer is not unused]

    def reserve_scratch(self, elements: int) -> None:
        """Make the scratch memory of each thread at least this large."""
        self._scratch = max(self._scratch, elements)

    def stride(self, columns: int) -> int:
        """Return the row stride for ``columns`` elements: whole vectors, without aliasing."""
        return row_stride(columns, self.lanes, self.width, self.dtype.itemsize)

    def without_aliasing(self, stride: int) -> int:
        """Return a row stride of at least ``stride`` that is not a multiple of 1 KiB."""
        return without_aliasing(stride, self.width, self.dtype.itemsize)

    def view(self, buffer: Buffer | None, rows: int) -> Array:
        """Return the first rows of a buffer, once the plan is finished."""
        if buffer is None:
            raise ValueError("the input of the network has no buffer.")
        start = buffer.offset
        whole = self.arena[start : start + buffer.size].reshape(buffer.rows, buffer.stride)
        return whole[:rows, : buffer.columns]

    def live(self, stored: Any, *, panels: bool = False) -> Array | None:
        """Return the memory of a stored array, in panels or plain. The plan holds its address."""
        if stored is None:
            return None
        live: Array = stored.panels(self.width) if panels else stored.plain()
        self.storage.append((stored, live))
        return live

    def store(self, parameter: Parameter) -> Array:
        """Return new memory for a gradient that the plan stores."""
        gradients = self.gradients
        if gradients is None:
            raise ValueError("the plan stores no gradients.")
        gradients[parameter.name] = empty(parameter.shape, self.dtype)
        return gradients[parameter.name]
