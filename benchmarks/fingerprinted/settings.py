"""Activations, losses, optimizers and settings, on dense networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fastmlp as fm
from fingerprinted.data import grid, numbers, onehot, pictures, points, several, shaped
from fingerprinted.recording import Data, Layers, network

ACTIVATIONS = (
    *("linear", "relu", "leaky_relu", "elu", "gelu"),
    *("silu", "softplus", "tanh", "sigmoid", "softmax"),
)


def wide(outputs: int = 3) -> list[fm.Layer]:
    """Return layers that are not narrow: more than 32 units."""
    return [fm.Dense(40, activation="tanh"), fm.Dense(33, activation="relu"), fm.Dense(outputs)]


def narrow(outputs: int = 3) -> list[fm.Layer]:
    """Return layers of at most 32 units, for at most 32 features."""
    return [fm.Dense(17, activation="tanh"), fm.Dense(9, activation="relu"), fm.Dense(outputs)]


SHAPES = {"wide": (wide, 40, "float32"), "narrow": (narrow, 9, "float64")}


def activations() -> None:
    """Register every activation, in dense layers and alone, wide and narrow."""
    for name in ACTIVATIONS:
        for kind, units, features in (("wide", 41, 35), ("narrow", 11, 7)):
            for dtype in ("float32", "float64"):

                def layers(name: str = name, units: int = units) -> list[fm.Layer]:
                    own = fm.Activation(name) if name != "linear" else fm.Dense(8)
                    return [fm.Dense(units, activation=name), fm.Dense(units), own, fm.Dense(3)]

                network(
                    f"activation {name} {kind} {dtype}",
                    layers,
                    points(features),
                    make_settings={"dtype": dtype, "init": "he_normal"},
                )


LOSSES: dict[str, tuple[Any, Callable[[int], Data], int]] = {
    "labels": ("cross_entropy", points, 3),
    "one-hot": ("cross_entropy", lambda f: (points(f)[0], onehot(points(f)[1])), 3),
    "soft": (fm.CrossEntropy(), lambda f: (points(f)[0], 0.8 * onehot(points(f)[1]) + 1 / 15), 3),
    "label smoothing": (fm.CrossEntropy(label_smoothing=0.1), points, 3),
    "class weights": (fm.CrossEntropy(class_weight={0: 0.5, 2: 3.0}), points, 3),
    "both": (fm.CrossEntropy(0.2, class_weight=[1.0, 0.0, 2.0]), points, 3),
    "hinge": (fm.Hinge(0.8), points, 3),
    "binary": ("binary_cross_entropy", lambda f: several(f, 1), 1),
    "multi-label": (fm.BinaryCrossEntropy(), several, 5),
    "mse": ("mse", numbers, 2),
    "mae": (fm.MeanAbsoluteError(), numbers, 2),
    "huber": (fm.Huber(0.3), numbers, 2),
}


def losses() -> None:
    """Register every loss, wide and narrow, without and with weights of the samples."""
    for name, (loss, data, outputs) in LOSSES.items():
        for kind, (layers, features, dtype) in SHAPES.items():
            x, y = data(features)
            weights = np.random.default_rng(5).random(len(x)) * (np.arange(len(x)) % 7 > 0)
            for label, settings in (("", {}), (" weighted", {"sample_weight": weights})):
                if settings:
                    settings["validation_data"] = (x[:30], y[:30], weights[:30])
                network(
                    f"loss {name} {kind}{label}",
                    lambda layers=layers, outputs=outputs: layers(outputs),
                    (x, y),
                    loss=loss,
                    make_settings={"dtype": dtype},
                    **settings,
                )


OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "sgd": lambda: fm.SGD(0.05),
    "sgd decay": lambda: fm.SGD(0.05, weight_decay=0.01),
    "momentum": lambda: fm.SGD(0.02, momentum=0.9),
    "nesterov": lambda: fm.SGD(0.02, momentum=0.8, nesterov=True, weight_decay=0.001),
    "adagrad": lambda: fm.Adagrad(0.05, weight_decay=0.01),
    "rmsprop": lambda: fm.RMSprop(0.005, rho=0.9, weight_decay=0.01),
    "adam": lambda: fm.Adam(0.01, weight_decay=0.001),
    "adamw": lambda: fm.AdamW(0.01, weight_decay=0.1),
    "sgd clip_norm": lambda: fm.SGD(0.1, clip_norm=0.3),
    "sgd clip_value": lambda: fm.SGD(0.1, clip_value=0.01),
    "momentum clip_norm": lambda: fm.SGD(0.05, momentum=0.5, clip_norm=0.2),
    "adagrad clip_value": lambda: fm.Adagrad(0.05, clip_value=0.02),
    "rmsprop clip_norm": lambda: fm.RMSprop(0.005, clip_norm=0.2),
    "adam clip_norm": lambda: fm.Adam(0.01, clip_norm=0.1),
    "adamw clip_value": lambda: fm.AdamW(0.01, clip_value=0.01),
    "step decay": lambda: fm.SGD(fm.StepDecay(0.1, 3, 0.7)),
    "exponential decay": lambda: fm.Adam(fm.ExponentialDecay(0.02, 0.9, 2)),
    "cosine by epochs": lambda: fm.SGD(fm.CosineDecay(0.2, 3, 0.01, unit="epoch"), momentum=0.5),
    "warmup": lambda: fm.AdamW(fm.Warmup(5, fm.CosineDecay(0.02, 10, 0.001))),
    "plateau": lambda: fm.SGD(fm.ReduceOnPlateau(0.5, patience=1, min_delta=1.0, factor=0.5)),
    "function of the step": lambda: fm.RMSprop(lambda step: 0.01 / (1 + step)),
}


def optimizers() -> None:
    """Register every optimizer, schedule and limit, wide and narrow, plain and regularized."""
    for name, optimizer in OPTIMIZERS.items():
        for kind, (layers, features, dtype) in SHAPES.items():
            network(
                f"optimizer {name} {kind}",
                layers,
                points(features),
                optimizer,
                epochs=3,
                make_settings={"dtype": dtype},
            )

            def regularized(kind: str = kind) -> list[fm.Layer]:
                units = 40 if kind == "wide" else 17
                return [
                    fm.Dense(units, activation="elu", l1=0.001, l2=0.01),
                    fm.Dense(units, activation="silu", learning_rate_multiplier=0.3, l2=0.02),
                    fm.Dense(20, activation="softplus", trainable=False, l1=0.003),
                    fm.Dense(3, learning_rate_multiplier=2.0),
                ]

            other = "float32" if dtype == "float64" else "float64"
            network(
                f"optimizer {name} {kind} regularized",
                regularized,
                points(features),
                optimizer,
                make_settings={"dtype": other},
            )


def samples_and_settings() -> None:
    """Register settings of layers and of ``fit``, and types of samples."""
    network("no bias", lambda: [fm.Dense(40, "relu", use_bias=False), fm.Dense(3)], points(50))
    network("no bias, narrow", lambda: [fm.Dense(3, use_bias=False)], points(20))
    network("logistic", lambda: [fm.Dense(1)], several(5, 1), loss="binary_cross_entropy")
    network("linear regression", lambda: [fm.Dense(1)], numbers(70, 1), loss="mse", batch_size=7)
    network("first layer frozen", lambda: [fm.Dense(50, trainable=False), *wide()], points(40))
    network("last layer frozen", lambda: [*wide(), fm.Dense(3, trainable=False)], points(40))
    network("frozen, narrow", lambda: [fm.Dense(9, trainable=False), *narrow()], points(9))
    network("in order", wide, points(40), shuffle=False)
    network("in order, narrow", narrow, points(9), shuffle=False)
    network("one batch", wide, points(40), batch_size=120, epochs=5)
    network("one batch, narrow", narrow, points(9), batch_size=120, epochs=30)
    network("batches of one", wide, points(40, n=40), batch_size=1)
    network("batches of one, narrow", narrow, points(9, n=40), batch_size=1)
    network("many epochs", narrow, points(9), epochs=40, validation_data=None)
    scores = ["accuracy", "error", "top_2", "f1", "precision", "recall", "log_loss"]
    network("metrics", wide, points(40), metrics=scores)
    network("metrics, narrow", narrow, points(9), metrics=["f1_weighted", "f1_micro", "top_2"])
    network("metrics of numbers", lambda: wide(2), numbers(40), loss="mse", metrics=["r2", "mae"])
    own = [lambda y, outputs: float(np.abs(outputs).max())]
    network("metric in Python", wide, points(40), metrics=own)
    network("no metrics", wide, points(40), metrics=[])
    network("scale", wide, points(40), make_settings={"scale": 0.1})
    several_axes = lambda: [fm.Activation("gelu"), fm.Flatten(), *wide()]  # noqa: E731
    network("several axes", several_axes, shaped(4, 10))
    to_images = lambda: [fm.Conv2D(5, 3, padding="same", activation="tanh")]  # noqa: E731
    network("images from images", to_images, grid(), loss="mse")
    init = fm.initializers
    network(
        "initializers",
        lambda: [
            fm.Dense(40, "relu", init=init.Uniform(0.2), bias_init=init.Normal(std=0.1)),
            fm.Dense(30, "relu", init="lecun_normal", bias_init="zeros"),
            fm.Dense(20, "relu", init="he_uniform"),
            fm.Dense(10, "relu", init=lambda shape, fan_in, fan_out, seed, index: np.ones(shape)),
            fm.Dense(3, init=np.linspace(-1, 1, 30).reshape(10, 3)),
        ],
        points(40),
        make_settings={"init": "glorot_normal", "seed": 11},
    )
    (x, y), _ = fm.datasets.load_digits()
    digits = lambda: [fm.Flatten(), fm.Dense(32, "relu"), fm.Dense(10)]  # noqa: E731
    network("digits", digits, (x[:600], y[:600]), epochs=3, batch_size=32)
    for name in ("moons", "circles", "blobs", "spirals"):
        data = getattr(fm.datasets, f"make_{name}")(200, noise=0.1, seed=4)
        network(f"toy {name}", lambda: [fm.Dense(8, "tanh"), fm.Dense(2)], data, epochs=20)
    for layers, features in ((wide, 40), (narrow, 9)):
        x, y = points(features)
        order = "CF"[features == 40]
        for dtype in ("float16", "float64", ">f4", "int16", "uint8"):
            other = (np.abs(x) * 20).astype(dtype) if "int" in dtype else x.astype(dtype)
            given = np.asarray(other, order=order) if order == "F" else other[:, ::-1]
            scaled = {"scale": 1 / 50 if "int" in dtype else 1.0}
            name = f"samples {dtype} {layers.__name__}"
            network(name, layers, (given, y), make_settings=scaled)


def threads() -> None:
    """Register networks with enough work for several threads."""
    (x, y), _ = fm.datasets.load_digits()
    flat, y, images = x[:640].reshape(-1, 64), y[:640], x[:320, ..., None]
    kinds: dict[str, tuple[Layers, Data, str]] = {
        "dense": (
            lambda: [fm.Dense(256, "relu"), fm.Dense(200, "tanh"), fm.Dense(10)],
            (flat, y),
            "sgd",
        ),
        "adam": (
            lambda: [fm.Dense(256, "gelu", l2=0.001), fm.Dense(200, "elu"), fm.Dense(10)],
            (flat, y),
            "adam clip_norm",
        ),
        "layers": (
            lambda: [
                *(fm.Standardize(), fm.Dense(256), fm.BatchNorm(), fm.Activation("relu")),
                *(fm.Dropout(0.3), fm.Dense(200, "silu"), fm.LayerNorm(), fm.GaussianNoise(0.1)),
                fm.Dense(10),
            ],
            (flat, y),
            "momentum",
        ),
        "cnn": (
            lambda: [
                *(fm.Conv2D(16, 3, padding="same", activation="relu"), fm.MaxPool2D(2)),
                *(fm.Conv2D(24, 3, activation="relu"), fm.Flatten(), fm.Dense(64, "relu")),
                fm.Dense(10),
            ],
            (images, y[:320]),
            "sgd",
        ),
        "embedding": (
            lambda: [fm.Embedding(17, 24, "concat"), fm.Dense(128, "relu"), fm.Dense(10)],
            ((16 * flat).astype(np.int64), y),
            "adagrad",
        ),
    }
    for name, (layers, data, optimizer) in kinds.items():
        for count in (1, 2, 3):
            network(
                f"threads {count} {name}",
                layers,
                data,
                OPTIMIZERS[optimizer],
                batch_size=64,
                threads=count,
            )


def numpy_backend() -> None:
    """Register networks that run layer by layer on numpy."""
    made = {"backend": "numpy"}
    for kind, (layers, features, dtype) in SHAPES.items():
        for name in OPTIMIZERS:
            network(
                f"numpy {kind} {name}",
                layers,
                points(features),
                OPTIMIZERS[name],
                make_settings=made | {"dtype": dtype},
            )
    for name, (loss, data, outputs) in LOSSES.items():
        network(
            f"numpy loss {name}",
            lambda outputs=outputs: narrow(outputs),
            data(9),
            loss=loss,
            sample_weight=np.linspace(0.1, 2, 120),
            make_settings=made,
        )
    for name in ACTIVATIONS:
        network(
            f"numpy activation {name}",
            lambda name=name: [fm.Dense(9, activation=name), fm.Dense(3)],
            points(9),
            make_settings=made,
        )
    pools = lambda: [  # noqa: E731
        *(fm.Conv2D(6, 3, strides=2, padding="same", activation="gelu"), fm.AvgPool2D(2, 1)),
        *(fm.MaxPool2D((2, 1)), fm.Conv2D(5, 1), fm.GlobalAvgPool2D(), fm.Dense(3)),
    ]
    network("numpy pools", pools, pictures(9, 9, 2), make_settings=made | {"scale": 1 / 255})


def register() -> None:
    """Register all of them."""
    activations()
    losses()
    optimizers()
    samples_and_settings()
    threads()
    numpy_backend()
