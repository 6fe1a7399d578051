"""Convolutions in a plan; the backward pass uses the nonzero elements of the gradient."""

from __future__ import annotations

import math
from dataclasses import astuple
from typing import Any

from fastmlp._compiled import plan as compiled
from fastmlp._plan import updates
from fastmlp._plan.activations import activate, derive, fuse_derivative
from fastmlp._plan.builder import Builder
from fastmlp._plan.operation import Gradient, Value
from fastmlp._plan.rules import LayerRule, LayerRules
from fastmlp.layers import Conv2D
from fastmlp.layers.window import Window
from fastmlp.parameter import Parameter

__all__ = ["LAYER_RULES", "images"]

# Maximum number of chunks of the batch over which a filter's gradient is summed, for any number of
# threads: few enough that adding them up costs little, more than most machines have cores.
_CHUNKS = 16
_LARGE_FILTERS = 1 << 14  # elements
_CHUNKS_OF_LARGE_FILTERS = 8


def _convolution(builder: Builder, layer: Conv2D, x: Value) -> Value:
    """Add ``activation(x convolved with weight + bias)``."""
    window, weight = layer.window, layer.weight
    filters, size = weight.shape[-1], math.prod(weight.shape)
    places = window.out_height * window.out_width
    y = builder.output_buffer(layer, places * filters)
    scratch, _, _ = compiled.convolution_memory(astuple(window), filters, builder.lanes)
    builder.reserve_scratch(scratch)
    operation = builder.add(
        "convolution",
        layer,
        f"{images(builder, window)} * {_filters(weight)}",
        2 * builder.rows * places * size,
        [x.buffer],
        [y],
        moved=size,
        inputs=size // filters,
        outputs=filters,
        w=builder.live(weight, panels=True),
        b=builder.live(layer.bias),
        z=y,
        y=y,
        x=x.buffer,
        window=astuple(window),
        by_rows=False,
    )
    operation.fused += ["bias"] if layer.bias is not None else []
    operation.weights = weight, layer.bias
    return activate(builder, layer, Value(y.columns, y, producer=operation), layer.activation)


def _convolution_backward(
    builder: Builder, layer: Conv2D, x: Value, y: Value, gradient: Gradient, need_dx: bool
) -> Gradient | None:
    """Add the gradients of input, filters and bias, and the update of the last two."""
    gradient = derive(builder, layer, y, gradient)
    window, weight, bias = layer.window, layer.weight, layer.bias
    trains = updates.wanted(builder, weight, bias)
    if not (need_dx or trains):
        return None
    filters, size = weight.shape[-1], math.prod(weight.shape)
    inputs = size // filters
    _, patch, part = compiled.convolution_memory(astuple(window), filters, builder.lanes)
    common: dict[str, Any] = {
        "inputs": inputs,
        "outputs": filters,
        "window": astuple(window),
        "chunks": _CHUNKS if size < _LARGE_FILTERS else _CHUNKS_OF_LARGE_FILTERS,
    }
    producer = y.producer
    pool = producer.arguments.get("pool") if producer is not None else None
    index = producer.arguments.get("index") if producer is not None else None
    turned = builder.memory(f"{layer.name}, transposed", filters, patch) if need_dx else None
    if turned is not None:
        builder.add(
            "filters",
            layer,
            _filters(weight),
            size,
            [],
            [turned],
            moved=2 * size,
            w=builder.live(weight, panels=True),
            filters=turned,
            **common,
        )
    parts = None
    if trains:
        parts = builder.memory(f"d {layer.name}, parts", common["chunks"], part)
    dx = builder.buffer("d " + layer.name, x.columns, zero=True) if need_dx else None
    operation = builder.add(
        "convolution_backward",
        layer,
        f"{images(builder, window)} * {_filters(weight)}",
        2 * builder.rows * window.out_height * window.out_width * size * (need_dx + trains),
        [x.buffer, gradient.buffer, index, turned],
        [dx, parts],
        x=x.buffer,
        dy=gradient.buffer,
        dx=dx,
        index=index,
        pool=pool,
        filters=turned,
        parts=parts,
        **common,
    )
    operation.fused += ["max-pool'"] if pool is not None else []
    derived = fuse_derivative(operation, x) if dx is not None else False
    if trains:
        update = builder.add(
            "convolution_update",
            layer,
            _filters(weight),
            common["chunks"] * size,
            [parts],
            [],
            moved=2 * size,
            barrier=False,
            parts=parts,
            **common,
        )
        updates.update(builder, update, weight, bias, panels=True)
    return Gradient(dx, derived) if dx is not None else None


def images(builder: Builder, window: Window) -> str:
    """Return the shape of a batch of images, for the table."""
    return f"({builder.rows}, {window.height}, {window.width}, {window.channels})"


def _filters(weight: Parameter) -> str:
    return "(" + ", ".join(map(str, weight.shape)) + ")"


LAYER_RULES: LayerRules = {Conv2D: LayerRule(_convolution, _convolution_backward)}
