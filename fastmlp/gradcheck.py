"""Comparison of a model's gradients with finite differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp import _backend, _checks, _random, losses
from fastmlp.engine import engine
from fastmlp.layers.base import Training
from fastmlp.network import Network, Workspace

__all__ = ["GradcheckResult", "gradcheck"]

Array = npt.NDArray[Any]

# Steps tried to get away from a kink, each a quarter of the one before.
_ATTEMPTS = 5
# Gradients that the rounding of the loss changes by more than 1e-8 of themselves are too small to
# be measured against themselves.
_MEASURABLE = 1e8


@dataclass(frozen=True)
class GradcheckResult:
    """What ``gradcheck`` found; ``print`` it for a table.

    Attributes
    ----------
    errors : dict of str to float
        Largest relative error of each parameter's gradient; NaN if no element could be checked.
    checked : dict of str to int
        Number of elements of each parameter that were compared.
    kinks : dict of str to int
        Number of elements at a kink: the smallest step still moved an activation across the point
        where its derivative jumps, so the difference quotient says nothing about them.
    tolerance : float
        Largest error that passes.
    """

    errors: dict[str, float]
    checked: dict[str, int]
    kinks: dict[str, int]
    tolerance: float

    @property
    def max_error(self) -> float:
        """Largest relative error over all parameters; NaN if nothing could be checked."""
        known = [error for error in self.errors.values() if not math.isnan(error)]
        return max(known, default=math.nan)

    @property
    def passed(self) -> bool:
        """Whether some elements were checked and none has a larger error than the tolerance."""
        return self.max_error <= self.tolerance

    def __repr__(self) -> str:
        verdict = "passed" if self.passed else "FAILED"
        width = max(map(len, ["parameter", *self.errors]))
        errors = f"max relative error {self.max_error:.2g}, tolerance {self.tolerance:.2g}"
        lines = [
            f"gradcheck {verdict}: {errors}",
            f"{'parameter':<{width}}  max error  checked  at a kink",
        ]
        lines += [
            f"{name:<{width}}  {error:9.2e}  {self.checked[name]:7d}  {self.kinks[name]:9d}"
            for name, error in self.errors.items()
        ]
        return "\n".join(lines)


def gradcheck(
    model: Network,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    loss: str | losses.Loss | None = None,
    eps: float = 2.0**-6,
    max_per_parameter: int | None = None,
    seed: int = 0,
    tolerance: float = 1e-7,
    sample_weight: npt.ArrayLike | None = None,
) -> GradcheckResult:
    """Compare the gradients of a model with central differences, in float64.

    Parameters
    ----------
    model : Sequential
        The model. A float64 copy of it is checked, the gradients of its backend against losses
        of the reference; the model is not changed.
    x, y : array
        A few samples and their targets.
    loss : str or Loss, default=None
        The loss; None means the model's.
    eps : float, default=2**-6
        First step of the differences, times max(1, abs(weight)). Larger ones truncate more,
        smaller ones round more. Near a kink of an activation, and where the loss curves strongly,
        it is made smaller.
    max_per_parameter : int, default=None
        Check no more than so many elements of each parameter, drawn by ``seed``; None checks all.
    seed : int, default=0
        Key of that draw.
    tolerance : float, default=1e-7
        Largest relative error that passes.
    sample_weight : array of shape (N,), default=None
        What each sample counts for in the loss.

    Returns
    -------
    result : GradcheckResult
        ``result.passed``, ``result.max_error``, and a table when printed.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above, or x or y does not fit the model.

    Notes
    -----
    Central differences at steps h, h/2 and h/4 are extrapolated to one of sixth order. The error of
    an element is its difference relative to the larger of both values, but to no less than 1e-3
    of the parameter's largest gradient, and no less than 1e8 times what one rounding of the loss,
    or of the largest output, does to the quotient (6e-6 of it with the default ``eps``): smaller
    values only measure the rounding. Costs six forward passes an element. Layers do what they do in
    ``gradients``: Dropout drops the same values in every pass, BatchNorm takes the statistics of
    the batch.

    References
    ----------
    Richardson, The approximate arithmetical solution by finite differences, 1911.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.MLP(4, [5], 3, activation="tanh")
    >>> fm.gradcheck(model, [[0.5, -1.0, 2.0, 0.1]], [2]).passed
    True
    """
    eps = _checks.number(eps, "eps", minimum=1e-12)
    tolerance = _checks.number(tolerance, "tolerance", minimum=0.0)
    limit = math.inf
    if max_per_parameter is not None:
        limit = _checks.integer(max_per_parameter, "max_per_parameter", minimum=1)
    chosen = losses.get(getattr(model, "loss", "cross_entropy") if loss is None else loss)
    network = model.copy("float64")
    samples, targets = network.data(x, y, chosen)
    network.check_batches(len(samples), len(samples))
    weights = network.weights(sample_weight, len(samples), chosen)
    base, gradients = engine(network).gradients(chosen, samples, targets, weights=weights)
    network.to_plain()
    real = network.integers_below is None
    if real and (samples.dtype != network.dtype or network.scale != 1):
        samples = samples * network.dtype.type(network.scale)
    probe = _Probe(network, chosen, samples, targets, weights)

    # A small loss is a difference of large outputs, and as exact as they are.
    magnitude = max(abs(base), probe.largest_output)

    errors, checked, kinks = {}, {}, {}
    for index, (name, gradient) in enumerate(gradients.items()):
        value = network.named_parameters[name].plain().reshape(-1)
        analytic = gradient.reshape(-1)
        elements = range(value.size)
        if value.size > limit:
            elements = _random.permutation(seed, index, value.size)[: int(limit)].tolist()
        small = 1e-3 * float(np.abs(analytic).max())
        errors[name], checked[name], kinks[name] = math.nan, 0, 0
        for element in elements:
            found = _derivative(probe, value, element, eps, tolerance, small, magnitude)
            if found is None:
                kinks[name] += 1
                continue
            numeric, rounding = found
            exact = float(analytic[element])
            scale = max(abs(exact), abs(numeric), small, _MEASURABLE * rounding)
            error = abs(exact - numeric) / scale if scale else 0.0
            errors[name] = error if not checked[name] else max(errors[name], error)
            checked[name] += 1
    return GradcheckResult(errors, checked, kinks, tolerance)


class _Probe:
    """The loss as a function of the network's weights, and which side of every kink it is on."""

    def __init__(
        self, network: Network, loss: losses.Loss, x: Array, y: Array, weights: Array | None
    ) -> None:
        # The quotients are those of the definition in numpy, whatever computed the gradients.
        self._x, self._y, self._weights, self._ops = x, y, weights, _backend.load("numpy")
        self._network, self._loss = network, loss
        # A training pass, as that of the gradients: the same masks in every one.
        training = Training(network.seed, updates=False)
        self._workspace = Workspace(network, len(self._x), training)
        self.largest_output = 0.0
        self.loss()
        self._sides = [sides.copy() for sides in self._current_sides()]

    def loss(self) -> float:
        """Return the loss at the current weights."""
        output = self._network.forward(self._ops, self._x, self._workspace)
        self.largest_output = max(self.largest_output, float(np.abs(output).max()))
        self._loss_sides = self._loss.kink_sides(output, self._y)
        dy, weights = self._workspace.dy, self._weights
        value = self._loss.measure(self._ops, output, self._y, dy, weights)[0]
        return value + self._network.penalty(self._ops)

    def crossed_kink(self) -> bool:
        """Return whether any activation is now on another side of its kink than at first."""
        pairs = zip(self._current_sides(), self._sides, strict=True)
        return any(not np.array_equal(now, before) for now, before in pairs)

    def _current_sides(self) -> list[Array]:
        sides = [layer.kink_sides(buffers) for layer, buffers in self._workspace.pairs]
        sides += [p.value > 0 for p in self._network.named_parameters.values() if p.penalty[0]]
        sides.append(self._loss_sides)
        return [side for side in sides if side is not None]


