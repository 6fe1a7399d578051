"""The reference operations against naive formulas, exact values and central differences."""

from __future__ import annotations

import math
import warnings
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


@pytest.fixture(autouse=True)
def _no_warnings():
    """Fail on any warning, even where the user's numpy settings would raise one."""
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        yield


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


def test_sgd_update_is_in_place():
    weight, gradient = np.array([1.0, 2.0]), np.array([10.0, -10.0])
    assert reference.sgd_update(weight, gradient, 0.1) is None
    np.testing.assert_array_equal(weight, [0.0, 3.0])
    np.testing.assert_array_equal(gradient, [10.0, -10.0])


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


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_cross_entropy_equals_the_naive_formula(dtype):
    rng = np.random.default_rng(0)
    logits = (3 * rng.standard_normal((6, 4))).astype(dtype)
    labels = rng.integers(0, 4, 6)
    one_hot = np.eye(4, dtype=dtype)[labels]
    exact = logits.astype("float64")
    p = np.exp(exact) / np.exp(exact).sum(axis=1, keepdims=True)
    eps = np.finfo(dtype).eps
    for target in (labels, one_hot):
        out = np.full_like(logits, np.nan)
        loss, dlogits = reference.softmax_cross_entropy(logits, target, out=out)
        assert type(loss) is float
        assert dlogits is out
        assert loss == pytest.approx(-np.log(p[range(6), labels]).mean(), rel=float(10 * eps))
        np.testing.assert_allclose(dlogits, (p - one_hot) / 6, rtol=0, atol=2 * eps)
        own = logits.copy()
        aliased_loss, aliased = reference.softmax_cross_entropy(own, target, out=own)
        assert aliased_loss == loss
        np.testing.assert_array_equal(aliased, dlogits)


def test_softmax_cross_entropy_of_probabilities():
    logits, p = np.array([[1.0, -1.0, 0.5]]), np.array([[0.2, 0.5, 0.3]])
    loss, dlogits = reference.softmax_cross_entropy(logits, p)
    assert loss == pytest.approx(-float(np.sum(p * reference.log_softmax(logits))), rel=1e-14)
    np.testing.assert_allclose(dlogits, reference.softmax(logits) - p, rtol=1e-14)


def test_softmax_cross_entropy_of_extreme_logits():
    logits = np.array([[1e30, 0.0], [0.0, 1e30]], dtype="float32")
    loss, dlogits = reference.softmax_cross_entropy(logits, np.array([0, 0]))
    assert loss == pytest.approx(5e29)
    np.testing.assert_array_equal(dlogits, np.array([[0, 0], [-0.5, 0.5]], dtype="float32"))


def test_softmax_loss_of_small_scores_is_that_of_the_course():
    # CS231n, assignment 2: 50 scores of scale 1e-3 for 10 classes.
    rng = np.random.RandomState(231)
    scores = 0.001 * rng.randn(50, 10)
    loss, _ = reference.softmax_cross_entropy(scores, rng.randint(10, size=50))
    assert loss == pytest.approx(2.302546, abs=5e-7)


def test_float32_loss_is_summed_in_float64():
    prediction = np.full((1000, 100), 0.1, dtype="float32")
    loss, _ = reference.mse(prediction, np.zeros_like(prediction))
    assert loss == pytest.approx(float(np.float32(0.1) * np.float32(0.1)), rel=1e-12)


def test_mse():
    prediction, target = np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[1.0, 1.0], [1.0, 1.0]])
    out = np.full((2, 2), np.nan)
    loss, gradient = reference.mse(prediction, target, out=out)
    assert type(loss) is float
    assert loss == (0 + 1 + 4 + 16) / 4
    assert gradient is out
    np.testing.assert_array_equal(gradient, [[0, 0.5], [1, 2]])


def test_count_correct_takes_the_first_of_a_tie():
    logits = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 2.0], [3.0, 0.0, 0.0]])
    labels = np.array([0, 2, 0])
    assert reference.count_correct(logits, labels) == 2
    assert reference.count_correct(logits, np.eye(3)[labels]) == 2
    assert type(reference.count_correct(logits, labels)) is int
