"""Random images and windows, and the comparison of fast functions with loops over pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fastmlp import reference

DTYPES = ["float32", "float64"]
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
CASES = range(60)


@dataclass
class Case:
    """Random images and a window: batch 1 to 9, 1 to 17 channels, odd sizes, both paddings."""

    rng: np.random.Generator
    x: np.ndarray
    window: tuple[int, int]
    filters: int
    options: dict

    @property
    def size(self) -> tuple[int, int]:
        return self.x.shape[1:3]

    def normal(self, *shape: int) -> np.ndarray:
        return self.rng.standard_normal(shape).astype(self.x.dtype)


def draw(seed: int, dtype: str, *, pools: bool = False) -> Case:
    """Return the case of a seed; the window of a pool lies in the image and has no padding."""
    rng = np.random.default_rng([5, seed])
    n, channels, filters = (int(rng.integers(1, top + 1)) for top in (9, 17, 17))
    size = tuple(int(v) for v in rng.integers(1, 14, 2))
    window = tuple(int(v) for v in rng.integers(1, 6, 2))
    strides = int(rng.integers(1, 4)) if rng.integers(2) else tuple(rng.integers(1, 5, 2).tolist())
    options = {"strides": strides}
    if not pools:
        options["padding"] = ("valid", "same")[seed % 2]
    if options.get("padding") != "same":
        window = tuple(map(min, window, size))
    x = rng.standard_normal((n, *size, channels)).astype(dtype)
    return Case(rng, x, window, filters, options)


def compare(name: str, *arguments, dtype: str, **options) -> None:
    """Compare a function with its loops over pixels, with and without ``out``."""
    fast, loops = getattr(reference, name), getattr(reference, name + "_loops")
    expected = loops(*arguments, **options)
    result = fast(*arguments, **options)
    assert result.dtype == expected.dtype == np.dtype(dtype)
    scale = TOLERANCE[dtype] * (1 + np.abs(expected).max(initial=0))
    np.testing.assert_allclose(result, expected, rtol=0, atol=scale)
    for function in (fast, loops):
        out = np.full_like(expected, np.nan)
        assert function(*arguments, **options, out=out) is out
        np.testing.assert_allclose(out, expected, rtol=0, atol=scale)


def check_gradient(function, value: np.ndarray, dy: np.ndarray, gradient: np.ndarray) -> None:
    """Compare with central differences, which are exact for functions linear in every piece."""
    numeric = np.zeros_like(value)
    for place in np.ndindex(*value.shape):
        ends = []
        for step in (0.5**10, -(0.5**10)):
            moved = value.copy()
            moved[place] += step
            ends.append(float(np.vdot(function(moved), dy)))
        numeric[place] = (ends[0] - ends[1]) / 2 * 2**10
    np.testing.assert_allclose(gradient, numeric, rtol=0, atol=1e-9)