def _derivative(
    probe: _Probe,
    value: Array,
    element: int,
    eps: float,
    tolerance: float,
    small: float,
    magnitude: float,
) -> tuple[float, float] | None:
    """Return the derivative by one element and the rounding in it; None at a kink.

    The step is made smaller as long as the last two orders of the extrapolation differ by more than
    a tenth of the tolerance, and by less than before: where the loss curves strongly.
    """
    here = float(value[element])
    # A power of two: adding it loses as few bits as possible.
    step = 2.0 ** round(math.log2(eps * max(1.0, abs(here))))

    def central(h: float) -> float | None:
        ends = []
        for point in (here + h, here - h):
            value[element] = point
            ends.append(probe.loss())
            if probe.crossed_kink():
                return None
        return (ends[0] - ends[1]) / ((here + h) - (here - h))

    best = None
    try:
        for _ in range(_ATTEMPTS):
            result = _extrapolate(central, step)
            step /= 4
            rounding = 2.0**-52 * magnitude / step
            if result is None:
                continue
            derivative, difference = result
            if best is not None and difference >= best[0]:
                break
            best = difference, derivative, rounding
            if difference <= max(tolerance / 10 * max(abs(derivative), small), 10 * rounding):
                break
        return None if best is None else best[1:]
    finally:
        value[element] = here


def _extrapolate(
    central: Callable[[float], float | None], step: float
) -> tuple[float, float] | None:
    """Return the limit of central differences (Richardson), and how far the order before was off.

    None where one of them has none.
    """
    first, second, third = central(step), central(step / 2), central(step / 4)
    if first is None or second is None or third is None:
        return None
    fourth_order = (4 * second - first) / 3
    finer = (4 * third - second) / 3
    sixth_order = (16 * finer - fourth_order) / 15
    return sixth_order, abs(sixth_order - finer)
