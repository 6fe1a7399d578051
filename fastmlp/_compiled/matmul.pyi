# Every function returns None, having done nothing, where an array is not as csrc/arrays.pxd says;
# "| Any" stands for that: what is called with checked arrays need not be asked again.

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
