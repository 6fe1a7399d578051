"""The layer that flattens samples."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

from fastmlp._types import Array, Shape
from fastmlp.layers.base import GradientSink, Layer

__all__ = ["Flatten"]


class Flatten(Layer):
    """Flatten each sample in C order, without a copy: (N, 28, 28) becomes (N, 784).

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.Sequential([fm.Flatten(), fm.Dense(10)], input_shape=(28, 28)).layers[0].output_shape
    (784,)
    """

    def build(self, input_shape: Shape) -> Shape:
        """Return the shape of a flat sample."""
        return (math.prod(input_shape),)

    def forward(self, ops: ModuleType, x: Array, workspace: Any) -> Array:
        """Return ``x`` as (N, elements), a view."""
        return x.reshape(len(x), -1)

    def backward(
        self, ops: ModuleType, dy: Array, workspace: Any, sink: GradientSink, need_dx: bool
    ) -> Array | None:
        """Return ``dy`` in the shape of the input, a view."""
        return dy.reshape(len(dy), *(self.input_shape or ()))
