"""Pictures of training; matplotlib, the extra ``plot``, is imported when one is drawn."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastmlp.history import History

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["check_path", "history"]

_SIZE = (9.0, 3.6)  # inches
_TRAIN: dict[str, Any] = {"color": "#1f5fa8", "label": "training"}
_VALID: dict[str, Any] = {"color": "#d9661f", "label": "validation"}
_FEW = 40  # epochs: up to so many are marked one by one


def check_path(path: str | os.PathLike[str]) -> None:
    """Raise now what ``history(..., path)`` would raise for the path later.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    ValueError
        If the end of the name is no kind of picture that matplotlib can write.
    """
    _require_matplotlib()
    from matplotlib.backend_bases import FigureCanvasBase

    kinds = FigureCanvasBase.get_supported_filetypes()
    suffix = Path(path).suffix
    if suffix[1:].lower() not in kinds:
        raise ValueError(
            f"a picture must be named *.png, *.svg, *.pdf or another kind that matplotlib writes, "
            f"got {os.fspath(path)!r}."
        )


def history(
    history: History | Mapping[str, Sequence[float]], path: str | os.PathLike[str] | None = None
) -> Figure:
    """Draw loss and accuracy by epoch, of training and validation.

    Parameters
    ----------
    history : History or dict
        What ``fit`` returned, or its ``history.history``.
    path : str or path, default=None
        Write the picture there; the end of the name says which kind (.png, .svg, .pdf). No display
        is needed. None makes a figure of pyplot, for ``plt.show()`` or a notebook.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Raises
    ------
    ImportError
        If matplotlib is missing: ``pip install "fastmlp[plot]"``.
    ValueError
        If there is no epoch to draw, or the name of the file has no known ending.
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
        figure.savefig(path, dpi=150)
    return figure


def _panel(axes: Axes, name: str, train: Sequence[float], valid: Sequence[float] | None) -> None:
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    marker = "o" if len(train) <= _FEW else ""
    line: dict[str, Any] = {"marker": marker, "markersize": 3.5, "linewidth": 1.6}
    axes.plot(range(1, len(train) + 1), train, **line, **_TRAIN)
    if valid:
        axes.plot(range(1, len(valid) + 1), valid, **line, **_VALID)
        last = f"{valid[-1]:.2%}" if name == "accuracy" else f"{valid[-1]:.4f}"
        axes.set_title(f"{name}   (validation, at the end: {last})", fontsize=10)
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
    axes.grid(alpha=0.3, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def _figure(path: str | os.PathLike[str] | None, width: float) -> Figure:
    _require_matplotlib()
    if path is None:
        from matplotlib import pyplot

        return pyplot.figure(figsize=(width, _SIZE[1]), layout="constrained")
    from matplotlib.figure import Figure

    return Figure(figsize=(width, _SIZE[1]), layout="constrained")


def _require_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'fastmlp.plot needs matplotlib: pip install "fastmlp[plot]"', name="matplotlib"
        ) from error
