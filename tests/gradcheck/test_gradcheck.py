"""Gradients of whole models against central differences, and the check itself."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import reference
from fastmlp.activations import ACTIVATIONS


def random_case(index: int, activation: str) -> tuple[fm.Sequential, np.ndarray, np.ndarray, str]:
    """Return a small random MLP in float64 with data for it: 1 to 6 layers, either loss."""
    rng = np.random.default_rng(index)
    hidden = [int(n) for n in rng.integers(1, 6, index % 6)]
    model = fm.MLP(int(rng.integers(1, 5)), hidden, int(rng.integers(2, 5)), activation, seed=index)
    x = rng.standard_normal((4, *model.input_shape))
    if index % 2:
        return model, x, rng.integers(0, model.output_shape[0], 4), "cross_entropy"
    return model, x, rng.standard_normal((4, *model.output_shape)), "mse"


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("index", range(6))
def test_random_mlp_has_right_gradients(activation, index, backend):
    model, x, y, loss = random_case(index, activation)
    model.backend = backend
    result = fm.gradcheck(model, x, y, loss)
    assert result.passed, str(result)
    assert sum(result.checked.values()) > 0.9 * model.num_parameters


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_activation_layer_flatten_and_no_bias_have_right_gradients(activation, backend):
    layers = [
        fm.Activation(activation),  # below the first weights: its gradient is not needed
        fm.Flatten(),
        fm.Dense(5, use_bias=False),
        fm.Activation(activation),
        fm.Dense(3, activation=activation),
    ]
    model = fm.Sequential(layers, input_shape=(2, 3), seed=1)
    model.backend = backend
    rng = np.random.default_rng(0)
    x, p = rng.standard_normal((3, 2, 3)), rng.uniform(0.1, 1.0, (3, 3))
    result = fm.gradcheck(model, x, p / p.sum(axis=1, keepdims=True))
    assert result.passed, str(result)


@pytest.mark.parametrize("name", ["relu", "tanh", "sigmoid", "silu", "softmax"])
def test_gradcheck_fails_on_a_wrong_derivative(name, monkeypatch):
    right = getattr(reference, name + "_backward")
    monkeypatch.setattr(
        reference, name + "_backward", lambda dy, s, out: np.multiply(right(dy, s), 1.001, out=out)
    )
    model = fm.MLP(4, [5], 3, activation=name, seed=1)
    model.backend = "numpy"
    x = np.random.default_rng(0).standard_normal((4, 4))
    result = fm.gradcheck(model, x, [0, 1, 2, 0])
    assert not result.passed
    assert result.max_error == pytest.approx(1e-3, rel=0.01)
    assert "FAILED" in str(result)


def test_gradcheck_fails_on_a_missing_mean(monkeypatch):
    right = reference.softmax_cross_entropy

    def forgetful(logits, labels, *, out=None):
        loss, dlogits = right(logits, labels, out=out)
        dlogits *= len(logits)
        return loss, dlogits

    monkeypatch.setattr(reference, "softmax_cross_entropy", forgetful)
    model = fm.MLP(3, [4], 2, activation="tanh")
    model.backend = "numpy"
    assert not fm.gradcheck(model, np.eye(3), [0, 1, 1]).passed


def test_gradcheck_reports_a_kink_and_does_not_count_it():
    model = fm.Sequential([fm.Dense(2, activation="relu"), fm.Dense(2)], input_shape=(1,))
    # The first unit sits exactly on its kink, the second far from it.
    model.set_parameters({"dense_0.weight": [[1.0, 1.0]], "dense_0.bias": [-1.0, 5.0]})
    result = fm.gradcheck(model, [[1.0]], [0])
    assert result.kinks == {
        "dense_0.weight": 1,
        "dense_0.bias": 1,
        "dense_1.weight": 0,
        "dense_1.bias": 0,
    }
    assert result.checked["dense_0.weight"] == 1
    assert result.passed


def test_gradcheck_does_not_pass_when_everything_is_at_a_kink():
    model = fm.Sequential([fm.Dense(1, activation="relu", use_bias=False)], input_shape=(1,))
    model.set_parameters({"dense_0.weight": [[0.0]]})
    result = fm.gradcheck(model, [[1.0]], [[1.0]], "mse")
    assert result.kinks == {"dense_0.weight": 1}
    assert np.isnan(result.max_error)
    assert not result.passed


def test_gradcheck_gets_away_from_a_near_kink_with_a_smaller_step():
    model = fm.Sequential([fm.Dense(1, activation="relu")], input_shape=(1,), dtype="float64")
    model.set_parameters({"dense_0.weight": [[1.0]], "dense_0.bias": [-0.999]})
    result = fm.gradcheck(model, [[1.0]], [[1.0]], "mse")
    assert result.kinks == {"dense_0.weight": 0, "dense_0.bias": 0}
    assert result.passed


def test_gradcheck_leaves_the_model_as_it_is_and_limits_its_work():
    model = fm.MLP(6, [20], 3, activation="tanh")
    before = model.parameters
    result = fm.gradcheck(model, np.eye(6), [0, 1, 2, 0, 1, 2], max_per_parameter=4, seed=1)
    assert result.checked == dict.fromkeys(before, 4) | {"dense_1.bias": 3}
    assert model.dtype == "float32"
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, before[name])


def test_gradients_of_a_batch_are_the_mean_of_those_of_its_samples(model, toy):
    x, y = toy[0][:8], toy[1][:8]
    loss, gradients = model.gradients(x, y)
    parts = [model.gradients(x[i : i + 1], y[i : i + 1]) for i in range(8)]
    assert loss == pytest.approx(np.mean([part[0] for part in parts]), rel=1e-5)
    assert gradients.keys() == model.parameters.keys()
    for name, gradient in gradients.items():
        mean = np.mean([part[1][name] for part in parts], axis=0)
        np.testing.assert_allclose(gradient, mean, rtol=0, atol=1e-6)


def test_relu_gradient_uses_no_more_than_the_positive_outputs(backend):
    model = fm.Sequential(
        [fm.Dense(2, activation="relu", use_bias=False), fm.Dense(1, use_bias=False)], 1
    )
    model.backend = backend
    model.set_parameters({"dense_0.weight": [[1.0, -1.0]], "dense_1.weight": [[2.0], [3.0]]})
    loss, gradients = model.gradients([[1.0]], [0.0], "mse")
    assert loss == 4.0
    np.testing.assert_array_equal(gradients["dense_0.weight"], [[8.0, 0.0]])
    np.testing.assert_array_equal(gradients["dense_1.weight"], [[4.0], [0.0]])


def test_a_trained_model_passes(backend):
    (x, y), _ = fm.datasets.load_digits()
    model = fm.MLP(64, [16], 10, activation="tanh", seed=1)
    model.backend = backend
    model.fit(x[:16], y[:16], epochs=4000, batch_size=16, optimizer=fm.SGD(2.0), verbose=0)
    assert model.evaluate(x[:4], y[:4])["loss"] < 1e-3
    result = fm.gradcheck(model, x[:4], y[:4], max_per_parameter=40)
    assert result.passed, result


def test_gradcheck_stays_on_its_side_of_a_changing_maximum():
    model = fm.Sequential(
        [fm.Conv2D(1, 1, use_bias=False), fm.MaxPool2D(2), fm.Flatten(), fm.Dense(1)],
        (2, 2, 2),
        dtype="float64",
    )
    # Pixel 0 and pixel 3 are equal, by different channels: the weights decide which is larger.
    model.set_parameters({"conv2d_0.weight": [[[[1.0], [1.0]]]]})
    x = np.zeros((1, 2, 2, 2))
    x[0, 0, 0], x[0, 1, 1] = (1, 0), (0, 1)
    model.backend = "numpy"
    assert fm.gradcheck(model, x, [[1.0]], "mse").kinks["conv2d_0.weight"] == 2
    x[0, 0, 0] = 2, 0
    result = fm.gradcheck(model, x, [[1.0]], "mse")
    assert result.kinks["conv2d_0.weight"] == 0
    assert result.passed
