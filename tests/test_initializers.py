"""Layers, activations and initializers on their own."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import activations, initializers, reference
from fastmlp.layers import LAYERS

FANS = (300, 200)


def values(init, seed=0):
    return initializers.get(init)(FANS, *FANS, seed, 0)


@pytest.mark.parametrize(
    ("init", "limit"),
    [
        ("uniform", 0.05),
        (initializers.Uniform(limit=0.3), 0.3),
        ("glorot_uniform", math.sqrt(6 / 500)),
        ("glorot", math.sqrt(6 / 500)),
        ("he_uniform", math.sqrt(6 / 300)),
    ],
)
def test_uniform_initializer_fills_its_interval(init, limit):
    drawn = values(init)
    assert drawn.shape == FANS
    assert -limit <= drawn.min() < -0.999 * limit
    assert 0.999 * limit < drawn.max() < limit


@pytest.mark.parametrize(
    ("init", "std"),
    [
        ("normal", 1.0),
        (initializers.Normal(std=0.02), 0.02),
        ("glorot_normal", math.sqrt(2 / 500)),
        ("he_normal", math.sqrt(2 / 300)),
        ("lecun_normal", math.sqrt(1 / 300)),
    ],
)
def test_normal_initializer_has_its_standard_deviation(init, std):
    drawn = values(init)
    assert drawn.std() == pytest.approx(std, rel=5 / math.sqrt(2 * 60_000))
    assert abs(drawn.mean()) < 5 * std / math.sqrt(60_000)
    assert abs(drawn).max() > 3.5 * std  # not truncated


def test_initializers_differ_by_seed_and_parameter():
    model = fm.Sequential([fm.Dense(4), fm.Dense(4)], input_shape=4)
    weights = model.parameters
    assert not np.array_equal(weights["dense_0.weight"], weights["dense_1.weight"])
    other = fm.Sequential([fm.Dense(4), fm.Dense(4)], input_shape=4, seed=1)
    assert not np.array_equal(weights["dense_0.weight"], other.parameters["dense_0.weight"])


def test_float64_weights_are_those_of_float32_before_rounding():
    narrow, wide = (fm.MLP(5, [4], 3, seed=2, dtype=d).parameters for d in ("float32", "float64"))
    for name, value in wide.items():
        np.testing.assert_array_equal(narrow[name], value.astype("float32"))


def test_initializer_may_be_a_function():
    model = fm.Sequential(
        [fm.Dense(3, init=lambda shape, fan_in, fan_out, seed, index: np.full(shape, fan_in))],
        input_shape=2,
    )
    np.testing.assert_array_equal(model.parameters["dense_0.weight"], np.full((2, 3), 2))


def test_bias_initializer():
    model = fm.Sequential([fm.Dense(3, bias_init=initializers.Uniform(0.5))], input_shape=2)
    assert 0 < abs(model.parameters["dense_0.bias"]).max() < 0.5


@pytest.mark.parametrize(
    ("result", "message"),
    [(np.zeros(3), "must return an array of shape"), (np.full((2, 3), np.nan), "NaN or infinity")],
)
def test_initializer_with_a_wrong_result_is_refused(result, message):
    with pytest.raises(ValueError, match=message):
        fm.Sequential([fm.Dense(3, init=lambda *_: result)], input_shape=2)


def test_initializers_compare_by_their_arguments():
    assert initializers.Normal(0.1) == initializers.Normal(0.1) != initializers.Normal(0.2)
    assert hash(initializers.Normal(0.1)) == hash(initializers.Normal(0.1))
    assert repr(initializers.Normal(0.1)) == "Normal(std=0.1)"
    assert initializers.get(initializers.Normal(0.1).config()) == initializers.Normal(0.1)
    assert initializers.config(lambda *_: None) is None


@pytest.mark.parametrize("name", sorted(set(activations.ACTIVATIONS) - {"linear"}))
def test_activation_is_the_operation_of_its_name(name, backend):
    x = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")
    model = fm.Sequential([fm.Activation(name)], input_shape=4)
    model.backend = backend
    np.testing.assert_array_equal(model.predict(x), getattr(model.ops, name)(x))
    np.testing.assert_allclose(model.predict(x), getattr(reference, name)(x), rtol=1e-6)


def test_linear_activation_is_the_default():
    for activation in ("linear", None):
        assert fm.Dense(3, activation=activation).activation.name == "linear"
    np.testing.assert_array_equal(
        fm.Sequential([fm.Activation("linear")], 2).predict([[1, 2]]), [[1, 2]]
    )


@pytest.mark.parametrize("name", sorted(activations.ACTIVATIONS))
def test_dense_with_an_activation_is_dense_and_then_the_activation(name, backend):
    fused = fm.Sequential([fm.Dense(5, activation=name, bias_init="normal")], 4, dtype="float64")
    split = fm.Sequential(
        [fm.Dense(5, bias_init="normal"), fm.Activation(name)], 4, dtype="float64"
    )
    x = np.random.default_rng(0).standard_normal((7, 4))
    y = np.arange(7) % 5
    for model in (fused, split):
        model.backend = backend
        model.fit(x, y, epochs=2, batch_size=3, verbose=0)
    np.testing.assert_allclose(fused.predict(x), split.predict(x), rtol=1e-12)


def test_layers_describe_themselves():
    assert repr(fm.Dense(3, activation="relu")) == "Dense(3, activation='relu')"
    assert repr(fm.Dense(3)) == "Dense(3)"
    assert repr(fm.Activation("relu")) == "Activation('relu')"
    assert repr(fm.Flatten()) == "Flatten()"


@pytest.mark.parametrize(
    "layer",
    [
        fm.Dense(3, "tanh", "he_normal", False),
        fm.Dense(2, bias_init=initializers.Normal(0.5)),
        fm.Activation("gelu"),
        fm.Flatten(),
        fm.Dropout(0.25),
        fm.GaussianNoise(0.5),
        fm.BatchNorm(0.8, 1e-3),
        fm.LayerNorm(1e-3),
        fm.Embedding(7, 3, "sum", "uniform"),
    ],
    ids=repr,
)
def test_config_makes_an_equal_layer(layer):
    assert type(layer)(**layer.config()).config() == layer.config()
    assert LAYERS[type(layer).__name__] is type(layer)
