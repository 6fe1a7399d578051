"""SVG charts: lines over epochs, and predicted over true values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["lines", "points", "ticks"]

_WIDTH, _HEIGHT = 460, 254
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 14, 38
_FEW = 40  # largest number of points with a marker each


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about ``count`` round numbers that cover the range from ``low`` to ``high``."""
    if not high > low:
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, last + 1)]


def _number(value: float, step: float) -> str:
    if value and (abs(value) >= 1e6 or step < 1e-4):
        return f"{value:.3g}"
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value:.{decimals}f}"


def lines(
    series: Mapping[str, Sequence[float]],
    title: str,
    *,
    percent: bool = False,
    from_zero: bool = False,
) -> str:
    """Return a chart of values over epochs 1, 2, ...; values that are not finite are left out.

    Parameters
    ----------
    series : dict of str to sequence of float
        The values of each line by its name; colours follow the order.
    title : str
        Title of the chart.
    percent : bool, default=False
        Whether to write 0.5 as 50 %.
    from_zero : bool, default=False
        Whether the value axis starts at 0; ignored if a value is negative.
    """
    kept = {
        name: [(n, v) for n, v in enumerate(values, 1) if math.isfinite(v)]
        for name, values in series.items()
    }
    every = [value for pairs in kept.values() for _, value in pairs]
    if not every:
        return ""
    low, high = min(every), max(every)
    marks = ticks(0.0 if from_zero and low >= 0 else low, high)
    count = max(max(n for n, _ in pairs) for pairs in kept.values() if pairs)

    def place_x(number: float) -> float:
        share = (number - 1) / (count - 1) if count > 1 else 0.5
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def place_y(value: float) -> float:
        low, high = marks[0], marks[-1]
        return _TOP + (1 - (value - low) / (high - low)) * (_HEIGHT - _TOP - _BOTTOM)

    step = marks[1] - marks[0]
    parts = []
    for mark in marks:
        text = _number(100 * mark, 100 * step) + " %" if percent else _number(mark, step)
        parts.append(_rule(place_y(mark), text))
    for mark in _whole(count):
        x = place_x(mark)
        parts.append(f'<text class="tick" x="{x:.1f}" y="{_HEIGHT - 21}" text-anchor="middle">'
                     f"{mark}</text>")  # fmt: skip
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text class="tick" x="{middle:.0f}" y="{_HEIGHT - 6}" text-anchor="middle">epoch</text>'
    )
    for index, (name, pairs) in enumerate(kept.items()):
        spots = [f"{place_x(n):.1f},{place_y(v):.1f}" for n, v in pairs]
        parts.append(f'<polyline class="line c{index % 2}" points="{" ".join(spots)}"/>')
        if len(pairs) <= _FEW:
            for n, v in pairs:
                shown = f"{v:.2%}" if percent else f"{v:.4g}"
                parts.append(
                    f'<circle class="dot c{index % 2}" cx="{place_x(n):.1f}" cy="{place_y(v):.1f}" '
                    f'r="2.6"><title>{escape(name)}, epoch {n}: {shown}</title></circle>'
                )
    return _figure("".join(parts), title, list(kept))


def _whole(count: int) -> list[int]:
    """Return the epochs to label on the axis."""
    if count <= 8:
        return list(range(1, count + 1))
    marks = [round(mark) for mark in ticks(1, count, 6) if 1 <= mark <= count]
    return sorted({1, *(mark for mark in marks if mark > count / 12)})


def points(true: Sequence[float], predicted: Sequence[float], title: str) -> str:
    """Return a chart of predicted over true values, with the line of exact predictions."""
    pairs = [
        (t, p)
        for t, p in zip(true, predicted, strict=True)
        if math.isfinite(t) and math.isfinite(p)
    ]
    if not pairs:
        return ""
    every = [value for pair in pairs for value in pair]
    marks = ticks(min(every), max(every))
    low, high = marks[0], marks[-1]

    def place_x(value: float) -> float:
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def place_y(value: float) -> float:
        return _TOP + (high - value) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)

    step = marks[1] - marks[0]
    parts = [_rule(place_y(mark), _number(mark, step)) for mark in marks]
    parts += [
        f'<text class="tick" x="{place_x(mark):.1f}" y="{_HEIGHT - 21}" text-anchor="middle">'
        f"{_number(mark, step)}</text>"
        for mark in marks
    ]
    parts.append(
        f'<polyline class="line faint" points="{place_x(low):.1f},{place_y(low):.1f} '
        f'{place_x(high):.1f},{place_y(high):.1f}"/>'
    )
    parts += [
        f'<circle class="spot" cx="{place_x(t):.1f}" cy="{place_y(p):.1f}" r="2"/>'
        for t, p in pairs
    ]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text class="tick" x="{middle:.0f}" y="{_HEIGHT - 6}" text-anchor="middle">true</text>'
    )
    return _figure("".join(parts), title, [])


def _rule(y: float, text: str) -> str:
    return (
        f'<line class="rule" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        f'<text class="tick" x="{_LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{text}</text>'
    )


def _figure(inside: str, title: str, names: Sequence[str]) -> str:
    legend = "".join(
        f'<span class="key c{index % 2}">{escape(name)}</span>' for index, name in enumerate(names)
    )
    return (
        f'<figure><figcaption>{escape(title)}{legend}</figcaption><svg viewBox="0 0 {_WIDTH} '
        f'{_HEIGHT}" role="img" aria-label="{escape(title)}">{inside}</svg></figure>'
    )
