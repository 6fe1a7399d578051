"""Comparisons of models, gradients and runs, for tests of plans, layers and trainings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

import fastmlp as fm

__all__ = ["BACKENDS", "near", "near_all", "padding", "same_runs", "values"]

BACKENDS = ("numpy", "kernels")


def values(model: fm.Sequential) -> dict[str, np.ndarray]:
    """Return copies of the parameters of a model."""
    return {name: np.array(value) for name, value in model.parameters.items()}


def near(one: Any, other: Any, tolerance: float = 1e-12, case: Any = "") -> None:
    """Assert that two arrays differ by at most ``tolerance``, relative to the largest value."""
    one, other = np.asarray(one), np.asarray(other)
    assert one.shape == other.shape, case
    assert one.dtype == other.dtype, case
    difference = np.abs(one - other).max(initial=0)
    assert difference <= tolerance * max(np.abs(other).max(initial=0), 1e-3), (difference, case)


def near_all(one: Mapping[str, Any], other: Mapping[str, Any], tolerance: float = 1e-12) -> None:
    """Assert that two dicts of arrays have the same names and near values."""
    assert one.keys() == other.keys()
    for name in other:
        near(one[name], other[name], tolerance, name)


def same_runs(runs: Any, tolerance: float) -> None:
    """Compare the results of two runs: (history, parameters, predictions)."""
    (history, weights, outputs), (wanted, expected, predicted) = runs
    assert history.keys() == wanted.keys()
    for name in wanted.keys() - {"time"}:
        near(history[name], wanted[name], tolerance, name)
    near_all(weights, expected, tolerance)
    near(outputs, predicted, tolerance)


def padding(model: fm.Sequential) -> float:
    """Return the largest value behind the last column of the weights in panels; it must be 0."""
    largest = 0.0
    for parameter in model.named_parameters.values():
        if parameter.live.ndim == 3:
            panels, _, width = parameter.live.shape
            behind = parameter.live[-1, :, parameter.shape[-1] - (panels - 1) * width :]
            largest = max(largest, np.abs(behind).max(initial=0.0))
    return largest
