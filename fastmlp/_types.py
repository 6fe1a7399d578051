"""Names for the types of arrays and shapes in annotations."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Array", "DType", "Pair", "Shape"]

Array = npt.NDArray[Any]
DType = np.dtype[Any]
Shape = tuple[int, ...]
Pair = int | tuple[int, int]
"""Two sizes or strides, (y, x); an integer stands for both."""
