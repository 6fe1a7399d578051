"""Adagrad: steps that shrink with the squared gradients so far."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from fastmlp._types import Array
from fastmlp.optimizers.base import SMALLEST_EPS, Optimizer, Setting
from fastmlp.optimizers.schedules import Schedule

__all__ = ["Adagrad"]


class Adagrad(Optimizer):
    """Adagrad: the sum of the squared gradients so far shrinks the step of each weight.

    A step is ``accumulator += gradient**2`` and ``weight -= learning_rate * gradient /
    (sqrt(accumulator) + eps)``.

    Adagrad suits features that occur rarely. For other features its steps soon become small.

    Parameters
    ----------
    learning_rate : float, Schedule or function of the step, default=0.01
        Step size, at least 0 and finite; see ``fastmlp.optimizers.schedules``.
    eps : float, default=1e-10
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
    The accumulator starts at zero. The defaults are the same as in PyTorch; Keras starts the
    accumulator at 0.1, with a learning rate of 0.001 and an eps of 1e-7.

    References
    ----------
    Duchi, Hazan and Singer, Adaptive subgradient methods for online learning and stochastic
    optimization, 2011, equation 1, with a diagonal matrix.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.MLP(2, [16], 2, seed=0)
    >>> history = model.fit(*fm.datasets.make_moons(200), optimizer=fm.Adagrad(0.1), verbose=0)
    >>> history.history["loss"][-1] < history.history["loss"][0]
    True
    """

    name = "adagrad"
    slots = ("accumulator",)
    kind = "adagrad"

    eps = Setting(SMALLEST_EPS)

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
        ops.adagrad_update(
            value,
            gradient,
            state["accumulator"],
            learning_rate,
            eps=self.eps,
            weight_decay=self.weight_decay,
        )

    def _constants(self) -> tuple[float, ...]:
        return (self.eps,)
