"""The error of a gradient check over N."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ._figure import COLOURS, clean, make_axes, open_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["gradcheck"]

_SIZE = (6.0, 4.0)  # inches


class _Comparison(Protocol):
    """The two values of the gradient of an element."""

    @property
    def backpropagated(self) -> float: ...
    @property
    def quotient(self) -> float: ...


class _Curve(Protocol):
    """The attributes of a GradcheckCurve that are drawn."""

    @property
    def parameter(self) -> str: ...
    @property
    def n(self) -> Sequence[float]: ...
    @property
    def errors(self) -> Sequence[float]: ...
    @property
    def elements(self) -> Sequence[_Comparison]: ...
    @property
    def best(self) -> float: ...
    @property
    def best_error(self) -> float: ...
    @property
    def kinks(self) -> int: ...
    @property
    def passed(self) -> bool: ...


def gradcheck(curve: _Curve, ax: Axes | None = None) -> Axes:
    """Draw the largest difference of a gradient check over N, on logarithmic axes.

    Parameters
    ----------
    curve : GradcheckCurve
        What ``fm.gradcheck(model, x, y, layer=...)`` returned.
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
        If ``curve`` is not a GradcheckCurve, or ``ax`` is not an Axes.

    Notes
    -----
    A difference of exactly 0 has no place on a logarithmic axis. It is drawn as a triangle at the
    bottom.

    Examples
    --------
    >>> import fastmlp as fm
    >>> curve = fm.gradcheck(fm.MLP(4, [5], 3), [[0.5, -1.0, 2.0, 0.1]], [2], layer="dense_1")
    >>> ax = fm.plot.gradcheck(curve)  # doctest: +SKIP
    """
    if not all(hasattr(curve, name) for name in ("n", "errors", "parameter", "best_error")):
        raise TypeError(
            "curve must be what fm.gradcheck(model, x, y, layer=...) returns, got "
            f"{type(curve).__name__}."
        )
    ax = open_axes(make_axes(ax), *_SIZE)
    n, errors = np.array(curve.n, float), np.array(curve.errors, float)
    drawn = np.isfinite(errors) & (errors > 0)
    ax.set_xscale("log")
    ax.plot(
        n[drawn], errors[drawn], "o-", color=COLOURS[0], markersize=5, linewidth=1.6,
        label="largest difference" if drawn.any() else "_nothing",
    )  # fmt: skip
    ax.set_xlim(n.min() / 2, n.max() * 2)
    if drawn.any():
        ax.set_yscale("log")
        low, high = float(errors[drawn].min()), float(errors[drawn].max())
        ax.set_ylim(low / 30, high * 10)  # room for the label below the smallest error
        _mark_best(ax, curve)
    zero = errors == 0
    if zero.any():
        _mark_zeros(ax, n[zero], alone=not drawn.any())
    ax.set_xlabel("N (the step of the central difference is 1/N)")
    count = len(curve.elements)
    ax.set_ylabel(f"largest |difference| of {count} gradient{'' if count == 1 else 's'}")
    verdict = "gradients are correct" if curve.passed else "gradients are WRONG"
    if not any(each.backpropagated or each.quotient for each in curve.elements):
        verdict = "inconclusive, all gradients are 0"
    if curve.kinks == count:
        verdict = "not checked, all elements are at a kink"
    ax.set_title(f"{curve.parameter}: {verdict}", fontsize=10)
    clean(ax)
    return ax


def _mark_best(ax: Axes, curve: _Curve) -> None:
    best, error = curve.best, curve.best_error
    if not (math.isfinite(error) and error > 0):
        return
    ax.plot([best], [error], "o", color=COLOURS[1], markersize=10, fillstyle="none", label="_best")
    middle = math.sqrt(min(curve.n) * max(curve.n))
    ax.annotate(
        f"{error:.1e} at N = {best:,}".replace(",", " "), (best, error), xytext=(0, -14),
        textcoords="offset points", va="top", fontsize=9,
        ha="left" if best < middle / 100 else "right" if best > middle * 100 else "center",
    )  # fmt: skip


def _mark_zeros(ax: Axes, n: np.ndarray, *, alone: bool) -> None:
    place = ax.get_xaxis_transform()
    ax.plot(
        n, np.full(len(n), 0.03), "v", color=COLOURS[0], markersize=7, transform=place,
        label="difference of exactly 0", clip_on=False,
    )  # fmt: skip
    if alone:
        ax.set_yticks([])
    ax.legend(frameon=False, fontsize=9)
