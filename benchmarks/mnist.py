"""MNIST, 784-512-256-10, ReLU, batch 32, learning rate 0.1: accuracy, time, and both backends.

    FASTMLP_DATA=folder python benchmarks/mnist.py [--epochs 10] [--compare-epochs 3]

Prints the training on the kernels. Then compares the kernels with the numpy backend: the largest
relative difference of an epoch's loss in float64, and of the gradients of 100 random batches in
float32.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import fastmlp as fm


def model(dtype: str, backend: str) -> fm.Sequential:
    """Return the network of the report, always with the same weights."""
    result = fm.MLP(784, [512, 256], 10, activation="relu", dtype=dtype, seed=0)
    result.backend = backend
    return result


def main() -> None:
    """Train and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--compare-epochs", type=int, default=3)
    arguments = parser.parse_args()
    (x, y), validation, (x_test, y_test) = fm.datasets.load_mnist()
    settings = {"batch_size": 32, "optimizer": fm.SGD(0.1), "verbose": 2}

    print("float32, kernels")
    net = model("float32", "kernels")
    began = time.perf_counter()
    net.fit(x, y, epochs=arguments.epochs, validation_data=validation, **settings)
    seconds = time.perf_counter() - began
    print(f"{arguments.epochs} epochs in {seconds:.1f} s; valid "
          f"{net.evaluate(*validation)['accuracy']:.4f}, "
          f"test {net.evaluate(x_test, y_test)['accuracy']:.4f}")  # fmt: skip

    if arguments.compare_epochs:
        histories = {}
        for backend in ("kernels", "numpy"):
            print(f"float64, {backend}")
            histories[backend] = model("float64", backend).fit(
                x, y, epochs=arguments.compare_epochs, validation_data=validation, **settings
            )
        worst = max(
            float(np.abs(np.subtract(a, b) / b).max())
            for a, b in (
                (histories["kernels"].history[name], histories["numpy"].history[name])
                for name in ("loss", "val_loss")
            )
        )
        print(f"float64: largest relative difference of an epoch's loss: {worst:.2e}")

    rng = np.random.default_rng(0)
    kernels, numpy = model("float32", "kernels"), model("float32", "numpy")
    worst = 0.0
    for _ in range(100):
        rows = rng.choice(len(x), 32, replace=False)
        _, a = kernels.gradients(x[rows], y[rows])
        _, b = numpy.gradients(x[rows], y[rows])
        worst = max(worst, *(float(np.linalg.norm(a[n] - b[n]) / np.linalg.norm(b[n])) for n in b))
    print(f"float32: largest difference of a gradient over 100 batches: {worst:.2e} of its norm")


if __name__ == "__main__":
    main()
