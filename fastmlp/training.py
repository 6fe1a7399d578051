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

import numpy as np
import numpy.typing as npt

from fastmlp import _random
from fastmlp._arrays import empty
from fastmlp.callbacks import Callback
from fastmlp.errors import DivergenceError
from fastmlp.history import History
from fastmlp.interrupt import InterruptFlag
from fastmlp.losses import Loss
from fastmlp.network import Network, Workspace
from fastmlp.optimizers import Optimizer
from fastmlp.progress import Progress

__all__ = ["CHUNK", "Run", "Trainer", "evaluate", "fit"]

Array = npt.NDArray[Any]

CHUNK = 512
"""Rows that prediction and evaluation pass at a time: few enough to stay in the cache."""

_KEPT_WORKSPACES = 4  # a run has two batch sizes; batches of a user's own may have any


class Trainer:
    """Does training steps of one network with one loss and one optimizer.

    Holds the buffers of a step, one set a batch size, so a step allocates nothing large.
    """

    def __init__(self, network: Network, loss: Loss, optimizer: Optimizer, *, counts: bool) -> None:
        self.network = network
        self.loss = loss
        self.optimizer = optimizer
        self.ops = network.ops
        self.correct = 0
        self.counts = counts
        self._sink = optimizer.sink(self.ops)
        self._workspaces: dict[int, Workspace] = {}

    def step(self, x: Array, y: Array) -> float:
        """Train on one batch and return its mean loss, computed before the update.

        A loss that is not finite is returned without an update. ``correct`` has the number of
        rows that were classified right, if they are counted.
        """
        n = len(x)
        workspace = self._workspaces.get(n)
        if workspace is None:
            if len(self._workspaces) >= _KEPT_WORKSPACES:
                self._workspaces.clear()
            workspace = self._workspaces[n] = Workspace(self.network, n)
        ops = self.ops
        output = self.network.forward(ops, x, workspace)
        loss, dy = self.loss(ops, output, y, workspace.dy)
        if math.isfinite(loss):
            if self.counts:
                self.correct = ops.count_correct(output, y)
            self._sink.begin_step()
            self.network.backward(ops, dy, workspace, self._sink)
        return loss


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


def fit(trainer: Trainer, run: Run, history: History) -> None:
    """Train for ``run.epochs`` epochs and record them in ``history``."""
    network, progress, epoch = trainer.network, run.progress, 0
    network.stop_training = False
    for callback in run.callbacks:
        callback.model = network
        callback.on_fit_begin()
    with InterruptFlag() as interrupt:
        try:
            while epoch < run.epochs and not (interrupt.requested or network.stop_training):
                epoch += 1
                for callback in run.callbacks:
                    callback.on_epoch_begin(epoch)
                logs = _epoch(trainer, run, epoch, interrupt)
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


def _epoch(
    trainer: Trainer, run: Run, epoch: int, interrupt: InterruptFlag
) -> dict[str, float] | None:
    """Train one epoch; return its measurements, or None if it was interrupted."""
    began = time.perf_counter()
    network, progress, counts = trainer.network, run.progress, trainer.counts
    n, size = len(run.x), min(run.batch_size, len(run.x))
    # The order is a function of the number of the epoch in the life of the network.
    order = _random.permutation(network.seed, network.epochs_begun, n) if run.shuffle else None
    network.epochs_begun += 1
    rows = _Rows(run.x, run.y, size, order)
    snapshot = network.snapshot()
    loss_sum, correct = 0.0, 0
    progress.begin(epoch)
    for start in range(0, n, size):
        if interrupt.requested:
            return None
        x, y = rows.batch(start)
        loss = trainer.step(x, y)
        if not math.isfinite(loss):
            network.restore(snapshot)
            raise _divergence(run, epoch, start, size, trainer.optimizer, f"the loss is {loss}")
        loss_sum += loss * len(x)
        correct += trainer.correct
        if time.perf_counter() > progress.next_update:
            done = start + len(x)
            progress.update(done, loss_sum / done, correct / done if counts else None)
    if not network.is_finite():
        network.restore(snapshot)
        raise _divergence(run, epoch, n - 1, size, trainer.optimizer, "a weight is not finite")
    logs = {"loss": loss_sum / n}
    if counts:
        logs["accuracy"] = correct / n
    if run.validation is not None:
        measured = evaluate(network, trainer.loss, *run.validation, counts, interrupt)
        if interrupt.requested:
            return None
        logs |= {"val_" + name: value for name, value in measured.items()}
    logs["learning_rate"] = trainer.optimizer.learning_rate
    logs["time"] = time.perf_counter() - began
    return logs


class _Rows:
    """Gives the batches of an epoch: gathered into a buffer, or in order as views."""

    def __init__(self, x: Array, y: Array, size: int, order: Array | None) -> None:
        self._x, self._y, self._size, self._order = x, y, size, order
        if order is not None:
            self._x_buffer = empty((size, *x.shape[1:]), x.dtype)
            self._y_buffer = empty((size, *y.shape[1:]), y.dtype)

    def batch(self, start: int) -> tuple[Array, Array]:
        stop = start + self._size
        if self._order is None:
            return self._x[start:stop], self._y[start:stop]
        rows = self._order[start:stop]
        x, y = self._x_buffer, self._y_buffer
        if len(rows) < self._size:
            x, y = x[: len(rows)], y[: len(rows)]
        # mode="clip" writes straight to out; the indices are a permutation, so nothing is clipped.
        np.take(self._x, rows, axis=0, out=x, mode="clip")
        np.take(self._y, rows, axis=0, out=y, mode="clip")
        return x, y


def _divergence(
    run: Run, epoch: int, start: int, size: int, optimizer: Optimizer, what: str
) -> DivergenceError:
    step = (epoch - 1) * math.ceil(len(run.x) / size) + start // size + 1
    rate = optimizer.learning_rate
    return DivergenceError(
        f"Training diverged: {what} in epoch {epoch}, step {step}, at learning rate {rate:g}. "
        f"The weights are again those of the start of epoch {epoch}. Lower the learning rate, and "
        "check that the inputs are scaled, for instance to [0, 1].",
        epoch=epoch,
        step=step,
        learning_rate=rate,
    )


def evaluate(
    network: Network,
    loss: Loss,
    x: Array,
    y: Array,
    counts: bool,
    interrupt: InterruptFlag | None = None,
) -> dict[str, float]:
    """Return the mean loss, and the accuracy if rows are to be counted.

    Once an interrupt is requested it stops early, with measurements of no meaning.
    """
    ops, n = network.ops, len(x)
    size = min(CHUNK, n)
    workspace = Workspace(network, size)
    loss_sum, correct = 0.0, 0
    for start in range(0, n, size):
        if interrupt is not None and interrupt.requested:
            break
        x_chunk, y_chunk = x[start : start + size], y[start : start + size]
        if len(x_chunk) < size:
            workspace = Workspace(network, len(x_chunk))
        output = network.forward(ops, x_chunk, workspace)
        value, _ = loss(ops, output, y_chunk, workspace.dy)
        loss_sum += value * len(x_chunk)
        correct += ops.count_correct(output, y_chunk) if counts else 0
    measured = {"loss": loss_sum / n}
    if counts:
        measured["accuracy"] = correct / n
    return measured
