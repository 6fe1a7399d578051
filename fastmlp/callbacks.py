"""Code of the user's that runs during ``fit``."""

from __future__ import annotations

from typing import Any

__all__ = ["Callback"]


class Callback:
    """Base class: override what is needed.

    Setting ``self.model.stop_training = True`` ends the run after the epoch.

    Attributes
    ----------
    model : Sequential
        The model in training; set before ``on_fit_begin``.
    """

    model: Any = None

    def on_fit_begin(self) -> None:
        """Run before the first epoch."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Run before epoch number ``epoch``, from 1."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Run after epoch number ``epoch``; ``logs`` is what the history records of it."""

    def on_fit_end(self) -> None:
        """Run after the last epoch, and after Ctrl-C; not after an error."""
