"""The graded class NN of IFT6135."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)

from coursework.gradient_check import eval_numerical_gradient, rel_error
from coursework.nn import NN

import fastmlp as fm


class PlainNN(NN):
    operations = fm.reference


KINDS = pytest.mark.parametrize("kind", [NN, PlainNN], ids=["kernels", "numpy"])
ACTIVATIONS = pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])


def made(kind=NN, **settings):
    net = kind(hidden_dims=(7, 5), n_classes=4, seed=1, **settings)
    net.initialize_weights([6, 4])
    return net


@pytest.fixture
def batch(rng):
    return rng.standard_normal((9, 6)), np.eye(4)[rng.integers(4, size=9)]


def test_weights_are_glorots():
    net = NN(seed=3)
    net.initialize_weights([784, 10])
    assert list(net.weights) == ["W1", "b1", "W2", "b2", "W3", "b3"]
    sizes = [784, 512, 256, 10]
    for layer in (1, 2, 3):
        weight, bias = net.weights[f"W{layer}"], net.weights[f"b{layer}"]
        assert weight.shape == tuple(sizes[layer - 1 : layer + 1])
        assert bias.shape == (1, sizes[layer])
        assert not bias.any()
        limit = np.sqrt(6 / sum(weight.shape))
        assert 0.99 * limit < np.abs(weight).max() <= limit
        assert weight.std() == pytest.approx(limit / np.sqrt(3), rel=0.05)
        assert weight.dtype == np.float64
    assert sum(value.size for value in net.weights.values()) == 535818
    again = NN(seed=3)
    again.initialize_weights([784, 10])
    np.testing.assert_array_equal(again.weights["W2"], net.weights["W2"])


def test_other_initial_weights():
    net = made(init_method="normal")
    assert np.concatenate([net.weights[f"W{n}"].ravel() for n in (1, 2, 3)]).std() == pytest.approx(
        1, rel=0.15
    )
    assert not any(value.any() for value in made(init_method="zeros").weights.values())
    with pytest.raises(
        ValueError, match=r'^init_method must be "glorot", "normal" or "zeros", got'
    ):
        made(init_method="he")


@KINDS
def test_activations_and_their_derivatives(kind):
    net = kind()
    x = np.array([[-2.0, -0.5, 0.0], [0.5, 1.0, 3.0]])
    np.testing.assert_array_equal(net.relu(x), np.maximum(x, 0))
    np.testing.assert_array_equal(net.relu(x, grad=True), [[0, 0, 0], [1, 1, 1]])
    s = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(net.sigmoid(x), s, rtol=1e-14)
    np.testing.assert_allclose(net.sigmoid(x, grad=True), s * (1 - s), rtol=1e-13)
    np.testing.assert_allclose(net.tanh(x), np.tanh(x), rtol=1e-14)
    np.testing.assert_allclose(net.tanh(x, grad=True), 1 - np.tanh(x) ** 2, rtol=1e-13)
    for name in ("relu", "sigmoid", "tanh"):
        net.activation_str = name
        for grad in (False, True):
            np.testing.assert_array_equal(net.activation(x, grad), getattr(net, name)(x, grad))
    assert net.relu(np.array([-1, 2])).tolist() == [0, 2]
    # Only what is listed: no other method of the class goes for an activation.
    for name in ("softmax", "nonsense"):
        net.activation_str = name
        with pytest.raises(ValueError, match=r"^invalid activation"):
            net.activation(x)
        with pytest.raises(ValueError, match=r"^invalid activation"):
            net.backward({}, None)


@KINDS
def test_softmax_of_one_row_and_of_many(kind):
    net = kind()
    rows = np.array([[1.0, 2, 3], [1000, 1001, 1002], [-1000, 0, 1000]])
    found = net.softmax(rows)
    e = np.exp([-2.0, -1, 0])
    np.testing.assert_allclose(found[0], e / e.sum(), rtol=1e-13)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-13)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    one = net.softmax(rows[0])
    assert one.shape == (3,)
    np.testing.assert_allclose(one, found[0], rtol=1e-15)


@KINDS
@ACTIVATIONS
def test_the_forward_cache(kind, activation, batch):
    net = made(kind, activation=activation)
    x, _ = batch
    cache = net.forward(x)
    assert set(cache) == {"Z0", "A1", "Z1", "A2", "Z2", "A3", "Z3"}
    assert cache["Z0"] is x
    for layer in (1, 2, 3):
        z = cache[f"Z{layer - 1}"] @ net.weights[f"W{layer}"] + net.weights[f"b{layer}"]
        np.testing.assert_allclose(cache[f"A{layer}"], z, rtol=1e-12, atol=1e-14)
        function = net.activation if layer < 3 else net.softmax
        np.testing.assert_array_equal(cache[f"Z{layer}"], function(cache[f"A{layer}"]))
    assert cache["Z3"].shape == (9, 4)


@KINDS
@ACTIVATIONS
def test_gradients(kind, activation, batch):
    net = made(kind, activation=activation, epsilon=1e-12)
    x, labels = batch
    for layer in (1, 2):
        net.weights[f"b{layer}"] += 0.1
    cache = net.forward(x)
    kept = {name: value.copy() for name, value in cache.items()}
    grads = net.backward(cache, labels)
    for name, value in kept.items():
        np.testing.assert_array_equal(cache[name], value)
    expected = {f"d{kind}{n}" for kind in ("A", "W", "b") for n in (1, 2, 3)} | {"dZ1", "dZ2"}
    assert set(grads) == expected
    for name, value in net.weights.items():
        numeric = eval_numerical_gradient(lambda _: net.loss(net.forward(x)["Z3"], labels), value)
        assert grads[f"d{name}"].shape == value.shape
        assert rel_error(numeric, grads[f"d{name}"]) < 1e-6
    np.testing.assert_allclose(grads["dA3"], (cache["Z3"] - labels) / 9)
    np.testing.assert_allclose(grads["dZ2"], grads["dA3"] @ net.weights["W3"].T, atol=1e-15)
    derivative = net.activation(cache["A2"], grad=True)
    np.testing.assert_allclose(grads["dA2"], grads["dZ2"] * derivative, atol=1e-15)


@KINDS
def test_an_update_is_a_step_down_the_gradient(kind, batch):
    net = made(kind, lr=0.3)
    grads = net.backward(net.forward(batch[0]), batch[1])
    before = {name: value.copy() for name, value in net.weights.items()}
    net.update(grads)
    for name, value in before.items():
        np.testing.assert_allclose(net.weights[name], value - 0.3 * grads[f"d{name}"], atol=1e-15)


@KINDS
def test_the_loss_clips(kind):
    net = kind(epsilon=1e-3)
    prediction = np.array([[0.0, 1.0], [0.25, 0.75]])
    kept = prediction.copy()
    labels = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert net.loss(prediction, labels) == pytest.approx(-(np.log(1e-3) + np.log(0.75)) / 2)
    assert net.loss(prediction, 1 - labels) == pytest.approx(-(np.log(1 - 1e-3) + np.log(0.25)) / 2)
    np.testing.assert_array_equal(prediction, kept)
    assert NN().loss(np.array([0.0, 1.0]), np.array([1.0, 0.0])) == pytest.approx(-np.log(1e-6))


def digits(one_hot=False, dtype=np.float64):
    (x, y), (x_test, y_test) = fm.datasets.load_digits()
    y, y_test = (np.eye(10)[v] if one_hot else v for v in (y, y_test))
    x, x_test = (v.reshape(len(v), 64).astype(dtype) for v in (x, x_test))
    half = len(x_test) // 2
    return (x, y), (x_test[:half], y_test[:half]), (x_test[half:], y_test[half:])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_training(dtype):
    settings = {"hidden_dims": (40, 20), "lr": 0.2, "batch_size": 16, "seed": 0}
    net = NN(data=digits(dtype=dtype), **settings)
    logs = net.train_loop(12)
    assert logs is net.train_logs
    assert all(len(values) == 12 for values in logs.values())
    assert logs["validation_accuracy"][-1] > 0.95
    assert logs["train_loss"][-1] < logs["train_loss"][0] / 3
    loss, accuracy = net.evaluate()
    assert accuracy > 0.93
    assert loss < 0.4
    assert net.weights["W1"].dtype == dtype
    x, y = net.test
    found = net.compute_loss_and_accuracy(x, y)
    assert found[:2] == (loss, accuracy)
    assert np.mean(found[2] == y) == accuracy
    # One-hot labels and plain numpy: the same training.
    other = PlainNN(data=digits(one_hot=True, dtype=dtype), **settings)
    limit = {"rtol": 1e-3, "atol": 1e-3} if dtype == np.float32 else {"rtol": 1e-9}
    np.testing.assert_allclose(other.train_loop(12)["train_loss"], logs["train_loss"], **limit)


def test_zeros_do_not_learn():
    net = NN(hidden_dims=(20,), lr=0.1, batch_size=100, init_method="zeros", data=digits())
    logs = net.train_loop(2)
    assert logs["train_accuracy"][-1] < 0.15
    assert logs["train_loss"][-1] == pytest.approx(np.log(10), abs=0.02)
