"""The learning curve of one run: loss and accuracy side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastmlp.history import History

from ._figure import COLOURS, check_path, clean, new_figure, require_matplotlib, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["history"]

_SIZE = (9.0, 3.6)  # inches
_TRAIN: dict[str, Any] = {"color": COLOURS[0], "label": "training"}
_VALID: dict[str, Any] = {"color": COLOURS[1], "label": "validation", "linestyle": "--"}
_FEW = 40  # largest number of epochs with a marker each


def history(
    history: History | Mapping[str, Sequence[float]], path: str | os.PathLike[str] | None = None
) -> Figure:
    """Draw the loss and the accuracy of training and validation over the epochs.

    Parameters
    ----------
    history : History or dict
        The result of ``fit``, or its ``history.history``.
    path : str or path, default=None
        File to write; the suffix (.png, .svg, .pdf) determines the format. No display is needed.
        None makes a pyplot figure, for ``plt.show()`` or a notebook.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is missing: ``pip install "fastmlp[plot]"``.
    ValueError
        If the history has no epoch, or the suffix of the file is unknown.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import fastmlp as fm
    >>> (x, y), test = fm.datasets.load_digits()
    >>> history = fm.MLP(64, [32], 10).fit(x, y, epochs=3, validation_data=test)
    >>> figure = fm.plot.history(history, "curve.png")  # doctest: +SKIP
    """
    values = history.history if isinstance(history, History) else history
    if not values.get("loss"):
        raise ValueError("history must have at least one epoch, got none.")
    shown = [name for name in ("loss", "accuracy") if values.get(name)]
    figure = _figure(path, width=_SIZE[0] * len(shown) / 2)
    for number, name in enumerate(shown, start=1):
        axes = figure.add_subplot(1, len(shown), number)
        _panel(axes, name, values[name], values.get("val_" + name))
    if path is not None:
        check_path(path)
        save(figure, path)
    return figure


def _panel(axes: Axes, name: str, train: Sequence[float], valid: Sequence[float] | None) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    marker = "o" if len(train) <= _FEW else ""
    line: dict[str, Any] = {"marker": marker, "markersize": 3.5, "linewidth": 1.6}
    axes.plot(range(1, len(train) + 1), train, **line, **_TRAIN)
    if valid:
        axes.plot(range(1, len(valid) + 1), valid, **line, **_VALID)
        last = f"{valid[-1]:.2%}" if name == "accuracy" else f"{valid[-1]:.4f}"
        axes.set_title(f"{name}   (validation, last epoch: {last})", fontsize=10)
    else:
        axes.set_title(name, fontsize=10)
    axes.set_xlabel("epoch")
    axes.set_ylabel(name)
    axes.set_xlim(left=0 if len(train) > 1 else None)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if name == "accuracy":
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    else:
        axes.set_ylim(bottom=0.0)
    clean(axes)
    axes.legend(frameon=False)


def _figure(path: str | os.PathLike[str] | None, width: float) -> Figure:
    require_matplotlib()
    if path is None:
        return new_figure(width, _SIZE[1])
    from matplotlib.figure import Figure

    return Figure(figsize=(width, _SIZE[1]), layout="constrained")
