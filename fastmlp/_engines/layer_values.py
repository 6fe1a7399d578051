"""Parameters, gradients and activations of every layer, for callbacks that record them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastmlp._engines.layerwise import Workspace, backward, converted
from fastmlp._types import Array
from fastmlp.layers import AvgPool2D, GlobalAvgPool2D, Layer, MaxPool2D
from fastmlp.layers.base import Training
from fastmlp.losses import Loss
from fastmlp.network import Network
from fastmlp.optimizers import GradientStore

__all__ = ["layer_values"]

_POOLS = (MaxPool2D, AvgPool2D, GlobalAvgPool2D)


def layer_values(
    network: Network, loss: Loss, x: Array, y: Array, weights: Array | None = None
) -> Iterator[tuple[Layer, str, Array]]:
    """Yield the values of all layers of a network for one batch, one array after another.

    Parameters
    ----------
    network : Network
        It is not changed.
    loss : Loss
        The loss for the gradients.
    x : array of shape (N, *input_shape)
        Samples, as ``network.samples`` returns them.
    y : array
        Targets, as ``loss.targets`` returns them.
    weights : array of shape (N,), float64, optional
        Weight of each sample in the loss.

    Yields
    ------
    layer : Layer
    kind : str
        "weight", "bias" and so on for every parameter and buffer; then "pre_activation" if the
        layer has an activation, and "activation" for the output, or "pooled_activation" for the
        output of a pooling layer; then "weight_gradient", "bias_gradient" and so on.
    values : array
        Valid until the next item is requested; must not be changed.

    Notes
    -----
    The gradients equal the result of ``Sequential.gradients``: they come from a training pass that
    changes nothing, with fixed dropout masks. A layer whose output is its input in another shape,
    such as Flatten, has no activation.

    Compiled plans keep neither pre-activations nor gradients, which makes them fast. This function
    therefore runs layer by layer, with the operations of the network's backend, and takes as long
    as a few steps.
    """
    ops = network.ops
    workspace = Workspace(network, len(x), Training(network.seed, updates=False))
    for layer in network.layers:
        for stored in (*layer.parameters, *layer.buffers):
            yield layer, stored.kind, stored.value
    x = converted(network, x)
    for layer, buffers in workspace.pairs:
        z = layer.pre_activation(ops, x)
        if z is not None:
            yield layer, "pre_activation", z
        output = layer.forward(ops, x, buffers)
        if not np.may_share_memory(output, x):
            yield layer, "pooled_activation" if isinstance(layer, _POOLS) else "activation", output
        x = output
    store = GradientStore(ops)
    _, dy, _ = loss.measure(ops, x, y, workspace.dy, weights)
    backward(network, ops, dy, workspace, store)
    for layer in network.layers:
        for each in layer.parameters:
            yield layer, f"{each.kind}_gradient", store.gradients[each.name]
