"""The activation functions by name: which operations they are and what their derivative needs."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy.typing as npt

from fastmlp import _checks

__all__ = ["ACTIVATIONS", "ActivationFunction", "get"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class ActivationFunction:
    """An activation: the operation ``name`` and its derivative ``name_backward``.

    Attributes
    ----------
    name : str
        Its name, also of the operation in ``fastmlp.reference`` and ``fastmlp.kernels``.
    saves : {"output", "input"}
        What the derivative is computed from. One that needs only the output can run in place.
    kinked : bool
        Whether a derivative (the first or, for elu, the second) jumps at 0.
    parameter : float
        Its constant, if it has one: the default of the operation.
    """

    name: str
    saves: str = "output"
    kinked: bool = False
    parameter: float = 0.0

    def forward(self, ops: ModuleType, x: Array, out: Array) -> Array:
        """Write the activation of ``x`` to ``out``, which may be ``x`` if it saves the output."""
        result: Array = getattr(ops, self.name)(x, out=out)
        return result

    def backward(self, ops: ModuleType, dy: Array, saved: Array) -> Array:
        """Turn the gradient by the output into the one by the input, in place."""
        result: Array = getattr(ops, self.name + "_backward")(dy, saved, out=dy)
        return result


class _Linear(ActivationFunction):
    def forward(self, ops: ModuleType, x: Array, out: Array) -> Array:
        return x

    def backward(self, ops: ModuleType, dy: Array, saved: Array) -> Array:
        return dy


ACTIVATIONS = {
    function.name: function
    for function in (
        _Linear("linear"),
        ActivationFunction("relu", kinked=True),
        ActivationFunction("leaky_relu", kinked=True, parameter=0.01),
        ActivationFunction("elu", kinked=True, parameter=1.0),
        ActivationFunction("gelu", saves="input"),
        ActivationFunction("silu", saves="input"),
        ActivationFunction("softplus", saves="input"),
        ActivationFunction("tanh"),
        ActivationFunction("sigmoid"),
        ActivationFunction("softmax"),
    )
}


def get(name: str | None) -> ActivationFunction:
    """Return the activation called ``name``; None means "linear".

    Raises
    ------
    ValueError
        If there is no such activation; the message lists those there are.
    """
    return _checks.lookup("linear" if name is None else name, ACTIVATIONS, "activation")
