"""The decision boundary of a classifier of 2-D points."""

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
_FINE = 300  # grid points per side
_MARGIN = 0.1  # margin around the data, as a share of their range


def decision_boundary(
    model: Sequential,
    x: npt.ArrayLike,
    y: npt.ArrayLike | None = None,
    ax: Axes | None = None,
    *,
    classes: Any = None,
) -> Axes:
    """Draw the class that a model predicts for every point around ``x``, and the points.

    Parameters
    ----------
    model : Sequential
        A classifier with two inputs. It has one output per class (the largest wins), or a single
        output for two classes. The threshold of a single output is 0 for logits and for targets -1
        and +1; it is 1/2 for a sigmoid, and for targets 0 and 1 without a sigmoid.
    x : array of shape (N, 2)
        Points, which determine the part of the plane that is drawn.
    y : array of shape (N,), default=None
        Labels of the points; for a single output 0 and 1, or -1 and +1. One-hot rows and shape
        (N, 1) are accepted too. With None the points are drawn without classes.
    ax : matplotlib Axes, default=None
        Axes to draw on; None makes a pyplot figure.
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
        If the model does not have two inputs and one output per class, or the data do not fit it.
    TypeError
        If an argument has the wrong type.

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
        title = f"{right.mean():.1%} of {len(points):,} points correct"
        ax.set_title(title.replace(",", " "), fontsize=10)
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
            "model must have input_shape (2,), because the plot is a plane, got "
            f"{model.input_shape}."
        )
    if len(model.output_shape) != 1:
        raise ValueError(
            "model must have output_shape (classes,) or (1,), to predict classes, got "
            f"{model.output_shape}."
        )
    if model.integers_below is not None:
        raise ValueError("model must take real numbers, got a model that takes integers.")


def _labels(model: Network, y: Any, n: int) -> tuple[Array | None, list[str]]:
    """Return the class numbers of the points, and the user's labels of the classes as text."""
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
        raise ValueError(f"y must have shape ({n},), one label per point, got {given.shape}.")
    wrong = ~np.isin(given, (-1, 0, 1))
    if (given == -1).any():
        wrong |= given == 0
        plain = ["-1", "1"]
    if wrong.any():
        index = int(wrong.argmax())
        raise ValueError(
            "y must hold labels 0 and 1, or -1 and 1, for a model with one output, got "
            f"{given[index].item()!r} at index {index}."
        )
    return np.asarray(given > 0, np.int64), plain


def _threshold(model: Network, *, signs: bool) -> float:
    """Return the threshold of a single output; ``signs`` means that the labels are -1 and +1."""
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
    """Fill the region of each class and draw the boundaries."""
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
        if len(names) > len(COLOURS):  # colours repeat, so write the class names too
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
