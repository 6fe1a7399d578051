"""The samples in a plan: copy to the arena, standardization, lists of nonzeros, outputs."""

from __future__ import annotations

from fastmlp._arrays import empty
from fastmlp._compiled import plan as compiled
from fastmlp._plan.builder import Builder
from fastmlp._plan.operation import Buffer, Gradient, Value
from fastmlp._plan.rules import LayerRule, LayerRules
from fastmlp.layers import Flatten, Standardize
from fastmlp.layers.base import Layer
from fastmlp.parameter import Derived

__all__ = ["LAYER_RULES", "gather", "in_place", "nonzeros", "output", "transpose"]


def in_place(builder: Builder, columns: int) -> Value:
    """Return the samples of the batch in the caller's memory, without an operation."""
    return Value(columns, None, listed=builder.listed)


def gather(builder: Builder, columns: int, bytes_: bool, scale: float) -> Value:
    """Add the copy of the batch's samples, converted and scaled, to the arena."""
    y = builder.buffer("batch", columns)
    operation = builder.add(
        "gather",
        None,
        f"({builder.rows}, {columns})",
        4 * builder.rows * columns,
        [],
        [y],
        by_samples=True,
        inputs=columns,
        outputs=columns,
        y=y,
        bytes=bytes_,
        scale=scale,
    )
    operation.fused += ["uint8"] * bytes_ + [f"scale {scale:.4g}"] * (scale != 1)
    return Value(columns, y, listed=builder.listed)


def nonzeros(builder: Builder, x: Value) -> Buffer:
    """Add the lists of the nonzero elements of the samples."""
    size, _ = compiled.list_memory(x.columns, builder.rows, builder.dtype.itemsize == 8)
    tiles = -(-builder.rows // compiled.LIST_ROWS)
    lists = builder.new_buffer("nonzeros", tiles, size, size, False)
    builder.add(
        "nonzeros",
        None,
        f"({builder.rows}, {x.columns})",
        builder.rows * x.columns,
        [x.buffer],
        [lists],
        by_samples=True,
        inputs=x.columns,
        outputs=x.columns,
        x=x.buffer,
        lists=lists,
    )
    return lists


def transpose(builder: Builder, layer: Layer | None, dy: Buffer, transposed: Buffer) -> None:
    """Add the transposition of rows of samples, with zeros after the last sample."""
    columns = dy.columns
    builder.add(
        "transpose",
        layer,
        f"({builder.rows}, {columns})",
        builder.rows * columns,
        [dy],
        [transposed],
        moves=builder.rows * columns,
        inputs=columns,
        outputs=columns,
        dy=dy,
        dyt=transposed,
    )


def output(builder: Builder, x: Value) -> None:
    """Add the copy of the outputs to the caller's array."""
    builder.add(
        "output",
        None,
        f"({builder.rows}, {x.columns})",
        builder.rows * x.columns,
        [x.buffer],
        [],
        inputs=x.columns,
        outputs=x.columns,
        x=x.buffer,
    )


def _standardize(builder: Builder, layer: Standardize, x: Value) -> Value:
    """Add ``(x - mean) * scale``, fused into the copy of the batch if this comes directly before.

    During the copy, each sample is in the cache already.
    """
    sources = layer.mean, layer.scale
    three = empty((3, x.columns), builder.dtype)  # per column: mean, scale and a shift of 0
    three[2] = 0

    def compute() -> None:
        three[0], three[1] = layer.rows()

    builder.derived.append(Derived(sources, compute))
    builder.storage += [(stored, stored.plain()) for stored in sources]
    arguments = {"s0": three[0], "w": three[1], "b": three[2]}
    before = builder.operations[-1] if builder.operations else None
    if before is not None and before.kind == "gather" and x.uses == 1:
        before.arguments |= arguments
        before.flops += 2 * builder.rows * x.columns
        before.fused.append(layer.name)
        x.listed = False
        return x
    y = builder.output_buffer(layer, x.columns)
    builder.add(
        "scale_shift",
        layer,
        f"({builder.rows}, {x.columns})",
        3 * builder.rows * x.columns,
        [x.buffer],
        [y],
        inputs=x.columns,
        outputs=x.columns,
        x=x.buffer,
        z=y,
        y=y,
        **arguments,
    )
    return Value(x.columns, y)


def _standardize_backward(
    builder: Builder, layer: Standardize, x: Value, y: Value, gradient: Gradient, need_dx: bool
) -> None:
    """Add nothing: this is the first layer, and it has no parameters."""


def _flatten(builder: Builder, layer: Flatten, x: Value) -> Value:
    """Return ``x``, because the samples of a value are flat in a plan."""
    return x


def _flatten_backward(
    builder: Builder, layer: Flatten, x: Value, y: Value, gradient: Gradient, need_dx: bool
) -> Gradient:
    return gradient


LAYER_RULES: LayerRules = {
    Flatten: LayerRule(_flatten, _flatten_backward),
    Standardize: LayerRule(_standardize, _standardize_backward),
}
