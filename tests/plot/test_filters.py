"""Filters of convolutions and of units that see an image."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import plot


def shown(ax):
    return np.ma.filled(ax.images[0].get_array(), np.nan)


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_filters_of_one_channel(backend):
    model = fm.Sequential([fm.Conv2D(5, 3), fm.Flatten(), fm.Dense(2)], (8, 8), seed=2)
    model.backend = backend
    model.predict(np.zeros((1, 8, 8)))
    weight = model.parameters["conv2d_0.weight"]
    ax = plot.filters(model)
    mosaic = shown(ax)
    assert mosaic.shape == (7, 11)  # 2 rows of 3, with lines of one pixel between them
    for number in range(5):
        top, left = 4 * (number // 3), 4 * (number % 3)
        tile = mosaic[top : top + 3, left : left + 3]
        np.testing.assert_array_equal(tile, weight[:, :, 0, number])
    assert np.isnan(mosaic[3]).all() and np.isnan(mosaic[4:, 8:]).all()
    assert ax.get_title() == "conv2d_0: all 5 filters, 3 x 3 weights each"
    assert (ax.get_ylabel(), ticks(ax.yaxis), ticks(ax.xaxis)) == (
        "filter",
        ["0", "3"],
        ["+0", "+1", "+2"],
    )
    low, high = ax.images[0].get_clim()
    assert low == -high
    assert ax.figure.axes[1].get_ylabel() == "weight"


def test_filters_of_colours_are_in_colour():
    model = fm.Sequential([fm.Conv2D(4, 2), fm.Flatten(), fm.Dense(2)], (6, 6, 3))
    weight = model.parameters["conv2d_0.weight"].astype(float)
    mosaic = shown(plot.filters(model))
    assert mosaic.shape == (5, 5, 3)
    np.testing.assert_allclose(mosaic[3:, :2], 0.5 + weight[..., 2] / (2 * np.abs(weight).max()))
    assert (mosaic[2] == 1).all()


def test_many_channels_have_a_row_for_each_filter():
    model = fm.Sequential([fm.Conv2D(40, 3), fm.Conv2D(64, 2)], (8, 8))
    weight = model.parameters["conv2d_1.weight"]
    ax = plot.filters(model, "conv2d_1")
    mosaic = shown(ax)
    assert mosaic.shape == (16 * 3 - 1, 32 * 3 - 1)
    np.testing.assert_array_equal(mosaic[15:17, 21:23], weight[:, :, 7, 5])
    assert ax.get_title() == "conv2d_1: 16 of 64 filters, 32 of 40 channels, 2 x 2 weights each"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("input channel", "filter")
    assert len(ticks(ax.xaxis)) <= 16


def test_three_channels_of_filters_are_no_colours():
    model = fm.Sequential([fm.Conv2D(3, 3), fm.Conv2D(2, 3)], (8, 8, 3))
    assert (
        plot.filters(model, 1).get_title()
        == "conv2d_1: all 2 filters, 3 channels, 3 x 3 weights each"
    )


@pytest.mark.parametrize("shape", [(16,), (4, 4), (4, 4, 1), (48,), (4, 4, 3)])
def test_units_that_see_an_image(shape):
    layers = [fm.Flatten(), fm.Dropout(0.1), fm.Dense(7), fm.Dense(2)]
    model = fm.Sequential(layers, shape)
    weight = model.parameters["dense_0.weight"].astype(float)
    ax = plot.filters(model, count=2)
    mosaic = shown(ax)
    assert ax.get_title() == "dense_0: 2 of 7 units, 4 x 4 weights each"
    assert ax.get_ylabel() == "unit"
    tile = mosaic[:4, 5:9]
    if len(weight) == 16:
        np.testing.assert_array_equal(tile, weight[:, 1].reshape(4, 4))
    else:
        wanted = 0.5 + weight[:, 1].reshape(4, 4, 3) / (2 * np.abs(weight[:, :2]).max())
        np.testing.assert_allclose(tile, wanted)


def test_weights_that_are_all_equal_or_zero():
    model = fm.Sequential([fm.Conv2D(2, 3, init="zeros"), fm.Flatten(), fm.Dense(2)], (8, 8))
    ax = plot.filters(model)
    assert ax.images[0].get_clim() == (-1, 1)
    ax.figure.canvas.draw()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((3,), TypeError, "model must be a fastmlp model, got int."),
        (
            (fm.MLP(5, [4], 2),), ValueError,
            "model must have a Conv2D, or a Dense layer whose inputs are the pixels of an image, got "
            "input_shape (5,) and the layers and inputs dense_0 (5,), dense_1 (4,).",
        ),
        (
            (fm.MLP(16, [4], 2), "dense_1"), ValueError,
            "layer must be a Conv2D, or a Dense layer whose inputs are the pixels of an image: "
            "(H, W), (H, W, 1), (H, W, 3), or flat with s * s or 3 * s * s values; got dense_1 with "
            "inputs (4,) in a model with input_shape (16,).",
        ),
        (
            (fm.MLP(16, [4], 2), "dens_1"), ValueError,
            "layer must be one of dense_0, dense_1, got 'dens_1'. Did you mean 'dense_1'?",
        ),
        (
            (fm.MLP(16, [4], 2), 2), ValueError,
            "layer must be below 2, the number of layers (dense_0, dense_1), got 2.",
        ),
    ],
)  # fmt: skip
def test_refused(arguments, error, message):
    with pytest.raises(error) as caught:
        plot.filters(*arguments)
    assert str(caught.value) == message


def test_count_refused():
    with pytest.raises(ValueError, match="count must be at least 1, got 0"):
        plot.filters(fm.MLP(16, [4], 2), count=0)
