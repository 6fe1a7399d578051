"""Embeddings in a plan: rows of a table, and the gradient of the rows that a batch names."""

from __future__ import annotations

import numpy as np

from fastmlp._arrays import empty
from fastmlp._plan import updates
from fastmlp._plan.activations import derive
from fastmlp._plan.builder import Builder
from fastmlp._plan.operation import Gradient, Value
from fastmlp._plan.rules import LayerRule, LayerRules
from fastmlp.layers import Embedding

__all__ = ["LAYER_RULES"]

# Looking up a row of the table costs as much as moving this many elements.
_LOOKUP = 8


def _embedding(builder: Builder, layer: Embedding, x: Value) -> Value:
    """Add the rows of the table that the integers of the samples name, or their sum."""
    sums = layer.combine == "sum"
    _, dim = layer.weight.shape
    columns = dim if sums else x.columns * dim
    y = builder.output_buffer(layer, columns)
    operation = builder.add(
        "embedding",
        layer,
        f"({builder.rows}, {x.columns}) of {layer.weight.shape}",
        2 * builder.rows * x.columns * dim,
        [],
        [y],
        moved=builder.rows * x.columns * dim,
        moves=_LOOKUP * builder.rows * x.columns,
        by_samples=True,
        inputs=x.columns,
        outputs=dim,
        w=builder.live(layer.weight),
        z=y,
        y=y,
        index_bytes=builder.index_bytes,
        sums_rows=sums,
    )
    operation.fused += ["sum"] * sums
    return Value(columns, y, producer=operation)


def _embedding_backward(
    builder: Builder, layer: Embedding, x: Value, y: Value, gradient: Gradient, need_dx: bool
) -> None:
    """Add the gradient of the rows, and their update.

    The update covers all rows, unless the rule leaves a row with a gradient of zero unchanged. Then
    each step updates only the rows that its batch names.
    """
    gradient = derive(builder, layer, y, gradient)
    if not updates.wanted(builder, layer.weight):
        return
    vocabulary, dim = layer.weight.shape
    memory = empty(layer.weight.shape, builder.dtype)
    memory[...] = 0
    operation = builder.add(
        "embedding_update",
        layer,
        f"({builder.rows}, {x.columns}) of {layer.weight.shape}",
        4 * vocabulary * dim + 2 * builder.rows * x.columns * dim,
        [gradient.buffer],
        [],
        moved=2 * vocabulary * dim,
        moves=_LOOKUP * builder.rows * x.columns,
        barrier=False,
        inputs=x.columns,
        outputs=dim,
        dy=gradient.buffer,
        index_bytes=builder.index_bytes,
        sums_rows=layer.combine == "sum",
        vocabulary=vocabulary,
        row_gradients=memory,
        marks=np.zeros(vocabulary, np.int8),
    )
    updates.update(builder, operation, layer.weight)


LAYER_RULES: LayerRules = {Embedding: LayerRule(_embedding, _embedding_backward)}
