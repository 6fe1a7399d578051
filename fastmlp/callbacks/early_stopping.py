"""Ending a training that does not get better."""

from __future__ import annotations

from typing import Any

from fastmlp import _checks
from fastmlp._types import Array
from fastmlp.callbacks.base import Callback
from fastmlp.monitor import Monitor

__all__ = ["EarlyStopping"]


class EarlyStopping(Callback):
    """End the training when a measurement has not improved for some epochs.

    Parameters
    ----------
    monitor : str, default="val_loss"
        What is looked at after every epoch: a name of ``history.history``.
    patience : int, default=10
        Epochs without an improvement after which the training ends, at least 1.
    min_delta : float, default=0.0
        By how much a value must be better than the best one before, at least 0.
    mode : {"auto", "min", "max"}, default="auto"
        Whether smaller or larger values are better; "auto" is "max" for accuracy, top_5 and its
        like, precision, recall, f1 and r2, and "min" for everything else.
    restore_best : bool, default=True
        Whether the model has the weights of the best epoch when ``fit`` returns, however the run
        ends but for an error. They are kept in memory meanwhile, and in checkpoints.

    Attributes
    ----------
    best : float or None
        The best value so far; None before the first that is a number.
    best_epoch, stopped_epoch : int
        Numbers of the epochs of the best value and of the end; 0 if there is none.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above; from ``fit``, if nothing of that name is measured.

    Notes
    -----
    A value that is NaN is no improvement. An object may be used for several runs: each begins
    anew. In a resumed run it goes on where it was, with the patience it has now.

    References
    ----------
    Prechelt, Early stopping - but when?, 1998.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 10,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = True,
    ) -> None:
        self._monitor = Monitor(monitor, mode, min_delta)
        self.monitor = monitor
        self.patience = _checks.integer(patience, "patience", minimum=1)
        self.restore_best = _checks.boolean(restore_best, "restore_best")
        self.on_train_begin()

    def on_train_begin(self) -> None:
        """Begin anew."""
        self.best: float | None = None
        self.best_epoch = self.stopped_epoch = 0
        self._waited = 0
        self._weights: dict[str, Array] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Look at the measurement."""
        value = logs[self._monitor.name]
        if self._monitor.improves(value, self.best):
            self.best, self.best_epoch, self._waited = value, epoch, 0
            if self.restore_best:
                self._weights = self.model.arrays
        else:
            self._waited += 1
            self._stop_if_due(epoch)

    def on_train_end(self) -> None:
        """Go back to the best weights."""
        if self._weights and self.restore_best and self.best_epoch != len(self.run.history.epochs):
            self.model.set_parameters(self._weights)
        self._weights = {}

    def state(self) -> dict[str, Any]:
        """Return what is best, and the weights of then."""
        weights = {f"weights/{name}": value for name, value in self._weights.items()}
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self._waited, **weights}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a ``state``; ends the run if that was due."""
        self.best, self.best_epoch = state.pop("best"), state.pop("best_epoch")
        self._waited = state.pop("waited")
        self._weights = {name.removeprefix("weights/"): value for name, value in state.items()}
        self._stop_if_due(len(self.run.history.epochs))

    def _stop_if_due(self, epoch: int) -> None:
        if self._waited >= self.patience:
            self.stopped_epoch = epoch
            self.model.stop_training = True
