"""The layer that looks up a row of numbers for every integer."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from fastmlp import _checks, initializers
from fastmlp._arrays import empty
from fastmlp._types import Array, Shape
from fastmlp.layers.base import GradientSink, Layer
from fastmlp.parameter import Initializer, Parameter

__all__ = ["Embedding"]


class Embedding(Layer):
    """Turn integers, such as the numbers of words, into rows of a table that is trained.

    The first layer of a network, whose samples then are integers: ``model.fit(x, ...)`` takes x of
    any integer dtype; int32 and int64 are read as they are, without a copy.

    Parameters
    ----------
    vocabulary : int
        Number of rows V, at least 1: the integers lie from 0 to V - 1.
    dim : int
        Length of a row D, at least 1.
    combine : {None, "concat", "sum"}, default=None
        What becomes of the L rows of a sample: (L, D) as they are, one after the other, (L * D,),
        or summed, (D,).
    init : str or initializer, default=None
        Initial rows; see ``fastmlp.initializers``. None means those of the model's ``init``, else
        "normal".
    trainable, learning_rate_multiplier, l1, l2
        How it is trained, as for every ``Layer``.

    Raises
    ------
    ValueError
        If a number is less than 1, or a name is unknown. Where the model is used: if an integer is
        out of range; the message says which, and where.
    TypeError
        If an argument is of another type. Where the model is used: if samples are not integers.

    Notes
    -----
    Takes samples of shape (L,). Parameter: ``weight`` (V, D). The initial values are N(0, 1), as in
    PyTorch; Keras has ``init="uniform"``.

    A step does to all rows what the optimizer does to a weight whose gradient is zero where no
    sample names the row, as PyTorch does for ``sparse=False``: with momentum a row goes on moving,
    and the steps of Adam take V * D operations, however few rows a batch names. Where that leaves
    the other rows as they are, a step touches only the rows that it names: SGD without momentum,
    and Adagrad, without weight decay and penalties.

    Examples
    --------
    >>> import fastmlp as fm
    >>> layers = [fm.Embedding(250, 8, combine="sum"), fm.Dense(64, "sigmoid"), fm.Dense(250)]
    >>> model = fm.Sequential(layers, input_shape=(3,))
    >>> model.predict([[1, 249, 0]]).shape
    (1, 250)
    """

    def __init__(
        self,
        vocabulary: int,
        dim: int,
        combine: str | None = None,
        init: str | Initializer | None = None,
        *,
        trainable: bool = True,
        learning_rate_multiplier: float = 1.0,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        super().__init__(
            trainable=trainable, learning_rate_multiplier=learning_rate_multiplier, l1=l1, l2=l2
        )
        self.vocabulary = _checks.integer(vocabulary, "vocabulary", minimum=1)
        self.dim = _checks.integer(dim, "dim", minimum=1)
        if combine is not None:
            _checks.lookup(combine, dict.fromkeys(("concat", "sum")), "combine")
        self.combine = combine
        self.own_init = init is not None
        self.init = initializers.get("normal" if init is None else init)
        self.integers_below = self.vocabulary

    def build(self, input_shape: Shape) -> Shape:
        """Declare ``weight``; a sample must be flat."""
        if len(input_shape) != 1:
            raise ValueError(
                f"{self.name or 'Embedding'}: a sample must have shape (length,), got "
                f"{input_shape}."
            )
        length, shape = input_shape[0], (self.vocabulary, self.dim)
        self.weight = Parameter("weight", shape, self.init, *shape)
        self.parameters = [self.weight]
        shapes = {None: (length, self.dim), "concat": (length * self.dim,), "sum": (self.dim,)}
        return shapes[self.combine]

    def workspace(self, n: int, dtype: np.dtype[Any]) -> _Workspace:
        """Return the buffers for a batch of ``n`` samples."""
        return _Workspace((n, *(self.output_shape or ())), dtype)

    def forward(self, ops: ModuleType, x: Array, workspace: _Workspace) -> Array:
        """Return the rows that the integers ``x`` (N, L) name."""
        workspace.x = x
        y: Array = ops.embedding(x, self.weight.value, combine=self.combine, out=workspace.y)
        return y

    def backward(
        self,
        ops: ModuleType,
        dy: Array,
        workspace: _Workspace,
        sink: GradientSink,
        need_dx: bool,
    ) -> Array | None:
        """Hand on the gradient of the rows; integers have none."""
        gradient = ops.embedding_backward(dy, workspace.x, self.vocabulary, combine=self.combine)
        sink.array(self.weight, gradient)
        return None

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "vocabulary": self.vocabulary,
            "dim": self.dim,
            "combine": self.combine,
            "init": initializers.config(self.init),
        }


class _Workspace:
    __slots__ = ("x", "y")

    x: Array

    def __init__(self, shape: Shape, dtype: np.dtype[Any]) -> None:
        self.y = empty(shape, dtype)
