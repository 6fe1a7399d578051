"""Cells, names and shades of confusion matrices."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp import metrics, plot

TRUE, PREDICTED = [0, 0, 0, 1, 2, 2], [0, 0, 1, 1, 2, 0]


def cells(ax, count):
    values = {tuple(reversed(t.get_position())): t.get_text() for t in ax.texts}
    return [[int(values[row, column]) for column in range(count)] for row in range(count)]


def names(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_cells_shades_and_names():
    ax = plot.confusion_matrix(TRUE, PREDICTED)
    assert cells(ax, 3) == [[2, 1, 0], [0, 1, 0], [1, 0, 1]]
    np.testing.assert_allclose(
        ax.images[0].get_array(), [[2 / 3, 1 / 3, 0], [0, 1, 0], [0.5, 0, 0.5]]
    )
    assert names(ax.xaxis) == names(ax.yaxis) == ["0", "1", "2"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("predicted class", "true class")
    assert ax.get_title() == "66.67% of 6 correct"
    assert ax.figure.axes[1].get_ylabel() == "share of the true class (row)"


def test_numbers_are_legible_on_their_shade():
    ax = plot.confusion_matrix(TRUE, PREDICTED)
    shades = np.asarray(ax.images[0].get_array())
    for text in ax.texts:
        column, row = text.get_position()
        assert (text.get_color() == "white") == (shades[row, column] > 0.55)


def test_names_of_numbered_classes_and_one_that_does_not_occur():
    long = "a name that is much longer than it should be"
    ax = plot.confusion_matrix(TRUE, PREDICTED, ["cat", "car", long, "never"])
    assert cells(ax, 4)[3] == [0, 0, 0, 0]
    shown = names(ax.yaxis)
    assert shown[:2] + shown[3:] == ["cat", "car", "never"]
    assert shown[2].endswith("..") and len(shown[2]) <= 24
    assert all(label.get_rotation() == 45 for label in ax.xaxis.get_ticklabels())


def test_labels_that_are_strings_in_an_order_of_ones_own():
    ax = plot.confusion_matrix(["b", "b", "a"], ["b", "a", "a"], classes=["b", "a"])
    assert cells(ax, 2) == [[1, 1], [0, 1]]
    assert names(ax.xaxis) == ["b", "a"]
    assert names(plot.confusion_matrix(["b", "a"], ["b", "a"]).xaxis) == ["a", "b"]


def test_labels_of_minus_and_plus_one():
    ax = plot.confusion_matrix([-1.0, 1.0, 1.0], [-1.0, -1.0, 1.0])
    assert cells(ax, 2) == [[1, 0], [1, 1]]
    assert names(ax.xaxis) == ["-1", "1"]


def test_many_classes_have_shades_only():
    rng = np.random.default_rng(0)
    true, predicted = rng.integers(0, 60, 999), rng.integers(0, 60, 999)
    ax = plot.confusion_matrix(true, predicted)
    assert not ax.texts and len(names(ax.xaxis)) <= 40
    counts = metrics.confusion_matrix(true, predicted)
    np.testing.assert_allclose(ax.images[0].get_array(), counts / counts.sum(axis=1, keepdims=True))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            ([0, 1], np.eye(2)), ValueError,
            "y_pred must have shape (N,), one label per sample, got (2, 2). For outputs or one-hot "
            "rows, pass y_pred.argmax(axis=1).",
        ),
        (([0], [0, 1]), ValueError, "y_true and y_pred must have the same length, got 1 and 2."),
        (([], []), ValueError, "y_true must hold at least one label, got none."),
        (
            ([0, 1], [0.5, 1.0]), ValueError,
            "y_pred must hold labels (integers or strings), got 0.5 at index 0.",
        ),
        (
            ([0, 1], ["0", "1"]), ValueError,
            "y_true and y_pred must both hold integers or both hold strings, got dtypes int64 and "
            "<U1.",
        ),
        (
            ([0, 2], [0, 1], ["a", "b"]), ValueError,
            "y_true and y_pred must hold labels from 0 to 1, got 2 with 2 classes.",
        ),
        (
            (["a"], ["c"], ["a", "b"]), ValueError,
            "y_true and y_pred must hold labels in classes, got 'c' with 2 classes.",
        ),
        (([0], [0], "ab"), TypeError, "classes must be a list of names, got 'ab'."),
        (
            (["a"], ["a"], ["a", "a"]), ValueError,
            "classes must not contain a name twice, got ['a', 'a'].",
        ),
    ],
)  # fmt: skip
def test_refused(arguments, error, message):
    with pytest.raises(error) as caught:
        plot.confusion_matrix(*arguments)
    assert str(caught.value) == message
