"""Reference products, bias and sums against naive formulas."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp import reference

DTYPES = ["float32", "float64"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize("alpha", [1.0, -0.5])
def test_matmul(dtype, transpose_a, transpose_b, accumulate, alpha):
    rng = np.random.default_rng(0)
    a = rng.standard_normal((5, 3) if transpose_a else (3, 5)).astype(dtype)
    b = rng.standard_normal((7, 5) if transpose_b else (5, 7)).astype(dtype)
    start = rng.standard_normal((3, 7)).astype(dtype)
    left, right = (a.T if transpose_a else a).tolist(), (b.T if transpose_b else b).tolist()
    product = [
        [sum(left[i][k] * right[k][j] for k in range(5)) for j in range(7)] for i in range(3)
    ]
    expected = alpha * np.array(product) + (start if accumulate else 0)
    out = start.copy() if accumulate else np.full_like(start, np.nan)
    options = {"transpose_a": transpose_a, "transpose_b": transpose_b, "alpha": alpha}
    result = reference.matmul(a, b, out=out, accumulate=accumulate, **options)
    assert result is out
    np.testing.assert_allclose(out, expected, rtol=0, atol=50 * np.finfo(dtype).eps)
    if not accumulate:
        fresh = reference.matmul(a, b, **options)
        assert fresh.dtype == dtype
        np.testing.assert_array_equal(fresh, out)


def test_matmul_accumulate_needs_out():
    with pytest.raises(ValueError, match="out is required with accumulate=True"):
        reference.matmul(np.eye(2), np.eye(2), accumulate=True)


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("with_bias", [False, True])
def test_dense_add_bias_and_sum_batch(relu, with_bias):
    rng = np.random.default_rng(0)
    x, w, b = (rng.standard_normal(s) for s in [(4, 3), (3, 6), (6,)])
    expected = x @ w + (b if with_bias else 0)
    expected = np.maximum(expected, 0) if relu else expected
    out = np.full((4, 6), np.nan)
    assert reference.dense(x, w, b if with_bias else None, relu=relu, out=out) is out
    np.testing.assert_allclose(out, expected, rtol=1e-14)
    np.testing.assert_array_equal(reference.add_bias(x, x[0]), x + x[0])
    np.testing.assert_allclose(reference.sum_batch(x), x.sum(axis=0), rtol=1e-14)
