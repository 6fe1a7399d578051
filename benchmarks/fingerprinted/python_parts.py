"""User-defined layers, losses and optimizers in Python."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastmlp as fm
from fastmlp.optimizers import Optimizer
from fastmlp.parameter import Parameter
from fingerprinted.data import numbers, pictures, points
from fingerprinted.recording import Array, Layers, network
from fingerprinted.settings import SHAPES, narrow, wide


class Square(fm.Layer):
    """y = x**2."""

    def workspace(self, n: int, dtype: Any) -> Any:
        return {}

    def forward(self, ops: Any, x: Array, workspace: Any) -> Array:
        workspace["x"] = x.copy()
        return x * x

    def backward(self, ops: Any, dy: Array, workspace: Any, sink: Any, need_dx: bool) -> Array:
        return 2 * workspace["x"] * dy


class Mix(fm.Layer):
    """A product with a matrix and a sum with a bias, by the operations of the backend."""

    def build(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        size = input_shape[-1]
        self.weight = Parameter("weight", (size, size), lambda s, *_: np.eye(*s) + 0.1, size, size)
        self.shift = Parameter("shift", (size,), lambda s, *_: np.full(s, 0.1), size, size)
        self.parameters = [self.weight, self.shift]
        return input_shape

    def workspace(self, n: int, dtype: Any) -> Any:
        return {}

    def forward(self, ops: Any, x: Array, workspace: Any) -> Array:
        workspace["x"] = x.copy()
        return ops.add_bias(ops.matmul(x, self.weight.value), self.shift.value)

    def backward(self, ops: Any, dy: Array, workspace: Any, sink: Any, need_dx: bool) -> Array:
        dx = ops.matmul(dy, self.weight.value, transpose_b=True)
        sink.product(self.weight, workspace["x"], dy)
        sink.row_sum(self.shift, dy)
        return dx


class Gain(fm.Layer):
    """A factor for each feature; its gradient is an array. In training some features are 0."""

    def build(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        self.gain = Parameter("gain", input_shape, lambda s, *_: np.full(s, 0.9), 1, 1)
        self.parameters = [self.gain]
        return input_shape

    def workspace(self, n: int, dtype: Any) -> Any:
        return {"training": None}

    def training_workspace(self, n: int, dtype: Any, training: Any) -> Any:
        return {"training": training}

    def forward(self, ops: Any, x: Array, workspace: Any) -> Array:
        workspace["x"] = x = x.copy()
        if workspace["training"] is not None:
            x[:, workspace["training"].step % 5] = 0
        return x * self.gain.value

    def backward(self, ops: Any, dy: Array, workspace: Any, sink: Any, need_dx: bool) -> Array:
        dx = dy * self.gain.value
        if workspace["training"] is not None:
            dx[:, workspace["training"].step % 5] = 0
        sink.array(self.gain, (dy * workspace["x"]).sum(axis=0))
        return dx


class Quantile(fm.Loss):
    """The loss whose minimum is a quantile of the targets."""

    def __init__(self, q: float = 0.9) -> None:
        super().__init__(q=q)
        self.q = q

    def targets(self, y: Any, n: int, output_shape: Any, dtype: Any, name: str = "y") -> Array:
        return np.asarray(y, dtype).reshape(n, *output_shape)

    def __call__(
        self, ops: Any, output: Array, targets: Array, out: Array, weights: Array | None = None
    ) -> tuple[float, Array]:
        error = targets - output
        each = (np.ones(len(error)) if weights is None else weights) / error[0].size
        share = (each / max(weights.sum() if weights is not None else len(error), 1e-9))[:, None]
        np.copyto(out, np.where(error > 0, -self.q, 1 - self.q) * share)
        return float((np.maximum(self.q * error, (self.q - 1) * error) * share).sum()), out


class Margin(fm.Loss):
    """A squared hinge loss: the margin of the true class over the others is at least 1."""

    classifies = True

    def targets(self, y: Any, n: int, output_shape: Any, dtype: Any, name: str = "y") -> Array:
        return np.asarray(y)

    def __call__(
        self, ops: Any, output: Array, targets: Array, out: Array
    ) -> tuple[float, Array]:  # without weights
        rows = np.arange(len(output))
        margins = np.maximum(output - output[rows, targets][:, None] + 1, 0)
        margins[rows, targets] = 0
        gradient = 2 * margins / len(output)
        gradient[rows, targets] = -gradient.sum(axis=1)
        return float((margins**2).sum() / len(output)), gradient


class Lion(Optimizer):
    """Steps along soft signs of a running mean of the gradients."""

    slots = ("mean",)

    def __init__(self, learning_rate: Any = 0.01, **limits: Any) -> None:
        super().__init__(learning_rate, **limits)

    def update(
        self,
        ops: Any,
        value: Array,
        gradient: Array,
        state: dict[str, Array],
        step: int,
        learning_rate: float,
    ) -> None:
        mean = state["mean"]
        mean *= 0.9
        mean += 0.1 * gradient
        corrected = mean / (1 - 0.9**step)
        value -= learning_rate * corrected / (np.abs(corrected) + 0.1)


def register() -> None:
    """Register networks with such parts."""
    places: dict[str, Layers] = {
        "first": lambda: [Gain(), *wide()],
        "middle": lambda: [fm.Dense(36, "gelu"), Mix(), fm.Activation("relu"), fm.Dense(3)],
        "last": lambda: [fm.Dense(7, "elu"), Square(), fm.Dense(3, use_bias=False), Mix()],
        "regularized": lambda: [
            fm.Dense(9, "tanh", l2=0.01),
            Mix(l1=0.01, learning_rate_multiplier=0.5),
            Gain(trainable=False),
            fm.Dense(3),
        ],
        "among others": lambda: [
            fm.Dense(24),
            fm.BatchNorm(),
            Square(),
            fm.Dropout(0.2),
            Mix(),
            fm.Dense(3),
        ],
    }
    for backend in ("kernels", "numpy"):
        for dtype in ("float32", "float64"):
            made = {"backend": backend, "dtype": dtype}
            end = f"{backend} {dtype}"
            for index, (name, layers) in enumerate(places.items()):
                optimizer = (fm.SGD, Lion, fm.Adam, Lion, fm.SGD)[index]
                network(f"python layer {name} {end}", layers, points(9), optimizer,
                        make_settings=made)  # fmt: skip
            for kind, (layers, features, _) in SHAPES.items():
                network(
                    f"python loss {kind} {end}",
                    lambda layers=layers: layers(2),
                    numbers(features),
                    fm.Adam,
                    Quantile(0.8),
                    make_settings=made,
                )
                network(
                    f"python loss of classes {kind} {end}",
                    layers,
                    points(features),
                    Lion if kind == "narrow" else fm.SGD,
                    Margin(),
                    make_settings=made,
                )
                network(
                    f"python optimizer {kind} {end}",
                    layers,
                    points(features),
                    lambda: Lion(fm.CosineDecay(0.05, 12), clip_norm=0.5, weight_decay=0.1),
                    make_settings=made,
                )
    network(
        "python loss weighted",
        lambda: narrow(2),
        numbers(9),
        loss=Quantile(0.3),
        sample_weight=np.linspace(0, 1, 120),
    )
    network(
        "python parts on images",
        lambda: [fm.Conv2D(6, 3, activation="relu"), Square(), fm.MaxPool2D(2), fm.Flatten(),
                 fm.Dense(3)],
        pictures(8, 8, 2),
        Lion,
        make_settings={"scale": 1 / 255},
        threads=2,
    )  # fmt: skip
