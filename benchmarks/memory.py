"""Measure the memory that two epochs need in addition to data and weights.

    python benchmarks/memory.py [--workloads mnist-cnn] [--sides fastmlp torch] [--threads 1]
        [--rounds 3] [--peer-python PATH]

Each framework runs in a separate process and trains as in peers.py. After data and weights have
been made, the peak of resident memory is reset. The printed number is the rise of the peak after
two epochs, in MB. It includes values, gradients and all buffers of the library. Two steps of one
sample are run first, so that loading code does not count.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import statistics
import sys

from frameworks.workloads import WORKLOADS
from peers import ONLY_IMAGES, SIDES
from turns import run_side

MEASURED = ("fastmlp", "torch", "torch-channels-last")  # they allocate buffers during the epoch


def side(name: str, task: str) -> int:
    """Measure one framework in this process; return the bytes."""
    module, workload = importlib.import_module(f"frameworks.{SIDES[name].module}"), WORKLOADS[task]
    train = getattr(module, SIDES[name].train)
    train(dataclasses.replace(workload, batch=1, rows=2), 0.0)
    return train(workload, 0.0)["memory"]


def main() -> None:
    """Run as the process of one framework, or run all of them and print one line per workload."""
    if sys.argv[1:2] == ["--side"]:
        print(json.dumps(side(*sys.argv[2:])))
        return
    trained = [name for name, w in WORKLOADS.items() if w.kind == "train" and not w.whole]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--workloads", nargs="+", default=["mnist-cnn"], metavar="NAME", choices=trained)
    add("--sides", nargs="+", default=MEASURED, metavar="NAME", choices=MEASURED)
    add("--threads", type=int, default=1)
    add("--rounds", type=int, default=3)
    add("--peer-python", default=sys.executable, metavar="PATH")
    options = parser.parse_args()
    print(f"{'MB, median':<24}" + "".join(f"{name:>22}" for name in options.sides))
    for workload in options.workloads:
        line = f"{workload:<24}"
        for name in options.sides:
            if name in ONLY_IMAGES and not WORKLOADS[workload].image:
                line += f"{'-':>22}"
                continue
            python = sys.executable if name == "fastmlp" else options.peer_python
            command = [python, __file__, "--side", name, workload]
            found = [run_side(command, options.threads) for _ in range(options.rounds)]
            line += f"{statistics.median(found) / 1e6:>22.1f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
