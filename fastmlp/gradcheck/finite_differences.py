"""Difference quotients of a model's loss, in float64 and on the reference: what gradients must be.

``gradcheck.py`` looks at all parameters, ``gradcheck_curve.py`` at a few elements and many steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastmlp import _backend, losses
from fastmlp._engines import engine
from fastmlp._engines.layerwise import Workspace, forward
from fastmlp.layers.base import Training
from fastmlp.network import Network

__all__ = ["Comparison", "Subject"]

Array = npt.NDArray[Any]

# Steps tried to get away from a kink, each a quarter of the one before.
_ATTEMPTS = 5
# Gradients that the rounding of the loss changes by more than 1e-8 of themselves are too small to
# be measured against themselves.
_MEASURABLE = 1e8


class Comparison(NamedTuple):
    """One element's gradient, backpropagated and as a difference quotient.

    Attributes
    ----------
    element : int
        Its place in the parameter, row by row.
    backpropagated : float
        The gradient of the model.
    quotient : float
        The limit of its central differences; NaN at a kink.
    error : float
        How far they are apart, relative to the larger of both but to no less than rounding allows;
        infinite if either is not a number, 0 at a kink.
    at_a_kink : bool
        Whether the smallest step still crossed a point where a derivative jumps.
    """

    element: int
    backpropagated: float
    quotient: float
    error: float
    at_a_kink: bool = False


class Subject:
    """A float64 copy of a model, its gradients for a few samples, and its loss as a function.

    Parameters
    ----------
    model : Network
        The model; it is not changed, whatever happens.
    x, y, sample_weight
        As for ``gradcheck``.
    loss : Loss
        The loss.

    Attributes
    ----------
    gradients : dict of str to array
        Those of the model's backend.
    """

    def __init__(
        self, model: Network, x: Any, y: Any, loss: losses.Loss, sample_weight: Any
    ) -> None:
        network = model.copy("float64")
        samples, targets = network.data(x, y, loss)
        network.check_batches(len(samples), len(samples))
        weights = network.weights(sample_weight, len(samples), loss)
        base, self.gradients = engine(network).gradients(loss, samples, targets, weights=weights)
        network.to_plain()
        real = network.integers_below is None
        if real and (samples.dtype != network.dtype or network.scale != 1):
            samples = samples * network.dtype.type(network.scale)
        self.network = network
        self._probe = _Probe(network, loss, samples, targets, weights)
        # A small loss is a difference of large outputs, and as exact as they are.
        self._magnitude = max(abs(base), self._probe.largest_output)

    def compare(
        self, name: str, elements: Sequence[int], eps: float, tolerance: float
    ) -> list[Comparison]:
        """Compare the gradients of some elements of a parameter with the best quotients there are.

        ``eps`` is the first step, times max(1, abs(weight)); ``tolerance`` is the error that will
        be looked for.
        """
        value, gradient = self._value(name), self.gradients[name].reshape(-1)
        small = 1e-3 * float(np.abs(gradient).max())
        results = []
        for element in elements:
            exact = float(gradient[element])
            found = _derivative(self._probe, value, element, eps, tolerance, small, self._magnitude)
            if found is None:
                results.append(Comparison(element, exact, math.nan, 0.0, at_a_kink=True))
                continue
            numeric, rounding = found
            scale = max(abs(exact), abs(numeric), small, _MEASURABLE * rounding)
            error = abs(exact - numeric) / scale if scale else 0.0
            error = math.inf if math.isnan(error) else error
            results.append(Comparison(element, exact, numeric, error))
        return results

    def central_difference(self, name: str, element: int, step: float) -> float:
        """Return the plain difference quotient of one step up and one down; NaN if none is seen."""
        value = self._value(name)
        here = float(value[element])
        up, down = here + step, here - step
        if up == down:
            return math.nan
        ends = []
        try:
            for point in (up, down):
                value[element] = point
                with np.errstate(over="ignore", invalid="ignore"):  # of very large steps
                    ends.append(self._probe.loss())
        finally:
            value[element] = here
        return (ends[0] - ends[1]) / (up - down)

    def _value(self, name: str) -> Array:
        return self.network.named_parameters[name].plain().reshape(-1)


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
        output = forward(self._ops, self._x, self._workspace)
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
