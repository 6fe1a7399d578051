"""Trainings that are interrupted, for a test and a benchmark."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import threading
import time
from typing import Any

import numpy as np

import fastmlp as fm

__all__ = ["KINDS", "Patient"]

# (inputs, hidden, outputs), batch size, samples: steps of 10 microseconds to 20 milliseconds
KINDS: dict[str, tuple[tuple[int, list[int], int], int, int]] = {
    "tiny": ((4, [8], 3), 8, 2000),
    "small": ((64, [32], 10), 32, 20_000),
    "mnist": ((784, [128], 10), 64, 20_000),
    "wide": ((784, [512, 256], 10), 128, 8192),
    "large": ((1024, [1024, 1024], 10), 256, 4096),
}


class Patient:
    """A model, its data, and the checks after an interrupt."""

    def __init__(self, kind: str, seed: int = 0) -> None:
        (inputs, hidden, outputs), self.batch, n = KINDS[kind]
        rng = np.random.default_rng(seed)
        self.x = rng.standard_normal((n, inputs), dtype="float32")
        self.y = np.arange(n) % outputs
        self.model = fm.MLP(inputs, hidden, outputs, seed=seed)
        self.model.compile(fm.SGD(0.001, momentum=0.9))
        # A job in the background of a shell is started with interrupts ignored.
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def fit(self, epochs: int) -> fm.History:
        validation = (self.x[:500], self.y[:500])
        options: Any = {"batch_size": self.batch, "validation_data": validation, "verbose": 0}
        return self.model.fit(self.x, self.y, epochs=epochs, **options)

    def interrupt(self, delay: float) -> float:
        """Interrupt a training after ``delay`` seconds; return the seconds until fit returned."""
        sent = 0.0

        def press() -> None:
            nonlocal sent
            time.sleep(delay)
            sent = time.perf_counter()
            os.kill(os.getpid(), signal.SIGINT)

        presser = threading.Thread(target=press)
        begun = self.model.epochs_begun
        quiet = io.StringIO()
        with contextlib.redirect_stderr(quiet):
            presser.start()
            history = self.fit(10**6)
            returned = time.perf_counter()
        presser.join()
        complete = len(history.epochs)
        assert history.interrupted
        assert "stopped by Ctrl-C" in quiet.getvalue()
        assert all(len(values) == complete for values in history.history.values())
        assert 0 <= self.model.epochs_begun - begun - complete <= 1
        assert all(np.isfinite(value).all() for value in self.model.parameters.values())
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        return returned - sent
