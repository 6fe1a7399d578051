"""Learning rates that change during training.

An optimizer takes a number, one of these schedules, or any function of the step. A schedule is
evaluated for all steps of an epoch before the epoch starts, so it costs nothing during the steps.
It holds only settings. Its state, such as the best loss so far, is stored with the state of the
optimizer.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastmlp import _checks
from fastmlp._types import Array
from fastmlp.monitor import Monitor

__all__ = [
    "CosineDecay",
    "ExponentialDecay",
    "ReduceOnPlateau",
    "Schedule",
    "StepDecay",
    "Warmup",
    "config",
    "get",
    "rates",
]

Memory = dict[str, float]


class Schedule:
    """Base class: a learning rate as a function of time, counted in steps or in epochs.

    Attributes
    ----------
    name : str
        Name in model files.
    unit : {"step", "epoch"}
        What time counts, starting at 0: the steps completed with this optimizer, or the epochs of
        ``fit`` started before this one. With "epoch" the rate is constant within an epoch. Steps of
        ``train_on_batch`` belong to no epoch, and get the rate of the next one.
    monitor : str or None
        Name of the metric that ``observe`` reads.
    """

    name: str = ""
    unit: str = "step"
    monitor: str | None = None

    def values(self, time: Array, memory: Memory) -> Array:
        """Return the learning rates at the given times, (n,) int64 -> (n,) float64."""
        raise NotImplementedError

    def __call__(self, time: int) -> float:
        """Return the learning rate at one time, in a run without any metric so far."""
        return float(self.values(np.array([_checks.integer(time, "time", minimum=0)]), {})[0])

    def rates(self, steps: Array, epochs: Array, memory: Memory) -> Array:
        """Return the learning rates of steps, given their numbers and their epochs."""
        return self.values(steps if self.unit == "step" else epochs, memory)

    def observe(self, measured: Mapping[str, float], memory: Memory) -> None:
        """Receive the metrics of an epoch."""

    def config(self) -> dict[str, Any]:
        """Return the name and arguments, from which ``get`` makes an equal schedule."""
        arguments = inspect.signature(type(self)).parameters
        return {"name": self.name} | {name: getattr(self, name) for name in arguments}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = []
        for name, parameter in inspect.signature(type(self)).parameters.items():
            value = getattr(self, name)
            if parameter.default is parameter.empty:
                shown.append(repr(value))
            elif value != parameter.default:
                shown.append(f"{name}={value!r}")
        return f"{type(self).__name__}({', '.join(shown)})"


class StepDecay(Schedule):
    """Multiply the rate by a factor at regular intervals.

    The rate is ``initial * factor**floor(time / every)``.

    Parameters
    ----------
    initial : float
        Initial learning rate, at least 0.
    every : int
        Number of steps or epochs between two changes, at least 1.
    factor : float, default=0.1
        At least 0.
    unit : {"step", "epoch"}, default="step"
        Unit of ``every``.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described above.

    Examples
    --------
    >>> import fastmlp as fm
    >>> schedule = fm.StepDecay(0.1, 10, 0.5, unit="epoch")
    >>> [schedule(epoch) for epoch in (0, 9, 10, 20)]
    [0.1, 0.1, 0.05, 0.025]
    """

    name = "step_decay"

    def __init__(self, initial: float, every: int, factor: float = 0.1, unit: str = "step") -> None:
        self.initial = _checks.number(initial, "initial", minimum=0.0)
        self.every = _checks.integer(every, "every", minimum=1)
        self.factor = _checks.number(factor, "factor", minimum=0.0)
        self.unit = _unit(unit)

    def values(self, time: Array, memory: Memory) -> Array:
        """Return the learning rates at the given times."""
        return _finite_power(self.initial, self.factor, time // self.every)


class ExponentialDecay(Schedule):
    """Shrink the rate exponentially.

    The rate is ``initial * factor**(time / every)``.

    Parameters
    ----------
    initial : float
        Initial learning rate, at least 0.
    factor : float
        At least 0; below 1 to shrink.
    every : int, default=1
        Number of steps or epochs in which the rate changes by ``factor``, at least 1.
    unit : {"step", "epoch"}, default="step"
        Unit of ``every``.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described above.

    Examples
    --------
    >>> import fastmlp as fm
    >>> schedule = fm.ExponentialDecay(0.1, 0.5, every=100)
    >>> [round(schedule(step), 4) for step in (0, 50, 100, 200)]
    [0.1, 0.0707, 0.05, 0.025]
    """

    name = "exponential_decay"

    def __init__(self, initial: float, factor: float, every: int = 1, unit: str = "step") -> None:
        self.initial = _checks.number(initial, "initial", minimum=0.0)
        self.factor = _checks.number(factor, "factor", minimum=0.0)
        self.every = _checks.integer(every, "every", minimum=1)
        self.unit = _unit(unit)

    def values(self, time: Array, memory: Memory) -> Array:
        """Return the learning rates at the given times."""
        return _finite_power(self.initial, self.factor, time / self.every)


class CosineDecay(Schedule):
    """Go from the initial rate to the minimum along half a period of a cosine, then stay there.

    The rate is ``minimum + (initial - minimum) * (1 + cos(pi * time / steps)) / 2``.

    Parameters
    ----------
    initial : float
        Initial learning rate, at least 0.
    steps : int
        Number of steps, or of epochs with ``unit="epoch"``, until the minimum; at least 1.
    minimum : float, default=0.0
        Final learning rate, from 0 to ``initial``.
    unit : {"step", "epoch"}, default="step"
        Unit of ``steps``.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described above.

    References
    ----------
    Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, 2017, equation 5,
    without restarts.

    Examples
    --------
    >>> import fastmlp as fm
    >>> schedule = fm.CosineDecay(0.1, steps=100)
    >>> [round(schedule(step), 4) for step in (0, 25, 50, 100, 150)]
    [0.1, 0.0854, 0.05, 0.0, 0.0]
    """

    name = "cosine_decay"

    def __init__(
        self, initial: float, steps: int, minimum: float = 0.0, unit: str = "step"
    ) -> None:
        self.initial = _checks.number(initial, "initial", minimum=0.0)
        self.steps = _checks.integer(steps, "steps", minimum=1)
        self.minimum = _minimum(minimum, self.initial)
        self.unit = _unit(unit)

    def values(self, time: Array, memory: Memory) -> Array:
        """Return the learning rates at the given times."""
        angle = np.pi * (np.minimum(time, self.steps) / self.steps)
        result: Array = self.minimum + (self.initial - self.minimum) * ((1 + np.cos(angle)) / 2)
        return result


class Warmup(Schedule):
    """Increase the rate linearly to the start of another schedule, then follow that schedule.

    Step k, starting at 0, has ``(k + 1) / steps`` of the other schedule's initial rate, so the last
    step of the warm-up has the full rate. Then the other schedule starts at its time 0.

    Parameters
    ----------
    steps : int
        Length of the warm-up in steps, or in epochs with ``unit="epoch"``; at least 1.
    then : float, Schedule or function of the step
        The learning rate after the warm-up. A schedule that counts in the other unit runs from the
        very start: the first ten epochs of ``StepDecay(0.1, 10, unit="epoch")`` include the steps
        of the warm-up.
    unit : {"step", "epoch"}, default="step"
        Unit of ``steps``.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described above.

    References
    ----------
    Goyal et al., Accurate, large minibatch SGD: training ImageNet in 1 hour, 2017, section 2.2.

    Examples
    --------
    >>> import fastmlp as fm
    >>> schedule = fm.Warmup(4, then=fm.StepDecay(0.1, 2, 0.5))
    >>> [round(schedule(step), 4) for step in range(8)]
    [0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.05, 0.05]
    """

    name = "warmup"

    def __init__(
        self,
        steps: int,
        then: float | dict[str, Any] | Schedule | Callable[[int], float],
        unit: str = "step",
    ) -> None:
        self.steps = _checks.integer(steps, "steps", minimum=1)
        self.then = get(then, "then")
        self.unit = _unit(unit)
        if isinstance(self.then, Schedule):
            self.monitor = self.then.monitor

    def __call__(self, time: int) -> float:
        """Return the learning rate at one time; both schedules must count in the same unit."""
        now = np.array([_checks.integer(time, "time", minimum=0)])
        if isinstance(self.then, Schedule) and self.then.unit != self.unit:
            raise ValueError(
                f"{self!r} counts both steps and epochs, so one time does not determine its rate."
            )
        return float(self.rates(now, now, {})[0])

    def rates(self, steps: Array, epochs: Array, memory: Memory) -> Array:
        """Return the learning rates of steps, given their numbers and their epochs."""
        time = steps if self.unit == "step" else epochs
        later = np.maximum(time - self.steps, 0)
        if self.unit == "step":
            steps = later
        else:
            epochs = later
        full = _rates(self.then, steps, epochs, memory)
        result: Array = full * (np.minimum(time + 1, self.steps) / self.steps)
        return result

    def observe(self, measured: Mapping[str, float], memory: Memory) -> None:
        """Pass the metrics of an epoch to the other schedule."""
        if isinstance(self.then, Schedule):
            self.then.observe(measured, memory)

    def config(self) -> dict[str, Any]:
        """Return the name and arguments, from which ``get`` makes an equal schedule."""
        return super().config() | {"then": config(self.then)}


class ReduceOnPlateau(Schedule):
    """Multiply the rate by a factor when a metric has not improved for some epochs.

    Parameters
    ----------
    initial : float
        Initial learning rate, at least 0.
    monitor : str, default="val_loss"
        Name of the metric, a key of ``history.history``.
    factor : float, default=0.1
        At least 0 and below 1.
    patience : int, default=10
        Number of epochs without improvement before the rate is reduced, at least 1.
    min_delta : float, default=1e-4
        Minimum change that counts as an improvement, at least 0.
    cooldown : int, default=0
        Number of epochs after a reduction that do not count, at least 0.
    minimum : float, default=0.0
        Lower bound of the learning rate, from 0 to ``initial``.
    mode : {"auto", "min", "max"}, default="auto"
        Whether smaller or larger values are better. "auto" means "max" for accuracy, top_k,
        precision, recall, f1 and r2, and "min" for all other metrics.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described above. ``fit`` raises ValueError if it does not record
        the metric.

    Notes
    -----
    ``patience`` counts as in Keras. PyTorch needs a ``patience`` one lower for the same behaviour,
    and the ``threshold_mode`` "abs". NaN is never an improvement.

    Examples
    --------
    >>> import fastmlp as fm
    >>> schedule = fm.ReduceOnPlateau(0.1, monitor="loss", factor=0.5, patience=2)
    >>> history = fm.MLP(2, [16], 2, seed=0).fit(
    ...     *fm.datasets.make_moons(200), optimizer=fm.SGD(schedule), verbose=0
    ... )
    >>> history.history["learning_rate"][0]
    0.1
    """

    name = "reduce_on_plateau"
    unit = "epoch"

    def __init__(
        self,
        initial: float,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        min_delta: float = 1e-4,
        cooldown: int = 0,
        minimum: float = 0.0,
        mode: str = "auto",
    ) -> None:
        self.initial = _checks.number(initial, "initial", minimum=0.0)
        Monitor(monitor, mode, min_delta)  # raises if an argument is wrong
        self.monitor: str = monitor
        self.factor = _checks.number(factor, "factor", minimum=0.0, below=1.0)
        self.patience = _checks.integer(patience, "patience", minimum=1)
        self.min_delta = _checks.number(min_delta, "min_delta", minimum=0.0)
        self.cooldown = _checks.integer(cooldown, "cooldown", minimum=0)
        self.minimum = _minimum(minimum, self.initial)
        self.mode = mode

    def values(self, time: Array, memory: Memory) -> Array:
        """Return the current learning rate for all times."""
        return np.full(len(time), memory.get("rate", self.initial))

    def observe(self, measured: Mapping[str, float], memory: Memory) -> None:
        """Receive the metrics of an epoch, and reduce the rate on a plateau."""
        monitor = Monitor(self.monitor, self.mode, self.min_delta)
        value = measured[self.monitor]
        waited, cooling = memory.get("waited", 0) + 1, memory.get("cooling", 0)
        if monitor.improves(value, memory.get("best")):
            memory["best"], waited = value, 0
        if cooling:
            cooling, waited = cooling - 1, 0
        if waited >= self.patience:
            rate = memory.get("rate", self.initial) * self.factor
            memory["rate"] = max(rate, self.minimum)
            waited, cooling = 0, self.cooldown
        memory["waited"], memory["cooling"] = waited, cooling


Rate = float | Schedule | Callable[[int], float]

SCHEDULES: dict[str, type[Any]] = {
    kind.name: kind for kind in (StepDecay, ExponentialDecay, CosineDecay, Warmup, ReduceOnPlateau)
}


def get(rate: Any, what: str = "learning_rate") -> Rate:
    """Return a checked learning rate: a float, a function, or a schedule (or its ``config()``).

    Raises
    ------
    ValueError
        If a number is negative or not finite, or no schedule has that name.
    TypeError
        If the argument is none of these.
    """
    if isinstance(rate, dict):
        arguments = dict(rate)
        kind = _checks.lookup(arguments.pop("name", None), SCHEDULES, "the schedule")
        made: Schedule = kind(**arguments)
        return made
    if isinstance(rate, type):
        raise TypeError(
            f"{what} must be a number, a schedule or a function, got the class {rate.__name__} "
            "instead of an instance."
        )
    if callable(rate):
        function: Callable[[int], float] = rate  # a schedule is callable too
        return function
    return _checks.number(rate, what, minimum=0.0)


def config(rate: Any) -> Any:
    """Return plain values from which ``get`` makes the same learning rate.

    Raises
    ------
    ValueError
        If the rate is a function or a user-defined schedule.
    """
    if isinstance(rate, float):
        return rate
    if SCHEDULES.get(getattr(rate, "name", "")) is not type(rate):
        raise ValueError(
            f"the learning rate {rate!r} is a user-defined function or schedule, which model files "
            "cannot store. Set a number before saving: model.optimizer.learning_rate = 0.01."
        )
    return rate.config()


def rates(rate: Any, first: int, epoch: int, steps: int, epochs: int, memory: Memory) -> Array:
    """Return the learning rates of whole epochs, checked.

    Parameters
    ----------
    rate : float, Schedule or function
    first : int
        Number of the first step, starting at 0.
    epoch : int
        Number of the first epoch, starting at 0.
    steps, epochs : int
        Number of steps per epoch, and number of epochs.
    memory : dict
        The state of the schedule.

    Returns
    -------
    rates : float64 array of shape (steps * epochs,)

    Raises
    ------
    ValueError
        If a rate is not a finite, non-negative number; the message gives the number of the step.
    """
    if isinstance(rate, float):
        return np.full(steps * epochs, rate)
    numbers = np.arange(steps * epochs)
    result = _rates(rate, first + numbers, epoch + numbers // steps, memory)
    wrong = ~((result >= 0) & (result < math.inf))  # NaN fails both
    if wrong.any():
        index = int(wrong.argmax())
        raise _no_rate(float(result[index]), first + index)
    return result


def _rates(rate: Any, steps: Array, epochs: Array, memory: Memory) -> Array:
    if isinstance(rate, float):
        return np.full(len(steps), rate)
    if isinstance(rate, Schedule):
        result = np.asarray(rate.rates(steps, epochs, memory), np.float64)
        if result.shape != steps.shape:
            raise ValueError(
                f"learning_rate: {rate!r} must return rates of shape {steps.shape}, got shape "
                f"{result.shape}."
            )
        return result
    return np.array([_number(rate(step), step) for step in steps.tolist()], np.float64)


def _number(value: Any, step: int) -> float:
    try:
        return _checks.number(value, "", minimum=-math.inf)
    except (TypeError, ValueError):
        raise _no_rate(value, step) from None


def _no_rate(value: Any, step: int) -> ValueError:
    return ValueError(
        "learning_rate: the schedule must return a finite, non-negative number, "
        f"got {value!r} at step {step}."
    )


def _finite_power(initial: float, factor: float, exponents: Array) -> Array:
    with np.errstate(over="ignore", under="ignore"):
        result: Array = initial * np.power(factor, exponents, dtype=np.float64)
    return result


def _unit(unit: Any) -> str:
    _checks.lookup(unit, dict.fromkeys(("step", "epoch")), "unit")
    return str(unit)


def _minimum(value: Any, initial: float) -> float:
    result = _checks.number(value, "minimum", minimum=0.0)
    if result > initial:
        raise ValueError(f"minimum must be at most initial, {initial:g}, got {result:g}.")
    return result
