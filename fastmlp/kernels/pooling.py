"""Max-pooling and average pooling: compiled, with checks.

Images are (N, H, W, C). ``out`` must not overlap an input.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp import _checks
from fastmlp._arrays import operand, output
from fastmlp._compiled import convolution
from fastmlp._types import Array, Pair, Shape
from fastmlp.kernels.window import Window, images

__all__ = [
    "avg_pool2d",
    "avg_pool2d_backward",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "max_pool2d",
    "max_pool2d_backward",
]


def max_pool2d(
    x: Array, pool_size: Pair = 2, *, strides: Pair | None = None, out: Array | None = None
) -> tuple[Array, Array]:
    """Return the maximum of every window in every channel, and its position.

    Parameters
    ----------
    x : array of shape (N, H, W, C)
    pool_size : int or (int, int), default=2
        Height and width of the window.
    strides : int or (int, int), default=None
        Steps of the window, (y, x); None means ``pool_size``. Windows that would reach beyond the
        border are left out.
    out : array of shape (N, OH, OW, C), optional
        Receives the maxima. It must not overlap x.

    Returns
    -------
    out : array of shape (N, OH, OW, C)
        NaN for a window that contains NaN.
    index : array of shape (N, OH, OW, C), uint8 for windows of at most 256 pixels, else int32
        The position within the window, counted row by row, of the first maximum, or of the first
        NaN.

    Raises
    ------
    ValueError
        If x does not have four dimensions, the window is larger than the image, or a size or stride
        is less than 1.
    TypeError
        If x is not float32 or float64, or a size or stride is not an integer.
    """
    x = images(x, "x")
    n, height, width, channels = x.shape
    window = Window.pooling((height, width), pool_size, strides)
    shape = (n, *window.places, channels)
    out, index = output(out, shape, x.dtype), np.empty(shape, window.index_dtype)
    convolution.max_pool2d(x, out, index, *window.size, *window.strides)
    return out, index


def max_pool2d_backward(
    dy: Array,
    index: Array,
    input_shape: tuple[int, int],
    pool_size: Pair = 2,
    *,
    strides: Pair | None = None,
    out: Array | None = None,
) -> Array:
    """Return the gradient with respect to the images: (N, OH, OW, C) -> (N, H, W, C).

    The gradient of each window goes to the pixel that ``index`` names, the array that
    :func:`max_pool2d` returned; gradients of overlapping windows add up. ``input_shape`` is (H, W).

    Raises
    ------
    ValueError
        If the shapes do not fit, or an index is not a position within the window.
    TypeError
        If dy is not float32 or float64, or index does not have the dtype that max_pool2d returns.
    """
    dy = images(dy, "dy", "(N, OH, OW, C)")
    size = _checks.sizes(input_shape, "input_shape")
    window = Window.pooling(size, pool_size, strides)
    window.check(dy, dy.shape[3])
    index = _check_index(index, dy.shape, window)
    out = output(out, (dy.shape[0], *size, dy.shape[3]), dy.dtype)
    convolution.max_pool2d_backward(dy, index, out, *window.size, *window.strides)
    return out


def avg_pool2d(
    x: Array, pool_size: Pair = 2, *, strides: Pair | None = None, out: Array | None = None
) -> Array:
    """Return the mean of every window in every channel: (N, H, W, C) -> (N, OH, OW, C).

    Arguments and errors are the same as for :func:`max_pool2d`.
    """
    x = images(x, "x")
    n, height, width, channels = x.shape
    window = Window.pooling((height, width), pool_size, strides)
    out = output(out, (n, *window.places, channels), x.dtype)
    convolution.avg_pool2d(x, out, *window.size, *window.strides)
    return out


def avg_pool2d_backward(
    dy: Array,
    input_shape: tuple[int, int],
    pool_size: Pair = 2,
    *,
    strides: Pair | None = None,
    out: Array | None = None,
) -> Array:
    """Return the gradient with respect to the images: (N, OH, OW, C) -> (N, H, W, C).

    Every pixel of a window gets an equal share of its gradient; shares of overlapping windows add
    up. ``input_shape`` is (H, W). Errors are the same as for :func:`max_pool2d`.
    """
    dy = images(dy, "dy", "(N, OH, OW, C)")
    size = _checks.sizes(input_shape, "input_shape")
    window = Window.pooling(size, pool_size, strides)
    window.check(dy, dy.shape[3])
    out = output(out, (dy.shape[0], *size, dy.shape[3]), dy.dtype)
    convolution.avg_pool2d_backward(dy, out, *window.size, *window.strides)
    return out


def global_avg_pool2d(x: Array, *, out: Array | None = None) -> Array:
    """Return the mean of every channel over the whole image: (N, H, W, C) -> (N, C)."""
    x = images(x, "x")
    n, height, width, channels = x.shape
    out = output(out, (n, channels), x.dtype)
    whole = height, width, height, width
    convolution.avg_pool2d(x, out.reshape(n, 1, 1, channels), *whole)
    return out


def global_avg_pool2d_backward(
    dy: Array, input_shape: tuple[int, int], *, out: Array | None = None
) -> Array:
    """Return ``dy / (H * W)`` at every pixel: (N, C) -> (N, H, W, C). ``input_shape`` is (H, W)."""
    dy = operand(dy, "dy")
    if dy.ndim != 2:
        raise ValueError(f"dy must have shape (N, C), got {dy.shape}.")
    n, channels = dy.shape
    size = _checks.sizes(input_shape, "input_shape")
    out = output(out, (n, *size, channels), dy.dtype)
    convolution.avg_pool2d_backward(dy.reshape(n, 1, 1, channels), out, *size, *size)
    return out


def _check_index(index: Any, shape: Shape, window: Window) -> Array:
    """Return the index of max_pool2d, checked.

    Every position must lie within the window, because max_pool2d_backward writes there.
    """
    dtype = window.index_dtype
    if type(index) is not np.ndarray or index.dtype != dtype:
        got = index.dtype if isinstance(index, np.ndarray) else type(index).__name__
        raise TypeError(f"index must be the {dtype} array that max_pool2d returns, got {got}.")
    if index.shape != shape:
        raise ValueError(f"index must have the shape of dy, {shape}, got {index.shape}.")
    places = window.size[0] * window.size[1]
    if index.size and not 0 <= int(index.min()) <= int(index.max()) < places:
        raise ValueError(
            f"index must hold positions from 0 to {places - 1}, got {int(index.min())} to "
            f"{int(index.max())}."
        )
    return np.require(index, dtype, ["C", "A"]).view(dtype)
