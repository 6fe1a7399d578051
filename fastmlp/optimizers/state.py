"""The state of an optimizer for one network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from types import ModuleType

import numpy as np

from fastmlp._types import Array
from fastmlp.optimizers import schedules
from fastmlp.optimizers.base import Optimizer
from fastmlp.optimizers.schedules import Schedule
from fastmlp.parameter import Parameter, Storage

__all__ = ["OptimizerState"]


class OptimizerState:
    """The state of an optimizer for the parameters of one network: the step count and the slots.

    Attributes
    ----------
    optimizer : Optimizer
    step : int
        Number of completed steps; during a step, the number of that step.
    epoch : int
        Number of epochs of ``fit`` that started before the current one.
    learning_rate : float
        Learning rate of the current step, or of the last one.
    memory : dict of str to float
        The state of the learning-rate schedule.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.step = 0
        self.epoch = 0
        rate = optimizer.learning_rate
        self.learning_rate = rate if isinstance(rate, float) else math.nan
        self.memory: dict[str, float] = {}
        self._slots: dict[str, dict[str, Storage]] = {}
        self._run = 0, np.empty(0)  # steps before the run, and the learning rates of its steps

    def begin_run(self, steps: int, epochs: int = 1, done: int = 0) -> Array:
        """Return the learning rates of the next ``epochs`` epochs of ``steps`` steps each.

        ``done`` steps of the first epoch are already complete; the result includes their rates.

        Raises
        ------
        ValueError
            If the schedule returns something that is not a learning rate.
        """
        rate = self.optimizer.learning_rate
        first = self.step - done
        rates = schedules.rates(rate, first, self.epoch, steps, epochs, self.memory)
        self._run = first, rates
        self.begin_step(done)
        self.step -= 1
        return rates

    def begin_step(self, index: int) -> None:
        """Begin step ``index`` of the run, counted from 0 at the start of its first epoch."""
        first, rates = self._run
        self.step = first + index + 1
        self.learning_rate = float(rates[index])

    def end_run(self, done: int) -> None:
        """End the run after ``done`` complete steps, counted from the start of its first epoch."""
        first, rates = self._run
        self.step = first + done
        self.learning_rate = float(rates[max(done - 1, 0)])

    def rate_of(self, parameter: Parameter) -> float:
        """Return the learning rate of a parameter in the current step."""
        return self.learning_rate * parameter.learning_rate_multiplier

    def observe(self, measured: dict[str, float]) -> None:
        """Pass the metrics of an epoch to the schedule."""
        if isinstance(self.optimizer.learning_rate, Schedule):
            self.optimizer.learning_rate.observe(measured, self.memory)

    def clip(self, ops: ModuleType, gradients: Iterable[Array]) -> None:
        """Clip all gradients of a step in place, according to the optimizer's settings."""
        clip_norm, clip_value = self.optimizer.clip_norm, self.optimizer.clip_value
        if clip_norm is not None:
            ops.clip_by_norm(list(gradients), clip_norm)
        elif clip_value is not None:
            for gradient in gradients:
                ops.clip_by_value(gradient, clip_value, out=gradient)

    def of(self, parameter: Parameter) -> dict[str, Storage]:
        """Return the state arrays of a parameter by slot; they start at zero."""
        slots = self._slots.get(parameter.name)
        if slots is None:
            slots = self._slots[parameter.name] = {}
            for slot in self.optimizer.slots:
                slots[slot] = Storage(parameter.shape)
                slots[slot].assign(np.zeros((), parameter.live.dtype), parameter.live.dtype)
        return slots

    @property
    def arrays(self) -> dict[str, Array]:
        """Copies of all state arrays by slot and parameter, for example "m/dense_0.weight"."""
        return {
            f"{slot}/{name}": stored.value.copy()
            for name, slots in self._slots.items()
            for slot, stored in slots.items()
        }

    @arrays.setter
    def arrays(self, values: Mapping[str, Array]) -> None:
        self._slots = {}
        for key, value in values.items():
            slot, _, name = key.partition("/")
            stored = self._slots.setdefault(name, {})[slot] = Storage(value.shape)
            stored.assign(value, np.dtype(value.dtype.type))

    def snapshot(self) -> tuple[int, list[tuple[Storage, Array]]]:
        """Return a copy of the step count and the slots, for ``restore``."""
        slots = [stored for each in self._slots.values() for stored in each.values()]
        return self.step, [(stored, stored.live.copy()) for stored in slots]

    def restore(self, snapshot: tuple[int, list[tuple[Storage, Array]]]) -> None:
        """Return to a ``snapshot``; slots created after it are set to zero."""
        self.step, saved = snapshot
        for each in self._slots.values():
            for stored in each.values():
                stored.live[...] = 0
        for stored, values in saved:
            stored.restore(values)
