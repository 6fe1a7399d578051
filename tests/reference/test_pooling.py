"""Reference pooling: the fast form against loops over pixels and against formulas."""

from __future__ import annotations

import numpy as np
import pytest
from random_images import CASES, DTYPES, check_gradient, compare, draw

from fastmlp import reference


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", CASES)
def test_pooling_is_that_of_the_loops(seed, dtype):
    case = draw(seed, dtype, pools=True)
    x = np.round(case.x)  # with ties
    if seed % 3 == 0:
        x[case.rng.random(x.shape) < 0.05] = np.nan
    y, index = reference.max_pool2d(x, case.window, **case.options)
    expected, where = reference.max_pool2d_loops(x, case.window, **case.options)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(index, where)
    assert y.dtype == x.dtype
    assert index.dtype == where.dtype == np.uint8
    out = np.full_like(y, np.nan)
    assert reference.max_pool2d(x, case.window, **case.options, out=out)[0] is out
    np.testing.assert_array_equal(out, y)
    dy = case.normal(*y.shape)
    rest = {**case.options, "dtype": dtype}
    compare("max_pool2d_backward", dy, index, case.size, case.window, **rest)
    compare("avg_pool2d", case.x, case.window, **rest)
    compare("avg_pool2d_backward", dy, case.size, case.window, **rest)
    compare("global_avg_pool2d", case.x, dtype=dtype)
    compare("global_avg_pool2d_backward", case.normal(3, 4), case.size, dtype=dtype)


@pytest.mark.parametrize("suffix", ["", "_loops"])
def test_first_of_equal_maxima_wins(suffix):
    x = np.array([[3.0, 3, 1, 0], [3, 2, 0, 1], [-0.0, 0, -5, -5], [0, 0, -5, -7]])
    y, index = getattr(reference, "max_pool2d" + suffix)(x.reshape(1, 4, 4, 1))
    np.testing.assert_array_equal(y[0, :, :, 0], [[3, 1], [0, -5]])
    np.testing.assert_array_equal(index[0, :, :, 0], [[0, 0], [0, 0]])
    dx = getattr(reference, "max_pool2d_backward" + suffix)(np.ones((1, 2, 2, 1)), index, (4, 4))
    assert dx[0, :, :, 0].tolist() == [[1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("suffix", ["", "_loops"])
def test_first_nan_is_the_maximum(suffix):
    nan, inf = np.nan, np.inf
    x = np.array([[1, nan, inf, nan], [nan, 2, inf, inf], [nan, 1, -inf, -inf], [3, 2, -inf, nan]])
    y, index = getattr(reference, "max_pool2d" + suffix)(x.reshape(1, 4, 4, 1))
    np.testing.assert_array_equal(y[0, :, :, 0], np.full((2, 2), nan))
    np.testing.assert_array_equal(index[0, :, :, 0], [[1, 1], [0, 3]])
    y, index = getattr(reference, "max_pool2d" + suffix)(np.full((1, 2, 2, 1), -inf))
    assert (y.item(), index.item()) == (-inf, 0)


@pytest.mark.parametrize("suffix", ["", "_loops"])
def test_index_of_a_large_window_has_more_bits(suffix):
    pool = getattr(reference, "max_pool2d" + suffix)
    x = np.zeros((1, 17, 16, 1))
    x[0, 16, 3] = 1
    y, index = pool(x, (17, 16))
    assert index.dtype == np.int32
    assert (y.item(), index.item()) == (1.0, 16 * 16 + 3)
    assert pool(x[:, :16], 16)[1].dtype == np.uint8
    row = np.arange(257.0).reshape(1, 1, 257, 1)  # the last place is number 256
    assert pool(row, (1, 257))[1].item() == 256
    dx = getattr(reference, "max_pool2d_backward" + suffix)(y, index, (17, 16), (17, 16))
    np.testing.assert_array_equal(dx, x)


def test_overlapping_windows_add_and_infinite_gradients_stay_where_they_are():
    x = np.array([0.0, 5, 1]).reshape(1, 1, 3, 1)
    y, index = reference.max_pool2d(x, (1, 2), strides=1)
    assert (y.ravel().tolist(), index.ravel().tolist()) == ([5, 5], [1, 0])
    dy = np.array([2.0, np.inf]).reshape(1, 1, 2, 1)
    dx = reference.max_pool2d_backward(dy, index, (1, 3), (1, 2), strides=1)
    assert dx.ravel().tolist() == [0, np.inf, 0]
    dx = reference.avg_pool2d_backward(dy, (1, 3), (1, 2), strides=1)
    assert dx.ravel().tolist() == [1, np.inf, np.inf]


def test_borders_that_no_window_covers_are_left_out():
    x = np.arange(25.0).reshape(1, 5, 5, 1)
    assert reference.max_pool2d(x)[0].ravel().tolist() == [6, 8, 16, 18]
    assert reference.avg_pool2d(x).ravel().tolist() == [3, 5, 13, 15]
    assert reference.global_avg_pool2d(x).tolist() == [[12.0]]
    dx = reference.avg_pool2d_backward(np.ones((1, 2, 2, 1)), (5, 5))
    assert dx[0, 4].tolist() == dx[0, :, 4].tolist() == [[0.0]] * 5
    assert dx.sum() == 4


@pytest.mark.parametrize("seed", range(8))
def test_gradients_are_those_of_central_differences(seed):
    case = draw(seed, "float64", pools=True)
    x = case.x[:2, :, :, :3]
    size, pool = x.shape[1:3], {"pool_size": case.window, "strides": case.options["strides"]}
    y, index = reference.max_pool2d(x, **pool)
    dy = case.normal(*y.shape)
    dx = reference.max_pool2d_backward(dy, index, size, **pool)
    check_gradient(lambda moved: reference.max_pool2d(moved, **pool)[0], x, dy, dx)
    dx = reference.avg_pool2d_backward(dy, size, **pool)
    check_gradient(lambda moved: reference.avg_pool2d(moved, **pool), x, dy, dx)
    dy = case.normal(len(x), x.shape[3])
    dx = reference.global_avg_pool2d_backward(dy, size)
    check_gradient(reference.global_avg_pool2d, x, dy, dx)
