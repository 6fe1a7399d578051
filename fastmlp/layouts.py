"""Images and weights in the axis order of other frameworks: PyTorch (channels first) and Keras.

==================  ==============================  ============================
array               fastmlp and Keras               PyTorch
==================  ==============================  ============================
images              (N, H, W, C)                    (N, C, H, W)
filters             (kh, kw, C, F)                  (F, C, kh, kw)
dense weights       (in, out)                       (out, in)
dense, flat images  rows in the order (H, W, C)     columns in the order (C, H, W)
embeddings          (V, D)                          (V, D)
normalization       gamma, beta                     weight, bias
running statistics  mean, variance                  running_mean, running_var
==================  ==============================  ============================

``from_torch``, ``to_torch``, ``from_keras`` and ``to_keras`` convert whole models.

All functions return new C-contiguous arrays of the same dtype. They accept everything that numpy
converts to an array, and PyTorch tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fastmlp._types import Array, Shape
from fastmlp.layers import BatchNorm, Conv2D, Dense, Embedding, Flatten, Layer, LayerNorm
from fastmlp.network import Network
from fastmlp.parameter import Parameter

__all__ = [
    "dense_from_torch",
    "dense_to_torch",
    "filters_from_torch",
    "filters_to_torch",
    "from_keras",
    "from_torch",
    "images_from_torch",
    "images_to_torch",
    "to_keras",
    "to_torch",
]

_Image = tuple[int, int, int]

_ELEMENTWISE = (BatchNorm, LayerNorm)
_COUNTER = "num_batches_tracked"


def images_from_torch(x: Any) -> Array:
    """Return images (N, C, H, W) as (N, H, W, C).

    Raises
    ------
    ValueError
        If there are not four dimensions.
    """
    return _transposed(x, "x", "(N, C, H, W)", (0, 2, 3, 1))


def images_to_torch(x: Any) -> Array:
    """Return images (N, H, W, C) as (N, C, H, W).

    Raises
    ------
    ValueError
        If there are not four dimensions.
    """
    return _transposed(x, "x", "(N, H, W, C)", (0, 3, 1, 2))


def filters_from_torch(weight: Any) -> Array:
    """Return filters (F, C, kh, kw) as (kh, kw, C, F).

    Raises
    ------
    ValueError
        If there are not four dimensions.
    """
    return _transposed(weight, "weight", "(F, C, kh, kw)", (2, 3, 1, 0))


def filters_to_torch(weight: Any) -> Array:
    """Return filters (kh, kw, C, F) as (F, C, kh, kw).

    Raises
    ------
    ValueError
        If there are not four dimensions.
    """
    return _transposed(weight, "weight", "(kh, kw, C, F)", (3, 2, 0, 1))


def dense_from_torch(weight: Any, image_shape: tuple[int, int, int] | None = None) -> Array:
    """Return the weight (out, in) of a linear layer as (in, out).

    Parameters
    ----------
    weight : array of shape (out, in)
        Weight of PyTorch's ``Linear``.
    image_shape : (int, int, int), default=None
        For the first dense layer after a Flatten: the shape (H, W, C) of the flattened images. The
        inputs are in the order (C, H, W) in PyTorch, and (H, W, C) in fastmlp.

    Returns
    -------
    weight : array of shape (in, out)

    Raises
    ------
    ValueError
        If a shape is not as above, or H * W * C is not the number of inputs.
    """
    matrix = _transposed(weight, "weight", "(out, in)", (1, 0))
    if image_shape is None:
        return matrix
    height, width, channels = _check_image(image_shape, len(matrix))
    planes = matrix.reshape(channels, height, width, -1)
    return np.ascontiguousarray(planes.transpose(1, 2, 0, 3)).reshape(matrix.shape)


def dense_to_torch(weight: Any, image_shape: tuple[int, int, int] | None = None) -> Array:
    """Return a weight (in, out) as PyTorch's (out, in): the inverse of ``dense_from_torch``.

    Parameters
    ----------
    weight : array of shape (in, out)
        Weight of a dense layer.
    image_shape : (int, int, int), default=None
        As for ``dense_from_torch``.

    Returns
    -------
    weight : array of shape (out, in)

    Raises
    ------
    ValueError
        If a shape is not as above, or H * W * C is not the number of inputs.
    """
    matrix = _array(weight)
    if matrix.ndim == 2 and image_shape is not None:
        height, width, channels = _check_image(image_shape, len(matrix))
        pixels = matrix.reshape(height, width, channels, -1)
        matrix = pixels.transpose(2, 0, 1, 3).reshape(matrix.shape)
    return _transposed(matrix, "weight", "(in, out)", (1, 0))


def from_torch(model: Network, state_dict: Mapping[str, Any]) -> dict[str, Array]:
    """Return the parameters and buffers of a PyTorch model, for ``model.set_parameters``.

    Parameters
    ----------
    model : Sequential
        A model with the same layers in the same order. Layers without parameters are ignored.
    state_dict : dict of str to tensor or array
        The result of ``module.state_dict()``: for each layer with parameters, in order, a name that
        ends in ".weight" and one in ".bias" (if it has a bias), for BatchNorm also in
        ".running_mean" and ".running_var". The rest of a name only has to be the same within a
        layer. "num_batches_tracked" is ignored.

    Returns
    -------
    parameters : dict of str to array
        Arrays in the axis order of fastmlp, by the model's names.

    Raises
    ------
    ValueError
        If the two differ in the number of layers, in the parameters of a layer, or in a shape.
    TypeError
        If ``model`` has parameters in a layer that is not Conv2D, Dense, BatchNorm, LayerNorm or
        Embedding, or if ``state_dict`` is not a mapping.

    Notes
    -----
    After a Flatten of images, elements are in the order (C, H, W) in PyTorch. The rows of the first
    Dense weight, and a normalization between Flatten and Dense, are reordered. PyTorch's
    ``padding=k // 2`` equals ``padding="same"`` only for odd k and strides of 1. PyTorch's
    ``BatchNorm(momentum=0.1)`` is ``fm.BatchNorm(momentum=0.9)``. PyTorch's LayerNorm of images is
    a different operation, because the last axis is the width.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential([fm.Dense(2)], input_shape=3)
    >>> state = {"0.weight": [[1, 2, 3], [4, 5, 6]], "0.bias": [7, 8]}
    >>> fm.layouts.from_torch(model, state)["dense_0.weight"].tolist()
    [[1, 4], [2, 5], [3, 6]]
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(
            f"state_dict must be a dict from names to tensors, got {type(state_dict).__name__}."
        )
    theirs: dict[str, dict[str, Any]] = {}
    for name, value in state_dict.items():
        prefix, _, kind = name.rpartition(".")
        if kind != _COUNTER:
            theirs.setdefault(prefix, {})[kind] = value
    ours = _with_parameters(model)
    if len(theirs) != len(ours):
        raise ValueError(
            f"state_dict must have parameters of {len(ours)} layers, like the model, got "
            f"{len(theirs)} layers: {', '.join(state_dict)}."
        )
    result = {}
    for (layer, image), (prefix, values) in zip(ours, theirs.items(), strict=True):
        kinds = [_torch_kind(stored) for stored in _stored(layer)]
        if set(kinds) != set(values):
            raise ValueError(
                f"{layer.name} has {_listed(kinds)}, but layer {prefix!r} of state_dict has "
                f"{_listed(values)}."
            )
        for stored, kind in zip(_stored(layer), kinds, strict=True):
            value, order = _array(values[kind]), _Order(layer, stored, image)
            if value.shape != order.torch_shape:
                raise ValueError(
                    f"{prefix}.{kind} must have shape {order.torch_shape}, which is {stored.name} "
                    f"in PyTorch's order, got {value.shape}."
                )
            result[stored.name] = np.array(order.from_torch(value))
    return result


