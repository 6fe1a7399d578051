"""Callbacks that record what a training measures."""

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
    """Write a table with a line for each epoch, as ``history.history`` has them.

    Parameters
    ----------
    path : str or path
        The file; replaced when the first epoch ends. In a resumed run it begins with the epochs
        from before.
    separator : str, default=","
        What stands between values: one character.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above.
    OSError
        From ``fit``, if the file cannot be written.

    Notes
    -----
    The first line has the names: "epoch" and those of the history. Numbers are written so that
    reading gives the same bits. Each line is there as soon as its epoch has ended.
    """

    def __init__(self, path: str | os.PathLike[str], separator: str = ",") -> None:
        self.path = os.fspath(path)
        if not isinstance(separator, str) or len(separator) != 1 or separator in '\r\n"':
            raise ValueError(f"separator must be one character, got {separator!r}.")
        self.separator = separator
        self._begun = False

    def on_train_begin(self) -> None:
        """Begin a new table, of the epochs of a resumed run if there are any."""
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
    """Record the learning rate of steps; ``history`` has that of the last step of each epoch.

    Parameters
    ----------
    every_steps : int, default=1
        One step in so many is recorded, at least 1.

    Attributes
    ----------
    steps : list of int
        Numbers of the steps in the run, from 1; in a resumed run those since.
    learning_rates : list of float
        Their learning rates.

    Raises
    ------
    ValueError, TypeError
        If ``every_steps`` is not as above.
    """

    def __init__(self, every_steps: int = 1) -> None:
        self.every_steps = _checks.integer(every_steps, "every_steps", minimum=1)
        self.on_train_begin()

    def on_train_begin(self) -> None:
        """Begin anew."""
        self.steps: list[int] = []
        self.learning_rates: list[float] = []

    def on_batch_end(self, step: int, logs: dict[str, float]) -> None:
        """Record the rate of a step."""
        self.steps.append(step)
        self.learning_rates.append(logs["learning_rate"])
