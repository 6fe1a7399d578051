"""Gradients of one parameter over the steps of the differences: the curve and its verdict."""

from __future__ import annotations

import os

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import reference

X = np.random.default_rng(0).standard_normal((4, 4))
Y = [0, 1, 2, 0]


class Scaled(fm.Layer):
    """A weight for each feature; its backward pass is wrong by the factors ``by``."""

    def __init__(self, of_input=1.0, of_weight=1.0, at=(slice(None),)):
        super().__init__()
        self.of_input, self.of_weight, self.at = of_input, of_weight, at

    def build(self, input_shape):
        from fastmlp.initializers import get
        from fastmlp.parameter import Parameter

        self.parameters = [Parameter("weight", input_shape, get("normal"), 1, 1)]
        return input_shape

    def workspace(self, n, dtype):
        return {}

    def forward(self, ops, x, workspace):
        workspace["x"] = x.copy()
        return x * self.parameters[0].value

    def backward(self, ops, dy, workspace, sink, need_dx):
        gradient = (dy * workspace["x"]).sum(axis=0)
        gradient[self.at] *= self.of_weight
        dx = dy * self.parameters[0].value
        dx[:, 0] *= self.of_input
        sink.array(self.parameters[0], gradient)
        return dx


def network(middle, backend="numpy"):
    layers = [fm.Dense(5, activation="tanh"), middle, fm.Dense(4, activation="tanh"), fm.Dense(3)]
    model = fm.Sequential(layers, (4,), dtype="float64", seed=1)
    model.backend = backend
    return model


def test_the_curve_of_a_right_gradient(backend):
    model = fm.MLP(4, [6], 3, activation="tanh", dtype="float64", seed=2)
    model.backend = backend
    curve = fm.gradcheck(model, X, Y, layer="dense_0")
    assert curve.n == (1, 5, 10, 50, 100, 500, 1000, 5000, 10000, 50000, 100000, 500000)
    assert curve.parameter == "dense_0.weight" and curve.passed
    assert [each.element for each in curve.elements] == list(range(10))
    # The difference formula is of second order, until rounding grows.
    assert curve.errors[1] / curve.errors[3] == pytest.approx(100, rel=0.2)
    assert curve.errors[3] / curve.errors[5] == pytest.approx(100, rel=0.2)
    assert curve.best in (1000, 5000, 10000, 50000, 100000)
    assert curve.best_error == min(curve.errors) < 1e-10
    assert curve.errors[-1] > curve.best_error


def test_errors_are_those_of_the_formula(backend):
    model = fm.MLP(4, [6], 3, activation="tanh", dtype="float64", seed=2)
    model.backend = backend
    curve = fm.gradcheck(model, X, Y, layer="dense_1.weight", n=[100, 10], count=4)
    gradient = model.gradients(X, Y)[1]["dense_1.weight"].ravel()[:4]
    assert curve.n == (10, 100)
    np.testing.assert_array_equal([each.backpropagated for each in curve.elements], gradient)
    for n, error in zip(curve.n, curve.errors, strict=True):
        quotients = []
        for i in range(4):
            ends = []
            for sign in (1, -1):
                value = model.parameters["dense_1.weight"].copy()
                value.ravel()[i] += sign / n
                other = model.copy()
                other.set_parameters({"dense_1.weight": value})
                ends.append(other.evaluate(X, Y)["loss"])
            quotients.append((ends[0] - ends[1]) / (2 / n))
        assert error == pytest.approx(np.abs(gradient - quotients).max(), rel=1e-6)


@pytest.mark.parametrize(
    ("layer", "parameter"),
    [
        ("dense_1", "dense_1.weight"),
        ("dense_1.bias", "dense_1.bias"),
        (1, "dense_1.weight"),
        (-2, "dense_0.weight"),
        (np.int64(0), "dense_0.weight"),
    ],
)
def test_what_layer_may_be(layer, parameter):
    assert fm.gradcheck(fm.MLP(4, [6], 3), X, Y, layer=layer, n=[100]).parameter == parameter


def test_layer_may_be_the_object_and_one_without_a_weight():
    model = fm.Sequential([fm.Dense(4), fm.BatchNorm(), fm.Dense(3)], (4,))
    assert fm.gradcheck(model, X, Y, layer=model.layers[2], n=[100]).parameter == "dense_1.weight"
    curve = fm.gradcheck(model, X, Y, layer="batchnorm_0", n=[100])
    assert curve.parameter == "batchnorm_0.gamma" and len(curve.elements) == 4 and curve.passed


