"""Matrix products and dense layers in plain numpy."""

from __future__ import annotations

import numpy as np

from fastmlp._types import Array
from fastmlp.reference._quiet import quiet

__all__ = ["add_bias", "dense", "matmul", "sum_batch"]


@quiet
def matmul(
    a: Array,
    b: Array,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    out: Array | None = None,
    accumulate: bool = False,
    alpha: float = 1.0,
) -> Array:
    """Return ``alpha * op(a) @ op(b)``: (M, K) times (K, N) gives (M, N).

    op transposes its argument if ``transpose_a`` or ``transpose_b`` is set. With ``accumulate``
    the product is added to ``out``, which is then required.
    """
    a = a.T if transpose_a else a
    b = b.T if transpose_b else b
    if accumulate:
        if out is None:
            raise ValueError("matmul: out is required with accumulate=True.")
        product = np.matmul(a, b)
        if alpha != 1.0:
            product *= alpha
        out += product
        return out
    out = np.matmul(a, b, out=out)
    if alpha != 1.0:
        out *= alpha
    return out


@quiet
def dense(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    relu: bool = False,
    out: Array | None = None,
) -> Array:
    """Return ``x @ weight + bias``, optionally followed by relu: (N, I), (I, O), (O,) -> (N, O)."""
    out = np.matmul(x, weight, out=out)
    if bias is not None:
        out += bias
    return np.maximum(out, 0, out=out) if relu else out


@quiet
def add_bias(x: Array, bias: Array, *, out: Array | None = None) -> Array:
    """Return ``x + bias`` with the same bias in every row: (N, O), (O,) -> (N, O)."""
    return np.add(x, bias, out=out)


@quiet
def sum_batch(x: Array, *, out: Array | None = None) -> Array:
    """Return the sum over the rows, (N, O) -> (O,): the gradient of a bias."""
    return np.add.reduce(x, axis=0, out=out)
