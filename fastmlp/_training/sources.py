"""Sources of data: what the loop of ``fit`` and the evaluation train on, measure and predict.

All sources have the methods of ``Source``, so nothing else asks where the samples come from. This
module has the source for arrays in memory, ``memmap`` the one for memory-mapped files, and
``generator`` the one for batches from Python. ``data`` checks what a user passed and chooses.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastmlp import _random
from fastmlp._engines import engine
from fastmlp._engines.base import CHUNK, Pass, PassResult, Poll, StepHook, Sums
from fastmlp._training.scoring import Scores
from fastmlp._types import Array
from fastmlp.losses import Loss
from fastmlp.network import Network
from fastmlp.optimizers import OptimizerState

__all__ = ["ArraySource", "Batch", "Part", "Source", "Total"]


_NO_TARGETS = np.empty(0)


class Batch(NamedTuple):
    """Samples, targets and weights, checked and converted as a pass takes them."""

    x: Array
    y: Array
    weights: Array | None


class Part(NamedTuple):
    """The part of an epoch that is done.

    Attributes
    ----------
    sums : Sums
    seconds : float
        How long it took.
    outputs : array of shape (sums.done, *output_shape) or None
        The outputs from before each step, if metrics need them.
    """

    sums: Sums
    seconds: float
    outputs: Array | None


class Source(Protocol):
    """Where samples come from.

    Attributes
    ----------
    data : Batch or None
        All samples; None if they come in batches from Python.
    samples : int or None
        Number of samples in an epoch; None if it is not known in advance.
    in_memory : bool
        Whether an engine can pass all samples in one call.
    hooks : bool
        Whether callbacks can run between steps.
    outputs : array or None
        The outputs of the current epoch, if metrics need them and they are in one array.
    """

    in_memory: bool
    hooks: bool
    outputs: Array | None

    @property
    def data(self) -> Batch | None: ...

    @property
    def samples(self) -> int | None: ...

    def train(
        self,
        loss: Loss,
        state: OptimizerState,
        scores: Scores,
        epoch: int,
        poll: Poll,
        hook: StepHook | None = None,
        part: Part | None = None,
    ) -> PassResult:
        """Train one epoch, or what is left of it after ``part``.

        ``epoch`` is its number in the run, for messages.
        """

    def evaluate(self, loss: Loss, scores: Scores, poll: Poll | None = None) -> PassResult:
        """Measure the loss and what ``scores`` needs over all samples, without training."""

    def predict(self) -> Array:
        """Return the outputs for all samples."""

    def steps_done(self, epochs: int, samples: int) -> int:
        """Return the number of steps in complete epochs and the first ``samples`` of the next."""

    def resume(self, steps: int, part: Part | None) -> None:
        """Continue after ``steps`` steps of an earlier run.

        Raises
        ------
        ValueError
            If the run stopped within an epoch and the source cannot continue there.
        """

    def close(self) -> None:
        """Release what an unfinished epoch holds."""


class ArraySource:
    """Samples in memory.

    Parameters
    ----------
    network : Network
    x, y, weights
        Samples, targets and weights, checked; prediction needs the samples only.
    batch : int
        Samples per training step, at most all.
    shuffle : bool
        Whether each epoch has a new order, a function of the seed and the number of the epoch.
    """

    __slots__ = ("batch", "network", "outputs", "shuffle", "weights", "x", "y")

    in_memory = True
    hooks = True

    def __init__(
        self,
        network: Network,
        x: Array,
        y: Array = _NO_TARGETS,
        weights: Array | None = None,
        batch: int = CHUNK,
        shuffle: bool = False,
    ) -> None:
        self.network = network
        self.x, self.y, self.weights = x, y, weights
        self.batch, self.shuffle = batch, shuffle
        self.outputs: Array | None = None

    @property
    def data(self) -> Batch:
        return Batch(self.x, self.y, self.weights)

    @property
    def samples(self) -> int:
        return len(self.x)

    def order(self, first: int, epochs: int = 1) -> Array:
        """Return the orders of some epochs, one after another.

        ``first`` is the number of the first epoch, counted from the creation of the network and
        starting at 0.
        """
        seed, n = self.network.seed, len(self.x)
        orders = [_random.permutation(seed, first + index, n) for index in range(epochs)]
        return orders[0] if epochs == 1 else np.concatenate(orders)

    def train(
        self,
        loss: Loss,
        state: OptimizerState,
        scores: Scores,
        epoch: int,
        poll: Poll,
        hook: StepHook | None = None,
        part: Part | None = None,
    ) -> PassResult:
        """Train one epoch, or what is left of it after ``part``."""
        network, begun = self.network, None if part is None else part.sums
        order = self.order(network.epochs_begun - 1) if self.shuffle else None
        out = self._kept_outputs(part) if scores.metrics else None
        if begun is not None and begun.done == len(self.x):
            result = PassResult(begun.mean, begun.mean, begun.correct, begun.done, False)
        else:
            job = Pass(
                self.x,
                self.y,
                order,
                self.batch,
                weights=self.weights,
                counts=scores.accuracy,
                out=out,
                poll=poll,
                begun=begun,
                hook=hook,
            )
            result = engine(network).train(loss, state, job)
        if out is None:
            return result
        return result._replace(outputs=out, targets=self.y if order is None else self.y[order])

    def evaluate(self, loss: Loss, scores: Scores, poll: Poll | None = None) -> PassResult:
        """Measure the loss and what ``scores`` needs over all samples, without training."""
        out, counts = self._new_outputs() if scores.metrics else None, scores.accuracy
        job = Pass(self.x, self.y, weights=self.weights, counts=counts, out=out, poll=poll)
        return self._with_outputs(engine(self.network).evaluate(loss, job), out)

    def predict(self) -> Array:
        """Return the outputs for all samples."""
        network = self.network
        out = np.empty((len(self.x), *network.output_shape), network.dtype)
        engine(network).predict(self.x, out)
        return out

    def steps_done(self, epochs: int, samples: int) -> int:
        """Return the number of steps in complete epochs and the first ``samples`` of the next."""
        return epochs * math.ceil(len(self.x) / self.batch) + math.ceil(samples / self.batch)

    def resume(self, steps: int, part: Part | None) -> None:
        """Do nothing: the order of the samples is a function of counters of the network."""

    def close(self) -> None:
        """Do nothing."""

    def _new_outputs(self) -> Array:
        """Return memory for the outputs of all samples."""
        return np.empty((len(self.x), *self.network.output_shape), self.network.dtype)

    def _kept_outputs(self, part: Part | None = None) -> Array:
        """Return memory for the outputs of an epoch, which all epochs use in turn."""
        if self.outputs is None:
            self.outputs = self._new_outputs()
        if part is not None and part.outputs is not None:
            self.outputs[: part.sums.done] = part.outputs
        return self.outputs

    def _with_outputs(self, result: PassResult, out: Array | None) -> PassResult:
        """Return the result of an evaluation with its outputs, if it was not interrupted."""
        complete = out is not None and result.done == len(self.x)
        return result._replace(outputs=out, targets=self.y) if complete else result


class Total:
    """Adds up the results of the parts of a pass."""

    def __init__(self, network: Network, loss: Loss) -> None:
        self.done = 0
        self._network, self._loss = network, loss
        self._sum, self._weight, self._correct = 0.0, 0.0, 0
        self._last = 0.0
        self._bad = False

    def poll(self, poll: Poll | None) -> Poll | None:
        """Return a poll for the next part that calls ``poll`` with totals of the whole pass."""
        if poll is None:
            return None
        asked = poll

        def ask(done: int, loss: float, correct: int) -> Any:
            # A mean by samples rather than by weight: it is only shown.
            mean = (self._mean * self.done + loss * done) / max(self.done + done, 1)
            return asked(self.done + done, mean, self._correct + correct)

        return ask

    @property
    def _mean(self) -> float:
        return self._sum / self._weight if self._weight > 0 else self._sum

    def add(self, result: PassResult, targets: Array, weights: Array | None) -> bool:
        """Add a part; return whether it is complete."""
        n = len(targets)
        if result.done < n or result.bad:
            targets, weights = targets[:0], None if weights is None else weights[:0]
        shape = (len(targets), *self._network.output_shape)
        outputs = np.empty(shape, self._network.dtype)
        weight = self._loss.total_weight(outputs, targets, weights)
        self._sum += result.mean * weight
        self._weight += weight
        self._correct += result.correct
        self._last, self._bad = result.loss, result.bad
        self.done += result.done
        return result.done == n and not result.bad

    def result(self) -> PassResult:
        """Return the result of the whole pass."""
        return PassResult(self._mean, self._last, self._correct, self.done, self._bad)