def test_random_elements_depend_on_the_seed():
    model = fm.MLP(4, [30], 3)

    def places(seed):
        curve = fm.gradcheck(model, X, Y, layer=0, n=[10], elements="random", seed=seed, count=7)
        return [each.element for each in curve.elements]

    assert places(1) == places(1) != places(2)
    assert len(set(places(1))) == 7 and max(places(1)) > 10


def test_a_step_between_whole_numbers_and_one_too_small():
    curve = fm.gradcheck(fm.MLP(4, [6], 3), X, Y, layer=0, n=[1e300, 0.5, 100.0, 100])
    assert curve.n == (0.5, 100, 1e300)
    assert np.isnan(curve.errors[2]) and curve.best == 100 and curve.passed
    assert "1e+300  nan" in str(curve)


# --- Wrong gradients fail -------------------------------------------------------------------------------------


def test_a_right_layer_of_ones_own_passes(backend):
    for layer in ("dense_0", "scaled_0", "dense_1"):
        assert fm.gradcheck(network(Scaled(), backend), X, Y, layer=layer).passed


def test_a_wrong_gradient_of_a_weight_is_told_with_its_place(backend):
    model = network(Scaled(of_weight=1.5, at=(2,)), backend)
    curve = fm.gradcheck(model, X, Y, layer="scaled_0")
    assert not curve.passed
    (wrong,) = curve.wrong
    assert wrong.element == 2 and curve.place(2) == "scaled_0.weight[2]"
    assert wrong.backpropagated == model.gradients(X, Y)[1]["scaled_0.weight"][2]
    assert wrong.quotient == pytest.approx(wrong.backpropagated / 1.5, rel=1e-7)
    assert wrong.error == pytest.approx(1 / 3, rel=1e-6)
    # A floor that no N gets below.
    assert curve.best_error == pytest.approx(abs(wrong.backpropagated) / 3, rel=1e-5)
    # The layer's other elements are right, so nothing is known of what comes from above: dense_1 is.
    assert curve.suspects == ("scaled_0", "dense_1")
    words = str(curve).splitlines()
    assert (
        words[0] == "gradcheck of scaled_0.weight, 5 elements, FAILED: 1 of 5 gradients is wrong."
    )
    row = words[-2].split()
    assert row[0] == "scaled_0.weight[2]"
    assert float(row[1]) == pytest.approx(wrong.backpropagated, rel=1e-6)
    assert float(row[2]) == pytest.approx(wrong.quotient, rel=1e-6)
    assert words[-1] == "Check the backward pass of scaled_0 or dense_1."


def test_a_wrong_gradient_by_the_input_shows_below_and_names_the_layers(backend):
    model = network(Scaled(of_input=1.01), backend)
    for right in ("scaled_0", "dense_1", "dense_2"):
        assert fm.gradcheck(model, X, Y, layer=right).passed
    curve = fm.gradcheck(model, X, Y, layer="dense_0", count=20)
    # Only the unit whose gradient is wrong: the first column of the weight.
    assert {each.element % 5 for each in curve.wrong} == {0}
    assert curve.place(curve.wrong[0].element).endswith(", 0]")
    assert curve.suspects == ("dense_0", "scaled_0")
    assert curve.wrong == tuple(sorted(curve.wrong, key=lambda each: -each.error))


def test_a_wrong_loss_is_suspected(monkeypatch):
    right = reference.softmax_cross_entropy

    def forgetful(logits, labels, *, out=None):
        loss, dlogits = right(logits, labels, out=out)
        dlogits *= len(logits)
        return loss, dlogits

    monkeypatch.setattr(reference, "softmax_cross_entropy", forgetful)
    model = fm.MLP(4, [5], 3, activation="tanh")
    model.backend = "numpy"
    curve = fm.gradcheck(model, X, Y, layer="dense_1")
    assert not curve.passed and curve.suspects == ("dense_1", "the loss")


def test_the_verdict_does_not_depend_on_n():
    model = fm.MLP(4, [6], 3, activation="tanh")
    curve = fm.gradcheck(model, X, Y, layer=0, n=[1])
    assert curve.best_error > 1e-4 and curve.passed


