"""Adam, and AdamW with decoupled weight decay."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import numpy as np

from fastmlp._types import Array
from fastmlp.optimizers.base import SMALLEST_EPS, Optimizer, Setting
from fastmlp.optimizers.schedules import Schedule

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Adam: running means of the gradients, divided by the root of the mean of their squares.

    A step is ``m = beta1 * m + (1 - beta1) * gradient``, ``v = beta2 * v + (1 - beta2) *
    gradient**2`` and ``weight -= learning_rate * M / (sqrt(V) + eps)``. In step t, ``M = m / (1 -
    beta1**t)`` and ``V = v / (1 - beta2**t)`` correct for means that start at zero.

    Parameters
    ----------
    learning_rate : float, Schedule or function of the step, default=0.001
        Step size, at least 0 and finite; see ``fastmlp.optimizers.schedules``.
    beta1, beta2 : float, default=0.9 and 0.999
        Factors of the two previous means, at least 0 and below 1.
    eps : float, default=1e-8
        Keeps the quotient finite. At least 1.18e-38, so that it is above 0 in float32.
    weight_decay : float, default=0.0
        Factor of the weights that is added to their gradient (an L2 penalty), biases included.
    clip_norm, clip_value : float or None, default=None
        Limits of gradient clipping, of which at most one may be set; see ``Optimizer``.

    Raises
    ------
    ValueError
        If a number is out of its range.
    TypeError
        If an argument has the wrong type.

    Notes
    -----
    The defaults are the same as in the paper and in PyTorch; Keras has an eps of 1e-7.

    References
    ----------
    Kingma and Ba, Adam: a method for stochastic optimization, 2015, algorithm 1.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.MLP(2, [16], 2, seed=0)
    >>> history = model.fit(*fm.datasets.make_moons(200), optimizer=fm.Adam(0.01), verbose=0)
    >>> history.history["loss"][-1] < history.history["loss"][0]
    True
    """

    name = "adam"
    slots = ("m", "v")
    kind = "adam"

    beta1 = Setting(0.0, below=1.0)
    beta2 = Setting(0.0, below=1.0)
    eps = Setting(SMALLEST_EPS)
    _decoupled = False  # whether the weight decay is separate from the gradient

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

    def update(
        self,
        ops: ModuleType,
        value: Array,
        gradient: Array,
        state: dict[str, Array],
        step: int,
        learning_rate: float,
    ) -> None:
        """Update the value of a parameter in place, as described for ``Optimizer.update``."""
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
            decoupled=self._decoupled,
        )

    def _constants(self) -> tuple[float, ...]:
        return (self.eps, self.beta1, self.beta2)

    def coefficients(self, first_step: int, rates: Array) -> Array:
        """Return the coefficients of the compiled update, as described for ``Optimizer``.

        Columns 5 and 6 hold the corrections of the two means, which change from step to step.
        """
        rows = super().coefficients(first_step, rates)
        steps = np.arange(first_step, first_step + len(rates))
        with np.errstate(under="ignore"):
            rows[:, 5] = rows[:, 0] / (1 - self.beta1**steps)
            rows[:, 6] = 1 / np.sqrt(1 - self.beta2**steps)
        return rows


class AdamW(Adam):
    """Adam with decoupled weight decay: the decay shrinks the weights, not their gradients.

    A step is ``weight *= 1 - learning_rate * weight_decay``, followed by the step of Adam without a
    penalty. So the decay is the same for all weights, however large their gradients are.

    Parameters
    ----------
    learning_rate, beta1, beta2, eps
        As for Adam.
    weight_decay : float, default=0.01
        Share by which a step shrinks the weights, biases included, in units of the learning rate.
    clip_norm, clip_value : float or None, default=None
        Limits of gradient clipping, of which at most one may be set; see ``Optimizer``.

    Raises
    ------
    ValueError
        If a number is out of its range.
    TypeError
        If an argument has the wrong type.

    Notes
    -----
    The defaults are the same as in PyTorch; Keras has a weight decay of 0.004.

    References
    ----------
    Loshchilov and Hutter, Decoupled weight decay regularization, 2019, algorithm 2. As in PyTorch
    and Keras, the decay is multiplied by the learning rate; the paper keeps them separate.

    Examples
    --------
    >>> import fastmlp as fm
    >>> optimizer = fm.AdamW(fm.CosineDecay(0.01, steps=70), weight_decay=0.1)
    >>> history = fm.MLP(2, [16], 2, seed=0).fit(
    ...     *fm.datasets.make_moons(200), optimizer=optimizer, verbose=0
    ... )
    >>> history.history["loss"][-1] < history.history["loss"][0]
    True
    """

    name = "adamw"
    kind = "adamw"

    _decoupled = True

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
