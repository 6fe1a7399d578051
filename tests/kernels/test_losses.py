"""Losses: the compiled kernels against the reference, for every setting, and refused arguments."""

import math

import numpy as np
import pytest
from cases import DTYPES, SIZES, assert_close

from fastmlp import kernels, reference

ELEMENTS = {
    "mse": {},
    "mae": {},
    "huber": {"delta": 0.7},
    "binary_cross_entropy": {},
}
SHAPES = [(1,), (7,), (3, 5), (1, 1), (17, 33), (2, 3, 4), (5, 100)]


def close(found, wanted, dtype):
    tolerance = 1e-14 if dtype == np.float64 else 5e-6
    assert isinstance(found[0], float)
    assert found[0] == pytest.approx(wanted[0], rel=tolerance, abs=10 * tolerance)
    assert_close(found[1], wanted[1], dtype)


def weights_of(rows, rng):
    """None, random weights, and some that are 0."""
    yield None
    yield rng.random(rows) + 0.1
    few = np.zeros(rows)
    few[rows // 2] = 2.5
    yield few


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTS)
def test_losses_of_single_values(name, dtype, rng):
    kernel, twin = getattr(kernels, name), getattr(reference, name)
    for shape in SHAPES:
        x = (2 * rng.standard_normal(shape)).astype(dtype)
        t = rng.standard_normal(shape).astype(dtype)
        if name == "binary_cross_entropy":
            t = rng.random(shape).astype(dtype)
            t.flat[0] = 1
        for weights in weights_of(shape[0], rng):
            settings = ELEMENTS[name] | {"sample_weight": weights}
            wanted = twin(x, t, **settings)
            close(kernel(x, t, **settings), wanted, dtype)
            for function in (kernel, twin):
                y = x.copy()
                loss, gradient = function(y, t, **settings, out=y)
                assert gradient is y
                close((loss, gradient), wanted, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.99])
