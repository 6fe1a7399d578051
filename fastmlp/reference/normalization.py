"""Dropout, noise, normalisation and embeddings in plain numpy.

``fastmlp.reference`` has these functions as its own; what it says of all its functions holds here.
Normalisation works on the last axis, or on all others for each element of it: F features. Its
sums are in float64.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp import _random

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

Array = npt.NDArray[Any]

_quiet = np.errstate(all="ignore")


# --- Random layers ------------------------------------------------------------------------------
#
# What is drawn for an element depends on (seed, layer, step), on its place along the first axis
# and on its place within that row, and on nothing else.


@_quiet
def dropout(
    x: Array, rate: float, *, seed: int, layer: int, step: int, out: Array | None = None
) -> Array:
    """Return x with a share of its elements set to 0 and the others times ``1 / (1 - rate)``.

    Inverted dropout (Srivastava et al. 2014). An element is dropped with the probability ``rate``,
    in [0, 1), in steps of 2**-32: where its word is below ``round(rate * 2**32)``.
    """
    dropped = _words(x, seed, layer, step) < np.uint32(_random.drop_threshold(rate))
    out = np.multiply(x, x.dtype.type(1 / (1 - rate)), out=out)
    np.copyto(out, 0, where=dropped)
    return out


def dropout_backward(
    dy: Array, rate: float, *, seed: int, layer: int, step: int, out: Array | None = None
) -> Array:
    """Return the gradient by the input: dy with the same elements dropped and the same factor."""
    return dropout(dy, rate, seed=seed, layer=layer, step=step, out=out)


@_quiet
def gaussian_noise(
    x: Array, stddev: float, *, seed: int, layer: int, step: int, out: Array | None = None
) -> Array:
    """Return ``x + stddev * n``, n of N(0, 1); the product is rounded before it is added.

    n is the inverse of the normal distribution function (Wichura 1988, AS 241) at the middle of
    one of 2**32 equal parts of (0, 1), so it lies within 6.4. The gradient by x is that by the
    output.
    """
    words = _words(x, seed, layer, step)
    noise = _random.normal_of((words + 0.5) * 2.0**-32)
    result: Array = np.add(x, (stddev * noise).astype(x.dtype), out=out)
    return result


def _words(x: Array, seed: int, layer: int, step: int) -> Array:
    columns = math.prod(x.shape[1:])
    key = _random.stream_key(seed, layer)
    return _random.counter_words(key, step, len(x), columns).reshape(x.shape)


# --- Normalisation ------------------------------------------------------------------------------


@_quiet
def batch_norm(
    x: Array, gamma: Array, beta: Array, *, epsilon: float = 1e-5, out: Array | None = None
) -> tuple[Array, Array, Array]:
    """Return x normalised over all axes but the last, and the mean and the variance of that.

    ``y = gamma * (x - mean) / sqrt(variance + epsilon) + beta`` (Ioffe and Szegedy 2015), (..., F)
    and (F,), with the variance of the population. Mean and variance are float64 (F,).
    """
    axes = tuple(range(x.ndim - 1))
    mean: Array = np.asarray(np.mean(x, axis=axes, dtype=np.float64))
    variance: Array = np.mean(np.square(x - mean), axis=axes)
    return _standardize(x, gamma, beta, mean, variance, epsilon, out), mean, variance


@_quiet
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
    """Return ``gamma * (x - mean) / sqrt(variance + epsilon) + beta``, (..., F) and (F,)."""
    return _standardize(x, gamma, beta, mean, variance, epsilon, out)


@_quiet
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

    With ``t = (x - mean) / sqrt(variance + epsilon)`` they are ``gamma / sqrt(variance + epsilon)
    * (dy - mean(dy) - t * mean(dy * t))``, ``sum(dy * t)`` and ``sum(dy)``, all over the axes but
    the last. ``out`` is that by x, and may be dy or x.
    """
    axes = tuple(range(x.ndim - 1))
    count = math.prod(x.shape[:-1])
    factor = 1 / np.sqrt(variance + epsilon)
    t = (x - mean.astype(np.float64)) * factor
    dbeta = np.sum(dy, axis=axes, dtype=np.float64)
    dgamma = np.sum(dy * t, axis=axes)
    dx = gamma * factor * (dy - dbeta / count - t * (dgamma / count))
    return _stored(dx, x, out), dgamma.astype(x.dtype), dbeta.astype(x.dtype)


