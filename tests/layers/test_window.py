"""The window of a layer: sizes, strides and padding."""

from __future__ import annotations

import pytest

import fastmlp as fm
from fastmlp.layers.window import Window


def test_window_of_a_layer():
    layers = [
        fm.Conv2D(4, 3, padding="same"),
        fm.MaxPool2D(2),
        fm.Conv2D(5, (2, 3), strides=(2, 1)),
        fm.AvgPool2D(2, strides=1),
        fm.Conv2D(3, 1),
        fm.GlobalAvgPool2D(),
    ]
    model = fm.Sequential(layers, input_shape=(9, 11, 2))
    assert model.layers[0].window == Window(9, 11, 2, 3, 3, 1, 1, 1, 1, 1, 1, 9, 11)
    assert model.layers[1].window == Window(9, 11, 4, 2, 2, 2, 2, 0, 0, 0, 0, 4, 5)
    assert model.layers[2].window == Window(4, 5, 4, 2, 3, 2, 1, 0, 0, 0, 0, 2, 3)
    assert model.layers[5].window == Window(1, 2, 3, 1, 2, 1, 1, 0, 0, 0, 0, 1, 1)
    with pytest.raises(AttributeError):
        model.layers[0].window.height = 3
    window = Window.of((8, 7, 1), 4, 3, "same")
    assert (window.pad_top, window.pad_bottom, window.pad_left, window.pad_right) == (1, 1, 1, 2)
