"""Dropout, noise, normalisation and embeddings, compiled; ``fastmlp.kernels`` has them as its own.

The twins of ``fastmlp.reference.normalization``: same names, arguments and meaning.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmlp import _checks, _random
from fastmlp._arrays import FLOAT32, FLOAT64, Array, empty, operand, output
from fastmlp._compiled import layers

__all__ = [
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "dropout",
    "dropout_backward",
    "embedding",
    "embedding_backward",
    "gaussian_noise",
    "layer_norm",
    "layer_norm_backward",
]

# The compiled functions, by dtype: choosing here is quicker than Cython's own dispatch.
_DROPOUT = (layers.dropout["float"], layers.dropout["double"])
_NOISE = (layers.gaussian_noise["float"], layers.gaussian_noise["double"])
_BATCH_MOMENTS = (layers.batch_moments["float"], layers.batch_moments["double"])
_BATCH_NORM = (layers.batch_norm["float"], layers.batch_norm["double"])
_BATCH_NORM_BACKWARD = (
    layers.batch_norm_backward["float"],
    layers.batch_norm_backward["double"],
)
_LAYER_NORM = (layers.layer_norm["float"], layers.layer_norm["double"])
_LAYER_NORM_BACKWARD = (
    layers.layer_norm_backward["float"],
    layers.layer_norm_backward["double"],
)
_EMBEDDING = (layers.embedding["float"], layers.embedding["double"])
_EMBEDDING_BACKWARD = (layers.embedding_backward["float"], layers.embedding_backward["double"])
_ROW_MOMENTS = (layers.row_moments["float"], layers.row_moments["double"])


# --- Random layers ------------------------------------------------------------------------------


def dropout(
    x: Array, rate: float, *, seed: int, layer: int, step: int, out: Array | None = None
) -> Array:
    """Return x with a share of its elements set to 0 and the others times ``1 / (1 - rate)``.

    Parameters
    ----------
    x : array of shape (N, ...)
    rate : float
        The probability of 0, at least 0 and below 1.
    seed, layer, step : int
        What decides, with an element's place, whether it is dropped; at least 0.
    out : array of the shape of x, optional
        Where the result goes; may be x.

    Returns
    -------
    out : array of the shape of x

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above.
    """
    return _drop(operand(x, "x"), "x", rate, seed, layer, step, out)


def dropout_backward(
    dy: Array, rate: float, *, seed: int, layer: int, step: int, out: Array | None = None
) -> Array:
    """Return the gradient by the input: dy with the same elements dropped and the same factor."""
    return _drop(operand(dy, "dy"), "dy", rate, seed, layer, step, out)


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


def gaussian_noise(
    x: Array, stddev: float, *, seed: int, layer: int, step: int, out: Array | None = None
) -> Array:
    """Return x plus normally distributed noise of mean 0; the same bits as the reference.

    Parameters
    ----------
    x : array of shape (N, ...)
    stddev : float
        The standard deviation, at least 0 and finite.
    seed, layer, step : int
        What decides, with an element's place, what is added; at least 0.
    out : array of the shape of x, optional
        Where the result goes; may be x.

    Returns
    -------
    out : array of the shape of x

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above.
    """
    x = operand(x, "x")
    stddev = _checks.number(stddev, "stddev", minimum=0.0)
    key, step = _counters(seed, layer, step)
    rows = _rows(x, "x")
    out = empty(x.shape, x.dtype) if out is None else output(out, x.shape, x.dtype)
    _NOISE[x.dtype is not FLOAT32](x.reshape(rows), out.reshape(rows), key, step, stddev)
    return out


def _counters(seed: int, layer: int, step: int) -> tuple[int, int]:
    """Return the key of a layer's stream, and the step."""
    seed = _checks.integer(seed, "seed", minimum=0)
    layer = _checks.integer(layer, "layer", minimum=0)
    return _random.stream_key(seed, layer), _checks.integer(step, "step", minimum=0)


def _rows(x: Array, name: str) -> tuple[int, int]:
    """Return the shape of x as rows, one for each index of its first axis."""
    if x.ndim == 0:
        raise ValueError(f"{name} must have at least one dimension, got shape ().")
    return x.shape[0], math.prod(x.shape[1:])


# --- Normalisation ------------------------------------------------------------------------------


def batch_norm(
    x: Array, gamma: Array, beta: Array, *, epsilon: float = 1e-5, out: Array | None = None
) -> tuple[Array, Array, Array]:
    """Return x normalised over all axes but the last, and the mean and the variance of that.

    Parameters
    ----------
    x : array of shape (..., F), at least one row
    gamma, beta : array of shape (F,)
        The output's standard deviation and mean.
    epsilon : float, default=1e-5
        Added to the variance, at least 0.
    out : array of the shape of x, optional
        Where the result goes; may be x.

    Returns
    -------
    y : array of shape (..., F)
    mean, variance : float64 array of shape (F,)
        The variance is that of the population: sums of squares over the number of rows.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above.
    """
    x, rows = _features(x, "x")
    epsilon = _checks.number(epsilon, "epsilon", minimum=0.0)
    if rows.shape[0] == 0:
        raise ValueError(f"x must hold at least one row, got shape {x.shape}.")
    weights = _vector(gamma, "gamma", x), _vector(beta, "beta", x)
    out = empty(x.shape, x.dtype) if out is None else output(out, x.shape, x.dtype)
    mean, variance = np.empty(x.shape[-1]), np.empty(x.shape[-1])
    _BATCH_MOMENTS[x.dtype is not FLOAT32](rows, mean, variance)
    _standardize(rows, weights, mean, variance, epsilon, out)
    return out, mean, variance


