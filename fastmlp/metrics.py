"""Metrics of predictions over a whole data set: functions of (y_true, y_pred), as in scikit-learn.

Labels are numbers, bools or strings (N,). Rows (N, K) of 0 and 1 are *multi-label*: K predictions
per sample. All functions return Python floats, except ``confusion_matrix``. A quotient 0 / 0 (for
example the precision of a class that is never predicted) counts as 0, without a warning. A wrong
argument raises ValueError.

``compile(metrics=[...])`` and ``fit(metrics=[...])`` accept their names; see
``Sequential.compile``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastmlp._types import Array

__all__ = [
    "accuracy",
    "confusion_matrix",
    "error",
    "f1",
    "log_loss",
    "mae",
    "mse",
    "precision",
    "r2",
    "recall",
    "top_k",
]

AVERAGES = ("binary", "macro", "micro", "weighted")


# --- Classes --------------------------------------------------------------------------------------


def accuracy(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Return the share of correct predictions.

    Parameters
    ----------
    y_true, y_pred : array of shape (N,), or (N, K) for multi-label
        Labels. For multi-label, each of the N * K predictions counts. scikit-learn's
        ``accuracy_score`` differs: it counts samples whose K predictions are all correct.

    Returns
    -------
    share : float
    """
    y_true, y_pred = _labels(y_true, y_pred)
    return float(np.mean(y_true == y_pred))


