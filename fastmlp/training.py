"""The loop of ``fit`` over epochs, and evaluation.

Everything here takes checked arrays: ``Sequential`` checks and converts them once.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp import _checks, _random, large
from fastmlp.callbacks import Callback
from fastmlp.engine import engine
from fastmlp.errors import DivergenceError
from fastmlp.history import History
from fastmlp.interrupt import InterruptFlag
from fastmlp.losses import Loss
from fastmlp.network import Network
from fastmlp.optimizers import Optimizer, State
from fastmlp.passes import Outcome, Poll
from fastmlp.progress import Progress
from fastmlp.scoring import Scores

__all__ = ["Run", "check_monitor", "evaluate", "fit", "predict"]

Array = npt.NDArray[Any]

_BUNDLE_SECONDS = 0.02  # epochs are done together until a call takes so long
_LARGEST_BUNDLE = 4096


@dataclass
class Run:
    """What ``fit`` is to do; all of it checked."""

    x: Array
    y: Array
    weights: Array | None
    epochs: int
    batch_size: int
    shuffle: bool
    validation: tuple[Array, Array, Array | None] | None
    callbacks: Sequence[Callback]
    progress: Progress
    scores: Scores


def fit(network: Network, loss: Loss, optimizer: Optimizer, run: Run, history: History) -> None:
    """Train for ``run.epochs`` epochs and record them in ``history``."""
    progress, epoch = run.progress, 0
    network.stop_training = False
    for callback in run.callbacks:
        callback.model = network
        callback.on_fit_begin()
    with InterruptFlag() as interrupt:
        trainer = _Trainer(network, loss, optimizer, run, interrupt)
        try:
            while epoch < run.epochs and not (interrupt.requested or network.stop_training):
                bundle = trainer.bundle(run.epochs - epoch)
                if bundle > 1:
                    history.extend(trainer.epochs(bundle))
                    epoch = len(history.epochs)
                    continue
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


def check_monitor(optimizer: Optimizer, run: Run) -> None:
    """Refuse a schedule that looks at what is not measured."""
    monitor = getattr(optimizer.learning_rate, "monitor", None)
    if monitor is not None:
        names = ["loss", "accuracy"] if run.scores.accuracy else ["loss"]
        names += [metric.name for metric in run.scores.metrics]
        names += ["val_" + name for name in names if run.validation is not None]
        _checks.lookup(monitor, dict.fromkeys(names), "monitor of the learning rate")


class _Trainer:
    """What the epochs of one ``fit`` share."""

    def __init__(
        self,
        network: Network,
        loss: Loss,
        optimizer: Optimizer,
        run: Run,
        interrupt: InterruptFlag,
    ) -> None:
        self._network, self._loss, self._optimizer = network, loss, optimizer
        self._run, self._interrupt, self._counts = run, interrupt, run.scores.accuracy
        self._batch = min(run.batch_size, len(run.x))
        self._answers = loss.answers(network.output_shape)
        # One batch of all the data needs no order: the mean is over the same samples.
        self._shuffle = run.shuffle and self._batch < len(run.x)
        self._outputs = _outputs(network, run.x, run.scores)
        self._large = large.is_large(run.x)
        alone = run.validation is None and not run.callbacks and run.progress.silent
        state = network.state(optimizer)
        # A schedule that looks at what an epoch measured must see each.
        alone = alone and getattr(optimizer.learning_rate, "monitor", None) is None
        alone = alone and self._outputs is None and not self._large
        self._may_bundle = alone and engine(network).bundles(loss, state)
        self._bundle = 1

    def bundle(self, left: int) -> int:
        """Return how many epochs to do at once, of those left."""
        return min(self._bundle, left) if self._may_bundle else 1

    def epochs(self, count: int) -> dict[str, list[float]]:
        """Do several epochs in one call, for data so small that Python takes longer than they.

        Return the measurements of the complete ones. If something goes wrong everything is as
        before, nothing is returned, and from then on ``bundle`` is 1.
        """
        began = time.perf_counter()
        network, n = self._network, len(self._run.x)
        state = network.state(self._optimizer)
        first = network.epochs_begun
        order = None
        if self._shuffle:
            order = np.concatenate([self._order(first + i) for i in range(count)])
        before = network.snapshot(), state.snapshot(), network.steps_done
        outcome = engine(network).train(
            self._loss,
            state,
            self._run.x,
            self._run.y,
            order,
            self._batch,
            weights=self._run.weights,
            epochs=count,
            counts=self._counts,
            poll=self._interrupted,
        )
        done = outcome.epochs
        complete = len(done.seconds)
        if outcome.bad or not network.is_finite():
            network.restore(before[0])
            state.restore(before[1])
            network.steps_done = before[2]
            self._may_bundle = False
            return {}
        network.epochs_begun += min(count, complete + 1)
        state.epoch += min(count, complete + 1)
        self._adapt(time.perf_counter() - began)
        columns = {"loss": done.losses.tolist()}
        if self._counts:
            columns["accuracy"] = (done.correct / (n * self._answers)).tolist()
        columns["learning_rate"] = done.rates.tolist()
        columns["time"] = done.seconds.tolist()
        return columns

    def _adapt(self, seconds: float) -> None:
        if seconds < _BUNDLE_SECONDS:
            self._bundle = min(2 * self._bundle, _LARGEST_BUNDLE)

    def _order(self, index: int) -> Array:
        # The order is a function of the number of the epoch in the life of the network.
        return _random.permutation(self._network.seed, index, len(self._run.x))

    def epoch(self, epoch: int) -> dict[str, float] | None:
        """Train one epoch; return its measurements, or None if it was interrupted."""
        began = time.perf_counter()
        network, run, progress = self._network, self._run, self._run.progress
        n = len(run.x)
        index = network.epochs_begun if self._shuffle else None
        network.epochs_begun += 1
        state = network.state(self._optimizer)
        snapshot = network.snapshot()
        progress.begin(epoch)
        try:
            outcome, order = self._pass(state, index)
        finally:
            state.epoch += 1
        if outcome.bad:
            raise self._divergence(epoch, outcome.done, snapshot, f"the loss is {outcome.loss}")
        if self._interrupt.requested:
            return None
        if not network.is_finite():
            raise self._divergence(epoch, n - 1, snapshot, "a weight is not finite")
        logs = {"loss": outcome.mean}
        if self._counts:
            logs["accuracy"] = outcome.correct / (n * self._answers)
        if self._outputs is not None:
            targets = run.y if order is None else run.y[order]
            logs |= run.scores.measure(targets, self._outputs)
        if run.validation is not None:
            measured = evaluate(
                network,
                self._loss,
                *run.validation,
                scores=run.scores,
                poll=self._interrupted,
            )
            if self._interrupt.requested:
                return None
            logs |= {"val_" + name: value for name, value in measured.items()}
        logs["learning_rate"] = state.learning_rate
        state.observe(logs)
        logs["time"] = time.perf_counter() - began
        self._adapt(logs["time"])
        return logs

    def _pass(self, state: State, index: int | None) -> tuple[Outcome, Array | None]:
        """Train an epoch in the order of number ``index``; return its outcome and the order."""
        network, run, loss, batch = self._network, self._run, self._loss, self._batch
        weights, counts, out = run.weights, self._counts, self._outputs
        if self._large:
            return large.train(
                network,
                loss,
                state,
                run.x,
                run.y,
                index,
                batch,
                weights=weights,
                counts=counts,
                out=out,
                poll=self._poll,
            )
        order = None if index is None else self._order(index)
        outcome = engine(network).train(
            loss,
            state,
            run.x,
            run.y,
            order,
            batch,
            weights=weights,
            counts=counts,
            out=out,
            poll=self._poll,
        )
        return outcome, order

    def _poll(self, done: int, loss: float, correct: int) -> bool:
        progress = self._run.progress
        if time.perf_counter() > progress.next_update:
            accuracy = correct / (done * self._answers) if self._counts else None
            progress.update(done, loss, accuracy)
        return self._interrupt.requested

    def _interrupted(self, done: int, loss: float, correct: int) -> bool:
        return self._interrupt.requested

    def _divergence(
        self, epoch: int, start: int, snapshot: list[Array], what: str
    ) -> DivergenceError:
        """Go back to the start of the epoch; return the error to be raised."""
        network, run = self._network, self._run
        rate = network.state(self._optimizer).learning_rate
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
    network: Network,
    loss: Loss,
    x: Array,
    y: Array,
    weights: Array | None = None,
    *,
    scores: Scores,
    poll: Poll | None = None,
) -> dict[str, float]:
    """Return the mean loss and what else is to be measured, over all samples.

    Ended by ``poll``, it returns measurements of no meaning.
    """
    counts, outputs = scores.accuracy, _outputs(network, x, scores)
    if large.is_large(x):
        outcome = large.evaluate(
            network, loss, x, y, weights=weights, counts=counts, out=outputs, poll=poll
        )
    else:
        outcome = engine(network).evaluate(
            loss, x, y, weights=weights, counts=counts, out=outputs, poll=poll
        )
    measured = {"loss": outcome.mean + network.penalty()}
    if counts:
        measured["accuracy"] = outcome.correct / (len(x) * loss.answers(network.output_shape))
    if outputs is not None and outcome.done == len(x):
        measured |= scores.measure(y, outputs)
    return measured


def predict(network: Network, x: Array, out: Array) -> None:
    """Write the outputs to ``out`` (N, *output_shape)."""
    if large.is_large(x):
        large.predict(network, x, out)
    else:
        engine(network).predict(x, out)


def _outputs(network: Network, x: Array, scores: Scores) -> Array | None:
    """Return memory for the outputs of all samples if a metric needs them."""
    shape = (len(x), *network.output_shape)
    return np.empty(shape, network.dtype) if scores.metrics else None