def batch_norm_inference(
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    out: Array | None = None,
) -> Array:
    """Return ``gamma * (x - mean) / sqrt(variance + epsilon) + beta``, (..., F) and (F,).

    ``mean`` and ``variance`` may be float64 or of the dtype of x. ``out`` may be ``x``.
    """
    x, rows = _features(x, "x")
    epsilon = _checks.number(epsilon, "epsilon", minimum=0.0)
    weights = _vector(gamma, "gamma", x), _vector(beta, "beta", x)
    mean, variance = _statistics(mean, "mean", x), _statistics(variance, "variance", x)
    out = empty(x.shape, x.dtype) if out is None else output(out, x.shape, x.dtype)
    _standardize(rows, weights, mean, variance, epsilon, out)
    return out


def batch_norm_backward(
    dy: Array,
    x: Array,
    gamma: Array,
    mean: Array,
    variance: Array,
    *,
    epsilon: float = 1e-5,
    out: Array | None = None,
) -> tuple[Array, Array, Array]:
    """Return the gradients by x, gamma and beta, given what ``batch_norm`` was and returned.

    (..., F), (F,) and (F,); ``out`` is the first, and may be ``dy`` or ``x``.
    """
    x, rows = _features(x, "x")
    epsilon = _checks.number(epsilon, "epsilon", minimum=0.0)
    dy = _like(dy, "dy", x)
    if rows.shape[0] == 0:
        raise ValueError(f"x must hold at least one row, got shape {x.shape}.")
    gamma = _vector(gamma, "gamma", x)
    mean, variance = _statistics(mean, "mean", x), _statistics(variance, "variance", x)
    out = empty(x.shape, x.dtype) if out is None else output(out, x.shape, x.dtype)
    n = x.shape[-1]
    dgamma, dbeta = empty((n,), x.dtype), empty((n,), x.dtype)
    _BATCH_NORM_BACKWARD[x.dtype is not FLOAT32](
        dy.reshape(rows.shape),
        rows,
        gamma,
        mean,
        variance,
        epsilon,
        np.empty((2, n)),
        empty((4, n), x.dtype),
        out.reshape(rows.shape),
        dgamma,
        dbeta,
    )
    return out, dgamma, dbeta


def layer_norm(
    x: Array, gamma: Array, beta: Array, *, epsilon: float = 1e-5, out: Array | None = None
) -> Array:
    """Return ``gamma * t + beta``, t every row of the last axis with mean 0 and variance 1.

    Parameters
    ----------
    x : array of shape (..., F)
    gamma, beta : array of shape (F,)
    epsilon : float, default=1e-5
        Added to the variance, at least 0.
    out : array of the shape of x, optional
        Where the result goes; may be x.

    Returns
    -------
    out : array of shape (..., F)

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above.
    """
    x, rows = _features(x, "x")
    epsilon = _checks.number(epsilon, "epsilon", minimum=0.0)
    gamma, beta = _vector(gamma, "gamma", x), _vector(beta, "beta", x)
    out = empty(x.shape, x.dtype) if out is None else output(out, x.shape, x.dtype)
    function = _LAYER_NORM[x.dtype is not FLOAT32]
    moments = np.empty((rows.shape[0], 2))
    function(rows, gamma, beta, epsilon, moments, out.reshape(rows.shape))
    return out


def layer_norm_backward(
    dy: Array, x: Array, gamma: Array, *, epsilon: float = 1e-5, out: Array | None = None
) -> tuple[Array, Array, Array]:
    """Return the gradients by x, gamma and beta of ``layer_norm``.

    (..., F), (F,) and (F,); ``out`` is the first, and may be ``dy`` or ``x``.
    """
    x, rows = _features(x, "x")
    epsilon = _checks.number(epsilon, "epsilon", minimum=0.0)
    dy, gamma = _like(dy, "dy", x), _vector(gamma, "gamma", x)
    out = empty(x.shape, x.dtype) if out is None else output(out, x.shape, x.dtype)
    n, double = x.shape[-1], x.dtype is not FLOAT32
    dgamma, dbeta = empty((n,), x.dtype), empty((n,), x.dtype)
    moments = np.empty((rows.shape[0], 2))
    if n:
        _ROW_MOMENTS[double](rows, moments)
    _LAYER_NORM_BACKWARD[double](
        dy.reshape(rows.shape),
        rows,
        gamma,
        epsilon,
        moments,
        np.zeros((2, n)),
        out.reshape(rows.shape),
        dgamma,
        dbeta,
    )
    return out, dgamma, dbeta