@pytest.mark.parametrize("classes", [1, 2, 3, 8, 10, 17, 64, 65, 250])
def test_cross_entropy(classes, smoothing, dtype, rng):
    for rows in (1, 2, 33):
        logits = (4 * rng.standard_normal((rows, classes))).astype(dtype)
        labels = rng.integers(0, classes, rows)
        one_hot = np.eye(classes, dtype=dtype)[labels]
        soft = rng.dirichlet(np.ones(classes), rows).astype(dtype)
        for class_weight in (None, rng.random(classes) + 0.1, np.arange(classes) + 0.5):
            for weights in weights_of(rows, rng):
                settings = {
                    "label_smoothing": smoothing,
                    "class_weight": class_weight,
                    "sample_weight": weights,
                }
                results = []
                for targets in (labels, one_hot, soft):
                    wanted = reference.softmax_cross_entropy(logits, targets, **settings)
                    results.append(wanted)
                    close(kernels.softmax_cross_entropy(logits, targets, **settings), wanted, dtype)
                    for operations in (kernels, reference):
                        copy = logits.copy()
                        close(
                            operations.softmax_cross_entropy(copy, targets, **settings, out=copy),
                            wanted,
                            dtype,
                        )
                close(results[1], results[0], dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", SIZES[1:])
def test_hinge(classes, dtype, rng):
    for rows in (1, 2, 33):
        scores = (2 * rng.standard_normal((rows, classes))).astype(dtype)
        labels = rng.integers(0, classes, rows)
        for weights in weights_of(rows, rng):
            for margin in (1.0, 0.3):
                settings = {"margin": margin, "sample_weight": weights}
                wanted = reference.hinge(scores, labels, **settings)
                close(kernels.hinge(scores, labels, **settings), wanted, dtype)
                for operations in (kernels, reference):
                    copy = scores.copy()
                    close(operations.hinge(copy, labels, **settings, out=copy), wanted, dtype)


@pytest.mark.parametrize("operations", [kernels, reference])
def test_by_hand(operations):
    scores, labels = np.array([[3.0, 2.5, 1.0], [0.0, 4.0, 4.5]]), np.array([0, 1])
    loss, gradient = operations.hinge(scores, labels)
    assert loss == (0.5 + 1.5) / 2
    np.testing.assert_array_equal(gradient, [[-0.5, 0.5, 0], [0, -0.5, 0.5]])
    assert operations.hinge(np.zeros((4, 10)), np.arange(4))[0] == 9.0
    x, t = np.array([[3.0, -0.5]]), np.array([[1.0, 0.0]])
    assert operations.mae(x, t)[0] == 1.25
    np.testing.assert_array_equal(operations.mae(x, t)[1], [[0.5, -0.5]])
    loss, gradient = operations.huber(x, t)
    assert loss == (1.5 + 0.125) / 2
    np.testing.assert_array_equal(gradient, [[0.5, -0.25]])
    assert operations.mae(t, t)[1].tolist() == [[0.0, 0.0]]
    loss, gradient = operations.binary_cross_entropy(np.array([0.0, 2.0]), np.array([1.0, 0.0]))
    assert loss == pytest.approx((math.log(2) + math.log1p(math.exp(2))) / 2, rel=1e-15)
    np.testing.assert_allclose(gradient, [-0.25, 0.5 / (1 + math.exp(-2))], rtol=1e-15)
    # Two samples, of weights 3 and 1.
    rows = np.array([[1.0, 3.0], [0.0, 0.0]])
    loss, gradient = operations.mse(rows, np.zeros((2, 2)), sample_weight=[3, 1])
    assert loss == 3 / 4 * 5
    np.testing.assert_array_equal(gradient, [[0.75, 2.25], [0, 0]])
    loss, _ = operations.softmax_cross_entropy(
        np.zeros((3, 10)), np.array([1, 1, 4]), label_smoothing=0.3, sample_weight=[1, 2, 3]
    )
    assert loss == pytest.approx(math.log(10), rel=1e-15)


@pytest.mark.parametrize("operations", [kernels, reference])
@pytest.mark.parametrize("dtype", DTYPES)
def test_binary_cross_entropy_of_extreme_logits(operations, dtype):
    z = np.array([1e4, -1e4, 30, -30, 1e30], dtype)
    t = np.array([1, 0, 1, 0, 1], dtype)
    loss, gradient = operations.binary_cross_entropy(z, t)
    assert loss == pytest.approx(2 * math.log1p(math.exp(-30)) / 5, rel=1e-5)
    np.testing.assert_allclose(gradient[2:4] * 5, [-math.exp(-30), math.exp(-30)], rtol=1e-5)
    loss, _ = operations.binary_cross_entropy(z[:2], 1 - t[:2])
    assert loss == pytest.approx(1e4, rel=1e-6)


@pytest.mark.parametrize("operations", [kernels, reference])
@pytest.mark.parametrize("name", ["mse", "mae", "huber", "binary_cross_entropy", "hinge"])
def test_nan_goes_through_and_nothing_weighs_nothing(name, operations):
    x = np.array([[0.3, np.nan, 2.0]] * 2)
    t = np.array([0, 1]) if name == "hinge" else np.full((2, 3), 0.5)
    function = getattr(operations, name)
    assert np.isnan(function(x, t)[0])
    loss, gradient = function(np.ones((2, 3)), t, sample_weight=np.zeros(2))
    assert loss == 0
    np.testing.assert_array_equal(gradient, np.zeros((2, 3)))


@pytest.mark.parametrize("operations", [kernels, reference])
def test_classes_without_weight(operations):
    logits, labels = np.array([[1.0, 2.0, 3.0]] * 2), np.array([0, 0])
    loss, gradient = operations.softmax_cross_entropy(
        logits, labels, class_weight=np.array([0.0, 1, 1])
    )
    assert loss == 0
    np.testing.assert_array_equal(gradient, np.zeros((2, 3)))


X = np.ones((3, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: kernels.mae(X, X[0]), ValueError,
         "prediction and target must have the same shape and must not be empty, got (3, 4) and (4,)."),
        (lambda: kernels.binary_cross_entropy(X, X[0]), ValueError,
         "logits and targets must have the same shape and must not be empty, got (3, 4) and (4,)."),
        (lambda: kernels.huber(X, X, delta=0), ValueError, "delta must be above 0, got 0.0."),
        (lambda: kernels.huber(X, X, delta="1"), TypeError, "delta must be a number, got '1'"),
        (lambda: kernels.hinge(X, [0, 1, 2], margin=-1), ValueError,
         "margin must be finite and at least 0, got -1.0."),
        (lambda: kernels.hinge(X, [0, 1, 4]), ValueError,
         "labels must lie from 0 to 3, got 4 at index 2."),
        (lambda: kernels.hinge(X, X), ValueError,
         "labels must be integers of shape (3,), got float32 of shape (3, 4)."),
        (lambda: kernels.hinge(X[0], [0]), ValueError,
         "scores must have shape (N, C) and must not be empty, got (4,)."),
        (lambda: kernels.mse(X, X, sample_weight=[1, 2]), ValueError,
         "sample_weight must have shape (3,), got (2,)."),
        (lambda: kernels.mse(X, X, sample_weight=[1, 2, -1]), ValueError,
         "sample_weight must contain finite, non-negative numbers, got numbers from -1 to 2."),
        (lambda: kernels.mse(X, X, sample_weight=[1, np.nan, 1]), ValueError,
         "sample_weight must contain finite, non-negative numbers, got numbers from nan to nan."),
        (lambda: kernels.softmax_cross_entropy(X, [0, 1, 2], label_smoothing=1), ValueError,
         "label_smoothing must be at least 0 and below 1, got 1.0."),
        (lambda: kernels.softmax_cross_entropy(X, [0, 1, 2], class_weight=[1, 2, 3]), ValueError,
         "class_weight must have shape (4,), got (3,)."),
    ],
)  # fmt: skip
def test_messages(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


def test_overlap_is_refused():
    memory = np.ones(20, np.float32)
    for name in ("mse", "mae", "huber", "binary_cross_entropy"):
        with pytest.raises(ValueError, match="out must not overlap the other arrays"):
            getattr(kernels, name)(memory[:16], np.ones(16, np.float32), out=memory[1:17])
    square = np.ones((4, 4), np.float32)
    with pytest.raises(ValueError, match="out must not overlap the other arrays"):
        kernels.softmax_cross_entropy(np.ones((4, 4), np.float32), square, out=square)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [1, 2, 3, 7, 8, 9, 10, 16, 33, 250])
