"""Batch and layer normalization in plain numpy.

``layer_norm`` normalizes along the last axis. ``batch_norm`` normalizes each of the F features of
the last axis over all other axes. Sums are in float64.
"""

from __future__ import annotations

import math

import numpy as np

from fastmlp._types import Array
from fastmlp.reference._quiet import quiet

__all__ = [
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "layer_norm",
    "layer_norm_backward",
]


@quiet
def batch_norm(
    x: Array, gamma: Array, beta: Array, *, epsilon: float = 1e-5, out: Array | None = None
) -> tuple[Array, Array, Array]:
    """Return x normalized over all axes but the last, and the mean and variance over them.

    ``y = gamma * (x - mean) / sqrt(variance + epsilon) + beta`` (Ioffe and Szegedy 2015), for x
    (..., F) and gamma, beta (F,). The variance divides by the number of rows. Mean and variance are
    float64 (F,).
    """
    axes = tuple(range(x.ndim - 1))
    mean: Array = np.asarray(np.mean(x, axis=axes, dtype=np.float64))
    variance: Array = np.mean(np.square(x - mean), axis=axes)
    return _standardize(x, gamma, beta, mean, variance, epsilon, out), mean, variance


@quiet
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
    """Return ``gamma * (x - mean) / sqrt(variance + epsilon) + beta``: (..., F) and (F,)."""
    return _standardize(x, gamma, beta, mean, variance, epsilon, out)


@quiet
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

    ``mean`` and ``variance`` are what ``batch_norm`` returned for x. With ``t = (x - mean) /
    sqrt(variance + epsilon)`` the gradients are ``gamma / sqrt(variance + epsilon) * (dy - mean(dy)
    - t * mean(dy * t))``, ``sum(dy * t)`` and ``sum(dy)``, over all axes but the last. ``out``
    takes the first gradient and may be dy or x.
    """
    axes = tuple(range(x.ndim - 1))
    count = math.prod(x.shape[:-1])
    factor = 1 / np.sqrt(variance + epsilon)
    t = (x - mean.astype(np.float64)) * factor
    dbeta = np.sum(dy, axis=axes, dtype=np.float64)
    dgamma = np.sum(dy * t, axis=axes)
    dx = gamma * factor * (dy - dbeta / count - t * (dgamma / count))
    return _stored(dx, x, out), dgamma.astype(x.dtype), dbeta.astype(x.dtype)


@quiet
def layer_norm(
    x: Array, gamma: Array, beta: Array, *, epsilon: float = 1e-5, out: Array | None = None
) -> Array:
    """Return ``gamma * t + beta``, where t is x with mean 0 and variance 1 along the last axis.

    ``t = (x - mean) / sqrt(variance + epsilon)`` with the mean and variance of the row (Ba, Kiros
    and Hinton 2016), for x (..., F) and gamma, beta (F,).
    """
    t, _ = _standard_rows(x, epsilon)
    return _stored(gamma * t + beta, x, out)


@quiet
def layer_norm_backward(
    dy: Array, x: Array, gamma: Array, *, epsilon: float = 1e-5, out: Array | None = None
) -> tuple[Array, Array, Array]:
    """Return the gradients of ``layer_norm`` with respect to x, gamma and beta.

    With ``g = dy * gamma`` the first is ``(g - mean(g) - t * mean(g * t)) / sqrt(variance +
    epsilon)`` with means over the last axis; ``out`` takes it and may be dy or x. The others are
    the sums of ``dy * t`` and of ``dy`` over all axes but the last.
    """
    axes = tuple(range(x.ndim - 1))
    t, factor = _standard_rows(x, epsilon)
    g = dy * gamma.astype(np.float64)
    dx = g - np.mean(g, axis=-1, keepdims=True) - t * np.mean(g * t, axis=-1, keepdims=True)
    dgamma = np.sum(dy * t, axis=axes)
    dbeta = np.sum(dy, axis=axes, dtype=np.float64)
    return _stored(factor * dx, x, out), dgamma.astype(x.dtype), dbeta.astype(x.dtype)


def _standardize(
    x: Array,
    gamma: Array,
    beta: Array,
    mean: Array,
    variance: Array,
    epsilon: float,
    out: Array | None,
) -> Array:
    """Return ``(x - mean) * factor + beta`` with ``factor = gamma / sqrt(variance + epsilon)``."""
    factor = gamma / np.sqrt(variance.astype(np.float64) + epsilon)
    return _stored((x - mean.astype(np.float64)) * factor + beta, x, out)


def _standard_rows(x: Array, epsilon: float) -> tuple[Array, Array]:
    """Return rows with mean 0 and variance 1, and the factor that scaled them; float64."""
    t = x - np.mean(x, axis=-1, keepdims=True, dtype=np.float64)
    factor = 1 / np.sqrt(np.mean(np.square(t), axis=-1, keepdims=True) + epsilon)
    return t * factor, factor


def _stored(value: Array, x: Array, out: Array | None) -> Array:
    """Return ``value`` in the dtype of x, written to ``out`` if given."""
    if out is None:
        return value.astype(x.dtype, copy=False)
    out[...] = value
    return out
