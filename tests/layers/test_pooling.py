"""MaxPool2D, AvgPool2D and GlobalAvgPool2D: values, gradients, messages."""

from __future__ import annotations

import re

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import reference


def test_pooling_layers_are_the_operations(backend):
    x = np.random.default_rng(0).standard_normal((3, 7, 8, 2))
    cases = [
        (fm.MaxPool2D(), reference.max_pool2d_loops(x)[0]),
        (fm.MaxPool2D((3, 2), 1), reference.max_pool2d_loops(x, (3, 2), strides=1)[0]),
        (fm.AvgPool2D(), reference.avg_pool2d_loops(x)),
        (fm.AvgPool2D(2, (1, 3)), reference.avg_pool2d_loops(x, 2, strides=(1, 3))),
        (fm.GlobalAvgPool2D(), x.mean(axis=(1, 2))),
    ]
    for layer, expected in cases:
        model = fm.Sequential([layer], input_shape=(7, 8, 2), dtype="float64")
        model.backend = backend
        np.testing.assert_allclose(model.predict(x), expected, atol=1e-12, err_msg=repr(layer))
        assert model.num_parameters == 0


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh", "gelu"])
def test_gradients_of_one_pooling_after_another(activation, backend):
    layers = [
        fm.Conv2D(3, 2, activation=activation, bias_init="normal"),
        fm.MaxPool2D((1, 2)),
        fm.MaxPool2D((2, 1), 1),
        fm.Activation("tanh"),
        fm.MaxPool2D(2, 1),
        fm.AvgPool2D((1, 2)),
        fm.Flatten(),
        fm.Dense(2),
    ]
    model = fm.Sequential(layers, input_shape=(7, 11, 2), dtype="float64", seed=1)
    model.backend = backend
    x = np.random.default_rng(0).standard_normal((5, 7, 11, 2))
    result = fm.gradcheck(model, x, np.arange(5) % 2)
    assert result.passed, result


@pytest.mark.parametrize("kind", [fm.MaxPool2D, fm.AvgPool2D, fm.GlobalAvgPool2D])
def test_a_first_layer_of_images_takes_height_and_width(kind):
    assert fm.Sequential([kind()], input_shape=(4, 6)).input_shape == (4, 6, 1)


# --- Messages -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: fm.MaxPool2D(0), ValueError, "pool_size must be at least 1, got 0."),
        (lambda: fm.AvgPool2D(2, 0), ValueError, "strides must be at least 1, got 0."),
        (lambda: fm.AvgPool2D(True), TypeError, "pool_size must be an integer, got True."),
    ],
)  # fmt: skip
def test_wrong_arguments_of_a_layer(make, kind, message):
    with pytest.raises(kind, match="^" + re.escape(message) + "$"):
        make()


@pytest.mark.parametrize(
    ("layers", "shape", "message"),
    [
        ([fm.Conv2D(2, 3), fm.MaxPool2D(3)], (4, 8, 1), "maxpool2d_0: pool_size must be at most the size of the image, (2, 6), got (3, 3)."),
        ([fm.GlobalAvgPool2D()], (4, 8, 1, 2), "globalavgpool2d_0: a sample must be an image (height, width, channels), got shape (4, 8, 1, 2)."),
        ([fm.GlobalAvgPool2D(), fm.GlobalAvgPool2D()], (4, 8, 3), "globalavgpool2d_1: a sample must be an image (height, width, channels), got shape (3,)."),
        ([fm.AvgPool2D(2), fm.Dense(3)], (5, 5), "dense_0: a sample must have shape (features,), got (2, 2, 1). Add fm.Flatten() before this layer."),
    ],
)  # fmt: skip
def test_layers_that_do_not_fit(layers, shape, message):
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        fm.Sequential([type(layer)(**layer.config()) for layer in layers], input_shape=shape)
