"""Learning curves of one run and of several."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import plot

ONE = {"loss": [1.0, 0.5], "val_loss": [0.9, 0.6], "accuracy": [0.5, 0.75]}
OTHER = {"loss": [2.0, 1.5, 1.25], "learning_rate": [0.1, 0.1, 0.1]}


def lines(ax):
    return {line.get_label(): line for line in ax.get_lines()}


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_one_run():
    ax = plot.learning_curves(ONE)
    drawn = lines(ax)
    assert list(drawn["training"].get_ydata()) == ONE["loss"]
    assert list(drawn["training"].get_xdata()) == [1, 2]
    assert list(drawn["validation"].get_ydata()) == ONE["val_loss"]
    assert drawn["validation"].get_linestyle() == "--"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "loss")
    assert legend(ax) == ["training", "validation"]


def test_the_history_of_fit(toy):
    history = fm.MLP(6, [4], 3).fit(*toy, epochs=2, verbose=0, validation_data=toy)
    ax = plot.learning_curves(history, "accuracy")
    drawn = lines(ax)
    assert list(drawn["training"].get_ydata()) == history.history["accuracy"]
    assert list(drawn["validation"].get_ydata()) == history.history["val_accuracy"]
    assert ax.yaxis.get_major_formatter()(0.5).endswith("%")


def test_runs_have_a_colour_and_a_marker_each():
    ax = plot.learning_curves({"small": ONE, "large": OTHER})
    small, valid, large = ax.get_lines()
    assert (small.get_label(), large.get_label()) == ("small", "large")
    assert list(large.get_ydata()) == OTHER["loss"]
    assert small.get_color() == valid.get_color() != large.get_color()
    assert small.get_marker() == valid.get_marker() != large.get_marker()
    assert legend(ax) == ["small", "large", "training", "validation"]


def test_many_long_runs_are_all_told_apart():
    ax = plot.learning_curves({f"run {i}": {"loss": list(range(100))} for i in range(12)})
    styles = {(line.get_color(), line.get_marker()) for line in ax.get_lines()}
    assert len(styles) == 12
    assert all(line.get_markevery() != 1 for line in ax.get_lines())


def test_only_validation():
    ax = plot.learning_curves(ONE, "val_loss")
    (line,) = ax.get_lines()
    assert list(line.get_ydata()) == ONE["val_loss"]
    assert ax.get_ylabel() == "validation loss"


def test_one_epoch_is_a_visible_point():
    ax = plot.learning_curves({"loss": [1.0]})
    assert ax.get_lines()[0].get_marker() == "o"
    assert list(ax.get_xticks()) == [1]


def test_what_is_not_finite_leaves_a_gap_and_a_cross():
    nan, inf = math.nan, math.inf
    ax = plot.learning_curves({"a": {"loss": [2.0, 3.0, inf, nan]}, "b": {"loss": [nan] * 4}})
    curve, cross, other = ax.get_lines()
    np.testing.assert_array_equal(curve.get_ydata(), [2.0, 3.0, nan, nan])
    assert (list(cross.get_xdata()), list(cross.get_ydata())) == ([2], [3.0])
    assert cross.get_marker() == "x"
    assert other.get_label() == "b (no finite value)"
    ax.figure.canvas.draw()


@pytest.mark.parametrize(
    ("histories", "metric", "error", "message"),
    [
        ({}, "loss", ValueError, "histories must hold at least one run, got none."),
        (fm.History(), "loss", ValueError, "histories must have at least one epoch, got none."),
        ({"a": fm.History()}, "loss", ValueError, "histories['a'] must have at least one epoch, got none."),
        (
            [ONE], "loss", TypeError,
            "histories must be a History or a dict of run names to Histories, got list.",
        ),
        ({"a": ONE, "b": 3}, "loss", TypeError, "histories['b'] must be a History, got int."),
        ({"loss": 3}, "loss", TypeError, "histories['loss'] must be a list of numbers, got 3."),
        (
            ONE, "acuracy", ValueError,
            "metric must be one of loss, val_loss, accuracy, got 'acuracy'. Did you mean 'accuracy'?",
        ),
        (
            {"a": ONE, "b": OTHER}, "accuracy", ValueError,
            "run 'b': metric must be one of loss, learning_rate, got 'accuracy'.",
        ),
        (ONE, 3, TypeError, "metric must be one of loss, val_loss, accuracy, got 3."),
    ],
)  # fmt: skip
def test_refused(histories, metric, error, message):
    with pytest.raises(error) as caught:
        plot.learning_curves(histories, metric)
    assert str(caught.value) == message
