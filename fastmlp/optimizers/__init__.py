"""Optimizers, their states, and the sinks that take gradients from layers.

An optimizer holds settings only. Its states, such as a velocity for each weight, are arrays that
start at zero and belong to whoever trains: ``slots`` names them.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from fastmlp import _checks
from fastmlp._arrays import empty
from fastmlp.optimizers import schedules
from fastmlp.optimizers.schedules import Schedule
from fastmlp.parameter import Parameter, Storage

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "GradientStore",
    "Optimizer",
    "RMSprop",
    "State",
    "UpdatingSink",
    "get",
]

Array = npt.NDArray[Any]

# What the compiled update does, by Optimizer.kind; the order is that of enum fm_update.
KINDS = ("SGD", "MOMENTUM", "NESTEROV", "ADAGRAD", "RMSPROP", "ADAM", "ADAMW")
KIND_SGD, KIND_MOMENTUM, KIND_NESTEROV, KIND_ADAGRAD, KIND_RMSPROP, KIND_ADAM, KIND_ADAMW = range(7)
MAX_COEFFICIENTS = 8
_LIMIT = 7  # the coefficient that gradients are clipped to

_SMALLEST = float(np.finfo(np.float32).tiny)  # of eps: in float32 it must not vanish


class GradientStore:
    """A sink that computes every gradient into an array of its own, and keeps it.

    Parameters
    ----------
    ops : module
        The operations of the model's backend.
    wants : callable, optional
        Says of a parameter whether its gradient is of any use; None means of all.

    Attributes
    ----------
    gradients : dict of str to array
        The gradients of the last pass by parameter name. Overwritten by the next pass.
    """

    def __init__(self, ops: ModuleType, wants: Callable[[Parameter], bool] | None = None) -> None:
        self._ops = ops
        self._wants = wants
        self.gradients: dict[str, Array] = {}

    def product(self, parameter: Parameter, x: Array, dz: Array) -> None:
        """Take the gradient ``x.T @ dz``."""
        if self.wants(parameter):
            gradient = self._ops.matmul(x, dz, transpose_a=True, out=self._buffer(parameter))
            self.ready(parameter, gradient)

    def row_sum(self, parameter: Parameter, dz: Array) -> None:
        """Take the gradient ``dz.sum(axis=0)``."""
        if self.wants(parameter):
            self.ready(parameter, self._ops.sum_batch(dz, out=self._buffer(parameter)))

    def wants(self, parameter: Parameter) -> bool:
        """Return whether the gradient of a parameter is of any use."""
        return self._wants is None or self._wants(parameter)

    def array(self, parameter: Parameter, gradient: Array) -> None:
        """Take a copy of the gradient."""
        if self.wants(parameter):
            buffer = self._buffer(parameter)
            np.copyto(buffer, gradient)
            self.ready(parameter, buffer)

    def ready(self, parameter: Parameter, gradient: Array) -> None:
        """Take a gradient that is known, and add that of the parameter's penalty."""
        l1, l2 = parameter.penalty
        if l1 or l2:
            self._ops.weight_penalty_backward(gradient, parameter.value, l1=l1, l2=l2)

    def _buffer(self, parameter: Parameter) -> Array:
        buffer = self.gradients.get(parameter.name)
        if buffer is None:
            buffer = self.gradients[parameter.name] = empty(parameter.shape, parameter.live.dtype)
        return buffer


class _Setting:
    """A number among the settings of an optimizer, checked whenever it is set."""

    def __init__(self, minimum: float, below: float = math.inf) -> None:
        self._minimum, self._below = minimum, below

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._name, self._attribute = name, "_" + name

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> _Setting: ...
    @overload
    def __get__(self, instance: Any, owner: type[Any]) -> float: ...
    def __get__(self, instance: Any, owner: type[Any]) -> _Setting | float:
        if instance is None:
            return self
        value: float = getattr(instance, self._attribute)
        return value

    def __set__(self, instance: Any, value: Any) -> None:
        checked = _checks.number(value, self._name, minimum=self._minimum, below=self._below)
        setattr(instance, self._attribute, checked)


class _Rate:
    """The learning rate among the settings of an optimizer: a number, a schedule or a function."""

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> _Rate: ...
    @overload
    def __get__(self, instance: Any, owner: type[Any]) -> Any: ...
    def __get__(self, instance: Any, owner: type[Any]) -> Any:
        return self if instance is None else instance._learning_rate

    def __set__(self, instance: Any, value: Any) -> None:
        instance._learning_rate = schedules.get(value)


