"""Sliding windows over images (N, H, W, C), for convolution and pooling.

``fastmlp._windows`` computes where windows lie on one axis. This module turns that into numpy
slices and unfolded matrices.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from fastmlp._types import Array, DType, Pair, Shape
from fastmlp._windows import pair, places

__all__ = ["Windows", "new"]

# Bytes of unfolded windows that stay in the L2 cache until the matrix product has read them.
_CHUNK_BYTES = 1 << 19
# From this number of values on, numpy copies contiguous runs faster than strided columns.
_RUN = 8


class Windows:
    """All positions of a window over images (N, H, W, C).

    Attributes
    ----------
    places : tuple of int
        Number of positions, (y, x): the height and width of the output.
    """

    def __init__(self, shape: Shape, window: Shape, strides: Pair, padding: str = "valid") -> None:
        self._shape, self._window, self._strides = shape, window, pair(strides)
        y = places(shape[1], window[0], self._strides[0], padding)
        x = places(shape[2], window[1], self._strides[1], padding)
        self.places = y[0], x[0]
        self._padding = y[1:], x[1:]

    def chunks(self, values: int) -> Iterator[slice]:
        """Yield slices of the batch whose windows, ``values`` numbers each, fit in the L2 cache."""
        total = self._shape[0]
        each = max(1, _CHUNK_BYTES // (4 * values * max(1, self.places[0] * self.places[1])))
        for start in range(0, total, each):
            yield slice(start, min(start + each, total))

    def taps(self) -> Iterator[tuple[int, int, tuple[slice, ...], tuple[slice, ...]]]:
        """Yield each offset (r, s) within the window, with the pixels it visits and their windows.

        The pixels are a slice of the images, and the windows a slice of the outputs: the windows in
        which this offset does not fall into the padding.
        """
        (sy, sx), (rows, columns) = self._strides, self.places
        for r in range(self._window[0]):
            of_rows = _inside(r - self._padding[0][0], sy, rows, self._shape[1])
            for s in range(self._window[1]):
                of_columns = _inside(s - self._padding[1][0], sx, columns, self._shape[2])
                pixels, windows = zip(of_rows, of_columns, strict=True)
                yield r, s, (slice(None), *pixels), (slice(None), *windows)

    def unfold(self, x: Array) -> Iterator[tuple[slice, Array]]:
        """Yield the rows of a chunk, and its windows unfolded to a matrix, one window per row.

        A row holds (kh, kw, C) values. The next chunk overwrites the matrix.
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
    """Return as slices the pixels ``offset + stride * k`` that lie inside an axis, and their k.

    k is below ``count``.
    """
    first = max(0, -(offset // stride))
    last = min(count, (size - 1 - offset) // stride + 1)
    if first >= last:
        return slice(0, 0), slice(0, 0)
    start = offset + first * stride
    return slice(start, start + (last - first - 1) * stride + 1, stride), slice(first, last)


def new(shape: Shape, dtype: DType, out: Array | None) -> Array:
    """Return ``out``, or a new array if it is None."""
    return np.empty(shape, dtype) if out is None else out
