"""An image of the filters of the first layer of a model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmlp._types import Array

__all__ = ["first_filters", "picture"]

_MOST = 64  # maximum number of filters in an image
_PIXELS = 32  # approximate width of a filter
_SMALLEST = 5  # minimum width: 4 features are a square number too, but not an image
_BETWEEN = 255  # grey level of the lines between filters


def first_filters(model: Any) -> Array | None:
    """Return the weights of the first layer with weights, as images; None if they are not images.

    Parameters
    ----------
    model : Network
        The weights are images in a convolution, and in a dense layer whose inputs are whole images:
        if the samples have the shape of an image, or their size is a square number.

    Returns
    -------
    filters : array of shape (F, h, w, 1) or (F, h, w, 3), or None
        At most 64. Filters with neither 1 nor 3 channels are shown channel by channel.
    """
    same = True  # whether the features are still the pixels of the samples
    for layer in model.layers:
        weight = next((each for each in layer.parameters if each.kind == "weight"), None)
        if weight is not None:
            break
        same = same and math.prod(layer.output_shape) == math.prod(layer.input_shape)
    else:
        return None
    if layer.integers_below is not None:
        return None
    if len(weight.shape) == 4:
        filters = np.moveaxis(weight.value, -1, 0)
    elif len(weight.shape) == 2 and same:
        shape = _image_shape(model.input_shape, weight.shape[0])
        if shape is None:
            return None
        filters = weight.value.T.reshape(-1, *shape)
    else:
        return None
    if filters.shape[-1] not in (1, 3):
        filters = np.moveaxis(filters, -1, 1).reshape(-1, *filters.shape[1:3], 1)
    shown: Array = filters[:_MOST]
    return shown


def _image_shape(shape: tuple[int, ...], features: int) -> tuple[int, int, int] | None:
    if len(shape) == 3 and math.prod(shape) == features:
        return shape[0], shape[1], shape[2]
    side = math.isqrt(features)
    return (side, side, 1) if side * side == features and side >= _SMALLEST else None


def picture(filters: Array) -> Array:
    """Return filters side by side: 0 is grey, the largest weight white, or black if it is negative.

    All filters share one scale. The image is uint8 (height, width), or (height, width, 3) if the
    filters have three channels.
    """
    count, height, width, channels = filters.shape
    largest = float(np.abs(filters).max())
    scaled = filters / largest if 0 < largest < math.inf else np.zeros_like(filters)
    levels = np.rint(127.5 + 127.5 * scaled).astype(np.uint8)
    times = max(1, round(_PIXELS / max(height, width)))
    levels = levels.repeat(times, axis=1).repeat(times, axis=2)
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    down, right = levels.shape[1] + 1, levels.shape[2] + 1
    result = np.full((rows * down + 1, columns * right + 1, channels), _BETWEEN, np.uint8)
    for index, level in enumerate(levels):
        top, left = index // columns * down + 1, index % columns * right + 1
        result[top : top + down - 1, left : left + right - 1] = level
    return result[..., 0] if channels == 1 else result
