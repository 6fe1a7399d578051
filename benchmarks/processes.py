"""Start many child processes with every start method, train in them, and count failures.

    python benchmarks/processes.py [--children 100] [--methods fork spawn ...]

Parent and children train the same network with all threads; a child also trains with one and with
two. Prints a line for each method: the number of children with the same bits as the parent, with
other bits, and without an answer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent.parent / "tests" / "children.py"
METHODS = (
    "fork",
    "spawn",
    "forkserver",
    "fork-while-training",
    "loky",
    "multiprocessing",
    "threading",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--children", type=int, default=100)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument(
        "--timeout", type=float, default=20.0, help="seconds after which a child counts as hanging"
    )
    arguments = parser.parse_args()
    bad = 0
    print(f"{'method':<20} {'right':>6} {'wrong':>6} {'hangs':>6} {'seconds':>8}")
    for method in arguments.methods:
        command = [sys.executable, str(PROGRAM), method, "--children", str(arguments.children)]
        command += ["--timeout", str(arguments.timeout)]
        limit = arguments.timeout * (arguments.children + 1)
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=limit, check=False
            )
            result = json.loads(done.stdout)
        except subprocess.TimeoutExpired:
            result = {"right": 0, "wrong": [], "hangs": arguments.children, "seconds": limit}
        except ValueError:
            print(done.stderr, file=sys.stderr)
            result = {"right": 0, "wrong": ["crash"], "hangs": 0, "seconds": 0.0}
        wrong, hangs, seconds = len(result["wrong"]), result["hangs"], result["seconds"]
        print(
            f"{method:<20} {result['right']:>6} {wrong:>6} {hangs:>6} {seconds:>8.1f}", flush=True
        )
        bad += wrong + hangs
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
