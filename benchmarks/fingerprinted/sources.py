"""Samples from generators, memory maps and data frames."""

from __future__ import annotations

import importlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import fastmlp as fm
from fingerprinted.data import points
from fingerprinted.recording import Array, Parts, columns, make, parts, run
from fingerprinted.settings import SHAPES, narrow, wide


class Batches:
    """Batches that can be iterated again and again."""

    def __init__(self, *data: Array, sizes: tuple[int, ...] = (16,)) -> None:
        self.data, self.sizes = data, sizes

    def __iter__(self) -> Iterator[tuple[Array, ...]]:
        start, number = 0, 0
        while start < len(self.data[0]):
            size = self.sizes[number % len(self.sizes)]
            yield tuple(part[start : start + size] for part in self.data)
            start, number = start + size, number + 1


def forever(x: Array, y: Array) -> Iterator[tuple[Array, Array]]:
    """Yield batches of the same samples without end."""
    while True:
        yield from Batches(x, y)


def register() -> None:
    """Register batches from Python, memory maps and data frames."""
    for backend in ("kernels", "numpy"):
        for kind, (layers, features, dtype) in SHAPES.items():

            @run(f"batches {kind} {backend}")
            def _(
                layers: Any = layers, features: int = features, dtype: str = dtype,
                backend: str = backend,
            ) -> Parts:  # fmt: skip
                x, y = points(features)
                weights = np.linspace(0.1, 1, len(x))
                model = make(layers(), x, dtype=dtype, backend=backend)
                model.fit(
                    Batches(x, y, weights, sizes=(16, 7, 30)),
                    epochs=3,
                    optimizer=fm.Adam(fm.ExponentialDecay(0.01, 0.95)),
                    validation_data=Batches(x, y),
                    metrics=["accuracy", "f1"],
                    verbose=0,
                )
                evaluation = model.evaluate(Batches(x, y, weights))
                predictions = model.predict(iter(Batches(x)))
                first = model.history
                model.fit(forever(x, y), epochs=2, steps_per_epoch=5, verbose=0)
                more = {"batches": [evaluation, predictions], "first fit": columns(first)}
                return parts(model, x, y, **more)

            @run(f"memory map {kind} {backend}")
            def _(
                layers: Any = layers, features: int = features, dtype: str = dtype,
                backend: str = backend,
            ) -> Parts:  # fmt: skip
                x, y = points(features)
                with tempfile.TemporaryDirectory() as folder:
                    mapped = np.memmap(Path(folder) / "x", x.dtype, "w+", shape=x.shape)
                    mapped[...] = x
                    model = make(layers(), x, dtype=dtype, backend=backend)
                    model.fit(mapped, y, epochs=2, validation_data=(mapped, y), verbose=0)
                    return parts(model, mapped, y)

    @run("batches with dropout and statistics")
    def _() -> Parts:
        x, y = points(36)
        model = make([fm.Dense(40), fm.BatchNorm(), fm.Dropout(0.3), fm.Dense(3)], x)
        model.fit(lambda: Batches(x, y, sizes=(9, 14)), epochs=3, optimizer="adagrad", verbose=0)
        return parts(model, x, y)

    @run("train_on_batch")
    def _() -> Parts:
        x, y = points(36)
        model = make([*wide()], x)
        model.compile(fm.SGD(fm.CosineDecay(0.1, 9), momentum=0.9), fm.CrossEntropy(0.1))
        found = [model.train_on_batch(x[i : i + 9], y[i : i + 9]) for i in range(0, 90, 9)]
        weights = np.linspace(0, 1, 9)
        found += [model.train_on_batch(x[:9], y[:9], weights) for _ in range(3)]
        return parts(model, x, y, losses=found)

    for dtype, backend in (("uint8", "kernels"), ("float32", "kernels"), ("uint8", "numpy")):

        @run(f"memory map larger than its buffer {dtype} {backend}")
        def _(dtype: str = dtype, backend: str = backend) -> Parts:
            size = 4096 // np.dtype(dtype).itemsize
            rng = np.random.default_rng(7)
            some = rng.integers(0, 256, (520, size), np.uint8)
            with tempfile.TemporaryDirectory() as folder:
                x = np.memmap(Path(folder) / "x", dtype, "w+", shape=(33 * 520, size))
                for piece in range(33):  # 67 MiB; pieces are read in 64 MiB
                    x[520 * piece : 520 * (piece + 1)] = np.roll(some, piece, axis=1)
                y = np.asarray(x[:, 0]).astype(np.int64) // 86
                fm.set_num_threads(2)
                settings = {"scale": 1 / 255, "backend": backend}
                layers = [fm.Standardize(None), fm.Dense(8, "relu"), fm.Dropout(0.1), fm.Dense(3)]
                model = make(layers, x, **settings)
                held = (np.asarray(x[:100]), y[:100])
                model.fit(x, y, 1, 200, fm.SGD(0.05), validation_data=held, verbose=0)
                found = {"all": [model.evaluate(x, y), model.predict(x)]}
                return parts(model, *held, **found)

    for module in ("pandas", "polars"):

        @run(f"data frames of {module}")
        def _(module: str = module) -> Parts:
            frames = importlib.import_module(module)
            x, y = points(5)
            table = {f"feature {i}": x[:, i] for i in range(5)} | {"count": np.arange(len(x))}
            frame = frames.DataFrame(table)
            weights = frames.Series(np.linspace(0.5, 1, len(x)))
            model = make([fm.Standardize(), *narrow()], x, shape=6)
            model.fit(frame, frames.Series(y), epochs=2, sample_weight=weights, verbose=0)
            found = [model.predict(frame), model.evaluate(frame, frames.Series(y))]
            held = np.column_stack(list(table.values()))
            return parts(model, held, y, frames=found)