def error(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Return the share of wrong predictions: 1 - accuracy."""
    y_true, y_pred = _labels(y_true, y_pred)
    return float(np.mean(y_true != y_pred))


def top_k(y_true: npt.ArrayLike, y_score: npt.ArrayLike, k: int = 5) -> float:
    """Return the share of samples whose label is among the k classes with the highest scores.

    Parameters
    ----------
    y_true : integer array of shape (N,)
        Class numbers from 0 to C - 1.
    y_score : array of shape (N, C)
        Scores, such as the outputs of a model.
    k : int, default=5
        Number of classes, at least 1. Of classes with equal scores, the first ones rank higher, so
        that k = 1 is the accuracy of ``argmax``. In scikit-learn the last ones rank higher.

    Returns
    -------
    share : float
    """
    labels, scores = np.asarray(y_true), _numbers(y_score, "y_score")
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise ValueError(f"k must be a positive integer, got {k!r}.")
    _check_classes(labels, scores, "y_score")
    scores = np.where(np.isnan(scores), np.inf, scores)  # argmax returns NaN first
    own = np.take_along_axis(scores, labels[:, None].astype(np.int64), axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    higher = (scores > own) | ((scores == own) & earlier)
    return float(np.mean(np.count_nonzero(higher, axis=1) < k))


def confusion_matrix(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, labels: npt.ArrayLike | None = None
) -> Array:
    """Return how often each class (row) was predicted as each class (column).

    Parameters
    ----------
    y_true, y_pred : array of shape (N,)
        Labels.
    labels : array of shape (C,), default=None
        Classes of the rows and columns, in this order. Other classes are left out. None means all
        classes that occur, sorted.

    Returns
    -------
    counts : int64 array of shape (C, C)
    """
    true, predicted = _labels(y_true, y_pred)
    if true.ndim != 1:
        raise ValueError(f"y_true must have shape (N,), got {true.shape}.")
    classes, inverse = np.unique(np.concatenate([true, predicted]), return_inverse=True)
    rows, columns = inverse[: len(true)], inverse[len(true) :]
    size = len(classes)
    counts = np.bincount(rows * size + columns, minlength=size * size).reshape(size, size)
    if labels is None:
        return counts
    wanted = np.asarray(labels)
    if wanted.ndim != 1 or len(np.unique(wanted)) != len(wanted):
        raise ValueError(f"labels must have shape (C,), each class once, got {labels!r}.")
    found = np.searchsorted(classes, wanted)
    there = (found < size) & (classes[np.minimum(found, size - 1)] == wanted)
    result = np.zeros((len(wanted), len(wanted)), np.int64)
    result[np.ix_(there, there)] = counts[np.ix_(found[there], found[there])]
    return result


def precision(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, average: str = "binary") -> float:
    """Return the share of predictions of a class that are correct.

    Parameters
    ----------
    y_true, y_pred : array of shape (N,), or (N, K) for multi-label
        Labels.
    average : {"binary", "macro", "micro", "weighted"}, default="binary"
        "binary": the value of class 1; requires labels 0 and 1. "macro": the mean over the classes
        that occur, or over the K labels. "micro": one value from the counts of all classes.
        "weighted": the mean over classes, weighted by the number of true samples of each class.

    Returns
    -------
    share : float
    """
    right, predicted, actual = _counts(y_true, y_pred, average)
    return _average(right, predicted, actual, average)


def recall(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, average: str = "binary") -> float:
    """Return the share of a class that is predicted correctly; arguments as :func:`precision`."""
    right, _, actual = _counts(y_true, y_pred, average)
    return _average(right, actual, actual, average)


def f1(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, average: str = "binary") -> float:
    """Return the harmonic mean of precision and recall; arguments as :func:`precision`.

    The value of a class is ``2 * correct / (predicted + actual)``.
    """
    right, predicted, actual = _counts(y_true, y_pred, average)
    return _average(2 * right, predicted + actual, actual, average)


def log_loss(y_true: npt.ArrayLike, y_prob: npt.ArrayLike) -> float:
    """Return the mean of ``-log(probability of the true class)``.

    Parameters
    ----------
    y_true : array of shape (N,) or (N, C)
        Class numbers from 0 to C - 1, or rows of probabilities such as one-hot rows.
    y_prob : array of shape (N, C), or (N,) for the probability of class 1 of two
        Predicted probabilities. Rows must sum to 1 within 0.001. Values are clipped to
        [eps, 1 - eps], where eps is the machine epsilon of their dtype.

    Returns
    -------
    loss : float
    """
    probabilities = _numbers(y_prob, "y_prob")
    if probabilities.ndim == 1:
        probabilities = np.stack([1 - probabilities, probabilities], axis=1)
    true = np.asarray(y_true)
    if true.ndim == 1:
        _check_classes(true, probabilities, "y_prob")
        true = np.eye(probabilities.shape[1])[true.astype(np.int64)]
    else:
        _check_same(true, probabilities, "y_true", "y_prob")
    valid = (probabilities.min(axis=1) >= 0) & (np.abs(probabilities.sum(axis=1) - 1) <= 1e-3)
    if not valid.all():
        index = int(np.argwhere(~valid)[0, 0])
        row = probabilities[index]
        raise ValueError(
            "y_prob must have rows of probabilities that sum to 1, got a row with minimum "
            f"{row.min():g} and sum {row.sum():g} at index {index}."
        )
    eps = np.finfo(probabilities.dtype).eps
    logarithms = np.log(np.clip(probabilities, eps, 1 - eps), dtype=np.float64)
    return float(-np.mean((true * logarithms).sum(axis=1)))


# --- Numbers --------------------------------------------------------------------------------------


def mse(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Return the mean of ``(y_true - y_pred)**2`` over all elements of two equal shapes."""
    return float(np.mean(np.square(_difference(y_true, y_pred))))


def mae(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Return the mean of ``abs(y_true - y_pred)`` over all elements of two equal shapes."""
    return float(np.mean(np.abs(_difference(y_true, y_pred))))


def r2(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Return the coefficient of determination, averaged over the outputs.

    ``1 - sum((y_true - y_pred)**2) / sum((y_true - mean(y_true))**2)``. The maximum is 1. It is 0
    if all predictions are the mean of ``y_true``, and negative if they are worse. For a constant
    output it is 1 if all predictions are exact, and 0 otherwise. It is NaN for a single sample.

    Parameters
    ----------
    y_true, y_pred : array of shape (N, ...)

    Returns
    -------
    score : float
    """
    difference = _difference(y_true, y_pred)
    if len(difference) < 2:
        return float("nan")
    residual = np.square(difference.reshape(len(difference), -1)).sum(axis=0)
    true = np.asarray(y_true, np.float64).reshape(len(difference), -1)
    spread = np.square(true - true.mean(axis=0)).sum(axis=0)
    scores = np.where(residual == 0, 1.0, 0.0)
    varied = spread > 0
    scores[varied] = 1 - residual[varied] / spread[varied]
    return float(scores.mean())


# --- Shared functions -----------------------------------------------------------------------------


def _counts(
    y_true: npt.ArrayLike, y_pred: npt.ArrayLike, average: str
) -> tuple[Array, Array, Array]:
    """Return the correct, predicted and actual counts of each class, for ``average``."""
    if average not in AVERAGES:
        raise ValueError(f"average must be one of {', '.join(AVERAGES)}, got {average!r}.")
    true, predicted = _labels(y_true, y_pred)
    if average == "binary" or true.ndim == 2:
        for name, values in (("y_true", true), ("y_pred", predicted)):
            if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
                case, hint = "for multi-label", ""
                if true.ndim == 1:
                    case = 'with average="binary"'
                    hint = ' Choose another average, such as "macro", for other labels.'
                wrong = next(value for value in values.ravel().tolist() if value not in (0, 1))
                raise ValueError(f"{name} must hold labels 0 and 1 {case}, got {wrong!r}.{hint}")
    if true.ndim == 2:
        if average == "binary":
            raise ValueError(
                'average must be "macro", "micro" or "weighted" for multi-label, got "binary".'
            )
        true, predicted = true.astype(bool), predicted.astype(bool)
        counts = [(true & predicted).sum(axis=0), predicted.sum(axis=0), true.sum(axis=0)]
    elif average == "binary":
        true, predicted = true.astype(bool), predicted.astype(bool)
        counts = [np.array([x.sum()]) for x in (true & predicted, predicted, true)]
    else:
        matrix = confusion_matrix(true, predicted)
        counts = [matrix.diagonal(), matrix.sum(axis=0), matrix.sum(axis=1)]
    if average == "micro":
        counts = [x.sum(keepdims=True) for x in counts]
    return counts[0], counts[1], counts[2]


def _average(above: Array, below: Array, weights: Array, average: str) -> float:
    shares = above / np.maximum(below, 1)  # above is 0 where below is
    if average != "weighted":
        return float(shares.mean())
    total = weights.sum()
    return float((shares * weights).sum() / total) if total else 0.0


def _labels(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> tuple[Array, Array]:
    true, predicted = np.asarray(y_true), np.asarray(y_pred)
    if true.ndim not in (1, 2):
        raise ValueError(f"y_true must have shape (N,) or (N, K), got {true.shape}.")
    _check_same(true, predicted, "y_true", "y_pred")
    if (true.dtype.kind in "biuf") != (predicted.dtype.kind in "biuf"):
        raise ValueError(
            f"y_true and y_pred must hold labels of the same kind, got {true.dtype} and "
            f"{predicted.dtype}."
        )
    return true, predicted


def _numbers(value: npt.ArrayLike, name: str) -> Array:
    result = np.asarray(value)
    if result.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold numbers, got dtype {result.dtype}.")
    return result if result.dtype.kind == "f" else result.astype(np.float64)


def _difference(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> Array:
    true, predicted = _numbers(y_true, "y_true"), _numbers(y_pred, "y_pred")
    _check_same(true, predicted, "y_true", "y_pred")
    result: Array = np.subtract(true, predicted, dtype=np.float64)
    return result


def _check_same(one: Array, other: Array, one_name: str, other_name: str) -> None:
    if one.shape != other.shape or not one.size or one.ndim == 0:
        raise ValueError(
            f"{one_name} and {other_name} must have the same shape and not be empty, got "
            f"{one.shape} and {other.shape}."
        )


def _check_classes(labels: Array, scores: Array, name: str) -> None:
    if scores.ndim != 2 or not scores.size or labels.shape != scores.shape[:1]:
        raise ValueError(
            f"y_true and {name} must have shapes (N,) and (N, C) and not be empty, got "
            f"{labels.shape} and {scores.shape}."
        )
    classes = scores.shape[1]
    if labels.dtype.kind not in "biuf":
        raise ValueError(
            f"y_true must hold class numbers from 0 to {classes - 1}, got dtype {labels.dtype}."
        )
    valid = (labels == np.trunc(labels)) & (labels >= 0) & (labels < classes)
    if not valid.all():
        index = int(valid.argmin())
        raise ValueError(
            f"y_true must hold class numbers from 0 to {classes - 1}, got {labels[index].item()!r} "
            f"at index {index}."
        )
