"""Passes over samples that stay in their file: those of an engine, a group of samples at a time.

Both backends get the same groups in the same order, so what holds for their passes holds here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp import _memmap
from fastmlp._engines import engine
from fastmlp._engines.base import CHUNK, Epochs, Outcome, Poll
from fastmlp.losses import Loss
from fastmlp.network import Network
from fastmlp.optimizers import OptimizerState

__all__ = ["Total", "evaluate", "is_large", "predict", "train"]

Array = npt.NDArray[Any]

is_large = _memmap.is_large


def train(
    network: Network,
    loss: Loss,
    state: OptimizerState,
    x: Array,
    y: Array,
    epoch: int | None,
    batch: int,
    *,
    weights: Array | None = None,
    counts: bool = False,
    out: Array | None = None,
    poll: Poll | None = None,
) -> tuple[Outcome, Array]:
    """Do an epoch, in the order of number ``epoch`` or of the file; return also that order."""
    total = Total(network, loss)
    order = []
    for group in _memmap.groups(x, _dtype(network, x), batch, network.seed, epoch):
        targets = y[group.rows]
        of_rows = None if weights is None else weights[group.rows]
        n = len(group.rows)
        outcome = engine(network).train(
            loss,
            state,
            group.samples,
            targets,
            group.order,
            batch,
            weights=of_rows,
            counts=counts,
            out=None if out is None else out[total.done : total.done + n],
            poll=total.poll(poll),
        )
        order.append(group.rows if group.order is None else group.rows[group.order])
        if not total.add(outcome, targets, of_rows):
            break
    return total.outcome(), np.concatenate(order)


def evaluate(
    network: Network,
    loss: Loss,
    x: Array,
    y: Array,
    *,
    weights: Array | None = None,
    counts: bool = False,
    out: Array | None = None,
    poll: Poll | None = None,
) -> Outcome:
    """Measure the loss, and the right answers if they are to be counted; outputs to ``out``."""
    total = Total(network, loss)
    for group in _memmap.groups(x, _dtype(network, x), CHUNK):
        here = slice(total.done, total.done + len(group.rows))
        of_rows = None if weights is None else weights[here]
        outcome = engine(network).evaluate(
            loss,
            group.samples,
            y[here],
            weights=of_rows,
            counts=counts,
            out=None if out is None else out[here],
            poll=total.poll(poll),
        )
        if not total.add(outcome, y[here], of_rows):
            break
    return total.outcome()


def predict(network: Network, x: Array, out: Array) -> None:
    """Write the outputs to ``out`` (N, *output_shape)."""
    for group in _memmap.groups(x, _dtype(network, x), CHUNK):
        engine(network).predict(group.samples, out[group.rows[0] : group.rows[-1] + 1])


def _dtype(network: Network, x: Array) -> np.dtype[Any]:
    """Return what samples are converted to: nothing, where they are integers for a table."""
    return network.dtype if network.integers_below is None else x.dtype


class Total:
    """What the parts of a pass come to."""

    def __init__(self, network: Network, loss: Loss) -> None:
        self.done = 0
        self._network, self._loss = network, loss
        self._sum, self._weight, self._correct = 0.0, 0.0, 0
        self._last = 0.0
        self._bad = False

    def poll(self, poll: Poll | None) -> Poll | None:
        """Return what is asked in a part, where ``poll`` is asked in the whole pass."""
        if poll is None:
            return None
        asked = poll

        def ask(done: int, loss: float, correct: int) -> Any:
            # By samples, not by weight: it is for the eyes.
            mean = (self._mean * self.done + loss * done) / max(self.done + done, 1)
            return asked(self.done + done, mean, self._correct + correct)

        return ask

    @property
    def _mean(self) -> float:
        return self._sum / self._weight if self._weight > 0 else self._sum

    def add(self, outcome: Outcome, targets: Array, weights: Array | None) -> bool:
        """Add a part; return whether it was passed to its end."""
        n = len(targets)
        if outcome.done < n or outcome.bad:
            targets, weights = targets[:0], None if weights is None else weights[:0]
        shape = (len(targets), *self._network.output_shape)
        outputs = np.empty(shape, self._network.dtype)
        weight = self._loss.total_weight(outputs, targets, weights)
        self._sum += outcome.mean * weight
        self._weight += weight
        self._correct += outcome.correct
        self._last, self._bad = outcome.loss, outcome.bad
        self.done += outcome.done
        return outcome.done == n and not outcome.bad

    def outcome(self) -> Outcome:
        """Return the outcome of the whole pass."""
        none = Epochs(np.empty(0), np.empty(0, np.int64), np.empty(0), np.empty(0))
        return Outcome(self._mean, self._last, self._correct, self.done, self._bad, none)
