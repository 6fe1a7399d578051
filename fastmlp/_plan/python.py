"""Layers, losses and optimizers written in Python, as operations of a plan.

Thread 0 takes the GIL for such an operation while the other threads wait.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastmlp._plan import updates
from fastmlp._plan.activations import derive
from fastmlp._plan.builder import Builder
from fastmlp._plan.operation import Buffer, Gradient, Value
from fastmlp._plan.rules import LayerRule
from fastmlp._types import Array
from fastmlp.layers.base import Layer
from fastmlp.losses import Loss
from fastmlp.network import Network
from fastmlp.optimizers import GradientStore, OptimizerState, UpdatingSink

__all__ = ["LAYER_RULE", "add_loss", "add_update"]


def _add(
    builder: Builder,
    layer: Layer | None,
    what: str,
    function: Callable[[int, int], None],
    reads: list[Buffer | None],
    writes: list[Buffer | None],
    *,
    checks: bool = False,
) -> None:
    """Add a Python function of (number of rows, position of the first row in the epoch)."""
    builder.add(
        "python", layer, what, 0, reads, writes, function=function, checks=checks
    ).fused.append("GIL")


def _forward(builder: Builder, layer: Layer, x: Value) -> Value:
    """Add a call of the layer's ``forward``."""
    output_shape = layer.output_shape or ()
    y = builder.output_buffer(layer, math.prod(output_shape))
    made: dict[int, Any] = {}
    builder.workspaces[layer.name] = made

    def forward(rows: int, first: int) -> None:
        context, training = builder.context, builder.training
        if training is not None:
            training.step = context.first_step + first // context.batch
        if rows not in made and training is None:
            made[rows] = layer.workspace(rows, builder.dtype)
        elif rows not in made and training is not None:
            made[rows] = layer.training_workspace(rows, builder.dtype, training)
        samples = _samples(builder, x, rows, first).reshape(rows, *(layer.input_shape or ()))
        output = layer.forward(builder.ops, samples, made[rows])
        if np.shape(output) != (rows, *output_shape):
            raise ValueError(
                f"{layer.name}: forward must return an array of shape {(rows, *output_shape)}, "
                f"got {np.shape(output)}."
            )
        builder.view(y, rows)[...] = output.reshape(rows, -1)

    _add(builder, layer, "forward", forward, [x.buffer], [y])
    return Value(y.columns, y)


def _samples(builder: Builder, x: Value, rows: int, first: int) -> Array:
    """Return the rows of a value as a contiguous array, from the arena or the caller's memory."""
    if x.buffer is None and builder.context.x is not None:
        return np.ascontiguousarray(builder.context.x[builder.context.rows(rows, first)])
    return np.ascontiguousarray(builder.view(x.buffer, rows))


def _backward(
    builder: Builder, layer: Layer, x: Value, y: Value, gradient: Gradient, need_dx: bool
) -> Gradient | None:
    """Add a call of the layer's ``backward``, and the updates of its parameters."""
    gradient = derive(builder, layer, y, gradient)
    dx = builder.buffer("d " + layer.name, x.columns, zero=True) if need_dx else None
    made = builder.workspaces[layer.name]
    state = builder.state if builder.gradients is None else None
    sink = GradientStore(builder.ops, lambda parameter: updates.wanted(builder, parameter))
    kept: dict[str, Array] = {}
    if state is not None and state.optimizer.clips != "norm":
        sink = UpdatingSink(builder.ops, state)
    elif state is not None:
        trained = [each for each in layer.parameters if updates.wanted(builder, each)]
        kept = {each.name: updates.keep_gradient(builder, each) for each in trained}

    def backward(rows: int, first: int) -> None:
        if state is not None:
            state.begin_step(first // builder.context.batch)
        dy = np.ascontiguousarray(builder.view(gradient.buffer, rows))
        dy = dy.reshape(rows, *(layer.output_shape or ()))
        result = layer.backward(builder.ops, dy, made[rows], sink, need_dx)
        if builder.gradients is not None:
            builder.gradients.update(sink.gradients)
        for name, memory in kept.items():
            np.copyto(memory, sink.gradients[name])
        if dx is not None and result is not None:
            builder.view(dx, rows)[...] = result.reshape(rows, -1)

    _add(builder, layer, "backward", backward, [gradient.buffer, x.buffer], [dx])
    return builder.gradient(dx, x) if dx is not None else None


LAYER_RULE = LayerRule(_forward, _backward)
"""The rule for every class without a rule in the tables."""


def add_loss(
    builder: Builder, network: Network, loss: Loss, x: Value, *, gradient: bool
) -> Gradient | None:
    """Add a loss written in Python."""
    outputs = builder.on_rows(x)
    dy = builder.row_buffer("d loss", x.columns, zero=True)

    def compute(rows: int, first: int) -> None:
        context = builder.context
        if context.y is None:
            raise ValueError("a loss needs targets.")
        here = context.rows(rows, first)
        targets = context.y[here]
        output = np.ascontiguousarray(builder.view(outputs.buffer, rows))
        output = output.reshape(rows, *network.output_shape)
        value, slope, total = loss.measure(
            builder.ops,
            output,
            targets,
            np.empty_like(output),
            None if context.weights is None else context.weights[here],
        )
        context.program.weight = total
        context.losses[:rows] = value * (total / rows)
        if loss.classifies:
            context.correct[:rows] = loss.count_correct(output, targets)
        builder.view(dy, rows)[...] = slope.reshape(rows, -1)

    _add(builder, None, f"loss {loss!r}", compute, [outputs.buffer], [dy], checks=True)
    return builder.gradient_on_rows(dy, x) if gradient else None


def add_update(
    builder: Builder, network: Network, state: OptimizerState, gradients: dict[str, Array]
) -> None:
    """Add an optimizer written in Python: it updates all parameters from stored gradients."""

    def update(rows: int, first: int) -> None:
        state.begin_step(first // builder.context.batch)
        known = network.named_parameters.values()
        trained = [each for each in known if each.trainable and each.name in gradients]
        state.clip(builder.ops, [gradients[each.name] for each in trained])
        for parameter in trained:
            value = parameter.value
            slots = {s: stored.value for s, stored in state.of(parameter).items()}
            rate = state.rate_of(parameter)
            state.optimizer.update(
                builder.ops, value, gradients[parameter.name], slots, state.step, rate
            )
            parameter.write(value)
            for s, stored in state.of(parameter).items():
                stored.write(slots[s])

    builder.meet()
    _add(builder, None, f"update {state.optimizer!r}", update, [], [])
