"""What a network computes inside, for those who watch it."""

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
    """Yield what the layers of a network hold and compute for a batch, one array after another.

    Parameters
    ----------
    network : Network
        It stays as it is.
    loss : Loss
        Whose gradients are meant.
    x : array of shape (N, *input_shape)
        Samples, as ``network.samples`` returns them.
    y : array
        Targets, as ``loss.targets`` returns them.
    weights : array of shape (N,), float64, optional
        What each sample counts for in the loss.

    Yields
    ------
    layer : Layer
    kind : str
        "weight" and so for every parameter and buffer; "weight_gradient"; "pre_activation", where
        an activation follows in the same layer; "activation", the output, or "pooled_activation",
        that of a pool.
    values : array
        To be looked at before the next one is asked for, and not to be changed.

    Notes
    -----
    The gradients are those of ``Sequential.gradients``: of a training pass that changes nothing,
    with masks of Dropout that are always the same. A layer that hands its input on in another
    shape, as Flatten does, has no activation of its own.

    The compiled plans keep neither pre-activations nor gradients: that is why they are fast. So
    this passes layer by layer, with the operations of the network's backend, and its time is that
    of a few steps.
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
