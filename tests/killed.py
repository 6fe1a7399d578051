"""Trainings that are killed and resumed, for a test and a benchmark."""

from __future__ import annotations

import os
import random
import signal
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import fastmlp as fm

__all__ = ["SETTINGS", "Victim"]

# What a run is given: an optimizer, the type of the numbers, whether metrics need all outputs.
SETTINGS: dict[str, tuple[Any, str, bool]] = {
    "momentum": (lambda: fm.SGD(0.05, momentum=0.9), "float32", False),
    "adam": (lambda: fm.Adam(fm.CosineDecay(0.01, 60)), "float32", True),
    "plateau": (lambda: fm.RMSprop(fm.ReduceOnPlateau(0.01, patience=1)), "float64", False),
}
EPOCHS, BATCH, SAMPLES = 6, 16, 150


class Victim:
    """A training in child processes, in a separate folder."""

    def __init__(self, name: str, folder: Path) -> None:
        self.optimizer, self.dtype, self.metrics = SETTINGS[name]
        self.checkpoint, self.result = folder / "run.ckpt", folder / "result.safetensors"
        rng = np.random.default_rng(3)
        self.x = rng.standard_normal((SAMPLES, 12)).astype(self.dtype)
        self.y = (self.x[:, :3] + rng.standard_normal((SAMPLES, 3))).argmax(axis=1)
        self.kills = self.lost = 0

    def train(self, callbacks: list[fm.Callback], resume: Path | None = None) -> bytes:
        """Train, from the checkpoint if there is one; return all that is to be the same."""
        model = fm.MLP(12, [16], 3, dtype=self.dtype, seed=4)
        history = model.fit(
            self.x,
            self.y,
            epochs=EPOCHS,
            batch_size=BATCH,
            optimizer=self.optimizer(),
            validation_data=(self.x[:40], self.y[:40]),
            metrics=["accuracy", "f1"] if self.metrics else None,
            callbacks=[fm.EarlyStopping(patience=4), *callbacks],
            verbose=0,
            resume=resume,
        )
        columns = {name: column for name, column in history.history.items() if name != "time"}
        arrays = [*model.parameters.values(), *map(np.array, columns.values())]
        return b"".join(array.tobytes() for array in arrays)

    def step(self) -> int:
        """Return how far the checkpoint is, 0 if there is none."""
        if not self.checkpoint.exists():
            return 0
        from fastmlp import io

        fm.load_model(self.checkpoint)  # which verifies it
        with io.ModelFile(self.checkpoint) as file:
            assert file.training is not None
            step: int = file.training["state"]["step"]
            return step

    def run(self, numbers: random.Random, longest: float) -> bytes:
        """Train in children, each killed after a random time, until one comes to the end."""
        for path in (self.checkpoint, self.result):
            path.unlink(missing_ok=True)
        reached = 0
        while True:
            child = self._fork()
            time.sleep(numbers.uniform(0, longest))
            os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
            if os.WIFEXITED(status):
                assert os.WEXITSTATUS(status) == 0, "a child failed"
                return self.result.read_bytes()
            self.kills += 1
            try:
                now = self.step()
            except (OSError, ValueError):
                now = -1
            self.lost += now < reached
            reached = max(reached, now)

    def _fork(self) -> int:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside threads
            child = os.fork()
        if child:
            return child
        try:
            saver = fm.ModelCheckpoint(self.checkpoint, every_steps=3)
            resume = self.checkpoint if self.checkpoint.exists() else None
            fm.io.write_atomically(self.result, self.train([saver], resume))
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
