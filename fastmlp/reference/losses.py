"""Losses and their gradients in plain numpy.

A loss returns its mean over the batch, a Python float summed in float64, and the gradient of that
mean. With sample weights the mean is ``sum(w * l) / sum(w)``.
"""

from __future__ import annotations

import numpy as np

from fastmlp._types import Array
from fastmlp.reference._quiet import quiet
from fastmlp.reference.activations import log_softmax

__all__ = [
    "binary_cross_entropy",
    "count_correct",
    "hinge",
    "huber",
    "mae",
    "mse",
    "softmax_cross_entropy",
]


@quiet
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

    ``labels`` are class numbers, int64 (N,), or one row of probabilities per sample, (N, C) with
    the dtype of the logits. The gradient, (N, C), is ``(softmax - one_hot) / N``. ``out`` may be
    ``logits``.

    Let ``e = label_smoothing``, ``c = class_weight`` (C,), ``s = sample_weight`` (N,) and ``t`` a
    target row, one-hot for a label. The loss of a row is ``-sum(v * log_softmax)`` with ``v = c *
    ((1 - e) * t + e / C)``, and the mean is ``sum(s * loss) / sum(s * sum(c * t))``. If that
    divisor is 0, so are the loss and the gradient.
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
    """Return the mean of ``values`` (N, ...), and the elementwise ``gradient`` scaled to that mean.

    ``factor`` multiplies the gradient as well. The mean is taken over the elements of each sample
    first, and then over the samples.
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


@quiet
def binary_cross_entropy(
    logits: Array,
    targets: Array,
    *,
    sample_weight: Array | None = None,
    out: Array | None = None,
) -> tuple[float, Array]:
    """Return the mean cross-entropy of ``sigmoid(logits)`` and its gradient; arrays of one shape.

    The loss of an element with the target ``t``, from 0 to 1, is ``log(1 + exp(z)) - z * t``,
    computed as ``max(z, 0) - z * t + log1p(exp(-abs(z)))``. The gradient is ``(sigmoid(z) - t) /
    size``. ``out`` may be ``logits``. ``sample_weight`` is as in :func:`mse`.
    """
    small = np.exp(-np.abs(logits))
    values = np.log1p(small)
    values += np.maximum(logits, 0) - logits * targets
    # sigmoid - target, without cancellation where both are near 1.
    negative = logits < 0
    gradient = np.where(negative, small, 1) * (1 - targets)
    gradient -= np.where(negative, 1, small) * targets
    gradient = np.divide(gradient, 1 + small, out=out)
    return _mean(values, gradient, 1.0, sample_weight)


@quiet
def mse(
    prediction: Array,
    target: Array,
    *,
    sample_weight: Array | None = None,
    out: Array | None = None,
) -> tuple[float, Array]:
    """Return the mean of ``(prediction - target)**2`` over all elements, and its gradient.

    The arrays have one shape; the gradient is ``2 * (prediction - target) / size``. ``out`` may be
    ``prediction``. ``sample_weight`` (N,) has one weight per element of the first axis: with it the
    result is ``sum(s * l) / sum(s)``, where ``l`` is the mean over the elements of a sample, and 0
    if all weights are 0.
    """
    difference = np.subtract(prediction, target, out=out)
    return _mean(np.square(difference), difference, 2.0, sample_weight)


@quiet
def mae(
    prediction: Array,
    target: Array,
    *,
    sample_weight: Array | None = None,
    out: Array | None = None,
) -> tuple[float, Array]:
    """Return the mean of ``abs(prediction - target)`` over all elements, and its gradient.

    The arrays have one shape; the gradient is ``sign(prediction - target) / size``, 0 where both
    are equal. ``out`` may be ``prediction``. ``sample_weight`` is as in :func:`mse`.
    """
    difference = np.subtract(prediction, target, out=out)
    values = np.abs(difference)
    return _mean(values, np.sign(difference, out=difference), 1.0, sample_weight)


@quiet
def huber(
    prediction: Array,
    target: Array,
    *,
    delta: float = 1.0,
    sample_weight: Array | None = None,
    out: Array | None = None,
) -> tuple[float, Array]:
    """Return the mean of the Huber loss over all elements, and its gradient.

    With ``d = prediction - target`` the loss is ``d**2 / 2`` where ``abs(d) <= delta``, and ``delta
    * (abs(d) - delta / 2)`` elsewhere. The gradient is ``d`` clipped to ``[-delta, delta]``,
    divided by the size. The arrays have one shape. ``out`` may be ``prediction``.
    ``sample_weight`` is as in :func:`mse`.

    Huber 1964, Robust estimation of a location parameter.
    """
    difference = np.subtract(prediction, target)
    clipped = np.clip(difference, -delta, delta, out=out)
    return _mean(clipped * (difference - 0.5 * clipped), clipped, 1.0, sample_weight)


@quiet
def hinge(
    scores: Array,
    labels: Array,
    *,
    margin: float = 1.0,
    sample_weight: Array | None = None,
    out: Array | None = None,
) -> tuple[float, Array]:
    """Return the mean multi-class hinge loss over the rows, and its gradient.

    The loss of a row of ``scores`` (N, C) with the label ``y``, int64 (N,), is the sum over ``j !=
    y`` of ``max(0, scores[j] - scores[y] + margin)``. The gradient with respect to ``scores[j]`` is
    1 / N where that term is positive; with respect to ``scores[y]`` it is minus the number of
    positive terms, divided by N. ``out`` may be ``scores``. With ``sample_weight`` (N,) the mean is
    ``sum(s * l) / sum(s)``, and 0 if all weights are 0.

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
    """Return the number of rows whose largest logit is at the label; in a tie the first one counts.

    ``labels`` are class numbers, int64 (N,), or one-hot rows, (N, C).
    """
    if labels.ndim == 2:
        labels = labels.argmax(axis=1)
    return int(np.count_nonzero(logits.argmax(axis=1) == labels))
