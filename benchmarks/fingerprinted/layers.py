"""Networks for images, sparse samples and integers, and layers with special training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastmlp as fm
from fingerprinted.data import pictures, points, words
from fingerprinted.recording import Layers, Parts, network, parts, run
from fingerprinted.settings import OPTIMIZERS, narrow, wide


def zeros() -> None:
    """Register samples with many zeros, which products of the first layer skip."""
    dark, scaled = pictures(20, 20, 1, n=96), {"scale": 1 / 255}
    deep = lambda: [fm.Flatten(), fm.Dense(128, "relu"), fm.Dense(3)]  # noqa: E731
    sparse, y = points(300, n=96)
    sparse[np.random.default_rng(6).random(sparse.shape) < 0.95] = 0
    for threads in (1, 2):
        name = f"zeros {threads} threads"
        network(f"{name} bytes", deep, dark, make_settings=scaled, threads=threads, batch_size=32)
        network(f"{name} floats", deep, (sparse, y), threads=threads, batch_size=32)
    network("zeros adam float64", deep, (sparse, y), fm.Adam, make_settings={"dtype": "float64"})
    network("zeros clipped", deep, (sparse, y), lambda: fm.SGD(0.1, clip_norm=0.1))
    network("zeros decayed", deep, dark, lambda: fm.SGD(0.1, 0.9, True), make_settings=scaled)
    network("zeros in order", deep, (sparse, y), shuffle=False, batch_size=8)
    dropped = lambda: [fm.Flatten(), fm.Dense(200, "gelu"), fm.Dropout(0.5), fm.Dense(3)]  # noqa: E731
    network("zeros dropout", dropped, dark, make_settings=scaled)
    numpy_ = scaled | {"backend": "numpy"}
    network("zeros numpy", deep, dark, make_settings=numpy_)


def convolutions() -> None:
    """Register networks for images: windows, strides, paddings, pools and sizes."""
    window: list[tuple[str, Layers, tuple[int, int, int]]] = []

    def conv(name: str, shape: tuple[int, int, int], *layers: Callable[[], fm.Layer]) -> None:
        window.append((name, lambda: [each() for each in layers], shape))

    flat: tuple[Callable[[], fm.Layer], ...] = (fm.Flatten, lambda: fm.Dense(3))
    relu = {"activation": "relu"}
    conv("valid", (9, 8, 1), lambda: fm.Conv2D(5, 3, **relu), *flat)
    conv("same", (9, 8, 2), lambda: fm.Conv2D(8, (3, 2), padding="same", activation="tanh"), *flat)
    conv("strides", (10, 11, 3), lambda: fm.Conv2D(6, 3, strides=(2, 3), **relu), *flat)
    conv(
        "strides, same",
        (10, 11, 3),
        lambda: fm.Conv2D(17, 5, strides=2, padding="same", activation="gelu"),
        *flat,
    )
    conv("1 x 1", (6, 5, 9), lambda: fm.Conv2D(33, 1, activation="sigmoid"), *flat)
    conv("max pool", (12, 12, 1), lambda: fm.Conv2D(10, 3, **relu), fm.MaxPool2D, *flat)
    conv(
        "pool that overlaps",
        (11, 12, 2),
        lambda: fm.Conv2D(16, 3, **relu),
        lambda: fm.MaxPool2D(3, strides=2),
        lambda: fm.Conv2D(12, 2, activation="elu"),
        *flat,
    )
    conv(
        "average pool",
        (12, 10, 1),
        lambda: fm.Conv2D(9, 3, activation="silu"),
        lambda: fm.AvgPool2D((2, 3), strides=(2, 1)),
        *flat,
    )
    conv(
        "global pool",
        (9, 9, 3),
        lambda: fm.Conv2D(20, 3, padding="same", **relu),
        lambda: fm.MaxPool2D((2, 1)),
        lambda: fm.Conv2D(18, 3, use_bias=False, activation="leaky_relu"),
        fm.GlobalAvgPool2D,
        lambda: fm.Dense(3),
    )
    conv("pool first", (8, 9, 3), fm.MaxPool2D, lambda: fm.Conv2D(7, 2), *flat)
    conv(
        "softplus and softmax",
        (8, 8, 3),
        lambda: fm.Conv2D(7, 3, activation="softplus"),
        lambda: fm.Activation("softmax"),
        lambda: fm.AvgPool2D(2),
        *flat,
    )
    conv(
        "normalized",
        (8, 8, 3),
        lambda: fm.Conv2D(8, 3, use_bias=False),
        fm.BatchNorm,
        lambda: fm.Activation("relu"),
        fm.MaxPool2D,
        lambda: fm.Dropout(0.25),
        lambda: fm.Conv2D(8, 2),
        fm.LayerNorm,
        *flat,
    )
    conv(
        "frozen",
        (8, 8, 3),
        lambda: fm.Conv2D(8, 3, trainable=False, **relu),
        lambda: fm.Conv2D(6, 3, l2=0.01, learning_rate_multiplier=0.5),
        *flat,
    )
    for index, (name, layers, shape) in enumerate(window):
        x, y = pictures(*shape)
        for dtype in ("float32", "float64"):
            # Bytes, and floats without zeros; SGD, whose gradients are not stored, and others.
            bytes_ = (index + (dtype == "float32")) % 2
            given = x if bytes_ else np.cos(x.astype(dtype) + np.arange(x[0].size).reshape(shape))
            kinds = ("sgd", "adam", "momentum", "adam clip_norm", "sgd clip_value")
            network(
                f"cnn {name} {dtype}",
                layers,
                (given, y),
                OPTIMIZERS[kinds[index % len(kinds)]],
                batch_size=(13, 16, 8)[index % 3],
                make_settings={"dtype": dtype, "scale": 1 / 255 if bytes_ else 1.0},
            )
    bordered = {"padding": "same", "activation": "relu"}

    @run("cnn of one channel, by fm.CNN")
    def _() -> Parts:
        (x, y), _ = fm.datasets.load_digits()
        model = fm.CNN((8, 8), [8, 12], 3, [2, None], [30], padding="same", seed=5)
        model.fit(x[:200], y[:200], epochs=2, optimizer=fm.Adam(), verbose=0)
        return parts(model, x[:200], y[:200])

    for backend in ("numpy", "kernels"):
        network(
            f"cnn {backend} weighted",
            lambda: [fm.Conv2D(6, 3, **bordered), fm.MaxPool2D(2), fm.Flatten(), fm.Dense(3)],
            pictures(8, 8, 2),
            fm.RMSprop,
            sample_weight=np.linspace(0, 2, 60),
            make_settings={"scale": 1 / 255, "backend": backend},
        )


def random_and_normalizing() -> None:
    """Register dropout, noise, normalization and standardization."""
    between: dict[str, Callable[[], fm.Layer]] = {
        "dropout": lambda: fm.Dropout(0.4),
        "noise": lambda: fm.GaussianNoise(0.2),
        "batch norm": lambda: fm.BatchNorm(momentum=0.8),
        "layer norm": fm.LayerNorm,
    }
    for name, layer in between.items():
        for dtype in ("float32", "float64"):
            network(
                f"{name} {dtype}",
                lambda layer=layer: [
                    *(fm.Dense(40), layer(), fm.Activation("relu"), fm.Dense(21, "gelu"), layer()),
                    fm.Dense(3),
                ],
                points(36),
                lambda: fm.SGD(0.05, momentum=0.5),
                make_settings={"dtype": dtype},
            )
        network(
            f"{name} first, few units",
            lambda layer=layer: [layer(), fm.Dense(9, "relu"), layer(), fm.Dense(3)],
            points(8),
            fm.Adam,
        )
        network(
            f"{name} numpy",
            lambda layer=layer: [fm.Dense(19, "tanh"), layer(), fm.Dense(3)],
            points(8),
            make_settings={"backend": "numpy"},
        )
    network(
        "batch norm frozen",
        lambda: [fm.Dense(40), fm.BatchNorm(trainable=False), fm.Dense(3)],
        points(36),
    )
    network("rate 0, narrow", lambda: [fm.Dropout(0), fm.GaussianNoise(0), *narrow()], points(9))
    dark = pictures(6, 6, 2)
    for axis in (-1, None, (-3, -2, -1)):
        network(
            f"standardize {axis}",
            lambda axis=axis: [fm.Standardize(axis), fm.Flatten(), *wide()],
            dark,
            make_settings={"scale": 1 / 255},
        )
    network("standardize in place", lambda: [fm.Standardize(), *wide()], points(40), shuffle=False)
    network("standardize, narrow", lambda: [fm.Standardize(), *narrow()], points(9))
    given = {"mean": np.linspace(0, 1, 9), "std": np.linspace(1, 2, 9)}
    network("standardize, given", lambda: [fm.Standardize(-1, **given), *narrow()], points(9))


def embeddings() -> None:
    """Register embeddings, whose updates depend on the optimizer."""
    for combine in ("sum", "concat", None):
        for name in ("sgd", "adagrad", "adam", "momentum", "adam clip_norm", "sgd decay"):

            def layers(combine: Any = combine) -> list[fm.Layer]:
                shaped = [fm.Flatten()] if combine is None else []
                embedding = fm.Embedding(50, 12, combine, l2=0.001)
                return [embedding, *shaped, fm.Dense(40, "tanh"), fm.Dense(3)]

            dtype = "float64" if name == "adam" else "float32"
            made = {"dtype": dtype}
            network(f"embedding {combine} {name}", layers, words(4, 50), OPTIMIZERS[name],
                    make_settings=made)  # fmt: skip
    x, y = words(3, 40)
    frozen = lambda: [fm.Embedding(40, 9, "sum", trainable=False), fm.Dense(3)]  # noqa: E731
    network("embedding frozen", frozen, (x.astype(np.int32), y))
    small = lambda: [fm.Embedding(40, 9, "concat"), fm.Dropout(0.3), fm.Dense(3)]  # noqa: E731
    network("embedding of bytes", small, (x.astype(np.uint8), y), fm.RMSprop)
    network("embedding numpy", small, (x, y), fm.Adagrad, make_settings={"backend": "numpy"})


def register() -> None:
    """Register all of them."""
    zeros()
    convolutions()
    random_and_normalizing()
    embeddings()
