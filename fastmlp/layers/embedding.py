"""The embedding layer: a lookup table of trainable rows."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from fastmlp import _checks, initializers
from fastmlp._arrays import empty
from fastmlp._types import Array, DType, Shape
from fastmlp.layers.base import GradientSink, Layer
from fastmlp.parameter import Initializer, Parameter

__all__ = ["Embedding"]


class Embedding(Layer):
    """Replace integers, such as word indices, by rows of a trainable table.

    It must be the first layer of a network. The samples are then integers: ``model.fit(x, ...)``
    accepts any integer dtype. Arrays of int32 and int64 are not copied.

    Parameters
    ----------
    vocabulary : int
        Number of rows V, at least 1. The integers are from 0 to V - 1.
    dim : int
        Length D of a row, at least 1.
    combine : {None, "concat", "sum"}, default=None
        How to combine the L rows of a sample. None: keep them as (L, D). "concat": concatenate them
        to (L * D,). "sum": add them up to (D,).
    init : str or initializer, default=None
        Initial rows; see ``fastmlp.initializers``. None means the model's ``init``, and "normal" if
        the model has none.
    trainable, learning_rate_multiplier, l1, l2
        Training settings; see ``Layer``.

    Attributes
    ----------
    weight : Parameter
        The table, of shape (V, D). Set once the layer is part of a network.

    Raises
    ------
    ValueError
        If a number is out of range, or a name is unknown. The methods of the model raise it if an
        integer is out of range; the message contains the integer and its position.
    TypeError
        If an argument has the wrong type. The methods of the model raise it if samples are not
        integers.

    Notes
    -----
    Samples have shape (L,). The default initial values are N(0, 1), as in PyTorch; Keras uses
    ``init="uniform"``.

    In general a step updates all rows, as in PyTorch with ``sparse=False``; the gradient of a row
    that is not in the batch is zero. So with momentum such a row keeps moving, and a step of Adam
    takes V * D operations however few rows the batch uses. The exceptions are SGD without momentum
    and Adagrad, both without weight decay and penalties: they update only the rows in the batch.

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
        """Declare ``weight``. A sample must have one dimension."""
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

    def workspace(self, n: int, dtype: DType) -> _Workspace:
        """Return the buffers for a batch of ``n`` samples."""
        return _Workspace((n, *(self.output_shape or ())), dtype)

    def forward(self, ops: ModuleType, x: Array, workspace: _Workspace) -> Array:
        """Return the rows for the integers ``x`` (N, L), combined."""
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
        """Pass the gradient of the table to ``sink``. Integers have no gradient."""
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

    def __init__(self, shape: Shape, dtype: DType) -> None:
        self.y = empty(shape, dtype)
