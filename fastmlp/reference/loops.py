"""Convolution and pooling as loops over pixels: the definition.

``fastmlp.reference.convolution`` and ``fastmlp.reference.pooling`` have the same functions in a
form that is fast in numpy, without ``_loops`` in their names, and document the arguments. Images
are (N, H, W, C), filters (kh, kw, C, F). The loops use these letters: pixel (p, q) of the output,
offset (r, s) within the window, pixel (i, j) of the image.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fastmlp._types import Array, Pair, Shape
from fastmlp._windows import pair, places
from fastmlp.reference._quiet import quiet
from fastmlp.reference.window import new

__all__ = [
    "avg_pool2d_backward_loops",
    "avg_pool2d_loops",
    "conv2d_backward_input_loops",
    "conv2d_backward_weights_loops",
    "conv2d_loops",
    "global_avg_pool2d_backward_loops",
    "global_avg_pool2d_loops",
    "max_pool2d_backward_loops",
    "max_pool2d_loops",
]


@quiet
def conv2d_loops(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    strides: Pair = 1,
    padding: str = "valid",
    relu: bool = False,
    out: Array | None = None,
) -> Array:
    """Return the sum of pixel times filter over each window plus the bias, or the relu of that."""
    steps = _Steps(x.shape[1:3], w.shape[:2], strides, padding)
    out = new((len(x), *steps.places, w.shape[3]), x.dtype, out)
    out[...] = 0 if b is None else b
    for p, q, r, s, i, j in steps:
        out[:, p, q] += x[:, i, j] @ w[r, s]
    return np.maximum(out, 0, out=out) if relu else out


@quiet
def conv2d_backward_input_loops(
    dy: Array,
    w: Array,
    input_shape: tuple[int, int],
    *,
    strides: Pair = 1,
    padding: str = "valid",
    out: Array | None = None,
) -> Array:
    """Return for every pixel the sum of the gradients from all windows that contain it."""
    steps = _Steps(input_shape, w.shape[:2], strides, padding)
    out = new((len(dy), *input_shape, w.shape[2]), dy.dtype, out)
    out[...] = 0
    for p, q, r, s, i, j in steps:
        out[:, i, j] += dy[:, p, q] @ w[r, s].T
    return out


@quiet
def conv2d_backward_weights_loops(
    x: Array,
    dy: Array,
    kernel_size: Pair,
    *,
    strides: Pair = 1,
    padding: str = "valid",
    out: Array | None = None,
) -> Array:
    """Return for every weight of the filters the sum of its gradients over all windows."""
    steps = _Steps(x.shape[1:3], pair(kernel_size), strides, padding)
    out = new((*pair(kernel_size), x.shape[3], dy.shape[3]), x.dtype, out)
    out[...] = 0
    for p, q, r, s, i, j in steps:
        out[r, s] += x[:, i, j].T @ dy[:, p, q]
    return out


@quiet
def max_pool2d_loops(
    x: Array, pool_size: Pair = 2, *, strides: Pair | None = None, out: Array | None = None
) -> tuple[Array, Array]:
    """Return the first maximum of every window and its position; NaN counts as the maximum."""
    height, width = pair(pool_size)
    steps = _Steps(x.shape[1:3], (height, width), pool_size if strides is None else strides)
    out = new((len(x), *steps.places, x.shape[3]), x.dtype, out)
    index = np.empty(out.shape, np.uint8 if height * width <= 256 else np.int32)
    for p, q, i, j in steps.windows():
        window = x[:, i : i + height, j : j + width].reshape(len(x), height * width, x.shape[3])
        # argmax takes the first maximum, and treats NaN as larger than any number.
        index[:, p, q] = window.argmax(axis=1)
        out[:, p, q] = np.take_along_axis(window, index[:, p, q][:, None].astype(int), 1)[:, 0]
    return out, index


@quiet
def max_pool2d_backward_loops(
    dy: Array,
    index: Array,
    input_shape: tuple[int, int],
    pool_size: Pair = 2,
    *,
    strides: Pair | None = None,
    out: Array | None = None,
) -> Array:
    """Return the gradient of every window at the pixel that was its maximum."""
    height, width = pair(pool_size)
    steps = _Steps(input_shape, (height, width), pool_size if strides is None else strides)
    out = new((len(dy), *input_shape, dy.shape[3]), dy.dtype, out)
    out[...] = 0
    for p, q, r, s, i, j in steps:
        out[:, i, j] += np.where(index[:, p, q] == r * width + s, dy[:, p, q], 0)
    return out


@quiet
def avg_pool2d_loops(
    x: Array, pool_size: Pair = 2, *, strides: Pair | None = None, out: Array | None = None
) -> Array:
    """Return the mean of every window."""
    height, width = pair(pool_size)
    steps = _Steps(x.shape[1:3], (height, width), pool_size if strides is None else strides)
    out = new((len(x), *steps.places, x.shape[3]), x.dtype, out)
    for p, q, i, j in steps.windows():
        out[:, p, q] = x[:, i : i + height, j : j + width].mean(axis=(1, 2))
    return out


@quiet
def avg_pool2d_backward_loops(
    dy: Array,
    input_shape: tuple[int, int],
    pool_size: Pair = 2,
    *,
    strides: Pair | None = None,
    out: Array | None = None,
) -> Array:
    """Return an equal share of the gradient of every window at each of its pixels."""
    height, width = pair(pool_size)
    steps = _Steps(input_shape, (height, width), pool_size if strides is None else strides)
    out = new((len(dy), *input_shape, dy.shape[3]), dy.dtype, out)
    out[...] = 0
    for p, q, _, _, i, j in steps:
        out[:, i, j] += dy[:, p, q] / (height * width)
    return out


@quiet
def global_avg_pool2d_loops(x: Array, *, out: Array | None = None) -> Array:
    """Return the mean of every channel: (N, H, W, C) -> (N, C)."""
    out = new((len(x), x.shape[3]), x.dtype, out)
    out[...] = 0
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            out += x[:, i, j]
    out /= x.shape[1] * x.shape[2]
    return out


@quiet
def global_avg_pool2d_backward_loops(
    dy: Array, input_shape: tuple[int, int], *, out: Array | None = None
) -> Array:
    """Return an equal share of a channel's gradient at every pixel: (N, C) -> (N, H, W, C)."""
    height, width = input_shape
    out = new((len(dy), height, width, dy.shape[1]), dy.dtype, out)
    for i in range(height):
        for j in range(width):
            out[:, i, j] = dy / (height * width)
    return out


class _Steps:
    """All (p, q, r, s, i, j) of a window over an image, except offsets that fall into the padding.

    Attributes
    ----------
    places : tuple of int
        Number of positions of the window, (y, x): the height and width of the output.
    """

    def __init__(self, image: Shape, window: Shape, strides: Pair, padding: str = "valid") -> None:
        self._image, self._window = image, window
        self._strides = sy, sx = pair(strides)
        rows, self._top, _ = places(image[0], window[0], sy, padding)
        columns, self._left, _ = places(image[1], window[1], sx, padding)
        self.places = rows, columns

    def windows(self) -> Iterator[tuple[int, int, int, int]]:
        """Yield (p, q) and the first pixel of that window, which may lie in the padding."""
        sy, sx = self._strides
        for p in range(self.places[0]):
            for q in range(self.places[1]):
                yield p, q, p * sy - self._top, q * sx - self._left

    def __iter__(self) -> Iterator[tuple[int, int, int, int, int, int]]:
        height, width = self._image
        for p, q, top, left in self.windows():
            for r in range(self._window[0]):
                for s in range(self._window[1]):
                    i, j = top + r, left + s
                    if 0 <= i < height and 0 <= j < width:
                        yield p, q, r, s, i, j
