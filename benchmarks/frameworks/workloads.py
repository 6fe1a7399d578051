"""The networks of peers.py, their data and initial weights, and the timing of epochs."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from frameworks.memory import Growth

__all__ = ["GROUPS", "WORKLOADS", "Conv", "Pool", "Skipped", "Workload", "threads", "time_epochs"]

Shape = tuple[int, int, int]  # height, width, channels


class Skipped(Exception):
    """The framework cannot run the workload here; the message gives the reason."""


@dataclass(frozen=True)
class Conv:
    """A convolution with stride 1; ``same`` pads the image with zeros and needs an odd ``size``."""

    filters: int
    size: int
    same: bool = False

    def output(self, shape: Shape) -> Shape:
        height, width, _ = shape
        cut = 0 if self.same else self.size - 1
        return height - cut, width - cut, self.filters


@dataclass(frozen=True)
class Pool:
    """The maximum of every window in every channel."""

    size: int
    strides: int

    def output(self, shape: Shape) -> Shape:
        height, width, channels = shape
        places = [(side - self.size) // self.strides + 1 for side in (height, width)]
        return places[0], places[1], channels


@dataclass(frozen=True)
class Workload:
    """A network and the work to measure.

    ``sizes`` are the numbers of features before, between and after the dense layers. A network for
    images has ``image``, the shape of an image, and ``stages`` before the dense layers. Every Conv
    is followed by the activation, and the last image is flattened with channels last. A network for
    words has ``vocabulary``, the number of words. A sample consists of ``WORDS`` words; the first
    dense layer reads the sum of their rows in a table (vocabulary, sizes[0]).

    In training, a step takes ``batch`` rows. If ``batch`` equals ``rows``, training is full-batch:
    nothing is shuffled, and a timed epoch has ``WHOLE_PASSES`` steps.
    """

    name: str
    kind: str  # "train", "predict" or "mnist"
    sizes: tuple[int, ...]
    batch: int = 32
    rows: int = 6400
    activation: str = "relu"
    optimizer: str = "sgd"
    learning_rate: float = 0.01
    image: Shape | None = None
    stages: tuple[Conv | Pool, ...] = ()
    vocabulary: int = 0

    MOMENTUM = 0.85  # for the optimizer "momentum": v = MOMENTUM * v + gradient
    WORDS = 3
    WHOLE_PASSES = 1000

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Numbers of input and output features of every dense layer."""
        return list(zip(self.sizes[:-1], self.sizes[1:], strict=True))

    @property
    def shapes(self) -> list[Shape]:
        """Shapes of the image before every stage, and after the last stage."""
        result = [self.image] if self.image else []
        for stage in self.stages:
            result.append(stage.output(result[-1]))
        return result

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of a sample."""
        return (self.WORDS,) if self.vocabulary else self.image or self.sizes[:1]

    @property
    def whole(self) -> bool:
        """Whether a batch contains all of the data."""
        return self.batch == self.rows

    @property
    def steps(self) -> int:
        """Number of steps per epoch."""
        return self.WHOLE_PASSES if self.whole else self.rows // self.batch

    @property
    def fewest_epochs(self) -> int:
        """Minimum number of timed epochs."""
        return 1 if self.image else 3

    @property
    def flop(self) -> int:
        """Multiplications and additions in the products of a step, or of one prediction.

        Products with zeros count too: padding, and elements to which pooling passes no gradient.
        """
        shapes = self.shapes
        products = [
            math.prod(after) * stage.size**2 * before[2]
            for stage, before, after in zip(self.stages, shapes[:-1], shapes[1:], strict=True)
            if isinstance(stage, Conv)
        ]
        products += [inputs * outputs for inputs, outputs in self.layers]
        if self.kind == "predict":
            return 2 * self.rows * sum(products)
        # Forward and weight gradients of all layers, input gradients of all but the first.
        first = 0 if self.vocabulary else products[0]
        return 2 * self.batch * (3 * sum(products) - first)

    def first_weights(self, channels_first: bool = False) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return new Glorot uniform weights and zero biases.

        Weights have shape (height, width, in, filters) for a Conv and (in, out) for a dense layer.
        With ``channels_first`` they have shape (filters, in, height, width) for a Conv, and the
        rows of the first dense layer follow an image flattened with channels first.
        """
        rng = np.random.default_rng(0)

        def glorot(shape: tuple[int, ...]) -> np.ndarray:
            *places, inputs, outputs = shape
            limit = (6 / (math.prod(places) * (inputs + outputs))) ** 0.5
            return rng.uniform(-limit, limit, shape).astype(np.float32)

        shapes: list[tuple[int, ...]] = [
            (stage.size, stage.size, before[2], stage.filters)
            for stage, before in zip(self.stages, self.shapes, strict=False)
            if isinstance(stage, Conv)
        ]
        n = len(shapes)
        shapes += self.layers
        weights = [glorot(shape) for shape in shapes]
        if channels_first and self.image:
            weights[:n] = [np.ascontiguousarray(w.transpose(3, 2, 0, 1)) for w in weights[:n]]
            rows = np.arange(self.sizes[0]).reshape(self.shapes[-1])
            weights[n] = weights[n][rows.transpose(2, 0, 1).ravel()]
        biases = [np.zeros(shape[-1], np.float32) for shape in shapes]
        return list(zip(weights, biases, strict=True))

    def first_table(self) -> np.ndarray:
        """Return a new table for the words, (vocabulary, sizes[0])."""
        rng = np.random.default_rng(3)
        return 0.1 * rng.standard_normal((self.vocabulary, self.sizes[0]), np.float32)

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Return random samples or words, and labels; for samples, from a random linear map."""
        rng = np.random.default_rng(1)
        if self.vocabulary:
            words = rng.integers(self.vocabulary, size=(self.rows, self.WORDS))
            return words, words.sum(axis=1) % self.sizes[-1]
        x = rng.standard_normal((self.rows, *self.input_shape), np.float32)
        flat = x.reshape(self.rows, -1)
        teacher = rng.standard_normal((flat.shape[1], self.sizes[-1]), np.float32)
        return x, (flat @ teacher).argmax(axis=1)


def of_images(
    name: str, kind: str, image: Shape, stages: tuple[Conv | Pool, ...], *dense: int, **rest: int
) -> Workload:
    """Return a workload with ``stages`` followed by dense layers of these widths."""
    shape = image
    for stage in stages:
        shape = stage.output(shape)
    sizes = (math.prod(shape), *dense)
    return Workload(name, kind, sizes, image=image, stages=stages, **rest)


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

# The other networks of the tables in docs/results.
_REPORTS = [
    Workload("sigmoid/8", "train", NET, 8, activation="sigmoid"),
    *(
        Workload(f"{'-'.join(map(str, sizes))}/{batch}", "train", sizes, batch)
        for sizes, batches in (
            ((784, 600, 600, 10), (8,)),
            ((784, 710, 610, 10), (4, 32)),
            ((784, 512, 1024, 10), (10, 80)),
            ((784, 700, 512, 10), (10, 80, 200)),
        )
        for batch in batches
    ),
]

_PREDICT = [
    Workload("predict-1", "predict", NET, rows=1),
    Workload("predict-10000", "predict", NET, rows=10_000),
]

_MNIST = [Workload("mnist", "mnist", NET, learning_rate=0.1)]

_SMALL_STAGES = (Conv(10, 3), Pool(2, 2), Conv(25, 4), Pool(3, 1))
_WIDE_STAGES = (Conv(32, 5, same=True), Pool(2, 2), Conv(64, 5, same=True), Pool(2, 2))
_CIFAR_STAGES = tuple(
    stage for filters in (32, 64, 64) for stage in (Conv(filters, 3, same=True), Pool(2, 2))
)

_CNN = [
    of_images("mnist-cnn", "train", (28, 28, 1), _SMALL_STAGES, 512, 10, batch=32, rows=3200),
    of_images("wide-cnn", "train", (28, 28, 1), _WIDE_STAGES, 1024, 10, batch=50, rows=2000),
    of_images("cifar-cnn", "train", (32, 32, 3), _CIFAR_STAGES, 128, 10, batch=64, rows=2560),
]

_CNN_PREDICT = [
    of_images(f"cnn-predict-{rows}", "predict", (28, 28, 1), _SMALL_STAGES, 512, 10, rows=rows)
    for rows in (1, 10_000)
]

_WORDS = [
    Workload(
        f"words-{features}-{hidden}",
        "train",
        (features, hidden, 250),
        250,
        rows=25_000,
        activation="sigmoid",
        optimizer="momentum",
        learning_rate=0.15,
        vocabulary=250,
    )
    for features, hidden in ((8, 64), (32, 256))
]

GROUPS = {
    "steps": [workload.name for workload in _TRAIN],
    # Compared with the plain step of the same framework, which is measured too.
    "variants": [f"{'-'.join(map(str, NET))}/32", *(workload.name for workload in _VARIANTS)],
    "reports": [workload.name for workload in _REPORTS],
    "predict": [workload.name for workload in _PREDICT],
    "mnist": ["mnist"],
    "cnn": [workload.name for workload in _CNN],
    "cnn-predict": [workload.name for workload in _CNN_PREDICT],
    "words": [workload.name for workload in _WORDS],
}

WORKLOADS = {
    workload.name: workload
    for group in (_TRAIN, _VARIANTS, _REPORTS, _PREDICT, _MNIST, _CNN, _CNN_PREDICT, _WORDS)
    for workload in group
}


def threads() -> int:
    """Return the number of threads that the process should use."""
    return int(os.environ.get("FASTMLP_NUM_THREADS", "1"))


def time_epochs(
    workload: Workload, epoch: Callable[[np.ndarray | None], float], seconds: float
) -> dict[str, Any]:
    """Time epochs for at least ``seconds`` and at least three epochs, or one for images.

    ``epoch`` trains on the rows of an order (steps, batch), or on all data if the order is None,
    and returns the mean loss. The first epoch is not timed. Frameworks must agree in the loss of
    the second epoch. In the result ``cores`` is the average number of busy cores, and ``memory``
    the rise of the memory peak in bytes.
    """
    rng = np.random.default_rng(2)
    shape = (workload.steps, workload.batch)
    losses, times = [], []
    end = float("inf")
    with Growth() as growth:
        while len(times) < 1 + workload.fewest_epochs or time.perf_counter() < end:
            began = time.perf_counter()
            order = None if workload.whole else rng.permutation(workload.rows).reshape(shape)
            losses.append(epoch(order))
            times.append((time.perf_counter() - began) / workload.steps)
            if len(times) == 1:
                start, cpu = time.perf_counter(), time.process_time()
                end = start + seconds
    cores = (time.process_time() - cpu) / (time.perf_counter() - start)
    return {
        "seconds": times[1:],
        "check": [losses[1]],
        "cores": cores,
        "memory": growth.bytes,
    }
