"""Filters and weights over the pixels of an image, drawn as images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastmlp import _checks
from fastmlp._types import Array
from fastmlp.layers import (
    Activation,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GaussianNoise,
    Layer,
    LayerNorm,
    Standardize,
)
from fastmlp.network import Network, find_layer

from ._figure import colour_bar, make_axes, open_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastmlp.model import Sequential

__all__ = ["filters"]

_SIDE = 6.5  # inches
_COUNT, _CHANNELS = 64, 32
# Layers that keep the order of the features: after them a feature is still a pixel of the image.
_IN_PLACE = (Activation, BatchNorm, Dropout, Flatten, GaussianNoise, LayerNorm, Standardize)


class _Tiles(NamedTuple):
    """Images for a grid: (rows, columns, height, width, 1 or 3)."""

    images: Array
    by_channel: bool
    title: str


def filters(
    model: Sequential,
    layer: str | int | Layer | None = None,
    ax: Axes | None = None,
    *,
    count: int = _COUNT,
) -> Axes:
    """Draw the filters of a convolution, or the weights of units connected to a whole image.

    Parameters
    ----------
    model : Sequential
        The model.
    layer : str, int or Layer, default=None
        A Conv2D, or a Dense layer whose inputs are the pixels of the samples: its name, its number
        or the layer itself. None means the first suitable layer.
    ax : matplotlib Axes, default=None
        Axes to draw on; None makes a pyplot figure.
    count : int, default=64
        Maximum number of filters or units; the first ones are drawn. Filters over many channels
        are limited to a quarter of ``count``, with at most 32 channels.

    Returns
    -------
    ax : matplotlib Axes
        Black is negative and white positive, on one scale for all images. Filters over the colours
        of an image (3 channels) are drawn in colour, with 0 in the middle of the range. Filters
        over other channels have one row each, with one image per channel.

    Raises
    ------
    ImportError
        If matplotlib is missing: ``pip install "fastmlp[plot]"``.
    ValueError
        If the model has no such layer, or the layer has no filters and its inputs are not pixels.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import fastmlp as fm
    >>> ax = fm.plot.filters(fm.MLP(784, [64], 10))  # doctest: +SKIP
    """
    if not isinstance(model, Network):
        raise TypeError(f"model must be a fastmlp model, got {type(model).__name__}.")
    most = _checks.integer(count, "count", minimum=1)
    chosen = _first(model) if layer is None else find_layer(model, layer)
    tiles = _tiles(model, chosen, most)
    ax = make_axes(ax)
    mosaic, high, wide = _mosaic(tiles)
    rows, columns = tiles.images.shape[:2]
    ax = open_axes(ax, *_size(mosaic), square=True)
    if mosaic.shape[2] == 3:
        ax.imshow(mosaic, interpolation="nearest")
    else:
        _draw_grey(ax, mosaic[..., 0], tiles.images)
    first = 1 if tiles.by_channel else columns
    sign = "" if tiles.by_channel else "+"
    across, down = _every(columns), _every(rows)
    ax.set_xticks([wide * i + (wide - 2) / 2 for i in across], [sign + str(i) for i in across])
    ax.set_yticks([high * i + (high - 2) / 2 for i in down], [str(i * first) for i in down])
    ax.tick_params(length=0, labelsize=9)
    ax.spines[:].set_visible(False)
    kind = "filter" if isinstance(chosen, Conv2D) else "unit"
    ax.set_xlabel("input channel" if tiles.by_channel else f"{kind} within the row")
    ax.set_ylabel(kind)
    ax.set_title(f"{chosen.name}: {tiles.title}", fontsize=10)
    return ax


def _first(model: Network) -> Layer:
    for layer in model.layers:
        if isinstance(layer, Conv2D) or (isinstance(layer, Dense) and _seen(model, layer)):
            return layer
    known = ", ".join(f"{layer.name} {layer.input_shape}" for layer in model.layers)
    raise ValueError(
        "model must have a Conv2D, or a Dense layer whose inputs are the pixels of an image, got "
        f"input_shape {model.input_shape} and the layers and inputs {known}."
    )


def _seen(model: Network, layer: Layer) -> tuple[int, int, int] | None:
    """Return (height, width, channels) of the image whose pixels are the layer's inputs, or None.

    A flat input is interpreted as an image if it has s * s or, failing that, 3 * s * s elements.
    """
    if any(type(below) not in _IN_PLACE for below in model.layers[: layer.number]):
        return None
    shape = model.input_shape
    if len(shape) == 3 and shape[2] in (1, 3):
        return shape
    if len(shape) == 2:
        return (*shape, 1)
    if len(shape) != 1:
        return None
    for channels in (1, 3):
        side = math.isqrt(shape[0] // channels)
        if side > 1 and side * side * channels == shape[0]:
            return side, side, channels
    return None


def _tiles(model: Network, layer: Layer, most: int) -> _Tiles:
    values = {p.kind: p.value for p in layer.parameters}
    if isinstance(layer, Conv2D):
        weight = np.moveaxis(values["weight"], 3, 0)  # (F, kh, kw, C)
        # Drawn in colour if its input channels are the colours of the samples.
        coloured = layer.input_shape == model.input_shape and model.input_shape[2:] == (3,)
        if layer.number and coloured:
            coloured = _seen(model, layer) is not None
        if weight.shape[3] > 1 and not coloured:
            return _by_channel(weight, most)
        what = "filters"
    elif isinstance(layer, Dense) and (shape := _seen(model, layer)) is not None:
        weight = values["weight"].T.reshape(-1, *shape)
        what = "units"
    else:
        raise ValueError(
            "layer must be a Conv2D, or a Dense layer whose inputs are the pixels of an image: "
            "(H, W), (H, W, 1), (H, W, 3), or flat with s * s or 3 * s * s values; got "
            f"{layer.name} with inputs {layer.input_shape} in a model with input_shape "
            f"{model.input_shape}."
        )
    total = len(weight)
    shown = min(total, most)
    columns = math.ceil(math.sqrt(shown))
    rows = -(-shown // columns)
    images = np.full((rows * columns, *weight.shape[1:]), np.nan)
    images[:shown] = weight[:shown]
    some = f"{shown} of {total}" if shown < total else f"all {total}"
    title = f"{some} {what}, {weight.shape[1]} x {weight.shape[2]} weights each"
    return _Tiles(images.reshape(rows, columns, *weight.shape[1:]), False, title)


def _by_channel(weight: Array, most: int) -> _Tiles:
    """Return a row for each filter, with an image for each channel."""
    total, height, width, channels = weight.shape
    shown, seen = min(total, max(1, most // 4)), min(channels, _CHANNELS)
    images = np.moveaxis(weight[:shown, ..., :seen], 3, 1)[..., None].astype(float)
    parts = [f"{shown} of {total} filters" if shown < total else f"all {total} filters"]
    parts.append(f"{seen} of {channels} channels" if seen < channels else f"{channels} channels")
    return _Tiles(images, True, f"{', '.join(parts)}, {height} x {width} weights each")


def _mosaic(tiles: _Tiles) -> tuple[Array, int, int]:
    """Return the images side by side with white gaps, and the distance between their corners."""
    images = tiles.images
    rows, columns, height, width, channels = images.shape
    if channels == 3:
        largest = float(np.nanmax(np.abs(images), initial=0.0)) or 1.0
        images = 0.5 + images / (2 * largest)
    gap = max(1, round(0.06 * min(height, width)))
    high, wide = height + gap, width + gap
    mosaic = np.full((rows * high - gap, columns * wide - gap, channels), np.nan)
    for row in range(rows):
        for column in range(columns):
            top, left = row * high, column * wide
            mosaic[top : top + height, left : left + width] = images[row, column]
    if channels == 3:
        mosaic = np.clip(np.nan_to_num(mosaic, nan=1.0), 0, 1)
    return mosaic, high, wide


def _draw_grey(ax: Axes, mosaic: Array, images: Array) -> None:
    import matplotlib

    sizes = np.abs(images[np.isfinite(images)])
    largest = float(sizes.max(initial=0.0))
    # Clip the largest 0.5 %: a few large weights would leave all other weights nearly grey.
    limit = float(np.quantile(sizes, 0.995)) if len(sizes) else 0.0
    limit = limit if 0 < limit < largest else largest or 1.0
    image = ax.imshow(
        np.ma.masked_invalid(mosaic), cmap=matplotlib.colormaps["gray"], vmin=-limit, vmax=limit,
        interpolation="nearest",
    )  # fmt: skip
    colour_bar(ax, image, "weight", extend="both" if limit < largest else "neither")


def _size(mosaic: Array) -> tuple[float, float]:
    """Return the size of a figure in inches."""
    height, width = mosaic.shape[:2]
    scale = _SIDE / max(height, width)
    return max(4.0, scale * width) + 1.0, max(1.6, scale * height) + 0.7


def _every(count: int) -> range:
    """Return the numbers to label on an axis, at most 16."""
    return range(0, count, -(-count // 16))
