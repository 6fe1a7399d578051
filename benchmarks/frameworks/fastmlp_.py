"""fastmlp through its public names, and the limits of the machine, in the same process."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from turns import measure

import fastmlp as fm
from fastmlp._compiled import cpu, elementwise
from frameworks.memory import Growth
from frameworks.workloads import Conv, Skipped, Workload, threads

WHOLE_EPOCHS = 20_000
PEAK_ROUNDS = 3_000_000


def version() -> str:
    return f"fastmlp {fm.__version__}, {cpu.isa}"


def on_cores(call: Callable[[int], object], n: int) -> float:
    """Return the seconds that ``n`` threads, each on a separate core, take for one call each."""
    cores = sorted(os.sched_getaffinity(0))

    def pinned(index: int) -> None:
        os.sched_setaffinity(0, {cores[index % len(cores)]})  # affects only this thread
        call(index)

    with ThreadPoolExecutor(n) as pool:
        list(pool.map(pinned, range(n)))  # starts the threads, warms up
        began = time.perf_counter()
        list(pool.map(pinned, range(n)))
        return time.perf_counter() - began


def peak() -> list[float]:
    """Return the multiply-add peak of all threads together in FLOP/s, the best of a few trials."""
    n, loop = threads(), elementwise.multiply_adds["float"]
    _, lanes = loop(1, 0.0)
    flop = n * 24 * PEAK_ROUNDS * lanes
    return [flop / on_cores(lambda _: loop(PEAK_ROUNDS, 0.0), n) for _ in range(7)]


def bandwidth() -> dict[str, float]:
    """Return the bytes per second of copying and of adding arrays too large for the caches."""
    n = threads()
    try:
        cache = os.sysconf("SC_LEVEL3_CACHE_SIZE")
    except (OSError, ValueError):
        cache = 0
    size = max(1 << 27, min(4 * cache, 1 << 30)) // n
    arrays = [[np.ones(size // 4, np.float32) for _ in range(3)] for _ in range(n)]

    def copy(i: int) -> None:
        np.copyto(arrays[i][0], arrays[i][1])

    def add(i: int) -> None:
        np.add(arrays[i][1], arrays[i][2], out=arrays[i][0])

    return {
        "copy": max(2 * n * size / on_cores(copy, n) for _ in range(3)),
        "add": max(3 * n * size / on_cores(add, n) for _ in range(3)),
    }


def model_of(workload: Workload) -> fm.Sequential:
    *hidden, outputs = workload.sizes[1:]
    if workload.image:
        layers = stages_of(workload)
        layers += [fm.Dense(width, activation=workload.activation) for width in hidden]
        model = fm.Sequential([*layers, fm.Dense(outputs)], input_shape=workload.image)
    elif workload.vocabulary:
        layers = [fm.Embedding(workload.vocabulary, workload.sizes[0], combine="sum")]
        layers += [fm.Dense(width, activation=workload.activation) for width in hidden]
        model = fm.Sequential([*layers, fm.Dense(outputs)], input_shape=workload.input_shape)
        model.set_parameters({"embedding_0.weight": workload.first_table()})
    else:
        model = fm.MLP(workload.sizes[0], hidden, outputs, activation=workload.activation)
    values, counts = {}, {"conv2d": 0, "dense": 0}
    for weight, bias in workload.first_weights():
        kind = "conv2d" if weight.ndim == 4 else "dense"
        name = f"{kind}_{counts[kind]}"
        values |= {f"{name}.weight": weight, f"{name}.bias": bias}
        counts[kind] += 1
    model.set_parameters(values)
    return model


def stages_of(workload: Workload) -> list[fm.Layer]:
    """Return the layers before the first dense layer."""
    if not hasattr(fm, "Conv2D"):
        raise Skipped("this version has no Conv2D")
    layers: list[fm.Layer] = []
    for stage in workload.stages:
        if isinstance(stage, Conv):
            padding = "same" if stage.same else "valid"
            layer = fm.Conv2D(
                stage.filters, stage.size, padding=padding, activation=workload.activation
            )
        else:
            layer = fm.MaxPool2D(stage.size, strides=stage.strides)
        layers.append(layer)
    return [*layers, fm.Flatten()]


def optimizer_of(workload: Workload) -> fm.optimizers.Optimizer:
    if workload.optimizer == "momentum":
        return fm.SGD(workload.learning_rate, momentum=workload.MOMENTUM)
    kind = {"sgd": "SGD", "adam": "Adam"}[workload.optimizer]
    if not hasattr(fm, kind):
        raise Skipped(f"this version has no {kind}")
    return getattr(fm, kind)(workload.learning_rate)


def train(workload: Workload, seconds: float) -> dict[str, Any]:
    x, y = workload.data()
    model, optimizer = model_of(workload), optimizer_of(workload)
    peaks = peak()

    def fit(epochs: int) -> dict[str, list[float]]:
        return model.fit(
            x,
            y,
            epochs=epochs,
            batch_size=workload.batch,
            optimizer=optimizer,
            shuffle=not workload.whole,
            verbose=0,
        ).history

    times = []
    growth = Growth()
    if workload.whole:
        # The work between epochs may take most of the time, so the whole of fit is timed.
        passes = workload.steps
        with growth:
            check = float(np.mean(fit(2 * passes)["loss"][passes:]))
        end = time.perf_counter() + seconds
        while not times or time.perf_counter() < end:
            began = time.perf_counter()
            fit(WHOLE_EPOCHS)
            times.append((time.perf_counter() - began) / WHOLE_EPOCHS)
    else:
        with growth:
            history = fit(2)
        check = history["loss"][1]
        epochs = max(workload.fewest_epochs, round(seconds / history["time"][1]))
        times = [spent / workload.steps for spent in fit(1 + epochs)["time"][1:]]
    peaks += peak()
    return {"seconds": times, "check": [check], "memory": growth.bytes, "peak": peaks}


def predict(workload: Workload, seconds: float) -> dict[str, Any]:
    x, _ = workload.data()
    model, peaks = model_of(workload), peak()
    times = measure(lambda: model.predict(x), seconds / 7)
    return {"seconds": times, "check": model.predict(x)[-1].tolist(), "peak": peaks + peak()}


def mnist(workload: Workload, path: str, epochs: int) -> dict[str, Any]:
    with np.load(path) as data:
        x, y, x_valid, y_valid, x_test, y_test = (data[name] for name in data.files)
    model = model_of(workload)
    began = time.perf_counter()
    model.fit(
        x,
        y,
        epochs=epochs,
        batch_size=workload.batch,
        optimizer=fm.SGD(workload.learning_rate),
        validation_data=(x_valid, y_valid),
        verbose=0,
    )
    spent = time.perf_counter() - began
    valid, test = model.evaluate(x_valid, y_valid), model.evaluate(x_test, y_test)
    return {"seconds": [spent], "valid": valid["accuracy"], "test": test["accuracy"]}


def save_mnist(path: str) -> None:
    """Write MNIST to a file that processes without fastmlp can read."""
    arrays = {}
    for part, (x, y) in zip(("train", "valid", "test"), fm.datasets.load_mnist(), strict=True):
        arrays |= {f"x_{part}": x.reshape(len(x), -1), f"y_{part}": y.astype(np.int64)}
    np.savez(path, **arrays)
