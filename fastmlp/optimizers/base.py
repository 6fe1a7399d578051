"""The base class of optimizers, and the checked settings they are made of."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, overload

import numpy as np

from fastmlp import _checks
from fastmlp._types import Array
from fastmlp.optimizers import schedules
from fastmlp.optimizers.schedules import Schedule

__all__ = ["MAX_COEFFICIENTS", "SMALLEST_EPS", "Optimizer", "Setting"]

MAX_COEFFICIENTS = 8
_LIMIT = 7  # the coefficient that holds the limit of gradient clipping

SMALLEST_EPS = float(np.finfo(np.float32).tiny)
"""The smallest ``eps`` that is not rounded to 0 in float32."""


class Setting:
    """A number among the settings of an optimizer, checked at every assignment."""

    def __init__(self, minimum: float, below: float = math.inf) -> None:
        self._minimum, self._below = minimum, below

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._name, self._attribute = name, "_" + name

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Setting: ...
    @overload
    def __get__(self, instance: Any, owner: type[Any]) -> float: ...
    def __get__(self, instance: Any, owner: type[Any]) -> Setting | float:
        if instance is None:
            return self
        value: float = getattr(instance, self._attribute)
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        checked = _checks.number(value, self._name, minimum=self._minimum, below=self._below)
        setattr(instance, self._attribute, checked)


class _LearningRate:
    """The learning rate of an optimizer: a number, a schedule or a function of the step."""

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> _LearningRate: ...
    @overload
    def __get__(self, instance: Any, owner: type[Any]) -> Any: ...
    def __get__(self, instance: Any, owner: type[Any]) -> Any:
        return self if instance is None else instance._learning_rate

    def __set__(self, instance: Any, value: Any) -> None:
        instance._learning_rate = schedules.get(value)


class _ClipLimit(Setting):
    """One of the two limits of gradient clipping, which exclude each other: above 0, or None."""

    def __init__(self, other: str) -> None:
        self._other = "_" + other

    def __set__(self, instance: Any, value: Any) -> None:
        if value is not None:
            value = _checks.positive(value, self._name)
            if getattr(instance, self._other, None) is not None:
                raise ValueError(
                    "clip_norm and clip_value cannot both be set, got "
                    f"{self._name}={value} with {self._other[1:]} already set."
                )
        setattr(instance, self._attribute, value)


class Optimizer:
    """Base class of optimizers: the rule that updates a parameter from its gradient.

    A training step computes the gradients of the loss, including the penalties of layers; clips
    them; and lets the optimizer update each parameter. An optimizer holds only settings. Its
    states, such as the velocity of each weight, belong to the network that it trains.

    Parameters
    ----------
    learning_rate : float, Schedule or function of the step
        At least 0 and finite. A function receives the number of the step, starting at 0, and
        returns its learning rate; see ``fastmlp.optimizers.schedules``.
    weight_decay : float, default=0.0
        At least 0.
    clip_norm : float or None, default=None
        Above 0. Gradients are multiplied by ``clip_norm / (norm + 1e-6)`` if that factor is below
        1, where ``norm`` is the global norm of all gradients, as in PyTorch's ``clip_grad_norm_``.
    clip_value : float or None, default=None
        Above 0. Every element of a gradient is clipped to ``[-clip_value, clip_value]``.

    Attributes
    ----------
    name : str
        Name in ``fit(optimizer=...)`` and in model files.
    slots : tuple of str
        Names of the states: arrays with the shape and dtype of a parameter that start at zero.
    kind : str
        Name of the compiled update rule: ``FM_UPDATES`` of csrc/simd/fm_table.h.
    learning_rate : float, Schedule or function
        May be changed between steps, like every setting that is not described as fixed.
    weight_decay : float
        Factor of the L2 penalty.
    clip_norm, clip_value : float or None
        Limits of gradient clipping; at most one of them is set.
    """

    name: str = ""
    slots: tuple[str, ...] = ()
    kind: str

    learning_rate = _LearningRate()
    weight_decay = Setting(0.0)
    clip_norm = _ClipLimit("clip_value")
    clip_value = _ClipLimit("clip_norm")

    def __init__(
        self,
        learning_rate: float | Schedule | Callable[[int], float],
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clip_norm = clip_norm
        self.clip_value = clip_value

    @property
    def clips(self) -> str:
        """What is clipped: "norm", "value", or "" for nothing."""
        if self.clip_norm is not None:
            return "norm"
        return "" if self.clip_value is None else "value"

    def update(
        self,
        ops: ModuleType,
        value: Array,
        gradient: Array,
        state: dict[str, Array],
        step: int,
        learning_rate: float,
    ) -> None:
        """Update the ``value`` of a parameter in place, given its gradient.

        Parameters
        ----------
        ops : module
            The operations of the model's backend, ``fastmlp.kernels`` or ``fastmlp.reference``.
        value : array
            Overwritten with the new value.
        gradient : array of the same shape and dtype
        state : dict of str to array
            The arrays that ``slots`` names, of the same shape and dtype; overwritten.
        step : int
            Number of the step, starting at 1.
        learning_rate : float
            Learning rate of this step and parameter.
        """
        raise NotImplementedError

    def coefficients(self, first_step: int, rates: Array) -> Array:
        """Return the coefficients of the compiled update for some steps, one row per step.

        Parameters
        ----------
        first_step : int
            Number of the first of these steps; a run starts with step 1.
        rates : float64 array of shape (count,)
            Learning rates of the steps.

        Returns
        -------
        rows : float64 array of shape (count, 8)
            The learning rate, the weight decay, the constants of the rule, and zeros. The last
            column is ``clip_norm`` or ``clip_value``, or 0 without clipping.
        """
        rows = np.zeros((len(rates), MAX_COEFFICIENTS))
        settings = (self.weight_decay, *self._constants())
        rows[:, 0] = rates
        rows[:, 1 : 1 + len(settings)] = settings
        rows[:, _LIMIT] = self.clip_norm or self.clip_value or 0.0
        return rows

    def _constants(self) -> tuple[float, ...]:
        """Return the coefficients from the third on that are the same in every step."""
        return ()

    def config(self) -> dict[str, Any]:
        """Return the name and arguments, from which ``get`` makes an equal optimizer.

        A schedule is replaced by its own ``config()``; a user's function stays as it is.
        """
        result = {"name": self.name} | self._arguments()
        if type(self.learning_rate) in schedules.SCHEDULES.values():
            result["learning_rate"] = schedules.config(self.learning_rate)
        return result

    def _arguments(self) -> dict[str, Any]:
        names = inspect.signature(type(self)).parameters
        return {name: getattr(self, name) for name in names if hasattr(self, name)}

    def __repr__(self) -> str:
        """Show the learning rate, and the arguments that differ from their defaults."""
        defaults = {n: p.default for n, p in inspect.signature(type(self)).parameters.items()}
        shown = [
            f"{name}={value!r}"
            for name, value in self._arguments().items()
            if name == "learning_rate" or value != defaults[name]
        ]
        return f"{type(self).__name__}({', '.join(shown)})"
