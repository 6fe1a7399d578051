"""The parts of a plan: operations, the values between them, and the buffers of the values."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from fastmlp._types import Array
from fastmlp.activations import ActivationFunction
from fastmlp.layers.base import Layer
from fastmlp.parameter import Parameter

__all__ = ["Buffer", "Gradient", "Operation", "Value", "describe", "last_axis"]


@dataclass(eq=False)
class Buffer:
    """Memory of the arena: ``rows`` rows of ``columns`` elements, ``stride`` elements apart.

    Attributes
    ----------
    zero : bool
        Whether the elements that no operation writes must be zero. Such a buffer shares its memory
        with no other.
    first, last : int
        First and last phase (stretch between two barriers) that uses it.
    offset : int
        Place in the arena, in elements; -1 until the plan is finished.
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
    """The samples of a batch at one point of the network.

    Attributes
    ----------
    columns : int
        Elements of one sample.
    buffer : Buffer or None
        Memory of the value; None for samples that stay in the caller's memory.
    activation : ActivationFunction or None
        The elementwise activation that computed it. The derivative is computed from ``saved``.
    producer : Operation or None
        The operation that computed it, into which an activation or a mask can be fused.
    uses : int
        Number of layers that read it. Fusion changes the producer, or overwrites the buffer, only
        if there is a single reader.
    deep : bool
        Whether the layer that computed it passes its gradient on to layers below.
    kept : bool
        Whether a layer below still needs the buffer unchanged, so nothing may overwrite it.
    listed : bool
        Whether products with it leave out zeros.
    """

    columns: int
    buffer: Buffer | None
    activation: ActivationFunction | None = None
    saved: Buffer | None = None
    producer: Operation | None = None
    uses: int = 1
    deep: bool = False
    kept: bool = False
    listed: bool = False

    @property
    def fusible(self) -> Operation | None:
        """The producer if the value has one reader, so that the producer may be changed."""
        return self.producer if self.uses == 1 else None

    @property
    def free(self) -> Buffer | None:
        """The buffer if its one reader may overwrite it."""
        return self.buffer if self.uses == 1 and not self.kept else None


@dataclass(eq=False)
class Gradient:
    """Gradient of the loss with respect to a value.

    Attributes
    ----------
    buffer : Buffer
    derived : bool
        Whether it already includes the derivative of the activation that computed the value.
    transposed : Buffer or None
        The same gradient as (columns, samples), if the operation that computed it also wrote this.
    """

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
        Shapes of the operands, for the table.
    fused : list of str
        Names of other operations in the same pass.
    flops, bytes : int
        Floating-point operations, and the minimum of bytes read and written, for a full batch.
    phase : int
        Number of barriers before it.
    barrier : bool
        Whether all threads wait for each other after it.
    by_samples : bool
        Whether each thread works on a fixed share of the samples.
    weights : tuple of (Parameter, Parameter or None), or None
        Weight and bias of a linear operation into which a scale and shift can be folded.
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
