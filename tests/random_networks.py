"""Random networks, data and training settings, for tests that compare runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

import fastmlp as fm
from fastmlp.activations import ACTIVATIONS

__all__ = [
    "IMAGES", "MLPS", "NARROW", "OPTIMIZERS", "Case", "draw", "draw_images", "draw_mixed", "draw_narrow",
]  # fmt: skip

# Around the sizes of vectors, panels and tiles.
SIZES = (1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 100)
BATCHES = (1, 2, 5, 8, 13, 32, 50)
CLASSES = (2, 3, 10, 16, 17, 70)
NAMES = tuple(ACTIVATIONS)

# With eps far above rounding errors: a gradient of 0 and one of 1e-17 are to be the same.
OPTIMIZERS = {
    "sgd": lambda: fm.SGD(0.05),
    "decay": lambda: fm.SGD(0.05, weight_decay=0.01),
    "momentum": lambda: fm.SGD(0.02, momentum=0.9),
    "nesterov": lambda: fm.SGD(0.02, momentum=0.8, nesterov=True, weight_decay=0.001),
    "adagrad": lambda: fm.Adagrad(0.02, eps=1e-4),
    "rmsprop": lambda: fm.RMSprop(0.002, eps=1e-4),
    "adam": lambda: fm.Adam(0.005, eps=1e-4, weight_decay=0.001),
    "adamw": lambda: fm.AdamW(0.005, eps=1e-4),
    "clip_norm": lambda: fm.SGD(0.05, momentum=0.5, clip_norm=0.3),
    "clip_value": lambda: fm.SGD(fm.Warmup(3, 0.05), clip_value=0.01),
    "clipped adam": lambda: fm.Adam(fm.StepDecay(0.005, 2, 0.5), eps=1e-4, clip_norm=0.1),
}


@dataclass
class Case:
    """One network with its data; ``build`` makes the same model every time."""

    seed: int
    input_shape: tuple[int, ...]
    specification: list[tuple[str, dict[str, Any]]]
    x: np.ndarray
    y: np.ndarray
    loss: str | fm.Loss
    optimizer: str
    batch_size: int
    shuffle: bool
    scale: float = 1.0
    weights: np.ndarray | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    def build(self, dtype: str, backend: str) -> fm.Sequential:
        layers = [getattr(fm, kind)(**arguments) for kind, arguments in self.specification]
        rng = np.random.default_rng([78, self.seed])
        if self.seed % 3 == 0:
            for layer in layers:
                layer.trainable = bool(rng.random() < 0.7)
                layer.learning_rate_multiplier = float(rng.choice([0.5, 1, 2]))
                layer.l1, layer.l2 = rng.choice([0, 0, 0.001, 0.01], 2)
        model = fm.Sequential(layers, self.input_shape, dtype, self.seed, scale=self.scale)
        model.backend = backend
        model.compile(optimizer=OPTIMIZERS[self.optimizer](), loss=self.loss)
        return model

    def fit(self, model: fm.Sequential, epochs: int = 2) -> fm.History:
        options: Any = {"batch_size": self.batch_size, "shuffle": self.shuffle, "verbose": 0}
        validation: Any = (self.x[:7], self.y[:7])
        if self.weights is not None:
            validation = (*validation, self.weights[:7])
            options["sample_weight"] = self.weights
        return model.fit(self.x, self.y, epochs, validation_data=validation, **options)

    def __repr__(self) -> str:
        layers = ", ".join(
            kind + str(tuple(v for v in arguments.values() if not isinstance(v, fm.Layer)))
            for kind, arguments in self.specification
        )
        return (
            f"case {self.seed}: {self.input_shape} -> [{layers}], {self.loss}, {self.optimizer}, "
            f"{len(self.x)} x {self.x.dtype} in batches of {self.batch_size}, "
            f"shuffle={self.shuffle}, scale={self.scale}"
            + (", weights" if self.weights is not None else "")
        )


def draw(seed: int, *, largest: int = 100) -> Case:
    """Return the case of a seed; every activation, loss and optimizer has its turn."""
    rng = np.random.default_rng([77, seed])
    sizes = [size for size in SIZES if size <= largest]

    def one(values: Any) -> Any:
        return values[int(rng.integers(len(values)))]

    def chance(p: float) -> bool:
        return bool(rng.random() < p)

    turns = iter([NAMES[seed % len(NAMES)], NAMES[seed // len(NAMES) % len(NAMES)]])

    def activation() -> str:
        return next(turns, None) or one(NAMES)

    layers: list[tuple[str, dict[str, Any]]] = []

    def loose() -> None:  # no activation, one or two in a row
        while chance(0.3):
            layers.append(("Activation", {"activation": activation()}))

    shape = (one((1, 2, 3, 5)), one((1, 2, 7, 9))) if chance(0.3) else (one(sizes),)
    loose()
    flat = len(shape) == 1
    dense = not chance(0.1)
    if not flat and (dense or chance(0.5)):
        layers.append(("Flatten", {}))
        flat = True
        loose()
    outputs = int(np.prod(shape))
    if dense:
        for _ in range(int(rng.integers(4))):
            name = activation() if chance(0.8) else "linear"
            layers.append(
                ("Dense", {"units": one(sizes), "activation": name, "use_bias": chance(0.8)})
            )
            loose()
        outputs = one(CLASSES) if chance(0.7) else one(sizes)
        name = activation() if chance(0.2) else "linear"
        layers.append(("Dense", {"units": outputs, "activation": name, "use_bias": chance(0.8)}))
        if chance(0.2):
            loose()
    if not layers:
        layers.append(("Activation", {"activation": activation()}))
    n = int(rng.integers(20, 70))
    scale = 1.0
    if chance(0.2):
        x = rng.integers(0, 256, (n, *shape)).astype(np.uint8)
        scale = 1 / 255
    else:
        x = rng.standard_normal((n, *shape))
        scale = 0.5 if chance(0.2) else 1.0
    if outputs >= 2 and flat and chance(0.65):
        loss = "cross_entropy"
        y = rng.integers(0, outputs, n)
        if chance(0.3):
            y = np.eye(outputs)[y]
        elif chance(0.2):
            y = rng.dirichlet(np.ones(outputs), n)
    else:
        loss = "mse"
        y = rng.standard_normal((n, outputs) if flat else (n, *shape))
    # Drawn from a separate stream, so that networks do not depend on the settings.
    loss, y, weights = _settings(np.random.default_rng([79, seed]), loss, y)
    return Case(
        seed,
        shape,
        layers,
        x,
        y,
        loss,
        list(OPTIMIZERS)[seed % len(OPTIMIZERS)],
        one(BATCHES),
        chance(0.7),
        scale,
        weights,
    )


def draw_narrow(seed: int) -> Case:
    """Return a case of a network that has its samples in the lanes, mostly."""
    return draw(5000 + seed, largest=31)


def draw_images(seed: int) -> Case:
    """Return a case of a network for images: convolutions and pools of odd sizes, then a loss."""
    rng = np.random.default_rng([78, seed])

    def one(values: Any) -> Any:
        return values[int(rng.integers(len(values)))]

    shape = [int(rng.integers(5, 14)), int(rng.integers(5, 14)), one((1, 2, 3, 8, 17))]
    layers: list[tuple[str, dict[str, Any]]] = []
    input_shape = tuple(shape)

    def window(limit: int) -> tuple[int, int]:
        return int(rng.integers(1, min(limit, shape[0]) + 1)), one(
            range(1, min(limit, shape[1]) + 1)
        )

    def slide(size: tuple[int, int], strides: tuple[int, int], padding: str) -> None:
        for axis in (0, 1):
            free = shape[axis] - (size[axis] if padding == "valid" else 1)
            shape[axis] = free // strides[axis] + 1

    for number in range(int(rng.integers(1, 4))):
        if number or rng.random() < 0.8:
            size, strides = window(5), (one((1, 1, 2)), one((1, 1, 2, 3)))
            padding, filters = one(("valid", "same")), one((1, 3, 8, 10, 16, 17, 33))
            name = NAMES[seed % len(NAMES)] if number == 0 else one(NAMES)
            layers.append(
                (
                    "Conv2D",
                    {
                        "filters": filters,
                        "kernel_size": size,
                        "strides": strides,
                        "padding": padding,
                        "activation": name if rng.random() < 0.8 else "linear",
                        "use_bias": bool(rng.random() < 0.8),
                    },
                )
            )
            slide(size, strides, padding)
            shape[2] = filters
        if rng.random() < 0.7:
            kind, size = one(("MaxPool2D", "MaxPool2D", "AvgPool2D")), window(3)
            strides = size if rng.random() < 0.5 else (one((1, 2)), one((1, 2)))
            layers.append((kind, {"pool_size": size, "strides": strides}))
            slide(size, strides, "valid")
        if rng.random() < 0.2:
            layers.append(("Activation", {"activation": one(NAMES)}))
    layers.append((one(("Flatten", "Flatten", "GlobalAvgPool2D")), {}))
    if rng.random() < 0.3:
        layers.append(("Dense", {"units": 20, "activation": one(NAMES)}))
    classes = one((2, 3, 10))
    layers.append(("Dense", {"units": classes}))
    n, scale = int(rng.integers(20, 45)), 1.0
    x = rng.standard_normal((n, *input_shape))
    if rng.random() < 0.2:
        x, scale = rng.integers(0, 256, (n, *input_shape)).astype(np.uint8), 1 / 255
    return Case(
        seed,
        input_shape,
        layers,
        x,
        rng.integers(0, classes, n),
        "cross_entropy",
        list(OPTIMIZERS)[seed % len(OPTIMIZERS)],
        one((1, 2, 5, 8, 13, 32)),
        bool(rng.random() < 0.7),
        scale,
    )


def draw_mixed(seed: int) -> Case:
    """Return a case of one of the others with random and normalising layers, or an embedding."""
    rng = np.random.default_rng([80, seed])
    case = draw_images(seed) if seed % 3 == 0 else draw(seed)
    between: list[tuple[str, dict[str, Any]]] = [
        ("Dropout", {"rate": 0.3}),
        ("GaussianNoise", {"stddev": 0.1}),
        ("BatchNorm", {"momentum": 0.6, "epsilon": 0.01}),
        ("BatchNorm", {"epsilon": 0.1}),
        ("LayerNorm", {"epsilon": 0.1}),
    ]
    layers: list[tuple[str, dict[str, Any]]] = []
    if len(case.input_shape) == 1 and rng.random() < 0.5:
        length, vocabulary = int(rng.integers(1, 5)), int(rng.integers(1, 40))
        combine = ("sum", "concat", None)[int(rng.integers(3))]
        dim = case.input_shape[0]
        layers.append(("Embedding", {"vocabulary": vocabulary, "dim": dim, "combine": combine}))
        case.input_shape, case.scale = (length,), 1.0
        case.x = rng.integers(0, vocabulary, (len(case.x), length))
        if combine is None:
            layers.append(("Flatten", {}))
        if not any(kind == "Dense" for kind, _ in case.specification):
            # The targets have the size of the inputs.
            layers.append(("Dense", {"units": dim}))
    for entry in case.specification:
        while rng.random() < 0.35:
            layers.append(between[int(rng.integers(len(between)))])
        layers.append(entry)
    while rng.random() < 0.2:
        layers.append(between[int(rng.integers(len(between)))])
    case.specification = layers
    if any(kind == "BatchNorm" for kind, _ in layers):
        case.batch_size = max(case.batch_size, 5)
        while len(case.x) % case.batch_size in (1, 2):
            case.batch_size += 1
    return case


def _settings(rng: np.random.Generator, loss: str, y: np.ndarray) -> Any:
    """Return another loss for the same kind of targets, or the same one; the targets; weights."""
    chosen: str | fm.Loss = loss
    if rng.random() < 0.5:
        if loss == "mse":
            name = ("mae", "huber", "binary_cross_entropy", "mse")[int(rng.integers(4))]
            chosen = fm.Huber(0.7) if name == "huber" else name
            y = 1 / (1 + np.exp(-3 * y)) if name == "binary_cross_entropy" else y
        elif y.ndim == 1 and rng.random() < 0.3:
            chosen = fm.Hinge(0.8)
        else:
            classes = {int(rng.integers(2)): float(rng.random()) + 0.1}
            chosen = fm.CrossEntropy(
                0.15 * int(rng.integers(2)), classes if rng.random() < 0.5 else None
            )
    weights = rng.random(len(y)) + 0.05 if rng.random() < 0.3 else None
    return chosen, y, weights


# (function that draws, first seed): the networks of a test, in parts of 24.
MLPS = [(draw, 24 * part) for part in range(10)]
NARROW = [(draw_narrow, 24 * part) for part in range(4)]
IMAGES = [(draw_images, 24 * part) for part in range(5)]
