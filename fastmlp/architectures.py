"""Common networks in one call: MLP for vectors, CNN for images."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy.typing as npt

from fastmlp import _checks
from fastmlp._types import Pair, Shape
from fastmlp.layers import Conv2D, Dense, Flatten, Layer, MaxPool2D
from fastmlp.model import Sequential
from fastmlp.parameter import Initializer

__all__ = ["CNN", "MLP"]


def MLP(
    in_features: int,
    hidden: Iterable[int],
    out_features: int,
    activation: str = "relu",
    init: str | Initializer = "glorot_uniform",
    dtype: npt.DTypeLike = "float32",
    seed: int = 0,
    scale: float = 1.0,
) -> Sequential:
    """Return a multilayer perceptron: dense layers, of which the last is linear.

    Parameters
    ----------
    in_features : int
        Number of inputs.
    hidden : list of int
        Number of units of each hidden layer; may be empty.
    out_features : int
        Number of outputs.
    activation : str, default="relu"
        Activation of the hidden layers.
    init : str or initializer, default="glorot_uniform"
        Initial weights. Biases start at zero.
    dtype, seed, scale
        As for Sequential.

    Returns
    -------
    model : Sequential

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described above.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.MLP(784, [512, 256], 10).num_parameters
    535818
    """
    if isinstance(hidden, (str, bytes)) or not isinstance(hidden, Iterable):
        raise TypeError(f"hidden must be a list of integers, got {hidden!r}.")
    layers = [Dense(units, activation=activation) for units in hidden]
    layers.append(Dense(out_features))
    features = _checks.integer(in_features, "in_features", minimum=1)
    return Sequential(
        layers, input_shape=(features,), dtype=dtype, seed=seed, scale=scale, init=init
    )


def CNN(
    input_shape: Shape,
    filters: Iterable[int] = (32, 64),
    kernel_size: Pair | list[Pair] = 3,
    pool: Pair | list[Pair | None] | None = 2,
    hidden: Iterable[int] = (128,),
    classes: int = 10,
    padding: str = "valid",
    activation: str = "relu",
    init: str | Initializer = "glorot_uniform",
    dtype: npt.DTypeLike = "float32",
    seed: int = 0,
    scale: float = 1.0,
) -> Sequential:
    """Return a CNN: convolutions with max-pooling, then dense layers, of which the last is linear.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of one image, (height, width, channels), or (height, width) for one channel.
    filters : list of int, default=(32, 64)
        Number of filters of each convolution; at least one convolution.
    kernel_size : int, (int, int) or list of these, default=3
        Height and width of the filters. A list (not a tuple) has one entry per convolution.
    pool : int, (int, int), None or list of these, default=2
        Window of the max-pooling after each convolution. None or 1 means no pooling. A list has one
        entry per convolution.
    hidden : list of int, default=(128,)
        Number of units of each dense hidden layer; may be empty.
    classes : int, default=10
        Number of outputs.
    padding : {"valid", "same"}, default="valid"
        Padding of the convolutions; see Conv2D.
    activation : str, default="relu"
        Activation of the convolutions and the hidden layers.
    init : str or initializer, default="glorot_uniform"
        Initial weights. Biases start at zero.
    dtype, seed, scale
        As for Sequential.

    Returns
    -------
    model : Sequential

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described above, or the image is too small for a filter or a
        window.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.CNN((28, 28), [32, 64], hidden=[128]).num_parameters
    225034
    >>> fm.CNN((32, 32, 3), [16, 32, 32], kernel_size=[5, 3, 3], pool=[2, None, 2]).input_shape
    (32, 32, 3)
    """
    numbers, units = _integers(filters, "filters"), _integers(hidden, "hidden")
    if not numbers:
        raise ValueError("filters must contain at least one integer, got none.")
    kernels = _each(kernel_size, len(numbers), "kernel_size")
    pools = _each(pool, len(numbers), "pool")
    shape = _checks.shape(input_shape, "input_shape")
    if len(shape) not in (2, 3):
        raise ValueError(
            "input_shape must be (height, width, channels) or (height, width), "
            f"got {input_shape!r}."
        )
    layers: list[Layer] = []
    for number, kernel, window in zip(numbers, kernels, pools, strict=True):
        layers.append(Conv2D(number, kernel, padding=padding, activation=activation))
        if window is not None and _checks.sizes(window, "pool") != (1, 1):
            layers.append(MaxPool2D(window))
    layers.append(Flatten())
    layers += [Dense(n, activation=activation) for n in units]
    layers.append(Dense(_checks.integer(classes, "classes", minimum=1)))
    return Sequential(layers, input_shape=shape, dtype=dtype, seed=seed, scale=scale, init=init)


def _integers(values: Any, name: str) -> list[int]:
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list of integers, got {values!r}.")
    return [_checks.integer(value, name, minimum=1) for value in values]


def _each(value: Any, count: int, name: str) -> list[Any]:
    """Return one value per convolution: the list itself, or ``count`` copies of one value."""
    if not isinstance(value, list):
        return [value] * count
    if len(value) != count:
        raise ValueError(
            f"{name} must be one value or a list of {count} values, one per convolution, got a "
            f"list of {len(value)}."
        )
    return value
