"""Networks from settings: convolutions and pooling in order, then hidden layers, then outputs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from fastmlp import _checks, losses
from fastmlp import layers as kinds
from fastmlp import model as models
from fastmlp._types import Array, Shape
from fastmlp.cli.data import Part
from fastmlp.cli.settings import Setting

__all__ = ["LAYERS", "SETTINGS", "initializer", "make", "outputs", "scale_of"]

LAYERS = ("conv", "pool", "avg-pool", "global-pool")
"""Names of layers before the hidden layers: options, and the first words of entries in a file."""

SETTINGS = (
    Setting("layers", "model", "layers", default=[]),
    Setting("hidden", "model", "integers", default=[512, 256]),
    Setting("padding", "model", default="valid", choices=("valid", "same")),
    Setting("activation", "model", default="relu"),
    Setting("init", "model"),
    Setting("standardize", "model", "switch", default=False),
    Setting("batch_norm", "model", "switch", default=False),
    Setting("dropout", "model", "number", default=0.0),
    Setting("l2", "model", "number", default=0.0),
    Setting("dtype", "model", default="float32", choices=("float32", "float64")),
    Setting("seed", "model", "integer", default=0),
    Setting("backend", "model", default="kernels", choices=("kernels", "numpy")),
)
"""The settings of a network."""

_MOST_CLASSES = 2**16

_FORM = re.compile(r"(?P<n>\d+)x(?P<k>\d+)(?:/(?P<s>\d+))?")
_POOL = re.compile(r"(?P<k>\d+)(?:/(?P<s>\d+))?")


def make(chosen: Mapping[str, Any], sample_shape: Shape, n_outputs: int, scale: float = 1.0) -> Any:
    """Return the Sequential that the settings describe.

    Parameters
    ----------
    chosen : dict
        A value for each of ``SETTINGS``; if ``init`` is None, it depends on the activation.
    sample_shape : tuple of int
        Shape of a sample; (H, W) or (H, W, C) if the network has layers for images.
    n_outputs : int
        Number of outputs.
    scale : float, default=1.0
        Factor that multiplies the samples.

    Raises
    ------
    ValueError, TypeError
        If a setting is invalid for a layer, or an image is too small.
    """
    activation, l2 = chosen["activation"], chosen["l2"]
    dropout = _checks.number(chosen["dropout"], "--dropout", minimum=0.0, below=1.0)
    init = initializer(activation) if chosen["init"] is None else chosen["init"]
    front = [_parse(text) for text in chosen["layers"]]
    if front and len(sample_shape) not in (2, 3):
        raise ValueError(
            "--conv and pooling are for images (H, W) or (H, W, C), but the samples have shape "
            f"{sample_shape}."
        )
    layers: list[kinds.Layer] = [kinds.Standardize()] if chosen.get("standardize") else []

    def add_linear(kind: Any, *arguments: Any, **options: Any) -> None:
        if chosen["batch_norm"]:
            layers.append(kind(*arguments, init=init, l2=l2, **options))
            layers.extend([kinds.BatchNorm(), kinds.Activation(activation)])
        else:
            layers.append(kind(*arguments, activation=activation, init=init, l2=l2, **options))

    for name, number, size, step in front:
        if name == "conv":
            strides = 1 if step is None else step
            add_linear(kinds.Conv2D, number, size, strides=strides, padding=chosen["padding"])
        elif name == "global-pool":
            layers.append(kinds.GlobalAvgPool2D())
        else:
            pool: Any = kinds.MaxPool2D if name == "pool" else kinds.AvgPool2D
            layers.append(pool(size, strides=step))
    if front and front[-1][0] != "global-pool":
        layers.append(kinds.Flatten())
    for units in chosen["hidden"]:
        add_linear(kinds.Dense, _checks.integer(units, "--hidden", minimum=1))
        if dropout:
            layers.append(kinds.Dropout(dropout))
    layers.append(kinds.Dense(n_outputs, init=init, l2=l2))
    shape = sample_shape if front else (math.prod(sample_shape),)
    model = models.Sequential(layers, shape, chosen["dtype"], chosen["seed"], scale=scale)
    model.backend = chosen["backend"]
    return model


def initializer(activation: str) -> str:
    """Return the name of the initializer that suits an activation."""
    return "he_normal" if activation == "relu" else "glorot_uniform"


def _parse(text: str) -> tuple[str, int, int, int | None]:
    """Return name, filters, size and strides of a layer; 0 and None where a value is absent."""
    name, _, rest = text.strip().partition(" ")
    rest = rest.strip()
    if name not in LAYERS:
        raise ValueError(f"a layer must be one of {', '.join(LAYERS)}, got {text!r}.")
    if name == "global-pool":
        if rest:
            raise ValueError(f"global-pool takes no number, got {text!r}.")
        return name, 0, 0, None
    found = (_FORM if name == "conv" else _POOL).fullmatch(rest)
    if found is None:
        what = (
            "FILTERSxSIZE or FILTERSxSIZE/STRIDES, such as 32x5 or 32x5/2"
            if name == "conv"
            else "SIZE or SIZE/STRIDES, such as 2 or 3/2"
        )
        raise ValueError(f"--{name} must be {what}, got {rest!r}.")
    step = None if found["s"] is None else int(found["s"])
    return name, int(found["n"]) if name == "conv" else 0, int(found["k"]), step


def scale_of(x: Array) -> float:
    """Return the factor for samples: 1/255 for bytes, so that they range from 0 to 1, else 1."""
    return 1 / 255 if x.dtype == np.uint8 else 1.0


def outputs(loss: losses.Loss, *some: Part | None) -> int:
    """Return the number of outputs that the labels or targets of all parts need.

    Raises
    ------
    ValueError
        If the labels or targets do not suit the loss.
    """
    count = 0
    for part in some:
        if part is None or part.y is None or not part.y.size:
            continue
        y = part.y
        if y.ndim == 2:
            count = max(count, y.shape[1])
        elif y.ndim != 1:
            raise ValueError(f"y must have shape (N,) or (N, outputs), got {y.shape}.")
        elif not loss.classifies or isinstance(loss, losses.BinaryCrossEntropy):
            count = max(count, 1)
        elif y.dtype.kind in "iu" or (y.dtype.kind == "f" and bool(np.all(y == np.trunc(y)))):
            count = max(count, int(y.max()) + 1)
        else:
            raise ValueError(
                "y must hold labels (whole numbers) or one-hot rows, got numbers such as "
                f"{next(v for v in y.tolist() if v != int(v)):g}. For regression use --loss mse."
                if y.dtype.kind == "f" and bool(np.isfinite(y).all())
                else f"y must hold labels (whole numbers), got shape {y.shape} of {y.dtype}."
            )
    if count > _MOST_CLASSES:
        raise ValueError(f"y must hold labels from 0 to {_MOST_CLASSES - 1}, got {count - 1}.")
    one = not loss.classifies or isinstance(loss, losses.BinaryCrossEntropy)
    if count < (1 if one else 2):
        raise ValueError(f"y must have at least two classes, got {count}.")
    return count
