"""The list of operations of a plan, and the places of its values in one block of memory.

What any operation needs to be added: :class:`Core`. :class:`fastmlp._plan.builder.Builder` adds them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp import _backend
from fastmlp._arrays import empty
from fastmlp._compiled import plan as compiled
from fastmlp.activations import ActivationFunction
from fastmlp.layers.base import Layer, Training
from fastmlp.optimizers import OptimizerState
from fastmlp.parameter import Parameter
from fastmlp.stored import Derived

__all__ = ["Buffer", "Core", "Gradient", "Operation", "Value", "describe", "last_axis"]

Array = npt.NDArray[Any]

_LINE = 64  # bytes of a cache line
# Rows so many bytes apart (or a multiple) share few sets of the first cache.
_ALIASING = 1024
# A thread is worth its barrier from so many floating point operations on.
_GRAIN = 40_000
# Operations in the time that it takes to move a value on its own.
_MOVE = 16
# Samples of a thread that has its own, at least.
OWN_SAMPLES = 16


@dataclass(eq=False)
class Buffer:
    """Memory of the arena: ``rows`` rows of ``columns`` elements, ``stride`` apart.

    Attributes
    ----------
    zero : bool
        What no operation writes is zero: the memory is shared with no other buffer.
    first, last : int
        The phases (stretches between two barriers) that use it.
    """

    name: str
    rows: int
    columns: int
    stride: int
    zero: bool
    first: int
    last: int = -1
    offset: int = -1

    @property
    def size(self) -> int:
        """Elements from the first to the last row."""
        return self.rows * self.stride


@dataclass(eq=False)
class Value:
    """The samples of a batch at one point of the network; ``buffer`` is None for the input.

    Attributes
    ----------
    activation : ActivationFunction or None
        The elementwise activation that made it, whose derivative is computed from ``saved``.
    producer : Operation or None
        The operation that made it, so that an activation can join it.
    deep : bool
        Whether the layer that made it passes its gradient on to layers below.
    kept : bool
        Whether a layer below needs the buffer as it is: nobody may write to it.
    listed : bool
        Whether it is worth while to leave out the zeros in products with it.
    """

    columns: int
    buffer: Buffer | None
    activation: ActivationFunction | None = None
    saved: Buffer | None = None
    producer: Operation | None = None
    deep: bool = False
    kept: bool = False
    listed: bool = False


@dataclass(eq=False)
class Gradient:
    """The loss's gradient by a value, ``derived`` if by what its activation was applied to."""

    buffer: Buffer
    derived: bool
    transposed: Buffer | None = None


@dataclass(eq=False)
class Operation:
    """One line of a plan.

    Attributes
    ----------
    kind : str
        Name of the compiled operation.
    layer : str
        Name of the layer it belongs to.
    shape : str
        What it does, by shapes.
    fused : list of str
        What else happens in the same pass.
    flops, bytes : int
        Floating point operations, and bytes read and written at least, for a full batch.
    weights : tuple of (Parameter, Parameter or None), or None
        What a linear operation multiplies by and adds, for a scale and a shift of its outputs to
        be folded into.
    by_samples : bool
        Whether threads share the samples, each with its own, before and after it too.
    """

    kind: str
    layer: str
    shape: str
    flops: int
    bytes: int
    phase: int
    barrier: bool
    fused: list[str] = field(default_factory=list)
    arguments: dict[str, Any] = field(default_factory=dict)
    threads: int = 1
    by_samples: bool = False
    weights: tuple[Parameter, Parameter | None] | None = None


