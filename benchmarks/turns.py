"""Run the same work in processes of their own, turn by turn, and compare the times.

Two libraries in one process disturb each other's caches and thread pools, and a shared machine
is fast in one minute and slow in the next. So each side has a fresh process, the sides alternate,
and what is reported is the ratio of the minima and of the medians.
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

__all__ = ["best_and_median", "compare", "measure"]

ONE_THREAD = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")}


def measure(call: Callable[[], object], seconds: float = 0.05, repeats: int = 7) -> list[float]:
    """Return the seconds of one call, once for every repeat of about ``seconds``."""
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


def alternate(script: str, sides: list[str], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return the times {case: {side: [seconds, ...]}} that ``script SIDE`` prints as JSON."""
    times: dict[str, dict[str, list[float]]] = {}
    for turn in range(rounds):
        for side in sides:
            print(f"\rround {turn + 1} of {rounds}: {side:<12}", end="", file=sys.stderr)
            done = subprocess.run(
                [sys.executable, script, side],
                env={**os.environ, **ONE_THREAD},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise SystemExit(f"{script} {side} failed:\n{done.stderr}")
            for case, seconds in json.loads(done.stdout).items():
                times.setdefault(case, {}).setdefault(side, []).extend(seconds)
    print("\r" + " " * 40 + "\r", end="", file=sys.stderr)
    return times


def compare(
    script: str,
    description: str,
    side: Callable[[str], dict[str, list[float]]],
    report: Callable[[dict[str, dict[str, list[float]]]], None],
) -> None:
    """Be the main program of ``script``: one side's process, or the comparison of both."""
    sides = ["numpy", "kernels"]
    if len(sys.argv) == 2 and sys.argv[1] in sides:
        print(json.dumps(side(sys.argv[1])))
        return
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=5)
    report(alternate(script, sides, parser.parse_args().rounds))


def best_and_median(seconds: list[float]) -> tuple[float, float]:
    """Return the two figures that are compared."""
    return min(seconds), statistics.median(seconds)
