"""Histograms of weights and layer outputs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fastmlp import _checks
from fastmlp._engines.layerwise import Workspace, converted
from fastmlp._types import Array
from fastmlp.network import Network

from ._figure import COLOURS, clean, make_axes, open_axes, size_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastmlp.model import Sequential

__all__ = ["layer_histograms"]

_CHUNK = 256  # samples per forward pass
_WIDE, _HIGH = 2.7, 1.9  # inches of a panel with its margins
_COLUMNS = 4
_NARROW = 2.1  # inches


class _Spread:
    """The distribution of the values of one array, which may come in parts.

    Pass every part to ``add``, then every part to ``count``. The bars show the finite nonzero
    values.
    """

    def __init__(self, title: str, bins: int, colour: str) -> None:
        self.title, self.colour = title, colour
        self.size = self.zeros = self.not_finite = 0
        self.low, self.high = math.inf, -math.inf
        self._total = self._squares = 0.0
        self.counts = np.zeros(bins, np.int64)

    def add(self, values: Array) -> None:
        known = values[np.isfinite(values)]
        self.size += values.size
        self.not_finite += values.size - known.size
        self.zeros += known.size - int(np.count_nonzero(known))
        others = known[known != 0]
        self.low = min(self.low, float(others.min(initial=math.inf)))
        self.high = max(self.high, float(others.max(initial=-math.inf)))
        self._total += float(known.sum(dtype=np.float64))

    def count(self, values: Array) -> None:
        known = values[np.isfinite(values)].astype(np.float64)
        self._squares += float(np.square(known - self.mean).sum())
        self.counts += np.histogram(known[known != 0], self.edges)[0]

    @property
    def known(self) -> int:
        return self.size - self.not_finite

    @property
    def mean(self) -> float:
        return self._total / self.known if self.known else math.nan

    @property
    def deviation(self) -> float:
        return math.sqrt(self._squares / self.known) if self.known else math.nan

    @property
    def edges(self) -> Array:
        if self.low > self.high:
            return np.linspace(-1.0, 1.0, len(self.counts) + 1)
        apart = self.high - self.low > 1e-6 * max(abs(self.low), abs(self.high))
        margin = 0.0 if apart else 0.5 * max(abs(self.low), abs(self.high))
        return np.linspace(self.low - margin, self.high + margin, len(self.counts) + 1)


def layer_histograms(
    model: Sequential,
    x: npt.ArrayLike | None = None,
    ax: Axes | None = None,
    *,
    bins: int = 40,
) -> Axes:
    """Draw histograms of all weights and, if ``x`` is given, of the outputs of all layers.

    Parameters
    ----------
    model : Sequential
        The model.
    x : array of shape (N, *input_shape), default=None
        Samples, as for ``predict``. They add a panel for the output of each layer in prediction
        mode.
    ax : matplotlib Axes, default=None
        Axes to place the panels in; None makes a pyplot figure.
    bins : int, default=40
        Number of bars per histogram.

    Returns
    -------
    ax : matplotlib Axes
        ``ax.child_axes`` are the panels: parameters first, then layers. Values of exactly 0, as
        after a relu, are given as a percentage above the panel and not drawn as a bar.

    Raises
    ------
    ImportError
        If matplotlib is missing: ``pip install "fastmlp[plot]"``.
    ValueError
        If x does not fit the model, or the model has no parameters and x is None.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import fastmlp as fm
    >>> ax = fm.plot.layer_histograms(fm.MLP(64, [32], 10))  # doctest: +SKIP
    """
    if not isinstance(model, Network):
        raise TypeError(f"model must be a fastmlp model, got {type(model).__name__}.")
    count = _checks.integer(bins, "bins", minimum=1)
    samples = None if x is None else model.samples(x)
    if samples is None and not model.named_parameters:
        raise ValueError("x is required for a model without parameters, got None.")
    ax = make_axes(ax)
    found = []
    for name, value in model.parameters.items():
        spread = _Spread(name, count, COLOURS[0])
        spread.add(value)
        spread.count(value)
        found.append(spread)
    if samples is not None:
        found += _of_outputs(model, samples, count)
    columns = min(_COLUMNS, len(found))
    if ax is not None:  # panels must be wide enough for the text above them
        columns = max(1, min(columns, int(size_of(ax)[0] / _NARROW)))
    rows = -(-len(found) // columns)
    ax = open_axes(ax, _WIDE * columns, _HIGH * rows)
    ax.set_axis_off()
    for panel, spread in zip(_panels(ax, len(found), rows, columns), found, strict=True):
        _draw(panel, spread)
    return ax


def _of_outputs(model: Network, samples: Array, bins: int) -> list[_Spread]:
    """Return the distribution of the output of each layer."""
    spreads = [_Spread(f"output of {layer.name}", bins, COLOURS[1]) for layer in model.layers]
    for outputs in _outputs(model, samples):
        for spread, output in zip(spreads, outputs, strict=True):
            spread.add(output)
    for outputs in _outputs(model, samples):
        for spread, output in zip(spreads, outputs, strict=True):
            spread.count(output)
    return spreads


def _outputs(model: Network, samples: Array) -> Iterator[list[Array]]:
    """Yield the outputs of all layers for successive parts of the samples, in reused buffers."""
    for start in range(0, len(samples), _CHUNK):
        part = samples[start : start + _CHUNK]
        workspace = Workspace(model, len(part))
        value = converted(model, part)
        outputs = []
        for layer, buffers in workspace.pairs:
            value = layer.forward(model.ops, value, buffers)
            outputs.append(value)
        yield outputs


def _panels(ax: Axes, count: int, rows: int, columns: int) -> Iterator[Axes]:
    """Yield axes for the panels, with room for titles and tick labels."""
    width, height = size_of(ax)
    left, right = 0.5 / width, 0.1 / width  # margins in inches, as shares of the whole
    top, bottom = 0.36 / height, 0.36 / height
    for number in range(count):
        row, column = divmod(number, columns)
        yield ax.inset_axes(
            (
                column / columns + left,
                1 - (row + 1) / rows + bottom,
                max(0.2 / columns, 1 / columns - left - right),
                max(0.2 / rows, 1 / rows - top - bottom),
            )
        )


def _draw(panel: Axes, spread: _Spread) -> None:
    from matplotlib.ticker import MaxNLocator, NullLocator, PercentFormatter

    edges, shares = spread.edges, spread.counts / max(1, spread.size)
    panel.stairs(shares, edges, fill=True, color=spread.colour, alpha=0.75)
    panel.stairs(shares, edges, color=spread.colour, linewidth=0.8)
    panel.axvline(0.0, color="black", linewidth=0.7, linestyle=":")
    panel.set_title(spread.title, fontsize=9, loc="left", pad=13)
    panel.text(
        0.0,
        1.03,
        _words(spread),
        transform=panel.transAxes,
        fontsize=7.5,
        va="bottom",
        color="0.25",
    )
    panel.set_ylim(bottom=0.0, top=None if shares.any() else 1.0)
    panel.yaxis.set_major_locator(MaxNLocator(3) if size_of(panel)[1] > 0.4 else NullLocator())
    panel.xaxis.set_major_locator(MaxNLocator(4))
    panel.yaxis.set_major_formatter(PercentFormatter(1.0))
    panel.tick_params(labelsize=7.5, length=2.5)
    panel.set_xlabel("value", fontsize=7.5, labelpad=1)
    panel.set_ylabel("share", fontsize=7.5, labelpad=1)
    clean(panel)


def _words(spread: _Spread) -> str:
    parts = [f"mean {spread.mean:.2g}, std {spread.deviation:.2g}"]
    if spread.zeros:
        share = spread.zeros / spread.size
        parts.append("all are 0" if share == 1 else f"{share:.1%} are 0")
    if spread.not_finite:
        parts.append(f"{spread.not_finite} not finite")
    return ", ".join(parts)
