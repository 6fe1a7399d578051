"""The layer that standardizes samples with the mean and variance of the training data."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp import _checks, _memmap
from fastmlp._arrays import empty
from fastmlp._types import Array, DType, Shape
from fastmlp.layers.base import GradientSink, Layer
from fastmlp.parameter import Parameter

__all__ = ["Standardize"]

_BLOCK_VALUES = 1 << 19


class Standardize(Layer):
    """Shift and scale each feature of the samples to mean 0 and variance 1.

    ``y = (x - mean) * scale``, with the mean and ``scale = 1 / std`` of the training data. The
    first ``fit``, or ``adapt``, computes both. Further calls to ``fit`` do not change them. Model
    files and checkpoints contain them. (Keras calls this layer Normalization, scikit-learn
    StandardScaler.)

    Parameters
    ----------
    axis : int, tuple of int, or None, default=-1
        Axes of a sample along which each position has separate statistics, counted from the end.
        -1: one per feature of flat samples, or per channel of images. (-3, -2, -1): one per
        element of an image. None: one mean and one scale for all elements.
    mean, std : array, default=None
        Known statistics, either both or neither. Values are finite and ``std`` is above 0. The
        shape is the sizes of the axes in ``axis``; () or (1,) if ``axis`` is None. They refer to
        samples after multiplication by the model's ``scale``.

    Attributes
    ----------
    mean, scale : Parameter
        The statistics. They are buffers: ``model.buffers`` and model files contain them. A scale
        of 0 means that the layer has no statistics yet. Set once the layer is part of a network.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described above. The model raises it if the layer is not the first
        one, or if it has no statistics when training starts from single batches
        (``train_on_batch`` or a generator).

    Notes
    -----
    The standard deviation is the population's (divided by N). A constant feature is only centred:
    its scale is 1. Sums are in float64 around the mean, over blocks whose size depends only on the
    shape. Memory-mapped files are read once, in pieces. A training step standardizes the samples
    while it copies them in shuffled order.

    References
    ----------
    Chan, Golub and LeVeque, Algorithms for computing the sample variance, 1983.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential([fm.Standardize(), fm.Dense(2)], input_shape=3)
    >>> model.layers[0].adapt([[0.0, 5.0, 1.0], [2.0, 5.0, 5.0]])
    >>> model.buffers["standardize_0.mean"].tolist()
    [1.0, 5.0, 3.0]
    >>> model.buffers["standardize_0.scale"].tolist()
    [1.0, 1.0, 0.5]
    """

    moves_buffers = False

    def __init__(
        self,
        axis: int | tuple[int, ...] | None = -1,
        mean: npt.ArrayLike | None = None,
        std: npt.ArrayLike | None = None,
    ) -> None:
        super().__init__()
        self.axis = _axis(axis)
        if (mean is None) != (std is None):
            given = "std" if mean is None else "mean"
            raise ValueError(f"mean and std are required together, got only {given}.")
        self._given = None if mean is None else _statistics(mean, std)
        # Factor that the network applies to the samples before this layer; set by the network.
        self.input_scale = 1.0

    def build(self, input_shape: Shape) -> Shape:
        """Declare ``mean`` and ``scale``, with the sizes of the axes in ``axis``."""
        if self.number > 0:
            raise ValueError(
                f"{self.name} must be the first layer of a network, got layers[{self.number}]."
            )
        kept: Shape = ()
        if self.axis is not None:
            kept = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        if kept and -min(kept) > len(input_shape):
            raise ValueError(
                f"{self.name}: axis must be in range for samples of shape {input_shape}, got "
                f"{self.axis}."
            )
        axes = range(-len(input_shape), 0)
        shape = tuple(input_shape[axis] for axis in axes if axis in kept) or (1,)
        self._others = tuple(axis for axis in axes if axis not in kept)
        # The shape of the statistics for broadcasting with a sample.
        self._beside = tuple(input_shape[axis] if axis in kept else 1 for axis in axes)
        mean, scale = self._given or (np.zeros(shape), np.zeros(shape))
        for name, array in (("mean", mean), ("std", scale)):
            if array.shape != shape and (shape, array.shape) != ((1,), ()):
                raise ValueError(f"{self.name}: {name} must have shape {shape}, got {array.shape}.")
        self.mean = Parameter("mean", shape, _Constant(mean), 1, 1)
        self.scale = Parameter("scale", shape, _Constant(scale), 1, 1)
        self.buffers = [self.mean, self.scale]
        return input_shape

    @property
    def is_adapted(self) -> bool:
        """Whether the layer has its statistics."""
        return self.input_shape is not None and bool(self.scale.live.item(0))

    def check_ready(self) -> None:
        """Raise ValueError if the layer has no statistics yet."""
        if not self.is_adapted:
            raise ValueError(
                f"{self.name} has no statistics yet. Call fit with arrays or "
                "model.layers[0].adapt(x) first."
            )

    def adapt(self, x: npt.ArrayLike) -> None:
        """Compute mean and scale from samples, replacing the present values.

        Parameters
        ----------
        x : array of shape (N, *input_shape)
            Samples as for ``fit``, not yet multiplied by the model's ``scale``. Memory-mapped files
            are read in pieces.

        Raises
        ------
        ValueError, TypeError
            If the layer is not part of a model, or ``x`` is not an array of samples for it.
        """
        if self.input_shape is None:
            raise ValueError(
                "adapt requires a layer that is part of a model. Create the model first."
            )
        dtype = self.mean.live.dtype
        samples = _checks.features(x, self.input_shape, dtype, in_pieces=True)
        self.adapt_checked(samples)

    def adapt_checked(self, samples: Array) -> None:
        """Compute the statistics of checked samples: finite numbers, (N, *input_shape)."""
        count, mean, squares = 0, np.zeros(self._beside), np.zeros(self._beside)
        axes = (0, *self._others)
        # Sums are of distances from the first sample, which are exactly 0 for constant features.
        origin = samples[:1].astype(np.float64)
        for axis in self._others:
            origin = origin.take([0], axis=axis)
        with np.errstate(all="ignore"):
            for block in _blocks(samples):
                values = block - origin
                n = values.size // max(mean.size, 1)
                centre = values.mean(axis=axes, keepdims=True)[0]
                values -= centre
                np.square(values, out=values)
                distance = centre - mean
                total = count + n
                squares += values.sum(axis=axes, keepdims=True)[0]
                squares += distance * distance * (count * n / total)
                mean += distance * (n / total)
                count = total
            mean = (mean + origin[0]) * self.input_scale
            deviation = np.sqrt(squares / count) * self.input_scale
            dtype = self.mean.live.dtype
            scale = (1 / deviation).astype(dtype)
            # A deviation that is too small to divide by counts as 0.
            scale[(deviation == 0) | ~np.isfinite(scale)] = 1
            mean = mean.astype(dtype)
        if not (np.isfinite(mean).all() and np.isfinite(deviation).all() and scale.all()):
            raise ValueError(
                f"{self.name}: x must have a finite variance, but its numbers are too large."
            )
        self.mean.write(mean.reshape(self.mean.shape))
        self.scale.write(scale.reshape(self.scale.shape))

    def rows(self) -> tuple[Array, Array]:
        """Return mean and scale of every element of a sample, each as a flat array."""
        mean, scale = (each.value.reshape(self._beside) for each in (self.mean, self.scale))
        shape = self.input_shape or ()
        return (
            np.broadcast_to(mean, shape).reshape(-1),
            np.broadcast_to(scale, shape).reshape(-1),
        )

    def workspace(self, n: int, dtype: DType) -> Array:
        """Return the output buffer for a batch of ``n`` samples."""
        return empty((n, *(self.output_shape or ())), dtype)

    def forward(self, ops: ModuleType, x: Array, workspace: Array) -> Array:
        """Return ``(x - mean) * scale``."""
        mean, scale = (each.value.reshape(self._beside) for each in (self.mean, self.scale))
        with np.errstate(all="ignore"):
            np.subtract(x, mean, out=workspace)
            np.multiply(workspace, scale, out=workspace)
        return workspace

    def backward(
        self, ops: ModuleType, dy: Array, workspace: Array, sink: GradientSink, need_dx: bool
    ) -> Array | None:
        """Return the gradient with respect to the samples."""
        scale = self.scale.value.reshape(self._beside)
        with np.errstate(all="ignore"):
            result: Array = np.multiply(dy, scale, out=dy)
        return result

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments without the statistics, which are buffers."""
        axes = () if self.axis is None else self.axis
        return {"axis": list(axes) if isinstance(axes, tuple) else axes}

    def __repr__(self) -> str:
        return "Standardize()" if self.axis == -1 else f"Standardize(axis={self.axis})"


