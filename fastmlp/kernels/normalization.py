"""Batch and layer normalization: compiled, with checks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmlp import _checks
from fastmlp._arrays import FLOAT32, FLOAT64, empty, operand, output
from fastmlp._compiled import layers
from fastmlp._types import Array

__all__ = [
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "layer_norm",
    "layer_norm_backward",
]

# The compiled functions by dtype; choosing here is faster than Cython's dispatch on fused types.
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
_ROW_MOMENTS = (layers.row_moments["float"], layers.row_moments["double"])


def batch_norm(
    x: Array, gamma: Array, beta: Array, *, epsilon: float = 1e-5, out: Array | None = None
) -> tuple[Array, Array, Array]:
    """Return x normalized over all axes but the last, and the mean and variance over them.

    Parameters
    ----------
    x : array of shape (..., F), at least one row
    gamma, beta : array of shape (F,)
        Standard deviation and mean of the output.
    epsilon : float, default=1e-5
        Added to the variance, at least 0.
    out : array with the shape of x, optional
        Receives the result; may be x.

    Returns
    -------
    y : array of shape (..., F)
    mean, variance : float64 array of shape (F,)
        The variance divides by the number of rows.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described above.
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
    """Return ``gamma * (x - mean) / sqrt(variance + epsilon) + beta``: (..., F) and (F,).

    ``mean`` and ``variance`` may be float64 or have the dtype of x. ``out`` may be ``x``.
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
    """Return the gradients of ``batch_norm`` with respect to x, gamma and beta.

    ``mean`` and ``variance`` are what ``batch_norm`` returned for x. The gradients have the shapes
    (..., F), (F,) and (F,); ``out`` receives the first and may be ``dy`` or ``x``.
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
    """Return ``gamma * t + beta``, where t is x with mean 0 and variance 1 along the last axis.

    Parameters
    ----------
    x : array of shape (..., F)
    gamma, beta : array of shape (F,)
    epsilon : float, default=1e-5
        Added to the variance, at least 0.
    out : array with the shape of x, optional
        Receives the result; may be x.

    Returns
    -------
    out : array of shape (..., F)

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described above.
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
    """Return the gradients of ``layer_norm`` with respect to x, gamma and beta.

    The gradients have the shapes (..., F), (F,) and (F,); ``out`` receives the first and may be
    ``dy`` or ``x``.
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
    """Return x (..., F), and the same as a matrix (M, F)."""
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
