"""Kill a training at random moments and resume it; the result must be the same bytes.

    python benchmarks/kill_resume.py [--kills 300] [--longest 0.06]

A child process trains and writes a checkpoint every three steps. It is killed with SIGKILL after a
random time, and another child resumes the training, until a child completes it. Weights and history
must then equal the result of an uninterrupted run. After each kill the checkpoint must be readable
and no older than before. At the end no other file may be left. The exit status is 1 if a check
fails.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from killed import SETTINGS, Victim


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument(
        "--longest", type=float, default=0.06, help="longest life of a child in seconds"
    )
    arguments = parser.parse_args()
    numbers, wrong = random.Random(0), 0
    print(
        f"{'optimizer':<10} {'runs':>5} {'kills':>6} {'lost':>5} {'differing bytes':>16} {'s':>6}"
    )
    for name in SETTINGS:
        with tempfile.TemporaryDirectory() as folder:
            victim = Victim(name, Path(folder))
            expected, runs, differing = victim.train([]), 0, 0
            began = time.perf_counter()
            while victim.kills * len(SETTINGS) < arguments.kills:
                got = victim.run(numbers, arguments.longest)
                differing += abs(len(got) - len(expected))
                differing += sum(a != b for a, b in zip(got, expected, strict=False))
                runs += 1
            left = set(os.listdir(folder)) - {victim.checkpoint.name, victim.result.name}
            seconds = time.perf_counter() - began
            print(
                f"{name:<10} {runs:>5} {victim.kills:>6} {victim.lost:>5} {differing:>16} "
                f"{seconds:>6.1f}",
                flush=True,
            )
            if left:
                print(f"left: {sorted(left)}")
            wrong += victim.lost + differing + len(left)
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
