"""MLP and CNN: the short constructors of whole networks."""

from __future__ import annotations

import re

import numpy as np
import pytest

import fastmlp as fm

MNIST = (28, 28)


def kinds(model):
    return [repr(layer) for layer in model.layers]


def test_defaults_are_the_network_of_the_documentation():
    model = fm.CNN((28, 28, 1))
    assert kinds(model) == [
        "Conv2D(32, 3, activation='relu')",
        "MaxPool2D(2)",
        "Conv2D(64, 3, activation='relu')",
        "MaxPool2D(2)",
        "Flatten()",
        "Dense(128, activation='relu')",
        "Dense(10)",
    ]
    assert model.num_parameters == 9 * 32 + 32 + 9 * 32 * 64 + 64 + 25 * 64 * 128 + 128 + 1290
    assert (model.input_shape, model.output_shape) == ((28, 28, 1), (10,))


def test_every_convolution_may_have_its_own_sizes():
    model = fm.CNN((20, 24, 3), [4, 5, 6], [5, (1, 3), 3], [2, None, (1, 2)], [], 7, "same", "tanh")
    assert kinds(model) == [
        "Conv2D(4, 5, padding='same', activation='tanh')",
        "MaxPool2D(2)",
        "Conv2D(5, (1, 3), padding='same', activation='tanh')",
        "Conv2D(6, 3, padding='same', activation='tanh')",
        "MaxPool2D((1, 2))",
        "Flatten()",
        "Dense(7)",
    ]
    assert model.layers[-2].output_shape == (10 * 6 * 6,)


def test_a_tuple_is_one_size_for_all_and_1_is_no_pooling():
    model = fm.CNN(MNIST, (4, 5), kernel_size=(3, 5), pool=1)
    assert kinds(model)[:2] == [f"Conv2D({n}, (3, 5), activation='relu')" for n in (4, 5)]
    assert fm.CNN(MNIST, [4], pool=None).layers[0].output_shape == (26, 26, 4)


def test_what_is_handed_on():
    options = {"init": "he_normal", "dtype": "float64", "seed": 3, "scale": 0.5}
    model = fm.CNN(MNIST, [2], hidden=[4], **options)
    layers = [
        fm.Conv2D(2, 3, activation="relu", init="he_normal"),
        fm.MaxPool2D(2),
        fm.Flatten(),
        fm.Dense(4, "relu", init="he_normal"),
        fm.Dense(10, init="he_normal"),
    ]
    twin = fm.Sequential(layers, MNIST, "float64", 3, scale=0.5)
    assert model.config() == twin.config()
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, twin.parameters[name])


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"filters": 32}, TypeError, "filters must be a list of integers, got 32."),
        ({"filters": []}, ValueError, "filters must contain at least one integer, got none."),
        ({"filters": [3, 0]}, ValueError, "filters must be at least 1, got 0."),
        ({"hidden": 128}, TypeError, "hidden must be a list of integers, got 128."),
        ({"hidden": "64"}, TypeError, "hidden must be a list of integers, got '64'."),
        ({"kernel_size": [3]}, ValueError, "kernel_size must be one value or a list of 2 values, one per convolution, got a list of 1."),
        ({"kernel_size": (3, 3, 3)}, ValueError, "kernel_size must be an integer or two integers (y, x), got (3, 3, 3)."),
        ({"kernel_size": None}, TypeError, "kernel_size must be an integer, got None of type NoneType."),
        ({"pool": [2, 2, 2]}, ValueError, "pool must be one value or a list of 2 values, one per convolution, got a list of 3."),
        ({"pool": 0}, ValueError, "pool must be at least 1, got 0."),
        ({"classes": 0}, ValueError, "classes must be at least 1, got 0."),
        ({"input_shape": 784}, ValueError, "input_shape must be (height, width, channels) or (height, width), got 784."),
        ({"input_shape": (28, 28, 1, 1)}, ValueError, "input_shape must be (height, width, channels) or (height, width), got (28, 28, 1, 1)."),
        ({"input_shape": (8, 8), "kernel_size": 5}, ValueError, "conv2d_1: kernel_size must be at most the size of the image, (2, 2), got (5, 5)."),
        ({"activation": "relo"}, ValueError, "activation must be one of "),
    ],
)  # fmt: skip
def test_wrong_arguments(arguments, kind, message):
    with pytest.raises(kind, match="^" + re.escape(message)):
        fm.CNN(**({"input_shape": MNIST} | arguments))


@pytest.mark.parametrize(
    ("hidden", "count"), [([512, 256], 535_818), ([600, 600], 837_610), ([710, 610], 997_170)]
)
def test_number_of_parameters(hidden, count):
    assert fm.MLP(784, hidden, 10, init="zeros").num_parameters == count


def test_mlp_is_a_sequential_of_dense_layers():
    short = fm.MLP(7, [5, 4], 3, activation="tanh", init="he_normal", seed=9)
    layers = [fm.Dense(n, activation="tanh", init="he_normal") for n in (5, 4)]
    long = fm.Sequential([*layers, fm.Dense(3, init="he_normal")], input_shape=(7,), seed=9)
    assert repr(short) == repr(long)
    assert list(short.parameters) == [
        f"dense_{i}.{kind}" for i in range(3) for kind in ("weight", "bias")
    ]
    for name, value in short.parameters.items():
        np.testing.assert_array_equal(value, long.parameters[name])
    assert short.parameters["dense_0.weight"].shape == (7, 5)
    assert short.parameters["dense_0.bias"].shape == (5,)


def test_the_two_layer_net_of_the_course(backend):
    # CS231n, assignment 2: D=5, H=50, C=7, N=3.
    model = fm.MLP(5, [50], 7, dtype="float64")
    model.backend = backend
    model.set_parameters(
        {
            "dense_0.weight": np.linspace(-0.7, 0.3, 5 * 50).reshape(5, 50),
            "dense_0.bias": np.linspace(-0.1, 0.9, 50),
            "dense_1.weight": np.linspace(-0.3, 0.4, 50 * 7).reshape(50, 7),
            "dense_1.bias": np.linspace(-0.9, 0.1, 7),
        }
    )
    x = np.linspace(-5.5, 4.5, 15).reshape(5, 3).T
    loss, _ = model.gradients(x, [0, 5, 1])
    assert loss == pytest.approx(3.4702243556, abs=1e-10)
    assert model.evaluate(x, [0, 5, 1])["loss"] == pytest.approx(loss, rel=1e-14)
