"""Dropout and Gaussian noise in a plan.

The mask of Dropout is not stored. Its elements are a function of (seed, layer, step, row, column)
and are drawn again in the backward pass.
"""

from __future__ import annotations

from typing import Any

from fastmlp import _random
from fastmlp._plan.activations import derive, fuse_derivative
from fastmlp._plan.builder import Builder
from fastmlp._plan.operation import Buffer, Gradient, Operation, Value
from fastmlp._plan.rules import LayerRule, LayerRules
from fastmlp.layers import Dropout, GaussianNoise

__all__ = ["LAYER_RULES"]

# Operations that can apply a mask to the values that they compute.
_MASKED_OUTPUTS = ("dense", "batch_norm", "layer_norm", "embedding")
_MASKED_GRADIENTS = ("dense_backward", "batch_norm_backward", "layer_norm_backward")
# Activations whose derivative depends on the sign of the output only, which dropping preserves.
_SIGNS = ("relu", "leaky_relu")


def _dropout(builder: Builder, layer: Dropout, x: Value) -> Value:
    """Add the mask: fused into the operation that computes ``x``, and in place, if possible."""
    rate = layer.rate
    if builder.training is None or rate == 0:
        return x
    spoilt = x.activation is not None and x.saved is x.buffer and x.activation.name not in _SIGNS
    buffer = x.free
    if buffer is None or spoilt:
        buffer = builder.output_buffer(layer, x.columns)
    mask = _mask(builder, layer)
    producer = x.fusible
    if producer is not None and _takes_mask(producer):
        buffer.first = min(buffer.first, producer.phase)
        buffer.last = max(buffer.last, producer.phase)
        producer.arguments |= mask | {"masked": buffer}
        producer.fused.append(f"dropout {rate:g}")
    else:
        _add_mask(builder, layer, x.buffer, buffer, x.columns, mask)
    y = Value(x.columns, buffer)
    y.kept = x.kept or (buffer is x.buffer and x.activation is not None)
    return y


def _dropout_backward(
    builder: Builder, layer: Dropout, x: Value, y: Value, gradient: Gradient, need_dx: bool
) -> Gradient:
    """Add the same mask to the gradient, fused into the operation that computes it if possible."""
    dy = derive(builder, layer, y, gradient).buffer
    mask = _mask(builder, layer)
    source = _source(builder, dy) if y.uses == 1 else None
    if source is None:
        _add_mask(builder, layer, dy, dy, x.columns, mask)
        return builder.gradient(dy, x)
    source.arguments |= mask
    source.fused.append(f"dropout {layer.rate:g}")
    derived = fuse_derivative(source, x)
    below = None
    if source.kind != "layer_norm_backward":
        # The threads of a layer_norm_backward share the rows, which are columns when transposed.
        below = builder.transposed_for(layer.name, x)
    if below is not None:
        below.first = below.last = source.phase
        source.arguments["dxt"] = below
    return Gradient(dy, derived, below)


def _add_mask(
    builder: Builder,
    layer: Dropout,
    x: Buffer | None,
    y: Buffer,
    columns: int,
    mask: dict[str, Any],
) -> None:
    builder.add(
        "dropout",
        layer,
        f"({builder.rows}, {columns})",
        10 * builder.rows * columns,
        [x],
        [y],
        outputs=columns,
        x=x,
        y=y,
        **mask,
    ).fused.append(f"rate {layer.rate:g}")


def _mask(builder: Builder, layer: Dropout) -> dict[str, Any]:
    seed = builder.training.seed if builder.training is not None else 0
    return {
        "key": _random.stream_key(seed, layer.number),
        "threshold": _random.drop_threshold(layer.rate),
        "keep_scale": 1 / (1 - layer.rate),
    }


def _takes_mask(operation: Operation) -> bool:
    """Return whether a mask can be fused into an operation that computes values."""
    return operation.kind in _MASKED_OUTPUTS and "key" not in operation.arguments


def _source(builder: Builder, dy: Buffer) -> Operation | None:
    """Return the operation that wrote a gradient last, if a mask can be fused into it."""
    for operation in reversed(builder.operations):
        arguments = operation.arguments
        if arguments.get("dx") is dy:
            # Whatever it does to the gradient comes after the mask, so it must do nothing else.
            given = {name for name, value in arguments.items() if value is not None}
            alone = not {"key", "activation", "dxt"} & given
            return operation if operation.kind in _MASKED_GRADIENTS and alone else None
        if any(value is dy for value in arguments.values()):
            return None
    return None


def _gaussian_noise(builder: Builder, layer: GaussianNoise, x: Value) -> Value:
    """Add noise to ``x``, in place if possible."""
    if builder.training is None or layer.stddev == 0:
        return x
    buffer = x.free
    if buffer is None or x.activation is not None:
        buffer = builder.output_buffer(layer, x.columns)
    builder.add(
        "gaussian_noise",
        layer,
        f"({builder.rows}, {x.columns})",
        100 * builder.rows * x.columns,
        [x.buffer],
        [buffer],
        outputs=x.columns,
        x=x.buffer,
        y=buffer,
        key=_random.stream_key(builder.training.seed, layer.number),
        scale=layer.stddev,
    ).fused.append(f"stddev {layer.stddev:g}")
    return Value(x.columns, buffer)


def _gaussian_noise_backward(
    builder: Builder, layer: GaussianNoise, x: Value, y: Value, gradient: Gradient, need_dx: bool
) -> Gradient:
    return builder.gradient(derive(builder, layer, y, gradient).buffer, x)


LAYER_RULES: LayerRules = {
    Dropout: LayerRule(_dropout, _dropout_backward),
    GaussianNoise: LayerRule(_gaussian_noise, _gaussian_noise_backward),
}