def test_a_gradient_that_is_not_a_number_fails():
    model = network(Scaled(of_weight=np.nan, at=(1,)))
    curve = fm.gradcheck(model, X, Y, layer="scaled_0")
    assert [each.element for each in curve.wrong] == [1] and not curve.passed
    result = fm.gradcheck(model, X, Y)
    assert not result.passed and result.errors["scaled_0.weight"] == np.inf


# --- What it says ---------------------------------------------------------------------------------


def test_the_table():
    curve = fm.gradcheck(fm.MLP(4, [6], 3, activation="tanh"), X, Y, layer=0, n=[10, 1000])
    first, header, ten, thousand = str(curve).splitlines()
    assert first == "gradcheck of dense_0.weight, 10 elements, passed: the gradients are right."
    assert header == "   N  largest difference with steps of 1/N"
    assert ten == f"  10  {curve.errors[0]:.2e}"
    assert thousand == f"1000  {curve.errors[1]:.2e}  smallest"


def test_zeros_are_told():
    model = fm.Sequential([fm.Dense(3, init="zeros"), fm.Dense(3, init="zeros")], (4,))
    curve = fm.gradcheck(model, X, Y, layer=0)
    assert curve.passed and curve.best_error == 0
    first, second = str(curve).splitlines()[:2]
    assert first == "gradcheck of dense_0.weight, 10 elements, passed, but all gradients are 0."
    assert second.startswith("That says little: try other elements")


def test_kinks_are_told_and_left_out():
    model = fm.Sequential([fm.Dense(2, activation="relu"), fm.Dense(2)], input_shape=(1,))
    # The first unit sits exactly on its kink, the second far from it.
    model.set_parameters({"dense_0.weight": [[1.0, 1.0]], "dense_0.bias": [-1.0, 5.0]})
    curve = fm.gradcheck(model, [[1.0]], [0], layer=0)
    assert (curve.kinks, curve.passed) == (1, True)
    assert curve.best_error < 1e-9
    assert "1 at a kink could not be checked." in str(curve)
    curve = fm.gradcheck(model, [[1.0]], [0], layer=0, count=1)
    assert (curve.kinks, curve.passed) == (1, False)
    assert np.isnan(curve.best) and np.isnan(curve.best_error)
    assert "1 element, FAILED: all are at a kink" in str(curve)


# --- It leaves the model alone --------------------------------------------------------------------


class Failing(fm.Layer):
    """Raises ``error`` in the pass number ``when``; all copies count together."""

    passes = 0

    def __init__(self, error, when):
        super().__init__()
        self.error, self.when = error, when
        Failing.passes = 0

    def forward(self, ops, x, workspace):
        Failing.passes += 1
        if Failing.passes == self.when:
            raise self.error
        return x

    def backward(self, ops, dy, workspace, sink, need_dx):
        return dy


@pytest.mark.parametrize("when", [1, 2, 3, 8, 70])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_parameters_are_what_they_were_after_an_error(error, when, backend):
    model = fm.Sequential([fm.Dense(4), Failing(error, when), fm.Dense(3)], (4,))
    model.backend = backend
    before = {name: value.copy() for name, value in model.parameters.items()}
    with pytest.raises(error):
        fm.gradcheck(model, X, Y, layer=0)
    assert Failing.passes == when
    for name, value in model.parameters.items():
        assert value.tobytes() == before[name].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_are_what_they_were_after_success(dtype, backend):
    model = fm.MLP(4, [6], 3, dtype=dtype)
    model.backend = backend
    model.fit(X, Y, epochs=2, verbose=0)
    before = {name: value.copy() for name, value in model.parameters.items()}
    assert fm.gradcheck(model, X, Y, layer=0).passed
    assert model.dtype == dtype
    for name, value in model.parameters.items():
        assert value.tobytes() == before[name].tobytes()


def test_the_copy_itself_gets_its_weights_back_after_an_error():
    from fastmlp.gradcheck.finite_differences import Subject

    model = fm.Sequential([fm.Dense(4), Failing(RuntimeError, 4), fm.Dense(3)], (4,))
    model.backend = "numpy"
    subject = Subject(model, X, Y, model.loss, None)
    before = subject.network.parameters["dense_0.weight"].copy()
    with pytest.raises(RuntimeError):
        subject.central_difference("dense_0.weight", 0, 0.1)
    assert subject.network.parameters["dense_0.weight"].tobytes() == before.tobytes()


