"""A picture of what the first layer of a model looks for in an image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmlp._types import Array

__all__ = ["first_filters", "picture"]

_MOST = 64  # filters in a picture
_PIXELS = 32  # of a side of a filter, about
_SMALLEST = 5  # pixels a side: four features, say, are a square number too, but no image
_BETWEEN = 255  # grey of the lines between filters


def first_filters(model: Any) -> Array | None:
    """Return the weights of the first layer that has any, as images; None where they are none.

    Parameters
    ----------
    model : Network
        Its first weights are filters of a convolution, or those of a dense layer that sees whole
        images: of the shape that the samples have, or squares.

    Returns
    -------
    filters : array of shape (F, h, w, 1) or (F, h, w, 3), or None
        At most 64. Filters of other than 1 or 3 channels are shown channel by channel.
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

    All have the same scale. The picture is uint8, (height, width), or (height, width, 3) of filters
    with three channels.
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
