"""Measure the speedup from skipping zeros, by the share of input values that are zero.

    python benchmarks/zeros.py [--sizes 784 512 256 10] [--batches 8 32 200] [--rounds 8] [--mnist]

Two models with the same weights run in alternation in one process, on one thread. The first
products of one model skip zeros (fastmlp/_plan/sparsity.py). Zeros are at random positions, which
is the worst case; with --mnist (FASTMLP_DATA) the samples are MNIST images. "Listed" is the share
of features that are not zero in all of four samples.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

SHARES = (0.95, 0.9, 0.8, 0.7, 0.5, 0.0)
SAMPLES = 4000


def model(sizes: list[int], listed: bool):
    """Return a new compiled model with plans that always skip zeros, or never."""
    import fastmlp as fm
    from fastmlp._engines import engine

    result = fm.MLP(sizes[0], sizes[1:-1], sizes[-1], seed=0)
    result.compile(optimizer=fm.SGD(0.01))
    engine(result)._most_listed = 2.0 if listed else 0.0
    return result


def measure(x: np.ndarray, sizes: list[int], batch: int, rounds: int) -> tuple[float, float]:
    """Return the speedups of training steps and of evaluation, from the best of all rounds."""
    y = np.arange(len(x)) % sizes[-1]
    models = [model(sizes, listed) for listed in (False, True)]
    best = np.full((2, 2), np.inf)
    for _ in range(rounds + 1):
        for side, each in enumerate(models):
            times = [time.perf_counter()]
            each.fit(x, y, epochs=1, batch_size=batch, verbose=0)
            times.append(time.perf_counter())
            each.evaluate(x, y)
            times.append(time.perf_counter())
            best[side] = np.minimum(best[side], np.diff(times))
    return tuple(best[0] / best[1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[784, 512, 256, 10])
    parser.add_argument("--batches", type=int, nargs="+", default=[8, 32, 200])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--mnist", action="store_true")
    options = parser.parse_args()

    import fastmlp as fm
    from fastmlp._compiled import plan

    fm.set_num_threads(1)
    rng = np.random.default_rng(0)
    features = options.sizes[0]
    if options.mnist:
        (images, _), *_ = fm.datasets.load_mnist()
        data = {"MNIST": images[rng.permutation(len(images))[:SAMPLES]]}
    else:
        dense = rng.standard_normal((SAMPLES, features), np.float32)
        data = {f"{s:.0%}": dense * (rng.random(dense.shape) >= s) for s in SHARES}
    print(f"{'zeros':>6} {'listed':>7} {'batch':>6} {'steps':>7} {'evaluation':>11}")
    for name, x in data.items():
        listed = plan.listed_share(x, len(x), features, 100)
        for batch in options.batches:
            steps, evaluation = measure(x, options.sizes, batch, options.rounds)
            print(f"{name:>6} {listed:>7.2f} {batch:>6} {steps:>6.2f}x {evaluation:>10.2f}x")


if __name__ == "__main__":
    main()