def test_cross_entropy_of_labels_and_probabilities(dtype, classes, rng):
    for rows in (1, 2, 32):
        logits = (rng.standard_normal((rows, classes)) * 4).astype(dtype)
        labels = rng.integers(0, classes, rows)
        one_hot = np.eye(classes, dtype=dtype)[labels]
        soft = rng.random((rows, classes)).astype(dtype)
        soft /= soft.sum(axis=1, keepdims=True)
        for targets in (labels, one_hot, soft):
            loss, gradient = kernels.softmax_cross_entropy(logits, targets)
            expected_loss, expected = reference.softmax_cross_entropy(logits, targets)
            assert isinstance(loss, float)
            # The loss itself is relative to the logits, which it is a difference of.
            tolerance = 1e-14 if dtype == np.float64 else 5e-6
            assert loss == pytest.approx(expected_loss, rel=tolerance, abs=10 * tolerance)
            assert_close(gradient, expected, dtype)
            assert kernels.count_correct(logits, targets) == reference.count_correct(
                logits, targets
            )
        copy = logits.copy()
        loss_in_place, gradient = kernels.softmax_cross_entropy(copy, labels, out=copy)
        loss, expected = kernels.softmax_cross_entropy(logits, labels)
        assert gradient is copy
        assert loss == loss_in_place
        np.testing.assert_array_equal(copy, expected)


def test_cross_entropy_of_extreme_logits():
    logits = np.array([[1e4, 0.0, -1e4], [0.0, 0.0, 0.0]], np.float32)
    loss, gradient = kernels.softmax_cross_entropy(logits, np.array([1, 2]))
    assert loss == pytest.approx((1e4 + np.log(3)) / 2, rel=1e-6)
    assert np.isfinite(gradient).all()
    loss, _ = kernels.softmax_cross_entropy(np.full((1, 3), np.nan, np.float32), np.array([0]))
    assert np.isnan(loss)


def test_count_correct_counts_the_first_of_equals():
    scores = np.array([[1, 1, 0], [0, 1, 1], [np.nan, 2, np.nan]], np.float32)
    for labels in ([0, 1, 0], [1, 2, 1]):
        labels = np.array(labels)
        assert kernels.count_correct(scores, labels) == reference.count_correct(scores, labels)


@pytest.mark.parametrize("dtype", DTYPES)
def test_mse(dtype, rng):
    for shape in [(1,), (7,), (3, 5), (17, 33), (2, 3, 4)]:
        a, b = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
        loss, gradient = kernels.mse(a, b)
        expected_loss, expected = reference.mse(a, b)
        assert loss == pytest.approx(expected_loss, rel=1e-6 if dtype == np.float32 else 1e-14)
        assert_close(gradient, expected, dtype)
