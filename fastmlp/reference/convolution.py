"""Convolution and pooling in plain numpy; ``fastmlp.reference`` has these functions as its own.

Images are (N, H, W, C), channels last, and filters (kh, kw, C, F): C channels of the input, F
filters. A convolution does not turn the filter round, as everywhere in neural networks. The
definition is in ``fastmlp.reference.loops``, loops over pixels; here the same is done with a few
large products and strided views. Outputs never overlap inputs. See ``fastmlp.reference`` for what
else holds for every function.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

from fastmlp._windows import pair, places

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

Array = npt.NDArray[Any]
Pair = int | tuple[int, int]

_quiet = np.errstate(all="ignore")

# So many bytes of unfolded windows stay in the second cache until the product has read them.
_CHUNK_BYTES = 1 << 19
# Numpy copies runs of so many values faster than as many strided columns.
_RUN = 8


# --- Convolution --------------------------------------------------------------------------------


@_quiet
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

    ``y[n, p, q, f] = b[f] + sum(x[n, p * sy + r - top, q * sx + s - left, c] * w[r, s, c, f])``
    over the places (r, s) of the window and the channels c, where pixels outside are zero.

    Parameters
    ----------
    x : array of shape (N, H, W, C)
    w : array of shape (kh, kw, C, F)
    b : array of shape (F,), optional
    strides : int or (int, int), default=1
        Steps of the window, (y, x).
    padding : {"valid", "same"}, default="valid"
        "valid": only windows inside the image, OH = (H - kh) // sy + 1. "same": OH = ceil(H / sy),
        with zeros around the image, of max((OH - 1) * sy + kh - H, 0) rows the smaller half above;
        as in TensorFlow and Keras.
    relu : bool, default=False
    out : array of shape (N, OH, OW, F), optional

    Returns
    -------
    out : array of shape (N, OH, OW, F)
    """
    windows = _Windows(x.shape, w.shape[:2], strides, padding)
    filters = w.shape[3]
    out = _new((len(x), *windows.places, filters), x.dtype, out)
    matrix = w.reshape(-1, filters)
    for rows, columns in windows.unfold(x):
        np.matmul(columns, matrix, out=out[rows].reshape(-1, filters))
    if b is not None:
        out += b
    return np.maximum(out, 0, out=out) if relu else out


@_quiet
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

    ``input_shape`` is (H, W). Pixels that no window covers get zero.
    """
    channels, filters = w.shape[2:]
    shape = (len(dy), *input_shape, channels)
    windows = _Windows(shape, w.shape[:2], strides, padding)
    out = _new(shape, dy.dtype, out)
    out[...] = 0
    for rows in windows.chunks(max(channels, filters)):
        factor = dy[rows].reshape(-1, filters)
        part = np.empty((*dy[rows].shape[:3], channels), dy.dtype)
        for r, s, of_image, of_windows in windows.taps():
            np.matmul(factor, w[r, s].T, out=part.reshape(-1, channels))
            out[rows][of_image] += part[of_windows]
    return out


@_quiet
def conv2d_backward_weights(
    x: Array,
    dy: Array,
    kernel_size: Pair,
    *,
    strides: Pair = 1,
    padding: str = "valid",
    out: Array | None = None,
) -> Array:
    """Return the gradient by the filters, (N, H, W, C), (N, OH, OW, F) -> (kh, kw, C, F)."""
    windows = _Windows(x.shape, pair(kernel_size), strides, padding)
    filters = dy.shape[3]
    out = _new((*pair(kernel_size), x.shape[3], filters), x.dtype, out)
    out[...] = 0
    matrix = out.reshape(-1, filters)
    for rows, columns in windows.unfold(x):
        matrix += columns.T @ dy[rows].reshape(-1, filters)
    return out


# --- Pooling ------------------------------------------------------------------------------------


@_quiet
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

    Returns
    -------
    out : array of shape (N, OH, OW, C)
        A window with a NaN in it gives NaN.
    index : array of shape (N, OH, OW, C), uint8 for windows of at most 256 places, else int32
        The place in the window, row by row, of its first maximum, or of its first NaN.
    """
    height, width = pair(pool_size)
    windows = _Windows(x.shape, (height, width), pool_size if strides is None else strides)
    out = _new((len(x), *windows.places, x.shape[3]), x.dtype, out)
    index = np.zeros(out.shape, np.uint8 if height * width <= 256 else np.int32)
    candidates = [x[of_image] for _, _, of_image, _ in windows.taps()]
    out[...] = candidates[0]
    for candidate in candidates[1:]:
        np.maximum(out, candidate, out=out)  # NaN if either is
    # The index counts the places before the first maximum: numpy is slow with masks.
    before = np.ones(out.shape, bool)
    for candidate in candidates[:-1]:
        before &= candidate != out
        before &= candidate == candidate  # a NaN is what the maximum is then
        index += before
    return out, index


