"""Losses with their gradients, compiled and checked; ``fastmlp.kernels`` has these functions too.

Names, arguments and meaning are those of ``fastmlp.reference``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmlp import _checks
from fastmlp._arrays import FLOAT64, Array, operand, output
from fastmlp._arrays import labels as integer_labels
from fastmlp._compiled import losses

__all__ = [
    "binary_cross_entropy",
    "count_correct",
    "hinge",
    "huber",
    "mae",
    "mse",
    "softmax_cross_entropy",
]


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

    Parameters
    ----------
    logits : array of shape (N, C)
    labels : integer array of shape (N,), or array of shape (N, C)
        Class numbers from 0 to C - 1, or one row of probabilities a sample.
    label_smoothing : float, default=0.0
        How much of every target is spread over all classes evenly, in [0, 1).
    class_weight : array of shape (C,), optional
        Factors of the classes' targets, finite and at least 0.
    sample_weight : array of shape (N,), optional
        What each sample counts for in the mean, finite and at least 0.
    out : array of shape (N, C), optional
        Where the gradient goes; may be ``logits``.

    Returns
    -------
    loss : float
        Summed in float64.
    gradient : array of shape (N, C)
        ``(softmax(logits) - one_hot) / N`` without smoothing and weights.

    Raises
    ------
    ValueError
        If the shapes do not fit, there is no row, a label is not in 0 .. C - 1, or a setting is
        out of its range.

    Notes
    -----
    With ``e = label_smoothing`` and a target row ``t`` (one-hot for a label) the loss of a row is
    ``-sum(v * log_softmax(logits))``, ``v = class_weight * ((1 - e) * t + e / C)``, and the mean is
    ``sum(sample_weight * loss) / sum(sample_weight * sum(class_weight * t))``: the sum of the
    weights of the targets, as in PyTorch. Where that is 0, so are loss and gradient. For rows of
    probabilities PyTorch divides by N; here a one-hot row is the same as its label.
    """
    if not label_smoothing and class_weight is None and sample_weight is None:
        result = losses.cross_entropy(logits, labels, out, 0.0, None, None)
        if result is not None:
            return result
    logits = operand(logits, "logits")
    if logits.ndim != 2 or not logits.size:
        raise ValueError(f"logits must have shape (N, C), not empty, got {logits.shape}.")
    if label_smoothing:
        label_smoothing = _checks.number(label_smoothing, "label_smoothing", minimum=0.0, below=1.0)
    if class_weight is not None:
        class_weight = _weights(class_weight, logits.shape[1], "class_weight", logits.dtype)
    if sample_weight is not None:
        sample_weight = _weights(sample_weight, logits.shape[0], "sample_weight", FLOAT64)
    labels = _labels_or_targets(labels, logits)
    out = output(out, logits.shape, logits.dtype)
    return losses.cross_entropy(logits, labels, out, label_smoothing, class_weight, sample_weight)


def binary_cross_entropy(
    logits: Array,
    targets: Array,
    *,
    sample_weight: Array | None = None,
    out: Array | None = None,
) -> tuple[float, Array]:
    """Return the mean cross-entropy of ``sigmoid(logits)`` and its gradient.

    Parameters
    ----------
    logits : array of any shape
    targets : array of the same shape
        Probabilities from 0 to 1.
    sample_weight, out : array, optional
        As in :func:`mse`.

    Returns
    -------
    loss : float
        The mean of ``log(1 + exp(z)) - z * t``, as ``max(z, 0) - z * t + log1p(exp(-|z|))``.
    gradient : array
        ``(sigmoid(z) - t) / size``.

    Raises
    ------
    ValueError
        If the shapes do not fit, the arrays are empty, or a weight is negative.
    """
    return _element_loss(
        losses.BINARY_CROSS_ENTROPY, logits, targets, out, sample_weight, ("logits", "targets")
    )


def mse(
    prediction: Array,
    target: Array,
    *,
    sample_weight: Array | None = None,
    out: Array | None = None,
) -> tuple[float, Array]:
    """Return the mean of ``(prediction - target) ** 2`` over all elements, and its gradient.

    Parameters
    ----------
    prediction : array of any shape
    target : array of the same shape
    sample_weight : array of shape (N,), optional
        What each element of the first axis counts for, finite and at least 0: the mean is
        ``sum(s * l) / sum(s)`` of the means ``l`` over each sample's elements; 0 if all ``s`` are.
    out : array of that shape, optional
        Where the gradient goes; may be ``prediction``.

    Returns
    -------
    loss : float
        Summed in float64.
    gradient : array
        ``2 * (prediction - target) / size`` without weights.

    Raises
    ------
    ValueError
        If the shapes do not fit, the arrays are empty, or a weight is negative.
    """
    return _element_loss(losses.MSE, prediction, target, out, sample_weight)


def mae(
    prediction: Array,
    target: Array,
    *,
    sample_weight: Array | None = None,
    out: Array | None = None,
) -> tuple[float, Array]:
    """Return the mean of ``abs(prediction - target)`` over all elements, and its gradient.

    Arguments and errors are those of :func:`mse`. The gradient is
    ``sign(prediction - target) / size``, 0 where both are equal.
    """
    return _element_loss(losses.MAE, prediction, target, out, sample_weight)


