from __future__ import annotations

import hashlib

import numpy as np
import pytest

from fastmlp.datasets import _toys, make_blobs, make_circles, make_moons, make_spirals

MAKERS = [make_moons, make_circles, make_blobs, make_spirals]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("n", [2, 3, 200, 201])
def test_shapes_and_classes(make, n: int) -> None:
    x, y = make(n, noise=0.1)
    assert x.shape == (n, 2) and x.dtype == np.float32 and x.flags.c_contiguous
    assert y.shape == (n,) and y.dtype == np.int64
    assert np.bincount(y).tolist() == [n // 2, n - n // 2]
    assert np.isfinite(x).all()


@pytest.mark.parametrize("make", MAKERS)
def test_seed(make) -> None:
    (x, y), (x_again, y_again), (x_other, y_other) = (make(50, 0.2, s) for s in (1, 1, 2))
    assert (x == x_again).all() and (y == y_again).all()
    assert (x != x_other).any() and (y != y_other).any()


def test_points_lie_where_the_formulas_say() -> None:
    x, y = make_moons(101)
    upper, lower = x[y == 0].astype(float), x[y == 1].astype(float)
    np.testing.assert_allclose(np.hypot(*upper.T), 1, atol=1e-6)
    np.testing.assert_allclose(np.hypot(*(lower - [1, 0.5]).T), 1, atol=1e-6)
    assert upper[:, 1].min() > -1e-6 and lower[:, 1].max() < 0.5 + 1e-6
    x, y = make_circles(100, factor=0.25)
    radius = np.hypot(*x.astype(float).T)
    np.testing.assert_allclose(radius, np.where(y == 1, 0.25, 1), atol=1e-6)
    assert len(np.unique(x, axis=0)) == 100  # a circle does not end where it began
    x, y = make_spirals(90, classes=3, turns=1.5)
    radius = np.hypot(*x.astype(float).T)
    angle = np.arctan2(x[:, 1], x[:, 0]) / (2 * np.pi)
    off = (angle - 1.5 * radius - y / 3)[radius > 0.01]
    np.testing.assert_allclose(off, np.round(off), atol=1e-5)
    assert radius.max() == 1


def test_blobs() -> None:
    x, y = make_blobs(30_000, noise=0.5, seed=4, centers=[[1, 2], [-3, 4], [0, -5]])
    for label, centre in enumerate(([1, 2], [-3, 4], [0, -5])):
        cloud = x[y == label]
        np.testing.assert_allclose(cloud.mean(axis=0), centre, atol=0.03)
        np.testing.assert_allclose(cloud.std(axis=0), 0.5, atol=0.02)
    x, y = make_blobs(40, noise=0.0, centers=4)
    assert sorted(map(tuple, np.unique(x, axis=0).tolist())) == [(-5, 0), (0, -5), (0, 5), (5, 0)]


def test_same_bits_everywhere() -> None:
    """These digests are of the points, computed from IEEE operations alone."""
    found = [
        hashlib.sha256(b"".join(array.tobytes() for array in make(100, 0.2, 3))).hexdigest()[:16]
        for make in MAKERS
    ]
    assert found == PINNED


PINNED = ["9cf56b50d001adb1", "f2e64f354a839dac", "a90c692bd1b94d59", "d1763f1a6675dc2b"]


def test_circle_agrees_with_libm() -> None:
    turns = np.linspace(-2, 2, 20_001)
    cos, sin = _toys._on_circle(turns)
    np.testing.assert_allclose(cos, np.cos(2 * np.pi * turns), rtol=0, atol=4e-15)
    np.testing.assert_allclose(sin, np.sin(2 * np.pi * turns), rtol=0, atol=4e-15)
    exact, _ = _toys._on_circle(np.array([0, 0.25, 0.5, 0.75, 1]))
    assert exact.tolist() == [1, 0, -1, 0, 1]


def test_arguments() -> None:
    with pytest.raises(ValueError, match="n must be at least 2, got 1"):
        make_moons(1)
    with pytest.raises(ValueError, match="noise must be finite and at least 0, got -1"):
        make_circles(10, -1)
    with pytest.raises(TypeError, match=r"seed must be an integer, got 0\.5"):
        make_moons(10, seed=0.5)
    with pytest.raises(ValueError, match="factor must be at least 0 and below 1, got 1"):
        make_circles(10, factor=1)
    with pytest.raises(ValueError, match=r"centers must have shape \(classes, 2\), got \(3,\)"):
        make_blobs(10, centers=[1, 2, 3])
    with pytest.raises(ValueError, match="centers must hold finite numbers"):
        make_blobs(10, centers=[[1, np.nan]])
    with pytest.raises(ValueError, match="n must be at least 3, got 2"):
        make_spirals(2, classes=3)
