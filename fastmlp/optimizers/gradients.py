"""Gradient sinks: layers hand the gradient of each parameter to one.

``GradientStore`` keeps the gradients, ``UpdatingSink`` trains with them. Only passes layer by layer
use sinks; compiled plans update parameters in C.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np

from fastmlp._arrays import empty
from fastmlp._types import Array
from fastmlp.optimizers.state import OptimizerState
from fastmlp.parameter import Parameter

__all__ = ["GradientStore", "UpdatingSink"]


class GradientStore:
    """A sink that computes each gradient into a separate array, and keeps it.

    Parameters
    ----------
    ops : module
        The operations of the model's backend.
    wants : callable, optional
        Returns whether the gradient of a parameter is needed; None means that all are.

    Attributes
    ----------
    gradients : dict of str to array
        The gradients of the last pass by parameter name. The next pass overwrites them.
    """

    def __init__(self, ops: ModuleType, wants: Callable[[Parameter], bool] | None = None) -> None:
        self._ops = ops
        self._wants = wants
        self.gradients: dict[str, Array] = {}

    def product(self, parameter: Parameter, x: Array, dz: Array) -> None:
        """Receive the gradient ``x.T @ dz``."""
        if self.wants(parameter):
            gradient = self._ops.matmul(x, dz, transpose_a=True, out=self._buffer(parameter))
            self.ready(parameter, gradient)

    def row_sum(self, parameter: Parameter, dz: Array) -> None:
        """Receive the gradient ``dz.sum(axis=0)``."""
        if self.wants(parameter):
            self.ready(parameter, self._ops.sum_batch(dz, out=self._buffer(parameter)))

    def wants(self, parameter: Parameter) -> bool:
        """Return whether the gradient of a parameter is needed."""
        return self._wants is None or self._wants(parameter)

    def array(self, parameter: Parameter, gradient: Array) -> None:
        """Receive a gradient and keep a copy of it."""
        if self.wants(parameter):
            buffer = self._buffer(parameter)
            np.copyto(buffer, gradient)
            self.ready(parameter, buffer)

    def ready(self, parameter: Parameter, gradient: Array) -> None:
        """Add the gradient of the parameter's penalty to a gradient that is complete."""
        l1, l2 = parameter.penalty
        if l1 or l2:
            self._ops.weight_penalty_backward(gradient, parameter.value, l1=l1, l2=l2)

    def _buffer(self, parameter: Parameter) -> Array:
        buffer = self.gradients.get(parameter.name)
        if buffer is None:
            buffer = self.gradients[parameter.name] = empty(parameter.shape, parameter.live.dtype)
        return buffer


class UpdatingSink(GradientStore):
    """A sink that updates each parameter as soon as its gradient is complete.

    Frozen parameters are not updated. If the global norm of the gradients is clipped, the updates
    wait until ``finish``, when all gradients are known.
    """

    def __init__(self, ops: ModuleType, state: OptimizerState) -> None:
        super().__init__(ops)
        self._state = state
        self._waiting: list[tuple[Parameter, Array]] = []

    def wants(self, parameter: Parameter) -> bool:
        """Return whether the parameter is trained."""
        return parameter.trainable

    def array(self, parameter: Parameter, gradient: Array) -> None:
        """Update with a gradient; copy it only if it will be changed or has to wait."""
        if any(parameter.penalty) or self._state.optimizer.clips:
            super().array(parameter, gradient)
        else:
            self.ready(parameter, gradient)

    def ready(self, parameter: Parameter, gradient: Array) -> None:
        """Perform step ``state.step`` on the parameter, or postpone it until ``finish``."""
        if not parameter.trainable:
            return
        super().ready(parameter, gradient)
        if self._state.optimizer.clip_norm is not None:
            self._waiting.append((parameter, gradient))
        else:
            self._state.clip(self._ops, [gradient])
            self._update(parameter, gradient)

    def finish(self) -> None:
        """Perform the updates that waited for the last gradient of the step."""
        if self._waiting:
            self._state.clip(self._ops, [gradient for _, gradient in self._waiting])
            for parameter, gradient in self._waiting:
                self._update(parameter, gradient)
            self._waiting.clear()

    def _update(self, parameter: Parameter, gradient: Array) -> None:
        state = self._state
        slots = {slot: stored.plain() for slot, stored in state.of(parameter).items()}
        optimizer, rate = state.optimizer, state.rate_of(parameter)
        optimizer.update(self._ops, parameter.plain(), gradient, slots, state.step, rate)
        parameter.changes += 1