def to_torch(model: Network, names: Iterable[str]) -> dict[str, Array]:
    """Return parameters and buffers in PyTorch's order: the inverse of ``from_torch``.

    Parameters
    ----------
    model : Sequential
        The model to convert.
    names : list of str
        Names of the arrays, in order: ``module.state_dict()`` or its keys. A name that ends in
        "num_batches_tracked" gets ``model.steps_done``.

    Returns
    -------
    state_dict : dict of str to array
        Arrays for ``module.load_state_dict``, which requires tensors: convert each with
        ``torch.from_numpy``.

    Raises
    ------
    ValueError
        If the number of names differs from the number of parameters and buffers.
    TypeError
        If ``model`` has parameters in a layer that ``from_torch`` does not support.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential([fm.Conv2D(8, 3, use_bias=False)], input_shape=(9, 9, 2))
    >>> fm.layouts.to_torch(model, ["0.weight"])["0.weight"].shape
    (8, 2, 3, 3)
    """
    values = [
        np.array(_Order(layer, stored, image).to_torch(stored.value))
        for layer, image in _with_parameters(model)
        for stored in _stored(layer)
    ]
    wanted = list(names)
    counters = [name for name in wanted if name.rpartition(".")[2] == _COUNTER]
    if len(wanted) - len(counters) != len(values):
        raise ValueError(
            f"names must have {len(values)} entries, one per parameter and buffer, got "
            f"{len(wanted) - len(counters)}."
        )
    rest = iter(values)
    return {name: np.array(model.steps_done) if name in counters else next(rest) for name in wanted}


