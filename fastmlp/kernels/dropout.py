"""Dropout and Gaussian noise: compiled, with checks."""

from __future__ import annotations

import math

from fastmlp import _checks, _random
from fastmlp._arrays import FLOAT32, empty, operand, output
from fastmlp._compiled import layers
from fastmlp._types import Array

__all__ = ["dropout", "dropout_backward", "gaussian_noise"]

# The compiled functions by dtype; choosing here is faster than Cython's dispatch on fused types.
_DROPOUT = (layers.dropout["float"], layers.dropout["double"])
_NOISE = (layers.gaussian_noise["float"], layers.gaussian_noise["double"])


def dropout(
    x: Array, rate: float, *, seed: int, layer: int, step: int, out: Array | None = None
) -> Array:
    """Return x with some elements set to 0 and the others multiplied by ``1 / (1 - rate)``.

    Parameters
    ----------
    x : array of shape (N, ...)
    rate : float
        Probability that an element is set to 0, at least 0 and below 1.
    seed, layer, step : int
        Together with the position of an element they decide whether it is dropped; at least 0.
    out : array with the shape of x, optional
        Receives the result; may be x.

    Returns
    -------
    out : array with the shape of x

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described above.
    """
    return _drop(operand(x, "x"), "x", rate, seed, layer, step, out)


def dropout_backward(
    dy: Array, rate: float, *, seed: int, layer: int, step: int, out: Array | None = None
) -> Array:
    """Return the gradient with respect to the input: dy, dropped and scaled as the input was."""
    return _drop(operand(dy, "dy"), "dy", rate, seed, layer, step, out)


def gaussian_noise(
    x: Array, stddev: float, *, seed: int, layer: int, step: int, out: Array | None = None
) -> Array:
    """Return x plus normally distributed noise with mean 0; the same bits as the reference.

    Parameters
    ----------
    x : array of shape (N, ...)
    stddev : float
        Standard deviation of the noise, at least 0 and finite.
    seed, layer, step : int
        Together with the position of an element they decide what is added to it; at least 0.
    out : array with the shape of x, optional
        Receives the result; may be x.

    Returns
    -------
    out : array with the shape of x

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described above.
    """
    x = operand(x, "x")
    stddev = _checks.number(stddev, "stddev", minimum=0.0)
    key, step = _counters(seed, layer, step)
    rows = _rows(x, "x")
    out = empty(x.shape, x.dtype) if out is None else output(out, x.shape, x.dtype)
    _NOISE[x.dtype is not FLOAT32](x.reshape(rows), out.reshape(rows), key, step, stddev)
    return out


def _drop(
    x: Array, name: str, rate: float, seed: int, layer: int, step: int, out: Array | None
) -> Array:
    rate = _checks.number(rate, "rate", minimum=0.0, below=1.0)
    key, step = _counters(seed, layer, step)
    rows = _rows(x, name)
    out = empty(x.shape, x.dtype) if out is None else output(out, x.shape, x.dtype)
    threshold = _random.drop_threshold(rate)
    function = _DROPOUT[x.dtype is not FLOAT32]
    function(x.reshape(rows), out.reshape(rows), key, step, threshold, 1 / (1 - rate))
    return out


def _counters(seed: int, layer: int, step: int) -> tuple[int, int]:
    """Return the random key of a layer, and the step, checked."""
    seed = _checks.integer(seed, "seed", minimum=0)
    layer = _checks.integer(layer, "layer", minimum=0)
    return _random.stream_key(seed, layer), _checks.integer(step, "step", minimum=0)


def _rows(x: Array, name: str) -> tuple[int, int]:
    """Return the shape of x as a matrix with one row for each index of the first axis."""
    if x.ndim == 0:
        raise ValueError(f"{name} must have at least one dimension, got shape ().")
    return x.shape[0], math.prod(x.shape[1:])
