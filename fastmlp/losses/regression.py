"""Losses of numbers: means over the outputs of each sample, and then over the samples."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from fastmlp import _checks
from fastmlp._types import Array, Shape
from fastmlp.losses.base import Loss

__all__ = ["Huber", "MeanAbsoluteError", "MeanSquaredError"]


class _Regression(Loss):
    """A loss of single values, whose operation is called by its name."""

    def targets(
        self, y: Any, n: int, output_shape: Shape, dtype: np.dtype[Any], name: str = "y"
    ) -> Array:
        """Return the targets as ``dtype`` (N, *output_shape); (N,) will do for one output."""
        return _checks.regression_targets(y, n, output_shape, dtype, name)

    def __call__(
        self,
        ops: ModuleType,
        output: Array,
        targets: Array,
        out: Array,
        weights: Array | None = None,
    ) -> tuple[float, Array]:
        """Return the mean loss and its gradient."""
        operation = getattr(ops, self.name)
        result: tuple[float, Array] = operation(
            output, targets, **self._settings, sample_weight=weights, out=out
        )
        return result


class MeanSquaredError(_Regression):
    """Mean of (output - target)**2 over all elements of the batch.

    Notes
    -----
    PyTorch's ``MSELoss``.
    """

    name = "mse"


class MeanAbsoluteError(_Regression):
    """Mean of abs(output - target) over all elements of the batch.

    Notes
    -----
    PyTorch's ``L1Loss``; where output and target are equal the gradient is 0.
    """

    name = "mae"

    def active_pieces(self, output: Array, targets: Array) -> Array | None:
        """Return which outputs are too large."""
        return output > targets


class Huber(_Regression):
    """Mean of Huber's loss over all elements of the batch: squares near 0, absolute values beyond.

    With ``d = output - target`` it is ``d**2 / 2`` where ``abs(d) <= delta``, else ``delta *
    (abs(d) - delta / 2)``, so that outliers pull no harder than ``delta``.

    Parameters
    ----------
    delta : float, default=1.0
        Where the square ends, above 0.

    Raises
    ------
    ValueError, TypeError
        If delta is not a finite number above 0.

    Notes
    -----
    PyTorch's ``HuberLoss``.

    References
    ----------
    Huber, Robust estimation of a location parameter, 1964.
    """

    name = "huber"

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__(delta=_checks.positive(delta, "delta"))

    @property
    def delta(self) -> float:
        """Where the square ends."""
        delta: Any = self._settings["delta"]
        return float(delta)

    def active_pieces(self, output: Array, targets: Array) -> Array | None:
        """Return which of the three pieces of the loss each difference is on: 0, 1 or 3."""
        difference = output - targets
        return (difference > -self.delta) + 2 * (difference > self.delta)
