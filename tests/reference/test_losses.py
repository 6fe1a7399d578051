"""Reference losses against naive formulas and exact values."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp import reference

DTYPES = ["float32", "float64"]


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
