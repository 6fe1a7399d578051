"""Convolution: the compiled kernels against the reference."""

import re

import numpy as np
import pytest
from cases import DTYPES, compare, draw_images, layouts, normal

from fastmlp import kernels, reference

CASES = range(40)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("seed", CASES)
def test_convolution(seed, dtype):
    rng, x, window, options = draw_images(seed, dtype, True)
    filters = int(rng.integers(1, 40))
    w, b = normal(rng, dtype, *window, x.shape[3], filters), normal(rng, dtype, filters)
    compare("conv2d", x, w, scale=4, **options)
    compare("conv2d", x, w, b, relu=True, scale=4, **options)
    dy = normal(rng, dtype, *reference.conv2d(x, w, **options).shape)
    compare("conv2d_backward_input", dy, w, x.shape[1:3], scale=4, **options)
    compare("conv2d_backward_weights", x, dy, window, scale=4, **options)


def test_layouts_simply_work(rng):
    x, w = rng.standard_normal((2, 5, 6, 3)), rng.standard_normal((2, 3, 3, 4))
    y = kernels.conv2d(x, w)
    for name, other in layouts(x):
        np.testing.assert_array_equal(kernels.conv2d(other, w), y, name)
        np.testing.assert_array_equal(
            kernels.conv2d_backward_weights(other, y, (2, 3)),
            kernels.conv2d_backward_weights(x, y, (2, 3)),
            name,
        )
    for name, other in layouts(w):
        np.testing.assert_array_equal(kernels.conv2d(x, other), y, name)


def test_nothing_at_all():
    x = np.ones((0, 5, 6, 3), np.float32)
    w = np.ones((2, 2, 3, 4), np.float32)
    assert kernels.conv2d(x, w).shape == (0, 4, 5, 4)
    assert not kernels.conv2d_backward_weights(x, np.ones((0, 4, 5, 4), np.float32), 2).any()
    y = kernels.conv2d(np.ones((1, 3, 3, 0)), np.ones((2, 2, 0, 4)), np.arange(4.0))
    np.testing.assert_array_equal(y, np.broadcast_to(np.arange(4.0), (1, 2, 2, 4)))
    assert kernels.conv2d(np.ones((1, 3, 3, 2)), np.ones((2, 2, 2, 0))).shape == (1, 2, 2, 0)


X = np.ones((2, 5, 6, 3), np.float32)
W = np.ones((2, 3, 3, 4), np.float32)
DY = np.ones((2, 4, 4, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: kernels.conv2d(X[0], W), ValueError, "x must have shape (N, H, W, C) with at least one pixel, got (5, 6, 3)."),
        (lambda: kernels.conv2d(X[:, :0], W), ValueError, "x must have shape (N, H, W, C) with at least one pixel, got (2, 0, 6, 3)."),
        (lambda: kernels.conv2d(X, W[0]), ValueError, "w must have shape (kh, kw, C, F) with kh and kw at least 1, got (3, 3, 4)."),
        (lambda: kernels.conv2d(X, W[:0]), ValueError, "w must have shape (kh, kw, C, F) with kh and kw at least 1, got (0, 3, 3, 4)."),
        (lambda: kernels.conv2d(X, W[:, :, :2]), ValueError, "x and w must have shapes (N, H, W, C) and (kh, kw, C, F), got (2, 5, 6, 3) and (2, 3, 2, 4)."),
        (lambda: kernels.conv2d(X, W.astype(float)), TypeError, "w must have the dtype of the other arrays, float32, got float64."),
        (lambda: kernels.conv2d(X, W, np.ones(3, np.float32)), ValueError, "b must have shape (4,), got (3,)."),
        (lambda: kernels.conv2d(X[:, :1], W), ValueError, "w must not be larger than the images, (1, 6), got (2, 3)."),
        (lambda: kernels.conv2d(X, W, strides=0), ValueError, "strides must be at least 1, got 0."),
        (lambda: kernels.conv2d(X, W, padding="full"), ValueError, "padding must be \"valid\" or \"same\", got 'full'."),
        (lambda: kernels.conv2d(X, W, out=X), ValueError, "out must be a C-contiguous, writeable float32 array of shape (2, 4, 4, 4), got shape (2, 5, 6, 3)."),
        (lambda: kernels.conv2d_backward_input(DY[:, 1:], W, (5, 6)), ValueError, "dy must have the shape of the output, (2, 4, 4, 4), got (2, 3, 4, 4)."),
        (lambda: kernels.conv2d_backward_input(DY[..., :2], W, (5, 6)), ValueError, "dy must have the shape of the output, (2, 4, 4, 4), got (2, 4, 4, 2)."),
        (lambda: kernels.conv2d_backward_input(DY, W, (5, 6, 3)), ValueError, "input_shape must be an integer or two integers (y, x), got (5, 6, 3)."),
        (lambda: kernels.conv2d_backward_input(DY[0], W, (5, 6)), ValueError, "dy must have shape (N, OH, OW, F) with at least one pixel, got (4, 4, 4)."),
        (lambda: kernels.conv2d_backward_weights(X, DY[:1], (2, 3)), ValueError, "dy must have the shape of the output, (2, 4, 4, 4), got (1, 4, 4, 4)."),
        (lambda: kernels.conv2d_backward_weights(X, DY, 2), ValueError, "dy must have the shape of the output, (2, 4, 5, 4), got (2, 4, 4, 4)."),
        (lambda: kernels.conv2d_backward_weights(X, DY, (0, 3)), ValueError, "kernel_size must be at least 1, got 0."),
    ],
)  # fmt: skip
def test_messages(call, error, message):
    with pytest.raises(error, match="^" + re.escape(message) + "$"):
        call()


def test_overlap_is_refused():
    memory = np.ones(2 * X.size, np.float32)
    x, same = memory[: X.size].reshape(X.shape), memory[7 : 7 + X.size].reshape(X.shape)
    w = np.ones((3, 3, 3, 3), np.float32)
    with pytest.raises(ValueError, match="must not overlap"):
        kernels.conv2d(x, w, padding="same", out=same)
    with pytest.raises(ValueError, match="must not overlap"):
        kernels.conv2d_backward_input(x, w, (5, 6), padding="same", out=x)
