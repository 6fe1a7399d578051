"""RMSprop: steps divided by the root mean square of recent gradients."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from fastmlp._types import Array
from fastmlp.optimizers.base import SMALLEST_EPS, Optimizer, Setting
from fastmlp.optimizers.schedules import Schedule

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    """RMSprop: steps are divided by the root of a running mean of the squared gradients.

    A step is ``accumulator = rho * accumulator + (1 - rho) * gradient**2`` and ``weight -=
    learning_rate * gradient / (sqrt(accumulator) + eps)``.

    Parameters
    ----------
    learning_rate : float, Schedule or function of the step, default=0.001
        Step size, at least 0 and finite; see ``fastmlp.optimizers.schedules``.
    rho : float, default=0.99
        Factor of the previous mean, at least 0 and below 1; PyTorch's ``alpha``.
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
    The mean starts at zero, so the first steps are large: 10 times the learning rate in step 1.
    Keras and PyTorch disagree on the defaults. The learning rate is the same as in Keras (PyTorch
    has 0.01); rho and eps are the same as in PyTorch (Keras has 0.9 and 1e-7).

    References
    ----------
    Tieleman and Hinton, Neural networks for machine learning, lecture 6.5, 2012.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.MLP(2, [16], 2, seed=0)
    >>> history = model.fit(*fm.datasets.make_moons(200), optimizer=fm.RMSprop(0.01), verbose=0)
    >>> history.history["loss"][-1] < history.history["loss"][0]
    True
    """

    name = "rmsprop"
    slots = ("accumulator",)
    kind = "rmsprop"

    rho = Setting(0.0, below=1.0)
    eps = Setting(SMALLEST_EPS)

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
        ops.rmsprop_update(
            value,
            gradient,
            state["accumulator"],
            learning_rate,
            rho=self.rho,
            eps=self.eps,
            weight_decay=self.weight_decay,
        )

    def _constants(self) -> tuple[float, ...]:
        return (self.eps, self.rho)
