"""Losses and their gradients: compiled, with checks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmlp import _checks
from fastmlp._arrays import FLOAT64, operand, output
from fastmlp._arrays import labels as integer_labels
from fastmlp._compiled import losses
from fastmlp._types import Array, DType

__all__ = [
    "binary_cross_entropy",
    "count_correct",
    "hinge",
    "huber",
    "mae",
    "mse",
    "softmax_cross_entropy",
]

_LOSSES = losses.ELEMENT_LOSSES  # number of an elementwise loss by its name


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
        Class numbers from 0 to C - 1, or one row of probabilities per sample.
    label_smoothing : float, default=0.0
        Share of every target that is spread evenly over all classes, in [0, 1).
    class_weight : array of shape (C,), optional
        Weights of the classes, finite and at least 0.
    sample_weight : array of shape (N,), optional
        Weights of the samples in the mean, finite and at least 0.
    out : array of shape (N, C), optional
        Receives the gradient; may be ``logits``.

    Returns
    -------
    loss : float
        The mean, summed in float64.
    gradient : array of shape (N, C)
        ``(softmax(logits) - one_hot) / N`` without smoothing and weights.

    Raises
    ------
    ValueError
        If the shapes do not fit, there are no rows, a label is not in 0 .. C - 1, or a setting is
        out of its range.

    Notes
    -----
    Let ``e = label_smoothing`` and ``t`` a target row, one-hot for a label. The loss of a row is
    ``-sum(v * log_softmax(logits))`` with ``v = class_weight * ((1 - e) * t + e / C)``. The mean
    is ``sum(sample_weight * loss) / sum(sample_weight * sum(class_weight * t))``: its divisor is
    the total weight of the targets, as in PyTorch. If the divisor is 0, so are the loss and the
    gradient. For rows of probabilities PyTorch divides by N instead; here a one-hot row gives the
    same result as its label.
    """
    if not label_smoothing and class_weight is None and sample_weight is None:
        result = losses.cross_entropy(logits, labels, out, 0.0, None, None)
        if result is not None:
            return result
    logits = operand(logits, "logits")
    if logits.ndim != 2 or not logits.size:
        raise ValueError(
            f"logits must have shape (N, C) and must not be empty, got {logits.shape}."
        )
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
        _LOSSES["binary_cross_entropy"], logits, targets, out, sample_weight, ("logits", "targets")
    )


def mse(
    prediction: Array,
    target: Array,
    *,
    sample_weight: Array | None = None,
    out: Array | None = None,
) -> tuple[float, Array]:
    """Return the mean of ``(prediction - target)**2`` over all elements, and its gradient.

    Parameters
    ----------
    prediction : array of any shape
    target : array of the same shape
    sample_weight : array of shape (N,), optional
        Weight of each element of the first axis, finite and at least 0. The result is ``sum(s * l)
        / sum(s)``, where ``l`` is the mean over the elements of a sample; 0 if all weights are 0.
    out : array of the same shape, optional
        Receives the gradient; may be ``prediction``.

    Returns
    -------
    loss : float
        The mean, summed in float64.
    gradient : array
        ``2 * (prediction - target) / size`` without weights.

    Raises
    ------
    ValueError
        If the shapes do not fit, the arrays are empty, or a weight is negative.
    """
    return _element_loss(_LOSSES["mse"], prediction, target, out, sample_weight)


def mae(
    prediction: Array,
    target: Array,
    *,
    sample_weight: Array | None = None,
    out: Array | None = None,
) -> tuple[float, Array]:
    """Return the mean of ``abs(prediction - target)`` over all elements, and its gradient.

    Arguments and errors are the same as for :func:`mse`. The gradient is ``sign(prediction -
    target) / size``, 0 where both are equal.
    """
    return _element_loss(_LOSSES["mae"], prediction, target, out, sample_weight)


