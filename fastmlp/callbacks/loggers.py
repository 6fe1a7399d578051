"""Callbacks that record the metrics of a run."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable

from fastmlp import _checks
from fastmlp.callbacks.base import Callback
from fastmlp.io.atomic import write_atomically

__all__ = ["CSVLogger", "LearningRateLogger"]


class CSVLogger(Callback):
    """Write a CSV table with one line per epoch and the columns of ``history.history``.

    Parameters
    ----------
    path : str or path
        The file; replaced when the first epoch ends. In a resumed run it starts with the epochs
        before the resume.
    separator : str, default=","
        One character between values.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described.
    OSError
        From ``fit``, if the file cannot be written.

    Notes
    -----
    The first line has the names of the columns, beginning with "epoch". Numbers have as many digits
    as are needed to read the same bits back. Each line is written when its epoch ends.

    Examples
    --------
    >>> import fastmlp as fm
    >>> log = fm.CSVLogger("run.csv", separator=";")
    >>> model.fit(x, y, callbacks=[log])  # doctest: +SKIP
    """

    def __init__(self, path: str | os.PathLike[str], separator: str = ",") -> None:
        self.path = os.fspath(path)
        if not isinstance(separator, str) or len(separator) != 1 or separator in '\r\n"':
            raise ValueError(
                "separator must be a single character other than a quote or a line break, got "
                f"{separator!r}."
            )
        self.separator = separator
        self._begun = False

    def on_train_begin(self) -> None:
        """Start a new table, with the epochs before a resume if there are any."""
        columns = self.run.history.history
        self._begun = False
        if self.run.history.epochs:
            self._begin(columns, zip(*columns.values(), strict=True))

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Append a line."""
        if not self._begun:
            self._begin(logs, [])
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            file.write(self._lines([[epoch, *logs.values()]]))

    def _begin(self, names: Iterable[str], rows: Iterable[tuple[float, ...]]) -> None:
        numbered = [[number, *row] for number, row in enumerate(rows, start=1)]
        write_atomically(self.path, self._lines([["epoch", *names], *numbered]).encode())
        self._begun = True

    def _lines(self, rows: Iterable[Iterable[object]]) -> str:
        text = io.StringIO()
        csv.writer(text, delimiter=self.separator, lineterminator="\n").writerows(rows)
        return text.getvalue()


class LearningRateLogger(Callback):
    """Record the learning rate after steps; ``history`` has only the last one of each epoch.

    Parameters
    ----------
    every_steps : int, default=1
        Record the steps whose number is a multiple of this, at least 1.

    Attributes
    ----------
    steps : list of int
        Numbers of the recorded steps, from 1; in a resumed run, only steps after the resume.
    learning_rates : list of float
        Their learning rates.

    Raises
    ------
    ValueError, TypeError
        If ``every_steps`` is not as described.

    Examples
    --------
    >>> import fastmlp as fm
    >>> rates = fm.LearningRateLogger()
    >>> schedule = fm.ExponentialDecay(0.1, 0.5)
    >>> model = fm.MLP(2, [3], 2)
    >>> history = model.fit(
    ...     [[0.0, 1.0]], [1], epochs=3, optimizer=fm.SGD(schedule), callbacks=[rates]
    ... )
    >>> rates.learning_rates
    [0.1, 0.05, 0.025]
    """

    def __init__(self, every_steps: int = 1) -> None:
        self.every_steps = _checks.integer(every_steps, "every_steps", minimum=1)
        self.on_train_begin()

    def on_train_begin(self) -> None:
        """Start with empty lists."""
        self.steps: list[int] = []
        self.learning_rates: list[float] = []

    def on_batch_end(self, step: int, logs: dict[str, float]) -> None:
        """Record the learning rate of a step."""
        self.steps.append(step)
        self.learning_rates.append(logs["learning_rate"])
