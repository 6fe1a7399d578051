"""Optimizers, and the sinks that take gradients while a network goes backward."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy.typing as npt

from fastmlp import _backend, _checks
from fastmlp._arrays import empty
from fastmlp.parameter import Parameter

__all__ = ["SGD", "GradientStore", "Optimizer", "get"]

Array = npt.NDArray[Any]


class GradientStore:
    """A sink that computes every gradient into an array of its own, and keeps it.

    Attributes
    ----------
    gradients : dict of str to array
        The gradients of the last pass by parameter name. Overwritten by the next pass.
    """

    def __init__(self, ops: ModuleType) -> None:
        self._ops = ops
        self.gradients: dict[str, Array] = {}

    def product(self, parameter: Parameter, x: Array, dz: Array) -> None:
        """Store ``x.T @ dz``."""
        gradient = self._ops.matmul(x, dz, transpose_a=True, out=self._buffer(parameter))
        self.ready(parameter, gradient)

    def row_sum(self, parameter: Parameter, dz: Array) -> None:
        """Store ``dz.sum(axis=0)``."""
        self.ready(parameter, self._ops.sum_batch(dz, out=self._buffer(parameter)))

    def ready(self, parameter: Parameter, gradient: Array) -> None:
        """Do what is to be done once a gradient is known; here nothing."""

    def _buffer(self, parameter: Parameter) -> Array:
        buffer = self.gradients.get(parameter.name)
        if buffer is None:
            buffer = self.gradients[parameter.name] = empty(parameter.shape, parameter.value.dtype)
        return buffer


class Optimizer:
    """Base class: an optimizer says what a gradient does to a parameter.

    Attributes
    ----------
    name : str
        Its name in ``fit(optimizer=...)`` and in model files.
    learning_rate : float
        The learning rate; may be changed between steps.
    """

    name: str

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate

    @property
    def learning_rate(self) -> float:
        """The learning rate, at least 0."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate = _checks.number(value, "learning_rate", minimum=0.0)

    def update(self, ops: ModuleType, parameter: Parameter, gradient: Array) -> None:
        """Update ``parameter.value`` in place, given its gradient."""
        raise NotImplementedError

    def sink(self, ops: ModuleType) -> GradientStore:
        """Return the sink that trains with this optimizer: each gradient is used as it comes."""
        return _UpdatingSink(ops, self)

    def config(self) -> dict[str, Any]:
        """Return what ``get`` makes an equal optimizer of: the name and the arguments."""
        return {"name": self.name, "learning_rate": self.learning_rate}

    def __repr__(self) -> str:
        arguments = [f"{k}={v!r}" for k, v in self.config().items() if k != "name"]
        return f"{type(self).__name__}({', '.join(arguments)})"


class SGD(Optimizer):
    """Stochastic gradient descent: ``weight -= learning_rate * gradient``.

    Parameters
    ----------
    learning_rate : float, default=0.01
        Step size, at least 0 and finite.

    Raises
    ------
    ValueError
        If the learning rate is negative, NaN or infinite.
    TypeError
        If it is not a number.

    Notes
    -----
    On the compiled kernels the gradient of a weight is never stored: the product is subtracted
    from the weights where it is computed.

    References
    ----------
    Robbins and Monro, A stochastic approximation method, 1951.
    """

    name = "sgd"

    def __init__(self, learning_rate: float = 0.01) -> None:
        super().__init__(learning_rate)

    def update(self, ops: ModuleType, parameter: Parameter, gradient: Array) -> None:
        """Subtract the gradient times the learning rate."""
        ops.sgd_update(parameter.value, gradient, self._learning_rate)

    def sink(self, ops: ModuleType) -> GradientStore:
        """Return a sink that fuses the update into the product, where the kernels can."""
        return _FusedSGD(ops, self) if _backend.fuses_updates(ops) else super().sink(ops)


class _UpdatingSink(GradientStore):
    """Updates each parameter as soon as its gradient is known."""

    def __init__(self, ops: ModuleType, optimizer: Optimizer) -> None:
        super().__init__(ops)
        self._optimizer = optimizer

    def ready(self, parameter: Parameter, gradient: Array) -> None:
        self._optimizer.update(self._ops, parameter, gradient)


class _FusedSGD(_UpdatingSink):
    """Subtracts a product from the weights without storing it; a bias is too small to matter."""

    def product(self, parameter: Parameter, x: Array, dz: Array) -> None:
        self._ops.matmul(
            x,
            dz,
            transpose_a=True,
            out=parameter.value,
            accumulate=True,
            alpha=-self._optimizer._learning_rate,
        )


OPTIMIZERS: dict[str, type[Any]] = {"sgd": SGD}


def get(optimizer: str | dict[str, Any] | Optimizer) -> Optimizer:
    """Return an optimizer from its name, its ``config()`` or itself.

    Raises
    ------
    ValueError
        If there is no optimizer of that name; the message lists those there are.
    TypeError
        If it is neither a name nor an Optimizer.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    arguments = dict(optimizer) if isinstance(optimizer, dict) else {"name": optimizer}
    kind = _checks.lookup(arguments.pop("name", None), OPTIMIZERS, "optimizer")
    result: Optimizer = kind(**arguments)
    return result


def config(optimizer: Optimizer) -> dict[str, Any]:
    """Return what ``get`` makes the optimizer of again.

    Raises
    ------
    ValueError
        If it is of a class that is not fastmlp's.
    """
    if OPTIMIZERS.get(optimizer.name) is not type(optimizer):
        raise ValueError(f"optimizer {optimizer!r} is of a class of your own and cannot be saved.")
    return optimizer.config()
