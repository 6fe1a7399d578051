"""Time training steps and predictions in fastmlp and in other frameworks, in float32.

    python benchmarks/peers.py [--workloads steps] [--peers numpy jax-scan] [--rounds 5]
        [--threads 1] [--pin] [--seconds 1] [--peer-python PATH] [--python torch=PATH]
        [--json FILE] [--plot FILE.png]
    python benchmarks/peers.py --read FILE [--plot FILE.png]

Each framework runs the fastest loop it has over shuffled data, in separate processes. The
frameworks run in alternation for several rounds. All start from the same weights, and their losses
are compared. A framework that is not installed is skipped. A framework in another environment is
run with another interpreter: ``--peer-python`` for all frameworks, ``--python NAME=PATH`` for one.

``--threads`` sets the number of threads of every library; ``--pin`` keeps every process on the
first core. Workloads are names or groups: steps (the default), variants (Adam, sigmoid, tanh),
reports (the other networks of docs/results), predict, cnn (training with convolutions),
cnn-predict, words (an embedding and momentum), and mnist. The workload mnist needs the MNIST files
(FASTMLP_DATA), trains for ``--epochs`` and measures accuracy. memory.py measures memory.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from frameworks import report
from frameworks.workloads import GROUPS, WORKLOADS, Skipped
from turns import SideError, run_side


class Side(NamedTuple):
    """A framework and a mode of it: a module, and the names of the functions to call."""

    module: str
    train: str = "train"
    predict: str = "predict"


SIDES = {
    "fastmlp": Side("fastmlp_"),
    "numpy": Side("numpy_"),
    "torch": Side("torch_"),
    "torch-channels-last": Side("torch_", "train_channels_last", "predict_channels_last"),
    "torch-compile": Side("torch_", "train_compiled"),
    "jax-step": Side("jax_", "train_step"),
    "jax-scan": Side("jax_", "train_scan"),
    "sklearn": Side("sklearn_"),
    "onnxruntime": Side("onnxruntime_"),
}
PEERS = [name for name in SIDES if name != "fastmlp"]

# Modes that differ from another mode of the framework only in training.
ONLY_TRAIN = ("torch-compile", "jax-step")

# The channels-last layout exists only for images. scikit-learn has no layers for images.
ONLY_IMAGES = ("torch-channels-last",)
NO_IMAGES = ("sklearn",)
NO_WORDS = ("sklearn", "onnxruntime")


# --- The process of a framework -----------------------------------------------------------------


def side(name: str, task: str, *arguments: str) -> Any:
    """Run one task in this process; return the result to print."""
    chosen = SIDES[name]
    try:
        module = importlib.import_module(f"frameworks.{chosen.module}")
    except ModuleNotFoundError as error:
        return {"skipped": f"{error} ({sys.executable})"}
    if task not in WORKLOADS:  # "version", or an additional task of fastmlp's process
        return getattr(module, task)(*arguments)
    workload = WORKLOADS[task]
    function = {"train": chosen.train, "predict": chosen.predict}.get(workload.kind, workload.kind)
    if (
        not hasattr(module, function)
        or (workload.kind != "train" and name in ONLY_TRAIN)
        or name in (NO_IMAGES if workload.image else ONLY_IMAGES)
        or (workload.vocabulary and name in NO_WORDS)
    ):
        return {"skipped": ""}  # skipped without a message
    cpu, wall = time.process_time(), time.perf_counter()
    try:
        if workload.kind == "mnist":
            path, epochs = arguments
            result = module.mnist(workload, path, int(epochs))
        else:
            result = getattr(module, function)(workload, float(arguments[0]))
    except Skipped as reason:
        return {"skipped": str(reason)}
    wall = time.perf_counter() - wall
    return {"cores": (time.process_time() - cpu) / wall} | result


# --- The comparison -----------------------------------------------------------------------------


class Comparison:
    """Runs the frameworks and collects their results."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.pythons = dict(options.python)
        self.versions: dict[str, str] = {}
        self.skipped: dict[str, dict[str, str]] = {}
        self.results: dict[str, dict[str, list[dict[str, Any]]]] = {}
        self.bandwidth: list[dict[str, float]] = []

    def run(self, name: str, *task: str) -> Any:
        default = sys.executable if name == "fastmlp" else self.options.peer_python
        command = [self.pythons.get(name, default), __file__, "--side", name, *task]
        options = self.options
        return run_side(command, options.threads, pin=options.pin, timeout=options.timeout)

    def find(self, names: list[str]) -> list[str]:
        """Return the frameworks that can be imported, and store their versions."""
        found = []
        for name in names:
            try:
                answer = self.run(name, "version")
            except (SideError, OSError) as error:
                answer = {"skipped": last_line(error)}
            if isinstance(answer, dict):
                print(f"{name} is skipped: {answer['skipped']}")
            else:
                self.versions[name] = answer
                found.append(name)
        return found

    def measure(self, workload: str, names: list[str], *arguments: str) -> None:
        """Run all frameworks on a workload for a number of rounds."""
        rounds, names = self.options.rounds, list(names)
        for turn in range(rounds):
            for name in list(names):
                note(f"{workload}, round {turn + 1} of {rounds}: {name}")
                try:
                    result = self.run(name, workload, *arguments)
                except SideError as error:
                    result = {"skipped": last_line(error)}
                if "skipped" in result:
                    names.remove(name)
                    self.skipped.setdefault(workload, {})[name] = result["skipped"]
                else:
                    self.results.setdefault(workload, {}).setdefault(name, []).append(result)
        note("")

    def as_json(self) -> dict[str, Any]:
        """Return all results as plain values."""
        options = self.options
        return {
            "date": time.strftime("%Y-%m-%d %H:%M"),
            "machine": {
                "processor": processor(),
                "cores": os.cpu_count(),
                "system": platform.platform(),
                "python": platform.python_version(),
                "bandwidth": self.bandwidth,
            },
            "threads": options.threads,
            "pinned": options.pin,
            "rounds": options.rounds,
            "seconds": options.seconds,
            "epochs": options.epochs,
            "versions": self.versions,
            "skipped": self.skipped,
            "results": self.results,
        }


