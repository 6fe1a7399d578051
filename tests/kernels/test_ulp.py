"""exp, log, tanh and sigmoid differ from the exact value by at most 2 ulp.

benchmarks/ulp.py goes through all 2**32 float32 inputs; here a fixed sample of every exponent.
"""

import numpy as np
import pytest

from fastmlp import kernels

mpmath = pytest.importorskip("mpmath")

EXACT = {
    "exp": mpmath.exp,
    "log": mpmath.log,
    "tanh": mpmath.tanh,
    "sigmoid": lambda x: 1 / (1 + mpmath.exp(-x)),
}


def ulp_errors(function, x, result):
    """Return |result - exact| in units of the exact value's last place."""
    info = np.finfo(x.dtype)
    errors = np.empty(len(x))
    with mpmath.workprec(200):
        for i, (xi, yi) in enumerate(zip(x.tolist(), result.tolist(), strict=True)):
            exact = EXACT[function](mpmath.mpf(xi))
            exponent = max(mpmath.mag(exact) - 1, info.minexp) if exact else info.minexp
            unit = mpmath.ldexp(1, int(exponent) - info.nmant)
            if abs(exact) > info.max:
                errors[i] = 0 if np.isinf(yi) else np.inf
            else:
                errors[i] = float(abs(mpmath.mpf(yi) - exact) / unit) if np.isfinite(yi) else np.inf
    return errors


def sample(function, dtype, n, rng):
    """Return inputs of every exponent that matters, and around the branch points."""
    info = np.finfo(dtype)
    uint = np.uint32 if dtype == np.float32 else np.uint64
    bits = info.bits
    exponents = np.arange(2**info.nexp - 1, dtype=uint)
    mantissas = rng.integers(0, 2**info.nmant, (n, len(exponents)), dtype=uint)
    x = ((exponents << uint(info.nmant)) | mantissas).ravel().view(dtype)
    if function != "log":
        x = np.concatenate([x, -x])
    spread = {"exp": 750, "tanh": 25, "sigmoid": 750, "log": 4}[function]
    x = np.concatenate([x, (rng.random(2000) * 2 - 1).astype(dtype) * dtype(spread)])
    x = np.concatenate([x, (rng.random(2000) * 2 - 1).astype(dtype)])
    assert bits in (32, 64)
    return np.abs(x[x != 0]) if function == "log" else x


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", EXACT)
def test_at_most_two_ulp(function, dtype, rng):
    x = sample(function, dtype, 12 if dtype == np.float32 else 2, rng)
    errors = ulp_errors(function, x, getattr(kernels, function)(x))
    worst = int(errors.argmax())
    assert errors[worst] <= 2, f"{function}({x[worst]!r}) is off by {errors[worst]:.2f} ulp"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_limits(dtype):
    inf, nan = np.inf, np.nan
    expected = {
        "exp": ([-inf, 0, inf, nan], [0, 1, inf, nan]),
        "log": ([0, -0.0, 1, inf, -1, -inf, nan], [-inf, -inf, 0, inf, nan, nan, nan]),
        "tanh": ([-inf, -0.0, 0, inf, nan], [-1, -0.0, 0, 1, nan]),
        "sigmoid": ([-inf, 0, inf, nan], [0, 0.5, 1, nan]),
    }
    for function, (x, y) in expected.items():
        result = getattr(kernels, function)(np.array(x, dtype))
        np.testing.assert_array_equal(result, np.array(y, dtype), function)
        np.testing.assert_array_equal(np.signbit(result[~np.isnan(result)]),
                                      np.signbit(np.array(y)[~np.isnan(y)]), function)  # fmt: skip


@pytest.mark.parametrize("function", EXACT)
def test_position_does_not_matter(function, rng):
    x = np.abs(rng.standard_normal(70)).astype(np.float32)
    kernel = getattr(kernels, function)
    whole = kernel(x)
    for n in range(1, 70):
        np.testing.assert_array_equal(kernel(x[:n]), whole[:n])
        np.testing.assert_array_equal(kernel(x[n:]), whole[n:])
