"""Layers that are random in training and do nothing in prediction: dropout and Gaussian noise."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from fastmlp import _checks
from fastmlp._arrays import empty
from fastmlp._types import Array, DType, Shape
from fastmlp.layers.base import GradientSink, Layer, Training

__all__ = ["Dropout", "GaussianNoise"]


class Dropout(Layer):
    """Set random inputs to 0 in training and scale up the others; do nothing in prediction.

    Each element is set to 0 with probability ``rate``, or else multiplied by ``1 / (1 - rate)``, so
    that its expected value does not change (inverted dropout).

    Parameters
    ----------
    rate : float
        Probability that an element is dropped, at least 0 and below 1.

    Raises
    ------
    ValueError
        If ``rate`` is out of range.
    TypeError
        If ``rate`` is not a number.

    Notes
    -----
    Samples may have any shape. The mask is a function of the network's seed, the layer's position
    in the network, the step number counted from the creation of the network
    (``model.steps_done + 1``), the sample's position in the batch and the element's position in the
    sample. So the masks of a run are the same on both backends, for any number of threads, and
    after resuming from a file. Masks are not stored. The backward pass draws them again, and
    between two dense layers they are applied in the same pass as the matrix products.

    ``model.gradients`` and ``gradcheck`` use the mask of the first step.

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, Dropout: a simple way to prevent
    neural networks from overfitting, 2014.

    Examples
    --------
    >>> import fastmlp as fm
    >>> layers = [fm.Dense(64, activation="relu"), fm.Dropout(0.5), fm.Dense(10)]
    >>> fm.Sequential(layers, input_shape=784).num_parameters
    50890
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = _checks.number(rate, "rate", minimum=0.0, below=1.0)

    def training_workspace(self, n: int, dtype: DType, training: Training) -> _Workspace | None:
        """Return the output buffer for a batch of ``n`` samples; None if nothing is dropped."""
        if self.rate == 0:
            return None
        return _Workspace((n, *(self.output_shape or ())), dtype, training)

    def forward(self, ops: ModuleType, x: Array, workspace: _Workspace | None) -> Array:
        """Return ``x`` with the mask of the step in training, and ``x`` itself in prediction."""
        if workspace is None:
            return x
        return self._masked(ops, x, workspace, workspace.y)

    def backward(
        self,
        ops: ModuleType,
        dy: Array,
        workspace: _Workspace | None,
        sink: GradientSink,
        need_dx: bool,
    ) -> Array | None:
        """Return ``dy`` with the same mask."""
        if workspace is None:
            return dy
        return self._masked(ops, dy, workspace, dy)

    def _masked(self, ops: ModuleType, x: Array, workspace: _Workspace, out: Array) -> Array:
        training = workspace.training
        y: Array = ops.dropout(
            x, self.rate, seed=training.seed, layer=self.number, step=training.step, out=out
        )
        return y

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"rate": self.rate}

    def __repr__(self) -> str:
        return f"Dropout({self.rate:g})"


class GaussianNoise(Layer):
    """Add normally distributed noise in training; do nothing in prediction.

    Parameters
    ----------
    stddev : float
        Standard deviation of the noise, at least 0 and finite. The mean is 0.

    Raises
    ------
    ValueError
        If ``stddev`` is out of range.
    TypeError
        If ``stddev`` is not a number.

    Notes
    -----
    Samples may have any shape. As the first layer, it adds noise after the network's ``scale``. The
    noise depends on the same numbers as a ``Dropout`` mask and is bitwise equal on both backends.
    The gradient passes through unchanged. A noise value takes about ten times as long to draw as a
    mask element.

    Examples
    --------
    >>> import fastmlp as fm
    >>> layers = [fm.GaussianNoise(0.1), fm.Dense(8, activation="relu"), fm.Dense(2)]
    >>> fm.Sequential(layers, input_shape=4).num_parameters
    58
    """

    def __init__(self, stddev: float) -> None:
        super().__init__()
        self.stddev = _checks.number(stddev, "stddev", minimum=0.0)

    def training_workspace(self, n: int, dtype: DType, training: Training) -> _Workspace | None:
        """Return the output buffer for a batch of ``n`` samples; None if nothing is added."""
        if self.stddev == 0:
            return None
        return _Workspace((n, *(self.output_shape or ())), dtype, training)

    def forward(self, ops: ModuleType, x: Array, workspace: _Workspace | None) -> Array:
        """Return ``x`` plus the noise of the step in training, and ``x`` itself in prediction."""
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

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"stddev": self.stddev}

    def __repr__(self) -> str:
        return f"GaussianNoise({self.stddev:g})"


class _Workspace:
    __slots__ = ("training", "y")

    def __init__(self, shape: Shape, dtype: DType, training: Training) -> None:
        self.y = empty(shape, dtype)
        self.training = training
