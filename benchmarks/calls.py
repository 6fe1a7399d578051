"""Measure the call overhead of every operation of fastmlp.kernels on arrays of 64 values.

python benchmarks/calls.py
"""

from __future__ import annotations

import numpy as np
from turns import measure

from fastmlp import kernels

LIMIT = 2e-6


def main() -> None:
    """Print the time of each call and the slowest."""
    flat = np.full(64, 0.5, np.float32)
    square = np.full((8, 8), 0.5, np.float32)
    row = np.full(8, 0.5, np.float32)
    labels = np.arange(8)
    out = np.empty((8, 8), np.float32)
    calls = {
        name: lambda f=getattr(kernels, name): f(flat)
        for name in ("exp", "log", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus")
    }
    calls |= {
        "tanh": lambda: kernels.tanh(flat),
        "sigmoid": lambda: kernels.sigmoid(flat),
        "relu 2-D": lambda: kernels.relu(square),
        "relu_backward": lambda: kernels.relu_backward(flat, flat),
        "gelu_backward": lambda: kernels.gelu_backward(flat, flat),
        "softmax": lambda: kernels.softmax(square),
        "log_softmax": lambda: kernels.log_softmax(square),
        "softmax_backward": lambda: kernels.softmax_backward(square, square),
        "softmax_cross_entropy": lambda: kernels.softmax_cross_entropy(square, labels),
        "mse": lambda: kernels.mse(flat, flat),
        "count_correct": lambda: kernels.count_correct(square, labels),
        "add_bias": lambda: kernels.add_bias(square, row),
        "sum_batch": lambda: kernels.sum_batch(square),
        "sgd_update": lambda: kernels.sgd_update(flat, flat, 0.0),
        "matmul": lambda: kernels.matmul(square, square),
        "matmul out=": lambda: kernels.matmul(square, square, out=out),
        "dense": lambda: kernels.dense(square, square, row),
        "numpy matmul": lambda: np.matmul(square, square),
        "numpy tanh": lambda: np.tanh(flat),
    }
    worst = 0.0
    for name, call in calls.items():
        seconds = min(measure(call, 0.02, 9))
        print(f"{name:<24}{seconds * 1e6:6.2f} us")
        if not name.startswith("numpy"):
            worst = max(worst, seconds)
    print(f"slowest: {worst * 1e6:.2f} us (target {LIMIT * 1e6:.0f} us)")


if __name__ == "__main__":
    main()
