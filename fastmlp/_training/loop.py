"""The loop of ``fit`` over epochs, and evaluation.

Everything here takes checked arrays: ``Sequential`` checks and converts them once.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp import _checks, _random
from fastmlp._engines import engine
from fastmlp._engines.base import Epochs, Outcome, Poll, Sums
from fastmlp._training import generator as batches
from fastmlp._training import memmap as large
from fastmlp._training.checkpoint import Part
from fastmlp._training.generator import Source
from fastmlp._training.interrupt import InterruptFlag
from fastmlp._training.run import Run, Session, check_callbacks
from fastmlp._training.scoring import Scores
from fastmlp.errors import DivergenceError
from fastmlp.losses import Loss
from fastmlp.network import Network
from fastmlp.optimizers import Optimizer, OptimizerState

__all__ = ["check_monitors", "evaluate", "evaluate_batches", "fit", "predict"]

Array = npt.NDArray[Any]

_BUNDLE_SECONDS = 0.02  # epochs are done together until a call takes so long
_LARGEST_BUNDLE = 4096


def fit(network: Network, loss: Loss, optimizer: Optimizer, run: Run, session: Session) -> None:
    """Train until there have been ``run.epochs`` epochs, and record them in the history."""
    with contextlib.ExitStack() as ends:
        if run.source is not None:
            ends.callback(run.source.close)
        for callback in reversed(run.callbacks):
            ends.callback(callback.close)
        _fit(network, loss, optimizer, run, session)


def _fit(network: Network, loss: Loss, optimizer: Optimizer, run: Run, session: Session) -> None:
    progress, history = run.progress, session.history
    network.stop_training = False
    if run.resume is not None:
        run.resume.apply(network, optimizer, history)
    epoch = session.epoch = len(history.epochs)
    for callback in run.callbacks:
        callback.model, callback.run = network, session
        callback.on_train_begin()
    if run.resume is not None:
        run.resume.restore(run.callbacks)
    with InterruptFlag() as interrupt:
        trainer = _Trainer(network, loss, optimizer, run, interrupt, session)
        try:
            while epoch < run.epochs and not (interrupt.requested or network.stop_training):
                bundle = trainer.bundle(run.epochs - epoch)
                if bundle > 1:
                    epoch = history.extend(trainer.epochs(bundle))
                    continue
                epoch += 1
                session.epoch = epoch
                if session.part is None:
                    for callback in run.callbacks:
                        callback.on_epoch_begin(epoch)
                logs = trainer.epoch(epoch)
                if logs is None:
                    break
                session.part = None
                history.append(logs)
                progress.end(epoch, logs, trainer.samples)
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
        callback.on_train_end()


def check_monitors(optimizer: Optimizer, run: Run) -> None:
    """Refuse a schedule or a callback that looks at what is not measured."""
    monitor = getattr(optimizer.learning_rate, "monitor", None)
    if monitor is not None:
        _checks.lookup(monitor, dict.fromkeys(run.names), "monitor of the learning rate")
    check_callbacks(run)
    if run.source is not None and run.resume is not None and run.resume.part is not None:
        # What the source would have given next, nobody knows.
        raise ValueError(
            "resume: the checkpoint was written within an epoch, and batches of a source cannot be "
            "taken up there. Take one from the end of an epoch (every_epochs)."
        )
    if large.is_large(run.x):
        # It is passed group by group, and a step of one is not a step of the epoch.
        for callback in run.callbacks:
            if callback.watches:
                raise ValueError(
                    f"{type(callback).__name__} looks at steps, which takes data in memory; x is a "
                    "mapped file. Look at epochs (every_epochs), or load the file first."
                )
        if run.resume is not None and run.resume.part is not None:
            raise ValueError(
                "resume: the checkpoint was written within an epoch, which takes data in memory to "
                "go on; x is a mapped file. Load it first."
            )


class _Trainer:
    """What the epochs of one ``fit`` share."""

    def __init__(
        self,
        network: Network,
        loss: Loss,
        optimizer: Optimizer,
        run: Run,
        interrupt: InterruptFlag,
        session: Session,
    ) -> None:
        self._network, self._loss, self._optimizer = network, loss, optimizer
        self._session = session
        self._run, self._interrupt, self._counts = run, interrupt, run.scores.accuracy
        self._batch = min(run.batch_size, len(run.x))
        self._answers = loss.answers(network.output_shape)
        # One batch of all the data needs no order: the mean is over the same samples.
        self._shuffle = run.shuffle and self._batch < len(run.x)
        self._outputs = _outputs(network, run.x, run.scores)
        self._large = large.is_large(run.x)
        self.samples = len(run.x)  # of the last epoch
        alone = run.validation is None and not run.callbacks and run.progress.silent
        state = network.state(optimizer)
        # A schedule that looks at what an epoch measured must see each.
        alone = alone and getattr(optimizer.learning_rate, "monitor", None) is None
        alone = alone and self._outputs is None and not self._large and run.source is None
        self._may_bundle = alone and engine(network).bundles(loss, state)
        self._bundle = 1

    def bundle(self, left: int) -> int:
        """Return how many epochs to do at once, of those left."""
        return min(self._bundle, left) if self._may_bundle and self._session.part is None else 1

    def epochs(self, count: int) -> dict[str, Array]:
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
        columns = {"loss": done.losses}
        if self._counts:
            columns["accuracy"] = done.correct / (n * self._answers)
        columns["learning_rate"] = done.rates
        columns["time"] = done.seconds
        return columns

    def _adapt(self, seconds: float) -> None:
        if seconds < _BUNDLE_SECONDS:
            self._bundle = min(2 * self._bundle, _LARGEST_BUNDLE)

    def _order(self, index: int) -> Array:
        # The order is a function of the number of the epoch in the life of the network.
        return _random.permutation(self._network.seed, index, len(self._run.x))

    def epoch(self, epoch: int) -> dict[str, float] | None:
        """Train one epoch, or the rest of one; return its measurements, or None if interrupted."""
        began = time.perf_counter()
        network, run, progress = self._network, self._run, self._run.progress
        part = self._session.part
        if part is None:
            network.epochs_begun += 1
        else:
            began -= part.seconds
            if self._outputs is not None and part.outputs is not None:
                self._outputs[: part.sums.done] = part.outputs
        index = network.epochs_begun - 1 if self._shuffle else None
        state = network.state(self._optimizer)
        snapshot = network.snapshot()
        progress.begin(epoch)
        try:
            outcome, outputs, targets = self._pass(epoch, state, index, part, began)
        finally:
            state.epoch += 1
        n = self.samples = outcome.done
        if outcome.bad:
            what = f"the loss is {outcome.loss}"
            raise self._divergence(epoch, n, snapshot, what, part)
        if self._interrupt.requested:
            return None
        if not network.is_finite():
            raise self._divergence(epoch, n - 1, snapshot, "a weight is not finite", part)
        logs = {"loss": outcome.mean}
        if self._counts:
            logs["accuracy"] = outcome.correct / (n * self._answers)
        if outputs is not None and targets is not None:
            logs |= run.scores.measure(targets, outputs)
        if run.validation is not None:
            measured = self._validate(run.validation)
            if self._interrupt.requested:
                return None
            logs |= {"val_" + name: value for name, value in measured.items()}
        logs["learning_rate"] = state.learning_rate
        state.observe(logs)
        logs["time"] = time.perf_counter() - began
        self._adapt(logs["time"])
        return logs

    def _validate(self, validation: tuple[Array, Array, Array | None] | Source) -> dict[str, float]:
        network, loss, scores = self._network, self._loss, self._run.scores
        if isinstance(validation, Source):
            return evaluate_batches(
                network, loss, validation, scores=scores, poll=self._interrupted
            )
        return evaluate(network, loss, *validation, scores=scores, poll=self._interrupted)

    def _pass(
        self, epoch: int, state: OptimizerState, index: int | None, part: Part | None, began: float
    ) -> tuple[Outcome, Array | None, Array | None]:
        """Train an epoch, or what is left of it; return its outcome, and outputs and targets.

        These two where metrics need them. ``index`` is the number of the order, ``began`` the time
        when the epoch did.
        """
        network, run, loss, batch = self._network, self._run, self._loss, self._batch
        weights, counts, out = run.weights, self._counts, self._outputs
        if run.source is not None:
            run.source.begin(epoch)
            return batches.train(
                network,
                loss,
                state,
                run.source,
                run.steps,
                counts=counts,
                outputs=out is not None,
                poll=self._poll,
                watch=self._session.watch(began, None, self._is_interrupted),
            )
        if self._large:
            outcome, passed = large.train(
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
            return outcome, out, None if out is None else run.y[passed]
        order = None if index is None else self._order(index)
        if part is not None and part.sums.done == len(run.x):
            return _complete(part.sums), out, self._targets(order)
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
            begun=None if part is None else part.sums,
            watch=self._session.watch(began, out, self._is_interrupted),
        )
        return outcome, out, self._targets(order)

    def _targets(self, order: Array | None) -> Array | None:
        """Return the targets in the order of the outputs, if there are outputs."""
        if self._outputs is None or order is None:
            return self._run.y
        targets: Array = self._run.y[order]
        return targets

    def _poll(self, done: int, loss: float, correct: int) -> bool:
        progress = self._run.progress
        if time.perf_counter() > progress.next_update:
            accuracy = correct / (done * self._answers) if self._counts else None
            progress.update(done, loss, accuracy)
        return self._interrupt.requested

    def _is_interrupted(self) -> bool:
        return self._interrupt.requested

    def _interrupted(self, done: int, loss: float, correct: int) -> bool:
        return self._interrupt.requested

    def _divergence(
        self, epoch: int, start: int, snapshot: list[Array], what: str, part: Part | None
    ) -> DivergenceError:
        """Go back to the start of the epoch, or its resumed part; return the error to be raised."""
        network, run = self._network, self._run
        rate = network.state(self._optimizer).learning_rate
        network.restore(snapshot)
        network.forget()
        if run.source is None:
            steps = math.ceil(len(run.x) / self._batch)
            step = (epoch - 1) * steps + start // self._batch + 1
        else:
            step = self._session.step + 1
        where = f"the start of epoch {epoch}" if part is None else "the checkpoint"
        return DivergenceError(
            f"Training diverged: {what} in epoch {epoch}, step {step}, at learning rate {rate:g}. "
            f"The weights are again those of {where}. Lower the learning rate, "
            "and check that the inputs are scaled, for instance to [0, 1].",
            epoch=epoch,
            step=step,
            learning_rate=rate,
        )


def _complete(sums: Sums) -> Outcome:
    """Return what a pass gives of which nothing is left to do."""
    mean = sums.loss / sums.weight if sums.weight > 0 else sums.loss
    nothing = Epochs(np.empty(0), np.empty(0, np.int64), np.empty(0), np.empty(0))
    return Outcome(mean, mean, sums.correct, sums.done, False, nothing)


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
    complete = outcome.done == len(x)
    return _measured(network, loss, scores, outcome, outputs if complete else None, y)


def evaluate_batches(
    network: Network, loss: Loss, source: Source, *, scores: Scores, poll: Poll | None = None
) -> dict[str, float]:
    """Return what ``evaluate`` does, over all batches of a source."""
    counts, wanted = scores.accuracy, bool(scores.metrics)
    outcome, outputs, targets = batches.evaluate(
        network, loss, source, counts=counts, outputs=wanted, poll=poll
    )
    return _measured(network, loss, scores, outcome, outputs, targets)


def _measured(
    network: Network,
    loss: Loss,
    scores: Scores,
    outcome: Outcome,
    outputs: Array | None,
    targets: Array | None,
) -> dict[str, float]:
    measured = {"loss": outcome.mean + network.penalty()}
    if scores.accuracy:
        answers = max(outcome.done, 1) * loss.answers(network.output_shape)
        measured["accuracy"] = outcome.correct / answers
    if outputs is not None and targets is not None:
        measured |= scores.measure(targets, outputs)
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
