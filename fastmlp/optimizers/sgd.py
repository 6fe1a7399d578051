"""Stochastic gradient descent, with and without momentum."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from fastmlp import _checks
from fastmlp._types import Array
from fastmlp.optimizers.base import Optimizer
from fastmlp.optimizers.schedules import Schedule

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent, optionally with momentum.

    Without momentum a step is ``weight -= learning_rate * gradient``. With momentum it is
    ``velocity = momentum * velocity + gradient`` and ``weight -= learning_rate * velocity``.
    Nesterov momentum steps along ``gradient + momentum * velocity`` instead of ``velocity``.

    Parameters
    ----------
    learning_rate : float, Schedule or function of the step, default=0.01
        Step size, at least 0 and finite; see ``fastmlp.optimizers.schedules``.
    momentum : float, default=0.0
        Factor of the previous velocity, at least 0 and below 1. Fixed, because it decides whether
        there is a velocity.
    nesterov : bool, default=False
        Whether to use Nesterov momentum; requires momentum. Fixed.
    weight_decay : float, default=0.0
        Factor of the weights that is added to their gradient (an L2 penalty), biases included.
    clip_norm, clip_value : float or None, default=None
        Limits of gradient clipping, of which at most one may be set; see ``Optimizer``.

    Raises
    ------
    ValueError
        If a number is out of its range, or nesterov is set without momentum.
    TypeError
        If an argument has the wrong type.

    Notes
    -----
    As in PyTorch, the velocity accumulates gradients. In Keras it accumulates steps, which already
    contain the learning rate. Both are the same as long as the learning rate does not change.

    Without momentum and weight decay, the compiled kernels never store the gradient of a weight:
    they subtract the matrix product from the weights where it is computed.

    References
    ----------
    Robbins and Monro, A stochastic approximation method, 1951.
    Polyak, Some methods of speeding up the convergence of iteration methods, 1964.
    Sutskever, Martens, Dahl and Hinton, On the importance of initialization and momentum in deep
    learning, 2013, equations 3 and 4.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.MLP(2, [16], 2, seed=0)
    >>> history = model.fit(
    ...     *fm.datasets.make_moons(200), optimizer=fm.SGD(0.1, momentum=0.9), verbose=0
    ... )
    >>> history.history["loss"][-1] < history.history["loss"][0]
    True
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
        self.kind = "nesterov" if nesterov else "momentum" if self._momentum else "sgd"
        self.slots = ("velocity",) if self._momentum else ()

    @property
    def momentum(self) -> float:
        """Factor of the previous velocity."""
        return self._momentum

    @property
    def nesterov(self) -> bool:
        """Whether the momentum is Nesterov momentum."""
        return self._nesterov

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
        ops.sgd_update(
            value,
            gradient,
            learning_rate,
            velocity=state.get("velocity"),
            momentum=self._momentum,
            nesterov=self._nesterov,
            weight_decay=self.weight_decay,
        )

    def _constants(self) -> tuple[float, ...]:
        return (self._momentum,)
