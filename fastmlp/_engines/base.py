"""What an engine is: passes of many batches through a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy.typing as npt

from fastmlp.losses import Loss
from fastmlp.optimizers import OptimizerState

__all__ = ["CHUNK", "Engine", "Epochs", "Outcome", "Poll", "Sums", "Watch"]

Array = npt.NDArray[Any]

# Asked now and then with (samples done, their mean loss, their right answers); a true answer ends
# the pass.
Poll = Callable[[int, float, int], Any]


class Sums(NamedTuple):
    """What an epoch has added up so far.

    Attributes
    ----------
    done : int
        Samples, in whole batches.
    loss, weight : float
        Sums over the samples, of losses times weights and of weights.
    correct : int
        Right answers.
    """

    done: int = 0
    loss: float = 0.0
    weight: float = 0.0
    correct: int = 0


class Watch(NamedTuple):
    """Who looks at the network between steps of a training pass.

    Attributes
    ----------
    call : callable
        Called with the sums of the epoch so far and the loss of the batch, when the network is
        that after the step; a true answer ends the pass.
    every : int
        After which steps: those whose number is a multiple.
    before : int
        Number of the step before the first one of the pass.
    """

    call: Callable[[Sums, float], Any]
    every: int
    before: int


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

    def bundles(self, loss: Loss, state: OptimizerState) -> bool:
        """Return whether ``train`` takes several epochs at once: it saves time with small data."""

    def train(
        self,
        loss: Loss,
        state: OptimizerState,
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
        begun: Sums | None = None,
        watch: Watch | None = None,
    ) -> Outcome:
        """Do a step for every batch of ``x``, taken in ``order``; stop before a loss not finite.

        ``order`` says which samples an epoch has, some perhaps several times; with several epochs
        their orders follow each other in it. ``weights`` are those of the samples of ``x``, float64
        (N,). The outputs, each from before its step, are written to ``out`` (N, *output_shape), in
        the order in which they come. The pass begins after what is ``begun``, fewer than all
        samples of an epoch in whole batches; its sums go on from there.
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
