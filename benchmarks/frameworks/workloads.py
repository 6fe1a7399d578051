"""What is measured: the networks, their data and first weights, and how epochs are timed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["GROUPS", "WORKLOADS", "Skipped", "Workload", "threads", "time_epochs"]


class Skipped(Exception):
    """This framework cannot do this work here; the message says why."""


@dataclass(frozen=True)
class Workload:
    """A network and what is done with it.

    In training, ``batch`` rows are a step; all of ``rows`` as one batch is full-batch training,
    where nothing has to be shuffled and a timed epoch is ``WHOLE_PASSES`` steps.
    """

    name: str
    kind: str  # "train", "predict" or "mnist"
    sizes: tuple[int, ...]
    batch: int = 32
    rows: int = 6400
    activation: str = "relu"
    optimizer: str = "sgd"
    learning_rate: float = 0.01

    WHOLE_PASSES = 1000

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Input and output features of every layer."""
        return list(zip(self.sizes[:-1], self.sizes[1:], strict=True))

    @property
    def whole(self) -> bool:
        """Whether a batch is all of the data."""
        return self.batch == self.rows

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.WHOLE_PASSES if self.whole else self.rows // self.batch

    @property
    def flop(self) -> int:
        """Multiplications and additions of the products of a step, or of one prediction."""
        products = [inputs * outputs for inputs, outputs in self.layers]
        if self.kind == "predict":
            return 2 * self.rows * sum(products)
        # Forward and weight gradients of all layers, input gradients of all but the first.
        return 2 * self.batch * (3 * sum(products) - products[0])

    def first_weights(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return new weights (in, out), Glorot uniform, and biases, zero."""
        rng = np.random.default_rng(0)
        result = []
        for inputs, outputs in self.layers:
            limit = (6 / (inputs + outputs)) ** 0.5
            weight = rng.uniform(-limit, limit, (inputs, outputs)).astype(np.float32)
            result.append((weight, np.zeros(outputs, np.float32)))
        return result

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Return random samples, and labels that a random linear map gives them."""
        rng = np.random.default_rng(1)
        x = rng.standard_normal((self.rows, self.sizes[0]), np.float32)
        teacher = rng.standard_normal((self.sizes[0], self.sizes[-1]), np.float32)
        return x, (x @ teacher).argmax(axis=1)


NET = (784, 512, 256, 10)

_TRAIN = [
    Workload(f"{'-'.join(map(str, sizes))}/{batch}", "train", sizes, batch)
    for sizes, batches in (
        (NET, (8, 32, 200)),
        ((784, 710, 610, 10), (8,)),
        ((784, 512, 1024, 10), (200,)),
        ((3072, 100, 100, 100, 100, 100, 10), (100,)),
        ((64, 64, 10), (32,)),
    )
    for batch in batches
] + [Workload("2-3-2/200", "train", (2, 3, 2), 200, rows=200, activation="tanh")]

_VARIANTS = [
    Workload("adam", "train", NET, optimizer="adam", learning_rate=0.0001),
    Workload("sigmoid", "train", NET, activation="sigmoid"),
    Workload("tanh", "train", NET, activation="tanh"),
]

_PREDICT = [
    Workload("predict-1", "predict", NET, rows=1),
    Workload("predict-10000", "predict", NET, rows=10_000),
]

_MNIST = [Workload("mnist", "mnist", NET, learning_rate=0.1)]

GROUPS = {
    "steps": [workload.name for workload in _TRAIN],
    # Their ratio is to the plain step of the same framework, which is measured as well.
    "variants": [f"{'-'.join(map(str, NET))}/32", *(workload.name for workload in _VARIANTS)],
    "predict": [workload.name for workload in _PREDICT],
    "mnist": ["mnist"],
}

WORKLOADS = {workload.name: workload for workload in _TRAIN + _VARIANTS + _PREDICT + _MNIST}


def threads() -> int:
    """Return the number of threads the process is to use."""
    return int(os.environ.get("FASTMLP_NUM_THREADS", "1"))


def time_epochs(
    workload: Workload, epoch: Callable[[np.ndarray | None], float], seconds: float
) -> dict[str, Any]:
    """Time a framework's epochs, for at least ``seconds`` and three of them.

    ``epoch`` trains on the rows of an order (steps, batch), or on the whole data if it is None,
    and returns the mean loss. The first epoch is not timed; the loss of the second is what
    frameworks must agree on. ``cores`` is how many were busy on average.
    """
    rng = np.random.default_rng(2)
    shape = (workload.steps, workload.batch)
    losses, times = [], []
    end = float("inf")
    while len(times) < 4 or time.perf_counter() < end:
        began = time.perf_counter()
        order = None if workload.whole else rng.permutation(workload.rows).reshape(shape)
        losses.append(epoch(order))
        times.append((time.perf_counter() - began) / workload.steps)
        if len(times) == 1:
            start, cpu = time.perf_counter(), time.process_time()
            end = start + seconds
    cores = (time.process_time() - cpu) / (time.perf_counter() - start)
    return {"seconds": times[1:], "check": [losses[1]], "cores": cores}