def last_line(error: Exception) -> str:
    """Return the last line of an error message; in a traceback it names the error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def note(text: str) -> None:
    """Show the progress on one line of the terminal."""
    if sys.stderr.isatty():
        print(f"\r{text:<78}", end="\r" if not text else "", file=sys.stderr, flush=True)


def processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all requested workloads."""
    workloads = dict.fromkeys(
        name for given in options.workloads for name in GROUPS.get(given, [given])
    )
    comparison = Comparison(options)
    sides = comparison.find(["fastmlp"])
    if not sides:
        raise SystemExit("fastmlp is not installed; install it or set PYTHONPATH to a built tree.")
    sides += comparison.find(options.peers)
    for _ in range(options.rounds):
        comparison.bandwidth.append(comparison.run("fastmlp", "bandwidth"))
    with tempfile.TemporaryDirectory() as folder:
        for name in workloads:
            if WORKLOADS[name].kind == "mnist":
                path = os.path.join(folder, "mnist.npz")
                comparison.run("fastmlp", "save_mnist", path)
                comparison.measure(name, sides, path, str(options.epochs))
            else:
                comparison.measure(name, sides, str(options.seconds))
    return comparison.as_json()


def parse() -> argparse.Namespace:
    """Parse the command line."""

    def pair(text: str) -> tuple[str, str]:
        name, _, path = text.partition("=")
        if name not in SIDES or not path:
            raise argparse.ArgumentTypeError(f"{text!r} must be NAME=PATH with NAME in {PEERS}")
        return name, path

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--workloads", nargs="+", default=["steps"], metavar="NAME", choices=[*GROUPS, *WORKLOADS])
    add("--peers", nargs="*", default=PEERS, metavar="NAME", choices=PEERS)
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=1.0, help="duration of a measurement")
    add("--epochs", type=int, default=10, help="epochs of mnist")
    add("--threads", type=int, default=1)
    add("--pin", action="store_true", help="keep every process on the first core")
    add("--timeout", type=float, default=1800.0, help="longest time of a process in seconds")
    add("--peer-python", default=sys.executable, metavar="PATH")
    add("--python", type=pair, action="append", default=[], metavar="NAME=PATH")
    add("--json", type=Path, metavar="FILE", help="write all results to a file")
    add("--plot", type=Path, metavar="FILE", help="plot the ratios; needs matplotlib")
    add("--read", type=Path, metavar="FILE", help="show the results in a file of --json")
    return parser.parse_args()


def main() -> None:
    """Run as the process of one framework, or compare all of them."""
    if sys.argv[1:2] == ["--side"]:
        print(json.dumps(side(*sys.argv[2:])))
        return
    options = parse()
    measured = json.loads(options.read.read_text()) if options.read else compare(options)
    if options.json:
        options.json.write_text(json.dumps(measured) + "\n")
    report.show(measured)
    if options.plot:
        report.plot(measured, options.plot)


if __name__ == "__main__":
    main()
