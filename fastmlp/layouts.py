"""Images and weights in the order of other frameworks: PyTorch (channels first) and Keras.

================  =======================  ============================
what              here, and in Keras       in PyTorch
================  =======================  ============================
images            (N, H, W, C)             (N, C, H, W)
filters           (kh, kw, C, F)           (F, C, kh, kw)
dense weights     (in, out)                (out, in)
after a Flatten   rows ordered (H, W, C)   columns ordered (C, H, W)
================  =======================  ============================

All functions return new C-contiguous arrays of the same dtype, and take anything that numpy makes
an array of; PyTorch's tensors too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp.layers import Conv2D, Dense, Flatten, Layer
from fastmlp.network import Network

__all__ = [
    "dense_from_torch",
    "dense_to_torch",
    "filters_from_torch",
    "filters_to_torch",
    "from_keras",
    "from_torch",
    "images_from_torch",
    "images_to_torch",
    "to_torch",
]

Array = npt.NDArray[Any]


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
    image_shape : (int, int, int), default=None
        For the first dense layer after a Flatten: the shape (H, W, C) of what is flattened.
        PyTorch's inputs are then in the order (C, H, W), ours in the order (H, W, C).

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
    """Return the parameters of a PyTorch model as ``model.set_parameters`` takes them.

    Parameters
    ----------
    model : Sequential
        Of the same layers, in the same order.
    state_dict : dict of str to tensor or array
        What ``module.state_dict()`` returns: for each layer with parameters a "....weight" and,
        if it has one, a "....bias", layer after layer. Other names do not matter.

    Returns
    -------
    parameters : dict of str to array
        Filters and weights in our order, by our names.

    Raises
    ------
    ValueError
        If the layers of the two differ: in their number, in having a bias, or in a shape.
    TypeError
        If ``model`` has parameters in a layer other than Conv2D and Dense, or ``state_dict`` is not
        a mapping.

    Notes
    -----
    ``padding=k // 2`` of PyTorch is ``padding="same"`` for odd k and strides of 1, not for others.

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
            f"state_dict must be a dict of name to tensor, got {type(state_dict).__name__}."
        )
    theirs: dict[str, dict[str, Any]] = {}
    for name, value in state_dict.items():
        prefix, _, kind = name.rpartition(".")
        theirs.setdefault(prefix, {})[kind] = value
    ours = _with_parameters(model)
    if len(theirs) != len(ours):
        raise ValueError(
            f"state_dict must have the parameters of {len(ours)} layers, as the model has, got "
            f"those of {len(theirs)}: {', '.join(state_dict)}."
        )
    result = {}
    for (layer, image), (prefix, values) in zip(ours, theirs.items(), strict=True):
        kinds = {parameter.kind for parameter in layer.parameters}
        if kinds != set(values):
            raise ValueError(
                f"{layer.name} has {_listed(kinds)}, but layer {prefix!r} of state_dict has "
                f"{_listed(values)}."
            )
        for parameter in layer.parameters:
            value = _array(values[parameter.kind])
            shape = _torch_shape(parameter.shape)
            if value.shape != shape:
                raise ValueError(
                    f"{prefix}.{parameter.kind} must have shape {shape}, that of {parameter.name} "
                    f"in PyTorch's order, got {value.shape}."
                )
            if len(shape) == 4:
                value = filters_from_torch(value)
            elif len(shape) == 2:
                value = dense_from_torch(value, image)
            result[parameter.name] = np.array(value)
    return result


