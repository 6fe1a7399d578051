"""Where a classifier of points in the plane changes its mind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastmlp import _checks, losses
from fastmlp._types import Array
from fastmlp.network import Network

from ._figure import (
    COLOURS,
    MARKERS,
    class_colours,
    class_names,
    clean,
    light,
    make_axes,
    open_axes,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastmlp.model import Sequential

__all__ = ["decision_boundary"]

_SIZE = (6.0, 4.6)  # inches
_FINE = 300  # points a side, of which the outputs are computed
_MARGIN = 0.1  # of the data's range, around them
_INSIDE = 4  # classes: a legend of more stands beside


def decision_boundary(
    model: Sequential,
    x: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    ax: Axes | None = None,
    *,
    classes: Any = None,
) -> Axes:
    """Draw which class a model gives to every point around ``x``, and the points.

    Parameters
    ----------
    model : Sequential
        A classifier of two inputs: with one output a class (the largest wins), or with one output
        for two classes. That is cut at 0 for logits and for targets of -1 and +1, at 1/2 for a
        sigmoid and for targets of 0 and 1 without one.
    x : array of shape (N, 2)
        Points: they say what part of the plane is drawn.
    y : array of shape (N,), default=None
        Their labels; with one output 0 and 1, or -1 and +1. Also one-hot rows, or (N, 1). With None
        the points are drawn without classes.
    ax : matplotlib Axes, default=None
        Where; None makes a figure of pyplot.
    classes : list of str, default=None
        Names of the classes; None means their labels.

    Returns
    -------
    ax : matplotlib Axes

    Raises
    ------
    ImportError
        If matplotlib is missing: ``pip install "fastmlp[plot]"``.
    ValueError
        If the model has not two inputs and outputs of classes, or the data do not fit.
    TypeError
        If an argument is of another kind.

    Examples
    --------
    >>> import fastmlp as fm
    >>> x, y = fm.datasets.make_moons(200, noise=0.2)
    >>> model = fm.MLP(2, [20], 2, activation="tanh")
    >>> history = model.fit(x, y, epochs=200, optimizer=fm.SGD(0.1), verbose=0)
    >>> ax = fm.plot.decision_boundary(model, x, y)  # doctest: +SKIP
    """
    _check_model(model)
    points = _checks.features(x, model.input_shape, np.dtype(np.float64))
    outputs = model.output_shape[0]
    count = max(2, outputs)
    labels, values = _labels(model, y, len(points))
    names = values if classes is None else class_names(classes, count)
    ax = make_axes(ax)
    cut = _threshold(model, signs=values[0] == "-1")

    across, up = (_around(points[:, i]) for i in range(2))
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    scores = _scores(model.predict(grid), cut).reshape(_FINE, _FINE, count)
    ax = open_axes(ax, *_SIZE)
    colours = class_colours(count)
    _regions(ax, across, up, scores, colours)
    if labels is None:
        ax.plot(points[:, 0], points[:, 1], ".", color="black", markersize=4, label="x")
    else:
        _points(ax, points, labels, colours, names)
        right = _scores(model.predict(points), cut).argmax(axis=1) == labels
        ax.set_title(f"{right.mean():.1%} of {len(points):,} points right".replace(",", " "),
                     fontsize=10)  # fmt: skip
    _legend(ax, colours, names, drawn=labels is not None)
    columns = [str(name) for name in getattr(x, "columns", ("$x_1$", "$x_2$"))]
    ax.set_xlabel(columns[0])
    ax.set_ylabel(columns[1])
    clean(ax)
    ax.grid(visible=False)
    return ax


def _check_model(model: Any) -> None:
    if not isinstance(model, Network):
        raise TypeError(f"model must be a fastmlp model, got {type(model).__name__}.")
    if model.input_shape != (2,):
        raise ValueError(
            "model must take two inputs, input_shape (2,), so that a plane shows them all, got "
            f"input_shape {model.input_shape}."
        )
    if len(model.output_shape) != 1:
        raise ValueError(
            "model must have outputs of classes, of shape (classes,) or (1,), got "
            f"{model.output_shape}."
        )
    if model.integers_below is not None:
        raise ValueError("model must take real numbers, got one that takes integers.")


def _labels(model: Network, y: Any, n: int) -> tuple[Array | None, list[str]]:
    """Return class numbers of the points, and how users write the classes."""
    outputs = model.output_shape[0]
    plain = [str(index) for index in range(max(2, outputs))]
    if y is None:
        return None, plain
    given = _checks.array(y, "y")
    if given.ndim == 2 and given.shape[1] == 1:
        given = given[:, 0]
    if outputs > 1:
        return _checks.hard_labels(given, n, outputs, np.dtype(np.float64)), plain
    if given.shape != (n,):
        raise ValueError(f"y must have one label a point, shape ({n},), got {given.shape}.")
    wrong = ~np.isin(given, (-1, 0, 1))
    if (given == -1).any():
        wrong |= given == 0
        plain = ["-1", "1"]
    if wrong.any():
        index = int(wrong.argmax())
        raise ValueError(
            "y must hold labels 0 and 1, or -1 and 1, for a model of one output, got "
            f"{given[index].item()!r} at index {index}."
        )
    return np.asarray(given > 0, np.int64), plain


def _threshold(model: Network, *, signs: bool) -> float:
    """Return where one output is cut, given whether the labels are -1 and +1."""
    activation = model.output_activation
    if activation == "sigmoid":
        return 0.5
    logits = isinstance(getattr(model, "loss", None), losses.BinaryCrossEntropy)
    return 0.0 if logits or signs or activation == "tanh" else 0.5


def _scores(outputs: Array, cut: float) -> Array:
    """Return a score for each class, (N, C): the largest wins."""
    if outputs.shape[1] > 1:
        return outputs
    above = outputs - cut
    return np.concatenate([-above, above], axis=1)


def _around(values: Array) -> Array:
    """Return coordinates from a little below the smallest value to a little above the largest."""
    low, high = float(values.min()), float(values.max())
    margin = _MARGIN * (high - low) or max(1.0, abs(low))
    return np.linspace(low - margin, high + margin, _FINE)


def _regions(ax: Axes, across: Array, up: Array, scores: Array, colours: list[Any]) -> None:
    """Fill each class's part of the plane, and draw the lines between them."""
    from matplotlib.colors import ListedColormap

    winner = scores.argmax(axis=2)
    shades = ListedColormap([light(colour, 0.3) for colour in colours])
    extent = (across[0], across[-1], up[0], up[-1])
    ax.imshow(
        winner, origin="lower", extent=extent, aspect="auto", interpolation="nearest",
        cmap=shades, vmin=-0.5, vmax=len(colours) - 0.5,
    )  # fmt: skip
    for number in range(scores.shape[2] if scores.shape[2] > 2 else 1):
        own = winner == number
        if own.any() and not own.all():
            others = np.delete(scores, number, axis=2).max(axis=2)
            lead = scores[..., number] - others
            ax.contour(across, up, lead, levels=[0.0], colors="0.2", linewidths=1.1)


