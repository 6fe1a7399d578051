"""An activation function as a separate layer."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from fastmlp import activations
from fastmlp._arrays import empty
from fastmlp._types import Array, DType, Shape
from fastmlp.layers.base import GradientSink, Layer

__all__ = ["Activation"]


class Activation(Layer):
    """Apply an activation function elementwise; softmax is applied along the last axis.

    Parameters
    ----------
    activation : str
        Name of the activation; see ``fastmlp.activations``.

    Attributes
    ----------
    activation : ActivationFunction
        The activation function.

    Raises
    ------
    ValueError
        If the name is unknown.

    Notes
    -----
    ``Dense(units, activation=...)`` computes the same in one pass over memory.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential([fm.Activation("relu")], input_shape=3)
    >>> model.predict([[-1.0, 0.0, 2.0]]).tolist()
    [[0.0, 0.0, 2.0]]
    """

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.activation = activations.get(activation)

    def workspace(self, n: int, dtype: DType) -> _Workspace:
        """Return the output buffer for a batch of ``n`` samples."""
        return _Workspace((n, *(self.output_shape or ())), dtype)

    def forward(self, ops: ModuleType, x: Array, workspace: _Workspace) -> Array:
        """Return the activation of ``x``, which may have any shape."""
        y = self.activation.forward(ops, x, workspace.y)
        workspace.saved = x if self.activation.saves == "input" else y
        return y

    def backward(
        self, ops: ModuleType, dy: Array, workspace: _Workspace, sink: GradientSink, need_dx: bool
    ) -> Array | None:
        """Return the gradient with respect to the input."""
        return self.activation.backward(ops, dy, workspace.saved)

    def active_pieces(self, workspace: _Workspace) -> Array | None:
        """Return which outputs are positive; None if the activation is smooth."""
        return workspace.y > 0 if self.activation.kinked else None

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"activation": self.activation.name}

    def __repr__(self) -> str:
        return f"Activation({self.activation.name!r})"


class _Workspace:
    __slots__ = ("saved", "y")

    saved: Array

    def __init__(self, shape: Shape, dtype: DType) -> None:
        self.y = empty(shape, dtype)
