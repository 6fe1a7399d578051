"""Several epochs in one call of the engine, for data so small that Python takes longer than they.

An epoch of a 2-3-2 network on 200 samples takes 2 microseconds, and one round of the loop of
``fit`` 60. So while nothing happens between epochs, they are trained in bundles, which grow until
a bundle takes 20 milliseconds: Ctrl-C must not wait longer.
"""

from __future__ import annotations

import time
from typing import cast

from fastmlp._engines import engine
from fastmlp._engines.base import Pass, Poll
from fastmlp._training.run import FitSettings
from fastmlp._training.sources import ArraySource
from fastmlp._types import Array
from fastmlp.losses import Loss
from fastmlp.network import Network
from fastmlp.optimizers import Optimizer

__all__ = ["Bundles"]


_SECONDS = 0.02  # bundles grow until one takes this long
_LARGEST = 4096


class Bundles:
    """Trains bundles of epochs where nothing has to happen between them."""

    def __init__(
        self, network: Network, loss: Loss, optimizer: Optimizer, settings: FitSettings, poll: Poll
    ) -> None:
        self._network, self._loss, self._optimizer = network, loss, optimizer
        self._source, self._scores, self._poll = settings.source, settings.scores, poll
        self._size = 1
        state = network.state(optimizer)
        self._possible = (
            settings.source.in_memory
            and settings.validation is None
            and not settings.callbacks
            and not settings.scores.metrics
            and settings.progress.silent
            # A schedule with a monitor needs the metrics of each epoch.
            and getattr(optimizer.learning_rate, "monitor", None) is None
            and engine(network).bundles(loss, state)
        )

    def size(self, left: int) -> int:
        """Return the number of epochs to train next, of those left; 1 means no bundle."""
        return min(self._size, left) if self._possible else 1

    def adapt(self, seconds: float) -> None:
        """Let the next bundle be larger if the last one, or an epoch, took little time."""
        if seconds < _SECONDS:
            self._size = min(2 * self._size, _LARGEST)

    def train(self, count: int) -> dict[str, Array]:
        """Train ``count`` epochs and return the metrics of the complete ones.

        If training diverges, everything is restored, nothing is returned and ``size`` is 1 from
        then on: the loop trains the same epochs one at a time and finds the one that diverges.
        """
        began = time.perf_counter()
        network, source = self._network, cast("ArraySource", self._source)
        state = network.state(self._optimizer)
        before = network.snapshot(), state.snapshot(), network.steps_done
        job = Pass(
            source.x,
            source.y,
            source.order(network.epochs_begun, count) if source.shuffle else None,
            source.batch,
            weights=source.weights,
            epochs=count,
            counts=self._scores.accuracy,
            poll=self._poll,
        )
        result = engine(network).train(self._loss, state, job)
        if result.bad or not network.is_finite():
            network.restore(before[0])
            state.restore(before[1])
            network.steps_done = before[2]
            self._possible = False
            return {}
        done = result.epochs
        complete = len(done.seconds)
        network.epochs_begun += min(count, complete + 1)
        state.epoch += min(count, complete + 1)
        self.adapt(time.perf_counter() - began)
        columns = {"loss": done.losses}
        if self._scores.accuracy:
            predictions = len(source.x) * self._scores.predictions_per_sample
            columns["accuracy"] = done.correct / predictions
        columns["learning_rate"] = done.rates
        columns["time"] = done.seconds
        return columns
