"""Convolution and pooling, compiled and checked; ``fastmlp.kernels`` has these functions too.

Names, arguments and meaning are those of ``fastmlp.reference``. Images are (N, H, W, C), filters
(kh, kw, C, F). ``out`` must not overlap an input.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp import _checks
from fastmlp._arrays import Array, operand, output
from fastmlp._compiled import convolution
from fastmlp._windows import places

__all__ = [
    "avg_pool2d",
    "avg_pool2d_backward",
    "conv2d",
    "conv2d_backward_input",
    "conv2d_backward_weights",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "max_pool2d",
    "max_pool2d_backward",
]

Pair = int | tuple[int, int]

_UINT8 = np.dtype(np.uint8)
_INT32 = np.dtype(np.int32)


def conv2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    strides: Pair = 1,
    padding: str = "valid",
    relu: bool = False,
    out: Array | None = None,
) -> Array:
    """Return the convolution of images with filters, plus the bias, and its relu if asked.

    Parameters
    ----------
    x : array of shape (N, H, W, C)
    w : array of shape (kh, kw, C, F)
    b : array of shape (F,), optional
    strides : int or (int, int), default=1
        Steps of the window, (y, x).
    padding : {"valid", "same"}, default="valid"
        "valid": only windows inside the image, OH = (H - kh) // sy + 1. "same": OH = ceil(H / sy),
        with zeros around the image, of max((OH - 1) * sy + kh - H, 0) rows the smaller half above.
    relu : bool, default=False
    out : array of shape (N, OH, OW, F), optional
        Where the result goes. It must not overlap the other arrays.

    Returns
    -------
    out : array of shape (N, OH, OW, F)

    Raises
    ------
    ValueError
        If shapes do not fit, a filter is larger than the image (with "valid"), or a stride is less
        than 1.
    TypeError
        If the dtypes differ or are not float32 or float64.
    """
    x = _images(x, "x")
    w = _filters(w, x)
    n, height, width, channels = x.shape
    filters = w.shape[3]
    if w.shape[2] != channels:
        raise ValueError(
            "x and w must have shapes (N, H, W, C) and (kh, kw, C, F), got "
            f"{x.shape} and {w.shape}."
        )
    if b is not None:
        b = operand(b, "b", x.dtype)
        if b.shape != (filters,):
            raise ValueError(f"b must have shape ({filters},), got {b.shape}.")
    window = _Window((height, width), (w.shape[0], w.shape[1]), strides, padding, "w")
    out = output(out, (n, *window.places, filters), x.dtype)
    convolution.conv2d(x, w, b, out, *window.steps, relu)
    return out


def conv2d_backward_input(
    dy: Array,
    w: Array,
    input_shape: tuple[int, int],
    *,
    strides: Pair = 1,
    padding: str = "valid",
    out: Array | None = None,
) -> Array:
    """Return the gradient by the images, (N, OH, OW, F), (kh, kw, C, F) -> (N, H, W, C).

    ``input_shape`` is (H, W). Errors as for :func:`conv2d`.
    """
    dy = _images(dy, "dy", "(N, OH, OW, F)")
    w = _filters(w, dy)
    size = _checks.sizes(input_shape, "input_shape")
    window = _Window(size, (w.shape[0], w.shape[1]), strides, padding, "w")
    window.check(dy, w.shape[3])
    out = output(out, (dy.shape[0], *size, w.shape[2]), dy.dtype)
    convolution.conv2d_backward_input(dy, w, out, *window.steps)
    return out


def conv2d_backward_weights(
    x: Array,
    dy: Array,
    kernel_size: Pair,
    *,
    strides: Pair = 1,
    padding: str = "valid",
    out: Array | None = None,
) -> Array:
    """Return the gradient by the filters, (N, H, W, C), (N, OH, OW, F) -> (kh, kw, C, F).

    Errors as for :func:`conv2d`.
    """
    x = _images(x, "x")
    dy = _images(dy, "dy", "(N, OH, OW, F)", x.dtype)
    n, height, width, channels = x.shape
    kernel = _checks.sizes(kernel_size, "kernel_size")
    window = _Window((height, width), kernel, strides, padding, "kernel_size")
    window.check(dy, dy.shape[3], n)
    out = output(out, (*kernel, channels, dy.shape[3]), x.dtype)
    convolution.conv2d_backward_weights(x, dy, out, *window.steps)
    return out


def max_pool2d(
    x: Array, pool_size: Pair = 2, *, strides: Pair | None = None, out: Array | None = None
) -> tuple[Array, Array]:
    """Return the maximum of every window of every channel, and where it is.

    Parameters
    ----------
    x : array of shape (N, H, W, C)
    pool_size : int or (int, int), default=2
        Height and width of the window.
    strides : int or (int, int), default=None
        Its steps, (y, x); None means ``pool_size``. Where it does not fit at the border it is left
        out.
    out : array of shape (N, OH, OW, C), optional
        Where the maxima go. It must not overlap x.

    Returns
    -------
    out : array of shape (N, OH, OW, C)
        A window with a NaN in it gives NaN.
    index : array of shape (N, OH, OW, C), uint8 for windows of at most 256 places, else int32
        The place in the window, row by row, of its first maximum, or of its first NaN.

    Raises
    ------
    ValueError
        If x has not four dimensions, the window is larger than the image, or a number is less
        than 1.
    TypeError
        If x is not of float32 or float64, or a number is no integer.
    """
    x = _images(x, "x")
    n, height, width, channels = x.shape
    window = _Window.pooling((height, width), pool_size, strides)
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
    """Return the gradient by the images, (N, OH, OW, C) -> (N, H, W, C).

    Each window's goes to the pixel that ``index`` names, an array as :func:`max_pool2d` returns it;
    where windows overlap, they add up. ``input_shape`` is (H, W).

    Raises
    ------
    ValueError
        If shapes do not fit, or the index is not one of a place in the window.
    TypeError
        If dy is not of float32 or float64, or index not of the dtype that max_pool2d returns.
    """
    dy = _images(dy, "dy", "(N, OH, OW, C)")
    size = _checks.sizes(input_shape, "input_shape")
    window = _Window.pooling(size, pool_size, strides)
    window.check(dy, dy.shape[3])
    index = _check_index(index, dy.shape, window)
    out = output(out, (dy.shape[0], *size, dy.shape[3]), dy.dtype)
    convolution.max_pool2d_backward(dy, index, out, *window.size, *window.strides)
    return out


def avg_pool2d(
    x: Array, pool_size: Pair = 2, *, strides: Pair | None = None, out: Array | None = None
) -> Array:
    """Return the mean of every window of every channel, (N, H, W, C) -> (N, OH, OW, C).

    Arguments and errors as for :func:`max_pool2d`.
    """
    x = _images(x, "x")
    n, height, width, channels = x.shape
    window = _Window.pooling((height, width), pool_size, strides)
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
    """Return the gradient by the images, (N, OH, OW, C) -> (N, H, W, C): equal shares, added up.

    ``input_shape`` is (H, W). Errors as for :func:`max_pool2d`.
    """
    dy = _images(dy, "dy", "(N, OH, OW, C)")
    size = _checks.sizes(input_shape, "input_shape")
    window = _Window.pooling(size, pool_size, strides)
    window.check(dy, dy.shape[3])
    out = output(out, (dy.shape[0], *size, dy.shape[3]), dy.dtype)
    convolution.avg_pool2d_backward(dy, out, *window.size, *window.strides)
    return out


def global_avg_pool2d(x: Array, *, out: Array | None = None) -> Array:
    """Return the mean of every channel over the whole image, (N, H, W, C) -> (N, C)."""
    x = _images(x, "x")
    n, height, width, channels = x.shape
    out = output(out, (n, channels), x.dtype)
    whole = height, width, height, width
    convolution.avg_pool2d(x, out.reshape(n, 1, 1, channels), *whole)
    return out


def global_avg_pool2d_backward(
    dy: Array, input_shape: tuple[int, int], *, out: Array | None = None
) -> Array:
    """Return ``dy / (H * W)`` at every pixel, (N, C) -> (N, H, W, C); ``input_shape`` is (H, W)."""
    dy = operand(dy, "dy")
    if dy.ndim != 2:
        raise ValueError(f"dy must have shape (N, C), got {dy.shape}.")
    n, channels = dy.shape
    size = _checks.sizes(input_shape, "input_shape")
    out = output(out, (n, *size, channels), dy.dtype)
    convolution.avg_pool2d_backward(dy.reshape(n, 1, 1, channels), out, *size, *size)
    return out


# --- Checks -------------------------------------------------------------------------------------


class _Window:
    """A window over images, its arguments checked.

    Attributes
    ----------
    size, strides, places : tuple of int
        Of the window, (y, x); ``places`` are the height and width of the output.
    steps : tuple of int
        The strides, and how many rows and columns of zeros are above and to the left.
    """

    def __init__(
        self,
        image: tuple[int, int],
        size: tuple[int, int],
        strides: Pair,
        padding: str,
        name: str,
    ) -> None:
        self.size = size
        self.strides = _checks.sizes(strides, "strides")
        if padding != "same" and (size[0] > image[0] or size[1] > image[1]):
            raise ValueError(f"{name} must be at most as large as the images, {image}, got {size}.")
        rows, top, _ = places(image[0], size[0], self.strides[0], padding)
        columns, left, _ = places(image[1], size[1], self.strides[1], padding)
        self.places = rows, columns
        self.steps = *self.strides, top, left

    @classmethod
    def pooling(cls, image: tuple[int, int], pool_size: Pair, strides: Pair | None) -> _Window:
        """Return the window of a pooling operation."""
        size = _checks.sizes(pool_size, "pool_size")
        return cls(image, size, size if strides is None else strides, "valid", "pool_size")

    @property
    def index_dtype(self) -> np.dtype[Any]:
        """The dtype of a place in the window."""
        return _UINT8 if self.size[0] * self.size[1] <= 256 else _INT32

    def check(self, dy: Array, last: int, n: int | None = None) -> None:
        """Refuse a gradient that has not the shape of the output."""
        shape = (dy.shape[0] if n is None else n, *self.places, last)
        if dy.shape != shape:
            raise ValueError(f"dy must have shape {shape}, that of the output, got {dy.shape}.")


def _images(
    x: Any, name: str, letters: str = "(N, H, W, C)", dtype: np.dtype[Any] | None = None
) -> Array:
    """Return images with at least one pixel."""
    images = operand(x, name, dtype)
    if images.ndim != 4 or not images.shape[1] * images.shape[2]:
        raise ValueError(
            f"{name} must have shape {letters}, with a pixel at least, got {images.shape}."
        )
    return images


def _filters(w: Any, like: Array) -> Array:
    filters = operand(w, "w", like.dtype)
    if filters.ndim != 4 or not filters.shape[0] * filters.shape[1]:
        raise ValueError(
            f"w must have shape (kh, kw, C, F), with a place at least, got {filters.shape}."
        )
    return filters


def _check_index(index: Any, shape: tuple[int, ...], window: _Window) -> Array:
    """Return the index of max_pool2d; every place must be in the window, for it is written to."""
    dtype = window.index_dtype
    if type(index) is not np.ndarray or index.dtype != dtype:
        got = index.dtype if isinstance(index, np.ndarray) else type(index).__name__
        raise TypeError(f"index must be an array of {dtype}, as max_pool2d returns it, got {got}.")
    if index.shape != shape:
        raise ValueError(f"index must have the shape of dy, {shape}, got {index.shape}.")
    places = window.size[0] * window.size[1]
    if index.size and not 0 <= int(index.min()) <= int(index.max()) < places:
        raise ValueError(
            f"index must lie from 0 to {places - 1}, got {int(index.min())} to {int(index.max())}."
        )
    return np.require(index, dtype, ["C", "A"]).view(dtype)
