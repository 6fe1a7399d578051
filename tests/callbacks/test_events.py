"""TensorBoard events: histograms and statistics of values."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.callbacks import _events

pytest.importorskip("tensorboardX", reason="the extra tensorboard is not installed")
pytest.importorskip("PIL", reason="the extra tensorboard is not installed")


def of_histogram(values):
    *_, found = _events.distribution("tag", np.asarray(values))
    return found.value[0].histo


def points_of(values):
    found = [each.value[0] for each in _events.distribution("t", values)]
    return {each.tag: each.simple_value for each in found if each.tag != "t"}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(7,), (40, 50), (3, 8192), (5, 5, 3, 300)], ids=str)
def test_histogram_counts_as_numpy_does(shape, dtype):
    values = np.random.default_rng(1).standard_normal(shape).astype(dtype)
    found = of_histogram(values)
    counts, edges = np.histogram(values.astype(np.float64), bins=len(found.bucket) - 1)
    assert list(found.bucket) == [0, *counts]
    np.testing.assert_allclose(found.bucket_limit, edges, rtol=1e-12, atol=1e-15)
    assert found.num == values.size
    assert (found.min, found.max) == (values.min(), values.max())
    assert found.sum == pytest.approx(values.astype(float).sum(), rel=1e-9, abs=1e-9)
    assert found.sum_squares == pytest.approx((values.astype(float) ** 2).sum())
    expected = [values.min(), values.max(), values.mean(dtype=float), values.std(dtype=float)]
    assert list(points_of(values).values()) == pytest.approx(expected, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize(
    "values",
    [
        [0.0],
        [1e9, 1e9],
        [1.0, np.nextafter(1.0, 2.0)],
        [-9e149, 9e149],
        [5e-324, 0.0],
        np.float32([1.0, 1.0000001]),
    ],
    ids=str,
)
def test_histogram_of_odd_values(values):
    found = of_histogram(values)
    assert sum(found.bucket) == found.num == len(values)
    assert found.bucket[1] + found.bucket[-1] in (len(values), 2 * len(values))
    assert len(found.bucket) == len(found.bucket_limit)
    assert np.all(np.diff(found.bucket_limit) >= 0)


def test_a_small_deviation_beside_a_large_mean():
    values = 1e6 + np.random.default_rng(2).standard_normal(100_000)
    assert points_of(values)["t/std"] == pytest.approx(values.std(), rel=1e-6)
    assert points_of(np.full(1000, np.float32(0.1)))["t/std"] == 0


def test_values_that_are_not_finite():
    values = np.array([np.nan, 1.0, 2.0, np.inf, -np.inf, 1e200])
    found = of_histogram(values)
    assert (found.num, found.min, found.max, sum(found.bucket)) == (2, 1.0, 2.0, 2)
    assert set(points_of(values)) == {"t/min", "t/max", "t/mean", "t/std"}
    assert np.isnan(list(points_of(values).values())).all()
    assert points_of(np.array([1.0, np.inf]))["t/max"] == np.inf
    assert len(_events.distribution("tag", np.float32([np.nan, np.inf]))) == 4
