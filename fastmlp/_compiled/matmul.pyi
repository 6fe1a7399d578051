# A function does nothing and returns None if an array is not ready (csrc/kernels/arrays.pxd).
# "| Any" stands for this None, which calls with checked arrays never get.

from typing import Any

from fastmlp._types import Array

def matmul(
    a: Array,
    b: Array,
    out: Array | None,
    transpose_a: bool,
    transpose_b: bool,
    accumulate: bool,
    alpha: float,
) -> Array | Any: ...
def dense(
    x: Array, weight: Array, bias: Array | None, out: Array | None, relu: bool
) -> Array | Any: ...
