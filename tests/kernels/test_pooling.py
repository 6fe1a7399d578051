"""Pooling: the compiled kernels against the reference."""

import re

import numpy as np
import pytest
from cases import DTYPES, compare, draw_images, layouts, normal

from fastmlp import kernels, reference

CASES = range(40)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", CASES)
def test_pooling(seed, dtype):
    rng, x, window, options = draw_images(seed, dtype, False)
    x = np.round(x)  # with ties
    if seed % 3 == 0:
        x[rng.random(x.shape) < 0.05] = np.nan
    expected, where = reference.max_pool2d(x, window, **options)
    out = np.full_like(expected, np.inf)
    for kept in (None, out):
        y, index = kernels.max_pool2d(x, window, **options, out=kept)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(index, where)
        assert (y.dtype, index.dtype) == (expected.dtype, where.dtype)
    assert y is out
    dy = normal(rng, dtype, *expected.shape)
    compare("max_pool2d_backward", dy, where, x.shape[1:3], window, scale=4, **options)
    x = normal(rng, dtype, *x.shape)
    compare("avg_pool2d", x, window, scale=4, **options)
    compare("avg_pool2d_backward", dy, x.shape[1:3], window, scale=4, **options)
    compare("global_avg_pool2d", x, scale=4)
    compare("global_avg_pool2d_backward", normal(rng, dtype, 3, x.shape[3]), x.shape[1:3])


@pytest.mark.parametrize("dtype", DTYPES)
def test_large_windows_have_an_index_of_more_bits(dtype):
    x = np.zeros((2, 35, 17, 3), dtype)
    x[:, 16, 16] = 1
    x[:, 33, 5, 1] = 2
    y, index = kernels.max_pool2d(x, (17, 17))
    expected, where = reference.max_pool2d(x, (17, 17))
    assert index.dtype == where.dtype == np.int32
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(index, where)
    compare("max_pool2d_backward", y, index, (35, 17), (17, 17))
    row = np.arange(257).astype(dtype).reshape(1, 1, 257, 1)  # the last place is number 256
    assert kernels.max_pool2d(row, (1, 257))[1].item() == 256
    assert kernels.max_pool2d(row, (1, 256))[1].dtype == np.uint8


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_infinity_of_maxima(dtype):
    nan, inf = np.nan, np.inf
    x = np.array(
        [[1, nan, inf, nan], [nan, 2, inf, inf], [-inf, -inf, -0.0, 0], [-inf, -inf, 0, -1]]
    )
    x = np.repeat(x.astype(dtype).reshape(1, 4, 4, 1), 19, axis=3)
    y, index = kernels.max_pool2d(x)
    for channel in range(19):
        np.testing.assert_array_equal(y[0, :, :, channel], [[nan, nan], [-inf, 0]])
        np.testing.assert_array_equal(index[0, :, :, channel], [[1, 1], [0, 0]])


def test_an_index_below_zero_is_refused():
    index = np.full((1, 1, 1, 1), -1, np.int32)
    with pytest.raises(ValueError, match="index must hold positions from 0 to 288, got -1 to -1"):
        kernels.max_pool2d_backward(np.ones((1, 1, 1, 1)), index, (17, 17), 17)


def test_layouts_simply_work(rng):
    x = rng.standard_normal((2, 5, 6, 3))
    for name, other in layouts(x):
        np.testing.assert_array_equal(kernels.max_pool2d(other)[0], kernels.max_pool2d(x)[0], name)
        np.testing.assert_array_equal(kernels.avg_pool2d(other), kernels.avg_pool2d(x), name)
    pooled, index = kernels.max_pool2d(x)
    frozen = np.asfortranarray(index)
    frozen.flags.writeable = False
    np.testing.assert_array_equal(
        kernels.max_pool2d_backward(pooled, frozen, (5, 6)),
        kernels.max_pool2d_backward(pooled, index, (5, 6)),
    )


def test_nothing_at_all():
    x = np.ones((0, 5, 6, 3), np.float32)
    assert kernels.max_pool2d(x)[1].shape == (0, 2, 3, 3)
    assert kernels.avg_pool2d(x).shape == (0, 2, 3, 3)
    assert kernels.global_avg_pool2d(x).shape == (0, 3)
    assert kernels.max_pool2d(np.ones((1, 2, 2, 0)))[0].shape == (1, 1, 1, 0)


X = np.ones((2, 5, 6, 3), np.float32)
POOLED = np.ones((2, 2, 3, 3), np.float32)
INDEX = np.zeros((2, 2, 3, 3), np.uint8)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: kernels.max_pool2d(X, 0), ValueError, "pool_size must be at least 1, got 0."),
        (lambda: kernels.max_pool2d(X, (6, 6)), ValueError, "pool_size must not be larger than the images, (5, 6), got (6, 6)."),
        (lambda: kernels.avg_pool2d(X, 2, strides=(1, 0)), ValueError, "strides must be at least 1, got 0."),
        (lambda: kernels.max_pool2d_backward(POOLED, INDEX[:1], (5, 6)), ValueError, "index must have the shape of dy, (2, 2, 3, 3), got (1, 2, 3, 3)."),
        (lambda: kernels.max_pool2d_backward(POOLED, INDEX.astype(int), (5, 6)), TypeError, "index must be the uint8 array that max_pool2d returns, got int64."),
        (lambda: kernels.max_pool2d_backward(POOLED, INDEX.tolist(), (5, 6)), TypeError, "index must be the uint8 array that max_pool2d returns, got list."),
        (lambda: kernels.max_pool2d_backward(POOLED, INDEX + np.uint8(4), (5, 6)), ValueError, "index must hold positions from 0 to 3, got 4 to 4."),
        (lambda: kernels.max_pool2d_backward(POOLED, INDEX, (5, 8)), ValueError, "dy must have the shape of the output, (2, 2, 4, 3), got (2, 2, 3, 3)."),
        (lambda: kernels.avg_pool2d_backward(POOLED, INDEX.shape), ValueError, "input_shape must be an integer or two integers (y, x), got (2, 2, 3, 3)."),
        (lambda: kernels.global_avg_pool2d(POOLED[0]), ValueError, "x must have shape (N, H, W, C) with at least one pixel, got (2, 3, 3)."),
        (lambda: kernels.global_avg_pool2d_backward(POOLED, (2, 2)), ValueError, "dy must have shape (N, C), got (2, 2, 3, 3)."),
    ],
)  # fmt: skip
def test_messages(call, error, message):
    with pytest.raises(error, match="^" + re.escape(message) + "$"):
        call()


def test_overlap_is_refused():
    memory = np.ones(2 * X.size, np.float32)
    x, same = memory[: X.size].reshape(X.shape), memory[7 : 7 + X.size].reshape(X.shape)
    with pytest.raises(ValueError, match="must not overlap"):
        kernels.max_pool2d(x, 1, out=x)
    with pytest.raises(ValueError, match="must not overlap"):
        kernels.avg_pool2d(x, 1, out=same)