class _Limit(_Setting):
    """A number above 0 that gradients are clipped to, or None; there are two, of which one is."""

    def __init__(self, other: str) -> None:
        self._other = "_" + other

    def __set__(self, instance: Any, value: Any) -> None:
        if value is not None:
            value = _checks.number(value, self._name, minimum=0.0)
            if value == 0:
                raise ValueError(f"{self._name} must be above 0, got 0.0.")
            if getattr(instance, self._other, None) is not None:
                raise ValueError(
                    f"{self._name} must be None where {self._other[1:]} is given, got {value}."
                )
        setattr(instance, self._attribute, value)


class Optimizer:
    """Base class: an optimizer says what a gradient does to a parameter.

    A step of training takes the gradients of the loss, which includes the penalties of layers;
    clips them; and lets the optimizer update each parameter.

    Parameters
    ----------
    learning_rate : float, Schedule or function of the step
        At least 0 and finite. A function gets the number of the step, from 0, and returns its
        rate; see ``fastmlp.optimizers.schedules``.
    weight_decay : float, default=0.0
        At least 0.
    clip_norm : float or None, default=None
        Above 0: gradients are multiplied by ``clip_norm / (norm + 1e-6)`` where that is below 1,
        with the norm of all gradients together, as PyTorch's ``clip_grad_norm_`` does.
    clip_value : float or None, default=None
        Above 0: every element of a gradient is brought to ``[-clip_value, clip_value]``.

    Attributes
    ----------
    name : str
        Its name in ``fit(optimizer=...)`` and in model files.
    slots : tuple of str
        Names of its states: arrays of a parameter's shape and dtype that start at zero.
    kind : int
        The compiled update that does its steps, an index of ``KINDS``.
    learning_rate : float, Schedule or function
        May be changed between steps, as all settings may that are not said to be fixed.
    weight_decay : float
        Factor of the L2 penalty.
    clip_norm, clip_value : float or None
        At most one of them is a number.
    """

    name: str = ""
    slots: tuple[str, ...] = ()
    kind: int

    learning_rate = _Rate()
    weight_decay = _Setting(0.0)
    clip_norm = _Limit("clip_value")
    clip_value = _Limit("clip_norm")

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
        """What is clipped: "norm", "value" or nothing, ""."""
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
        """Do one step in place on the ``value`` of a parameter, given its gradient.

        Parameters
        ----------
        ops : module
            The operations of the model's backend.
        value : array
            Overwritten with the new value.
        gradient : array of the same shape and dtype
        state : dict of str to array
            The arrays that ``slots`` names, of the same shape and dtype; overwritten.
        step : int
            Number of the step, from 1.
        learning_rate : float
            That of this step and parameter.
        """
        raise NotImplementedError

    def coefficients(self, first_step: int, rates: Array) -> Array:
        """Return what the compiled update takes for some steps, one row a step.

        Parameters
        ----------
        first_step : int
            Number of the first one; the first of a training has number 1.
        rates : float64 array of shape (count,)
            Their learning rates.

        Returns
        -------
        rows : float64 array of shape (count, 8)
            The learning rate, the weight decay and what else the kind takes, then zeros; last of
            all the limit of ``clip_norm`` or ``clip_value``.
        """
        rows = np.zeros((len(rates), MAX_COEFFICIENTS))
        settings = (self.weight_decay, *self._constants())
        rows[:, 0] = rates
        rows[:, 1 : 1 + len(settings)] = settings
        rows[:, _LIMIT] = self.clip_norm or self.clip_value or 0.0
        return rows

    def _constants(self) -> tuple[float, ...]:
        """Return the coefficients from the third on, as far as they are the same in every step."""
        return ()

    def config(self) -> dict[str, Any]:
        """Return what ``get`` makes an equal optimizer of: the name and the arguments.

        A schedule is written as its own ``config()``; a function of the user's stays one.
        """
        result = {"name": self.name} | self._arguments()
        if type(self.learning_rate) in schedules.SCHEDULES.values():
            result["learning_rate"] = schedules.config(self.learning_rate)
        return result

    def _arguments(self) -> dict[str, Any]:
        names = inspect.signature(type(self)).parameters
        return {name: getattr(self, name) for name in names if hasattr(self, name)}

    def __repr__(self) -> str:
        """Show the learning rate and the arguments that are not the defaults."""
        defaults = {n: p.default for n, p in inspect.signature(type(self)).parameters.items()}
        shown = [
            f"{name}={value!r}"
            for name, value in self._arguments().items()
            if name == "learning_rate" or value != defaults[name]
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked.

    ``weight -= learning_rate * gradient``, or with momentum ``velocity = momentum * velocity +
    gradient`` and ``weight -= learning_rate * velocity``. Nesterov's momentum steps along
    ``gradient + momentum * velocity`` instead.

    Parameters
    ----------
    learning_rate : float, Schedule or function of the step, default=0.01
        Step size, at least 0 and finite; see ``fastmlp.optimizers.schedules``.
    momentum : float, default=0.0
        How much of the velocity stays at every step, at least 0 and below 1. Fixed: it decides
        whether there is a velocity.
    nesterov : bool, default=False
        Look ahead; needs momentum. Fixed.
    weight_decay : float, default=0.0
        Factor of the weights that is added to their gradient (an L2 penalty), biases included.
    clip_norm, clip_value : float or None, default=None
        What gradients are clipped to, as for every Optimizer; one of the two at most.

    Raises
    ------
    ValueError
        If a number is out of its range, or nesterov is asked for without momentum.
    TypeError
        If an argument is of another type.

    Notes
    -----
    As in PyTorch the velocity holds gradients; in Keras it holds steps, that is, the learning
    rate is a factor in it already. Both do the same while the learning rate stays the same.

    On the compiled kernels the gradient of a weight is never stored without momentum and decay:
    the product is subtracted from the weights where it is computed.

    References
    ----------
    Robbins and Monro, A stochastic approximation method, 1951.
    Polyak, Some methods of speeding up the convergence of iteration methods, 1964.
    Sutskever, Martens, Dahl and Hinton, On the importance of initialization and momentum in deep
    learning, 2013, equations 3 and 4.
    """

    name = "sgd"

    def __init__(
        self,
        learning_rate: float | Schedule | Callable[[int], float] = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clip_norm=clip_norm, clip_value=clip_value)
        self._momentum = _checks.number(momentum, "momentum", minimum=0.0, below=1.0)
        self._nesterov = _checks.boolean(nesterov, "nesterov")
        if self._nesterov and not self._momentum:
            raise ValueError("momentum must be above 0 with nesterov=True, got 0.0.")
        self.kind = KIND_NESTEROV if nesterov else KIND_MOMENTUM if self._momentum else KIND_SGD
        self.slots = ("velocity",) if self._momentum else ()

    @property
    def momentum(self) -> float:
        """How much of the velocity stays at every step."""
        return self._momentum

    @property
    def nesterov(self) -> bool:
        """Whether the momentum is Nesterov's."""
        return self._nesterov

    def _constants(self) -> tuple[float, ...]:
        return (self._momentum,)

    def update(
        self,
        ops: ModuleType,
        value: Array,
        gradient: Array,
        state: dict[str, Array],
        step: int,
        learning_rate: float,
    ) -> None:
        """Do one step in place."""
        ops.sgd_update(
            value,
            gradient,
            learning_rate,
            velocity=state.get("velocity"),
            momentum=self._momentum,
            nesterov=self._nesterov,
            weight_decay=self.weight_decay,
        )


class Adagrad(Optimizer):
    """Adagrad: steps shrink with the sum of the squares of a weight's gradients so far.

    ``accumulator += gradient**2`` and ``weight -= learning_rate * gradient / (sqrt(accumulator) +
    eps)``.

    Good for features that are seldom there; on others its steps get small early.

    Parameters
    ----------
    learning_rate : float, Schedule or function of the step, default=0.01
        Step size, at least 0 and finite; see ``fastmlp.optimizers.schedules``.
    eps : float, default=1e-10
        Keeps the quotient finite; above 0 in float32, that is at least 1.18e-38.
    weight_decay : float, default=0.0
        Factor of the weights that is added to their gradient (an L2 penalty), biases included.
    clip_norm, clip_value : float or None, default=None
        What gradients are clipped to, as for every Optimizer; one of the two at most.

    Raises
    ------
    ValueError
        If a number is out of its range.
    TypeError
        If an argument is of another type.

    Notes
    -----
    The accumulator starts at zero. The defaults are PyTorch's; Keras starts from 0.1, with a
    learning rate of 0.001 and an eps of 1e-7.

    References
    ----------
    Duchi, Hazan and Singer, Adaptive subgradient methods for online learning and stochastic
    optimization, 2011, equation 1, on the diagonal.
    """

    name = "adagrad"
    slots = ("accumulator",)
    kind = KIND_ADAGRAD

    eps = _Setting(_SMALLEST)

    def __init__(
        self,
        learning_rate: float | Schedule | Callable[[int], float] = 0.01,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clip_norm=clip_norm, clip_value=clip_value)
        self.eps = eps

    def _constants(self) -> tuple[float, ...]:
        return (self.eps,)

    def update(
        self,
        ops: ModuleType,
        value: Array,
        gradient: Array,
        state: dict[str, Array],
        step: int,
        learning_rate: float,
    ) -> None:
        """Do one step in place."""
        ops.adagrad_update(
            value,
            gradient,
            state["accumulator"],
            learning_rate,
            eps=self.eps,
            weight_decay=self.weight_decay,
        )


class RMSprop(Optimizer):
    """RMSprop: steps are divided by the root of a running mean of the squares of gradients.

    ``accumulator = rho * accumulator + (1 - rho) * gradient**2`` and ``weight -= learning_rate *
    gradient / (sqrt(accumulator) + eps)``.

    Parameters
    ----------
    learning_rate : float, Schedule or function of the step, default=0.001
        Step size, at least 0 and finite; see ``fastmlp.optimizers.schedules``.
    rho : float, default=0.99
        How much of the mean stays at every step, at least 0 and below 1; PyTorch's ``alpha``.
    eps : float, default=1e-8
        Keeps the quotient finite; above 0 in float32, that is at least 1.18e-38.
    weight_decay : float, default=0.0
        Factor of the weights that is added to their gradient (an L2 penalty), biases included.
    clip_norm, clip_value : float or None, default=None
        What gradients are clipped to, as for every Optimizer; one of the two at most.

    Raises
    ------
    ValueError
        If a number is out of its range.
    TypeError
        If an argument is of another type.

    Notes
    -----
    The mean starts at zero, so the first steps are large: 10 learning rates for the first one.
    Keras and PyTorch disagree on the defaults: the learning rate is Keras's (PyTorch has 0.01),
    rho and eps are PyTorch's (Keras has 0.9 and 1e-7).

    References
    ----------
    Tieleman and Hinton, Neural networks for machine learning, lecture 6.5, 2012.
    """

    name = "rmsprop"
    slots = ("accumulator",)
    kind = KIND_RMSPROP

    rho = _Setting(0.0, below=1.0)
    eps = _Setting(_SMALLEST)

    def __init__(
        self,
        learning_rate: float | Schedule | Callable[[int], float] = 0.001,
        rho: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clip_norm=clip_norm, clip_value=clip_value)
        self.rho = rho
        self.eps = eps

    def _constants(self) -> tuple[float, ...]:
        return (self.eps, self.rho)

    def update(
        self,
        ops: ModuleType,
        value: Array,
        gradient: Array,
        state: dict[str, Array],
        step: int,
        learning_rate: float,
    ) -> None:
        """Do one step in place."""
        ops.rmsprop_update(
            value,
            gradient,
            state["accumulator"],
            learning_rate,
            rho=self.rho,
            eps=self.eps,
            weight_decay=self.weight_decay,
        )


class Adam(Optimizer):
    """Adam: steps along a running mean of gradients over the root of that of their squares.

    ``m = beta1 * m + (1 - beta1) * gradient``, ``v = beta2 * v + (1 - beta2) * gradient**2`` and
    ``weight -= learning_rate * M / (sqrt(V) + eps)``, where ``M = m / (1 - beta1**t)`` and ``V =
    v / (1 - beta2**t)`` in step t make up for means that start at zero.

    Parameters
    ----------
    learning_rate : float, Schedule or function of the step, default=0.001
        Step size, at least 0 and finite; see ``fastmlp.optimizers.schedules``.
    beta1, beta2 : float, default=0.9 and 0.999
        How much of the two means stays at every step, at least 0 and below 1.
    eps : float, default=1e-8
        Keeps the quotient finite; above 0 in float32, that is at least 1.18e-38.
    weight_decay : float, default=0.0
        Factor of the weights that is added to their gradient (an L2 penalty), biases included.
    clip_norm, clip_value : float or None, default=None
        What gradients are clipped to, as for every Optimizer; one of the two at most.

    Raises
    ------
    ValueError
        If a number is out of its range.
    TypeError
        If an argument is of another type.

    Notes
    -----
    The defaults are those of the paper and of PyTorch; Keras differs in eps, 1e-7.

    References
    ----------
    Kingma and Ba, Adam: a method for stochastic optimization, 2015, algorithm 1.
    """

    name = "adam"
    slots = ("m", "v")
    kind = KIND_ADAM

    beta1 = _Setting(0.0, below=1.0)
    beta2 = _Setting(0.0, below=1.0)
    eps = _Setting(_SMALLEST)

    def __init__(
        self,
        learning_rate: float | Schedule | Callable[[int], float] = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        super().__init__(learning_rate, weight_decay, clip_norm=clip_norm, clip_value=clip_value)
        self.beta1 = beta1
        self.beta2 = beta2
        self.eps = eps

    def _constants(self) -> tuple[float, ...]:
        return (self.eps, self.beta1, self.beta2)

    def coefficients(self, first_step: int, rates: Array) -> Array:
        """Return what the compiled update takes for some steps, as in Optimizer."""
        rows = super().coefficients(first_step, rates)
        steps = np.arange(first_step, first_step + len(rates))
        with np.errstate(under="ignore"):
            rows[:, 5] = rows[:, 0] / (1 - self.beta1**steps)
            rows[:, 6] = 1 / np.sqrt(1 - self.beta2**steps)
        return rows

    def update(
        self,
        ops: ModuleType,
        value: Array,
        gradient: Array,
        state: dict[str, Array],
        step: int,
        learning_rate: float,
    ) -> None:
        """Do one step in place."""
        ops.adam_update(
            value,
            gradient,
            state["m"],
            state["v"],
            step,
            learning_rate,
            beta1=self.beta1,
            beta2=self.beta2,
            eps=self.eps,
            weight_decay=self.weight_decay,
            decoupled=self.kind == KIND_ADAMW,
        )


class AdamW(Adam):
    """Adam whose weight decay is no part of the gradient: it shrinks the weights themselves.

    ``weight *= 1 - learning_rate * weight_decay``, then the step of Adam without a penalty. So the
    decay is the same for all weights, however large their gradients are.

    Parameters
    ----------
    learning_rate, beta1, beta2, eps
        As for Adam.
    weight_decay : float, default=0.01
        By how much a step shrinks the weights, in units of the learning rate; biases included.
    clip_norm, clip_value : float or None, default=None
        What gradients are clipped to, as for every Optimizer; one of the two at most.

    Raises
    ------
    ValueError
        If a number is out of its range.
    TypeError
        If an argument is of another type.

    Notes
    -----
    The defaults are PyTorch's; Keras decays by 0.004.

    References
    ----------
    Loshchilov and Hutter, Decoupled weight decay regularization, 2019, algorithm 2. Like PyTorch
    and Keras it multiplies the decay by the learning rate, which the paper keeps apart.
    """

    name = "adamw"
    kind = KIND_ADAMW

    def __init__(
        self,
        learning_rate: float | Schedule | Callable[[int], float] = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> None:
        limits = {"clip_norm": clip_norm, "clip_value": clip_value}
        super().__init__(learning_rate, beta1, beta2, eps, weight_decay, **limits)


class State:
    """What an optimizer remembers of the parameters of one network: steps done, and its slots.

    Attributes
    ----------
    optimizer : Optimizer
    step : int
        Number of steps done; within a step, its number.
    epoch : int
        Number of epochs of ``fit`` begun before this one.
    learning_rate : float
        Of the present step, or the last one.
    memory : dict of str to float
        What the schedule of the learning rate remembers.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.step = 0
        self.epoch = 0
        rate = optimizer.learning_rate
        self.learning_rate = rate if isinstance(rate, float) else math.nan
        self.memory: dict[str, float] = {}
        self._slots: dict[str, dict[str, Storage]] = {}
        self._run = 0, np.empty(0)  # the step before the run's first one, its learning rates

    def begin_run(self, steps: int, epochs: int = 1, done: int = 0) -> Array:
        """Return the learning rates of the next steps: of so many epochs of so many steps.

        Of the first epoch so many are ``done`` already; their rates are returned as well.

        Raises
        ------
        ValueError
            If the schedule gives something else than rates.
        """
        rate = self.optimizer.learning_rate
        first = self.step - done
        rates = schedules.rates(rate, first, self.epoch, steps, epochs, self.memory)
        self._run = first, rates
        self.begin_step(done)
        self.step -= 1
        return rates

    def begin_step(self, index: int) -> None:
        """Begin a step of the run, number ``index`` from 0, counted from the start of its epoch."""
        first, rates = self._run
        self.step = first + index + 1
        self.learning_rate = float(rates[index])

    def end_run(self, done: int) -> None:
        """End the run, of which so many steps are complete, with those done before it."""
        first, rates = self._run
        self.step = first + done
        self.learning_rate = float(rates[max(done - 1, 0)])

    def rate_of(self, parameter: Parameter) -> float:
        """Return the learning rate of a parameter in the present step."""
        return self.learning_rate * parameter.learning_rate_multiplier

    def observe(self, measured: dict[str, float]) -> None:
        """Tell the schedule what was measured in an epoch."""
        if isinstance(self.optimizer.learning_rate, Schedule):
            self.optimizer.learning_rate.observe(measured, self.memory)

    def clip(self, ops: ModuleType, gradients: Iterable[Array]) -> None:
        """Clip all gradients of a step, in place, as the optimizer says."""
        clip_norm, clip_value = self.optimizer.clip_norm, self.optimizer.clip_value
        if clip_norm is not None:
            ops.clip_by_norm(list(gradients), clip_norm)
        elif clip_value is not None:
            for gradient in gradients:
                ops.clip_by_value(gradient, clip_value, out=gradient)

    def of(self, parameter: Parameter) -> dict[str, Storage]:
        """Return the states of a parameter by slot; zeros at first."""
        slots = self._slots.get(parameter.name)
        if slots is None:
            slots = self._slots[parameter.name] = {}
            for slot in self.optimizer.slots:
                slots[slot] = Storage(parameter.shape)
                slots[slot].assign(np.zeros((), parameter.live.dtype), parameter.live.dtype)
        return slots

    @property
    def arrays(self) -> dict[str, Array]:
        """The states by slot and parameter, "m/dense_0.weight" and so on; copies."""
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
        """Return what ``restore`` goes back to."""
        slots = [stored for each in self._slots.values() for stored in each.values()]
        return self.step, [(stored, stored.live.copy()) for stored in slots]

    def restore(self, snapshot: tuple[int, list[tuple[Storage, Array]]]) -> None:
        """Go back to a ``snapshot``; slots that it does not have are new, and zero again."""
        self.step, saved = snapshot
        for each in self._slots.values():
            for stored in each.values():
                stored.live[...] = 0
        for stored, values in saved:
            stored.restore(values)


class UpdatingSink(GradientStore):
    """A sink that updates each parameter as soon as its gradient is known.

    Those of frozen layers have none. Where the norm of all gradients is clipped, they wait for
    ``finish``.
    """

    def __init__(self, ops: ModuleType, state: State) -> None:
        super().__init__(ops)
        self._state = state
        self._waiting: list[tuple[Parameter, Array]] = []

    def wants(self, parameter: Parameter) -> bool:
        """Return whether the parameter is trained."""
        return parameter.trainable

    def array(self, parameter: Parameter, gradient: Array) -> None:
        """Update with the gradient, which needs no copy unless it is changed or has to wait."""
        if any(parameter.penalty) or self._state.optimizer.clips:
            super().array(parameter, gradient)
        else:
            self.ready(parameter, gradient)

    def ready(self, parameter: Parameter, gradient: Array) -> None:
        """Do the step number ``state.step`` on the parameter, or let it wait."""
        if not parameter.trainable:
            return
        super().ready(parameter, gradient)
        if self._state.optimizer.clip_norm is not None:
            self._waiting.append((parameter, gradient))
        else:
            self._state.clip(self._ops, [gradient])
            self._update(parameter, gradient)

    def finish(self) -> None:
        """Do what waited for the last gradient of the step."""
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


OPTIMIZERS: dict[str, type[Any]] = {
    kind.name: kind for kind in (SGD, Adagrad, RMSprop, Adam, AdamW)
}


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
        If it, or its schedule, is of a class that is not fastmlp's.
    """
    if OPTIMIZERS.get(optimizer.name) is not type(optimizer):
        raise ValueError(f"optimizer {optimizer!r} is of a class of your own and cannot be saved.")
    return optimizer.config() | {"learning_rate": schedules.config(optimizer.learning_rate)}
