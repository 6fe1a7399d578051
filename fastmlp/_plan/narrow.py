"""Narrow networks: plans with the samples of a batch in the lanes of vectors.

A layer of two or ten units leaves most of a vector empty if a vector holds the units of one sample.
Here a value is a matrix (columns, samples), and a vector holds one unit of many samples. A network
is narrow if every layer has a rule in this file's table and at most 32 inputs and units.
"""

from __future__ import annotations

import math

from fastmlp._plan import activations, dense, dropout, losses, samples
from fastmlp._plan.activations import activate, derive, fuse_derivative
from fastmlp._plan.builder import Builder
from fastmlp._plan.operation import Buffer, Gradient, Operation, Value
from fastmlp._plan.rules import LayerRule, LayerRules, LossRule
from fastmlp.layers import Activation, Dense, Dropout, Flatten, GaussianNoise, Layer, Standardize
from fastmlp.losses import CrossEntropy, Loss
from fastmlp.network import Network

__all__ = ["LAYER_RULES", "NarrowBuilder", "gather", "is_narrow", "loss_rule"]

# Maximum columns of a value. Beyond it, vectors of one sample's units are full enough.
_NARROW = 32

# The compiled operations of this layout.
_KINDS = {
    "gather": "lane_gather",
    "dense": "lane_dense",
    "dense_backward": "lane_dense_backward",
    "dense_update": "lane_dense_update",
    "activation": "lane_activation",
    "activation_backward": "lane_activation_backward",
    "output": "lane_output",
    "cross_entropy": "lane_cross_entropy",
}


