"""Softmax and the losses in plain numpy; ``fastmlp.reference`` has these functions as its own.

A loss returns its mean, a Python float, and the gradient of that mean. Weights of samples make it
``sum(w * l) / sum(w)``. See ``fastmlp.reference`` for what else holds for every function.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "binary_cross_entropy",
    "count_correct",
    "hinge",
    "huber",
    "log_softmax",
    "log_softmax_backward",
    "mae",
    "mse",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
]

Array = npt.NDArray[Any]

_quiet = np.errstate(all="ignore")


# --- Softmax ------------------------------------------------------------------------------------


@_quiet
def softmax(x: Array, *, out: Array | None = None) -> Array:
    """Return ``exp(x) / sum(exp(x))`` over the last axis, shifted by the maximum of x."""
    out = np.subtract(x, np.maximum.reduce(x, axis=-1, keepdims=True), out=out)
    np.exp(out, out=out)
    out /= np.add.reduce(out, axis=-1, keepdims=True)
    return out


@_quiet
def softmax_backward(dy: Array, y: Array, *, out: Array | None = None) -> Array:
    """Return ``y * (dy - sum(dy * y))``, the sum over the last axis."""
    projection = np.add.reduce(dy * y, axis=-1, keepdims=True)
    out = np.subtract(dy, projection, out=out)
    return np.multiply(out, y, out=out)


@_quiet
def log_softmax(x: Array, *, out: Array | None = None) -> Array:
    """Return ``x - log(sum(exp(x)))`` over the last axis, shifted by the maximum of x."""
    out = np.subtract(x, np.maximum.reduce(x, axis=-1, keepdims=True), out=out)
    out -= np.log(np.add.reduce(np.exp(out), axis=-1, keepdims=True))
    return out


@_quiet
def log_softmax_backward(dy: Array, y: Array, *, out: Array | None = None) -> Array:
    """Return ``dy - exp(y) * sum(dy)``, the sum over the last axis."""
    share = np.exp(y)
    share *= np.add.reduce(dy, axis=-1, keepdims=True)
    return np.subtract(dy, share, out=out)


# --- Losses -------------------------------------------------------------------------------------


@_quiet
def softmax_cross_entropy(
    logits: Array,
    labels: Array,
    *,
    label_smoothing: float = 0.0,
    class_weight: Array | None = None,
    sample_weight: Array | None = None,
    out: Array | None = None,
) -> tuple[float, Array]:
    """Return the mean of ``-log(softmax(logits)[label])`` over the rows, and its gradient.

    ``labels`` are the class numbers, int64 (N,), or one row of probabilities a sample, (N, C) of
    the logits' dtype. The loss is summed in float64; the gradient, (N, C), is
    ``(softmax - one_hot) / N``. ``out`` may be ``logits``.

    With ``e = label_smoothing``, ``c = class_weight`` (C,), ``s = sample_weight`` (N,) and a
    target row ``t``, one-hot for a label: the loss of a row is ``-sum(v * log_softmax)`` with ``v
    = c * ((1 - e) * t + e / C)``, and the mean ``sum(s * loss) / sum(s * sum(c * t))``. Where that
    divisor is 0, so are loss and gradient.
    """
    if label_smoothing or class_weight is not None or sample_weight is not None:
        return _weighted_cross_entropy(
            logits, labels, label_smoothing, class_weight, sample_weight, out
        )
    rows, classes = logits.shape
    dlogits = np.subtract(logits, np.maximum.reduce(logits, axis=1, keepdims=True), out=out)
    weight: Array | float = 1.0
    if labels.ndim == 1:
        flat = dlogits.reshape(-1)
        at_label = labels + np.arange(0, rows * classes, classes)
        picked = flat[at_label]
    else:
        weight = np.add.reduce(labels, axis=1)
        picked = np.einsum("nc,nc->n", dlogits, labels)
    np.exp(dlogits, out=dlogits)
    total = np.add.reduce(dlogits, axis=1, keepdims=True)
    losses = np.log(total[:, 0]) * weight - picked
    total *= rows
    dlogits /= total
    if labels.ndim == 1:
        flat[at_label] -= 1 / rows
    else:
        dlogits -= labels / rows
    return float(np.add.reduce(losses, dtype=np.float64)) / rows, dlogits


def _weighted_cross_entropy(
    logits: Array,
    labels: Array,
    label_smoothing: float,
    class_weight: Array | None,
    sample_weight: Array | None,
    out: Array | None,
) -> tuple[float, Array]:
    rows, classes = logits.shape
    targets = labels
    if labels.ndim == 1:
        targets = np.zeros_like(logits)
        targets[np.arange(rows), labels] = 1
    wanted = (1 - label_smoothing) * targets + label_smoothing / classes
    weights = np.ones(rows) if sample_weight is None else np.asarray(sample_weight, np.float64)
    sizes = weights
    if class_weight is not None:
        class_weight = np.asarray(class_weight, logits.dtype)
        wanted *= class_weight
        sizes = weights * np.einsum("nc,c->n", targets, class_weight)
    log_p = log_softmax(logits)
    losses = -np.add.reduce(np.where(wanted == 0, 0, wanted * log_p), axis=1)
    loss, shares = _weighted_mean(losses, weights, float(np.add.reduce(sizes)))
    dlogits = np.exp(log_p, out=out)
    dlogits *= np.add.reduce(wanted, axis=1, keepdims=True)
    dlogits -= wanted
    dlogits *= shares.astype(logits.dtype)[:, None]
    return loss, dlogits


def _weighted_mean(losses: Array, weights: Array, total: float) -> tuple[float, Array]:
    """Return ``sum(weights * losses) / total``, summed in float64, and ``weights / total``."""
    shares = weights / total if total > 0 else np.zeros(len(weights))
    return float(np.add.reduce(shares * losses, dtype=np.float64)), shares


def _mean(
    values: Array, gradient: Array, factor: float, sample_weight: Array | None
) -> tuple[float, Array]:
    """Return the mean of ``values`` (N, ...) and ``gradient``, times ``factor`` and its share.

    The mean is over the elements of each sample first, and then over the samples.
    """
    if sample_weight is None:
        gradient *= factor / values.size
        return float(np.add.reduce(values, axis=None, dtype=np.float64)) / values.size, gradient
    rows, columns = len(values), values.size // len(values)
    losses = np.add.reduce(values.reshape(rows, -1), axis=1, dtype=np.float64) / columns
    weights = np.asarray(sample_weight, np.float64)
    loss, shares = _weighted_mean(losses, weights, float(np.add.reduce(weights)))
    factors = (factor / columns * shares).astype(gradient.dtype)
    gradient *= factors.reshape(rows, *[1] * (gradient.ndim - 1))
    return loss, gradient


@_quiet
def binary_cross_entropy(
    logits: Array,
    targets: Array,
    *,
    sample_weight: Array | None = None,
    out: Array | None = None,
) -> tuple[float, Array]:
    """Return the mean cross-entropy of ``sigmoid(logits)`` and its gradient, any one shape.

    Of an element it is ``log(1 + exp(z)) - z * t``, targets ``t`` from 0 to 1, computed as
    ``max(z, 0) - z * t + log1p(exp(-abs(z)))``; the gradient is ``(sigmoid(z) - t) / size``. The
    loss is summed in float64. ``out`` may be ``logits``. ``sample_weight`` as in :func:`mse`.
    """
    small = np.exp(-np.abs(logits))
    values = np.log1p(small)
    values += np.maximum(logits, 0) - logits * targets
    # sigmoid - target, without the cancellation where both are near 1.
    negative = logits < 0
    gradient = np.where(negative, small, 1) * (1 - targets)
    gradient -= np.where(negative, 1, small) * targets
    gradient = np.divide(gradient, 1 + small, out=out)
    return _mean(values, gradient, 1.0, sample_weight)


@_quiet
def mse(
    prediction: Array,
    target: Array,
    *,
    sample_weight: Array | None = None,
    out: Array | None = None,
) -> tuple[float, Array]:
    """Return the mean of ``(prediction - target)**2`` over all elements, and its gradient.

    The loss is summed in float64, the gradient is ``2 * (prediction - target) / size``; any
    shape. ``out`` may be ``prediction``. With ``sample_weight`` (N,), one for each element of the
    first axis, it is ``sum(s * l) / sum(s)`` of the means ``l`` over each sample's elements; 0 if
    all weights are.
    """
    difference = np.subtract(prediction, target, out=out)
    return _mean(np.square(difference), difference, 2.0, sample_weight)


@_quiet
def mae(
    prediction: Array,
    target: Array,
    *,
    sample_weight: Array | None = None,
    out: Array | None = None,
) -> tuple[float, Array]:
    """Return the mean of ``abs(prediction - target)`` over all elements, and its gradient.

    The gradient is ``sign(prediction - target) / size``, 0 where both are equal; any shape.
    ``out`` may be ``prediction``. ``sample_weight`` as in :func:`mse`.
    """
    difference = np.subtract(prediction, target, out=out)
    values = np.abs(difference)
    return _mean(values, np.sign(difference, out=difference), 1.0, sample_weight)


@_quiet
def huber(
    prediction: Array,
    target: Array,
    *,
    delta: float = 1.0,
    sample_weight: Array | None = None,
    out: Array | None = None,
) -> tuple[float, Array]:
    """Return the mean of Huber's loss over all elements, and its gradient.

    With ``d = prediction - target`` it is ``d**2 / 2`` where ``abs(d) <= delta``, else ``delta *
    (abs(d) - delta / 2)``; the gradient is ``d`` clipped to ``-delta .. delta``, over the size. Any
    shape. ``out`` may be ``prediction``. ``sample_weight`` as in :func:`mse`.

    Huber 1964, Robust estimation of a location parameter.
    """
    difference = np.subtract(prediction, target)
    clipped = np.clip(difference, -delta, delta, out=out)
    return _mean(clipped * (difference - 0.5 * clipped), clipped, 1.0, sample_weight)


@_quiet
def hinge(
    scores: Array,
    labels: Array,
    *,
    margin: float = 1.0,
    sample_weight: Array | None = None,
    out: Array | None = None,
) -> tuple[float, Array]:
    """Return the mean multi-class hinge loss over the rows, and its gradient.

    Of a row of ``scores`` (N, C) with label ``y``, int64 (N,), it is the sum over ``j != y`` of
    ``max(0, scores[j] - scores[y] + margin)``. The gradient by ``scores[j]`` is 1 where that is
    above 0, by ``scores[y]`` minus the number of those, both over N. ``out`` may be ``scores``.
    With ``sample_weight`` (N,) the mean is ``sum(s * l) / sum(s)``, 0 if all weights are.

    Weston and Watkins 1999, Support vector machines for multi-class pattern recognition.
    """
    rows = np.arange(len(scores))
    margins = np.subtract(scores, scores[rows, labels][:, None])
    margins += margin
    margins[rows, labels] = 0
    np.maximum(margins, 0, out=margins)
    weights = np.ones(len(scores)) if sample_weight is None else np.asarray(sample_weight, float)
    losses = np.add.reduce(margins, axis=1, dtype=np.float64)
    loss, shares = _weighted_mean(losses, weights, float(np.add.reduce(weights)))
    gradient = np.sign(margins, out=out)
    gradient[rows, labels] = -np.add.reduce(gradient, axis=1)
    gradient *= shares.astype(scores.dtype)[:, None]
    return loss, gradient


def count_correct(logits: Array, labels: Array) -> int:
    """Return how many rows have their largest logit at the label; the first one wins a tie.

    ``labels`` are class numbers, int64 (N,), or one-hot rows, (N, C).
    """
    if labels.ndim == 2:
        labels = labels.argmax(axis=1)
    return int(np.count_nonzero(logits.argmax(axis=1) == labels))
