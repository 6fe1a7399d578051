"""What a callback is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Protocol

from fastmlp._types import Array
from fastmlp.history import History

__all__ = ["Callback", "RunInfo"]


class RunInfo(Protocol):
    """What a callback may ask of the run of ``fit`` it is called in.

    Attributes
    ----------
    epochs : int
        Number of the last epoch, if nothing ends the run before.
    epoch : int
        Number of the present epoch, from 1; 0 before the first.
    step : int
        Number of the last complete step, from 1, counted through all epochs; 0 before the first.
    history : History
        Of the epochs so far, also those from before a resume.
    """

    epochs: int
    epoch: int
    history: History

    @property
    def step(self) -> int:
        """The last complete step."""

    @property
    def settings(self) -> dict[str, str]:
        """How the model is trained, by name, as text to be read."""

    def probe(self) -> tuple[Array, Array, Array | None]:
        """Return samples of the training, their targets and weights: as many as a batch has.

        At most 512. They are taken at even distances and are the same at any time.
        """

    def inside(self, x: Array, y: Array, weights: Array | None) -> Iterator[tuple[Any, str, Array]]:
        """Yield what the layers hold and compute for samples.

        All as ``probe`` returns it. The model stays as it is. See
        ``fastmlp._engines.layer_values``.
        """

    def check_checkpoint(self) -> None:
        """Refuse what no checkpoint can hold: classes of your own.

        Raises
        ------
        ValueError
            If a layer, the loss, the optimizer or its schedule is of such a class.
        """

    def save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint, atomically: all that ``fit(resume=path)`` needs to go on from here.

        Raises
        ------
        OSError
            If the file cannot be written; then the old one is intact.
        ValueError
            If a weight is not finite.
        """


class Callback:
    """Base class: override what is needed.

    Setting ``self.model.stop_training = True`` ends the run after the epoch.

    Attributes
    ----------
    model : Sequential
        The model in training; set before ``on_train_begin``.
    run : RunInfo
        The run of ``fit``: ``epochs``, ``epoch``, ``history`` and ``save_checkpoint(path)``;
        likewise.
    every_steps : int or None, default=1
        After how many steps ``on_batch_end`` is called, where it is overridden; None means never.
    monitor : str or None, default=None
        A measurement that is looked at; ``fit`` refuses to begin if there is none of that name.

    Notes
    -----
    A callback that raises ends the training: the error passes on to who called ``fit``, the model
    has the weights after the last complete step, ``model.history`` the complete epochs, and
    nothing more is called, not even ``on_train_end``, but ``close``.

    Without an ``on_batch_end`` a whole epoch is one call of the compiled plan. With one, the
    threads meet and wait for Python after each of its steps.
    """

    model: Any = None
    run: Any = None
    every_steps: int | None = 1
    monitor: str | None = None
    # Whether it comes after all others, wherever it stands: what it does depends on theirs.
    comes_last = False

    def on_train_begin(self) -> None:
        """Run before the first epoch, or before a resumed run goes on."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Run before epoch number ``epoch``, from 1; not if a run is resumed in the middle of it.

        What a callback does here to the model is part of a checkpoint.
        """

    def on_batch_end(self, step: int, logs: dict[str, float]) -> None:
        """Run after steps whose number is a multiple of ``every_steps``.

        Parameters
        ----------
        step : int
            Number of the step in the run, from 1, counted through all epochs.
        logs : dict of str to float
            "loss" of the batch, from before the step, and "learning_rate".

        Notes
        -----
        The weights are those after the step. They may be read, and the model may predict and
        evaluate. A change of weights is part of the next step; one of the learning rate begins
        with the next epoch.
        """

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Run after epoch number ``epoch``; ``logs`` is what the history records of it."""

    def on_train_end(self) -> None:
        """Run after the last epoch, and after Ctrl-C; not after an error."""

    def close(self) -> None:
        """Give back files and the like; run when ``fit`` ends, however it does, also by an error.

        It is the last of the hooks and leaves the model alone.
        """

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the callback: plain values and arrays of floats.

        Plain values are those that JSON has; numbers may be infinite.
        """
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a ``state`` in a resumed run; called after ``on_train_begin``.

        States belong to callbacks by their class, and their order where there are several.
        """

    @property
    def watches(self) -> bool:
        """Whether it wants to be called between steps."""
        own = type(self).on_batch_end is not Callback.on_batch_end
        return self.every_steps is not None and (own or "on_batch_end" in vars(self))
