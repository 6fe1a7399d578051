"""Learning rates that change in the course of a training.

An optimizer takes a number, one of the schedules here, or any function of the step. A schedule is
evaluated for all steps of an epoch before it begins, so it costs nothing while steps are done. It
holds settings only; what one remembers, the best loss so far for instance, belongs to whoever
trains.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp import _checks
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

Array = npt.NDArray[Any]
Memory = dict[str, float]


class Schedule:
    """Base class: a learning rate as a function of time, counted in steps or in epochs.

    Attributes
    ----------
    name : str
        Its name in model files.
    unit : {"step", "epoch"}
        What time counts, from 0: the steps done before with this optimizer, or the epochs of
        ``fit`` begun before. By epochs the rate stays the same throughout an epoch; steps of
        ``train_on_batch`` are no part of any, and have the rate that the next epoch will have.
    monitor : str or None
        The measurement that ``observe`` looks at.
    """

    name: str = ""
    unit: str = "step"
    monitor: str | None = None

    def values(self, time: Array, memory: Memory) -> Array:
        """Return the rates at some times, (n,) int64 -> (n,) float64."""
        raise NotImplementedError

    def __call__(self, time: int) -> float:
        """Return the rate at one time, of a training that has measured nothing yet."""
        return float(self.values(np.array([_checks.integer(time, "time", minimum=0)]), {})[0])

    def rates(self, steps: Array, epochs: Array, memory: Memory) -> Array:
        """Return the rates of steps, given their numbers and those of the epochs they are in."""
        return self.values(steps if self.unit == "step" else epochs, memory)

    def observe(self, measured: Mapping[str, float], memory: Memory) -> None:
        """Take what was measured in an epoch."""

    def config(self) -> dict[str, Any]:
        """Return what ``get`` makes an equal schedule of: the name and the arguments."""
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
    """Multiply the rate by a factor every so often: ``initial * factor**floor(time / every)``.

    Parameters
    ----------
    initial : float
        The rate at first, at least 0.
    every : int
        Steps, or epochs, with the same rate; at least 1.
    factor : float, default=0.1
        At least 0.
    unit : {"step", "epoch"}, default="step"
        What ``every`` counts.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above.

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
        """Return the rates at some times."""
        return _finite_power(self.initial, self.factor, time // self.every)


class ExponentialDecay(Schedule):
    """Shrink the rate a little at every time: ``initial * factor**(time / every)``.

    Parameters
    ----------
    initial : float
        The rate at first, at least 0.
    factor : float
        At least 0; below 1 to shrink.
    every : int, default=1
        Steps, or epochs, in which the rate changes by the factor; at least 1.
    unit : {"step", "epoch"}, default="step"
        What ``every`` counts.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above.
    """

    name = "exponential_decay"

    def __init__(self, initial: float, factor: float, every: int = 1, unit: str = "step") -> None:
        self.initial = _checks.number(initial, "initial", minimum=0.0)
        self.factor = _checks.number(factor, "factor", minimum=0.0)
        self.every = _checks.integer(every, "every", minimum=1)
        self.unit = _unit(unit)

    def values(self, time: Array, memory: Memory) -> Array:
        """Return the rates at some times."""
        return _finite_power(self.initial, self.factor, time / self.every)


class CosineDecay(Schedule):
    """Go from the first rate to the last along half a cosine, then stay there.

    ``minimum + (initial - minimum) * (1 + cos(pi * time / steps)) / 2``.

    Parameters
    ----------
    initial : float
        The rate at first, at least 0.
    steps : int
        When the minimum is reached: so many steps, or epochs with ``unit="epoch"``; at least 1.
    minimum : float, default=0.0
        The rate at the end, from 0 to ``initial``.
    unit : {"step", "epoch"}, default="step"
        What ``steps`` counts.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above.

    References
    ----------
    Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, 2017, equation 5,
    without restarts.
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
        """Return the rates at some times."""
        angle = np.pi * (np.minimum(time, self.steps) / self.steps)
        result: Array = self.minimum + (self.initial - self.minimum) * ((1 + np.cos(angle)) / 2)
        return result


class Warmup(Schedule):
    """Begin with small rates, that grow evenly to the one another schedule begins with.

    Step k, from 0, has ``(k + 1) / steps`` of that rate, so the last step of the warm-up has all
    of it; then the other schedule begins, at its time 0.

    Parameters
    ----------
    steps : int
        Steps of the warm-up, or epochs with ``unit="epoch"``; at least 1.
    then : float, Schedule or function of the step
        What comes after it. One that counts in the other unit begins at the very start: ten
        epochs of ``StepDecay(0.1, 10, unit="epoch")`` contain the steps of the warm-up.
    unit : {"step", "epoch"}, default="step"
        What ``steps`` counts.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above.

    References
    ----------
    Goyal et al., Accurate, large minibatch SGD: training ImageNet in 1 hour, 2017, section 2.2.
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
        """Return the rate at one time; the other schedule must count in the same unit."""
        now = np.array([_checks.integer(time, "time", minimum=0)])
        if isinstance(self.then, Schedule) and self.then.unit != self.unit:
            raise ValueError(f"{self!r} counts steps and epochs, so its rate is of no single time.")
        return float(self.rates(now, now, {})[0])

    def rates(self, steps: Array, epochs: Array, memory: Memory) -> Array:
        """Return the rates of steps."""
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
        """Hand the measurements on."""
        if isinstance(self.then, Schedule):
            self.then.observe(measured, memory)

    def config(self) -> dict[str, Any]:
        """Return what ``get`` makes an equal schedule of."""
        return super().config() | {"then": config(self.then)}


class ReduceOnPlateau(Schedule):
    """Multiply the rate by a factor when a measurement has not improved for some epochs.

    Parameters
    ----------
    initial : float
        The rate at first, at least 0.
    monitor : str, default="val_loss"
        What is looked at after every epoch: a name of ``history.history``.
    factor : float, default=0.1
        At least 0 and below 1.
    patience : int, default=10
        Epochs without an improvement after which the rate is reduced, at least 1.
    min_delta : float, default=1e-4
        By how much a value must be better than the best one before, at least 0.
    cooldown : int, default=0
        Epochs after a reduction that are not counted, at least 0.
    minimum : float, default=0.0
        The rate is never reduced below it; from 0 to ``initial``.
    mode : {"auto", "min", "max"}, default="auto"
        Whether smaller or larger values are better; "auto" is "max" for accuracy, top_5 and its
        like, precision, recall, f1 and r2, and "min" for everything else.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above; from ``fit``, if nothing of that name is measured.

    Notes
    -----
    ``patience`` counts as in Keras: PyTorch's ``patience`` is one less for the same behaviour, its
    ``threshold_mode`` "abs". A value that is NaN is no improvement.
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
        Monitor(monitor, mode, min_delta)  # which refuses what it cannot be
        self.monitor: str = monitor
        self.factor = _checks.number(factor, "factor", minimum=0.0, below=1.0)
        self.patience = _checks.integer(patience, "patience", minimum=1)
        self.min_delta = _checks.number(min_delta, "min_delta", minimum=0.0)
        self.cooldown = _checks.integer(cooldown, "cooldown", minimum=0)
        self.minimum = _minimum(minimum, self.initial)
        self.mode = mode

    def values(self, time: Array, memory: Memory) -> Array:
        """Return the present rate for all times."""
        return np.full(len(time), memory.get("rate", self.initial))

    def observe(self, measured: Mapping[str, float], memory: Memory) -> None:
        """Take what was measured in an epoch; the next one may have a smaller rate."""
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
    """Return a checked rate: a float, a schedule (also from its ``config()``) or a function.

    Raises
    ------
    ValueError
        If a number is negative or not finite, or there is no schedule of that name.
    TypeError
        If it is none of these.
    """
    if isinstance(rate, dict):
        arguments = dict(rate)
        kind = _checks.lookup(arguments.pop("name", None), SCHEDULES, "the schedule")
        made: Schedule = kind(**arguments)
        return made
    if isinstance(rate, type):
        raise TypeError(f"{what} must be a number or a schedule, got the class {rate.__name__}.")
    if callable(rate):
        function: Callable[[int], float] = rate  # schedules are functions too
        return function
    return _checks.number(rate, what, minimum=0.0)


def config(rate: Any) -> Any:
    """Return what ``get`` makes the rate of again, as plain values.

    Raises
    ------
    ValueError
        If it is a function or of a class that is not fastmlp's.
    """
    if isinstance(rate, float):
        return rate
    if SCHEDULES.get(getattr(rate, "name", "")) is not type(rate):
        raise ValueError(
            f"the learning rate {rate!r} is a function or class of your own and cannot be saved. "
            "Give the optimizer a number first: model.optimizer.learning_rate = 0.01."
        )
    return rate.config()


def rates(rate: Any, first: int, epoch: int, steps: int, epochs: int, memory: Memory) -> Array:
    """Return the learning rates of whole epochs, checked.

    Parameters
    ----------
    rate : float, Schedule or function
    first : int
        Number of the first step, from 0.
    epoch : int
        Number of the first epoch, from 0.
    steps, epochs : int
        Steps an epoch, and epochs.
    memory : dict
        What the schedule remembers.

    Returns
    -------
    rates : float64 array (steps * epochs,)

    Raises
    ------
    ValueError
        If a rate is not a finite number of at least 0; the message has the number of the step.
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
        "learning_rate: the schedule must return a finite number of at least 0, "
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
