"""The output of ``fit``: a bar over the whole run and a line after every epoch."""

from __future__ import annotations

import sys
import time
from typing import Any, Literal

__all__ = ["Progress", "Verbosity"]

Verbosity = Literal["auto", 0, 1, 2]
_BAR_INTERVAL = 0.1  # seconds between two updates of the bar


class Progress:
    """Shows a run of ``epochs`` epochs of ``samples`` samples each.

    Parameters
    ----------
    verbose : {"auto", 0, 1, 2}
        0 shows nothing, 1 a bar and a line per epoch, 2 lines only. "auto" is 1 in a terminal and
        0 elsewhere. The bar goes to stderr, the lines to stdout.
    epochs : int
        Number of epochs in the run.
    samples : int or None
        Number of samples in an epoch; None if it is not known before the first epoch ends.
    """

    def __init__(self, verbose: Verbosity, epochs: int, samples: int | None) -> None:
        if verbose == "auto":
            verbose = 1 if sys.stderr is not None and sys.stderr.isatty() else 0
        self._verbose = verbose
        self._epochs = epochs
        self._samples = samples
        self._bar: Any = None
        self._begun = 0  # samples in the epochs before this one
        self._metrics: dict[str, str] = {}  # metrics of the last epoch
        # Time of the next call of ``update``; never without a bar.
        self.next_update = float("inf")

    @property
    def silent(self) -> bool:
        """Whether nothing is shown."""
        return self._verbose == 0

    def begin(self, epoch: int) -> None:
        """Show an epoch in the bar, which opens with the first one."""
        if self._verbose != 1:
            return
        known = self._samples is not None
        self._begun = (epoch - 1) * (self._samples or 0)
        if self._bar is None:
            from tqdm import tqdm  # type: ignore[import-untyped]  # imported here, as it is slow

            self._bar = tqdm(
                total=self._epochs * (self._samples or 0) if known else None,
                unit=" samples",
                unit_scale=True,
                leave=False,
                mininterval=0,
            )
            self.next_update = 0.0  # so that short runs show something
        elif known and self._bar.total is None:
            self._bar.total = self._epochs * (self._samples or 0)
        self._bar.set_description(f"epoch {epoch}/{self._epochs}", refresh=False)

    def update(self, done: int, loss: float, accuracy: float | None) -> None:
        """Update the bar: ``done`` samples of this epoch, with their mean loss and accuracy.

        The other metrics are shown for the last epoch, because they need all samples.
        """
        shown = {"loss": f"{loss:.4f}"}
        if accuracy is not None:
            shown["accuracy"] = f"{accuracy:.4f}"
        self._bar.set_postfix(shown | self._metrics, refresh=False)
        self._bar.update(self._begun + done - self._bar.n)
        self.next_update = time.perf_counter() + _BAR_INTERVAL

    def end(self, epoch: int, logs: dict[str, float], samples: int | None = None) -> None:
        """Print the line of a complete epoch, above the bar if there is one.

        ``samples`` is the number of its samples, if it was not known before.
        """
        self._samples = self._samples if samples is None else samples
        self._metrics = {
            name: f"{value:.4f}"
            for name, value in logs.items()
            if name.removeprefix("val_") not in ("loss", "accuracy", "learning_rate", "time")
        }
        if self._verbose:
            rate = (self._samples or 0) / max(logs["time"], 1e-9)
            values = "  ".join(
                f"{name} {value:.4f}"
                for name, value in logs.items()
                if name not in ("learning_rate", "time")
            )
            head = f"epoch {epoch}/{self._epochs}  {logs['time']:.2f} s  {rate:,.0f} samples/s"
            line = f"{head}  {values}"
            if self._bar is None:
                print(line, flush=True)
            else:
                self._bar.write(line)
                sys.stdout.flush()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the bar, if there is one."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self.next_update = float("inf")
