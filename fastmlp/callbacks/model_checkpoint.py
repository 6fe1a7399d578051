"""Checkpoints at regular intervals, or of the best epoch."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from typing import Any

from fastmlp import _checks
from fastmlp.callbacks.base import Callback
from fastmlp.io.atomic import remove_stale
from fastmlp.monitor import Monitor

__all__ = ["ModelCheckpoint"]

_FIELD = re.compile(r"\{(epoch|step)(:0?\d*d?)?\}")


class ModelCheckpoint(Callback):
    """Write checkpoints, from which ``fit(resume=path)`` goes on as if nothing had happened.

    Parameters
    ----------
    path : str or path
        The file, replaced each time. It may hold {epoch} and {step}, also as {epoch:03d}: the
        numbers, in the run, of the epoch and of the last complete step.
    every_epochs : int or None, default=1
        Write after epochs whose number is a multiple, and after the last one; None means never.
    every_steps : int or None, default=None
        Write after steps whose number in the run is a multiple, also in the middle of epochs.
    monitor : str or None, default=None
        A name of ``history.history``: write only if it is better than ever before. So the file
        is that of the best epoch.
    keep : int or None, default=1
        How many of the files written by this run are kept, the newest ones; None means all. More
        than one need a path with {epoch} or {step}.
    mode : {"auto", "min", "max"}, default="auto"
        Whether smaller or larger values are better; "auto" is "max" for accuracy, top_5 and its
        like, precision, recall, f1 and r2, and "min" for everything else.

    Attributes
    ----------
    saved : list of str
        The files that are kept, the newest one last.
    best : float or None
        The best value so far, if one is looked at.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above; from ``fit``, if nothing of that name is measured, or a
        layer, loss, optimizer or schedule is of a class of your own, which no file can hold.
    OSError
        From ``fit``, if a checkpoint cannot be written. Then the one before is intact, nothing
        half written is left, and the model has the weights of the last complete step: a training
        that cannot be saved stops where it can go on, rather than go on where it can be lost.

    Notes
    -----
    A checkpoint is one safetensors file with a checksum. It is written beside the old one, flushed
    to the disk and renamed: a crash, SIGKILL or a loss of power at any moment leaves one of the
    two. ``load_model`` reads it like any model file.

    Samples that stay in their file (``np.memmap``) are trained without looks between steps, so
    there ``every_steps`` must be None.

    Checkpoints are written after all other callbacks have run, wherever this one stands. None is
    written where a weight is not finite: the next step, or the end of the epoch, raises
    DivergenceError.
    """

    comes_last = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        every_epochs: int | None = 1,
        every_steps: int | None = None,
        monitor: str | None = None,
        keep: int | None = 1,
        mode: str = "auto",
    ) -> None:
        self.path = os.fspath(path)
        if not isinstance(self.path, str):
            raise TypeError(f"path must be a str or a path, got {path!r}.")
        for name, value in (("every_epochs", every_epochs), ("every_steps", every_steps)):
            if value is not None:
                _checks.integer(value, name, minimum=1)
        if every_epochs is None and every_steps is None:
            raise ValueError("every_epochs must be an integer where every_steps is None, got None.")
        if monitor is not None and every_epochs is None:
            raise ValueError("every_epochs must be an integer where monitor is given, got None.")
        if monitor is not None and every_steps is not None:
            raise ValueError(
                "every_steps must be None where monitor is given: what is measured is known at the "
                f"end of an epoch; got {every_steps!r}."
            )
        if keep is not None:
            keep = _checks.integer(keep, "keep", minimum=1)
        if keep != 1 and _FIELD.search(self.path) is None:
            raise ValueError(
                f"path must hold {{epoch}} or {{step}} to keep more than one file, got {self.path}."
            )
        self.every_epochs, self.every_steps, self.keep = every_epochs, every_steps, keep
        self._monitor = None if monitor is None else Monitor(monitor, mode)
        self.monitor = monitor
        self.best: float | None = None
        self.saved: list[str] = []
        self._step = 0

    def on_train_begin(self) -> None:
        """Begin anew; remove what killed processes left of files they were writing."""
        self.best, self.saved, self._step = None, [], 0
        self.run.check_checkpoint()
        folder, name = os.path.split(self.path)
        if _FIELD.search(folder) is None:
            if folder and not os.path.isdir(folder):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.path)
            remove_stale(os.path.realpath(folder), _pattern(name))

    def on_batch_end(self, step: int, logs: dict[str, float]) -> None:
        """Write one in the middle of an epoch."""
        if self.model.is_finite():
            self._write()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Write one at the end of an epoch, if it is due."""
        if self.every_epochs is None:
            return
        last = epoch == self.run.epochs or self.model.stop_training
        if epoch % self.every_epochs and not last:
            return
        if self._monitor is not None:
            value = logs[self._monitor.name]
            if not self._monitor.improves(value, self.best):
                return
            self.best = value
        self._write()

    def state(self) -> dict[str, Any]:
        """Return what is best, and the files that are kept."""
        return {"best": self.best, "saved": self.saved}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a ``state``."""
        self.best = state["best"]
        # They will be removed some day, and a file may say what it likes.
        own = _pattern(self.path)
        self.saved = [path for path in state["saved"] if own.fullmatch(path)]

    def _write(self) -> None:
        path = _FIELD.sub(self._number, self.path)
        before = self.saved
        self.saved = [other for other in before if other != path] + [path]
        excess = len(self.saved) - self.keep if self.keep is not None else 0
        old, self.saved = self.saved[: max(excess, 0)], self.saved[max(excess, 0) :]
        try:
            self.run.save_checkpoint(path)
        except BaseException:
            self.saved = before
            raise
        for other in old:  # only now that the new one stands
            with contextlib.suppress(FileNotFoundError):
                os.unlink(other)

    def _number(self, field: re.Match[str]) -> str:
        number: int = self.run.epoch if field[1] == "epoch" else self.run.step
        return format(number, (field[2] or ":d")[1:])


def _pattern(path: str) -> re.Pattern[str]:
    """Return what the paths that are made of one match."""
    pattern, end = "", 0
    for field in _FIELD.finditer(path):
        pattern += re.escape(path[end : field.start()]) + "[0-9]+"
        end = field.end()
    return re.compile(pattern + re.escape(path[end:]), re.DOTALL)
