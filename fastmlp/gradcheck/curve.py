"""Gradients of a few elements compared with central differences at many steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp import _checks, _random
from fastmlp._types import Shape
from fastmlp.gradcheck.finite_differences import Comparison, Subject
from fastmlp.layers import Layer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["STEPS", "GradcheckCurve", "check_choice", "check_steps", "choose", "curve"]

STEPS: tuple[float, ...] = tuple(k * 10**i for i in range(6) for k in (1, 5))
"""The default N: 1, 5, 10, 50, ..., 500 000."""

_CHOICES = ("first", "random")


@dataclass(frozen=True)
class GradcheckCurve:
    """The result of ``gradcheck(..., layer=...)``; ``print`` it for the verdict and a table.

    Attributes
    ----------
    parameter : str
        Name of the parameter.
    n : tuple of float
        The N, in ascending order: the step of a central difference is 1/N.
    errors : tuple of float
        For each N the largest absolute difference between a backpropagated gradient and its central
        difference. NaN if a step was too small to change a weight, or the loss was not finite.
    elements : tuple of Comparison
        For each element its index in the flattened parameter, the gradient of the model, the limit
        of its difference quotients and their relative error. The verdict comes from these, so it
        does not depend on the N.
    shape : tuple of int
        Shape of the parameter.
    tolerance : float
        Largest relative error that passes.
    suspects : tuple of str
        If the check failed: the layers one of which must be wrong, judged by the gradients above
        them that are right.
    """

    parameter: str
    n: tuple[float, ...]
    errors: tuple[float, ...]
    elements: tuple[Comparison, ...]
    shape: Shape
    tolerance: float
    suspects: tuple[str, ...] = ()

    @property
    def best(self) -> float:
        """The N with the smallest error; NaN if there is none."""
        return min(self._finite(), default=(math.nan, math.nan))[1]

    @property
    def best_error(self) -> float:
        """The smallest error; NaN if there is none."""
        return min(self._finite(), default=(math.nan, math.nan))[0]

    @property
    def wrong(self) -> tuple[Comparison, ...]:
        """The elements whose relative error exceeds the tolerance, the worst first."""
        found = [each for each in self.elements if each.error > self.tolerance]
        return tuple(sorted(found, key=lambda each: -each.error))

    @property
    def kinks(self) -> int:
        """Number of elements at a kink, where no difference quotient says anything."""
        return sum(each.at_a_kink for each in self.elements)

    @property
    def passed(self) -> bool:
        """Whether some elements could be compared and none of them is wrong."""
        return self.kinks < len(self.elements) and not self.wrong

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the errors over N; see ``fastmlp.plot.gradcheck``.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None creates a pyplot figure.

        Returns
        -------
        ax : matplotlib Axes

        Raises
        ------
        ImportError
            If matplotlib is missing: ``pip install "fastmlp[plot]"``.
        TypeError
            If ``ax`` is not an Axes.
        """
        from fastmlp import plot  # imported lazily: it needs matplotlib

        return plot.gradcheck(self, ax=ax)

    def place(self, element: int) -> str:
        """Return the name of an element, for example "dense_0.weight[0, 3]"."""
        index = np.unravel_index(element, self.shape)
        return f"{self.parameter}[{', '.join(str(int(i)) for i in index)}]"

    def _finite(self) -> list[tuple[float, float]]:
        pairs = zip(self.errors, self.n, strict=True)
        return [(error, n) for error, n in pairs if math.isfinite(error)]

    def __repr__(self) -> str:
        return "\n".join([*self._verdict(), *self._table(), *self._wrong_ones()])

    def _verdict(self) -> list[str]:
        count, kinks, wrong = len(self.elements), self.kinks, len(self.wrong)
        elements = "element" if count == 1 else "elements"
        what = f"gradcheck of {self.parameter}, {count} {elements}"
        if kinks == count:
            return [f"{what}, FAILED: all are at a kink, where no gradient can be checked."]
        verdict = "passed: the gradients are right."
        zero = not any(each.backpropagated or each.quotient for each in self.elements)
        if zero:
            verdict = "passed, but all gradients are 0."
        if wrong:
            verdict = f"FAILED: {wrong} of {count} gradients {'is' if wrong == 1 else 'are'} wrong."
        lines = [f"{what}, {verdict}"]
        if kinks:
            lines.append(f"{kinks} at a kink could not be checked.")
        if zero:
            lines.append(
                'That says little: try other elements (elements="random") or other samples.'
            )
        return lines

    def _table(self) -> list[str]:
        width = max(len("N"), *(len(_plain(n)) for n in self.n))
        lines = [f"{'N':>{width}}  largest difference with steps of 1/N"]
        for n, error in zip(self.n, self.errors, strict=True):
            mark = "  smallest" if n == self.best else ""
            lines.append(f"{_plain(n):>{width}}  {error:.2e}{mark}")
        return lines

    def _wrong_ones(self) -> list[str]:
        if not self.wrong:
            return []
        places = [self.place(each.element) for each in self.wrong]
        width = max(map(len, ["wrong", *places]))
        lines = [f"{'wrong':<{width}}  backpropagated  difference quotient  relative error"]
        lines += [
            f"{place:<{width}}  {each.backpropagated:14.7g}  {each.quotient:19.7g}  "
            f"{each.error:14.1e}"
            for place, each in zip(places, self.wrong, strict=True)
        ]
        lines.append(f"Check the backward pass of {_alternatives(self.suspects)}.")
        return lines


