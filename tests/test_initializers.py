"""Initializers: their distributions, gains and settings, and their use in models."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import initializers

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


def test_gains():
    gains = {
        "linear": 1,
        "sigmoid": 1,
        "tanh": 5 / 3,
        "relu": 2**0.5,
        "leaky_relu": (2 / 1.0001) ** 0.5,
    }
    for name in ("glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_normal"):
        plain = fm.initializers.get({"name": name, "gain": 1.0})((40, 30), 40, 30, 0, 0)
        for activation, gain in gains.items():
            for given in (activation, gain):
                init = fm.initializers.get({"name": name, "gain": given})
                np.testing.assert_allclose(init((40, 30), 40, 30, 0, 0), gain * plain, rtol=1e-12)
                assert fm.initializers.get(init.config()) == init
    he = fm.initializers.get("he_normal")((40, 30), 40, 30, 0, 0)
    lecun = fm.initializers.LecunNormal(gain="relu")((40, 30), 40, 30, 0, 0)
    np.testing.assert_array_equal(he, lecun)
    model = fm.MLP(40, [30], 3, init=fm.initializers.GlorotNormal("tanh"))
    assert repr(model.layers[0].init) == "GlorotNormal(gain='tanh')"
    assert model.parameters["dense_0.weight"].std() == pytest.approx(
        5 / 3 * (2 / 70) ** 0.5, rel=0.1
    )


def layers_of_all_kinds():
    return [
        fm.Embedding(9, 4, "concat"),
        fm.Dense(6, bias_init="normal"),
        fm.BatchNorm(),
        fm.Dense(5, init="zeros"),
        fm.Dense(2, init="glorot_uniform"),
    ]


def test_one_initializer_for_a_whole_model(tmp_path):
    plain = fm.Sequential(layers_of_all_kinds(), 3)
    model = fm.Sequential(layers_of_all_kinds(), 3, init=fm.initializers.Normal(0.01))
    assert 0.005 < model.parameters["embedding_0.weight"].std() < 0.02
    assert 0.005 < model.parameters["dense_0.weight"].std() < 0.02
    # Those that name their own keep it, even if it is the one they would have had.
    for name in ("dense_0.bias", "dense_1.weight", "dense_2.weight", "batchnorm_0.gamma"):
        np.testing.assert_array_equal(model.parameters[name], plain.parameters[name])
    named = fm.Sequential([fm.Dense(6), fm.Dense(2)], 3, init="he_normal")
    each = fm.Sequential([fm.Dense(6, init="he_normal"), fm.Dense(2, init="he_normal")], 3)
    for name, value in each.parameters.items():
        np.testing.assert_array_equal(named.parameters[name], value)
    model.save(tmp_path / "m.safetensors")
    again = fm.load_model(tmp_path / "m.safetensors")
    assert repr(again.layers[0].init) == repr(again.layers[1].init) == "Normal(std=0.01)"
    assert repr(plain.layers[0].init) == "Normal(std=1.0)"
    assert repr(plain.layers[1].init) == repr(again.layers[4].init) == "GlorotUniform(gain=1.0)"

    def ones(shape, fan_in, fan_out, seed, index):
        return np.ones(shape)

    for made in (
        fm.MLP(3, [4], 2, init=ones),
        fm.CNN((6, 6), [2], 3, None, [3], 2, init=ones),
        fm.Sequential([fm.Dense(3)], 3, init=np.ones((3, 3))),
    ):
        for name, value in made.parameters.items():
            assert (value == name.endswith("weight")).all()


@pytest.mark.parametrize(
    ("init", "kind", "message"),
    [
        ("he", ValueError, "init must be one of zeros, normal, "),
        (
            3,
            TypeError,
            "init must be a name, an array, or a function (shape, fan_in, fan_out, seed, index)",
        ),
        (fm.initializers.Normal, TypeError, "init must be a name, an array, or a function"),
    ],
)
def test_the_initializer_of_a_model_is_checked(init, kind, message):
    for make in (
        lambda: fm.Sequential([fm.Dense(2)], 3, init=init),
        lambda: fm.MLP(3, [4], 2, init=init),
        lambda: fm.CNN((6, 6), [2], init=init),
    ):
        with pytest.raises(kind, match="^" + re.escape(message)):
            make()
    with pytest.raises(
        ValueError, match=r"^dense_1\.weight: the initializer must return an array of"
    ):
        fm.Sequential([fm.Dense(3), fm.Dense(2)], 3, init=np.ones((3, 3)))


def test_arrays_are_initial_values(tmp_path):
    weight, bias = np.arange(6.0).reshape(2, 3), np.array([1, 2, 3])
    model = fm.Sequential([fm.Dense(3, init=weight, bias_init=bias)], 2)
    weight[...] = 0
    np.testing.assert_array_equal(
        model.parameters["dense_0.weight"], np.arange(6, dtype=np.float32).reshape(2, 3)
    )
    np.testing.assert_array_equal(model.parameters["dense_0.bias"], [1, 2, 3])
    assert model.parameters["dense_0.bias"].dtype == np.float32
    model.copy()
    model.save(tmp_path / "m.safetensors")
    again = fm.load_model(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.parameters["dense_0.bias"], [1, 2, 3])


def test_the_initializer_of_a_subclass_is_left_out_of_files(tmp_path):
    class Ones(fm.initializers.Normal):
        def __call__(self, shape, fan_in, fan_out, seed, index):
            return np.ones(shape)

    model = fm.Sequential([fm.Dense(2, init=Ones())], input_shape=3)
    model.save(tmp_path / "model")
    loaded = fm.load_model(tmp_path / "model")
    np.testing.assert_array_equal(loaded.parameters["dense_0.weight"], np.ones((3, 2)))
    assert loaded.layers[0].config()["init"] == fm.Dense(2).config()["init"]