@_quiet
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

    Each window's goes to the pixel that ``index`` names; where windows overlap, they add up.
    ``input_shape`` is (H, W).
    """
    shape = (len(dy), *input_shape, dy.shape[3])
    height, width = pair(pool_size)
    windows = _Windows(shape, (height, width), pool_size if strides is None else strides)
    out = _new(shape, dy.dtype, out)
    out[...] = 0
    # All bits of a gradient, or none: a product with 0 would make NaN of infinity, and masks are
    # slow.
    integers = np.dtype(f"i{dy.dtype.itemsize}")
    bits = dy.view(integers)
    for r, s, of_image, _ in windows.taps():
        all_bits = -(index == r * width + s).astype(integers)
        out[of_image] += (bits & all_bits).view(dy.dtype)
    return out


@_quiet
def avg_pool2d(
    x: Array, pool_size: Pair = 2, *, strides: Pair | None = None, out: Array | None = None
) -> Array:
    """Return the mean of every window of every channel, (N, H, W, C) -> (N, OH, OW, C).

    ``pool_size`` and ``strides`` as for ``max_pool2d``.
    """
    height, width = pair(pool_size)
    windows = _Windows(x.shape, (height, width), pool_size if strides is None else strides)
    out = _new((len(x), *windows.places, x.shape[3]), x.dtype, out)
    out[...] = 0
    for _, _, of_image, _ in windows.taps():
        out += x[of_image]
    out /= height * width
    return out


@_quiet
def avg_pool2d_backward(
    dy: Array,
    input_shape: tuple[int, int],
    pool_size: Pair = 2,
    *,
    strides: Pair | None = None,
    out: Array | None = None,
) -> Array:
    """Return the gradient by the images, (N, OH, OW, C) -> (N, H, W, C): equal shares, added up.

    ``input_shape`` is (H, W).
    """
    shape = (len(dy), *input_shape, dy.shape[3])
    height, width = pair(pool_size)
    windows = _Windows(shape, (height, width), pool_size if strides is None else strides)
    share = dy / (height * width)
    out = _new(shape, dy.dtype, out)
    out[...] = 0
    for _, _, of_image, _ in windows.taps():
        out[of_image] += share
    return out


@_quiet
def global_avg_pool2d(x: Array, *, out: Array | None = None) -> Array:
    """Return the mean of every channel over the whole image, (N, H, W, C) -> (N, C)."""
    return np.mean(x, axis=(1, 2), out=out)


@_quiet
def global_avg_pool2d_backward(
    dy: Array, input_shape: tuple[int, int], *, out: Array | None = None
) -> Array:
    """Return ``dy / (H * W)`` at every pixel, (N, C) -> (N, H, W, C); ``input_shape`` is (H, W)."""
    height, width = input_shape
    out = _new((len(dy), height, width, dy.shape[1]), dy.dtype, out)
    out[...] = (dy / (height * width))[:, None, None]
    return out


# --- Windows ------------------------------------------------------------------------------------


class _Windows:
    """The places of a window over images (N, H, W, C).

    Attributes
    ----------
    places : tuple of int
        How many there are: the height and width of the output.
    """

    def __init__(
        self, shape: tuple[int, ...], window: tuple[int, ...], strides: Pair, padding: str = "valid"
    ) -> None:
        self._shape, self._window, self._strides = shape, window, pair(strides)
        y = places(shape[1], window[0], self._strides[0], padding)
        x = places(shape[2], window[1], self._strides[1], padding)
        self.places = y[0], x[0]
        self._padding = y[1:], x[1:]

    def chunks(self, values: int) -> Iterator[slice]:
        """Yield slices of the batch, few enough images that ``values`` a place stay in cache."""
        total = self._shape[0]
        each = max(1, _CHUNK_BYTES // (4 * values * max(1, self.places[0] * self.places[1])))
        for start in range(0, total, each):
            yield slice(start, min(start + each, total))

    def taps(self) -> Iterator[tuple[int, int, tuple[slice, ...], tuple[slice, ...]]]:
        """Yield every place (r, s) in the window, the pixels that are ever there, and of which.

        The pixels are a slice of the images; of which windows is a slice of the outputs: those
        where (r, s) is not in the padding.
        """
        (sy, sx), (rows, columns) = self._strides, self.places
        for r in range(self._window[0]):
            of_rows = _inside(r - self._padding[0][0], sy, rows, self._shape[1])
            for s in range(self._window[1]):
                of_columns = _inside(s - self._padding[1][0], sx, columns, self._shape[2])
                pixels, windows = zip(of_rows, of_columns, strict=True)
                yield r, s, (slice(None), *pixels), (slice(None), *windows)

    def unfold(self, x: Array) -> Iterator[tuple[slice, Array]]:
        """Yield the rows of a chunk and its windows as rows of a matrix, of (kh, kw, C) values.

        The matrix is overwritten for the next chunk.
        """
        (kh, kw), (sy, sx), (rows, columns) = self._window, self._strides, self.places
        _, height, width, channels = self._shape
        run = kw * channels
        (top, bottom), (left, right) = self._padding
        matrix = padded = None
        for chunk in self.chunks(kh * run):
            images = x[chunk]
            n = len(images)
            if (kh, kw, sy, sx) == (1, 1, 1, 1):
                yield chunk, images.reshape(-1, channels)
                continue
            if matrix is None:
                matrix = np.empty((n, rows, columns, kh, run), x.dtype)
            if top or bottom or left or right:
                if padded is None:
                    shape = (n, top + height + bottom, left + width + right, channels)
                    padded = np.zeros(shape, x.dtype)
                padded[:n, top : top + height, left : left + width] = images
                images = padded[:n]
            a, b, c, d = images.strides
            windows = as_strided(
                images, (n, rows, columns, kh, run), (a, b * sy, c * sx, b, d), writeable=False
            )
            target = matrix[:n]
            if run >= _RUN:
                target[...] = windows
            else:
                for r in range(kh):
                    for value in range(run):
                        target[..., r, value] = windows[..., r, value]
            yield chunk, target.reshape(-1, kh * run)


def _inside(offset: int, stride: int, count: int, size: int) -> tuple[slice, slice]:
    """Return the pixels offset, offset + stride, ... of an axis inside it, and which ones."""
    first = max(0, -(offset // stride))
    last = min(count, (size - 1 - offset) // stride + 1)
    if first >= last:
        return slice(0, 0), slice(0, 0)
    start = offset + first * stride
    return slice(start, start + (last - first - 1) * stride + 1, stride), slice(first, last)


def _new(shape: tuple[int, ...], dtype: np.dtype[Any], out: Array | None) -> Array:
    return np.empty(shape, dtype) if out is None else out
