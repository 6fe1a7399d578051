"""Run the same work on two sides in separate processes, in alternation, and compare the times.

Two libraries in one process disturb each other's caches and thread pools, and the speed of a
shared machine changes from minute to minute. Therefore each measurement runs in a new process, the
sides alternate, and the results are the ratios of the minima and of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

__all__ = ["SideError", "best_and_median", "compare", "measure", "run_side"]

THREAD_VARIABLES = (
    "FASTMLP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NPROC",  # the thread pool of XLA
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
)


class SideError(RuntimeError):
    """The process of a side has failed; the message is its standard error."""


def measure(call: Callable[[], object], seconds: float = 0.05, repeats: int = 7) -> list[float]:
    """Return the seconds per call, one number per repeat of about ``seconds``."""
    call()
    began = time.perf_counter()
    call()
    number = max(1, round(seconds / max(time.perf_counter() - began, 1e-7)))
    result = []
    for _ in range(repeats):
        began = time.perf_counter()
        for _ in range(number):
            call()
        result.append((time.perf_counter() - began) / number)
    return result


def environment(threads: int) -> dict[str, str]:
    """Return an environment that limits the libraries of a process to a number of threads."""
    result = {**os.environ, **{name: str(threads) for name in THREAD_VARIABLES}}
    if threads == 1:
        flags = f"{result.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false"
        result["XLA_FLAGS"] = flags.strip()
    return result


def run_side(
    command: list[str], threads: int = 1, *, pin: bool = False, timeout: float | None = None
) -> Any:
    """Run the process of one side and return the JSON on its last line of output.

    ``pin`` keeps the process on the first core. Raises SideError if the process fails or takes
    longer than ``timeout`` seconds.
    """
    if pin:
        command = ["taskset", "-c", "0", *command]
    try:
        done = subprocess.run(
            command,
            env=environment(threads),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
    except subprocess.TimeoutExpired:
        raise SideError(f"took longer than {timeout:.0f} s") from None
    if done.returncode:
        raise SideError(done.stderr or f"ended with status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def alternate(
    script: str, sides: list[str], rounds: int, threads: int = 1
) -> dict[str, dict[str, list[float]]]:
    """Return the times {case: {side: [seconds, ...]}} that ``script SIDE`` prints as JSON."""
    times: dict[str, dict[str, list[float]]] = {}
    for turn in range(rounds):
        for side in sides:
            print(f"\rround {turn + 1} of {rounds}: {side:<12}", end="", file=sys.stderr)
            try:
                result = run_side([sys.executable, script, side], threads)
            except SideError as error:
                raise SystemExit(f"{script} {side} failed:\n{error}") from None
            for case, seconds in result.items():
                times.setdefault(case, {}).setdefault(side, []).extend(seconds)
    print("\r" + " " * 40 + "\r", end="", file=sys.stderr)
    return times


def compare(
    script: str,
    description: str,
    side: Callable[[str], dict[str, list[float]]],
    report: Callable[[dict[str, dict[str, list[float]]]], None],
) -> None:
    """Run the main program of ``script``: the process of one side, or the comparison of both."""
    sides = ["numpy", "kernels"]
    if len(sys.argv) == 2 and sys.argv[1] in sides:
        print(json.dumps(side(sys.argv[1])))
        return
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=5)
    report(alternate(script, sides, parser.parse_args().rounds))


def best_and_median(seconds: list[float]) -> tuple[float, float]:
    """Return the minimum and the median of the times."""
    return min(seconds), statistics.median(seconds)
