"""Check the gradients of many random networks and print the worst error.

    python benchmarks/gradients.py [--images | --mixed] [--count 200] [--backend numpy]

Each network is an MLP with 1 to 6 layers, a random activation, and cross-entropy or mse. With
``--images`` it has 1 to 4 convolutions and pooling layers of random sizes, strides and padding
before the dense layers. With ``--mixed`` it has dropout, noise, normalization, penalties or an
embedding, and any loss with random settings and sample weights. All gradients are compared with
sixth-order central differences in float64.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict

import numpy as np

import fastmlp as fm
from fastmlp.activations import ACTIVATIONS

Drawn = tuple[fm.Sequential, np.ndarray, np.ndarray, str | fm.Loss, np.ndarray | None]


def random_case(index: int) -> Drawn:
    """Return the random model ``index`` with four samples, their targets and a loss."""
    rng = np.random.default_rng(index)
    names = sorted(ACTIVATIONS)
    hidden = [int(n) for n in rng.integers(1, 9, rng.integers(0, 6))]
    inputs, outputs = int(rng.integers(1, 7)), int(rng.integers(2, 6))
    model = fm.MLP(inputs, hidden, outputs, activation=names[index % len(names)], seed=index)
    x = rng.standard_normal((4, inputs))
    if rng.integers(2):
        return model, x, rng.integers(0, outputs, 4), "cross_entropy", None
    return model, x, rng.standard_normal((4, outputs)), "mse", None


def random_images(index: int) -> Drawn:
    """Return the random network for images ``index`` with samples, their targets and a loss."""
    rng = np.random.default_rng([1, index])
    names = sorted(ACTIVATIONS)

    def below(top: int, least: int = 1) -> int:
        return int(rng.integers(least, top + 1))

    size, layers = [below(9, 3), below(9, 3)], []
    shape = (*size, below(4))
    for number in range(below(4)):
        window, strides = tuple(below(min(3, side)) for side in size), (below(2), below(2))
        if rng.integers(3):
            # The index selects the activation of the first layer, so every activation is tested.
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
        return model, x, rng.integers(0, outputs, 3), "cross_entropy", None
    return model, x, rng.standard_normal((3, outputs)), "mse", None


def random_mixture(index: int) -> Drawn:
    """Return the random network ``index`` with other layers, losses and settings."""
    rng = np.random.default_rng([2, index])
    names = sorted(ACTIVATIONS)
    n, outputs = int(rng.integers(6, 10)), int(rng.integers(2, 5))

    def between() -> list[fm.Layer]:
        kinds = (
            lambda: fm.Dropout(float(rng.uniform(0.1, 0.6))),
            lambda: fm.GaussianNoise(0.2),
            lambda: fm.BatchNorm(epsilon=0.1),
            lambda: fm.LayerNorm(epsilon=0.1),
        )
        return [kinds[rng.integers(4)]() for _ in range(rng.integers(3))]

    layers: list[fm.Layer] = []
    start = int(rng.integers(3))
    if start == 0:
        shape = (int(rng.integers(1, 4)),)
        x = rng.integers(0, 6, (n, *shape))
        layers.append(fm.Embedding(6, 3, combine=("sum", "concat")[rng.integers(2)]))
    elif start == 1:
        shape = (6, 5, 2)
        x = rng.standard_normal((n, *shape))
        layers += [fm.Conv2D(3, 3, activation=names[index % len(names)]), *between()]
        layers += [fm.AvgPool2D(2), *between(), fm.Flatten()]
    else:
        shape = (4,)
        x = rng.standard_normal((n, *shape))
    for _ in range(rng.integers(1, 4)):
        penalty = {"l2": 0.01, "l1": 0.01 * int(rng.integers(2))} if rng.integers(3) == 0 else {}
        layers.append(fm.Dense(int(rng.integers(2, 7)), names[index % len(names)], **penalty))
        layers += between()
    model = fm.Sequential([*layers, fm.Dense(outputs)], shape, seed=index)
    weights = rng.random(n) + 0.1 if rng.integers(2) else None
    kind = int(rng.integers(6))
    if kind < 3:
        classes = dict(enumerate(rng.random(outputs) + 0.1)) if rng.integers(2) else None
        loss: fm.Loss = fm.CrossEntropy(0.1 * int(rng.integers(2)), classes)
        return model, x, rng.integers(0, outputs, n), fm.Hinge() if kind == 0 else loss, weights
    if kind == 3:
        return model, x, rng.random((n, outputs)), "binary_cross_entropy", weights
    return model, x, rng.standard_normal((n, outputs)), ("mae", fm.Huber(0.7))[kind - 4], weights


def main() -> int:
    """Check all networks, print the worst error per activation and overall; return 1 on failure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200, help="number of models")
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--images", action="store_true", help="convolutions and pooling")
    kind.add_argument("--mixed", action="store_true", help="all other layers, losses, settings")
    parser.add_argument("--backend", choices=["kernels", "numpy"], help="default: the model's")
    arguments = parser.parse_args()

    draw = random_images if arguments.images else random_mixture if arguments.mixed else random_case
    start = time.perf_counter()
    worst: dict[str, float] = defaultdict(float)
    checked, kinks, failed = 0, 0, 0
    for index in range(arguments.count):
        model, x, y, loss, weights = draw(index)
        if arguments.backend:
            model.backend = arguments.backend
        result = fm.gradcheck(model, x, y, loss, sample_weight=weights)
        # In a dead network all elements may be at kinks. They are counted, as none is compared.
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
