"""Embeddings in plain numpy."""

from __future__ import annotations

import numpy as np

from fastmlp._types import Array
from fastmlp.reference._quiet import quiet

__all__ = ["embedding", "embedding_backward"]


@quiet
def embedding(
    x: Array, weight: Array, *, combine: str | None = None, out: Array | None = None
) -> Array:
    """Return the rows of ``weight`` (V, D) that the integers x (N, L) select: (N, L, D).

    ``combine="concat"`` joins the rows of a sample, (N, L * D), and "sum" adds them up, (N, D).
    """
    rows = weight[x]
    if combine == "sum":
        return np.add.reduce(rows, axis=1, out=out)
    if combine == "concat":
        rows = rows.reshape(len(x), x.shape[1] * weight.shape[1])
    if out is None:
        return rows
    out[...] = rows
    return out


@quiet
def embedding_backward(
    dy: Array, x: Array, vocabulary: int, *, combine: str | None = None, out: Array | None = None
) -> Array:
    """Return the gradient with respect to the weight, (V, D): row v is the sum of dy where x is v.

    dy has the shape of the output. Rows that x does not select are 0.
    """
    samples, length = x.shape
    if combine == "sum":
        dim = dy.shape[1]
        parts = np.repeat(dy, length, axis=0)
    else:
        dim = dy.shape[-1] // (length if combine == "concat" else 1)
        parts = dy.reshape(samples * length, dim)
    if out is None:
        out = np.zeros((vocabulary, dim), dy.dtype)
    else:
        out[...] = 0
    if x.size:
        flat = x.reshape(-1)
        order = np.argsort(flat, kind="stable")
        named, starts = np.unique(flat[order], return_index=True)
        out[named] = np.add.reduceat(parts[order], starts, axis=0)
    return out