@_quiet
def layer_norm(
    x: Array, gamma: Array, beta: Array, *, epsilon: float = 1e-5, out: Array | None = None
) -> Array:
    """Return ``gamma * t + beta``, t every row of the last axis with mean 0 and variance 1.

    ``t = (x - mean) / sqrt(variance + epsilon)``, the moments of the row (Ba, Kiros and Hinton
    2016); (..., F) and (F,).
    """
    t, _ = _standard_rows(x, epsilon)
    return _stored(gamma * t + beta, x, out)


@_quiet
def layer_norm_backward(
    dy: Array, x: Array, gamma: Array, *, epsilon: float = 1e-5, out: Array | None = None
) -> tuple[Array, Array, Array]:
    """Return the gradients by x, gamma and beta of ``layer_norm``.

    With ``g = dy * gamma`` that by x is ``(g - mean(g) - t * mean(g * t)) / sqrt(variance +
    epsilon)``, over the last axis; ``out`` is that, and may be dy or x. The others are the sums
    over all other axes of ``dy * t`` and of ``dy``.
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
    factor = gamma / np.sqrt(variance.astype(np.float64) + epsilon)
    return _stored((x - mean.astype(np.float64)) * factor + beta, x, out)


def _standard_rows(x: Array, epsilon: float) -> tuple[Array, Array]:
    """Return rows of mean 0 and variance 1, and what they were divided by, inverted; float64."""
    t = x - np.mean(x, axis=-1, keepdims=True, dtype=np.float64)
    factor = 1 / np.sqrt(np.mean(np.square(t), axis=-1, keepdims=True) + epsilon)
    return t * factor, factor


def _stored(value: Array, x: Array, out: Array | None) -> Array:
    """Return ``value`` in the dtype of x, in ``out`` if given."""
    if out is None:
        return value.astype(x.dtype, copy=False)
    out[...] = value
    return out


# --- Embeddings ---------------------------------------------------------------------------------


@_quiet
def embedding(
    x: Array, weight: Array, *, combine: str | None = None, out: Array | None = None
) -> Array:
    """Return the rows of ``weight`` (V, D) that the integers x (N, L) name: (N, L, D).

    With ``combine="concat"`` they are one row a sample, (N, L * D), with "sum" their sum, (N, D).
    """
    rows = weight[x]
    if combine == "sum":
        return np.add.reduce(rows, axis=1, out=out)
    if combine == "concat":
        rows = rows.reshape(len(x), x.shape[1] * weight.shape[1])
    return _stored(rows, weight, out)


@_quiet
def embedding_backward(
    dy: Array, x: Array, vocabulary: int, *, combine: str | None = None, out: Array | None = None
) -> Array:
    """Return the gradient by the weight, (V, D): for each row the sum of dy where x names it.

    dy has the shape of the output. Rows that x does not name are 0.
    """
    samples, length = x.shape
    if combine == "sum":
        dim = dy.shape[1]
        parts = np.repeat(dy, length, axis=0)
    else:
        dim = dy.shape[-1] // (length if combine == "concat" else 1)
        parts = dy.reshape(samples * length, dim)
    if out is None:
        out = np.zeros((vocabulary, dim), dy.dtype)
    else:
        out[...] = 0
    if x.size:
        flat = x.reshape(-1)
        order = np.argsort(flat, kind="stable")
        named, starts = np.unique(flat[order], return_index=True)
        out[named] = np.add.reduceat(parts[order], starts, axis=0)
    return out