def _standardize(
    rows: Array,
    weights: tuple[Array, Array],
    mean: Array,
    variance: Array,
    epsilon: float,
    out: Array,
) -> None:
    factors = empty((3, rows.shape[1]), rows.dtype)
    function = _BATCH_NORM[rows.dtype is not FLOAT32]
    gamma, beta = weights
    function(rows, gamma, beta, mean, variance, epsilon, factors, out.reshape(rows.shape))


def _features(x: Any, name: str) -> tuple[Array, Array]:
    """Return x (..., F) and the same as rows (M, F)."""
    x = operand(x, name)
    if x.ndim == 0:
        raise ValueError(f"{name} must have shape (..., F), got ().")
    return x, x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _like(dy: Any, name: str, x: Array) -> Array:
    result: Array = operand(dy, name, x.dtype)
    if result.shape != x.shape:
        raise ValueError(f"{name} must have the shape of x, {x.shape}, got {result.shape}.")
    return result


def _vector(value: Any, name: str, x: Array) -> Array:
    result: Array = operand(value, name, x.dtype)
    if result.shape != x.shape[-1:]:
        raise ValueError(f"{name} must have shape {x.shape[-1:]}, got {result.shape}.")
    return result


def _statistics(value: Any, name: str, x: Array) -> Array:
    result: Array = operand(np.asarray(value, FLOAT64), name, FLOAT64)
    if result.shape != x.shape[-1:]:
        raise ValueError(f"{name} must have shape {x.shape[-1:]}, got {result.shape}.")
    return result


# --- Embeddings ---------------------------------------------------------------------------------


def embedding(
    x: Array, weight: Array, *, combine: str | None = None, out: Array | None = None
) -> Array:
    """Return the rows of ``weight`` that the integers x name.

    Parameters
    ----------
    x : array of shape (N, L), integers from 0 to V - 1
    weight : array of shape (V, D)
    combine : {None, "concat", "sum"}, default=None
        What becomes of the L rows of a sample: they stay, (N, L, D), are one, (N, L * D), or
        summed, (N, D).
    out : array of the shape of the result, optional
        Where it goes. It must not overlap weight.

    Returns
    -------
    out : array of shape (N, L, D), (N, L * D) or (N, D)

    Raises
    ------
    ValueError
        If a shape is wrong, an integer out of range, or ``combine`` unknown.
    TypeError
        If x does not hold integers, or weight not real numbers.
    """
    weight = operand(weight, "weight")
    if weight.ndim != 2:
        raise ValueError(f"weight must have shape (V, D), got {weight.shape}.")
    vocabulary, dim = weight.shape
    x, shape = _indices(x, vocabulary, dim, combine)
    out = empty(shape, weight.dtype) if out is None else output(out, shape, weight.dtype)
    sums = combine == "sum"
    if sums and x.shape[1] == 0:
        out[...] = 0
    rows = out.reshape(len(x), math.prod(shape[1:]))
    _EMBEDDING[weight.dtype is not FLOAT32](x, weight, sums, rows)
    return out


def embedding_backward(
    dy: Array, x: Array, vocabulary: int, *, combine: str | None = None, out: Array | None = None
) -> Array:
    """Return the gradient by the weight, (V, D): for each row the sum of dy where x names it.

    ``dy`` has the shape of the output of ``embedding``; rows that x does not name are 0. The parts
    of a row are added in the order of x.
    """
    dy = operand(dy, "dy")
    vocabulary = _checks.integer(vocabulary, "vocabulary", minimum=1)
    if dy.ndim < 2:
        raise ValueError(f"dy must have the shape of the output, got {dy.shape}.")
    length = np.shape(x)[1] if combine == "concat" and np.ndim(x) == 2 else 1
    dim = dy.shape[-1] // max(length, 1)
    x, shape = _indices(x, vocabulary, dim, combine)
    if dy.shape != shape:
        raise ValueError(f"dy must have shape {shape}, got {dy.shape}.")
    wanted = (vocabulary, dim)
    out = empty(wanted, dy.dtype) if out is None else output(out, wanted, dy.dtype)
    out[...] = 0
    rows = dy.reshape(len(x), math.prod(shape[1:]))
    _EMBEDDING_BACKWARD[dy.dtype is not FLOAT32](rows, x, combine == "sum", out)
    return out


def _indices(
    x: Any, vocabulary: int, dim: int, combine: str | None
) -> tuple[Array, tuple[int, ...]]:
    """Return x as int64 (N, L), in range, and the shape of the output."""
    if combine is not None:
        _checks.lookup(combine, dict.fromkeys(("concat", "sum")), "combine")
    x = _checks.array(x, "x")
    if x.dtype.kind not in ("i", "u"):
        raise TypeError(f"x must hold integers, got dtype {x.dtype}.")
    if x.ndim != 2:
        raise ValueError(f"x must have shape (N, L), got {x.shape}.")
    x = _checks.in_range(x, vocabulary, "x").astype(np.int64, copy=False)
    n, length = x.shape
    shapes: dict[str | None, tuple[int, ...]] = {
        None: (n, length, dim),
        "concat": (n, length * dim),
        "sum": (n, dim),
    }
    return x, shapes[combine]
