"""One run of ``fit``: what it was given, how far it is, its callbacks and its checkpoints."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp import _checks, losses, optimizers
from fastmlp._engines.base import CHUNK, StepHook, Sums
from fastmlp._engines.layer_values import layer_values
from fastmlp._training import checkpoint
from fastmlp._training.checkpoint import Checkpoint, fingerprint
from fastmlp._training.interrupt import InterruptFlag
from fastmlp._training.progress import Progress
from fastmlp._training.scoring import Scores
from fastmlp._training.sources import Part, Source
from fastmlp._types import Array
from fastmlp.callbacks import Callback
from fastmlp.history import History
from fastmlp.layers import Layer
from fastmlp.losses import Loss
from fastmlp.network import Network
from fastmlp.optimizers import Optimizer

__all__ = ["FitSettings", "Run", "check_callbacks"]


@dataclass(eq=False, repr=False)
class FitSettings:
    """What ``fit`` was asked to do, checked.

    Attributes
    ----------
    source, validation : Source
        The data; ``validation`` may be None.
    config : callable
        Returns what ``load_model`` needs besides the weights, for checkpoints.
    """

    source: Source
    validation: Source | None
    epochs: int
    batch_size: int
    shuffle: bool
    steps_per_epoch: int | None
    callbacks: Sequence[Callback]
    progress: Progress
    scores: Scores
    config: Callable[[], dict[str, Any]]
    resume: Checkpoint | None

    @property
    def names(self) -> list[str]:
        """The metrics of an epoch that a monitor can name."""
        names = ["loss", "accuracy"] if self.scores.accuracy else ["loss"]
        names += [metric.name for metric in self.scores.metrics]
        return names + ["val_" + name for name in names if self.validation is not None]

    def check(self, optimizer: Optimizer) -> None:
        """Check that monitors and callbacks fit the metrics and the data.

        Raises
        ------
        ValueError, TypeError
            If one of them does not.
        """
        monitor = getattr(optimizer.learning_rate, "monitor", None)
        if monitor is not None:
            _checks.lookup(monitor, dict.fromkeys(self.names), "monitor of the learning rate")
        for callback in self.callbacks:
            name = type(callback).__name__
            if callback.monitor is not None:
                known = dict.fromkeys(self.names)
                _checks.lookup(callback.monitor, known, f"monitor of {name}")
            if callback.every_steps is not None:
                _checks.integer(callback.every_steps, f"every_steps of {name}", minimum=1)
            if callback.watches and not self.source.hooks:
                raise ValueError(
                    f"{name} runs between steps, which requires data in memory, but x is a "
                    "memory-mapped file. Use epochs instead of steps, or load the file into memory "
                    "first."
                )


class Run:
    """A run of ``fit`` as its callbacks see it (``callbacks.RunInfo``).

    Parameters
    ----------
    network, loss, optimizer, settings, history
        What is trained, how, and where it is recorded.

    Attributes
    ----------
    epochs, epoch, step, history
        As in ``callbacks.RunInfo``.
    part : Part or None
        The part of the current epoch that is done; None between two epochs.
    interrupt : InterruptFlag
        Set by Ctrl-C.

    Raises
    ------
    ValueError
        If the run is to be resumed from a checkpoint of a different run.
    """

    def __init__(
        self,
        network: Network,
        loss: Loss,
        optimizer: Optimizer,
        settings: FitSettings,
        history: History,
    ) -> None:
        self._network, self._loss, self._optimizer, self._fit = network, loss, optimizer, settings
        self.history, self.epochs, self.epoch = history, settings.epochs, 0
        self.part: Part | None = None
        self.interrupt = InterruptFlag()
        samples = settings.source.samples
        self._batch = min(settings.batch_size, samples or settings.batch_size)
        self._hooked = [callback for callback in settings.callbacks if callback.watches]
        # Taken now, because callbacks may change some of them.
        self._given: dict[str, Any] | ValueError | None = None
        if settings.callbacks or settings.resume is not None:
            try:
                self._given = network.config() | {
                    "optimizer": optimizers.config(optimizer),
                    "loss": losses.config(loss),
                    "metrics": settings.names[1:],
                    "batch_size": settings.batch_size,
                    "shuffle": settings.shuffle,
                }
                if settings.source.data is None:
                    self._given["steps_per_epoch"] = settings.steps_per_epoch
            except ValueError as error:
                self._given = error
        self._data: dict[str, Any] | None = None
        if settings.resume is not None:
            settings.source.resume(settings.resume.steps, settings.resume.part)
            settings.resume.check(self._comparable(), network, optimizer, self._batch)
            self.part = settings.resume.part

    # --- For the loop of fit ----------------------------------------------------------------------

    def begin(self) -> None:
        """Apply the checkpoint to resume from, if any, and begin with the callbacks."""
        network, settings = self._network, self._fit
        network.stop_training = False
        if settings.resume is not None:
            settings.resume.apply(network, self._optimizer, self.history)
        self.epoch = len(self.history.epochs)
        for callback in settings.callbacks:
            callback.model, callback.run = network, self
            callback.on_train_begin()
        if settings.resume is not None:
            settings.resume.restore(settings.callbacks)

    def begin_epoch(self) -> None:
        """Begin an epoch, or the rest of one."""
        self.epoch += 1
        if self.part is None:
            for callback in self._fit.callbacks:
                callback.on_epoch_begin(self.epoch)
            self._network.epochs_begun += 1
        self._fit.progress.begin(self.epoch)

    def end_epoch(self, logs: dict[str, float], samples: int) -> None:
        """Record a complete epoch."""
        self.part = None
        self.history.append(logs)
        self._fit.progress.end(self.epoch, logs, samples)
        for callback in self._fit.callbacks:
            callback.on_epoch_end(self.epoch, logs)

    def end(self) -> None:
        """End the run, complete or interrupted."""
        self.history.interrupted = self.interrupt.requested
        if self.interrupt.requested:
            print(
                f"fit: stopped by Ctrl-C in epoch {self.epoch}; the model has the weights after "
                "the last complete step. Press Ctrl-C again to stop the program.",
                file=sys.stderr,
                flush=True,
            )
        for callback in self._fit.callbacks:
            callback.on_train_end()

    def poll(self, done: int, loss: float, correct: int) -> bool:
        """Show how far an epoch is; return whether to end it."""
        progress, scores = self._fit.progress, self._fit.scores
        if time.perf_counter() > progress.next_update:
            predictions = done * scores.predictions_per_sample
            progress.update(done, loss, correct / predictions if scores.accuracy else None)
        return self.interrupt.requested

    def is_interrupted(self, *measured: float) -> bool:
        """Return whether Ctrl-C was pressed; a poll that shows nothing."""
        return self.interrupt.requested

    def hook(self, began: float) -> StepHook | None:
        """Return the hook to call after training steps, or None if no callback needs one.

        ``began`` is when the epoch began, by ``time.perf_counter``.
        """
        if not self._hooked:
            return None
        state, source = self._network.state(self._optimizer), self._fit.source

        def call(sums: Sums, loss: float) -> bool:
            outputs = None if source.outputs is None else source.outputs[: sums.done]
            self.part = Part(sums, time.perf_counter() - began, outputs)
            step = self.step
            for callback in self._hooked:
                if callback.every_steps and step % callback.every_steps == 0:
                    logs = {"loss": loss, "learning_rate": state.learning_rate}
                    callback.on_batch_end(step, logs)
            return self.interrupt.requested

        return StepHook(call, math.gcd(*(c.every_steps or 0 for c in self._hooked)), self.step)

    # --- For callbacks ----------------------------------------------------------------------------

    @property
    def step(self) -> int:
        """Number of the last complete step."""
        done = 0 if self.part is None else self.part.sums.done
        return self._fit.source.steps_done(len(self.history.epochs), done)

    @property
    def settings(self) -> dict[str, str]:
        """How the model is trained, as text."""
        settings, network = self._fit, self._network
        given = {
            "optimizer": repr(self._optimizer),
            "loss": repr(self._loss),
            "metrics": ", ".join(name for name in settings.names[1:] if name[:4] != "val_"),
            "epochs": settings.epochs,
            "batch_size": settings.batch_size,
            "shuffle": settings.shuffle,
            "samples": f"{settings.source.samples or 0:,}",
            "dtype": network.dtype,
            "seed": network.seed,
            "backend": network.backend,
        }
        return {name: str(value) for name, value in given.items()}

    def probe(self) -> tuple[Array, Array, Array | None]:
        """Return training samples, as many as a batch has.

        Raises
        ------
        ValueError
            If the samples come in batches from Python, so that there are none before a step.
        """
        data = self._fit.source.data
        if data is None:
            raise ValueError(
                "probe=(x, y) is required when fit takes batches from Python, because there are no "
                "samples before the first step."
            )
        n = len(data.x)
        count = min(self._batch, CHUNK)
        chosen = np.arange(count) * n // count
        weights = None if data.weights is None else data.weights[chosen]
        return data.x[chosen], data.y[chosen], weights

    def inside(
        self, x: Array, y: Array, weights: Array | None
    ) -> Iterator[tuple[Layer, str, Array]]:
        """Yield what the layers hold and compute for samples."""
        return layer_values(self._network, self._loss, x, y, weights)

    def check_checkpoint(self) -> None:
        """Raise ValueError if the run has a part that checkpoints cannot store."""
        self._settings_now()

    def save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint."""
        network, settings = self._network, self._fit
        checkpoint.write(
            path,
            network,
            network.state(self._optimizer),
            self.history,
            settings.callbacks,
            self.part,
            self.step,
            settings.config(),
            self._comparable(),
        )

    def _settings_now(self) -> dict[str, Any]:
        if isinstance(self._given, ValueError):
            raise ValueError(f"cannot write a checkpoint: {self._given}") from None
        if self._given is None:
            raise RuntimeError("only callbacks can write checkpoints.")
        return self._given

    def _comparable(self) -> dict[str, Any]:
        """Return what a run that is resumed must have in common with the checkpoint."""
        settings = self._settings_now()
        if self._data is None:
            held = self._fit.validation
            x, y, weights = _fingerprints(self._fit.source)
            self._data = {
                "x": "batches" if x is None else x,
                "y": y,
                "sample_weight": weights,
                "validation_data": None,
            }
            if held is not None:
                self._data["validation_data"] = "batches"
                if held.data is not None:
                    self._data["validation_data"] = _fingerprints(held)
        return settings | self._data


def _fingerprints(source: Source) -> list[dict[str, Any] | None]:
    """Return what tells the data of a source from other data; None for batches from Python."""
    return [fingerprint(part) for part in source.data or (None, None, None)]


def check_callbacks(callbacks: Iterable[Callback] | None) -> tuple[Callback, ...]:
    """Return callbacks in the order in which they run.

    Raises
    ------
    TypeError
        If one of them is not a callback.
    """
    if callbacks is not None and not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks must be a list of fm.Callback objects, got {callbacks!r}.")
    result = tuple(callbacks or ())
    for callback in result:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks must contain only fm.Callback objects, got {callback!r}.")
    return tuple(sorted(result, key=lambda callback: callback.comes_last))
