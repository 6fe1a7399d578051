"""From a network to the operations of a plan: the forward and backward passes, and the loss."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fastmlp._plan import (
    activations,
    convolution,
    dense,
    dropout,
    embedding,
    losses,
    narrow,
    normalization,
    pooling,
    python,
    samples,
    updates,
)
from fastmlp._plan.builder import Builder
from fastmlp._plan.operation import Gradient, Value
from fastmlp._plan.rules import LayerRule, LayerRules, LossRule
from fastmlp._types import Array
from fastmlp.layers.base import Layer, Training
from fastmlp.losses import Loss
from fastmlp.network import Network
from fastmlp.optimizers import OPTIMIZERS, OptimizerState

__all__ = ["PlanSettings", "build", "has_compiled_loss", "has_compiled_update", "has_rule"]

_LAYER_RULES: LayerRules = {
    **samples.LAYER_RULES,
    **dense.LAYER_RULES,
    **activations.LAYER_RULES,
    **convolution.LAYER_RULES,
    **pooling.LAYER_RULES,
    **normalization.LAYER_RULES,
    **dropout.LAYER_RULES,
    **embedding.LAYER_RULES,
}


def has_rule(layer: Layer) -> bool:
    """Return whether a layer is compiled: its exact class has a lowering rule."""
    return type(layer) in _LAYER_RULES


def has_compiled_loss(loss: Loss) -> bool:
    """Return whether a loss is compiled: its exact class has a lowering rule."""
    return type(loss) in losses.LOSS_RULES


def has_compiled_update(state: OptimizerState) -> bool:
    """Return whether an optimizer's rule is compiled: it is exactly one of fastmlp's classes."""
    return type(state.optimizer) in OPTIMIZERS.values()


@dataclass(frozen=True)
class PlanSettings:
    """What a plan is built for, besides the network.

    Attributes
    ----------
    purpose : {"train", "gradients", "evaluate", "predict"}
    rows : int
        Samples of the largest batch.
    threads : int
        Maximum number of threads.
    loss : Loss or None
        For all purposes but "predict".
    state : OptimizerState or None
        The optimizer's state, for "train".
    gather : bool
        Whether samples are copied to the arena, to be shuffled, converted or scaled.
    bytes_ : bool
        Whether samples are uint8.
    outputs : bool
        Whether a plan with a loss also copies the outputs to the caller's array.
    index_bytes : int
        Bytes of an integer if samples are integers, which are not gathered; else 0.
    listed : bool
        Whether samples have many zeros, which the first products leave out.
    """

    purpose: str
    rows: int
    threads: int
    loss: Loss | None = None
    state: OptimizerState | None = None
    gather: bool = True
    bytes_: bool = False
    outputs: bool = False
    index_bytes: int = 0
    listed: bool = False


def build(network: Network, settings: PlanSettings, stored: dict[str, Array]) -> Builder:
    """Return a builder with all operations of a plan.

    ``stored`` is where a plan for "gradients", or with an optimizer written in Python, puts the
    gradients by parameter name.
    """
    purpose, state, loss = settings.purpose, settings.state, settings.loss
    trains = purpose in ("train", "gradients")
    updates_in_python = state is not None and not has_compiled_update(state)
    # The layout depends on the network only. Otherwise two plans of one network could need the
    # weights in different layouts.
    is_narrow = narrow.is_narrow(network)
    builder = (narrow.NarrowBuilder if is_narrow else Builder)(
        network.dtype,
        settings.rows,
        settings.threads,
        state,
        stored if purpose == "gradients" or updates_in_python else None,
        Training(network.seed, updates=purpose == "train") if trains else None,
    )
    builder.index_bytes, builder.listed = settings.index_bytes, settings.listed
    rules = [_layer_rule(layer, is_narrow) for layer in network.layers]
    first = network.lowest(trainable=purpose == "train") if trains else None
    values = [_input(builder, network, settings, is_narrow)]
    for index, (layer, rule) in enumerate(zip(network.layers, rules, strict=True)):
        y = rule.forward(builder, layer, values[-1])
        y.deep = y.deep or (first is not None and index > first)
        values.append(y)
    if loss is None:
        samples.output(builder, values[-1])
        return builder
    if purpose == "train":
        updates.penalties(builder, network.named_parameters.values())
    if settings.outputs:  # before the loss, which may overwrite them with its gradient
        samples.output(builder, values[-1])
    gradient = _add_loss(builder, network, loss, values[-1], is_narrow, first is not None)
    if first is None:
        return builder
    for index in range(len(network.layers) - 1, first - 1, -1):
        if gradient is None:
            break
        x, y, layer = values[index], values[index + 1], network.layers[index]
        if x is not y:
            gradient = rules[index].backward(builder, layer, x, y, gradient, index > first)
    if updates_in_python and purpose == "train" and state is not None:
        python.add_update(builder, network, state, stored)
    else:
        updates.finish(builder)
    return builder


def _layer_rule(layer: Layer, is_narrow: bool) -> LayerRule:
    rules = narrow.LAYER_RULES if is_narrow else _LAYER_RULES
    return rules.get(type(layer), python.LAYER_RULE)


def _loss_rule(loss: Loss, is_narrow: bool) -> LossRule | None:
    kind = type(loss)
    return narrow.loss_rule(kind) if is_narrow else losses.LOSS_RULES.get(kind)


def _input(builder: Builder, network: Network, settings: PlanSettings, is_narrow: bool) -> Value:
    """Add the samples; a narrow plan always copies them, because it transposes them."""
    columns = math.prod(network.input_shape)
    if is_narrow:
        bytes_, scale = (settings.bytes_, network.scale) if settings.gather else (False, 1.0)
        return narrow.gather(builder, columns, bytes_, scale)
    if settings.gather:
        return samples.gather(builder, columns, settings.bytes_, network.scale)
    return samples.in_place(builder, columns)


def _add_loss(
    builder: Builder, network: Network, loss: Loss, x: Value, is_narrow: bool, gradient: bool
) -> Gradient | None:
    rule = _loss_rule(loss, is_narrow)
    if rule is None:
        return python.add_loss(builder, network, loss, x, gradient=gradient)
    return rule(builder, loss, x, gradient=gradient)
