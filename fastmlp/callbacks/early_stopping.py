"""Early stopping."""

from __future__ import annotations

from typing import Any

from fastmlp import _checks
from fastmlp._types import Array
from fastmlp.callbacks.base import Callback
from fastmlp.monitor import Monitor

__all__ = ["EarlyStopping"]


class EarlyStopping(Callback):
    """Stop training when a monitored metric has not improved for some epochs.

    Parameters
    ----------
    monitor : str, default="val_loss"
        The metric to compare after every epoch: a name of ``history.history``.
    patience : int, default=10
        Number of epochs without an improvement after which training stops, at least 1.
    min_delta : float, default=0.0
        Minimum improvement over the best value so far, at least 0.
    mode : {"auto", "min", "max"}, default="auto"
        Whether smaller or larger values are better. "auto" is "max" for accuracy, top_5 (or another
        number), precision, recall, f1 and r2, and "min" for all other metrics.
    restore_best : bool, default=True
        Whether the model has the weights of the best epoch when ``fit`` returns, also after Ctrl-C
        but not after an error. Until then the weights are kept in memory, and in checkpoints.

    Attributes
    ----------
    best : float or None
        The best value so far; None before the first value that is a number.
    best_epoch, stopped_epoch : int
        Numbers of the epoch with the best value and of the last epoch; 0 if there is none.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; from ``fit``, if ``history`` has no entry of that name.

    Notes
    -----
    NaN is never an improvement. The object can be used for several runs; each starts anew. A
    resumed run continues with the stored counts, but with the ``patience`` of the new object.

    References
    ----------
    Prechelt, Early stopping - but when?, 1998.

    Examples
    --------
    >>> import fastmlp as fm
    >>> stop = fm.EarlyStopping("loss", patience=2)
    >>> model = fm.MLP(2, [3], 2)
    >>> history = model.fit([[0.0, 1.0]], [1], epochs=9, optimizer=fm.SGD(0.0), callbacks=[stop])
    >>> stop.stopped_epoch, stop.best_epoch
    (3, 1)
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
        """Forget the run before."""
        self.best: float | None = None
        self.best_epoch = self.stopped_epoch = 0
        self._waited = 0
        self._weights: dict[str, Array] = {}

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Compare the monitored metric with its best value."""
        value = logs[self._monitor.name]
        if self._monitor.improves(value, self.best):
            self.best, self.best_epoch, self._waited = value, epoch, 0
            if self.restore_best:
                self._weights = self.model.arrays
        else:
            self._waited += 1
            self._stop_if_due(epoch)

    def on_train_end(self) -> None:
        """Restore the best weights."""
        if self._weights and self.restore_best and self.best_epoch != len(self.run.history.epochs):
            self.model.set_parameters(self._weights)
        self._weights = {}

    def state(self) -> dict[str, Any]:
        """Return the best value, its epoch and its weights."""
        weights = {f"weights/{name}": value for name, value in self._weights.items()}
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self._waited, **weights}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a ``state``; end the run if that is due."""
        self.best, self.best_epoch = state.pop("best"), state.pop("best_epoch")
        self._waited = state.pop("waited")
        self._weights = {name.removeprefix("weights/"): value for name, value in state.items()}
        self._stop_if_due(len(self.run.history.epochs))

    def _stop_if_due(self, epoch: int) -> None:
        if self._waited >= self.patience:
            self.stopped_epoch = epoch
            self.model.stop_training = True
