"""Check the gradients of many random MLPs and print the worst error.

Run ``python benchmarks/gradients.py [--count 200] [--backend numpy]``. Every MLP has 1 to 6 layers,
one of the activations and either loss; all of its gradients are compared with sixth-order central
differences in float64.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict

import numpy as np

import fastmlp as fm
from fastmlp.activations import ACTIVATIONS


def random_case(index: int) -> tuple[fm.Sequential, np.ndarray, np.ndarray, str]:
    """Return random model number ``index`` with four samples, their targets and a loss."""
    rng = np.random.default_rng(index)
    names = sorted(ACTIVATIONS)
    hidden = [int(n) for n in rng.integers(1, 9, rng.integers(0, 6))]
    inputs, outputs = int(rng.integers(1, 7)), int(rng.integers(2, 6))
    model = fm.MLP(inputs, hidden, outputs, activation=names[index % len(names)], seed=index)
    x = rng.standard_normal((4, inputs))
    if rng.integers(2):
        return model, x, rng.integers(0, outputs, 4), "cross_entropy"
    return model, x, rng.standard_normal((4, outputs)), "mse"


def main() -> int:
    """Check, print one line an activation and the worst of all; return 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="how many models")
    parser.add_argument("--backend", choices=["kernels", "numpy"], help="default: the model's")
    arguments = parser.parse_args()

    start = time.perf_counter()
    worst: dict[str, float] = defaultdict(float)
    checked, kinks, failed = 0, 0, 0
    for index in range(arguments.count):
        model, x, y, loss = random_case(index)
        if arguments.backend:
            model.backend = arguments.backend
        result = fm.gradcheck(model, x, y, loss)
        # A dead network may be all kinks: then there is nothing to compare, and that is counted.
        checked += sum(result.checked.values())
        kinks += sum(result.kinks.values())
        if not result.passed:
            failed += 1
            print(f"model {index}: {model!r}, {loss}\n{result}")
        activation = sorted(ACTIVATIONS)[index % len(ACTIVATIONS)]
        worst[activation] = max(worst[activation], result.max_error)

    for activation, error in sorted(worst.items(), key=lambda item: -item[1]):
        print(f"{activation:<11} {error:.2e}")
    print(
        f"{arguments.count} models on {model.backend}, {checked:,} gradients compared, "
        f"{kinks} at a kink, worst relative error {max(worst.values()):.2e}, {failed} failed, "
        f"{time.perf_counter() - start:.1f} s"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