def check_steps(n: Any) -> tuple[float, ...]:
    """Return the distinct N in ascending order.

    Raises
    ------
    ValueError
        If there are none, or one is not finite and above 0.
    TypeError
        If n is not a list of numbers.
    """
    if isinstance(n, (str, bytes)) or not isinstance(n, Iterable):
        raise TypeError(f"n must be a list of numbers, got {n!r}.")
    values = []
    for index, value in enumerate(n):
        number = _checks.positive(value, f"n[{index}]")
        values.append(int(number) if number.is_integer() and number < 1e15 else number)
    if not values:
        raise ValueError("n must contain at least one number, got an empty list.")
    return tuple(sorted(set(values)))


def choose(size: int, count: int, elements: str, seed: int) -> list[int]:
    """Return the indices of ``count`` elements to look at, or of all if ``size`` is smaller."""
    if elements == "first":
        return list(range(min(size, count)))
    return [int(i) for i in _random.permutation(seed, 0, size)[:count]]


def check_choice(elements: Any) -> str:
    """Return how elements are chosen.

    Raises
    ------
    ValueError, TypeError
        If it is neither "first" nor "random".
    """
    return _checks.lookup(elements, {name: name for name in _CHOICES}, "elements")


def curve(
    subject: Subject,
    parameter: str,
    elements: Sequence[int],
    n: tuple[float, ...],
    eps: float,
    tolerance: float,
) -> GradcheckCurve:
    """Return the comparison of some elements of a parameter; the arguments are checked."""
    gradient = subject.gradients[parameter]
    compared = subject.compare(parameter, elements, eps, tolerance)
    flat = gradient.reshape(-1)
    # At a kink the quotients do not converge to the gradient.
    usable = [each.element for each in compared if not each.at_a_kink]
    errors = []
    for value in n:
        differences = [
            abs(float(flat[i]) - subject.central_difference(parameter, i, 1.0 / value))
            for i in usable
        ]
        errors.append(float(np.max(differences)) if differences else math.nan)
    result = GradcheckCurve(parameter, n, tuple(errors), tuple(compared), gradient.shape, tolerance)
    if not result.wrong:
        return result
    suspects = _suspects(subject, parameter, len(elements), eps, tolerance)
    return GradcheckCurve(
        parameter, n, tuple(errors), tuple(compared), gradient.shape, tolerance, suspects
    )


def _suspects(
    subject: Subject, parameter: str, count: int, eps: float, tolerance: float
) -> tuple[str, ...]:
    """Return the layers one of which is wrong, from the wrong one up to one that is right.

    If the gradients of a layer's parameters are right, so is the gradient that reached the layer.
    """
    layers = subject.network.layers
    own = next(layer for layer in layers if parameter in {p.name for p in layer.parameters})
    names: list[str] = []
    for layer in layers[own.number :]:
        names.append(layer.name)
        others = [p.name for p in layer.parameters if p.name != parameter]
        if _any_right(subject, layer, others, count, eps, tolerance):
            return tuple(names)
    return (*names, "the loss")


def _any_right(
    subject: Subject, layer: Layer, names: list[str], count: int, eps: float, tolerance: float
) -> bool:
    """Return whether the largest gradients of any of the parameters are nonzero and right."""
    for name in names:
        gradient = np.abs(subject.gradients[name].reshape(-1))
        largest = np.argsort(-gradient, kind="stable")[:count]
        compared = subject.compare(name, [int(i) for i in largest], eps, tolerance)
        known = [each for each in compared if not each.at_a_kink and each.backpropagated]
        if known and all(each.error <= tolerance for each in known):
            return True
    return False


def _alternatives(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _plain(n: float) -> str:
    return str(n) if isinstance(n, int) else f"{n:g}"
