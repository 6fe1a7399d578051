"""The metrics of a run of ``fit``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

__all__ = ["History"]


class History:
    """The metrics of a run of ``fit``, one value per epoch.

    Attributes
    ----------
    interrupted : bool
        Whether the run was stopped by Ctrl-C. The epoch in which it stopped is not recorded.

    Examples
    --------
    >>> import fastmlp as fm
    >>> history = fm.MLP(2, [3], 2).fit([[0.0, 1.0]], [1], epochs=2)
    >>> list(history.history), history.epochs
    (['loss', 'accuracy', 'learning_rate', 'time'], [1, 2])
    """

    def __init__(self) -> None:
        # History columns are converted to lists on first access, which makes steps of very small
        # networks 10 % faster.
        self._columns: dict[str, list[float]] = {}
        self._waiting: dict[str, list[npt.NDArray[np.float64]]] = {}
        self._numbers: list[int] = []
        self._count = 0
        self.interrupted = False

    @property
    def history(self) -> dict[str, list[float]]:
        """The metrics, one list per name.

        The names are "loss", "accuracy" if the loss has classes, the names of the metrics, the same
        names with "val_" in front if there are validation data, "learning_rate" and "time"
        (seconds, including the validation). Training metrics are computed before each
        step. The loss is the mean over the samples of the epoch, weighted if they have weights,
        plus the penalties of the layers. The learning rate belongs to the last step.
        """
        while self._waiting:
            name, arrays = self._waiting.popitem()
            self._columns[name] += np.concatenate(arrays).tolist()
        return self._columns

    @property
    def epochs(self) -> list[int]:
        """Numbers of the completed epochs, from 1."""
        self._numbers += range(len(self._numbers) + 1, self._count + 1)
        return self._numbers

    def append(self, values: dict[str, float]) -> None:
        """Record the values of one epoch."""
        columns = self.history
        self._count += 1
        for name, value in values.items():
            columns.setdefault(name, []).append(value)

    def extend(self, columns: Mapping[str, npt.ArrayLike]) -> int:
        """Record the columns of several epochs by name; return the number of epochs so far."""
        arrays = {name: np.array(values, np.float64) for name, values in columns.items()}
        self._count += max(map(len, arrays.values()), default=0)
        for name, values in arrays.items():
            self._columns.setdefault(name, [])  # keeps the order of the columns
            self._waiting.setdefault(name, []).append(values)
        return self._count

    def __repr__(self) -> str:
        last = ", ".join(
            f"{name}={values[-1]:.4g}"
            for name, values in self.history.items()
            if name not in ("learning_rate", "time")
        )
        stopped = ", interrupted" if self.interrupted else ""
        return f"<History of {len(self.epochs)} epochs{stopped}{': ' + last if last else ''}>"
