"""Metrics by name: functions of targets and raw outputs that fit a loss."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmlp import _checks, metrics
from fastmlp._types import Array
from fastmlp.losses import BinaryCrossEntropy, CrossEntropy, Loss

__all__ = ["Given", "Metric", "Scores", "check_metrics", "names", "scores"]

Function = Callable[[Array, Array], float]
Given = str | Callable[[Any, Any], Any]
"""A metric as users pass it: a name, or a function of (y_true, outputs)."""

_TOP = re.compile(r"top_([1-9][0-9]*)")
_CLASSES = {"precision": metrics.precision, "recall": metrics.recall, "f1": metrics.f1}
_NUMBERS = {"mse": metrics.mse, "mae": metrics.mae, "r2": metrics.r2}
_AVERAGED = [f"{name}_{average}" for name in _CLASSES for average in ("macro", "micro", "weighted")]
# The names that a message lists; "top_5" stands for any number.
_KNOWN = ["accuracy", "error", "top_5", *_CLASSES, *_AVERAGED, "log_loss", *_NUMBERS]


class Metric(NamedTuple):
    """A name and a function of targets and raw outputs."""

    name: str
    function: Function


class Scores(NamedTuple):
    """What is measured besides the loss.

    Attributes
    ----------
    accuracy : bool
        Whether the passes count correct predictions.
    metrics : tuple of Metric
        Computed from the outputs of a whole data set.
    predictions_per_sample : int
        Number of predictions per sample that count for the accuracy.
    """

    accuracy: bool
    metrics: tuple[Metric, ...]
    predictions_per_sample: int


def check_metrics(given: Any) -> tuple[Given, ...]:
    """Return metrics as users pass them, after the checks that need no loss.

    Raises
    ------
    ValueError
        If a name is unknown (the message lists the known ones), reserved, or used twice.
    TypeError
        If ``given`` is not a list of names and functions.
    """
    if isinstance(given, (str, bytes)) or callable(given) or not isinstance(given, Iterable):
        raise TypeError(f"metrics must be a list of names and functions, got {given!r}.")
    result = tuple(given)
    known = dict.fromkeys(_KNOWN)
    for metric in result:
        if callable(metric):
            if not isinstance(getattr(metric, "__name__", None), str):
                raise TypeError(f"a metric function must have a __name__, got {metric!r}.")
        elif not (isinstance(metric, str) and _TOP.fullmatch(metric)):
            _checks.lookup(metric, known, "a metric")
    columns = names(result)
    for index, name in enumerate(columns):
        if name in columns[:index]:
            raise ValueError(f"metrics must have different names, got {name!r} twice.")
        if name in ("loss", "learning_rate", "time") or name.startswith("val_"):
            raise ValueError(f"a metric cannot be called {name!r}: the history uses that name.")
    return result


def names(given: Sequence[Given]) -> list[str]:
    """Return the names of metrics in ``History``."""
    return [metric if isinstance(metric, str) else metric.__name__ for metric in given]


def scores(given: Sequence[Given] | None, loss: Loss, output_shape: tuple[int, ...]) -> Scores:
    """Return what to measure; None means accuracy if the loss has classes.

    Raises
    ------
    ValueError
        If a metric does not fit the loss or the outputs.
    """
    per_sample = loss.predictions_per_sample(output_shape)
    if given is None:
        return Scores(loss.classifies, (), per_sample)
    made = []
    for metric, name in zip(given, names(given), strict=True):
        if callable(metric):
            made.append(Metric(name, _user_defined(metric)))
        elif metric != "accuracy":
            made.append(Metric(name, _quiet(_named(name, loss, output_shape))))
    if "accuracy" in given:
        _require(loss.classifies, "accuracy", "a loss with classes, such as cross_entropy")
    return Scores("accuracy" in given, tuple(made), per_sample)


def _named(name: str, loss: Loss, output_shape: tuple[int, ...]) -> Function:
    if name in _NUMBERS:
        _require(not loss.classifies, name, "a regression loss, such as mse")
        return _NUMBERS[name]
    _require(loss.classifies, name, "a loss with classes, such as cross_entropy")
    binary = isinstance(loss, BinaryCrossEntropy)
    top = _TOP.fullmatch(name)
    if top is not None:
        _require(not binary, name, "a loss with one class per sample, such as cross_entropy")
        k = int(top[1])
        if k > output_shape[0]:
            raise ValueError(
                f"metrics: {name} needs at least {k} classes, got outputs of shape {output_shape}."
            )
        return lambda targets, outputs: metrics.top_k(_hard(targets), outputs, k)
    if name == "log_loss":
        return _log_loss(loss)
    kind, _, average = name.partition("_")
    if kind == "error":
        measure: Function = metrics.error
    else:
        two = output_shape == (1,) if binary else output_shape[0] == 2
        measure = functools.partial(
            _CLASSES[kind], average=average or ("binary" if two else "macro")
        )
    if not binary:
        return lambda targets, outputs: measure(_hard(targets), outputs.argmax(axis=1))
    return lambda targets, outputs: measure(_labels(targets > 0.5), _labels(outputs > 0))


def _hard(targets: Array) -> Array:
    """Return labels, also for targets that are rows of probabilities."""
    return targets if targets.ndim == 1 else targets.argmax(axis=1)


def _labels(positive: Array) -> Array:
    """Return binary predictions or targets as 0 and 1 in (N, K), or in (N,) if K is 1."""
    flat = positive.reshape(len(positive), -1).astype(np.int8)
    return flat[:, 0] if flat.shape[1] == 1 else flat


def _log_loss(loss: Loss) -> Function:
    if isinstance(loss, BinaryCrossEntropy):

        def of_outputs(targets: Array, outputs: Array) -> float:
            probabilities = 1 / (1 + np.exp(-outputs.astype(np.float64)))
            both = np.stack([1 - targets, targets], axis=-1).reshape(-1, 2)
            return metrics.log_loss(both, probabilities.reshape(-1))

        return of_outputs
    _require(isinstance(loss, CrossEntropy), "log_loss", "cross_entropy or binary_cross_entropy")

    def of_classes(targets: Array, outputs: Array) -> float:
        shifted = outputs.astype(np.float64)
        shifted -= shifted.max(axis=1, keepdims=True)
        np.exp(shifted, out=shifted)
        return metrics.log_loss(targets, shifted / shifted.sum(axis=1, keepdims=True))

    return of_classes


def _quiet(function: Function) -> Function:
    """Return the function with a result of NaN, without a warning, if outputs are not finite."""

    def measure(targets: Array, outputs: Array) -> float:
        if not np.isfinite(outputs).all():
            return math.nan
        with np.errstate(all="ignore"):
            return function(targets, outputs)

    return measure


def _user_defined(function: Callable[[Any, Any], Any]) -> Function:
    """Return a user-defined metric with a check that it returns a number."""

    def measure(targets: Array, outputs: Array) -> float:
        value = function(targets, outputs)
        try:
            return float(value)
        except (TypeError, ValueError):
            name = getattr(function, "__name__", "")
            raise TypeError(f"metric {name} must return a number, got {value!r}.") from None

    return measure


def _require(fits: bool, name: str, what: str) -> None:
    if not fits:
        raise ValueError(f"metrics: {name} needs {what}.")
