"""Embeddings: compiled, with checks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from fastmlp import _checks
from fastmlp._arrays import FLOAT32, empty, operand, output
from fastmlp._compiled import layers
from fastmlp._types import Array, Shape

__all__ = ["embedding", "embedding_backward"]

# The compiled functions by dtype; choosing here is faster than Cython's dispatch on fused types.
_EMBEDDING = (layers.embedding["float"], layers.embedding["double"])
_EMBEDDING_BACKWARD = (layers.embedding_backward["float"], layers.embedding_backward["double"])


def embedding(
    x: Array, weight: Array, *, combine: str | None = None, out: Array | None = None
) -> Array:
    """Return the rows of ``weight`` that the integers x select.

    Parameters
    ----------
    x : array of shape (N, L), integers from 0 to V - 1
    weight : array of shape (V, D)
    combine : {None, "concat", "sum"}, default=None
        How the L rows of a sample are combined: None keeps them, (N, L, D); "concat" joins them,
        (N, L * D); "sum" adds them up, (N, D).
    out : array with the shape of the result, optional
        Receives the result. It must not overlap weight.

    Returns
    -------
    out : array of shape (N, L, D), (N, L * D) or (N, D)

    Raises
    ------
    ValueError
        If a shape is wrong, an integer is out of range, or ``combine`` is unknown.
    TypeError
        If x does not hold integers, or weight does not hold real numbers.
    """
    weight = operand(weight, "weight")
    if weight.ndim != 2:
        raise ValueError(f"weight must have shape (V, D), got {weight.shape}.")
    vocabulary, dim = weight.shape
    x, shape = _indices(x, vocabulary, dim, combine)
    out = empty(shape, weight.dtype) if out is None else output(out, shape, weight.dtype)
    sums = combine == "sum"
    if sums and x.shape[1] == 0:
        out[...] = 0
    rows = out.reshape(len(x), math.prod(shape[1:]))
    _EMBEDDING[weight.dtype is not FLOAT32](x, weight, sums, rows)
    return out


def embedding_backward(
    dy: Array, x: Array, vocabulary: int, *, combine: str | None = None, out: Array | None = None
) -> Array:
    """Return the gradient with respect to the weight, (V, D): row v is the sum of dy where x is v.

    ``dy`` has the shape of the output of ``embedding``. Rows that x does not select are 0. The sums
    are taken in the order of x.
    """
    dy = operand(dy, "dy")
    vocabulary = _checks.integer(vocabulary, "vocabulary", minimum=1)
    if dy.ndim < 2:
        raise ValueError(f"dy must have the shape of the output, got {dy.shape}.")
    length = np.shape(x)[1] if combine == "concat" and np.ndim(x) == 2 else 1
    dim = dy.shape[-1] // max(length, 1)
    x, shape = _indices(x, vocabulary, dim, combine)
    if dy.shape != shape:
        raise ValueError(f"dy must have shape {shape}, got {dy.shape}.")
    wanted = (vocabulary, dim)
    out = empty(wanted, dy.dtype) if out is None else output(out, wanted, dy.dtype)
    out[...] = 0
    rows = dy.reshape(len(x), math.prod(shape[1:]))
    _EMBEDDING_BACKWARD[dy.dtype is not FLOAT32](rows, x, combine == "sum", out)
    return out


def _indices(x: Any, vocabulary: int, dim: int, combine: str | None) -> tuple[Array, Shape]:
    """Return x as int64 (N, L), checked to be in range, and the shape of the output."""
    if combine is not None:
        _checks.lookup(combine, dict.fromkeys(("concat", "sum")), "combine")
    x = _checks.array(x, "x")
    if x.dtype.kind not in ("i", "u"):
        raise TypeError(f"x must hold integers, got dtype {x.dtype}.")
    if x.ndim != 2:
        raise ValueError(f"x must have shape (N, L), got {x.shape}.")
    x = _checks.in_range(x, vocabulary, "x").astype(np.int64, copy=False)
    n, length = x.shape
    shapes: dict[str | None, Shape] = {
        None: (n, length, dim),
        "concat": (n, length * dim),
        "sum": (n, dim),
    }
    return x, shapes[combine]