def to_torch(model: Network, names: Sequence[str]) -> dict[str, Array]:
    """Return the parameters of a model in PyTorch's order: the inverse of ``from_torch``.

    Parameters
    ----------
    model : Sequential
    names : list of str
        Names for them, in order: ``module.state_dict()`` or its keys.

    Returns
    -------
    state_dict : dict of str to array
        For ``module.load_state_dict``, once ``torch.from_numpy`` has made tensors of them.

    Raises
    ------
    ValueError
        If the number of names is not that of the parameters.
    TypeError
        If ``model`` has parameters in a layer other than Conv2D and Dense.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential([fm.Conv2D(8, 3, use_bias=False)], input_shape=(9, 9, 2))
    >>> fm.layouts.to_torch(model, ["0.weight"])["0.weight"].shape
    (8, 2, 3, 3)
    """
    values = []
    for layer, image in _with_parameters(model):
        for parameter in layer.parameters:
            value = parameter.value
            if value.ndim == 4:
                value = filters_to_torch(value)
            elif value.ndim == 2:
                value = dense_to_torch(value, image)
            values.append(np.array(value))
    wanted = list(names)
    if len(wanted) != len(values):
        raise ValueError(
            f"names must be one for each of the {len(values)} parameters, got {len(wanted)}."
        )
    return dict(zip(wanted, values, strict=True))


def from_keras(model: Network, weights: Sequence[Any]) -> dict[str, Array]:
    """Return the weights of a Keras model as ``model.set_parameters`` takes them.

    Keras has our order (with ``channels_last``, its default), so only the names are new.

    Parameters
    ----------
    model : Sequential
        Of the same layers, in the same order.
    weights : list of array
        What ``keras_model.get_weights()`` returns.

    Returns
    -------
    parameters : dict of str to array

    Raises
    ------
    ValueError
        If the number of arrays or a shape is not that of the model.
    TypeError
        If ``model`` has parameters in a layer other than Conv2D and Dense.
    """
    parameters = [
        parameter for layer, _ in _with_parameters(model) for parameter in layer.parameters
    ]
    if len(weights) != len(parameters):
        raise ValueError(
            f"weights must be the {len(parameters)} arrays of the model, got {len(weights)}."
        )
    result = {}
    for index, (parameter, value) in enumerate(zip(parameters, weights, strict=True)):
        array = np.array(_array(value))
        if array.shape != parameter.shape:
            raise ValueError(
                f"weights[{index}] must have shape {parameter.shape}, that of {parameter.name}, "
                f"got {array.shape}."
            )
        result[parameter.name] = array
    return result


def _with_parameters(model: Network) -> list[tuple[Layer, tuple[int, int, int] | None]]:
    """Return the layers with parameters; beside each, the image whose flattened pixels it takes."""
    found: list[tuple[Layer, tuple[int, int, int] | None]] = []
    image = None
    for layer in model.layers:
        if isinstance(layer, Flatten) and len(layer.input_shape or ()) == 3:
            height, width, channels = layer.input_shape or (0, 0, 0)
            image = height, width, channels
        if not layer.parameters:
            continue
        if type(layer) not in (Conv2D, Dense):
            raise TypeError(
                f"model must have its parameters in Conv2D and Dense layers, got {layer.name} "
                f"{layer!r}."
            )
        found.append((layer, image if isinstance(layer, Dense) else None))
        image = None
    return found


def _torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    order = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[len(shape)]
    return tuple(shape[axis] for axis in order)


def _check_image(image_shape: tuple[int, int, int], inputs: int) -> tuple[int, int, int]:
    if len(image_shape) != 3 or math.prod(image_shape) != inputs:
        raise ValueError(
            f"image_shape must be (H, W, C) with H * W * C = {inputs}, the inputs of weight, "
            f"got {image_shape!r}."
        )
    return image_shape


def _transposed(value: Any, name: str, letters: str, axes: tuple[int, ...]) -> Array:
    array = _array(value)
    if array.ndim != len(axes):
        raise ValueError(f"{name} must have shape {letters}, got {array.shape}.")
    return np.ascontiguousarray(array.transpose(axes))


def _array(value: Any) -> Array:
    """Return an array of a tensor, also of one that takes part in gradients or is elsewhere."""
    for method in ("detach", "cpu", "numpy"):
        if not isinstance(value, np.ndarray) and hasattr(value, method):
            value = getattr(value, method)()
    return np.asarray(value)


def _listed(kinds: Any) -> str:
    return " and ".join(sorted(kinds, reverse=True))
