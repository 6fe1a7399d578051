"""Difference quotients of a model's loss, in float64 with the operations of ``fastmlp.reference``.

``fastmlp.gradcheck`` compares all parameters with them, ``fastmlp.gradcheck.curve`` a few elements
at many steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastmlp import _backend, losses
from fastmlp._engines import engine
from fastmlp._engines.layerwise import Workspace, forward
from fastmlp._types import Array
from fastmlp.layers.base import Training
from fastmlp.network import Network

__all__ = ["Comparison", "Subject"]

# Number of steps that are tried to avoid a kink, each a quarter of the one before.
_ATTEMPTS = 5
# The relative error of a gradient is meaningful if the rounding of the loss changes it by less than
# 1e-8; smaller gradients are compared relative to this multiple of the rounding error.
_MEASURABLE = 1e8


class Comparison(NamedTuple):
    """The gradient of one element, backpropagated and as a difference quotient.

    Attributes
    ----------
    element : int
        Index of the element in the flattened parameter.
    backpropagated : float
        The gradient of the model.
    quotient : float
        The limit of its central differences; NaN at a kink.
    error : float
        The difference of the two, divided by the larger one, but not by less than rounding can
        resolve. Infinite if either is NaN, 0 at a kink.
    at_a_kink : bool
        Whether even the smallest step crossed a point where a derivative jumps.
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
        The model, which is never changed.
    x, y, sample_weight
        As for ``gradcheck``.
    loss : Loss
        The loss.

    Attributes
    ----------
    gradients : dict of str to array
        The gradients that the model's backend computes.
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
        # A small loss may be a difference of large outputs, whose rounding error it has.
        self._magnitude = max(abs(base), self._probe.largest_output)

    def compare(
        self, name: str, elements: Sequence[int], eps: float, tolerance: float
    ) -> list[Comparison]:
        """Compare the gradients of some elements of a parameter with extrapolated quotients.

        ``eps`` is the first step, times max(1, abs(weight)). ``tolerance`` is the largest error
        that passes; it decides how accurate the quotients have to be.
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
        """Return the plain central difference of one step up and one down.

        NaN if the step is too small to change the weight.
        """
        value = self._value(name)
        here = float(value[element])
        up, down = here + step, here - step
        if up == down:
            return math.nan
        ends = []
        try:
            for point in (up, down):
                value[element] = point
                with np.errstate(over="ignore", invalid="ignore"):  # with very large steps
                    ends.append(self._probe.loss())
        finally:
            value[element] = here
        return (ends[0] - ends[1]) / (up - down)

    def _value(self, name: str) -> Array:
        return self.network.named_parameters[name].plain().reshape(-1)


class _Probe:
    """The loss as a function of the network's weights, and which smooth piece every value is on."""

    def __init__(
        self, network: Network, loss: losses.Loss, x: Array, y: Array, weights: Array | None
    ) -> None:
        # The loss is computed by the reference, whatever backend computed the gradients.
        self._x, self._y, self._weights, self._ops = x, y, weights, _backend.load("numpy")
        self._network, self._loss = network, loss
        # Training passes like the one that computed the gradients, with the same dropout masks.
        training = Training(network.seed, updates=False)
        self._workspace = Workspace(network, len(self._x), training)
        self.largest_output = 0.0
        self.loss()
        self._pieces = [pieces.copy() for pieces in self._current_pieces()]

    def loss(self) -> float:
        """Return the loss at the current weights."""
        output = forward(self._ops, self._x, self._workspace)
        self.largest_output = max(self.largest_output, float(np.abs(output).max()))
        self._loss_pieces = self._loss.active_pieces(output, self._y)
        dy, weights = self._workspace.dy, self._weights
        value = self._loss.measure(self._ops, output, self._y, dy, weights)[0]
        return value + self._network.penalty(self._ops)

    def crossed_kink(self) -> bool:
        """Return whether any value is on another smooth piece than at the start."""
        pairs = zip(self._current_pieces(), self._pieces, strict=True)
        return any(not np.array_equal(now, before) for now, before in pairs)

    def _current_pieces(self) -> list[Array]:
        """Return the active pieces of all layers, L1 penalties and the loss."""
        found = [layer.active_pieces(buffers) for layer, buffers in self._workspace.pairs]
        found += [p.value > 0 for p in self._network.named_parameters.values() if p.penalty[0]]
        found.append(self._loss_pieces)
        return [pieces for pieces in found if pieces is not None]


def _derivative(
    probe: _Probe,
    value: Array,
    element: int,
    eps: float,
    tolerance: float,
    small: float,
    magnitude: float,
) -> tuple[float, float] | None:
    """Return the derivative with respect to one element and its rounding error; None at a kink.

    The step shrinks as long as the last two orders of the extrapolation differ by more than a tenth
    of the tolerance and by less than before. That is needed where the loss curves strongly.
    """
    here = float(value[element])
    # A power of two, because adding it loses as few bits as possible.
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
    """Return the limit of central differences (Richardson), and how far it is from the lower order.

    None if one of the central differences does not exist.
    """
    first, second, third = central(step), central(step / 2), central(step / 4)
    if first is None or second is None or third is None:
        return None
    fourth_order = (4 * second - first) / 3
    finer = (4 * third - second) / 3
    sixth_order = (16 * finer - fourth_order) / 15
    return sixth_order, abs(sixth_order - finer)