def from_keras(model: Network, weights: Sequence[Any]) -> dict[str, Array]:
    """Return the weights of a Keras model, for ``model.set_parameters``.

    The axis order of Keras (with ``channels_last``, its default) is the same, so only names differ.

    Parameters
    ----------
    model : Sequential
        A model with the same layers in the same order.
    weights : list of array
        The result of ``keras_model.get_weights()``.

    Returns
    -------
    parameters : dict of str to array
        The arrays by the model's names.

    Raises
    ------
    ValueError
        If the number of arrays or a shape differs from the model.
    TypeError
        If ``model`` has parameters in a layer that ``from_torch`` does not support.

    Notes
    -----
    The default ``epsilon`` of Keras is 1e-3: use ``fm.BatchNorm(epsilon=1e-3)``, and the same for
    LayerNorm.
    """
    wanted = [stored for layer, _ in _with_parameters(model) for stored in _stored(layer)]
    if len(weights) != len(wanted):
        raise ValueError(
            f"weights must have {len(wanted)} arrays, one per parameter and buffer of the model, "
            f"got {len(weights)}."
        )
    result = {}
    for index, (stored, value) in enumerate(zip(wanted, weights, strict=True)):
        array = np.array(_array(value))
        if array.shape != stored.shape:
            raise ValueError(
                f"weights[{index}] must have shape {stored.shape}, like {stored.name}, got "
                f"{array.shape}."
            )
        result[stored.name] = array
    return result


def to_keras(model: Network) -> list[Array]:
    """Return the parameters and buffers of a model, for ``keras_model.set_weights``.

    Raises
    ------
    TypeError
        If ``model`` has parameters in a layer that ``from_torch`` does not support.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential([fm.Dense(4), fm.BatchNorm(), fm.Dense(2)], input_shape=3)
    >>> [array.shape for array in fm.layouts.to_keras(model)]
    [(3, 4), (4,), (4,), (4,), (4,), (4,), (4, 2), (2,)]
    """
    return [
        np.array(stored.value) for layer, _ in _with_parameters(model) for stored in _stored(layer)
    ]


