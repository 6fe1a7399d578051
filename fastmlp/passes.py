"""What an engine is: passes of many batches through a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy.typing as npt

from fastmlp.losses import Loss
from fastmlp.optimizers import State

__all__ = ["CHUNK", "Engine", "Epochs", "Outcome", "Poll"]

Array = npt.NDArray[Any]

# Asked now and then with (samples done, their mean loss, their right answers); a true answer ends
# the pass.
Poll = Callable[[int, float, int], Any]

CHUNK = 512
"""Rows that prediction and evaluation pass at a time: few enough to stay in the cache."""


class Epochs(NamedTuple):
    """Columns with a value for each complete epoch of a pass; ``rates`` at its end."""

    losses: Array
    correct: Array
    seconds: Array
    rates: Array


class Outcome(NamedTuple):
    """What a pass found; ``bad`` if it ended before a batch whose loss was not finite.

    Attributes
    ----------
    mean : float
        Mean loss of the samples (of the last epoch), weighted if they are.
    loss : float
        Mean of the last batch.
    correct, done : int
        Right answers, and samples of complete batches (of the last epoch).
    bad : bool
    epochs : Epochs
        Of each complete epoch: the mean loss, right answers, seconds, the learning rate of its
        last step.
    """

    mean: float
    loss: float
    correct: int
    done: int
    bad: bool
    epochs: Epochs


class Engine(Protocol):
    """What runs a network."""

    def bundles(self, loss: Loss, state: State) -> bool:
        """Return whether ``train`` takes several epochs at once: it saves time with small data."""

    def train(
        self,
        loss: Loss,
        state: State,
        x: Array,
        y: Array,
        order: Array | None,
        batch: int,
        *,
        weights: Array | None = None,
        epochs: int = 1,
        counts: bool = False,
        out: Array | None = None,
        poll: Poll | None = None,
    ) -> Outcome:
        """Do a step for every batch of ``x``, taken in ``order``; stop before a loss not finite.

        ``weights`` are those of the samples of ``x``, float64 (N,). With several epochs their
        orders follow each other in ``order``. The outputs, each from before its step, are written
        to ``out`` (N, *output_shape), in the order in which they come.
        """

    def evaluate(
        self,
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

    def predict(self, x: Array, out: Array) -> None:
        """Write the outputs to ``out`` (N, *output_shape)."""

    def gradients(
        self, loss: Loss, x: Array, y: Array, *, weights: Array | None = None
    ) -> tuple[float, dict[str, Array]]:
        """Return the mean loss and its gradient by every parameter."""