class _Constant:
    """A picklable initializer that returns a given array."""

    def __init__(self, values: Array) -> None:
        self._values = values

    def __call__(self, shape: Shape, fan_in: int, fan_out: int, seed: int, index: int) -> Array:
        return self._values.reshape(shape)


def _blocks(samples: Array) -> Iterator[Array]:
    """Yield the samples as float64, in blocks."""
    rows = max(1, _BLOCK_VALUES // max(1, samples[0].size))
    if not _memmap.is_large(samples):
        for start in range(0, len(samples), rows):
            yield samples[start : start + rows].astype(np.float64)
        return
    for _, piece in _memmap.pieces(samples):
        for start in range(0, len(piece), rows):
            yield piece[start : start + rows].astype(np.float64)


def _axis(value: Any) -> int | tuple[int, ...] | None:
    if value is None or value in ((), []):
        return None
    axes = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    for axis in axes:
        if _checks.integer(axis, "axis", minimum=-8) >= 0:
            raise ValueError(f"axis must be negative (counted from the end), got {value!r}.")
    if len(set(axes)) < len(axes):
        raise ValueError(f"axis must not contain the same axis twice, got {value!r}.")
    found = tuple(sorted(int(axis) for axis in axes))
    return found if isinstance(value, (tuple, list)) else found[0]


def _statistics(mean: Any, std: Any) -> tuple[Array, Array]:
    """Return mean and 1 / std as float64 arrays, checked."""
    arrays = []
    for value, name in ((mean, "mean"), (std, "std")):
        array = _checks.array(value, name).astype(np.float64)
        wrong = ~np.isfinite(array) if name == "mean" else ~((array > 0) & (array < np.inf))
        if wrong.any():
            wanted = "finite numbers" if name == "mean" else "finite numbers above 0"
            raise ValueError(f"{name} must hold {wanted}, got {array[wrong].flat[0].item()!r}.")
        arrays.append(array)
    return arrays[0], 1 / arrays[1]
