"""What a run of ``fit`` recorded."""

from __future__ import annotations

__all__ = ["History"]


class History:
    """The measurements of a run of ``fit``, one value an epoch.

    Attributes
    ----------
    history : dict of str to list of float
        "loss", "learning_rate" and "time" (seconds, validation included); "accuracy" if the loss
        has classes, and a column for each metric; "val_loss" and the like if there are validation
        data. What is measured in training is taken before the step it belongs to; the loss is a
        mean over the samples of the epoch, weighted if they are, with the penalties of layers. The
        learning rate is that of the last step.
    epochs : list of int
        Numbers of the completed epochs, from 1.
    interrupted : bool
        Whether the run was stopped by Ctrl-C. The epoch it stopped in is not recorded.
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epochs: list[int] = []
        self.interrupted = False

    def append(self, values: dict[str, float]) -> None:
        """Record the values of one more epoch."""
        self.epochs.append(len(self.epochs) + 1)
        for name, value in values.items():
            self.history.setdefault(name, []).append(value)

    def extend(self, columns: dict[str, list[float]]) -> None:
        """Record several more epochs: the values of each by name."""
        count = max(map(len, columns.values()), default=0)
        self.epochs += range(len(self.epochs) + 1, len(self.epochs) + 1 + count)
        for name, values in columns.items():
            self.history.setdefault(name, []).extend(values)

    def __repr__(self) -> str:
        last = ", ".join(
            f"{name}={values[-1]:.4g}"
            for name, values in self.history.items()
            if name not in ("learning_rate", "time")
        )
        stopped = ", interrupted" if self.interrupted else ""
        return f"<History of {len(self.epochs)} epochs{stopped}{': ' + last if last else ''}>"
