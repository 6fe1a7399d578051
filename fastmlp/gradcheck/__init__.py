"""Comparison of a model's gradients with finite differences."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy.typing as npt

from fastmlp import _checks, _random, losses
from fastmlp.gradcheck.curve import (
    STEPS,
    GradcheckCurve,
    check_choice,
    check_steps,
    choose,
    curve,
)
from fastmlp.gradcheck.finite_differences import Subject
from fastmlp.layers import Layer
from fastmlp.network import Network, find_parameter

__all__ = ["GradcheckCurve", "GradcheckResult", "gradcheck"]


@dataclass(frozen=True)
class GradcheckResult:
    """The result of ``gradcheck`` for all parameters; ``print`` it for a table.

    Attributes
    ----------
    errors : dict of str to float
        Largest relative error of each parameter's gradient; NaN if no element could be checked.
    checked : dict of str to int
        Number of elements of each parameter that were compared.
    kinks : dict of str to int
        Number of elements at a kink. Even the smallest step moved an activation across a point
        where its derivative jumps, so the difference quotient says nothing about the gradient.
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
        """Whether some elements were checked and no error exceeds the tolerance."""
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


@overload
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
) -> GradcheckResult: ...


@overload
def gradcheck(
    model: Network,
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    loss: str | losses.Loss | None = None,
    eps: float = 2.0**-6,
    max_per_parameter: None = None,
    seed: int = 0,
    tolerance: float = 1e-7,
    sample_weight: npt.ArrayLike | None = None,
    *,
    layer: str | int | Layer,
    n: Sequence[float] | None = None,
    count: int | None = None,
    elements: str | None = None,
) -> GradcheckCurve: ...


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
    *,
    layer: str | int | Layer | None = None,
    n: Sequence[float] | None = None,
    count: int | None = None,
    elements: str | None = None,
) -> GradcheckResult | GradcheckCurve:
    """Compare the gradients of a model with central differences, in float64.

    Parameters
    ----------
    model : Sequential
        The model, which is not changed. The check runs on a float64 copy: it compares the gradients
        of the model's backend with losses computed by ``fastmlp.reference``.
    x, y : array
        A few samples and their targets.
    loss : str or Loss, default=None
        The loss; None means the loss of the model.
    eps : float, default=2**-6
        First step of the differences, times max(1, abs(weight)). Larger steps have a larger
        truncation error, smaller steps a larger rounding error. The step shrinks near a kink of an
        activation, and where the loss curves strongly.
    max_per_parameter : int, default=None
        Maximum number of elements to check per parameter, drawn by ``seed``; None checks all.
    seed : int, default=0
        Non-negative random seed for this draw.
    tolerance : float, default=1e-7
        Largest relative error that passes.
    sample_weight : array of shape (N,), default=None
        Weights of the samples in the loss.
    layer : str, int or Layer, default=None
        Look closely at one parameter instead of all. It is given by its name ("dense_1.weight"), or
        by the name, number or object of a layer, which means the layer's weight.
    n : list of float, default=None
        With ``layer``: the N of the steps 1/N. None means k * 10**i for i in 0..5 and k in 1, 5.
    count : int, default=None
        With ``layer``: number of elements to look at, or all if there are fewer. None means 10.
    elements : {"first", "random"}, default=None
        With ``layer``: which elements, the first ones or random ones drawn by ``seed``. None means
        "first".

    Returns
    -------
    result : GradcheckResult
        ``result.passed``, ``result.max_error``, and a table when printed.
    curve : GradcheckCurve
        Returned instead with ``layer``: the largest difference for every N (``curve.n`` and
        ``curve.errors``), ``curve.passed`` and ``curve.plot()``. It prints the verdict, a table
        and the wrong elements.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described above, x or y does not fit the model, or there is no such
        layer.

    Notes
    -----
    Central differences at the steps h, h/2 and h/4 are extrapolated to sixth order. The error of an
    element is the difference of both values divided by the larger one. The divisor is at least 1e-3
    of the parameter's largest gradient, and at least 1e8 times the effect on the quotient of one
    rounding of the loss or of the largest output (6e-6 of it with the default ``eps``), because
    smaller values only measure rounding. Each element costs six forward passes. Layers behave as in
    ``gradients``: Dropout drops the same values in every pass, and BatchNorm uses the statistics of
    the batch.

    With ``layer``, the plain central differences ``(L(w + 1/N) - L(w - 1/N)) / (2/N)`` are compared
    as well. On logarithmic axes their error over N is a V: the truncation error, proportional to
    1/N**2, falls on the left; the rounding error of the losses, proportional to N, rises on the
    right. A wrong gradient shows as a floor that no N gets below. The verdict comes from the
    extrapolated differences, so it does not depend on ``n``. If it fails, the gradients of the
    layers above show which backward pass may be wrong.

    References
    ----------
    Richardson, The approximate arithmetical solution by finite differences, 1911.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.MLP(4, [5], 3, activation="tanh")
    >>> fm.gradcheck(model, [[0.5, -1.0, 2.0, 0.1]], [2]).passed
    True
    >>> curve = fm.gradcheck(model, [[0.5, -1.0, 2.0, 0.1]], [2], layer="dense_1", n=[10, 1000])
    >>> curve.passed, curve.errors[1] < curve.errors[0]
    (True, True)
    """
    eps = _checks.number(eps, "eps", minimum=1e-12)
    tolerance = _checks.number(tolerance, "tolerance", minimum=0.0)
    limit = math.inf
    if max_per_parameter is not None:
        limit = _checks.integer(max_per_parameter, "max_per_parameter", minimum=1)
    chosen = losses.get(getattr(model, "loss", "cross_entropy") if loss is None else loss)
    if layer is not None:
        if max_per_parameter is not None:
            raise ValueError("max_per_parameter cannot be combined with layer; use count instead.")
        parameter = find_parameter(model, layer)
        steps = STEPS if n is None else check_steps(n)
        how_many = _checks.integer(10 if count is None else count, "count", minimum=1)
        choice = check_choice("first" if elements is None else elements)
        subject = Subject(model, x, y, chosen, sample_weight)
        size = math.prod(subject.network.parameter_shapes[parameter])
        places = choose(size, how_many, choice, seed)
        return curve(subject, parameter, places, steps, eps, tolerance)
    for name, value in {"n": n, "count": count, "elements": elements}.items():
        if value is not None:
            known = ", ".join(model.parameter_shapes)
            raise ValueError(f"{name} requires layer: a layer, or one of the parameters {known}.")
    return _all(Subject(model, x, y, chosen, sample_weight), limit, seed, eps, tolerance)


def _all(
    subject: Subject, limit: float, seed: int, eps: float, tolerance: float
) -> GradcheckResult:
    """Compare the gradients of all parameters, for up to ``limit`` elements each."""
    errors, checked, kinks = {}, {}, {}
    for index, (name, gradient) in enumerate(subject.gradients.items()):
        elements: Sequence[int] = range(gradient.size)
        if gradient.size > limit:
            elements = _random.permutation(seed, index, gradient.size)[: int(limit)].tolist()
        compared = subject.compare(name, elements, eps, tolerance)
        known = [each.error for each in compared if not each.at_a_kink]
        errors[name] = max(known, default=math.nan)
        checked[name], kinks[name] = len(known), len(compared) - len(known)
    return GradcheckResult(errors, checked, kinks, tolerance)
