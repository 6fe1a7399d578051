"""Pure numpy in float32: every operation in place, every buffer allocated once.

numpy_images.py has the layers for images, which come before the dense layers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from turns import measure

from frameworks.numpy_images import Front
from frameworks.workloads import Skipped, Workload, time_epochs

Array = np.ndarray

LONGEST_STEP = 1.0  # seconds; a workload with longer steps is skipped


def version() -> str:
    return f"numpy {np.__version__}"


def _relu(z: Array, zeros: Array) -> None:
    np.maximum(z, zeros, out=z)  # four times as fast as with a scalar


def _tanh(z: Array, zeros: Array) -> None:
    np.tanh(z, out=z)


def _sigmoid(z: Array, zeros: Array) -> None:
    np.negative(z, out=z)
    np.exp(z, out=z)
    z += 1
    np.reciprocal(z, out=z)


# Turn dy into dz in place. The output y is not needed afterwards and may be overwritten.


def _relu_backward(dy: Array, y: Array, mask: Array) -> None:
    np.greater(y, 0, out=mask)
    np.multiply(dy, mask, out=dy)


def _tanh_backward(dy: Array, y: Array, mask: Array) -> None:
    np.multiply(y, y, out=y)
    np.subtract(1, y, out=y)
    dy *= y


def _sigmoid_backward(dy: Array, y: Array, mask: Array) -> None:
    dy *= y
    np.subtract(1, y, out=y)
    dy *= y


ACTIVATIONS: dict[str, tuple[Callable[..., None], Callable[..., None]]] = {
    "relu": (_relu, _relu_backward),
    "tanh": (_tanh, _tanh_backward),
    "sigmoid": (_sigmoid, _sigmoid_backward),
}


class Net:
    """A network with buffers for batches of one size."""

    def __init__(self, workload: Workload, rows: int) -> None:
        weights, both = workload.first_weights(), ACTIVATIONS[workload.activation]
        in_front = len(weights) - len(workload.layers)
        self.layers = weights[in_front:]
        self.activate, self.derive = both
        self.front = Front(workload, rows, weights[:in_front], both) if workload.image else None
        self.d_features = np.empty((rows, workload.sizes[0]), np.float32)
        widths = workload.sizes[1:]
        self.y = [np.empty((rows, width), np.float32) for width in widths]
        self.dy = [np.empty((rows, width), np.float32) for width in widths]
        self.zeros = [np.zeros_like(y) for y in self.y]
        self.masks = [np.empty(y.shape, bool) for y in self.y]
        self.ones = np.ones(rows, np.float32)
        self.d = [(np.empty_like(w), np.empty_like(b)) for w, b in self.layers]
        # Positions of the first logit of every row in the flattened logits.
        self.first = np.arange(rows) * widths[-1]
        self.labels = np.empty(rows, np.intp)
        self.picked = np.empty(rows, np.float32)
        self.row = np.empty((rows, 1), np.float32)

    def forward(self, x: Array) -> Array:
        if self.front:
            x = self.front.forward(x)
        self.features = x  # the input of the first dense layer
        last = len(self.layers) - 1
        for i, (w, b) in enumerate(self.layers):
            y = self.y[i]
            np.matmul(x, w, out=y)
            y += b
            if i < last:
                self.activate(y, self.zeros[i])
            x = y
        return x

    def step(self, x: Array, labels: Array, rate: float) -> float:
        """Update by plain SGD; return the mean loss before it."""
        z, row = self.forward(x), self.row
        np.maximum.reduce(z, axis=1, keepdims=True, out=row)
        z -= row
        np.add(self.first, labels, out=self.labels)
        flat = z.reshape(-1)
        np.take(flat, self.labels, out=self.picked, mode="clip")
        np.exp(z, out=z)
        np.add.reduce(z, axis=1, keepdims=True, out=row)
        n = len(x)
        # The rest is linear in the gradient, so the learning rate can be applied here.
        z *= np.divide(rate / n, row, out=self.dy[-1][:, :1])
        flat[self.labels] -= rate / n
        loss = (
            float(np.add.reduce(np.log(row, out=row), axis=None)) - float(self.picked.sum())
        ) / n

        dy = z
        for i in range(len(self.layers) - 1, -1, -1):
            (w, b), (dw, db) = self.layers[i], self.d[i]
            below = self.y[i - 1] if i else self.features
            np.matmul(below.T, dy, out=dw)
            np.matmul(self.ones, dy, out=db)
            if i or self.front:
                dy = np.matmul(dy, w.T, out=self.dy[i - 1] if i else self.d_features)
            w -= dw
            b -= db
            if i:
                self.derive(dy, below, self.masks[i - 1])
        if self.front:
            self.front.backward(dy)
        return loss


def train(workload: Workload, seconds: float) -> dict[str, Any]:
    if workload.optimizer != "sgd":
        raise Skipped("only SGD is written for it")
    x, y = workload.data()
    net = Net(workload, workload.batch)
    x_batch = np.empty((workload.batch, *workload.input_shape), np.float32)
    y_batch = np.empty(workload.batch, y.dtype)
    rate = workload.learning_rate
    if workload.image:
        for _ in range(2):  # with rate 0 the weights do not change
            began = time.perf_counter()
            net.step(x[: workload.batch], y[: workload.batch], 0.0)
            spent = time.perf_counter() - began
        if spent > LONGEST_STEP:
            raise Skipped(f"a step takes {spent:.1f} s")

    def epoch(order: Array | None) -> float:
        if order is None:
            return math.fsum(net.step(x, y, rate) for _ in range(workload.steps)) / workload.steps
        total = 0.0
        for rows in order:
            # mode="clip" writes straight to out.
            np.take(x, rows, axis=0, out=x_batch, mode="clip")
            np.take(y, rows, out=y_batch, mode="clip")
            total += net.step(x_batch, y_batch, rate)
        return total / len(order)

    return time_epochs(workload, epoch, seconds)


def predict(workload: Workload, seconds: float) -> dict[str, Any]:
    x, _ = workload.data()
    # In parts, so that the values between layers stay in cache.
    size = min(100 if workload.image else 512, workload.rows)
    net, rest = Net(workload, size), Net(workload, workload.rows % size or size)

    def call() -> Array:
        result = np.empty((len(x), workload.sizes[-1]), np.float32)
        for start in range(0, len(x), size):
            chunk = x[start : start + size]
            result[start : start + size] = (net if len(chunk) == size else rest).forward(chunk)
        return result

    return {"seconds": measure(call, seconds / 7), "check": call()[-1].tolist()}
