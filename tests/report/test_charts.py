"""SVG charts of the report."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from fastmlp.report import charts


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 0), (-3, 4), (1e-9, 3e-9), (5, 5), (0.99, 1), (-1e6, 1e7)]
)
def test_ticks_cover_the_range(low, high):
    marks = charts.ticks(low, high)
    assert 2 <= len(marks) <= 12
    assert marks[0] <= low + 1e-12 * abs(low) and marks[-1] >= high - 1e-12 * abs(high)
    steps = np.diff(marks)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)


def test_lines_leave_out_what_is_not_finite():
    svg = charts.lines({"a": [1.0, math.nan, 3.0, math.inf], "b": [2.0]}, "t")
    assert svg.count("<circle") == 3
    assert "nan" not in svg and "inf" not in svg
    assert charts.lines({"a": [math.nan]}, "t") == ""
    assert charts.points([math.nan], [1.0], "t") == ""


def test_lines_are_where_the_values_are():
    svg = charts.lines({"a": [0.0, 1.0, 0.5]}, "t")
    (x0, y0), (x1, y1), (x2, y2) = (
        map(float, spot.split(",")) for spot in re.search(r'points="([^"]+)"', svg)[1].split()
    )
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 > y2 > y1  # larger values are higher
    assert y2 == pytest.approx((y0 + y1) / 2, abs=0.2)