class Core:
    """The operations of a plan for batches of at most ``rows`` samples, and their memory.

    Parameters
    ----------
    dtype : numpy.dtype
    rows : int
        Samples of the largest batch.
    threads : int
        Of a run, at most.
    state : OptimizerState or None
        The optimizer of a plan that trains.
    gradients : dict of str to array, or None
        Where a plan that trains nothing stores the gradients, by parameter.
    training : Training or None
        What layers may know of the training passes of the plan; None: they predict.
    """

    def __init__(
        self,
        dtype: np.dtype[Any],
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
        # Of the run: the number of its first step in the life of the network, samples a step.
        self.first_step, self.batch = 1, rows
        self.operations: list[Operation] = []
        self.index_bytes = 0  # of an integer, where samples are integers
        self.listed = False  # whether samples have many zeros, which products leave out
        self.lanes: int = compiled.lanes()[dtype.itemsize == 8]
        self.width = 2 * self.lanes
        # (stored array, its live memory): the plan holds addresses, and is void when they change.
        self.storage: list[tuple[Any, Array]] = []
        # What the plan has computed of stored arrays, to be computed again when they change.
        self.derived: list[Derived] = []
        self._buffers: list[Buffer] = []
        # What operations find that is to be added to the loss of every batch.
        self._penalties: npt.NDArray[np.float64] = np.empty(0)
        self._phase = 0
        self._workspaces: dict[str, dict[int, Any]] = {}
        self.ops = _backend.load("kernels")
        # Of every thread: sums of a chunk of rows, and that chunk's inputs packed.
        self._scratch = compiled.SCRATCH_ROWS * (self.width + rows) + self.lanes
        self.arena = np.empty(0, dtype)

    # --- Activations and gradients --------------------------------------------------------------

    def activate(self, layer: Layer, x: Value, activation: ActivationFunction) -> Value:
        """Add an activation; it joins the operation before where it can."""
        name = activation.name
        if name == "linear":
            return x
        before = x.producer
        if before is not None and before.arguments.get("pool") and name != "relu":
            before = None  # of equal values another one may be the first after it
        if name != "softmax" and before is not None and x.activation is None:
            x.activation, x.saved = activation, x.buffer
            before.arguments["activation"] = compiled.FORWARD[name]
            before.arguments["parameter"] = activation.parameter
            before.fused.append(name)
            if activation.saves == "input":
                # What comes before the activation has to stay.
                y = self.buffer(layer.name, x.columns)
                y.first = y.last = before.phase
                before.arguments["y"] = y
                x.buffer = y
            return x
        in_place = activation.saves == "output" and x.activation is None and not x.kept
        y = x.buffer if in_place and x.buffer else self._output(layer, x.columns)
        self._add(
            "activation",
            layer,
            f"({self.rows}, {x.columns})",
            20 * self.rows * x.columns,
            [x.buffer],
            [y],
            inputs=last_axis(layer),
            outputs=x.columns,
            x=x.buffer,
            y=y,
            activation=compiled.FORWARD[name],
            parameter=activation.parameter,
        ).fused.append(name)
        saved = x.buffer if activation.saves == "input" else y
        return Value(x.columns, y, activation, saved)

    def gradient(self, dy: Buffer, x: Value) -> Gradient:
        """Return the gradient by ``x`` that is in ``dy``, with no derivative taken yet."""
        return Gradient(dy, x.activation is None)

    def on_rows(self, x: Value) -> Value:
        """Return a value with a row a sample, for a loss that wants it so."""
        return x

    def gradient_on_rows(self, dy: Buffer, x: Value) -> Gradient:
        """Return the gradient by ``x`` that is in ``dy``, made from what ``on_rows`` returned."""
        return self.gradient(dy, x)

    def derive(self, layer: Layer, y: Value, gradient: Gradient) -> Gradient:
        """Return the gradient by what the activation of ``y`` was applied to."""
        if gradient.derived or y.activation is None:
            return gradient
        self._add(
            "activation_backward",
            layer,
            f"({self.rows}, {y.columns})",
            20 * self.rows * y.columns,
            [gradient.buffer, y.saved],
            [gradient.buffer],
            inputs=last_axis(layer),
            outputs=y.columns,
            dy=gradient.buffer,
            dx=gradient.buffer,
            saved=y.saved,
            activation=compiled.BACKWARD[y.activation.name],
            parameter=y.activation.parameter,
        ).fused.append(y.activation.name + "'")
        return Gradient(gradient.buffer, True)

    def _derive_too(self, operation: Operation, x: Value) -> bool:
        """Let an operation that makes the gradient of ``x`` take the derivative of what made it.

        Returns whether it does, or there is none.
        """
        if x.activation is None:
            return True
        if x.activation.name == "softmax":
            return False
        operation.arguments |= {
            "activation": compiled.BACKWARD[x.activation.name],
            "parameter": x.activation.parameter,
            "saved": x.saved,
        }
        if x.saved is not None:
            x.saved.last = max(x.saved.last, operation.phase)
        operation.fused.append(x.activation.name + "'")
        return True

    def meet(self) -> None:
        """Let all threads meet after the last operation."""
        if not self.operations[-1].barrier:
            self.operations[-1].barrier = True
            self._phase += 1

    def compiled_kind(self, operation: Operation) -> str:
        """Return the name of the compiled operation."""
        return operation.kind

    # --- Memory ---------------------------------------------------------------------------------

    def buffer(self, name: str, columns: int, *, zero: bool = False) -> Buffer:
        """Return a new buffer of the samples of a batch, in the layout of the plan."""
        return self.row_buffer(name, columns, zero=zero)

    def row_buffer(self, name: str, columns: int, *, zero: bool = False) -> Buffer:
        """Return a new buffer of a row a sample, in whole vectors."""
        return self._new_buffer(name, self.rows, columns, self._stride(columns), zero)

    def _new_buffer(self, name: str, rows: int, columns: int, stride: int, zero: bool) -> Buffer:
        buffer = Buffer(name, rows, columns, stride, zero, self._phase)
        self._buffers.append(buffer)
        return buffer

    def _output(self, layer: Layer, columns: int) -> Buffer:
        # A derivative may be computed from whole rows of it, and must not be NaN behind their end:
        # 0 * NaN would go from there to the weights' panels.
        return self.buffer(layer.name, columns, zero=columns % self.lanes != 0)

    def _stride(self, columns: int) -> int:
        """Return how far rows of so many values lie apart: in whole vectors, without aliasing."""
        return self._apart(-(-columns // self.lanes) * self.lanes)

    def _apart(self, stride: int) -> int:
        if stride * self.dtype.itemsize % _ALIASING == 0:
            stride += max(self.width, _LINE // self.dtype.itemsize)
        return stride

    def _transposed_buffer(self, name: str, columns: int) -> Buffer:
        # Products read whole panels of it: what is behind the last row must be zero.
        padded = -(-columns // self.width) * self.width
        stride = self._stride(self.rows)
        name = f"d {name}, transposed"
        return self._new_buffer(name, padded, self.rows, stride, padded != columns)

    def _transpose(self, layer: Layer | None, dy: Buffer, transposed: Buffer) -> None:
        """Add the transposition of rows of samples; what is behind the last sample is zero."""
        columns = dy.columns
        self._add(
            "transpose",
            layer,
            f"({self.rows}, {columns})",
            self.rows * columns,
            [dy],
            [transposed],
            moves=self.rows * columns,
            inputs=columns,
            outputs=columns,
            dy=dy,
            dyt=transposed,
        )

    def _transposed_for(self, name: str, x: Value) -> Buffer | None:
        """Return where the gradient of ``x`` goes transposed, if a dense layer will ask for it."""
        softmax = x.activation is not None and x.activation.name == "softmax"
        dense = x.producer is not None and x.producer.kind == "dense"
        wanted = x.deep and dense and not softmax
        return self._transposed_buffer(name, x.columns) if wanted else None

    def view(self, buffer: Buffer | None, rows: int) -> Array:
        """Return the first rows of a buffer, once the plan is finished."""
        if buffer is None:
            raise ValueError("the input of the network has no buffer.")
        start = buffer.offset
        whole = self.arena[start : start + buffer.size].reshape(buffer.rows, buffer.stride)
        return whole[:rows, : buffer.columns]

    def finish(self) -> tuple[compiled.Program, Array]:
        """Return the program and its arena."""
        self._place()
        program = compiled.Program(self.dtype.itemsize == 8, self.rows, self.threads, self._scratch)
        if self._penalties.size:
            program.add_penalties(self._penalties)
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
        return program, self.arena

    def _place(self) -> None:
        """Give every buffer its place; those in use at different times share memory."""
        line = _LINE // self.dtype.itemsize
        placed: list[Buffer] = []
        size = 0
        for buffer in sorted(self._buffers, key=lambda b: -b.size):
            if buffer.zero:
                buffer.first, buffer.last = 0, self._phase
            others = [b for b in placed if b.first <= buffer.last and buffer.first <= b.last]
            offset = 0
            for other in sorted(others, key=lambda b: b.offset):
                if offset + buffer.size <= other.offset:
                    break
                offset = max(offset, other.offset + -(-other.size // line) * line)
            buffer.offset = offset
            placed.append(buffer)
            size = max(size, offset + buffer.size)
        # Whole vectors may be read and written behind the last value.
        self.arena = empty((size + 1024 * line,), self.dtype)
        self.arena[...] = 0

    def _add(
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

        ``moved`` are elements that are read or written besides buffers; ``moves`` those that are
        moved one at a time or looked up. ``by_samples``: threads share the samples, and one reads
        of buffers only what it has written itself.
        """
        used = [buffer for buffer in (*reads, *writes) if buffer is not None]
        elements = moved + sum(buffer.rows * buffer.columns for buffer in used)
        # To go on with its samples costs a thread nothing, to meet the others does.
        work = (flops + _MOVE * moves) * (1 if barrier else 4)
        threads = 1 if kind == "python" else work // _GRAIN
        if by_samples:
            threads = self.rows // OWN_SAMPLES
        threads = max(1, min(self.threads, threads))
        before = self.operations[-1] if self.operations else None
        if barrier and before is not None and before.barrier and before.threads == threads == 1:
            if not (before.arguments.get("checks") or "python" in (kind, before.kind)):
                # The same thread does both.
                before.barrier = False
                self._phase -= 1
        elif barrier and by_samples and before is not None and before.barrier:
            if (
                before.by_samples
                and before.threads == threads
                and not before.arguments.get("checks")
            ):
                # Each goes on with its samples, which are in its cache.
                before.barrier = False
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

    def _live(self, stored: Any, *, panels: bool = False) -> Array | None:
        if stored is None:
            return None
        live: Array = stored.panels(self.width) if panels else stored.plain()
        self.storage.append((stored, live))
        return live

    def _store(self, parameter: Parameter) -> Array:
        gradients = self.gradients
        if gradients is None:
            raise ValueError("the plan stores no gradients.")
        gradients[parameter.name] = empty(parameter.shape, self.dtype)
        return gradients[parameter.name]


def last_axis(layer: Layer) -> int:
    """Return the size of the last axis of a layer's outputs."""
    return (layer.output_shape or (1,))[-1]


def describe(operations: list[Operation], rows: int, arena: Array) -> str:
    """Return the table that ``model.plan()`` prints."""
    table = [("operation", "layer", "shapes", "fused", "MFLOP", "KiB", "threads")]
    table += [
        (
            operation.kind,
            operation.layer,
            operation.shape,
            ", ".join(operation.fused),
            f"{operation.flops / 1e6:.3f}",
            f"{operation.bytes / 1024:.1f}",
            str(operation.threads) + (" |" if operation.barrier else ""),
        )
        for operation in operations
    ]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    left = {0, 1, 2, 3, 6}
    lines = [
        "  ".join(
            f"{text:<{width}}" if column in left else f"{text:>{width}}"
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    total = math.fsum(operation.flops for operation in operations) / 1e6
    lines.append(lines[1])
    lines.append(
        f"batches of {rows}: {total:.2f} MFLOP a step, {arena.nbytes / 1024:.1f} KiB of arena; "
        "| all threads meet"
    )
    return "\n".join(lines)
