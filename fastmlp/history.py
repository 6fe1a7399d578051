"""What a run of ``fit`` recorded."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

__all__ = ["History"]


class History:
    """The measurements of a run of ``fit``, one value an epoch.

    Attributes
    ----------
    interrupted : bool
        Whether the run was stopped by Ctrl-C. The epoch it stopped in is not recorded.
    """

    def __init__(self) -> None:
        # Values of a tiny network take longer to put into lists than to train for: those of bundles
        # of epochs wait in arrays until somebody looks.
        self._columns: dict[str, list[float]] = {}
        self._waiting: dict[str, list[npt.NDArray[np.float64]]] = {}
        self._numbers: list[int] = []
        self._count = 0
        self.interrupted = False

    @property
    def history(self) -> dict[str, list[float]]:
        """What was measured, a column for each name.

        "loss", "learning_rate" and "time" (seconds, validation included); "accuracy" if the loss
        has classes, and a column for each metric; "val_loss" and the like if there are validation
        data. What is measured in training is taken before the step it belongs to; the loss is a
        mean over the samples of the epoch, weighted if they are, with the penalties of layers. The
        learning rate is that of the last step.
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
        """Record the values of one more epoch."""
        columns = self.history
        self._count += 1
        for name, value in values.items():
            columns.setdefault(name, []).append(value)

    def extend(self, columns: Mapping[str, npt.ArrayLike]) -> int:
        """Record several more epochs, the values of each by name; return how many there are now."""
        arrays = {name: np.array(values, np.float64) for name, values in columns.items()}
        self._count += max(map(len, arrays.values()), default=0)
        for name, values in arrays.items():
            self._columns.setdefault(name, [])  # in the order of the measurements
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