# --- Real data ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def digit():
    """Return the first image of MNIST and its label."""
    if not os.environ.get("FASTMLP_DATA"):
        pytest.skip("FASTMLP_DATA names no folder with mnist.pkl.gz")
    try:
        (x, y), _, _ = fm.datasets.load_mnist()
    except FileNotFoundError:
        pytest.skip("FASTMLP_DATA has no mnist.pkl.gz")
    return x[:1], y[:1]


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_the_second_layer_of_a_network_for_mnist(digit, activation, backend):
    model = fm.MLP(784, [512, 256], 10, activation=activation, dtype="float64", seed=0)
    model.backend = backend
    # With relu the first hidden unit may be off: then the first row of the weight has gradients of 0.
    elements = "random" if activation == "relu" else "first"
    curve = fm.gradcheck(model, *digit, layer="dense_1", elements=elements, seed=2)
    assert curve.passed
    assert any(each.backpropagated for each in curve.elements)
    assert curve.best_error <= 1e-10
    assert len(curve.elements) == 10 and len(curve.n) == 12
    assert curve.errors[2] > curve.errors[4] > curve.best_error


# --- Refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"layer": "dence_1"}, ValueError,
            "layer must be one of dense_0, flatten_0, dense_1, dense_0.weight, dense_0.bias, "
            "dense_1.weight, dense_1.bias, got 'dence_1'. Did you mean 'dense_1'?",
        ),
        (
            {"layer": "dense_1.wieght"}, ValueError,
            "layer must be one of dense_0, flatten_0, dense_1, dense_0.weight, dense_0.bias, "
            "dense_1.weight, dense_1.bias, got 'dense_1.wieght'. Did you mean 'dense_1.weight'?",
        ),
        (
            {"layer": "flatten_0"}, ValueError,
            "layer must have parameters, got flatten_0, which has none. Parameters of the model: "
            "dense_0.weight, dense_0.bias, dense_1.weight, dense_1.bias.",
        ),
        (
            {"layer": 3}, ValueError,
            "layer must be below 3, the number of layers (dense_0, flatten_0, dense_1), got 3.",
        ),
        ({"layer": -4}, ValueError, "layer must be at least -3, got -4."),
        ({"layer": 1.5}, TypeError, "layer must be an integer, got 1.5 of type float."),
        (
            {"layer": fm.Dense(3)}, ValueError,
            "layer must be a layer of this model (dense_0, flatten_0, dense_1), got Dense(3), which "
            "is not.",
        ),
        ({"layer": 0, "n": []}, ValueError, "n must contain at least one number, got an empty list."),
        ({"layer": 0, "n": 100}, TypeError, "n must be a list of numbers, got 100."),
        ({"layer": 0, "n": [1, 0]}, ValueError, "n[1] must be above 0, got 0.0."),
        ({"layer": 0, "n": [-1]}, ValueError, "n[0] must be finite and at least 0, got -1.0."),
        ({"layer": 0, "n": ["1"]}, TypeError, "n[0] must be a number, got '1' of type str."),
        ({"layer": 0, "count": 0}, ValueError, "count must be at least 1, got 0."),
        (
            {"layer": 0, "elements": "last"}, ValueError,
            "elements must be one of first, random, got 'last'.",
        ),
        (
            {"layer": 0, "max_per_parameter": 3}, ValueError,
            "max_per_parameter cannot be combined with layer; use count instead.",
        ),
        (
            {"n": [1, 10]}, ValueError,
            "n requires layer: a layer, or one of the parameters dense_0.weight, dense_0.bias, "
            "dense_1.weight, dense_1.bias.",
        ),
        (
            {"count": 3}, ValueError,
            "count requires layer: a layer, or one of the parameters dense_0.weight, dense_0.bias, "
            "dense_1.weight, dense_1.bias.",
        ),
    ],
)  # fmt: skip
def test_refused(options, error, message):
    model = fm.Sequential([fm.Dense(4), fm.Flatten(), fm.Dense(3)], (4,))
    with pytest.raises(error) as caught:
        fm.gradcheck(model, X, Y, **options)
    assert str(caught.value) == message