class _Order:
    """The axis order of one array of a layer, here and in PyTorch.

    Attributes
    ----------
    torch_shape : tuple of int
        Shape of the array in PyTorch.
    """

    def __init__(self, layer: Layer, stored: Parameter, image: _Image | None) -> None:
        self._image = image
        shape = stored.shape
        self._is_table = isinstance(layer, Embedding)
        self._ndim = len(shape)
        turned = {4: (3, 2, 0, 1), 2: (1, 0)}.get(0 if self._is_table else self._ndim)
        self.torch_shape = shape if turned is None else tuple(shape[axis] for axis in turned)
        # Only arrays with one element per input are in image order. A bias has one per output.
        self._by_input = isinstance(layer, _ELEMENTWISE)

    def from_torch(self, value: Array) -> Array:
        """Return an array of PyTorch in our order."""
        if self._is_table:
            return value
        if self._ndim == 4:
            return filters_from_torch(value)
        if self._ndim == 2:
            return dense_from_torch(value, self._image)
        if self._by_input and self._image is not None:
            return np.ravel(dense_from_torch(value[None], self._image))
        return value

    def to_torch(self, value: Array) -> Array:
        """Return an array of ours in PyTorch's order."""
        if self._is_table:
            return value
        if self._ndim == 4:
            return filters_to_torch(value)
        if self._ndim == 2:
            return dense_to_torch(value, self._image)
        if self._by_input and self._image is not None:
            return np.ravel(dense_to_torch(value[:, None], self._image))
        return value


def _with_parameters(model: Network) -> list[tuple[Layer, _Image | None]]:
    """Return each layer with parameters, and the image shape if its inputs are a flat image."""
    found: list[tuple[Layer, _Image | None]] = []
    image = None
    for layer in model.layers:
        if isinstance(layer, Flatten) and type(layer) is not Flatten:
            raise TypeError(
                "model must flatten images with Flatten itself, because a subclass may use another "
                f"order, got {layer.name} {layer!r}."
            )
        if isinstance(layer, Flatten) and len(layer.input_shape or ()) == 3:
            height, width, channels = layer.input_shape or (0, 0, 0)
            image = height, width, channels
        if not layer.parameters:
            continue
        if type(layer) not in (Conv2D, Dense, Embedding, *_ELEMENTWISE):
            raise TypeError(
                "model must have parameters only in Conv2D, Dense, BatchNorm, LayerNorm and "
                f"Embedding layers, got {layer.name} {layer!r}."
            )
        found.append((layer, image))
        if not isinstance(layer, _ELEMENTWISE):
            image = None
    return found


def _stored(layer: Layer) -> list[Parameter]:
    return [*layer.parameters, *layer.buffers]


def _torch_kind(stored: Parameter) -> str:
    """Return the last part of the parameter's name in a state dict."""
    names = {"gamma": "weight", "beta": "bias", "running_variance": "running_var"}
    return names.get(stored.kind, stored.kind)


def _check_image(image_shape: tuple[int, int, int], inputs: int) -> tuple[int, int, int]:
    if len(image_shape) != 3 or math.prod(image_shape) != inputs:
        raise ValueError(
            f"image_shape must be (H, W, C) with H * W * C = {inputs}, the number of inputs, got "
            f"{image_shape!r}."
        )
    return image_shape


def _transposed(value: Any, name: str, letters: str, axes: Shape) -> Array:
    array = _array(value)
    if array.ndim != len(axes):
        raise ValueError(f"{name} must have shape {letters}, got {array.shape}.")
    return np.ascontiguousarray(array.transpose(axes))


def _array(value: Any) -> Array:
    """Return an array from an array or tensor, even if it requires gradients or is on a GPU."""
    for method in ("detach", "cpu", "numpy"):
        if not isinstance(value, np.ndarray) and hasattr(value, method):
            value = getattr(value, method)()
    return np.asarray(value)


def _listed(kinds: Iterable[str]) -> str:
    return " and ".join(sorted(kinds, reverse=True))