def huber(
    prediction: Array,
    target: Array,
    *,
    delta: float = 1.0,
    sample_weight: Array | None = None,
    out: Array | None = None,
) -> tuple[float, Array]:
    """Return the mean of the Huber loss over all elements, and its gradient.

    Arguments and errors are the same as for :func:`mse`, with ``delta`` above 0 in addition. With
    ``d = prediction - target`` the loss is ``d**2 / 2`` where ``abs(d) <= delta``, and ``delta *
    (abs(d) - delta / 2)`` elsewhere. The gradient is ``d`` clipped to ``[-delta, delta]``, divided
    by the size.
    """
    delta = _checks.positive(delta, "delta")
    return _element_loss(_LOSSES["huber"], prediction, target, out, sample_weight, parameter=delta)


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
        Margin by which the score of the label should exceed the other scores, above 0.
    sample_weight : array of shape (N,), optional
        Weights of the samples in the mean, finite and at least 0.
    out : array of shape (N, C), optional
        Receives the gradient; may be ``scores``.

    Returns
    -------
    loss : float
        The mean over the rows of the sum over ``j != y`` of ``max(0, scores[j] - scores[y] +
        margin)``.
    gradient : array of shape (N, C)
        1 / N where that term is positive; at the label minus the number of positive terms, divided
        by N.

    Raises
    ------
    ValueError
        If the shapes do not fit, there are no rows, or a label or setting is out of its range.
    """
    scores = operand(scores, "scores")
    if scores.ndim != 2 or not scores.size:
        raise ValueError(
            f"scores must have shape (N, C) and must not be empty, got {scores.shape}."
        )
    margin = _checks.positive(margin, "margin")
    if sample_weight is not None:
        sample_weight = _weights(sample_weight, scores.shape[0], "sample_weight", FLOAT64)
    classes = integer_labels(labels, scores.shape[0], "labels")
    if classes is None:
        got = np.asarray(labels)
        raise ValueError(
            f"labels must be integers of shape ({scores.shape[0]},), got {got.dtype} of shape "
            f"{got.shape}."
        )
    out = output(out, scores.shape, scores.dtype)
    return losses.hinge(scores, classes, out, margin, sample_weight)


def count_correct(logits: Array, labels: Array) -> int:
    """Return the number of rows of logits (N, C) whose largest logit is at the label.

    In a tie the first one counts. ``labels`` are as in :func:`softmax_cross_entropy`.
    """
    result = losses.count_correct(logits, labels)
    if result is not None:
        return result
    logits = operand(logits, "logits")
    if logits.ndim != 2 or logits.shape[1] == 0:
        raise ValueError(
            f"logits must have shape (N, C) with at least one class, got {logits.shape}."
        )
    return losses.count_correct(logits, _labels_or_targets(labels, logits))


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
            f"{names[0]} and {names[1]} must have the same shape and must not be empty, got "
            f"{prediction.shape} and {shape}."
        )
    if sample_weight is not None:
        rows = shape[0] if shape else 1
        sample_weight = _weights(sample_weight, rows, "sample_weight", FLOAT64)
    out = output(out, shape, dtype)
    return losses.element_loss(kind, prediction, target, out, parameter, sample_weight)


def _weights(value: Any, count: int, name: str, dtype: DType) -> Array:
    """Return weights of shape (count,), checked to be finite and at least 0."""
    weights = np.require(np.ascontiguousarray(value, dtype), requirements="A")
    if weights.shape != (count,):
        raise ValueError(f"{name} must have shape ({count},), got {weights.shape}.")
    if not (weights.min() >= 0 and weights.max() < math.inf):
        raise ValueError(
            f"{name} must contain finite, non-negative numbers, got numbers from "
            f"{weights.min():g} to {weights.max():g}."
        )
    return weights


def _labels_or_targets(labels: Array, logits: Array) -> Array:
    classes = integer_labels(labels, logits.shape[0], "labels")
    if classes is not None:
        return classes
    targets = operand(labels, "labels", logits.dtype)
    if targets.shape != logits.shape:
        raise ValueError(
            f"labels must be integers of shape ({logits.shape[0]},) or probabilities of shape "
            f"{logits.shape}, got {targets.dtype} of shape {targets.shape}."
        )
    return targets