def _points(ax: Axes, points: Array, labels: Array, colours: list[Any], names: list[str]) -> None:
    small = 24 if len(points) <= 800 else 10 if len(points) <= 3000 else 4
    for number in np.unique(labels):
        own = points[labels == number]
        ax.scatter(
            own[:, 0], own[:, 1], s=small, marker=MARKERS[number % len(MARKERS)],
            color=[colours[number]], edgecolors="white", linewidths=0.5, label=names[number],
        )  # fmt: skip
        if len(names) > len(COLOURS):  # a colour is there twice
            from matplotlib.patheffects import withStroke

            middle = np.median(own, axis=0)
            ax.text(
                middle[0], middle[1], shorten(names[number], 12), ha="center", va="center",
                fontweight="bold", path_effects=[withStroke(linewidth=3, foreground="white")],
            )  # fmt: skip


def _legend(ax: Axes, colours: list[Any], names: list[str], *, drawn: bool) -> None:
    from matplotlib.patches import Patch

    shown = [shorten(name, 24) for name in names]
    beside: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0)}
    columns = -(-len(names) // 20)
    if drawn:
        handles, found = ax.get_legend_handles_labels()
        shown = [shorten(name, 24) for name in found]
    else:
        handles = [Patch(facecolor=light(c, 0.3), edgecolor="0.2") for c in colours]
    ax.legend(
        handles, shown, title="class", frameon=False, fontsize=9, borderaxespad=0.0, ncols=columns,
        **beside,
    )  # fmt: skip
