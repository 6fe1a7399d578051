"""The activation functions by name, and what their derivatives are computed from."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from fastmlp import _checks
from fastmlp._types import Array

__all__ = ["ACTIVATIONS", "ActivationFunction", "get"]


@dataclass(frozen=True)
class ActivationFunction:
    """An activation: the operation ``name`` and its derivative ``name_backward``.

    Attributes
    ----------
    name : str
        Name of the activation, and of its operation in ``fastmlp.reference`` and
        ``fastmlp.kernels``.
    saves : {"output", "input"}
        What the derivative is computed from. With "output" the activation can run in place.
    kinked : bool
        Whether a derivative jumps at 0: the first, or for elu the second.
    parameter : float
        Constant of the activation, the default of the operation; 0 if it has none.
    """

    name: str
    saves: str = "output"
    kinked: bool = False
    parameter: float = 0.0

    def forward(self, ops: ModuleType, x: Array, out: Array) -> Array:
        """Write the activation of ``x`` to ``out``, which may be ``x`` if ``saves`` is "output"."""
        result: Array = getattr(ops, self.name)(x, out=out)
        return result

    def backward(self, ops: ModuleType, dy: Array, saved: Array) -> Array:
        """Overwrite ``dy`` with the gradient with respect to the input."""
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
        If there is no such activation; the message lists the known names.
    """
    return _checks.lookup("linear" if name is None else name, ACTIVATIONS, "activation")