class NarrowBuilder(Builder):
    """A builder whose values are matrices (columns, samples), and whose weights are plain."""

    in_panels = False

    def compiled_kind(self, operation: Operation) -> str:
        """Return the name of the compiled operation."""
        return _KINDS.get(operation.kind, operation.kind)

    def buffer(self, name: str, columns: int, *, zero: bool = False) -> Buffer:
        """Return a new buffer with one row per column, in whole blocks of samples."""
        stride = self.without_aliasing(-(-self.rows // self.width) * self.width)
        return self.new_buffer(name, columns, self.rows, stride, zero)

    def output_buffer(self, layer: Layer, columns: int) -> Buffer:
        """Return a new buffer for a layer's output."""
        return self.buffer(layer.name, columns)

    def on_rows(self, x: Value) -> Value:
        """Return a value with one row per sample, for a loss that needs this layout."""
        rows = self.row_buffer("rows", x.columns)
        self.add(
            "lane_rows",
            None,
            f"({x.columns}, {self.rows})",
            self.rows * x.columns,
            [x.buffer],
            [rows],
            moves=self.rows * x.columns,
            inputs=x.columns,
            outputs=x.columns,
            x=x.buffer,
            y=rows,
        )
        return Value(x.columns, rows)

    def gradient_on_rows(self, dy: Buffer, x: Value) -> Gradient:
        """Return the gradient of ``x`` from ``dy``, which is the gradient of ``on_rows(x)``."""
        lanes = self.buffer("d loss", x.columns)
        samples.transpose(self, None, dy, lanes)
        return self.gradient(lanes, x)


def gather(builder: Builder, columns: int, bytes_: bool, scale: float) -> Value:
    """Add the copy of the batch's samples, converted, scaled and transposed."""
    builder.reserve_scratch(columns * builder.width)
    x = samples.gather(builder, columns, bytes_, scale)
    # If all samples are one batch, only the first step copies it. So nothing may overwrite the
    # buffer, and it shares its memory with no other.
    x.kept = True
    if x.buffer is not None:
        x.buffer.zero = True
    return x


def _dense(builder: Builder, layer: Dense, x: Value) -> Value:
    y = builder.buffer(layer.name, layer.units)
    operation = dense.add_product(builder, layer, x, y, by_samples=True)
    return activate(builder, layer, Value(layer.units, y, producer=operation), layer.activation)


def _dense_backward(
    builder: Builder, layer: Dense, x: Value, y: Value, gradient: Gradient, need_dx: bool
) -> Gradient | None:
    gradient = derive(builder, layer, y, gradient)
    dx = _input_gradient(builder, layer, x, gradient) if need_dx else None
    inputs, outputs = layer.weight.shape
    builder.reserve_scratch((inputs + 1) * outputs)
    dense.add_update(builder, layer, x, gradient)
    return dx


def _input_gradient(builder: Builder, layer: Dense, x: Value, gradient: Gradient) -> Gradient:
    """Add ``dy @ weight.T``, times the derivative of the activation that computed ``x``."""
    inputs, outputs = layer.weight.shape
    dx = builder.buffer("d " + layer.name, inputs)
    operation = builder.add(
        "dense_backward",
        layer,
        f"({builder.rows}, {outputs}) @ ({outputs}, {inputs})",
        2 * builder.rows * inputs * outputs,
        [gradient.buffer],
        [dx],
        moved=inputs * outputs,
        by_samples=True,
        inputs=inputs,
        outputs=outputs,
        w=builder.live(layer.weight),
        dy=gradient.buffer,
        dx=dx,
    )
    return Gradient(dx, fuse_derivative(operation, x))


def _cross_entropy(
    builder: Builder, loss: CrossEntropy, x: Value, *, gradient: bool
) -> Gradient | None:
    """Add cross-entropy with the samples in the lanes."""
    settings = losses.cross_entropy_settings(builder, loss, x)
    fused = settings.pop("fused")
    dy = builder.buffer("d loss", x.columns) if gradient else None
    # Six values per sample, and the gradient if nothing needs it.
    builder.reserve_scratch((6 + x.columns) * (builder.rows + builder.width))
    operation = builder.add(
        "cross_entropy",
        None,
        f"({x.columns}, {builder.rows})",
        40 * builder.rows * x.columns,
        [x.buffer],
        [dy],
        by_samples=True,
        inputs=x.columns,
        outputs=x.columns,
        x=x.buffer,
        dy=dy,
        checks=True,
        **settings,
    )
    operation.fused += [*fused, *(["gradient"] if gradient else [])]
    return builder.gradient(dy, x) if dy is not None else None


def loss_rule(kind: type[Loss]) -> LossRule | None:
    """Return the rule of a loss class: cross-entropy in the lanes, the others on rows."""
    if kind is CrossEntropy:
        return _cross_entropy
    rule = losses.LOSS_RULES.get(kind)
    if rule is None:
        return None

    def on_rows(builder: Builder, loss: Loss, x: Value, *, gradient: bool) -> Gradient | None:
        found = rule(builder, loss, builder.on_rows(x), gradient=gradient)
        return builder.gradient_on_rows(found.buffer, x) if found is not None else None

    return on_rows


LAYER_RULES: LayerRules = {
    Dense: LayerRule(_dense, _dense_backward),
    Activation: activations.LAYER_RULES[Activation],
    Flatten: samples.LAYER_RULES[Flatten],
    Standardize: samples.LAYER_RULES[Standardize],
    # Only with a rate or deviation of 0, where they have no effect: see is_narrow.
    Dropout: dropout.LAYER_RULES[Dropout],
    GaussianNoise: dropout.LAYER_RULES[GaussianNoise],
}


def is_narrow(network: Network) -> bool:
    """Return whether all layers of a network have a narrow rule, and all values are narrow."""
    if network.integers_below is not None or math.prod(network.input_shape) > _NARROW:
        return False
    return any(type(layer) is Dense for layer in network.layers) and all(
        type(layer) in LAYER_RULES
        and math.prod(layer.output_shape or ()) <= _NARROW
        and not _needs_rows(layer)
        for layer in network.layers
    )


def _needs_rows(layer: Layer) -> bool:
    """Return whether a layer needs the layout with one row per sample."""
    if isinstance(layer, (Dense, Activation)):
        return layer.activation.name == "softmax"
    return bool(
        (isinstance(layer, Dropout) and layer.rate)
        or (isinstance(layer, GaussianNoise) and layer.stddev)
    )
