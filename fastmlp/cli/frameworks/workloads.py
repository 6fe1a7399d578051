"""The benchmark's networks, their data and initial weights, and the timing of epochs."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from fastmlp._types import Array, Shape

__all__ = ["WORKLOADS", "Conv", "Workload", "threads", "time_epochs"]

RATE = 0.01


class Conv(NamedTuple):
    """A convolution followed by relu and max-pooling."""

    filters: int
    size: int
    pool: int


class Workload(NamedTuple):
    """A network with relu activations, trained by plain SGD on cross-entropy.

    ``sizes`` are the numbers of features before, between and after the dense layers. A network for
    images (H, W, C) starts with convolutions. Their flattened output, channels last, is the input
    of the first dense layer.
    """

    name: str
    sizes: Shape
    batch: int = 32
    rows: int = 3200
    image: tuple[int, int, int] | None = None
    convs: tuple[Conv, ...] = ()

    @property
    def steps(self) -> int:
        """Number of steps per epoch."""
        return self.rows // self.batch

    def data(self) -> tuple[Array, Array]:
        """Return float32 samples and int64 labels."""
        rng = np.random.default_rng(1)
        shape = self.image or self.sizes[:1]
        x = rng.random((self.rows, *shape), dtype=np.float32)
        return x, rng.integers(self.sizes[-1], size=self.rows)

    def weights(self) -> list[tuple[Array, Array]]:
        """Return initial weights and biases: filters (kh, kw, in, out), matrices (in, out)."""
        rng = np.random.default_rng(0)
        shapes: list[Shape] = []
        channels = self.image[2] if self.image else 0
        for conv in self.convs:
            shapes.append((conv.size, conv.size, channels, conv.filters))
            channels = conv.filters
        shapes += zip(self.sizes[:-1], self.sizes[1:], strict=True)
        result = []
        for shape in shapes:
            *places, inputs, outputs = shape
            limit = math.sqrt(6 / (math.prod(places) * (inputs + outputs)))
            weight = rng.uniform(-limit, limit, shape).astype(np.float32)
            result.append((weight, np.zeros(outputs, np.float32)))
        return result

    def orders(self) -> Callable[[], Array]:
        """Return a function that gives a new order, (steps, batch), for each epoch."""
        rng = np.random.default_rng(2)
        return lambda: rng.permutation(self.rows).reshape(self.steps, self.batch)


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("64-64-10, 32", (64, 64, 10)),
        Workload("784-512-256-10, 32", (784, 512, 256, 10)),
        Workload("784-512-256-10, 200", (784, 512, 256, 10), batch=200, rows=6400),
        Workload(
            "CNN 28x28, 32",
            (16 * 5 * 5, 64, 10),
            rows=1600,
            image=(28, 28, 1),
            convs=(Conv(8, 3, 2), Conv(16, 3, 2)),
        ),
    )
}
"""Workloads by name: the sizes of the layers, then of a batch."""


def threads() -> int:
    """Return the number of threads that a framework should use."""
    return int(os.environ.get("OMP_NUM_THREADS", "1"))


def time_epochs(
    workload: Workload, epoch: Callable[[Array], float], seconds: float
) -> dict[str, Any]:
    """Train two epochs, then time epochs for some seconds.

    Parameters
    ----------
    workload : Workload
    epoch : callable
        Trains one epoch in the order it receives, (steps, batch), and returns the mean loss.
    seconds : float
        Minimum time; at least three epochs are timed.

    Returns
    -------
    result : dict
        "steps", the seconds per step of each timed epoch, and "loss", the mean loss of epoch 2.
    """
    order = workload.orders()
    epoch(order())
    loss = epoch(order())
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        rows = order()
        began = time.perf_counter()
        epoch(rows)
        times.append(time.perf_counter() - began)
    return {"steps": [spent / workload.steps for spent in times], "loss": loss}
