"""``fastmlp bench``: the time of a training step, in fastmlp and in other installed frameworks.

Two libraries in one process disturb each other's caches and thread pools, and the speed of a
shared machine changes from minute to minute. Therefore each framework runs in separate processes,
the frameworks run in alternation, and the result is the ratio of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from importlib import util
from typing import Any

from fastmlp import get_num_threads
from fastmlp.cli.frameworks.workloads import WORKLOADS, Workload
from fastmlp.cli.parser import Parser, add_threads
from fastmlp.cli.settings import Setting, add_options, values

__all__ = ["HELP", "add", "run"]

HELP = """\
usage: fastmlp bench [options]

Time a training step of four networks in fastmlp, in plain numpy, and, if they
are installed, in PyTorch, JAX and scikit-learn. The frameworks run in
alternation, each in separate processes. Prints a table of medians; the numbers
in brackets are ratios to fastmlp.

  --quick          two networks and shorter runs (20 s instead of 3 minutes)
  --sides NAMES    frameworks: some of fastmlp,numpy,torch,jax,sklearn
  --rounds 3       number of runs of each framework
  --seconds 1      duration of each run
  --json           print one JSON object
  --threads N      threads of each framework (default: the number fastmlp uses)

examples
  fastmlp bench --quick
  fastmlp bench --sides fastmlp,numpy --threads 1
  fastmlp bench --json > bench.json
"""

_FRAMEWORKS = {"fastmlp": "fastmlp", "numpy": "numpy", "torch": "torch", "jax": "jax",
               "sklearn": "sklearn"}  # fmt: skip
"""The package that each framework needs."""

_THREADS = (
    "FASTMLP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NPROC",  # the thread pool of XLA
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)
_QUICK = ("64-64-10, 32", "784-512-256-10, 32")
_SAME = 0.01  # largest relative difference of losses that differ only in rounding and order
_SETTINGS = (
    Setting("sides", "bench", "names"),
    Setting("rounds", "bench", "integer"),
    Setting("seconds", "bench", "number"),
)


def add(commands: Any) -> Parser:
    """Add the command and return its parser."""
    parser: Parser = commands.add_parser("bench", text=HELP)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    add_options(parser, _SETTINGS)
    add_threads(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Measure and print the result."""
    chosen = values(_SETTINGS, args, {})
    rounds, seconds = chosen["rounds"], chosen["seconds"]
    rounds = (2 if args.quick else 3) if rounds is None else rounds
    seconds = (0.2 if args.quick else 1.0) if seconds is None else seconds
    if rounds < 1 or seconds <= 0:
        raise ValueError(
            f"--rounds must be at least 1 and --seconds above 0, got {rounds} and {seconds:g}."
        )
    names = _frameworks(chosen["sides"])
    threads = get_num_threads()
    workloads = [WORKLOADS[name] for name in (_QUICK if args.quick else WORKLOADS)]
    measured = _Bench(names, threads)
    with _bar(rounds * len(workloads) * len(names)) as bar:
        measured.find_versions()
        for workload in workloads:
            for _ in range(rounds):
                for name in names:
                    bar.set_description(f"{workload.name}: {name}")
                    measured.turn(workload, name, seconds)
                    bar.update(1)
    if args.json:
        print(json.dumps(measured.result(workloads)))
    else:
        print(measured.table(workloads))
    for line in measured.notes(workloads):
        print(line, file=sys.stderr)
    return 0


def _bar(total: int) -> Any:
    from tqdm import tqdm  # type: ignore[import-untyped]  # imported lazily: slow to import

    return tqdm(total=total, leave=False, disable=None, bar_format="{desc} {bar} {n}/{total}")


def _frameworks(wanted: list[str] | None) -> list[str]:
    """Return the frameworks to run, fastmlp first: the named ones, or all that are installed."""
    for name in wanted or ():
        if name not in _FRAMEWORKS:
            raise ValueError(f"--sides must list names from {','.join(_FRAMEWORKS)}, got {name!r}.")
        if not _is_installed(_FRAMEWORKS[name]):
            raise ImportError(f"--sides {name}: {_FRAMEWORKS[name]} is not installed.")
    found = [name for name, package in _FRAMEWORKS.items() if _is_installed(package)]
    return [name for name in found if wanted is None or name in wanted or name == "fastmlp"]


