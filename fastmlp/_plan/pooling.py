"""Pooling in a plan; a max-pool is fused into the convolution before it where possible."""

from __future__ import annotations

from dataclasses import astuple

from fastmlp._plan.activations import derive, fuse_derivative
from fastmlp._plan.builder import Builder
from fastmlp._plan.convolution import images
from fastmlp._plan.operation import Buffer, Gradient, Operation, Value
from fastmlp._plan.rules import LayerRule, LayerRules
from fastmlp.layers import AvgPool2D, GlobalAvgPool2D, MaxPool2D
from fastmlp.layers.window import Window

__all__ = ["LAYER_RULES"]


def _max_pool(builder: Builder, layer: MaxPool2D, x: Value) -> Value:
    """Add the largest element of each window."""
    window = layer.window
    columns = window.out_height * window.out_width * window.channels
    index = None  # the position of each maximum, which only the backward pass needs
    if builder.training is not None:
        index = builder.memory(
            f"{layer.name}, index",
            builder.rows,
            -(-columns * _index_bytes(window) // builder.dtype.itemsize),
        )
    before = x.fusible
    saves = x.activation.saves if x.activation is not None else "output"
    if before is not None and saves == "output" and _takes_pool(before):
        y = builder.output_buffer(layer, columns)
        y.first = y.last = before.phase
        if index is not None:
            index.first = index.last = before.phase
        before.arguments |= {"y": y, "z": y, "pool": astuple(window), "index": index}
        before.fused.append(f"max-pool {window.kernel_height}x{window.kernel_width}")
        builder.drop_buffer(x.buffer)
        x.buffer, x.columns = y, columns
        if x.activation is not None:
            x.saved = y
        return x
    y = builder.output_buffer(layer, columns)
    builder.add(
        "max_pool",
        layer,
        images(builder, window),
        builder.rows * columns * window.kernel_height * window.kernel_width,
        [x.buffer],
        [y, index],
        x=x.buffer,
        y=y,
        index=index,
        window=astuple(window),
    )
    return Value(columns, y, saved=index)


def _max_pool_backward(
    builder: Builder, layer: MaxPool2D, x: Value, y: Value, gradient: Gradient, need_dx: bool
) -> Gradient | None:
    if not need_dx:
        return None
    return _backward("max_pool_backward", builder, layer, x, y, gradient, y.saved)


def _average_pool(builder: Builder, layer: AvgPool2D | GlobalAvgPool2D, x: Value) -> Value:
    """Add the mean of each window."""
    window = layer.window
    columns = window.out_height * window.out_width * window.channels
    y = builder.output_buffer(layer, columns)
    builder.add(
        "average_pool",
        layer,
        images(builder, window),
        builder.rows * columns * window.kernel_height * window.kernel_width,
        [x.buffer],
        [y],
        x=x.buffer,
        y=y,
        window=astuple(window),
    )
    return Value(columns, y)


def _average_pool_backward(
    builder: Builder,
    layer: AvgPool2D | GlobalAvgPool2D,
    x: Value,
    y: Value,
    gradient: Gradient,
    need_dx: bool,
) -> Gradient | None:
    if not need_dx:
        return None
    return _backward("average_pool_backward", builder, layer, x, y, gradient, None)


def _backward(
    kind: str,
    builder: Builder,
    layer: MaxPool2D | AvgPool2D | GlobalAvgPool2D,
    x: Value,
    y: Value,
    gradient: Gradient,
    index: Buffer | None,
) -> Gradient:
    """Add the gradient of the input."""
    gradient = derive(builder, layer, y, gradient)
    window = layer.window
    dx = builder.buffer("d " + layer.name, x.columns, zero=True)
    operation = builder.add(
        kind,
        layer,
        images(builder, window),
        builder.rows * y.columns * window.kernel_height * window.kernel_width,
        [gradient.buffer, index],
        [dx],
        dy=gradient.buffer,
        dx=dx,
        index=index,
        window=astuple(window),
    )
    return Gradient(dx, fuse_derivative(operation, x))


def _takes_pool(operation: Operation) -> bool:
    """Return whether a max-pool can be fused into an operation: a convolution without a pool."""
    return operation.kind == "convolution" and "pool" not in operation.arguments


def _index_bytes(window: Window) -> int:
    """Return the bytes of the position of a maximum in its window: csrc/loops/pooling.pxd."""
    return 1 if window.kernel_height * window.kernel_width <= 256 else 4


LAYER_RULES: LayerRules = {
    MaxPool2D: LayerRule(_max_pool, _max_pool_backward),
    AvgPool2D: LayerRule(_average_pool, _average_pool_backward),
    GlobalAvgPool2D: LayerRule(_average_pool, _average_pool_backward),
}
