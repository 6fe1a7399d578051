"""What an engine is: passes of many batches through a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from fastmlp._types import Array
from fastmlp.losses import Loss
from fastmlp.optimizers import OptimizerState

__all__ = ["CHUNK", "Engine", "Epochs", "Pass", "PassResult", "Poll", "StepHook", "Sums"]

CHUNK = 512
"""Rows per chunk in prediction and evaluation: few enough to stay in the cache."""

Poll = Callable[[int, float, int], Any]
"""Called now and then with the samples done, their mean loss and the number of correct predictions.

A true result ends the pass.
"""


class Sums(NamedTuple):
    """What an epoch has added up so far.

    Attributes
    ----------
    done : int
        Samples of complete batches.
    loss, weight : float
        Sum of the weighted losses of these samples, and sum of their weights.
    correct : int
        Number of correct predictions.
    """

    done: int = 0
    loss: float = 0.0
    weight: float = 0.0
    correct: int = 0

    @property
    def mean(self) -> float:
        """The weighted mean loss; 0 if all weights are 0."""
        return self.loss / self.weight if self.weight > 0 else self.loss


class StepHook(NamedTuple):
    """A function to call between the steps of a training pass.

    Attributes
    ----------
    call : callable
        Called with the sums of the epoch so far and the loss of the batch. The network then has the
        weights after the step. A true result ends the pass.
    every : int
        Call it after steps whose number is a multiple of this.
    before : int
        Number of the step before the first one of the pass.
    """

    call: Callable[[Sums, float], Any]
    every: int
    before: int


# Not frozen: that would add 1 us per pass, 2 % of a step of a very small network. The methods that
# are left out would be made at every import of fastmlp.
@dataclass(slots=True, eq=False, repr=False)
class Pass:
    """One pass over samples: what an engine is asked to do.

    Attributes
    ----------
    x : array of shape (N, *input_shape)
        Samples.
    y : array
        Targets, as ``loss.targets`` returns them.
    order : array of int64 or None
        Indices of the samples in the order in which to take them; an index may repeat. The orders
        of several epochs follow one another. None takes all samples as they lie.
    batch : int
        Samples per training step. Prediction and evaluation choose their own.
    weights : array of shape (N,), float64, or None
        Sample weights.
    epochs : int
        Number of epochs; more than one only if ``Engine.bundles`` allows it.
    counts : bool
        Whether to count correct predictions.
    out : array of shape (n, *output_shape) or None
        Receives the outputs in the order of the pass; in training, each from before its step.
    poll : Poll or None
    begun : Sums or None
        Sums over the batches that are already done. The pass starts after them and adds to them.
        They must be whole batches, and fewer than all of the epoch.
    hook : StepHook or None
        What to call between steps.
    """

    x: Array
    y: Array
    order: Array | None = None
    batch: int = CHUNK
    weights: Array | None = None
    epochs: int = 1
    counts: bool = False
    out: Array | None = None
    poll: Poll | None = None
    begun: Sums | None = None
    hook: StepHook | None = None


class Epochs(NamedTuple):
    """Columns with one value for each complete epoch of a pass.

    Attributes
    ----------
    losses, correct, seconds : array
        Mean loss, number of correct predictions, and duration.
    rates : array
        Learning rate of the last step.
    """

    losses: Array
    correct: Array
    seconds: Array
    rates: Array


NO_EPOCHS = Epochs(np.empty(0), np.empty(0, np.int64), np.empty(0), np.empty(0))


class PassResult(NamedTuple):
    """What a pass measured.

    Attributes
    ----------
    mean : float
        Mean loss of the samples, weighted if they have weights (of the last epoch).
    loss : float
        Mean loss of the last batch.
    correct, done : int
        Correct predictions, and samples of complete batches (of the last epoch).
    bad : bool
        Whether a loss was not finite. Training stops before the step of that batch.
    epochs : Epochs
        Measurements of each complete epoch, from engines that bundle epochs.
    outputs, targets : array or None
        Outputs in the order of the pass and their targets. Sources of data add them if a metric
        needs them.
    """

    mean: float
    loss: float
    correct: int
    done: int
    bad: bool
    epochs: Epochs = NO_EPOCHS
    outputs: Array | None = None
    targets: Array | None = None


class Engine(Protocol):
    """What runs a network."""

    def bundles(self, loss: Loss, state: OptimizerState) -> bool:
        """Return whether ``train`` takes several epochs per call, which is faster on small data."""

    def train(self, loss: Loss, state: OptimizerState, job: Pass) -> PassResult:
        """Take one step per batch; stop before a step whose loss is not finite."""

    def evaluate(self, loss: Loss, job: Pass) -> PassResult:
        """Measure the loss, and what else the pass asks for, without changing the network."""

    def predict(self, x: Array, out: Array) -> None:
        """Write the outputs for ``x`` (N, *input_shape) to ``out`` (N, *output_shape)."""

    def gradients(
        self, loss: Loss, x: Array, y: Array, *, weights: Array | None = None
    ) -> tuple[float, dict[str, Array]]:
        """Return the mean loss of one batch of all samples, and its gradient by parameter name."""
