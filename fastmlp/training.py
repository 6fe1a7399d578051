"""The training step, the loop of ``fit``, and evaluation.

Everything here takes checked arrays: ``Sequential`` checks and converts them once, so a step does
no more than gather its rows, go forward, go backward and update.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from fastmlp import _random
from fastmlp.callbacks import Callback
from fastmlp.engine import engine
from fastmlp.errors import DivergenceError
from fastmlp.history import History
from fastmlp.interrupt import InterruptFlag
from fastmlp.losses import Loss
from fastmlp.network import Network
from fastmlp.optimizers import Optimizer
from fastmlp.passes import Poll
from fastmlp.progress import Progress

__all__ = ["Run", "evaluate", "fit"]

Array = npt.NDArray[Any]


@dataclass
class Run:
    """What ``fit`` is to do; all of it checked."""

    x: Array
    y: Array
    epochs: int
    batch_size: int
    shuffle: bool
    validation: tuple[Array, Array] | None
    callbacks: Sequence[Callback]
    progress: Progress


def fit(
    network: Network, loss: Loss, optimizer: Optimizer, run: Run, history: History, *, counts: bool
) -> None:
    """Train for ``run.epochs`` epochs and record them in ``history``."""
    progress, epoch = run.progress, 0
    network.stop_training = False
    for callback in run.callbacks:
        callback.model = network
        callback.on_fit_begin()
    with InterruptFlag() as interrupt:
        trainer = _Trainer(network, loss, optimizer, run, interrupt, counts)
        try:
            while epoch < run.epochs and not (interrupt.requested or network.stop_training):
                epoch += 1
                for callback in run.callbacks:
                    callback.on_epoch_begin(epoch)
                logs = trainer.epoch(epoch)
                if logs is None:
                    break
                history.append(logs)
                progress.end(epoch, logs)
                for callback in run.callbacks:
                    callback.on_epoch_end(epoch, logs)
        finally:
            progress.close()
    history.interrupted = interrupt.requested
    if interrupt.requested:
        print(
            f"fit: stopped by Ctrl-C in epoch {epoch}; the weights are those after the last "
            "complete step. Press Ctrl-C again to stop the program.",
            file=sys.stderr,
            flush=True,
        )
    for callback in run.callbacks:
        callback.on_fit_end()


class _Trainer:
    """What the epochs of one ``fit`` share."""

    def __init__(
        self,
        network: Network,
        loss: Loss,
        optimizer: Optimizer,
        run: Run,
        interrupt: InterruptFlag,
        counts: bool,
    ) -> None:
        self._network, self._loss, self._optimizer = network, loss, optimizer
        self._run, self._interrupt, self._counts = run, interrupt, counts
        self._batch = min(run.batch_size, len(run.x))

    def epoch(self, epoch: int) -> dict[str, float] | None:
        """Train one epoch; return its measurements, or None if it was interrupted."""
        began = time.perf_counter()
        network, run, progress = self._network, self._run, self._run.progress
        n = len(run.x)
        # The order is a function of the number of the epoch in the life of the network.
        order = _random.permutation(network.seed, network.epochs_begun, n) if run.shuffle else None
        network.epochs_begun += 1
        snapshot = network.snapshot()
        progress.begin(epoch)
        outcome = engine(network).train(
            self._loss,
            network.state(self._optimizer),
            run.x,
            run.y,
            order,
            self._batch,
            counts=self._counts,
            poll=self._poll,
        )
        if outcome.bad:
            raise self._divergence(epoch, outcome.done, snapshot, f"the loss is {outcome.loss}")
        if self._interrupt.requested:
            return None
        if not network.is_finite():
            raise self._divergence(epoch, n - 1, snapshot, "a weight is not finite")
        logs = {"loss": outcome.loss_sum / n}
        if self._counts:
            logs["accuracy"] = outcome.correct / n
        if run.validation is not None:
            measured = evaluate(
                network, self._loss, *run.validation, self._counts, self._interrupted
            )
            if self._interrupt.requested:
                return None
            logs |= {"val_" + name: value for name, value in measured.items()}
        logs["learning_rate"] = self._optimizer.learning_rate
        logs["time"] = time.perf_counter() - began
        return logs

    def _poll(self, done: int, loss_sum: float, correct: int) -> bool:
        progress = self._run.progress
        if time.perf_counter() > progress.next_update:
            progress.update(done, loss_sum / done, correct / done if self._counts else None)
        return self._interrupt.requested

    def _interrupted(self, done: int, loss_sum: float, correct: int) -> bool:
        return self._interrupt.requested

    def _divergence(
        self, epoch: int, start: int, snapshot: list[Array], what: str
    ) -> DivergenceError:
        """Go back to the start of the epoch; return the error to be raised."""
        network, run, rate = self._network, self._run, self._optimizer.learning_rate
        network.restore(snapshot)
        network.forget()
        steps = math.ceil(len(run.x) / self._batch)
        step = (epoch - 1) * steps + start // self._batch + 1
        return DivergenceError(
            f"Training diverged: {what} in epoch {epoch}, step {step}, at learning rate {rate:g}. "
            f"The weights are again those of the start of epoch {epoch}. Lower the learning rate, "
            "and check that the inputs are scaled, for instance to [0, 1].",
            epoch=epoch,
            step=step,
            learning_rate=rate,
        )


def evaluate(
    network: Network, loss: Loss, x: Array, y: Array, counts: bool, poll: Poll | None = None
) -> dict[str, float]:
    """Return the mean loss, and the accuracy if rows are to be counted.

    Ended by ``poll``, it returns measurements of no meaning.
    """
    outcome = engine(network).evaluate(loss, x, y, counts=counts, poll=poll)
    measured = {"loss": outcome.loss_sum / len(x)}
    if counts:
        measured["accuracy"] = outcome.correct / len(x)
    return measured
