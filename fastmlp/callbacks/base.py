"""The base class of callbacks, and the run of ``fit`` as they see it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, Protocol

from fastmlp._types import Array
from fastmlp.history import History

__all__ = ["Callback", "RunInfo"]


class RunInfo(Protocol):
    """The run of ``fit`` that calls a callback.

    Attributes
    ----------
    epochs : int
        Number of the last epoch, unless the run ends early.
    epoch : int
        Number of the current epoch, from 1; 0 before the first.
    step : int
        Number of the last complete step, from 1, counted over all epochs; 0 before the first.
    history : History
        The epochs so far, including the epochs before a resume.
    """

    epochs: int
    epoch: int
    history: History

    @property
    def step(self) -> int:
        """Number of the last complete step."""

    @property
    def settings(self) -> dict[str, str]:
        """The settings of the run by name, as text."""

    def probe(self) -> tuple[Array, Array, Array | None]:
        """Return some of the training samples, with their targets and weights.

        There are as many as in a batch, but at most 512, at even distances in the data. All calls
        return the same samples.
        """

    def inside(self, x: Array, y: Array, weights: Array | None) -> Iterator[tuple[Any, str, Array]]:
        """Yield the parameters, gradients and activations of all layers for some samples.

        The arguments are as ``probe`` returns them. The model is not changed. Each item is (layer,
        kind, values). The kinds are "weight" and the other names of parameters and buffers,
        "pre_activation", "activation" or (after pooling) "pooled_activation", and
        "weight_gradient" and so on.
        """

    def check_checkpoint(self) -> None:
        """Check that checkpoints of the run can be written.

        Raises
        ------
        ValueError
            If a layer, the loss, the optimizer or its schedule is user-defined.
        """

    def save_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint, atomically: all that ``fit(resume=path)`` needs to continue here.

        Raises
        ------
        OSError
            If the file cannot be written. The old file is then intact.
        ValueError
            If a weight is not finite.
        """


class Callback:
    """Base class of callbacks. Override the hooks you need.

    Setting ``self.model.stop_training = True`` ends the run after the current epoch.

    Attributes
    ----------
    model : Sequential
        The model in training; set before ``on_train_begin``.
    run : RunInfo
        The run of ``fit``: ``epochs``, ``epoch``, ``history`` and ``save_checkpoint(path)``; set
        before ``on_train_begin``.
    every_steps : int or None, default=1
        Number of steps from one call of ``on_batch_end`` to the next, if it is overridden; None
        means never.
    monitor : str or None, default=None
        The metric that the callback uses. ``fit`` raises ValueError if ``history`` has no entry of
        that name.

    Notes
    -----
    If a callback raises, the error passes through ``fit``. The model has the weights after the last
    complete step, and ``model.history`` the complete epochs. No other hook is called after it, not
    even ``on_train_end``; only ``close`` is.

    Without ``on_batch_end``, a whole epoch is one call of the compiled plan. With it, all threads
    wait for Python after every step for which it is called.

    Examples
    --------
    >>> import fastmlp as fm
    >>> class Loss(fm.Callback):
    ...     def on_epoch_end(self, epoch, logs):
    ...         print(epoch, sorted(logs))
    >>> model = fm.MLP(2, [3], 2)
    >>> history = model.fit([[0.0, 1.0]], [1], epochs=2, callbacks=[Loss()], metrics=[])
    1 ['learning_rate', 'loss', 'time']
    2 ['learning_rate', 'loss', 'time']
    """

    model: Any = None
    run: Any = None
    every_steps: int | None = 1
    monitor: str | None = None
    # Whether it is called after all others, because it stores what they did.
    comes_last = False

    def on_train_begin(self) -> None:
        """Run before the first epoch, or before a resumed run continues."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Run before epoch number ``epoch``, from 1, but not if a run resumes in the middle of it.

        Checkpoints contain what a callback changes in the model here.
        """

    def on_batch_end(self, step: int, logs: dict[str, float]) -> None:
        """Run after steps whose number is a multiple of ``every_steps``.

        Parameters
        ----------
        step : int
            Number of the step in the run, from 1, counted over all epochs.
        logs : dict of str to float
            "loss" of the batch, from before the step, and "learning_rate".

        Notes
        -----
        The model has the weights after the step. They can be read, and the model can predict and
        evaluate. Changed weights are used from the next step on, a changed learning rate from the
        next epoch on.
        """

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Run after epoch number ``epoch``; ``logs`` is what the history records for it."""

    def on_train_end(self) -> None:
        """Run after the last epoch and after Ctrl-C, but not after an error."""

    def close(self) -> None:
        """Release files and other resources; run whenever ``fit`` ends, also after an error.

        It is the last hook, and it must not change the model.
        """

    def state(self) -> dict[str, Any]:
        """Return the state that checkpoints store: plain values and arrays of floats.

        Plain values are the values that JSON can represent; numbers may also be infinite.
        """
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a ``state`` in a resumed run; called after ``on_train_begin``.

        States are matched with callbacks by class, and by order among callbacks of one class.
        """

    @property
    def watches(self) -> bool:
        """Whether it has to be called between steps."""
        own = type(self).on_batch_end is not Callback.on_batch_end
        return self.every_steps is not None and (own or "on_batch_end" in vars(self))
