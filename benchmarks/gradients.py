"""Check the gradients of many random networks and print the worst error.

Run ``python benchmarks/gradients.py [--images] [--count 200] [--backend numpy]``. Every MLP has 1
to 6 layers, one of the activations and either loss; with ``--images`` a network has 1 to 4
convolutions and pooling layers, of random sizes, strides and padding, before its dense ones. All
gradients are compared with sixth-order central differences in float64.
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


def random_images(index: int) -> tuple[fm.Sequential, np.ndarray, np.ndarray, str]:
    """Return random network for images number ``index`` with samples, their targets and a loss."""
    rng = np.random.default_rng([1, index])
    names = sorted(ACTIVATIONS)

    def below(top: int, least: int = 1) -> int:
        return int(rng.integers(least, top + 1))

    size, layers = [below(9, 3), below(9, 3)], []
    shape = (*size, below(4))
    for number in range(below(4)):
        window, strides = tuple(below(min(3, side)) for side in size), (below(2), below(2))
        if rng.integers(3):
            # The first one has the activation of the network's number, so that all have their turn.
            name = names[index % len(names)] if number == 0 else names[below(len(names)) - 1]
            padding = ("valid", "same")[rng.integers(2)]
            bias = bool(rng.integers(4))
            layers.append(
                fm.Conv2D(
                    below(5), window, strides, padding, name, use_bias=bias, bias_init="normal"
                )
            )
        else:
            kind = (fm.MaxPool2D, fm.AvgPool2D)[rng.integers(2)]
            layers.append(kind(window, strides if rng.integers(2) else None))
        size = list(layers[-1].build((*size, 1))[:2])
    layers.append(fm.GlobalAvgPool2D() if rng.integers(4) == 0 else fm.Flatten())
    if rng.integers(2):
        layers.append(fm.Dense(below(5), names[index % len(names)]))
    outputs = below(5, 2)
    model = fm.Sequential([*layers, fm.Dense(outputs)], shape, seed=index)
    x = rng.standard_normal((3, *shape))
    if rng.integers(2):
        return model, x, rng.integers(0, outputs, 3), "cross_entropy"
    return model, x, rng.standard_normal((3, outputs)), "mse"


def main() -> int:
    """Check, print one line an activation and the worst of all; return 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="how many models")
    parser.add_argument("--images", action="store_true", help="convolutions and pooling")
    parser.add_argument("--backend", choices=["kernels", "numpy"], help="default: the model's")
    arguments = parser.parse_args()

    start = time.perf_counter()
    worst: dict[str, float] = defaultdict(float)
    checked, kinks, failed = 0, 0, 0
    for index in range(arguments.count):
        model, x, y, loss = (random_images if arguments.images else random_case)(index)
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
