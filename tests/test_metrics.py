"""Metrics against values by hand and against scikit-learn, where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp import metrics

TRUE = np.array([0, 1, 2, 2, 1, 0, 2, 2])
PREDICTED = np.array([0, 2, 2, 1, 1, 0, 2, 0])


def test_accuracy_and_error_by_hand():
    assert metrics.accuracy(TRUE, PREDICTED) == 5 / 8
    assert metrics.error(TRUE, PREDICTED) == 3 / 8
    assert metrics.accuracy(["a", "b"], ["a", "a"]) == 0.5
    assert metrics.accuracy([[1, 0, 1], [0, 0, 1]], [[1, 1, 1], [0, 1, 1]]) == 4 / 6


def test_confusion_matrix_by_hand():
    wanted = [[2, 0, 0], [0, 1, 1], [1, 1, 2]]
    np.testing.assert_array_equal(metrics.confusion_matrix(TRUE, PREDICTED), wanted)
    some = metrics.confusion_matrix(TRUE, PREDICTED, labels=[2, 7, 0])
    np.testing.assert_array_equal(some, [[2, 0, 1], [0, 0, 0], [0, 0, 2]])
    words = metrics.confusion_matrix(["no", "yes", "no"], ["yes", "yes", "no"])
    np.testing.assert_array_equal(words, [[1, 1], [0, 1]])
    assert metrics.confusion_matrix([3], [3]).tolist() == [[1]]


def test_precision_recall_and_f1_by_hand():
    # Of class 1: 2 right, 3 predicted, 4 actual.
    true, predicted = [1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 1, 0]
    assert metrics.precision(true, predicted) == 2 / 3
    assert metrics.recall(true, predicted) == 2 / 4
    assert metrics.f1(true, predicted) == 4 / 7
    # By class: right 2, 1, 2; predicted 3, 2, 3; actual 2, 2, 4.
    shares = np.array([2 / 3, 1 / 2, 2 / 3])
    assert metrics.precision(TRUE, PREDICTED, "macro") == pytest.approx(shares.mean())
    assert metrics.precision(TRUE, PREDICTED, "weighted") == pytest.approx(shares @ [2, 2, 4] / 8)
    assert metrics.precision(TRUE, PREDICTED, "micro") == 5 / 8
    assert metrics.recall(TRUE, PREDICTED, "macro") == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert metrics.f1(TRUE, PREDICTED, "macro") == pytest.approx((4 / 5 + 2 / 4 + 4 / 7) / 3)
    # Nobody predicted it, and it is nowhere.
    assert metrics.precision([1, 0], [0, 0]) == 0
    assert metrics.recall([0, 0], [0, 1]) == 0
    assert metrics.f1([0, 0], [0, 0]) == 0
    many = np.array([[1, 0], [1, 1], [0, 1]]), np.array([[1, 1], [0, 1], [0, 0]])
    assert metrics.precision(*many, "macro") == (1 + 1 / 2) / 2
    assert metrics.recall(*many, "micro") == 2 / 4


def test_top_k_by_hand():
    scores = [[0.1, 0.5, 0.4], [0.3, 0.3, 0.4], [0.2, 0.2, 0.2]]
    assert metrics.top_k([1, 1, 0], scores, k=1) == 2 / 3
    assert metrics.top_k([2, 1, 1], scores, k=2) == 2 / 3
    assert metrics.top_k([0, 0, 2], scores, k=3) == 1.0
    assert metrics.top_k([0, 0, 2], scores) == 1.0
    assert metrics.top_k([0, 1], [[np.nan, 1, 2], [np.nan, 1, 2]], k=1) == 0.5


def test_top_1_is_accuracy():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 3, (200, 5)).astype("float32")  # many ties
    labels = rng.integers(0, 5, 200)
    assert metrics.top_k(labels, scores, 1) == metrics.accuracy(labels, scores.argmax(axis=1))


def test_numbers_by_hand():
    true, predicted = [[1.0, 2.0], [3.0, 2.0]], [[2.0, 2.0], [3.0, 5.0]]
    assert metrics.mse(true, predicted) == 10 / 4
    assert metrics.mae(true, predicted) == 1.0
    assert metrics.r2([1, 2, 3], [1, 2, 3]) == 1
    assert metrics.r2([1, 2, 3], [2, 2, 2]) == 0
    assert metrics.r2([1, 2, 3], [3, 2, 1]) == -3
    assert metrics.r2(true, predicted) == 0.25  # 1 - 1 / 2, and 0 for a constant that is missed
    assert metrics.r2([5, 5], [5, 5]) == 1
    assert np.isnan(metrics.r2([1], [1]))


def test_log_loss_by_hand():
    wanted = -(np.log(0.8) + np.log(0.7)) / 2
    assert metrics.log_loss([1, 0], [0.8, 0.3]) == pytest.approx(wanted)
    assert metrics.log_loss([1, 0], [[0.2, 0.8], [0.7, 0.3]]) == pytest.approx(wanted)
    assert metrics.log_loss([[0, 1], [1, 0]], [[0.2, 0.8], [0.7, 0.3]]) == pytest.approx(wanted)
    assert metrics.log_loss([0], [[0.0, 1.0]]) == pytest.approx(-np.log(2.0**-52))


def test_everything_is_a_python_float():
    scores = np.eye(3, dtype=np.float32)[PREDICTED]
    for value in (
        metrics.accuracy(TRUE, PREDICTED),
        metrics.error(TRUE, PREDICTED),
        metrics.top_k(TRUE, scores, 2),
        metrics.f1(TRUE, PREDICTED, "macro"),
        metrics.precision(TRUE, PREDICTED, "weighted"),
        metrics.recall(TRUE, PREDICTED, "micro"),
        metrics.log_loss(TRUE, scores),
        metrics.mse(scores, scores),
        metrics.mae(scores, scores),
        metrics.r2(scores, scores),
    ):
        assert type(value) is float


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.accuracy([1, 2], [1]),
         "y_true and y_pred must have the same shape and not be empty, got (2,) and (1,)."),
        (lambda: metrics.accuracy([], []),
         "y_true and y_pred must have the same shape and not be empty, got (0,) and (0,)."),
        (lambda: metrics.accuracy(1, 1), "y_true must have shape (N,) or (N, K), got ()."),
        (lambda: metrics.accuracy(["a"], [1]), "y_true and y_pred must hold labels of the same kind"),
        (lambda: metrics.f1(TRUE, PREDICTED),
         'y_true must hold labels 0 and 1 with average="binary", got 2. Choose another average, '
         'such as "macro", for other labels.'),
        (lambda: metrics.f1([0, 1], [0, 2]), "y_pred must hold labels 0 and 1 with"),
        (lambda: metrics.f1(["a"], ["a"]), "y_true must hold labels 0 and 1 with average=\"binary\", got 'a'."),
        (lambda: metrics.f1([[0, 1]], [[1, 1]]), 'average must be "macro", "micro" or "weighted" for multi-label, got "binary".'),
        (lambda: metrics.f1([[0, 3]], [[1, 1]], "macro"), "y_true must hold labels 0 and 1 for multi-label, got 3."),
        (lambda: metrics.recall(TRUE, PREDICTED, "samples"),
         "average must be one of binary, macro, micro, weighted, got 'samples'."),
        (lambda: metrics.confusion_matrix([[1]], [[1]]), "y_true must have shape (N,), got (1, 1)"),
        (lambda: metrics.confusion_matrix(TRUE, TRUE, [1, 1]),
         "labels must have shape (C,), each class once, got [1, 1]."),
        (lambda: metrics.top_k([0, 3], np.eye(3)[:2]),
         "y_true must hold class numbers from 0 to 2, got 3 at index 1."),
        (lambda: metrics.top_k([0.5], np.eye(3)[:1]), "y_true must hold class numbers from 0 to 2, got 0.5 at index 0."),
        (lambda: metrics.top_k([0], np.eye(3)),
         "y_true and y_score must have shapes (N,) and (N, C) and not be empty, got (1,) and"),
        (lambda: metrics.top_k([0], [[1, 2]], k=0), "k must be a positive integer, got 0."),
        (lambda: metrics.top_k([0], [["a"]]), "y_score must hold numbers, got dtype"),
        (lambda: metrics.log_loss([0], [[0.5, 0.7]]),
         "y_prob must have rows of probabilities that sum to 1, got a row with minimum 0.5 and sum "
         "1.2 at index 0."),
        (lambda: metrics.log_loss([0], [1.5]), "y_prob must have rows of probabilities"),
        (lambda: metrics.log_loss([0], [np.nan]), "y_prob must have rows of probabilities"),
        (lambda: metrics.mse([1, 2], [[1, 2]]),
         "y_true and y_pred must have the same shape and not be empty, got (2,) and (1, 2)."),
        (lambda: metrics.r2(["a"], ["b"]), "y_true must hold numbers, got dtype <U1."),
    ],
)  # fmt: skip
def test_messages(call, message):
    with pytest.raises(ValueError) as caught:
        call()
    assert message in str(caught.value)


# --- scikit-learn ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sklearn():
    return pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("n", [1, 5, 300])
def test_classes_as_scikit_learn(sklearn, classes, n):
    rng = np.random.default_rng([classes, n])
    true, predicted = rng.integers(0, classes, (2, n))
    assert metrics.accuracy(true, predicted) == sklearn.accuracy_score(true, predicted)
    matrix = metrics.confusion_matrix(true, predicted)
    np.testing.assert_array_equal(
        matrix, sklearn.confusion_matrix(true, predicted, labels=np.union1d(true, predicted))
    )
    labels = np.arange(classes)[::-1]
    np.testing.assert_array_equal(
        metrics.confusion_matrix(true, predicted, labels),
        sklearn.confusion_matrix(true, predicted, labels=labels),
    )
    for average in ("binary", "macro", "micro", "weighted"):
        if average == "binary" and classes > 2:
            continue
        for name in ("precision", "recall", "f1"):
            theirs = getattr(sklearn, f"{name}_score")
            wanted = theirs(true, predicted, average=average, zero_division=0)
            found = getattr(metrics, name)(true, predicted, average)
            assert found == pytest.approx(wanted, rel=1e-14), (name, average)
    scores = rng.standard_normal((n, classes))
    probabilities = rng.dirichlet(np.ones(classes), n)
    every = np.arange(classes)
    assert metrics.log_loss(true, probabilities) == pytest.approx(
        sklearn.log_loss(true, probabilities, labels=every), rel=1e-12
    )
    for k in range(1, classes):
        given = scores[:, 1] - scores[:, 0] if classes == 2 else scores
        wanted = sklearn.top_k_accuracy_score(true, given, k=k, labels=every)
        assert metrics.top_k(true, scores, k) == pytest.approx(wanted, rel=1e-14)


def test_multi_label_as_scikit_learn(sklearn):
    rng = np.random.default_rng(3)
    true, predicted = rng.integers(0, 2, (2, 50, 4))
    for average in ("macro", "micro", "weighted"):
        for name in ("precision", "recall", "f1"):
            wanted = getattr(sklearn, f"{name}_score")(
                true, predicted, average=average, zero_division=0
            )
            found = getattr(metrics, name)(true, predicted, average)
            assert found == pytest.approx(wanted, rel=1e-14)


@pytest.mark.parametrize("shape", [(2,), (40,), (40, 3)])
def test_numbers_as_scikit_learn(sklearn, shape):
    rng = np.random.default_rng(1)
    true, predicted = rng.standard_normal((2, *shape))
    if len(shape) == 2:
        true[:, 1] = 2.0
    for name, theirs in (
        ("mse", sklearn.mean_squared_error),
        ("mae", sklearn.mean_absolute_error),
        ("r2", sklearn.r2_score),
    ):
        assert getattr(metrics, name)(true, predicted) == pytest.approx(
            theirs(true, predicted), rel=1e-12
        )
