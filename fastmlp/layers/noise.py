"""The layer that adds noise to its inputs in training."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastmlp import _checks
from fastmlp._arrays import empty
from fastmlp.layers.base import GradientSink, Layer, Training

if TYPE_CHECKING:
    from fastmlp._plan.builder import Builder, Gradient, Value

__all__ = ["GaussianNoise"]

Array = npt.NDArray[Any]


class GaussianNoise(Layer):
    """Add normally distributed noise in training; else do nothing.

    Parameters
    ----------
    stddev : float
        Standard deviation of the noise, at least 0 and finite. Its mean is 0.

    Raises
    ------
    ValueError
        If ``stddev`` is out of its range.
    TypeError
        If it is not a number.

    Notes
    -----
    Takes samples of any shape, scaled ones where the network scales them. The noise is a function
    of the same numbers as the masks of ``Dropout``, and the same bits on both backends. The
    gradient passes as it is. A value costs about ten times what one of a mask does.

    Examples
    --------
    >>> import fastmlp as fm
    >>> layers = [fm.GaussianNoise(0.1), fm.Dense(8, activation="relu"), fm.Dense(2)]
    >>> fm.Sequential(layers, input_shape=(4,)).num_parameters
    58
    """

    def __init__(self, stddev: float) -> None:
        super().__init__()
        self.stddev = _checks.number(stddev, "stddev", minimum=0.0)

    def training_workspace(
        self, n: int, dtype: np.dtype[Any], training: Training
    ) -> _Workspace | None:
        """Return the output buffer for a batch of ``n`` samples; None if nothing is added."""
        if self.stddev == 0:
            return None
        return _Workspace((n, *(self.output_shape or ())), dtype, training)

    def forward(self, ops: ModuleType, x: Array, workspace: _Workspace | None) -> Array:
        """Return ``x`` and the noise of the step, in training; else ``x`` itself."""
        if workspace is None:
            return x
        training = workspace.training
        y: Array = ops.gaussian_noise(
            x,
            self.stddev,
            seed=training.seed,
            layer=self.number,
            step=training.step,
            out=workspace.y,
        )
        return y

    def backward(
        self, ops: ModuleType, dy: Array, workspace: Any, sink: GradientSink, need_dx: bool
    ) -> Array | None:
        """Return ``dy``."""
        return dy

    def lower(self, plan: Builder, x: Value) -> Value:
        """Add the noise to a plan that trains."""
        return plan.gaussian_noise(self, x, self.stddev)

    def lower_backward(
        self, plan: Builder, x: Value, y: Value, gradient: Gradient, need_dx: bool
    ) -> Gradient | None:
        """Hand the gradient on."""
        return plan.gradient(plan.derive(self, y, gradient).buffer, x)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"stddev": self.stddev}

    def __repr__(self) -> str:
        return f"GaussianNoise({self.stddev:g})"


class _Workspace:
    __slots__ = ("training", "y")

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], training: Training) -> None:
        self.y = empty(shape, dtype)
        self.training = training
