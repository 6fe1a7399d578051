"""Batch and layer normalization in a plan. Prediction folds them into the layer before."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp._arrays import empty
from fastmlp._plan import updates
from fastmlp._plan.activations import derive, fuse_derivative
from fastmlp._plan.builder import Builder
from fastmlp._plan.operation import Gradient, Operation, Value
from fastmlp._plan.rules import LayerRule, LayerRules
from fastmlp._types import Array
from fastmlp.layers import BatchNorm, LayerNorm
from fastmlp.parameter import Derived, Storage

__all__ = ["LAYER_RULES"]


def _batch_norm(builder: Builder, layer: BatchNorm, x: Value) -> Value:
    """Add the normalization, by batch statistics in training and running statistics otherwise."""
    return _by_batch(builder, layer, x) if builder.training else _by_running(builder, layer, x)


def _by_batch(builder: Builder, layer: BatchNorm, x: Value) -> Value:
    """Add the normalization of a batch by its statistics.

    If every column is a feature, it takes one pass, and the features are divided among threads. If
    a feature has many positions in a sample, a first operation computes the moments of each
    position.
    """
    features, columns = layer.gamma.shape[0], x.columns
    y = builder.output_buffer(layer, columns)
    shape = f"({builder.rows}, {columns})"
    elements = builder.rows * columns
    arguments: dict[str, Any] = {
        "inputs": features,
        "outputs": columns,
        "x": x.buffer,
        "statistics": np.empty(2 * features),
    }
    if columns != features:
        arguments["partial"] = np.empty(2 * columns)
        builder.add("batch_moments", layer, shape, 6 * elements, [x.buffer], [], **arguments)
    _reserve(builder, features, columns)
    operation = builder.add(
        "batch_norm",
        layer,
        shape,
        (4 if columns != features else 10) * elements,
        [x.buffer],
        [y],
        epsilon=layer.epsilon,
        w=builder.live(layer.gamma),
        b=builder.live(layer.beta),
        z=y,
        y=y,
        **arguments,
    )
    return Value(columns, y, producer=operation)


def _by_running(builder: Builder, layer: BatchNorm, x: Value) -> Value:
    """Add ``gamma * (x - mean) / sqrt(variance + epsilon) + beta``.

    If a linear operation comes directly before, it is folded into a copy of the weights that the
    plan keeps. Otherwise it is a pass over the values, in place if possible.
    """
    producer = x.fusible
    linear = x.activation is None and producer is not None and "pool" not in producer.arguments
    if linear and producer is not None and producer.weights is not None:
        _fold(builder, layer, producer)
        return x
    gamma = layer.gamma
    sources = (gamma, layer.beta, layer.running_mean, layer.running_variance)
    repeats = x.columns // gamma.shape[0]
    three = empty((3, x.columns), builder.dtype)  # mean, scale and shift of every column

    def compute() -> None:
        factor, shift, centre = _factors(layer)
        three[0] = np.tile(centre, repeats)
        three[1] = np.tile(factor, repeats)
        # The shift compensates for the rounding of the mean to the dtype.
        rest = three[0, : len(centre)].astype(np.float64) - centre
        three[2] = np.tile(shift + rest * factor, repeats)

    builder.derived.append(Derived(sources, compute))
    buffer = x.free or builder.output_buffer(layer, x.columns)
    operation = builder.add(
        "scale_shift",
        layer,
        f"({builder.rows}, {x.columns})",
        3 * builder.rows * x.columns,
        [x.buffer],
        [buffer],
        inputs=x.columns,
        outputs=x.columns,
        x=x.buffer,
        s0=three[0],
        w=three[1],
        b=three[2],
        z=buffer,
        y=buffer,
    )
    return Value(x.columns, buffer, producer=operation)


def _fold(builder: Builder, layer: BatchNorm, producer: Operation) -> None:
    """Replace the weight and bias of a linear operation by scaled and shifted copies."""
    if producer.weights is None:
        raise ValueError("only a linear operation can be folded into.")
    weight, bias = producer.weights
    sources = (layer.gamma, layer.beta, layer.running_mean, layer.running_variance)
    folded, offset = Storage(weight.shape), Storage(layer.gamma.shape)
    folded.assign(np.zeros((), builder.dtype), builder.dtype)
    offset.assign(np.zeros((), builder.dtype), builder.dtype)
    in_panels = producer.arguments["w"].shape != weight.shape
    producer.arguments["w"] = folded.panels(builder.width) if in_panels else folded.plain()
    producer.arguments["b"] = offset.plain()

    def compute() -> None:
        factor, shift, centre = _factors(layer)
        folded.write((weight.value * factor).astype(builder.dtype))
        before = bias.value if bias is not None else 0.0
        offset.write(((before - centre) * factor + shift).astype(builder.dtype))

    builder.derived.append(Derived((weight, bias, *sources), compute))
    producer.fused.append(layer.name)
    producer.weights = None


def _factors(layer: BatchNorm) -> tuple[Array, Array, Array]:
    """Return factor, shift and centre of every feature, in float64."""
    gamma, beta, mean, variance = (
        stored.value.astype(np.float64)
        for stored in (layer.gamma, layer.beta, layer.running_mean, layer.running_variance)
    )
    return gamma / np.sqrt(variance + layer.epsilon), beta, mean


def _batch_norm_backward(
    builder: Builder, layer: BatchNorm, x: Value, y: Value, gradient: Gradient, need_dx: bool
) -> Gradient | None:
    """Add the backward pass, and the updates of gamma, beta and the running statistics."""
    gradient = derive(builder, layer, y, gradient)
    gamma, beta = layer.gamma, layer.beta
    features, columns, dy = gamma.shape[0], x.columns, gradient.buffer
    shape = f"({builder.rows}, {columns})"
    elements = builder.rows * columns
    forward = y.producer.arguments if y.producer is not None else {}
    arguments: dict[str, Any] = {
        "inputs": features,
        "outputs": columns,
        "x": x.buffer,
        "dy": dy,
        "statistics": forward["statistics"],
        "epsilon": forward["epsilon"],
    }
    one_pass = columns == features
    if not one_pass:
        arguments["partial"] = np.empty(2 * columns)
        builder.add("batch_products", layer, shape, 6 * elements, [x.buffer, dy], [], **arguments)
    result = None
    update = None
    if one_pass or need_dx:
        dx = None
        if need_dx:
            dx = builder.buffer("d " + layer.name, columns, zero=columns % builder.lanes != 0)
        below = builder.transposed_for(layer.name, x) if need_dx and one_pass else None
        update = builder.add(
            "batch_norm_backward",
            layer,
            shape,
            (12 if one_pass else 6) * elements,
            [x.buffer, dy],
            [dx, below],
            barrier=need_dx,  # without dx, no operation reads the result
            dx=dx,
            dxt=below,
            **arguments,
        )
        if dx is not None:
            derived = fuse_derivative(update, x)
            result = Gradient(dx, derived, below)
            if not one_pass:
                update.arguments["w"] = builder.live(gamma)
    if not one_pass:
        flops = 10 * columns
        update = builder.add(
            "batch_update", layer, f"({features},)", flops, [], [], barrier=False, **arguments
        )
    if update is None:
        raise ValueError("a batch normalization without an update.")
    if updates.wanted(builder, gamma, beta):
        updates.update(builder, update, gamma, beta)
    elif need_dx and one_pass:
        update.arguments["w"] = builder.live(gamma)
    if builder.training is not None and builder.training.updates:
        update.arguments |= {
            "running_mean": builder.live(layer.running_mean),
            "running_variance": builder.live(layer.running_variance),
            "momentum": layer.momentum,
        }
        update.fused.append("running statistics")
    return result


def _layer_norm(builder: Builder, layer: LayerNorm, x: Value) -> Value:
    """Add the normalization of every sample over its last axis."""
    features, columns = layer.gamma.shape[0], x.columns
    y = builder.output_buffer(layer, columns)
    operation = builder.add(
        "layer_norm",
        layer,
        f"({builder.rows}, {columns})",
        12 * builder.rows * columns,
        [x.buffer],
        [y],
        inputs=features,
        outputs=columns,
        x=x.buffer,
        statistics=np.empty(2 * builder.rows * (columns // features)),
        epsilon=layer.epsilon,
        w=builder.live(layer.gamma),
        b=builder.live(layer.beta),
        z=y,
        y=y,
    )
    return Value(columns, y, producer=operation)


def _layer_norm_backward(
    builder: Builder, layer: LayerNorm, x: Value, y: Value, gradient: Gradient, need_dx: bool
) -> Gradient | None:
    """Add the input gradient, which needs the old gamma, and then the update."""
    gradient = derive(builder, layer, y, gradient)
    gamma, beta = layer.gamma, layer.beta
    features, columns, dy = gamma.shape[0], x.columns, gradient.buffer
    shape = f"({builder.rows}, {columns})"
    forward = y.producer.arguments if y.producer is not None else {}
    arguments: dict[str, Any] = {
        "inputs": features,
        "outputs": columns,
        "x": x.buffer,
        "dy": dy,
        "statistics": forward["statistics"],
        "epsilon": forward["epsilon"],
    }
    _reserve(builder, features, columns)
    result = None
    if need_dx:
        dx = builder.buffer("d " + layer.name, columns, zero=columns % builder.lanes != 0)
        operation = builder.add(
            "layer_norm_backward",
            layer,
            shape,
            14 * builder.rows * columns,
            [x.buffer, dy],
            [dx],
            dx=dx,
            w=builder.live(gamma),
            **arguments,
        )
        result = Gradient(dx, fuse_derivative(operation, x))
    if updates.wanted(builder, gamma, beta):
        flops = 6 * builder.rows * columns
        update = builder.add(
            "layer_norm_update",
            layer,
            shape,
            flops,
            [x.buffer, dy],
            [],
            barrier=False,
            **arguments,
        )
        updates.update(builder, update, gamma, beta)
    return result


def _reserve(builder: Builder, features: int, columns: int) -> None:
    """Reserve scratch memory for four doubles per feature and four elements per column."""
    doubles = 4 * features * (8 // builder.dtype.itemsize)
    builder.reserve_scratch(doubles + 4 * columns)


LAYER_RULES: LayerRules = {
    BatchNorm: LayerRule(_batch_norm, _batch_norm_backward),
    LayerNorm: LayerRule(_layer_norm, _layer_norm_backward),
}
