"""The layer that brings the features of samples to mean 0 and variance 1, by the training data."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp import _checks, _memmap
from fastmlp._arrays import empty
from fastmlp._types import Array, Shape
from fastmlp.layers.base import GradientSink, Layer
from fastmlp.parameter import Parameter

__all__ = ["Standardize"]

_BLOCK_VALUES = 1 << 19


class Standardize(Layer):
    """Bring every feature of the samples to mean 0 and variance 1.

    ``y = (x - mean) * scale``, with mean and ``scale = 1 / std`` of the training data. They are
    learnt by the first ``fit``, or by ``adapt``, stay what they are ever after, and travel with the
    model: in its files and checkpoints, and in every prediction. (Keras calls it Normalization,
    scikit-learn StandardScaler.)

    Parameters
    ----------
    axis : int, tuple of int, or None, default=-1
        Which axes of a sample have statistics of their own, counted from the end. -1: the features
        of flat samples, the channels of images. (-3, -2, -1): every value of an image. None: one
        mean and one scale for all values.
    mean, std : array, default=None
        The statistics, where they are known, both or none: finite, ``std`` above 0, of the sizes
        that ``axis`` names, () or (1,) for None. They are those of the samples times the model's
        ``scale``.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above. From the model's methods: if it is not the first layer; if
        it has not seen data yet, and batches come one at a time (``train_on_batch``, a generator).

    Notes
    -----
    The deviation is that of the population (divided by N). A feature that never changes is only
    centred: its scale is 1. Sums are in float64 around the mean, of blocks whose sizes depend on
    the shape alone; files that are mapped are read once, piece by piece.

    Buffers, in ``model.buffers`` and in model files: ``mean`` and ``scale``; a scale of 0 means
    that it has not seen data. In a training step it is part of the copy of the shuffled samples.

    References
    ----------
    Chan, Golub and LeVeque, Algorithms for computing the sample variance, 1983.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential([fm.Standardize(), fm.Dense(2)], input_shape=(3,))
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
            missing = "mean" if mean is None else "std"
            raise ValueError(f"mean and std must be given together, got no {missing}.")
        self._given = None if mean is None else _statistics(mean, std)
        # Factor of the samples before they come here; the network tells it.
        self.input_scale = 1.0

    def build(self, input_shape: Shape) -> Shape:
        """Declare ``mean`` and ``scale``, of the sizes of the axes that have their own."""
        if self.number > 0:
            raise ValueError(f"{self.name} must be the first layer of a network.")
        kept: tuple[int, ...] = ()
        if self.axis is not None:
            kept = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        if kept and -min(kept) > len(input_shape):
            raise ValueError(
                f"{self.name}: axis must name axes of samples of shape {input_shape}, got "
                f"{self.axis}."
            )
        axes = range(-len(input_shape), 0)
        shape = tuple(input_shape[axis] for axis in axes if axis in kept) or (1,)
        self._others = tuple(axis for axis in axes if axis not in kept)
        # As it is written beside a sample.
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
        """Whether it knows mean and scale."""
        return self.input_shape is not None and bool(self.scale.live.item(0))

    def check_ready(self) -> None:
        """Refuse a pass before it has seen data."""
        if not self.is_adapted:
            raise ValueError(
                f"{self.name} has not seen data yet: call fit with arrays, or "
                "model.layers[0].adapt(x), first."
            )

    def adapt(self, x: npt.ArrayLike) -> None:
        """Learn mean and scale from samples, in place of what they were.

        Parameters
        ----------
        x : array of shape (N, *input_shape)
            As for ``fit``: before the model's ``scale``. Mapped files are read piece by piece.

        Raises
        ------
        ValueError, TypeError
            If the layer is not part of a model, or ``x`` does not fit it.
        """
        if self.input_shape is None:
            raise ValueError("adapt needs a layer of a model: make the model first.")
        dtype = self.mean.live.dtype
        samples = _checks.features(x, self.input_shape, dtype, in_pieces=True)
        self.adapt_checked(samples)

    def adapt_checked(self, samples: Array) -> None:
        """Learn from samples that are checked: finite numbers, (N, *input_shape)."""
        count, mean, squares = 0, np.zeros(self._beside), np.zeros(self._beside)
        axes = (0, *self._others)
        # Distances from a sample: of a feature that never changes they are exactly 0.
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
            # Too little to divide by is none.
            scale[(deviation == 0) | ~np.isfinite(scale)] = 1
            mean = mean.astype(dtype)
        if not (np.isfinite(mean).all() and np.isfinite(deviation).all() and scale.all()):
            raise ValueError(
                f"{self.name}: x must have a finite variance, and its numbers are too large."
            )
        self.mean.write(mean.reshape(self.mean.shape))
        self.scale.write(scale.reshape(self.scale.shape))

    def rows(self) -> tuple[Array, Array]:
        """Return mean and scale of every value of a sample, in a row."""
        mean, scale = (each.value.reshape(self._beside) for each in (self.mean, self.scale))
        shape = self.input_shape or ()
        return (
            np.broadcast_to(mean, shape).reshape(-1),
            np.broadcast_to(scale, shape).reshape(-1),
        )

    def workspace(self, n: int, dtype: np.dtype[Any]) -> Array:
        """Return the memory of the outputs of ``n`` samples."""
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
        """Return the gradient by the samples."""
        scale = self.scale.value.reshape(self._beside)
        with np.errstate(all="ignore"):
            result: Array = np.multiply(dy, scale, out=dy)
        return result

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; the statistics are in buffers."""
        axes = () if self.axis is None else self.axis
        return {"axis": list(axes) if isinstance(axes, tuple) else axes}

    def __repr__(self) -> str:
        return "Standardize()" if self.axis == -1 else f"Standardize(axis={self.axis})"


class _Constant:
    """An initializer that gives an array, and can be pickled."""

    def __init__(self, values: Array) -> None:
        self._values = values

    def __call__(self, shape: Shape, fan_in: int, fan_out: int, seed: int, index: int) -> Array:
        return self._values.reshape(shape)


def _blocks(samples: Array) -> Iterator[Array]:
    """Yield the samples as float64, some at a time."""
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
            raise ValueError(f"axis must be counted from the end, below 0, got {value!r}.")
    if len(set(axes)) < len(axes):
        raise ValueError(f"axis must name different axes, or be None, got {value!r}.")
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
