# A function does nothing and returns None if an array is not ready (csrc/kernels/arrays.pxd).
# "| Any" stands for this None, which calls with checked arrays never get.

from typing import Any

import numpy.typing as npt

_Array = npt.NDArray[Any]

def matmul(
    a: _Array,
    b: _Array,
    out: _Array | None,
    transpose_a: bool,
    transpose_b: bool,
    accumulate: bool,
    alpha: float,
) -> _Array | Any: ...
def dense(
    x: _Array, weight: _Array, bias: _Array | None, out: _Array | None, relu: bool
) -> _Array | Any: ...
