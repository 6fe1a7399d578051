"""Count the bytes that differ between runs with several threads and runs with one.

    python benchmarks/determinism.py [--cases 200] [--threads 2 3 4 8]

Random networks are trained, with even the smallest operations split between threads. Weights,
histories, predictions and gradients are compared byte by byte. The exit status is 1 if any byte
differs.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from random_networks import Case, draw

import fastmlp as fm
from fastmlp import _threads
from fastmlp._engines import plans
from fastmlp._plan import builder


def run(case: Case, dtype: str, threads: int) -> dict[str, bytes]:
    """Train a network; return the bytes of everything it computed."""
    fm.set_num_threads(threads)
    model = case.build(dtype, "kernels")
    history = case.fit(model, epochs=2)
    loss, gradients = model.gradients(case.x, case.y, case.loss)
    found: dict[str, Any] = {**model.parameters, "loss": np.array(loss)}
    found |= {"gradient " + name: value for name, value in gradients.items()}
    found |= {name: np.array(v) for name, v in history.history.items() if name != "time"}
    found["predictions"] = model.predict(case.x)
    return {name: value.tobytes() for name, value in found.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 3, 4, 8])
    parser.add_argument("--first", type=int, default=10_000, help="seed of the first network")
    arguments = parser.parse_args()
    _threads.OVERSUBSCRIBE = True
    plans._PARALLEL_STEP = plans._PARALLEL_CALL = 0
    builder._GRAIN = 1
    began, compared, differing, wrong = time.perf_counter(), 0, 0, 0
    for seed in range(arguments.first, arguments.first + arguments.cases):
        case = draw(seed)
        dtype = ("float32", "float64")[seed % 2]
        expected = run(case, dtype, 1)
        for threads in arguments.threads:
            here = 0
            for name, found in run(case, dtype, threads).items():
                bytes_ = np.frombuffer(found, np.uint8), np.frombuffer(expected[name], np.uint8)
                here += int((bytes_[0] != bytes_[1]).sum())
                compared += len(found)
            if here:
                print(f"{threads} threads, {dtype}: {here} bytes differ in {case}")
            differing += here
            wrong += here > 0
    print(
        f"{arguments.cases} networks, 1 against {arguments.threads} threads: {differing} of "
        f"{compared} bytes differ, in {wrong} runs ({time.perf_counter() - began:.1f} s)"
    )
    return int(differing > 0)


if __name__ == "__main__":
    raise SystemExit(main())
