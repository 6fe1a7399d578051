"""The confusion matrix as a plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastmlp import metrics
from fastmlp._types import Array

from ._figure import colour_bar, make_axes, name_list, open_axes, shorten, size_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["confusion_matrix"]

_NUMBERED = 40  # largest number of classes with counts in the cells
_LONGEST = 24  # characters of a name


def confusion_matrix(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    classes: Any = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw how often each true class (row) was predicted as each class (column).

    Parameters
    ----------
    y_true, y_pred : array of shape (N,)
        Labels, as integers or strings. For a model with one output per class, the predicted labels
        are ``model.predict(x).argmax(axis=1)``.
    classes : list, default=None
        Names of the classes, for labels 0, 1, ...; otherwise the labels in the order of the rows.
        None means the sorted labels that occur.
    ax : matplotlib Axes, default=None
        Axes to draw on; None makes a pyplot figure.

    Returns
    -------
    ax : matplotlib Axes
        The shade of a cell is its share of the row. The number in a cell is the count; with more
        than 40 classes the numbers are left out.

    Raises
    ------
    ImportError
        If matplotlib is missing: ``pip install "fastmlp[plot]"``.
    ValueError
        If the labels differ in length, are not one-dimensional, or are not among the classes.
    TypeError
        If ``classes`` is not a list, or ``ax`` is not an Axes.

    Examples
    --------
    >>> import fastmlp as fm
    >>> ax = fm.plot.confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], ["cat", "car"])  # doctest: +SKIP
    """
    true, predicted = _labels(y_true, "y_true"), _labels(y_pred, "y_pred")
    if len(true) != len(predicted):
        raise ValueError(
            f"y_true and y_pred must have the same length, got {len(true)} and {len(predicted)}."
        )
    labels, names = _classes(true, predicted, classes)
    counts = metrics.confusion_matrix(true, predicted, labels)
    count = len(names)
    side = min(10.0, max(3.6, 1.6 + 0.42 * count))
    ax = open_axes(make_axes(ax), side + 1.1, side, square=True)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = ax.imshow(shares, cmap="Greys", vmin=0.0, vmax=1.0)
    if count <= _NUMBERED:
        _write_counts(ax, counts, shares)
    _name_axes(ax, names)
    bar = colour_bar(ax, image, "share of the true class (row)")
    bar.ax.yaxis.set_major_formatter(_percent())
    right = int(np.trace(counts))
    title = f"{right / len(true):.2%} of {len(true):,} correct"
    ax.set_title(title.replace(",", " "), fontsize=10)
    return ax


def _labels(value: Any, name: str) -> Array:
    labels = np.asarray(value)
    if labels.ndim != 1:
        hint = (
            f" For outputs or one-hot rows, pass {name}.argmax(axis=1)." if labels.ndim == 2 else ""
        )
        raise ValueError(
            f"{name} must have shape (N,), one label per sample, got {labels.shape}.{hint}"
        )
    if not len(labels):
        raise ValueError(f"{name} must hold at least one label, got none.")
    if labels.dtype.kind == "f" and not np.array_equal(labels, np.trunc(labels)):
        index = int((labels != np.trunc(labels)).argmax())
        raise ValueError(
            f"{name} must hold labels (integers or strings), got {labels[index].item()!r} at index "
            f"{index}."
        )
    return labels


def _classes(true: Array, predicted: Array, classes: Any) -> tuple[Array, list[str]]:
    """Return the labels in the order of the rows, and their names."""
    if (true.dtype.kind in "US") != (predicted.dtype.kind in "US"):
        raise ValueError(
            "y_true and y_pred must both hold integers or both hold strings, got dtypes "
            f"{true.dtype} and {predicted.dtype}."
        )
    found = np.unique(np.concatenate([true, predicted]))
    if classes is None:
        return found, [_name(label) for label in found]
    names = name_list(classes)
    if len(set(names)) < len(names):
        raise ValueError(f"classes must not contain a name twice, got {names!r}.")
    given = np.asarray(list(classes))
    own_labels = (given.dtype.kind in "US") == (true.dtype.kind in "US")
    labels = given if own_labels else np.arange(len(names))
    unknown = found[~np.isin(found, labels)]
    if len(unknown):
        wanted = "labels in classes" if own_labels else f"labels from 0 to {len(names) - 1}"
        raise ValueError(
            f"y_true and y_pred must hold {wanted}, got {unknown[0].item()!r} with "
            f"{len(names)} classes."
        )
    return labels, names


def _name(label: Any) -> str:
    return str(int(label)) if label.dtype.kind == "f" else str(label)


def _write_counts(ax: Axes, counts: Array, shares: Array) -> None:
    width, _ = size_of(ax)
    digits = max(2, len(str(int(counts.max()))))
    # The largest size that fits a cell: a digit is 0.6 of the size wide, and an inch has 72 points.
    size = min(10.0, 0.85 * 72 * width / len(counts) / (0.6 * digits))
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        colour = "white" if share > 0.55 else "0.65" if count == 0 else "black"
        bold = "bold" if row == column else "normal"
        ax.text(
            column, row, str(int(count)), ha="center", va="center", color=colour, fontsize=size,
            fontweight=bold,
        )  # fmt: skip


def _name_axes(ax: Axes, names: list[str]) -> None:
    shown = [shorten(name, _LONGEST) for name in names]
    every = -(-len(names) // _NUMBERED)
    places = range(0, len(names), every)
    size = 9 if len(names) <= 20 else 7
    long = max(len(name) for name in shown) > 3
    turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
    ax.set_xticks(places, [shown[i] for i in places], fontsize=size, **(turned if long else {}))
    ax.set_yticks(places, [shown[i] for i in places], fontsize=size)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    ax.tick_params(length=0)


def _percent() -> Any:
    from matplotlib.ticker import PercentFormatter

    return PercentFormatter(1.0)
