"""A run trains one network and returns the hashes of what it computed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

import fastmlp as fm

Array = np.ndarray
Data = tuple[Array, Array]
Layers = Callable[[], list[fm.Layer]]
Parts = dict[str, str]

RUNS: dict[str, Callable[[], Parts]] = {}


def run(name: str) -> Callable[[Callable[[], Parts]], Callable[[], Parts]]:
    """Register a function that trains a network and returns the hashes of its parts."""
    if name in RUNS:
        raise ValueError(f"two runs have the name {name!r}.")

    def register(function: Callable[[], Parts]) -> Callable[[], Parts]:
        RUNS[name] = function
        return function

    return register


def digest(*values: Any) -> str:
    """Return a short hash of arrays, numbers, strings and containers, to the last bit."""
    found = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, dict):
            for name, each in value.items():
                add(name)
                add(each)
        elif isinstance(value, (list, tuple)):
            found.update(b"list %d" % len(value))
            for each in value:
                add(each)
        elif isinstance(value, np.ndarray):
            found.update(f"{value.dtype} {value.shape}".encode())
            found.update(np.ascontiguousarray(value).tobytes())
        elif isinstance(value, float):
            found.update(float(value).hex().encode())
        else:
            found.update(repr(value).encode())

    for value in values:
        add(value)
    return found.hexdigest()[:12]


def columns(history: fm.History) -> dict[str, list[float]]:
    """Return the history without the times."""
    return {name: column for name, column in history.history.items() if name != "time"}


def parts(model: fm.Sequential, x: Array, y: Array, **more: Any) -> Parts:
    """Return the hashes of all that a trained model holds and computes.

    The last part takes one more step, which shows the state of the optimizer.
    """
    thousand = x[np.arange(1000) % len(x)]
    found = {
        "weights": digest(model.parameters),
        "buffers": digest(model.buffers),
        "counters": digest(model.epochs_begun, model.steps_done),
        "history": digest(columns(model.history) if model.history else {}),
        "predictions": digest(*(model.predict(rows) for rows in (x[:1], x, thousand))),
        "gradients": digest(model.gradients(x[:40], y[:40], model.loss)),
        "evaluation": digest(model.evaluate(x, y)),
    }
    if model.loss.classifies:
        found["probabilities"] = digest(model.predict_proba(x))
    found |= {name: digest(value) for name, value in more.items()}
    model.train_on_batch(x[:20], y[:20])
    return found | {"next step": digest(model.parameters, model.buffers)}


def make(layers: list[fm.Layer], x: Array, **settings: Any) -> fm.Sequential:
    """Return a model for samples such as ``x``."""
    backend = settings.pop("backend", "kernels")
    settings = {"dtype": "float32", "seed": 3} | settings
    model = fm.Sequential(layers, settings.pop("shape", x.shape[1:]), **settings)
    model.backend = backend
    return model


def network(
    name: str,
    layers: Layers,
    data: Data,
    optimizer: Callable[[], Any] = lambda: fm.SGD(0.1),
    loss: Any = "cross_entropy",
    *,
    threads: int = 1,
    make_settings: dict[str, Any] | None = None,
    **settings: Any,
) -> None:
    """Register a network with its data and the settings of ``fit``."""
    x, y = data

    @run(name)
    def train() -> Parts:
        fm.set_num_threads(threads)
        model = make(layers(), x, **(make_settings or {}))
        options = {"epochs": 2, "batch_size": 16, "validation_data": (x[:30], y[:30])} | settings
        model.fit(x, y, optimizer=optimizer(), loss=loss, verbose=0, **options)
        return parts(model, x, y)
