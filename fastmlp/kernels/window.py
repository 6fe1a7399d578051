"""Windows over images, with the checks that convolution and pooling share."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp import _checks
from fastmlp._arrays import operand
from fastmlp._types import Array, DType, Pair
from fastmlp._windows import places

__all__ = ["Window", "images"]

_UINT8 = np.dtype(np.uint8)
_INT32 = np.dtype(np.int32)


class Window:
    """A window over images, with checked arguments.

    Attributes
    ----------
    size, strides : tuple of int
        Size and steps of the window, (y, x).
    places : tuple of int
        Number of positions of the window, (y, x): the height and width of the output.
    steps : tuple of int
        The strides, and the number of rows of zeros above the image and of columns to its left.
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
            raise ValueError(f"{name} must not be larger than the images, {image}, got {size}.")
        rows, top, _ = places(image[0], size[0], self.strides[0], padding)
        columns, left, _ = places(image[1], size[1], self.strides[1], padding)
        self.places = rows, columns
        self.steps = *self.strides, top, left

    @classmethod
    def pooling(cls, image: tuple[int, int], pool_size: Pair, strides: Pair | None) -> Window:
        """Return the window of a pooling operation."""
        size = _checks.sizes(pool_size, "pool_size")
        return cls(image, size, size if strides is None else strides, "valid", "pool_size")

    @property
    def index_dtype(self) -> DType:
        """The smallest dtype for positions within the window."""
        return _UINT8 if self.size[0] * self.size[1] <= 256 else _INT32

    def check(self, dy: Array, last: int, n: int | None = None) -> None:
        """Raise ValueError if a gradient does not have the shape of the output."""
        shape = (dy.shape[0] if n is None else n, *self.places, last)
        if dy.shape != shape:
            raise ValueError(f"dy must have the shape of the output, {shape}, got {dy.shape}.")


def images(x: Any, name: str, letters: str = "(N, H, W, C)", dtype: DType | None = None) -> Array:
    """Return images as a C-contiguous array; raise ValueError if they have no pixels."""
    result: Array = operand(x, name, dtype)
    if result.ndim != 4 or not result.shape[1] * result.shape[2]:
        raise ValueError(
            f"{name} must have shape {letters} with at least one pixel, got {result.shape}."
        )
    return result
