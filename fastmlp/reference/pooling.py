"""Max-pooling and average pooling in plain numpy.

Images are (N, H, W, C), channels last. The definition is in ``fastmlp.reference.loops``, loops over
pixels; the functions here compute the same with strided views. Outputs never overlap inputs.
"""

from __future__ import annotations

import numpy as np

from fastmlp._types import Array, Pair
from fastmlp._windows import pair
from fastmlp.reference._quiet import quiet
from fastmlp.reference.window import Windows, new

__all__ = [
    "avg_pool2d",
    "avg_pool2d_backward",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "max_pool2d",
    "max_pool2d_backward",
]


@quiet
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

    Returns
    -------
    out : array of shape (N, OH, OW, C)
        NaN for a window that contains NaN.
    index : array of shape (N, OH, OW, C), uint8 for windows of at most 256 pixels, else int32
        The position within the window, counted row by row, of the first maximum, or of the first
        NaN.
    """
    height, width = pair(pool_size)
    windows = Windows(x.shape, (height, width), pool_size if strides is None else strides)
    out = new((len(x), *windows.places, x.shape[3]), x.dtype, out)
    index = np.zeros(out.shape, np.uint8 if height * width <= 256 else np.int32)
    candidates = [x[of_image] for _, _, of_image, _ in windows.taps()]
    out[...] = candidates[0]
    for candidate in candidates[1:]:
        np.maximum(out, candidate, out=out)  # NaN if either is NaN
    # The index counts the positions before the first maximum; masked assignment is slow in numpy.
    before = np.ones(out.shape, bool)
    for candidate in candidates[:-1]:
        before &= candidate != out
        before &= candidate == candidate  # False at NaN, which is then the maximum
        index += before
    return out, index


@quiet
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

    The gradient of each window goes to the pixel that ``index`` names; gradients of overlapping
    windows add up. ``input_shape`` is (H, W).
    """
    shape = (len(dy), *input_shape, dy.shape[3])
    height, width = pair(pool_size)
    windows = Windows(shape, (height, width), pool_size if strides is None else strides)
    out = new(shape, dy.dtype, out)
    out[...] = 0
    # Keep all bits of a gradient or none: multiplying by 0 would turn infinity into NaN, and masked
    # assignment is slow.
    integers = np.dtype(f"i{dy.dtype.itemsize}")
    bits = dy.view(integers)
    for r, s, of_image, _ in windows.taps():
        all_bits = -(index == r * width + s).astype(integers)
        out[of_image] += (bits & all_bits).view(dy.dtype)
    return out


@quiet
def avg_pool2d(
    x: Array, pool_size: Pair = 2, *, strides: Pair | None = None, out: Array | None = None
) -> Array:
    """Return the mean of every window in every channel: (N, H, W, C) -> (N, OH, OW, C).

    ``pool_size`` and ``strides`` are as in :func:`max_pool2d`.
    """
    height, width = pair(pool_size)
    windows = Windows(x.shape, (height, width), pool_size if strides is None else strides)
    out = new((len(x), *windows.places, x.shape[3]), x.dtype, out)
    out[...] = 0
    for _, _, of_image, _ in windows.taps():
        out += x[of_image]
    out /= height * width
    return out


@quiet
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
    up. ``input_shape`` is (H, W).
    """
    shape = (len(dy), *input_shape, dy.shape[3])
    height, width = pair(pool_size)
    windows = Windows(shape, (height, width), pool_size if strides is None else strides)
    share = dy / (height * width)
    out = new(shape, dy.dtype, out)
    out[...] = 0
    for _, _, of_image, _ in windows.taps():
        out[of_image] += share
    return out


@quiet
def global_avg_pool2d(x: Array, *, out: Array | None = None) -> Array:
    """Return the mean of every channel over the whole image: (N, H, W, C) -> (N, C)."""
    return np.mean(x, axis=(1, 2), out=out)


@quiet
def global_avg_pool2d_backward(
    dy: Array, input_shape: tuple[int, int], *, out: Array | None = None
) -> Array:
    """Return ``dy / (H * W)`` at every pixel: (N, C) -> (N, H, W, C). ``input_shape`` is (H, W)."""
    height, width = input_shape
    out = new((len(dy), height, width, dy.shape[1]), dy.dtype, out)
    out[...] = (dy / (height * width))[:, None, None]
    return out
