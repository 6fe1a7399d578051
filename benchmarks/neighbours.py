"""Measure training beside other work: a second model in another thread, and a busy process.

    python benchmarks/neighbours.py [--batches 8 32 200] [--rounds 3] [--seconds 2]
        [--peer-python PYTHON]

Side by side: two models 784-512-256-10 with one thread each are trained one after the other, and
then at the same time in two Python threads. The result is the ratio of the throughputs.

Busy: the same model with one thread per core is trained alone, and beside a process in a busy loop.
The result is the ratio of the times per step. The busy process runs in a separate session, like a
process of another user.

The measurements alternate. The output is the median, and in brackets the minimum and maximum of
the rounds. With PYTHON, an interpreter with PyTorch, the second part also measures PyTorch.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
from turns import SideError, run_side

SIZES = (784, 512, 256, 10)
STEPS = 40  # few, because PyTorch beside a busy process takes minutes for an epoch of peers.py
RATE = 0.001


def data(batch: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.random((STEPS * batch, SIZES[0]), dtype=np.float32)
    return x, rng.integers(0, SIZES[-1], len(x))


def for_seconds(epoch: Callable[[], object], seconds: float) -> float:
    """Repeat an epoch for some seconds; return the median seconds per step."""
    epoch()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        epoch()
        times.append(time.perf_counter() - began)
    return statistics.median(times) / STEPS


def fastmlp_step(batch: int, seconds: float) -> float:
    import fastmlp as fm

    x, y = data(batch)
    model = fm.MLP(SIZES[0], list(SIZES[1:-1]), SIZES[-1], seed=0)
    model.compile(optimizer=fm.SGD(RATE))
    return for_seconds(lambda: model.fit(x, y, epochs=1, batch_size=batch, verbose=0), seconds)


def torch_step(batch: int, seconds: float) -> float:
    import torch
    from torch import nn

    x, y = map(torch.from_numpy, data(batch))
    layers: list[nn.Module] = []
    for inputs, units in pairwise(SIZES):
        layers += [nn.Linear(inputs, units), nn.ReLU()]
    model, loss = nn.Sequential(*layers[:-1]), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), RATE)

    def epoch() -> None:
        for rows in torch.randperm(len(x)).split(batch):
            optimizer.zero_grad()
            loss(model(x[rows]), y[rows]).backward()
            optimizer.step()

    return for_seconds(epoch, seconds)


def side_by_side(batch: int, rounds: int, seconds: float) -> list[float]:
    """Return the ratio of throughputs, two models at once to one after the other, per round."""
    import fastmlp as fm

    fm.set_num_threads(1)
    x, y = data(batch)
    models = [fm.MLP(SIZES[0], list(SIZES[1:-1]), SIZES[-1], seed=seed) for seed in (0, 1)]
    for model in models:
        model.compile(optimizer=fm.SGD(RATE))
    epochs = max(1, round(seconds / 2 / STEPS / fastmlp_step(batch, seconds / 4)))

    def train(model: fm.Sequential) -> None:
        model.fit(x, y, epochs=epochs, batch_size=batch, verbose=0)

    gains = []
    for _ in range(rounds):
        began = time.perf_counter()
        for model in models:
            train(model)
        between = time.perf_counter()
        threads = [threading.Thread(target=train, args=(model,)) for model in models]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        gains.append((between - began) / (time.perf_counter() - between))
    return gains


@contextmanager
def busy_process() -> Iterator[None]:
    """Keep one core busy."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
    try:
        time.sleep(0.3)
        yield
    finally:
        process.kill()
        process.wait()


def busy(python: str, library: str, batch: int, options: argparse.Namespace) -> list[list[float]]:
    """Return [seconds alone, seconds beside a busy process] for every round."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    command = [python, __file__, "--side", library, "--batches", str(batch)]
    command += ["--seconds", str(options.seconds)]
    result = []
    for _ in range(options.rounds):
        alone = run_side(command, cores or 1)
        with busy_process():
            result.append([alone, run_side(command, cores or 1)])
    return result


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 32, 200])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2, help="duration of a measurement")
    parser.add_argument("--peer-python", metavar="PYTHON", help="interpreter with PyTorch")
    steps = {"fastmlp": fastmlp_step, "torch": torch_step}
    parser.add_argument("--side", choices=steps, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(steps[options.side](options.batches[0], options.seconds)))
        return
    for batch in options.batches:
        gains = side_by_side(batch, options.rounds, options.seconds)
        print(f"batch {batch}: two models at once: {spread(gains)} times as fast", flush=True)
    pythons = {"fastmlp": sys.executable, "torch": options.peer_python}
    for library, python in pythons.items():
        for batch in options.batches if python else []:
            try:
                times = busy(python, library, batch, options)
            except SideError as error:
                raise SystemExit(f"{library}: {error}") from None
            alone = statistics.median(quiet for quiet, _ in times)
            slower = spread([beside / quiet for quiet, beside in times])
            print(
                f"batch {batch}: {library}: {alone * 1e6:.0f} us per step, {slower} times as long "
                "beside a busy process",
                flush=True,
            )


if __name__ == "__main__":
    main()
