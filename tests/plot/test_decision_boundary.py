"""Regions, lines and points of decision boundaries."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import plot

RNG = np.random.default_rng(1)
X = RNG.uniform(-1, 1, (40, 2))


def line_at(x0, outputs, activation="linear", loss="cross_entropy"):
    """A model that changes its mind where the first input is ``x0``."""
    model = fm.Sequential([fm.Dense(outputs, activation=activation)], (2,))
    last = np.eye(2, outputs)[:1] if outputs > 1 else np.ones((1, 1))
    weight = np.concatenate([10 * last, 0 * last])
    model.set_parameters({"dense_0.weight": weight, "dense_0.bias": -10 * x0 * last[0]})
    model.compile(loss=loss)
    return model


def boundary(ax):
    """The first coordinates of the lines."""
    found = [path.vertices for c in ax.collections for path in c.get_paths() if c.get_paths()]
    lines = [v for v in found if len(v) > 50]
    return np.concatenate(lines)[:, 0]


def regions(ax):
    return np.asarray(ax.images[0].get_array())


def points(ax):
    return {
        c.get_label(): np.asarray(c.get_offsets())
        for c in ax.collections
        if c.get_label()[0] != "_"
    }


@pytest.mark.parametrize(
    ("model", "labels", "where"),
    [
        (line_at(0.3, 2), (1, 0), 0.3),
        (line_at(0.3, 1, "tanh", "mse"), (-1, 1), 0.3),
        (line_at(0.3, 1, "sigmoid", "mse"), (0, 1), 0.3),
        (line_at(0.3, 1, "linear", "binary_cross_entropy"), (0, 1), 0.3),
        (line_at(0.3, 1, "linear", "mse"), (-1, 1), 0.3),
        (line_at(0.25, 1, "linear", "mse"), (0, 1), 0.3),  # 10 (x - 0.25) is 1/2 at 0.3
    ],
)
def test_where_it_changes_its_mind(model, labels, where, backend):
    model.backend = backend
    right = X[:, 0] > where
    y = np.where(right, labels[1], labels[0])
    ax = plot.decision_boundary(model, X, y)
    np.testing.assert_allclose(boundary(ax), where, atol=1e-3)
    ahead = int(np.argmax(np.array(sorted(labels)) == labels[1]))
    assert (regions(ax)[:, -1] == ahead).all() and (regions(ax)[:, 0] == 1 - ahead).all()
    drawn = points(ax)
    np.testing.assert_array_equal(drawn[str(labels[1])], X[right])
    np.testing.assert_array_equal(drawn[str(labels[0])], X[~right])
    assert ax.get_title() == "100.0% of 40 points correct"


def test_the_share_of_right_points():
    y = (X[:, 0] <= 0.3).astype(int)
    y[:4] = 1 - y[:4]
    assert plot.decision_boundary(line_at(0.3, 2), X, y).get_title() == "90.0% of 40 points correct"


def test_many_classes_are_all_told_apart():
    y = np.arange(24) % 12
    x = np.stack([np.cos(y), np.sin(y)], axis=1) * 5 + RNG.normal(0, 0.1, (24, 2))
    model = fm.MLP(2, [32], 12, seed=1)
    model.fit(x, y, epochs=300, optimizer=fm.Adam(0.02), verbose=0)
    ax = plot.decision_boundary(model, x, y, classes=[f"class {i}" for i in range(12)])
    assert set(np.unique(regions(ax))) == set(range(12))
    drawn = [c for c in ax.collections if c.get_label().startswith("class ")]
    shapes = {(tuple(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes()) for c in drawn}
    assert len(shapes) == 12
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    assert legend == [f"class {i}" for i in range(12)]
    assert [text.get_text() for text in ax.texts] == legend


def test_without_labels_points_have_no_class():
    ax = plot.decision_boundary(line_at(0, 2), X)
    (line,) = ax.get_lines()
    np.testing.assert_array_equal(np.stack(line.get_data(), axis=1), X)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["0", "1"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$x_1$", "$x_2$")


def test_columns_of_a_frame_name_the_axes():
    pandas = pytest.importorskip("pandas")
    ax = plot.decision_boundary(line_at(0, 2), pandas.DataFrame(X, columns=["width", "height"]))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("width", "height")


def test_one_hot_labels_and_columns_of_labels():
    y = (X[:, 0] <= 0.3).astype(int)
    drawn = points(plot.decision_boundary(line_at(0.3, 2), X, np.eye(2)[y]))
    np.testing.assert_array_equal(drawn["1"], X[y == 1])
    drawn = points(plot.decision_boundary(line_at(0.3, 1, "tanh", "mse"), X, 2 * y[:, None] - 1))
    np.testing.assert_array_equal(drawn["-1"], X[y == 0])


def test_one_point_and_one_class():
    ax = plot.decision_boundary(line_at(0.3, 2), [[5.0, 0.0]], [0])
    assert ax.get_xlim()[0] < 5 < ax.get_xlim()[1]
    ax.figure.canvas.draw()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (fm.MLP(784, [], 10), X), ValueError,
            "model must have input_shape (2,), because the plot is a plane, got (784,).",
        ),
        (("model", X), TypeError, "model must be a fastmlp model, got str."),
        (
            (fm.Sequential([fm.Dense(2)], (2,)), np.zeros((3, 4))), ValueError,
            "x must have shape (N, 2), got (3, 4).",
        ),
        (
            (fm.MLP(2, [], 3), X, np.full(40, 3)), ValueError,
            "y must hold integer labels from 0 to 2 (the model has 3 outputs), got 3 at index 0.",
        ),
        (
            (fm.MLP(2, [], 1), X, np.full(40, 0.5)), ValueError,
            "y must hold labels 0 and 1, or -1 and 1, for a model with one output, got 0.5 at index 0.",
        ),
        (
            (fm.MLP(2, [], 1), X, np.arange(40) % 3 - 1), ValueError,
            "y must hold labels 0 and 1, or -1 and 1, for a model with one output, got 0 at index 1.",
        ),
        (
            (fm.MLP(2, [], 1), X, [0, 1]), ValueError,
            "y must have shape (40,), one label per point, got (2,).",
        ),
    ],
)  # fmt: skip
def test_refused(arguments, error, message):
    with pytest.raises(error) as caught:
        plot.decision_boundary(*arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("classes", "error", "message"),
    [
        (["a"], ValueError, "classes must have 2 names, one per class, got 1."),
        ("ab", TypeError, "classes must be a list of names, got 'ab'."),
    ],
)
def test_names_refused(classes, error, message):
    with pytest.raises(error) as caught:
        plot.decision_boundary(line_at(0, 2), X, classes=classes)
    assert str(caught.value) == message


def test_outputs_that_are_images_are_refused():
    model = fm.Sequential([fm.Embedding(5, 3, combine=None)], (2,))
    with pytest.raises(ValueError, match=r"model must have output_shape \(classes,\) or \(1,\)"):
        plot.decision_boundary(model, [[0, 1]])


def test_inputs_that_are_integers_are_refused():
    model = fm.Sequential([fm.Embedding(5, 3, combine="sum")], (2,))
    with pytest.raises(
        ValueError, match="model must take real numbers, got a model that takes integers"
    ):
        plot.decision_boundary(model, [[0, 1]])
