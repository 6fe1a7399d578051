"""What a network computes inside, for those who watch it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp.layers import AvgPool2D, GlobalAvgPool2D, MaxPool2D
from fastmlp.layers.base import Training
from fastmlp.losses import Loss
from fastmlp.network import Network, Workspace
from fastmlp.optimizers import GradientStore

__all__ = ["inside"]

Array = npt.NDArray[Any]

_POOLS = (MaxPool2D, AvgPool2D, GlobalAvgPool2D)


def inside(
    network: Network, loss: Loss, x: Array, y: Array, weights: Array | None = None
) -> Iterator[tuple[str, Array]]:
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
    name : str
        "dense_0/weight" and so for every parameter and buffer; "dense_0/weight_gradient";
        "dense_0/pre_activation", where an activation follows in the same layer;
        "dense_0/activation", the output; "maxpool2d_0/pooled_activation", that of a pool.
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
            yield f"{layer.name}/{stored.kind}", stored.value
    x = network.converted(x)
    for layer, buffers in workspace.pairs:
        z = layer.pre_activation(ops, x)
        if z is not None:
            yield f"{layer.name}/pre_activation", z
        output = layer.forward(ops, x, buffers)
        if not np.may_share_memory(output, x):
            kind = "pooled_activation" if isinstance(layer, _POOLS) else "activation"
            yield f"{layer.name}/{kind}", output
        x = output
    store = GradientStore(ops)
    _, dy, _ = loss.measure(ops, x, y, workspace.dy, weights)
    network.backward(ops, dy, workspace, store)
    for name, gradient in store.gradients.items():
        layer_name, _, kind = name.rpartition(".")
        yield f"{layer_name}/{kind}_gradient", gradient
