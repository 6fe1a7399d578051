"""One metric over the epochs, for one run or several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastmlp import _checks
from fastmlp._types import Array
from fastmlp.history import History

from ._figure import COLOURS, MARKERS, clean, make_axes, open_axes, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["learning_curves"]

Columns = Mapping[str, Sequence[float]]

_SIZE = (6.0, 4.0)  # inches
_FEW = 40  # largest number of epochs with a marker each
_LONG = 24  # with longer names (in characters) the legend is beside the axes
_INSIDE = 6  # with more runs the legend is beside the axes
_SHARES = ("accuracy", "error")


def learning_curves(
    histories: History | Columns | Mapping[str, History | Columns],
    metric: str = "loss",
    ax: Axes | None = None,
) -> Axes:
    """Draw a metric over the epochs: training as solid lines, validation as dashed lines.

    Parameters
    ----------
    histories : History, or dict of str to History
        The result of ``fit`` (or its ``history.history``), or the results of several runs by name.
    metric : str, default="loss"
        A column of the history, such as "accuracy". The validation column "val_accuracy" is drawn
        with it if present. "val_accuracy" draws only the validation column.
    ax : matplotlib Axes, default=None
        Axes to draw on; None makes a pyplot figure.

    Returns
    -------
    ax : matplotlib Axes

    Raises
    ------
    ImportError
        If matplotlib is missing: ``pip install "fastmlp[plot]"``.
    ValueError
        If there is no run or no epoch, or a run lacks the column; the message lists the columns of
        the run.
    TypeError
        If an argument has the wrong type.

    Notes
    -----
    A value that is not finite leaves a gap, and a cross marks the last value before it.

    Examples
    --------
    >>> import fastmlp as fm
    >>> (x, y), test = fm.datasets.load_digits()
    >>> runs = {}
    >>> for rate in (0.01, 0.1):
    ...     model = fm.MLP(64, [32], 10)
    ...     runs[f"rate {rate}"] = model.fit(x, y, epochs=3, optimizer=fm.SGD(rate))
    >>> ax = fm.plot.learning_curves(runs, "accuracy")  # doctest: +SKIP
    """
    runs = _runs(histories)
    curves = [(name, *_values(name, columns, metric)) for name, columns in runs.items()]
    beside = len(curves) > _INSIDE or max(len(name) for name, _, _ in curves) > _LONG
    ax = open_axes(make_axes(ax), _SIZE[0] + (3.0 if beside else 0.0), _SIZE[1])
    longest = max(len(train) for _, train, _ in curves)
    both = any(valid is not None for _, _, valid in curves)
    for number, (name, train, valid) in enumerate(curves):
        style: dict[str, Any] = {
            "color": COLOURS[number % len(COLOURS)],
            "marker": MARKERS[number % len(MARKERS)],
            # With many epochs, mark some epochs, different ones on each curve.
            "markevery": 1 if longest <= _FEW else (number % 5 * longest // 50, longest // 10),
            "markersize": 4,
            "linewidth": 1.6,
        }
        label = shorten(name, 40)
        if not np.isfinite(train).any():
            label += " (no finite value)"
        if len(curves) == 1 and both:
            label = "training"
        _curve(ax, train, {**style, "label": label})
        if valid is not None:
            hollow = {"linestyle": "--", "markerfacecolor": "white"}
            label = "validation" if len(curves) == 1 else "_validation of " + name
            if len(curves) == 1:
                hollow["color"] = COLOURS[1]
            _curve(ax, valid, {**style, **hollow, "label": label})
    _name_axes(ax, metric, longest)
    _legend(ax, len(curves), both, beside)
    return ax


def _runs(histories: Any) -> dict[str, Columns]:
    """Return the columns of each run by its name."""
    if isinstance(histories, History):
        return {"training": _columns(histories, "histories")}
    if not isinstance(histories, Mapping):
        raise TypeError(
            "histories must be a History or a dict of run names to Histories, got "
            f"{type(histories).__name__}."
        )
    if not histories:
        raise ValueError("histories must hold at least one run, got none.")
    of_runs = [isinstance(value, (History, Mapping)) for value in histories.values()]
    if not any(of_runs):
        return {"training": _columns(histories, "histories")}
    return {str(name): _columns(run, f"histories[{name!r}]") for name, run in histories.items()}


def _columns(run: Any, name: str) -> Columns:
    columns = run.history if isinstance(run, History) else run
    if not isinstance(columns, Mapping):
        raise TypeError(f"{name} must be a History, got {type(run).__name__}.")
    if not any(_length(values, f"{name}[{key!r}]") for key, values in columns.items()):
        raise ValueError(f"{name} must have at least one epoch, got none.")
    return columns


def _length(values: Any, name: str) -> int:
    if isinstance(values, str) or not hasattr(values, "__len__"):
        raise TypeError(f"{name} must be a list of numbers, got {values!r}.")
    return len(values)


def _values(name: str, columns: Columns, metric: str) -> tuple[Array, Array | None]:
    """Return the column ``metric`` and the validation column of the same metric, or None."""
    known = {key: values for key, values in columns.items() if len(values)}
    try:
        train = _checks.array(_checks.lookup(metric, known, "metric"), metric)
    except ValueError as error:
        where = "" if name == "training" else f"run {name!r}: "
        raise ValueError(f"{where}{error}") from None
    valid = known.get("val_" + metric)
    return train, None if valid is None else _checks.array(valid, "val_" + metric)


def _curve(ax: Axes, values: Array, style: dict[str, Any]) -> None:
    epochs = np.arange(1, len(values) + 1)
    finite = np.isfinite(values)
    ax.plot(epochs, np.where(finite, values, np.nan), **style)
    ends = np.flatnonzero(finite[:-1] & ~finite[1:])
    if len(ends):
        ax.plot(
            epochs[ends], values[ends], "x", color=style["color"], markersize=10,
            markeredgewidth=2, label="_not finite afterwards",
        )  # fmt: skip


def _name_axes(ax: Axes, metric: str, epochs: int) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    base = metric.removeprefix("val_")
    ax.set_xlabel("epoch")
    ax.set_ylabel(metric.replace("val_", "validation ").replace("_", " "))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if epochs == 1:
        ax.set_xlim(0, 2)
        ax.set_xticks([1])
    if base in _SHARES or base.startswith("top_"):
        ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    clean(ax)


def _legend(ax: Axes, runs: int, both: bool, beside: bool) -> None:
    handles, labels = ax.get_legend_handles_labels()
    if runs == 1 and not both:
        return
    if both and runs > 1:
        from matplotlib.lines import Line2D

        key: dict[str, Any] = {"color": "0.3", "marker": "o", "markersize": 4}
        handles.append(Line2D([], [], **key))
        handles.append(Line2D([], [], **key, linestyle="--", markerfacecolor="white"))
        labels += ["training", "validation"]
    outside: dict[str, Any] = {}
    if beside:
        outside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0}
    ax.legend(handles, labels, frameon=False, fontsize=9, **outside)
