"""Reference convolution: the fast form against loops over pixels and against formulas."""

from __future__ import annotations

import numpy as np
import pytest
from random_images import CASES, DTYPES, check_gradient, compare, draw

from fastmlp import reference
from fastmlp.reference import window


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


def test_unknown_padding():
    with pytest.raises(ValueError, match=r"padding must be .valid. or .same., got .full.\."):
        reference.conv2d(np.ones((1, 3, 3, 1)), np.ones((2, 2, 1, 1)), padding="full")


@pytest.mark.parametrize("seed", range(8))
def test_gradients_are_those_of_central_differences(seed):
    case = draw(seed, "float64")
    x = case.x[:2, :, :, :3]
    w = case.normal(*case.window, x.shape[3], 2)
    y = reference.conv2d(x, w, **case.options)
    dy = case.normal(*y.shape)
    size = x.shape[1:3]
    dx = reference.conv2d_backward_input(dy, w, size, **case.options)
    check_gradient(lambda moved: reference.conv2d(moved, w, **case.options), x, dy, dx)
    dw = reference.conv2d_backward_weights(x, dy, case.window, **case.options)
    check_gradient(lambda moved: reference.conv2d(x, moved, **case.options), w, dy, dw)