def huber(
    prediction: Array,
    target: Array,
    *,
    delta: float = 1.0,
    sample_weight: Array | None = None,
    out: Array | None = None,
) -> tuple[float, Array]:
    """Return the mean of Huber's loss over all elements, and its gradient.

    Arguments and errors are those of :func:`mse`, and ``delta``, above 0. With ``d = prediction -
    target`` the loss is ``d**2 / 2`` where ``abs(d) <= delta``, else ``delta * (abs(d) - delta /
    2)``; the gradient is ``d`` clipped to ``-delta .. delta``, over the size.
    """
    delta = _checks.positive(delta, "delta")
    return _element_loss(losses.HUBER, prediction, target, out, sample_weight, parameter=delta)


def hinge(
    scores: Array,
    labels: Array,
    *,
    margin: float = 1.0,
    sample_weight: Array | None = None,
    out: Array | None = None,
) -> tuple[float, Array]:
    """Return the mean multi-class hinge loss over the rows, and its gradient.

    Parameters
    ----------
    scores : array of shape (N, C)
    labels : integer array of shape (N,)
        Class numbers from 0 to C - 1.
    margin : float, default=1.0
        By how much the label's score is to exceed the others, above 0.
    sample_weight : array of shape (N,), optional
        What each sample counts for in the mean, finite and at least 0.
    out : array of shape (N, C), optional
        Where the gradient goes; may be ``scores``.

    Returns
    -------
    loss : float
        The mean of the sums over ``j != y`` of ``max(0, scores[j] - scores[y] + margin)``.
    gradient : array of shape (N, C)
        1 where that is above 0, minus their number at the label, over N.

    Raises
    ------
    ValueError
        If the shapes do not fit, there is no row, or a label or setting is out of its range.
    """
    scores = operand(scores, "scores")
    if scores.ndim != 2 or not scores.size:
        raise ValueError(f"scores must have shape (N, C), not empty, got {scores.shape}.")
    margin = _checks.positive(margin, "margin")
    if sample_weight is not None:
        sample_weight = _weights(sample_weight, scores.shape[0], "sample_weight", FLOAT64)
    classes = integer_labels(labels, scores.shape[0], "labels")
    if classes is None:
        raise ValueError(f"labels must be integers of shape ({scores.shape[0]},).")
    out = output(out, scores.shape, scores.dtype)
    return losses.hinge(scores, classes, out, margin, sample_weight)


def _element_loss(
    kind: int,
    prediction: Array,
    target: Array,
    out: Array | None,
    sample_weight: Array | None,
    names: tuple[str, str] = ("prediction", "target"),
    parameter: float = 0.0,
) -> tuple[float, Array]:
    if sample_weight is None:
        result = losses.element_loss(kind, prediction, target, out, parameter, None)
        if result is not None:
            return result
    prediction = operand(prediction, names[0])
    target = operand(target, names[1], prediction.dtype)
    shape, dtype = target.shape, target.dtype
    if prediction.shape != shape or not target.size:
        raise ValueError(
            f"{names[0]} and {names[1]} must have one shape and not be empty, got "
            f"{prediction.shape} and {shape}."
        )
    if sample_weight is not None:
        rows = shape[0] if shape else 1
        sample_weight = _weights(sample_weight, rows, "sample_weight", FLOAT64)
    out = output(out, shape, dtype)
    return losses.element_loss(kind, prediction, target, out, parameter, sample_weight)


def _weights(value: Any, count: int, name: str, dtype: np.dtype[Any]) -> Array:
    """Return weights as finite numbers of at least 0, (count,)."""
    weights = np.require(np.ascontiguousarray(value, dtype), requirements="A")
    if weights.shape != (count,):
        raise ValueError(f"{name} must have shape ({count},), got {weights.shape}.")
    if not (weights.min() >= 0 and weights.max() < math.inf):
        raise ValueError(f"{name} must hold finite numbers of at least 0.")
    return weights


def count_correct(logits: Array, labels: Array) -> int:
    """Return how many rows of logits (N, C) are largest at the label; of equals the first counts.

    ``labels`` as in :func:`softmax_cross_entropy`.
    """
    result = losses.count_correct(logits, labels)
    if result is not None:
        return result
    logits = operand(logits, "logits")
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise ValueError(f"logits must have shape (N, C), C at least 1, got {logits.shape}.")
    return losses.count_correct(logits, _labels_or_targets(labels, logits))


def _labels_or_targets(labels: Array, logits: Array) -> Array:
    classes = integer_labels(labels, logits.shape[0], "labels")
    if classes is not None:
        return classes
    targets = operand(labels, "labels", logits.dtype)
    if targets.shape != logits.shape:
        raise ValueError(
            f"labels must be integers of shape ({logits.shape[0]},) or rows of shape "
            f"{logits.shape}, got {targets.dtype} of shape {targets.shape}."
        )
    return targets
