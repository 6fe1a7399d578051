"""Send Ctrl-C at random moments of a training, and measure the time until fit returns.

    python benchmarks/interrupts.py [--interrupts 200] [--most 0.2]

Networks of several sizes train on all threads. After each interrupt the weights must be finite, the
history must have an entry for each complete epoch, and the next fit must work. The exit status is 1
if a check fails, or if fit takes longer than --most seconds to return.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from interrupted import KINDS, Patient

import fastmlp as fm


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interrupts", type=int, default=200)
    parser.add_argument("--most", type=float, default=0.2, help="largest delay in seconds")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    arguments = parser.parse_args()
    numbers, everything = random.Random(0), []
    print(f"{fm.get_num_threads()} threads")
    print(f"{'network':<8} {'times':>6} {'median':>8} {'99 %':>8} {'longest':>8}  milliseconds")
    for kind in [*arguments.kinds, "all"]:
        times = everything
        if kind != "all":
            patient, times = Patient(kind), []
            patient.fit(1)
            for _ in range(max(1, arguments.interrupts // len(arguments.kinds))):
                times.append(patient.interrupt(numbers.uniform(0.02, 0.3)))
            history = patient.fit(1)
            assert not history.interrupted
            assert len(history.epochs) == 1
            everything += times
        ordered = sorted(1e3 * seconds for seconds in times)
        high = ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]
        print(
            f"{kind:<8} {len(times):>6} {statistics.median(ordered):>8.2f} {high:>8.2f} "
            f"{ordered[-1]:>8.2f}",
            flush=True,
        )
    return int(max(everything) > arguments.most)


if __name__ == "__main__":
    raise SystemExit(main())
