"""Memory that two epochs need besides data and weights, in fastmlp and in PyTorch.

    python benchmarks/memory.py [--workloads mnist-cnn] [--sides fastmlp torch] [--threads 1]
        [--rounds 3] [--peer-python PATH]

Every side runs in a process of its own and trains as in peers.py. When its data and weights are
there, the peak of resident memory is set back; how far it has risen after the second epoch is what
is printed, in MB. All that an epoch touches counts: values, gradients, what a library keeps.
Two steps of one sample come before, so that the code that is read in does not count.
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

MEASURED = ("fastmlp", "torch", "torch-channels-last")  # their buffers are made in the epoch


def side(name: str, task: str) -> int:
    """Return the bytes, in this process."""
    module, workload = importlib.import_module(f"frameworks.{SIDES[name].module}"), WORKLOADS[task]
    train = getattr(module, SIDES[name].train)
    train(dataclasses.replace(workload, batch=1, rows=2), 0.0)
    return train(workload, 0.0)["memory"]


def main() -> None:
    """Be a side's process, or run them and print a line for each workload."""
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
