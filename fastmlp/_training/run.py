"""One run of ``fit``: what it was given, how far it is, and its checkpoints."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp import _checks, losses, optimizers
from fastmlp._engines.base import CHUNK, Sums, Watch
from fastmlp._engines.layer_values import inside
from fastmlp._training import checkpoint
from fastmlp._training.checkpoint import Checkpoint, Part, fingerprint
from fastmlp._training.generator import Source
from fastmlp._training.progress import Progress
from fastmlp._training.scoring import Scores
from fastmlp.callbacks import Callback
from fastmlp.history import History
from fastmlp.layers import Layer
from fastmlp.losses import Loss
from fastmlp.network import Network
from fastmlp.optimizers import Optimizer

__all__ = ["Run", "Session", "check_callbacks"]

Array = npt.NDArray[Any]


@dataclass
class Run:
    """What ``fit`` is to do; all of it checked.

    Attributes
    ----------
    x, y, weights
        The data; empty where ``source`` gives batches.
    source : Source or None
    steps : int or None
        Batches of the source an epoch; None: all there are.
    validation : tuple of arrays, Source or None
    config : callable
        Returns what the model is made of again, for the files of checkpoints.
    """

    x: Array
    y: Array
    weights: Array | None
    epochs: int
    batch_size: int
    shuffle: bool
    validation: tuple[Array, Array, Array | None] | Source | None
    callbacks: Sequence[Callback]
    progress: Progress
    scores: Scores
    config: Callable[[], dict[str, Any]]
    resume: Checkpoint | None = None
    source: Source | None = None
    steps: int | None = None

    @property
    def names(self) -> list[str]:
        """The measurements of an epoch that may be looked at."""
        names = ["loss", "accuracy"] if self.scores.accuracy else ["loss"]
        names += [metric.name for metric in self.scores.metrics]
        return names + ["val_" + name for name in names if self.validation is not None]


class Session:
    """A run of ``fit`` as its callbacks see it (``callbacks.RunInfo``).

    Parameters
    ----------
    network, loss, optimizer, run, history
        Those of the run.

    Attributes
    ----------
    epochs, epoch, step, history
        As in ``callbacks.RunInfo``.
    part : Part or None
        What is done of the present epoch, unless the run is between two.

    Raises
    ------
    ValueError
        If the run is to be resumed from a checkpoint of another one.
    """

    def __init__(
        self, network: Network, loss: Loss, optimizer: Optimizer, run: Run, history: History
    ) -> None:
        self._network, self._loss, self._optimizer, self._run = network, loss, optimizer, run
        self.history, self.epochs, self.epoch = history, run.epochs, 0
        self.part: Part | None = None
        self._batch = min(run.batch_size, len(run.x))
        self._steps = math.ceil(len(run.x) / self._batch) if run.source is None else 0
        self._before = 0 if run.resume is None else run.resume.steps
        self._watching = [callback for callback in run.callbacks if callback.watches]
        # As they are now: callbacks may change some.
        self._settings: dict[str, Any] | ValueError | None = None
        if run.callbacks or run.resume is not None:
            try:
                self._settings = network.config() | {
                    "optimizer": optimizers.config(optimizer),
                    "loss": losses.config(loss),
                    "metrics": run.names[1:],
                    "batch_size": run.batch_size,
                    "shuffle": run.shuffle,
                }
                if run.source is not None:
                    self._settings["steps_per_epoch"] = run.steps
            except ValueError as error:
                self._settings = error
        self._data: dict[str, Any] | None = None
        if run.resume is not None:
            run.resume.check(self._given(), network, optimizer, self._batch)
            self.part = run.resume.part

    @property
    def step(self) -> int:
        """Number of the last complete step."""
        if self._run.source is not None:
            return self._before + self._run.source.trained
        part = 0 if self.part is None else math.ceil(self.part.sums.done / self._batch)
        return len(self.history.epochs) * self._steps + part

    @property
    def settings(self) -> dict[str, str]:
        """How the model is trained, as text."""
        run, network = self._run, self._network
        given = {
            "optimizer": repr(self._optimizer),
            "loss": repr(self._loss),
            "metrics": ", ".join(name for name in run.names[1:] if name[:4] != "val_"),
            "epochs": run.epochs,
            "batch_size": run.batch_size,
            "shuffle": run.shuffle,
            "samples": f"{len(run.x):,}",
            "dtype": network.dtype,
            "seed": network.seed,
            "backend": network.backend,
        }
        return {name: str(value) for name, value in given.items()}

    def probe(self) -> tuple[Array, Array, Array | None]:
        """Return samples of the training, as many as a batch has.

        Raises
        ------
        ValueError
            If the samples come in batches from Python: none is there before its step.
        """
        if self._run.source is not None:
            raise ValueError(
                "probe must be given, (x, y), where fit takes batches from Python: there are no "
                "samples to look at before the first step."
            )
        run, n = self._run, len(self._run.x)
        count = min(self._batch, CHUNK)
        chosen = np.arange(count) * n // count
        weights = None if run.weights is None else run.weights[chosen]
        return run.x[chosen], run.y[chosen], weights

    def inside(
        self, x: Array, y: Array, weights: Array | None
    ) -> Iterator[tuple[Layer, str, Array]]:
        """Yield what the layers hold and compute for samples."""
        return inside(self._network, self._loss, x, y, weights)

    def check_checkpoint(self) -> None:
        """Refuse what no checkpoint can hold."""
        self._fixed()

    def save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint."""
        network, run = self._network, self._run
        state = network.state(self._optimizer)
        callbacks, settings = run.callbacks, self._given()
        checkpoint.write(
            path,
            network,
            state,
            self.history,
            callbacks,
            self.part,
            self.step,
            run.config(),
            settings,
        )

    def watch(self, began: float, outputs: Array | None, stop: Callable[[], bool]) -> Watch | None:
        """Return who looks at the network after steps of the epoch; None if nobody does.

        Parameters
        ----------
        began : float
            When the epoch began, by ``time.perf_counter``.
        outputs : array or None
            Where its outputs are written, in the order of the epoch.
        stop : callable
            Says whether the run is to end after the step.
        """
        if not self._watching:
            return None
        state = self._network.state(self._optimizer)

        def call(sums: Sums, loss: float) -> bool:
            given = None if outputs is None else outputs[: sums.done]
            self.part = Part(sums, time.perf_counter() - began, given)
            step = self.step
            for callback in self._watching:
                if callback.every_steps and step % callback.every_steps == 0:
                    logs = {"loss": loss, "learning_rate": state.learning_rate}
                    callback.on_batch_end(step, logs)
            return stop()

        return Watch(call, math.gcd(*(c.every_steps or 0 for c in self._watching)), self.step)

    def _fixed(self) -> dict[str, Any]:
        if isinstance(self._settings, ValueError):
            raise ValueError(f"a checkpoint cannot be: {self._settings}") from None
        if self._settings is None:
            raise RuntimeError("a checkpoint is written by a callback.")
        return self._settings

    def _given(self) -> dict[str, Any]:
        """Return what another run must have in common with this one."""
        run, fixed = self._run, self._fixed()
        if self._data is None:
            held = run.validation
            known = run.source is None
            self._data = {
                # What a source gives, nobody knows before it does.
                "x": fingerprint(run.x) if known else "batches",
                "y": fingerprint(run.y) if known else None,
                "sample_weight": fingerprint(run.weights),
                "validation_data": "batches"
                if isinstance(held, Source)
                else None
                if held is None
                else [fingerprint(part) for part in held],
            }
        return fixed | self._data


def check_callbacks(run: Run) -> None:
    """Refuse callbacks that look at what is not measured or ask for impossible steps."""
    known = dict.fromkeys(run.names)
    for callback in run.callbacks:
        name = type(callback).__name__
        if callback.monitor is not None:
            _checks.lookup(callback.monitor, known, f"monitor of {name}")
        if callback.every_steps is not None:
            _checks.integer(callback.every_steps, f"every_steps of {name}", minimum=1)
