"""Elementwise functions, softmax and log-softmax: the compiled kernels against the reference."""

import numpy as np
import pytest
from cases import (
    BACKWARD_BY_INPUT,
    BACKWARD_BY_OUTPUT,
    DTYPES,
    PARAMETERS,
    ROWS,
    SIZES,
    UNARY,
    assert_close,
)

from fastmlp import kernels, reference


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_unary(name, dtype, rng):
    kernel, twin = getattr(kernels, name), getattr(reference, name)
    parameters = PARAMETERS.get(name, {})
    for n in SIZES:
        x = (rng.standard_normal(n) * 4).astype(dtype)
        if name == "log":
            x = np.abs(x) + dtype(0.01)
        expected = twin(x, **parameters)
        before = x.copy()
        assert_close(kernel(x, **parameters), expected, dtype)
        np.testing.assert_array_equal(x, before)
        out = np.full(n, np.nan, dtype)
        assert kernel(x, out=out, **parameters) is out
        assert_close(out, expected, dtype)
        kernel(x, out=x, **parameters)
        np.testing.assert_array_equal(x, out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_unary_special_values(name, dtype):
    info = np.finfo(dtype)
    x = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, info.max, -info.max, info.tiny]
    x = np.array([*x, info.smallest_subnormal, 700.0, -700.0, 90.0, -90.0, 1e-5], dtype)
    parameters = PARAMETERS.get(name, {})
    with np.errstate(all="ignore"):
        expected = getattr(reference, name)(x, **parameters)
    result = getattr(kernels, name)(x, **parameters)
    rtol = 1e-5 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(result, expected, rtol=rtol, atol=100 * info.tiny)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*BACKWARD_BY_INPUT, "relu_backward", "tanh_backward"])
def test_backward_special_values(name, dtype):
    x = np.array([np.inf, -np.inf, np.finfo(dtype).max, -np.finfo(dtype).max, 0, -0.0], dtype)
    saved = np.sign(x) if name == "tanh_backward" else x
    dy = np.full(6, 2, dtype)
    expected = getattr(reference, name)(dy, saved)
    np.testing.assert_allclose(getattr(kernels, name)(dy, saved), expected)
    assert np.isfinite(expected).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*BACKWARD_BY_OUTPUT, *BACKWARD_BY_INPUT])
def test_backward(name, dtype, rng):
    forward = name.removesuffix("_backward")
    kernel, twin = getattr(kernels, name), getattr(reference, name)
    parameters = PARAMETERS.get(name, {})
    for n in SIZES[1:]:
        for rows in (1, 3):
            x = (rng.standard_normal((rows, n)) * 3).astype(dtype)
            dy = rng.standard_normal((rows, n)).astype(dtype)
            saved = x
            if name in BACKWARD_BY_OUTPUT:
                saved = getattr(reference, forward)(x, **PARAMETERS.get(forward, {}))
            expected = twin(dy, saved, **parameters)
            # Sums over a row of n values.
            scale = 1 + np.sqrt(n) if forward in ROWS else 1
            assert_close(kernel(dy, saved, **parameters), expected, dtype, scale)
            kernel(dy, saved, out=dy, **parameters)
            assert_close(dy, expected, dtype, scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ROWS)
def test_rows(name, dtype, rng):
    kernel, twin = getattr(kernels, name), getattr(reference, name)
    for n in SIZES[1:]:
        for shape in ((n,), (3, n), (2, 3, n), (0, n)):
            x = (rng.standard_normal(shape) * 5).astype(dtype)
            assert_close(kernel(x), twin(x), dtype, 4)
    huge = np.array([[1e30, -1e30, 0.0], [-np.inf, 0.0, 1.0], [np.nan, 0.0, 1.0]], dtype)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(kernel(huge), twin(huge), rtol=1e-6)
    assert kernel(np.zeros((3, 0), dtype)).shape == (3, 0)
