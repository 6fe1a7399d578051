"""Misclassified images: their choice, order and captions."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp import plot

X = np.random.default_rng(0).uniform(0, 1, (6, 4, 4))
TRUE = np.array([0, 1, 2, 0, 1, 2])
# Right are the first and the last; of the others the third gives its label the least.
PROBABILITIES = np.array(
    [
        [0.8, 0.1, 0.1],
        [0.6, 0.3, 0.1],
        [0.0, 1.0, 0.0],
        [0.25, 0.7, 0.05],
        [0.5, 0.1, 0.4],
        [0, 0, 1],
    ]
)
WORST_FIRST = [2, 4, 3, 1]


def words(ax):
    return [text.get_text() for text in ax.texts]


def images(ax):
    return [np.asarray(image.get_array()) for image in ax.images]


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 1), (16,)])
def test_the_worst_come_first(shape):
    ax = plot.misclassified(X.reshape(6, *shape), TRUE, PROBABILITIES)
    assert words(ax) == [
        "true 2\npred. 1 100%",
        "true 1\npred. 0 50.0%",
        "true 0\npred. 1 70.0%",
        "true 1\npred. 0 60.0%",
    ]
    for image, index in zip(images(ax), WORST_FIRST, strict=True):
        np.testing.assert_array_equal(image, X[index])
    assert ax.get_title() == "4 of 6 misclassified"


def test_only_so_many_and_one_hot_labels():
    ax = plot.misclassified(X, np.eye(3)[TRUE], PROBABILITIES, count=2)
    assert len(ax.images) == len(ax.texts) == 2
    assert ax.get_title() == "4 of 6 misclassified, the worst 2"


def test_labels_without_probabilities_keep_their_order():
    ax = plot.misclassified(X, TRUE, PROBABILITIES.argmax(axis=1), count=3)
    assert words(ax) == ["true 1\npredicted 0", "true 2\npredicted 1", "true 0\npredicted 1"]
    np.testing.assert_array_equal(images(ax)[0], X[1])
    assert ax.get_title() == "4 of 6 misclassified, the first 3"


def test_probabilities_of_one_class():
    ax = plot.misclassified(X, [0, 1, 0, 1, 0, 1], np.array([[0.9, 0.9, 0.1, 0.2, 0.0, 1.0]]).T)
    assert words(ax) == ["true 0\npred. 1 90.0%", "true 1\npred. 0 80.0%"]


def test_names_are_shortened():
    names = ["T-shirt/top", "Ankle boot of leather", "Bag"]
    ax = plot.misclassified(X, TRUE, PROBABILITIES, classes=names)
    assert words(ax)[:2] == [
        "true Bag\npred. Ankle boo.. 100%",
        "true Ankle boot of l..\npred. T-shirt/top 50.0%",
    ]


def test_images_in_colour_and_bytes():
    x = np.random.default_rng(1).integers(0, 256, (2, 4, 4, 3), np.uint8)
    for given in (x, x.reshape(2, 48)):
        (image,) = images(plot.misclassified(given, [0, 1], [0, 0]))
        np.testing.assert_allclose(image, x[1] / 255)
    ax = plot.misclassified(x[..., 0], [0, 1], [0, 0])
    assert ax.images[0].get_clim() == (0, 255)


def test_every_image_lies_within_the_axes():
    ax = plot.misclassified(np.repeat(X, 5, axis=0), np.zeros(30), np.ones(30))
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert len(ax.images) == 25
    extents = {tuple(image.get_extent()) for image in ax.images}
    assert len(extents) == 25
    for x0, x1, y0, y1 in extents:
        assert left <= x0 < x1 <= right and top <= y1 < y0 <= bottom


def test_none_is_wrong():
    ax = plot.misclassified(X, TRUE, TRUE)
    assert (ax.get_title(), len(ax.images)) == ("none of 6 misclassified", 0)


LOGITS = PROBABILITIES * 10


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            (X[:, :3, :2, None].repeat(2, axis=3), TRUE, TRUE), ValueError,
            "x must be images of shape (N, H, W), (N, H, W, 1) or (N, H, W, 3), or rows of H * H or "
            "3 * H * H values, got (6, 3, 2, 2).",
        ),
        (
            (np.zeros((6, 7)), TRUE, TRUE), ValueError,
            "x must be images of shape (N, H, W), (N, H, W, 1) or (N, H, W, 3), or rows of H * H or "
            "3 * H * H values, got (6, 7).",
        ),
        ((X[:0], [], []), ValueError, "x must hold at least one image, got shape (0, 4, 4)."),
        (
            (X, TRUE, TRUE[:5]), ValueError,
            "y_pred must have shape (6,) for labels or (6, C) for probabilities, one row per image, "
            "got (5,).",
        ),
        (
            (X, TRUE, LOGITS), ValueError,
            "y_pred must hold rows of probabilities that sum to 1, as model.predict_proba(x) returns "
            "them, got [8.0, 1.0, 1.0] at index 0.",
        ),
        (
            (X, TRUE, PROBABILITIES[:, 0]), ValueError,
            "y_pred must contain non-negative integer labels, got 0.8 at index 0. Probabilities need "
            "shape (N, C) or (N, 1).",
        ),
        (
            (X, TRUE + 1, PROBABILITIES), ValueError,
            "y_true must hold integer labels from 0 to 2 (the model has 3 outputs), got 3 at index 2.",
        ),
        ((X, TRUE[:5], TRUE), ValueError, "y_true must have shape (6,), one label per image, got (5,)."),
        ((X, -TRUE, TRUE), ValueError, "y_true must contain non-negative integer labels, got -1 at index 1."),
        ((X, TRUE, TRUE, 0), ValueError, "count must be at least 1, got 0."),
        ((X, TRUE, TRUE, 2.5), TypeError, "count must be an integer, got 2.5 of type float."),
    ],
)  # fmt: skip
def test_refused(arguments, error, message):
    with pytest.raises(error) as caught:
        plot.misclassified(*arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("predicted", "message"),
    [
        (PROBABILITIES, "classes must have 3 names, one per class, got 2."),
        (TRUE, "classes must have at least 3 names, one per label, got 2."),
    ],
)
def test_names_refused(predicted, message):
    with pytest.raises(ValueError) as caught:
        plot.misclassified(X, TRUE, predicted, classes=["a", "b"])
    assert str(caught.value) == message
