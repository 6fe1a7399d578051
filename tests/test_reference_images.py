"""Convolution and pooling: numpy's fast form against loops over pixels, and against formulas."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pytest

from fastmlp import reference
from fastmlp._windows import places
from fastmlp.reference import window

DTYPES = ["float32", "float64"]
TOLERANCE = {"float32": 2e-5, "float64": 1e-12}
CASES = range(60)


@pytest.fixture(autouse=True)
def _no_warnings():
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        yield


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


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", CASES)
def test_convolution_is_that_of_the_loops(seed, dtype):
    case = draw(seed, dtype)
    w = case.normal(*case.window, case.x.shape[3], case.filters)
    b = case.normal(case.filters) if seed % 3 else None
    compare("conv2d", case.x, w, b, **case.options, relu=seed % 4 == 0, dtype=dtype)
    dy = case.normal(*reference.conv2d(case.x, w, **case.options).shape)
    compare("conv2d_backward_input", dy, w, case.size, **case.options, dtype=dtype)
    compare("conv2d_backward_weights", case.x, dy, case.window, **case.options, dtype=dtype)


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


def test_work_in_many_chunks_is_that_of_one(monkeypatch):
    case = draw(3, "float64")
    w = case.normal(3, 2, case.x.shape[3], 4)
    x = case.normal(9, 8, 7, case.x.shape[3])
    whole = reference.conv2d(x, w, padding="same")
    dy = case.normal(*whole.shape)
    before = (
        reference.conv2d_backward_input(dy, w, (8, 7), padding="same"),
        reference.conv2d_backward_weights(x, dy, (3, 2), padding="same"),
    )
    # Four images, then four, then one.
    values = 3 * 2 * x.shape[3] * 56
    monkeypatch.setattr(window, "_CHUNK_BYTES", 4 * 4 * values)
    chunks = window.Windows(x.shape, (3, 2), 1, "same").chunks(6 * x.shape[3])
    assert [chunk.stop for chunk in chunks] == [4, 8, 9]
    np.testing.assert_allclose(reference.conv2d(x, w, padding="same"), whole, atol=1e-13)
    after = (
        reference.conv2d_backward_input(dy, w, (8, 7), padding="same"),
        reference.conv2d_backward_weights(x, dy, (3, 2), padding="same"),
    )
    for one, other in zip(before, after, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_convolution_of_numbers_that_can_be_added_by_hand():
    x = np.arange(9.0).reshape(1, 3, 3, 1)
    w = np.array([[1.0, 10.0], [100.0, 1000.0]]).reshape(2, 2, 1, 1)
    y = reference.conv2d(x, w, np.array([0.5]))
    np.testing.assert_array_equal(y[0, :, :, 0], [[4310.5, 5421.5], [7643.5, 8754.5]])
    y = reference.conv2d(x, w, padding="same")  # the odd row and column of zeros come last
    np.testing.assert_array_equal(
        y[0, :, :, 0], [[4310, 5421, 502], [7643, 8754, 805], [76, 87, 8]]
    )
    y = reference.conv2d(x, w, strides=(1, 2), padding="same")
    np.testing.assert_array_equal(y[0, :, :, 0], [[4310, 502], [7643, 805], [76, 8]])
    np.testing.assert_array_equal(
        reference.conv2d(x, -w, np.array([4311.0]), relu=True)[0, :, :, 0], [[1, 0], [0, 0]]
    )


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


def test_unknown_padding():
    with pytest.raises(ValueError, match=r"padding must be .valid. or .same., got .full.\."):
        reference.conv2d(np.ones((1, 3, 3, 1)), np.ones((2, 2, 1, 1)), padding="full")


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
    """All operations are linear in every argument, or in pieces: differences are exact."""
    case = draw(seed, "float64")
    x = case.x[:2, :, :, :3]
    w = case.normal(*case.window, x.shape[3], 2)
    y = reference.conv2d(x, w, **case.options)
    dy = case.normal(*y.shape)

    def check(function, value, gradient):
        numeric = np.zeros_like(value)
        for place in np.ndindex(*value.shape):
            ends = []
            for step in (0.5**10, -(0.5**10)):
                moved = value.copy()
                moved[place] += step
                ends.append(float(np.vdot(function(moved), dy)))
            numeric[place] = (ends[0] - ends[1]) / 2 * 2**10
        np.testing.assert_allclose(gradient, numeric, rtol=0, atol=1e-9)

    size = x.shape[1:3]
    dx = reference.conv2d_backward_input(dy, w, size, **case.options)
    check(lambda moved: reference.conv2d(moved, w, **case.options), x, dx)
    dw = reference.conv2d_backward_weights(x, dy, case.window, **case.options)
    check(lambda moved: reference.conv2d(x, moved, **case.options), w, dw)
    pool = {"pool_size": tuple(map(min, case.window, size)), "strides": case.options["strides"]}
    y, index = reference.max_pool2d(x, **pool)
    dy = case.normal(*y.shape)
    dx = reference.max_pool2d_backward(dy, index, size, **pool)
    check(lambda moved: reference.max_pool2d(moved, **pool)[0], x, dx)
    dx = reference.avg_pool2d_backward(dy, size, **pool)
    check(lambda moved: reference.avg_pool2d(moved, **pool), x, dx)
    dy = case.normal(len(x), x.shape[3])
    dx = reference.global_avg_pool2d_backward(dy, size)
    check(reference.global_avg_pool2d, x, dx)
