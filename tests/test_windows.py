"""Places and padding of a window over an image."""

from __future__ import annotations

import pytest

from fastmlp._windows import places


@pytest.mark.parametrize(
    ("size", "window", "stride", "padding", "expected"),
    [
        (28, 5, 1, "valid", (24, 0, 0)),
        (7, 3, 2, "valid", (3, 0, 0)),
        (8, 3, 2, "valid", (3, 0, 0)),
        (2, 3, 1, "valid", (0, 0, 0)),
        (28, 5, 1, "same", (28, 2, 2)),
        (28, 4, 1, "same", (28, 1, 2)),
        (8, 3, 2, "same", (4, 0, 1)),
        (7, 3, 2, "same", (4, 1, 1)),
        (7, 1, 3, "same", (3, 0, 0)),
        (2, 5, 1, "same", (2, 2, 2)),
    ],
)
def test_places_of_a_window(size, window, stride, padding, expected):
    assert places(size, window, stride, padding) == expected