def _is_installed(package: str) -> bool:
    """Return whether a package of that name is installed; a folder without code does not count."""
    found = util.find_spec(package)
    return found is not None and found.origin is not None


class _Bench:
    """Runs the processes and collects their results."""

    def __init__(self, names: list[str], threads: int) -> None:
        self.names, self.threads = names, threads
        self.versions: dict[str, str] = {}
        self.steps: dict[tuple[str, str], list[float]] = {}
        self.losses: dict[tuple[str, str], float] = {}
        self.failed: dict[str, str] = {}

    def find_versions(self) -> None:
        """Get the version of each framework; skip frameworks that cannot be imported."""
        for name in self.names:
            answer = self._ask(name)
            if answer is not None:
                self.versions[name] = answer

    def turn(self, workload: Workload, name: str, seconds: float) -> None:
        """Train once and add the times to the results."""
        if name in self.failed:
            return
        answer = self._ask(name, workload.name, str(seconds))
        if answer:
            key = workload.name, name
            self.steps.setdefault(key, []).extend(answer["steps"])
            self.losses[key] = answer["loss"]

    def _ask(self, name: str, *arguments: str) -> Any:
        environment = os.environ | dict.fromkeys(_THREADS, str(self.threads))
        if self.threads == 1:
            flags = environment.get("XLA_FLAGS", "")
            environment["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
        command = [sys.executable, "-m", "fastmlp.cli.frameworks", name, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
            if name == "fastmlp":
                raise RuntimeError(f"bench: {lines[-1]}")
            self.failed[name] = lines[-1]
            return None
        return json.loads(done.stdout.splitlines()[-1])

    def median(self, workload: Workload, name: str) -> float | None:
        """Return the median seconds per step; None if the framework did not train the network."""
        steps = self.steps.get((workload.name, name))
        return statistics.median(steps) if steps else None

    def result(self, workloads: list[Workload]) -> dict[str, Any]:
        """Return the medians and ratios as plain values."""
        table: dict[str, Any] = {}
        for workload in workloads:
            base = self.median(workload, "fastmlp") or 1.0
            for name in self.names:
                median = self.median(workload, name)
                if median is not None:
                    entry = {"microseconds": 1e6 * median, "ratio": median / base}
                    table.setdefault(workload.name, {})[name] = entry
        return {"versions": self.versions, "threads": self.threads, "steps": table}

    def table(self, workloads: list[Workload]) -> str:
        """Return the result as a table."""
        shown = [name for name in self.names if name not in self.failed]
        rows = [["microseconds per step", *shown]]
        for workload in workloads:
            base = self.median(workload, "fastmlp") or 1.0
            cells = [workload.name]
            for name in shown:
                median = self.median(workload, name)
                if median is None:
                    cells.append("-")
                else:
                    ratio = "" if name == "fastmlp" else f" ({median / base:.1f}x)"
                    cells.append(f"{1e6 * median:,.{0 if median > 1e-4 else 1}f}{ratio}")
            rows.append(cells)
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = []
        for row in rows:
            cells = [f"{cell:>{w}}" for cell, w in zip(row[1:], widths[1:], strict=True)]
            lines.append("  ".join([f"{row[0]:<{widths[0]}}", *cells]))
        versions = ", ".join(self.versions.values())
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        lines += ["", f"{versions}; {threads}, float32, plain SGD; rows: layer sizes, batch size"]
        return "\n".join(lines)

    def notes(self, workloads: list[Workload]) -> list[str]:
        """Return notes to print below the table: frameworks that failed or did different work."""
        lines = [f"{name} is skipped: {why}" for name, why in self.failed.items()]
        for workload in workloads:
            ours = self.losses.get((workload.name, "fastmlp"))
            for name in self.names:
                loss = self.losses.get((workload.name, name))
                if loss is not None and ours and abs(loss - ours) > _SAME * ours:
                    lines.append(
                        f"{workload.name}: {name} did different work: its loss is {loss:.4f}, the "
                        f"loss of fastmlp {ours:.4f}"
                    )
        return lines
