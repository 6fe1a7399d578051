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
    """Write checkpoints, from which ``fit(resume=path)`` continues as if it had never stopped.

    Parameters
    ----------
    path : str or path
        The file, replaced each time. It may contain {epoch} and {step}, with a format such as
        {epoch:03d}; they are replaced by the numbers of the epoch and of the last complete step in
        the run.
    every_epochs : int or None, default=1
        Write after epochs whose number is a multiple of this, and after the last one; None means
        never.
    every_steps : int or None, default=None
        Write after steps whose number in the run is a multiple of this, also in the middle of
        epochs; None means never.
    monitor : str or None, default=None
        A name of ``history.history``. Write only if its value is the best so far, so that the file
        belongs to the best epoch.
    keep : int or None, default=1
        Number of files of this run to keep, the newest ones; None means all. With any value but 1
        the path needs {epoch} or {step}.
    mode : {"auto", "min", "max"}, default="auto"
        Whether smaller or larger values are better. "auto" is "max" for accuracy, top_5 (or another
        number), precision, recall, f1 and r2, and "min" for all other metrics.

    Attributes
    ----------
    saved : list of str
        The files that are kept, the newest one last.
    best : float or None
        The best value of ``monitor`` so far.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; from ``fit``, if ``history`` has no entry of that name,
        or a layer, loss, optimizer or schedule is user-defined, which files cannot store.
    OSError
        From ``fit``, if a checkpoint cannot be written. The previous one is then intact, no
        incomplete file is left, and the model has the weights of the last complete step. The
        run ends rather than continue without checkpoints.

    Notes
    -----
    A checkpoint is one safetensors file with a checksum. It is written next to the old one, flushed
    to the disk and renamed, so a crash, SIGKILL or power failure at any moment leaves either the
    old file or the new one, complete. ``load_model`` reads it like any model file.

    With a large memory-mapped file (``np.memmap``), ``every_steps`` must be None, because nothing
    can run between the steps of such a run.

    ModelCheckpoint is called after all other callbacks, whatever its place in the list. It writes
    nothing if a weight is not finite; the next step, or the end of the epoch, then raises
    DivergenceError.

    Examples
    --------
    >>> import fastmlp as fm
    >>> saver = fm.ModelCheckpoint("run-{epoch:03d}.safetensors", every_epochs=5, keep=3)
    >>> model.fit(x, y, epochs=50, callbacks=[saver])  # doctest: +SKIP
    >>> model.fit(x, y, epochs=99, resume="run-050.safetensors")  # doctest: +SKIP
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
            raise ValueError("every_epochs and every_steps cannot both be None.")
        if monitor is not None and every_epochs is None:
            raise ValueError(
                "every_epochs cannot be None if monitor is set, because monitored values are "
                "computed once per epoch."
            )
        if monitor is not None and every_steps is not None:
            raise ValueError(
                "every_steps cannot be set if monitor is set, because monitored values are "
                f"computed once per epoch, got every_steps={every_steps!r}."
            )
        if keep is not None:
            keep = _checks.integer(keep, "keep", minimum=1)
        if keep != 1 and _FIELD.search(self.path) is None:
            raise ValueError(
                f"path must contain {{epoch}} or {{step}} if keep is not 1, got {self.path}."
            )
        self.every_epochs, self.every_steps, self.keep = every_epochs, every_steps, keep
        self._monitor = None if monitor is None else Monitor(monitor, mode)
        self.monitor = monitor
        self.best: float | None = None
        self.saved: list[str] = []
        self._step = 0

    def on_train_begin(self) -> None:
        """Forget the run before, and remove incomplete files that killed processes left."""
        self.best, self.saved, self._step = None, [], 0
        self.run.check_checkpoint()
        folder, name = os.path.split(self.path)
        if _FIELD.search(folder) is None:
            if folder and not os.path.isdir(folder):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.path)
            remove_stale(os.path.realpath(folder), _pattern(name))

    def on_batch_end(self, step: int, logs: dict[str, float]) -> None:
        """Write a checkpoint in the middle of an epoch."""
        if self.model.is_finite():
            self._write()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Write a checkpoint at the end of an epoch, if it is due."""
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
        """Return the best value, and the files that are kept."""
        return {"best": self.best, "saved": self.saved}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a ``state``."""
        self.best = state["best"]
        # These files will be removed later, so only names of this path are trusted.
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
    """Return a pattern for all paths that are made from ``path``."""
    pattern, end = "", 0
    for field in _FIELD.finditer(path):
        pattern += re.escape(path[end : field.start()]) + "[0-9]+"
        end = field.end()
    return re.compile(pattern + re.escape(path[end:]), re.DOTALL)
