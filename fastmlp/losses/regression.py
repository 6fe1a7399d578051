"""Elementwise losses for regression: means over the outputs of each sample, then over samples."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from fastmlp import _checks
from fastmlp._types import Array, DType, Shape
from fastmlp.losses.base import Loss

__all__ = ["Huber", "MeanAbsoluteError", "MeanSquaredError"]


class _Regression(Loss):
    """An elementwise loss; the operation in ``ops`` has the name of the loss."""

    def targets(self, y: Any, n: int, output_shape: Shape, dtype: DType, name: str = "y") -> Array:
        """Return the targets as ``dtype`` (N, *output_shape). One output also accepts (N,)."""
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
    """Mean of ``(output - target)**2`` over all elements of the batch.

    Notes
    -----
    The same as PyTorch's ``MSELoss``.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential([fm.Flatten()], input_shape=2)  # the outputs are the inputs
    >>> model.compile(loss="mse")
    >>> model.evaluate([[1.0, 2.0]], [[1.0, 4.0]])["loss"]
    2.0
    """

    name = "mse"


class MeanAbsoluteError(_Regression):
    """Mean of ``abs(output - target)`` over all elements of the batch.

    Notes
    -----
    The same as PyTorch's ``L1Loss``. The gradient is 0 where output and target are equal.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential([fm.Flatten()], input_shape=2)  # the outputs are the inputs
    >>> model.compile(loss="mae")
    >>> model.evaluate([[1.0, 2.0]], [[1.0, 4.0]])["loss"]
    1.0
    """

    name = "mae"

    def active_pieces(self, output: Array, targets: Array) -> Array | None:
        """Return which outputs are above their targets."""
        return output > targets


class Huber(_Regression):
    """Mean of the Huber loss over all elements of the batch: quadratic near 0, linear beyond.

    With ``d = output - target``, an element's loss is ``d**2 / 2`` if ``abs(d) <= delta``, and
    ``delta * (abs(d) - delta / 2)`` otherwise. So the gradient of an outlier is at most ``delta``.

    Parameters
    ----------
    delta : float, default=1.0
        Difference at which the loss turns from quadratic to linear, above 0.

    Raises
    ------
    ValueError, TypeError
        If delta is not a finite number above 0.

    Notes
    -----
    The same as PyTorch's ``HuberLoss``.

    References
    ----------
    Huber, Robust estimation of a location parameter, 1964.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential([fm.Flatten()], input_shape=2)  # the outputs are the inputs
    >>> model.compile(loss=fm.Huber(delta=1.0))
    >>> model.evaluate([[1.0, 2.0]], [[1.0, 4.0]])["loss"]
    0.75
    """

    name = "huber"

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__(delta=_checks.positive(delta, "delta"))

    @property
    def delta(self) -> float:
        """Difference at which the loss turns from quadratic to linear."""
        delta: Any = self._settings["delta"]
        return float(delta)

    def active_pieces(self, output: Array, targets: Array) -> Array | None:
        """Return the piece of the loss that each difference is on: 0, 1 or 3."""
        difference = output - targets
        return (difference > -self.delta) + 2 * (difference > self.delta)
