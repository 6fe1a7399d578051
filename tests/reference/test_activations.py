"""Reference activations against naive formulas, exact values and central differences."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest

from fastmlp import reference

DTYPES = ["float32", "float64"]
# Units in the last place a result may be off, relative to the naive float64 formula.
ULPS = 8


def gelu(x: float) -> float:
    """Return x * P(x); erfc's argument is rounded, which in its tail must be made good."""
    z = -x / math.sqrt(2)
    rest = float(-Decimal(x) / Decimal(2).sqrt() - Decimal(z))
    return 0.5 * x * (math.erfc(z) - rest * 2 / math.sqrt(math.pi) * math.exp(-z * z))


NAIVE = {
    "exp": math.exp,
    "log": math.log,
    "relu": lambda x: max(x, 0.0),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "gelu": gelu,
    "silu": lambda x: x / (1 + math.exp(-x)),
    "softplus": lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))),
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)),
}
BACKWARD_BY_OUTPUT = ["relu", "leaky_relu", "elu", "tanh", "sigmoid", "softmax", "log_softmax"]
BACKWARD_BY_INPUT = ["gelu", "silu", "softplus"]


def points(dtype: str, name: str = "") -> np.ndarray:
    x = np.concatenate([np.linspace(-30, 30, 301), np.linspace(-1, 1, 41), [1e-6, -1e-6, 0.0]])
    return (np.abs(x) + 1e-3 if name == "log" else x).astype(dtype)


def naive(name: str, x: np.ndarray) -> np.ndarray:
    return np.array([NAIVE[name](float(v)) for v in x.ravel()]).reshape(x.shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(NAIVE))
def test_elementwise_function_equals_the_naive_formula(name, dtype):
    x = points(dtype, name)
    before = x.copy()
    y = getattr(reference, name)(x)
    assert y.dtype == x.dtype
    info = np.finfo(dtype)
    np.testing.assert_allclose(y, naive(name, x), rtol=ULPS * info.eps, atol=info.tiny)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("name", [*sorted(NAIVE), "softmax", "log_softmax"])
def test_out_is_written_returned_and_may_be_the_input(name):
    x = points("float64", name).reshape(-1, 5)
    function = getattr(reference, name)
    expected = function(x)
    out = np.full_like(x, np.nan)
    assert function(x, out=out) is out
    np.testing.assert_array_equal(out, expected)
    assert function(x, out=x) is x
    np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gelu_keeps_its_relative_accuracy_in_the_negative_tail(dtype):
    x = np.linspace(-12.5, -0.1, 400).astype(dtype)
    expected = naive("gelu", x)
    np.testing.assert_allclose(reference.gelu(x), expected, rtol=ULPS * np.finfo(dtype).eps)


def test_sigmoid_keeps_its_relative_accuracy_in_the_negative_tail():
    x = np.linspace(-600, -20, 300)
    expected = [math.exp(v) / (1 + math.exp(v)) for v in x]
    np.testing.assert_allclose(reference.sigmoid(x), expected, rtol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("name", "at_minus", "at_plus"),
    [
        ("exp", 0.0, np.inf),
        ("relu", 0.0, np.inf),
        ("leaky_relu", -np.inf, np.inf),
        ("elu", -1.0, np.inf),
        ("softplus", 0.0, np.inf),
        ("tanh", -1.0, 1.0),
        ("sigmoid", 0.0, 1.0),
    ],
)
def test_elementwise_function_at_infinity_and_nan(name, at_minus, at_plus, dtype):
    y = getattr(reference, name)(np.array([-np.inf, np.inf, np.nan], dtype=dtype))
    np.testing.assert_array_equal(y, [at_minus, at_plus, np.nan])


@pytest.mark.parametrize("name", sorted(set(NAIVE) - {"log", "exp"}))
def test_activation_does_not_overflow(name):
    limit = np.finfo("float32").max / 4
    y = getattr(reference, name)(np.array([-limit, limit], dtype="float32"))
    assert np.isfinite(y).all()


@pytest.mark.parametrize("name", ["gelu", "silu", "softmax", "log_softmax"])
def test_nan_propagates(name):
    assert np.isnan(getattr(reference, name)(np.array([[np.nan, 1.0]]))).any()


def central_difference(function, x: np.ndarray, dy: np.ndarray) -> np.ndarray:
    """Return the gradient of sum(dy * function(x)), by sixth-order central differences."""
    gradient = np.empty_like(x)
    weights = {1: 45 / 60, 2: -9 / 60, 3: 1 / 60}
    h = 1e-2
    for index in np.ndindex(x.shape):
        total = 0.0
        for k, weight in weights.items():
            for sign in (1, -1):
                moved = x.copy()
                moved[index] += sign * k * h
                total += sign * weight * float(np.sum(dy * function(moved)))
        gradient[index] = total / h
    return gradient


@pytest.mark.parametrize("name", BACKWARD_BY_OUTPUT + BACKWARD_BY_INPUT)
def test_backward_equals_central_differences(name):
    rng = np.random.default_rng(2)
    x = rng.uniform(-3, 3, (4, 5))
    x[np.abs(x) < 0.05] = 0.5  # away from the kinks
    dy = rng.standard_normal(x.shape)
    forward, backward = getattr(reference, name), getattr(reference, name + "_backward")
    saved = forward(x) if name in BACKWARD_BY_OUTPUT else x
    dx = backward(dy, saved)
    np.testing.assert_allclose(dx, central_difference(forward, x, dy), rtol=1e-9, atol=1e-10)
    aliased = dy.copy()
    assert backward(aliased, saved, out=aliased) is aliased
    np.testing.assert_array_equal(aliased, dx)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu"])
def test_backward_at_the_kink_takes_the_left_derivative(name):
    x = np.zeros(3)
    backward = getattr(reference, name + "_backward")
    left = {"relu": 0.0, "leaky_relu": 0.01, "elu": 1.0}[name]
    np.testing.assert_array_equal(backward(np.ones(3), x), np.full(3, left))


@pytest.mark.parametrize(("name", "key"), [("leaky_relu", "negative_slope"), ("elu", "alpha")])
def test_parameter_of_an_activation(name, key):
    x, dy = np.array([-2.0, 3.0]), np.array([1.0, 1.0])
    y = getattr(reference, name)(x, **{key: 0.5})
    dx = getattr(reference, name + "_backward")(dy, y, **{key: 0.5})
    expected = {"leaky_relu": (-1.0, 0.5), "elu": (0.5 * math.expm1(-2), 0.5 * math.exp(-2))}[name]
    np.testing.assert_allclose([y[0], dx[0]], expected, rtol=1e-15)
    np.testing.assert_array_equal([y[1], dx[1]], [3.0, 1.0])


@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4])
def test_softmax_and_log_softmax(shift):
    x = np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    e = [math.exp(v) for v in (1, 2, 3)]
    y = reference.softmax(x + shift)
    np.testing.assert_allclose(y[0], np.array(e) / sum(e), rtol=1e-12)
    np.testing.assert_allclose(y[1], 1 / 3, rtol=1e-15)
    np.testing.assert_allclose(reference.log_softmax(x + shift), np.log(y), rtol=1e-12)


def test_log_softmax_where_softmax_underflows():
    np.testing.assert_array_equal(reference.log_softmax(np.array([[0.0, -2000.0]])), [[0, -2000]])
