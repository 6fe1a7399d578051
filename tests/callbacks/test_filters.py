"""The picture of a network's first filters."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.callbacks import _filters


def test_pixels_of_a_picture():
    filters = np.zeros((3, 2, 2, 1), np.float32)
    filters[1, 0, 1] = -2.0
    filters[2, 1, 0] = 1.0
    shown = _filters.picture(filters)
    assert shown.shape == (2 * 33 + 1, 2 * 33 + 1)
    assert np.all(shown[0] == 255)
    tiles = shown[1:33, 1:33], shown[1:33, 34:66], shown[34:66, 1:33]
    assert np.all(tiles[0] == 128)
    assert np.all(tiles[1][:16, 16:] == 0)
    assert np.all(tiles[1][16:] == 128)
    assert np.all(tiles[2][16:, :16] == 191)
    assert np.all(shown[34:66, 34:66] == 255)
    assert np.all(_filters.picture(np.full((1, 2, 2, 1), np.nan))[1:-1, 1:-1] == 128)
    colours = np.zeros((1, 4, 4, 3))
    colours[0, 0, 0, 2] = 1.0
    assert _filters.picture(colours).shape == (34, 34, 3)
    assert _filters.picture(colours)[1, 1].tolist() == [128, 128, 255]


@pytest.mark.parametrize(
    ("layers", "shape", "expected"),
    [
        ([fm.Dense(7), fm.Dense(3)], (784,), (7, 28, 28, 1)),
        ([fm.Flatten(), fm.Dense(7)], (6, 8, 3), (7, 6, 8, 3)),
        ([fm.Dropout(0.1), fm.Dense(200)], (64,), (64, 8, 8, 1)),
        ([fm.BatchNorm(), fm.Conv2D(5, (3, 2))], (8, 8, 3), (5, 3, 2, 3)),
        ([fm.Conv2D(5, 3)], (8, 8, 2), (10, 3, 3, 1)),
        ([fm.AvgPool2D(2), fm.Conv2D(5, 3)], (8, 8, 1), (5, 3, 3, 1)),
        ([fm.AvgPool2D(2), fm.Flatten(), fm.Dense(5)], (12, 12, 1), None),
        ([fm.Dense(5)], (4,), None),
        ([fm.Dense(5)], (63,), None),
        ([fm.Activation("relu")], (64,), None),
        ([fm.Embedding(25, 5)], (25,), None),
    ],
    ids=str,
)
def test_whose_filters_are_shown(layers, shape, expected):
    model = fm.Sequential(copy.deepcopy(layers), input_shape=shape)
    filters = _filters.first_filters(model)
    assert (None if filters is None else filters.shape) == expected
    if expected == (7, 28, 28, 1):
        weight = model.parameters["dense_0.weight"]
        assert np.array_equal(filters[3, :, :, 0], weight[:, 3].reshape(28, 28))
