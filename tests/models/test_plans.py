"""Plans against the reference: the same training, whatever the network and whoever wrote its parts."""

from __future__ import annotations

import copy
import pickle
import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest
from random_networks import OPTIMIZERS, draw, draw_images, draw_narrow

import fastmlp as fm
from fastmlp import _threads, io, losses
from fastmlp._engines import plans
from fastmlp._plan import builder as plan
from fastmlp.losses import Loss
from fastmlp.optimizers import Optimizer
from fastmlp.parameter import Parameter

pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)

BACKENDS = ("numpy", "kernels")


# (function that draws, first seed): the networks of a test, in parts.
MLPS = [(draw, 24 * part) for part in range(10)]
NARROW = [(draw_narrow, 24 * part) for part in range(4)]
IMAGES = [(draw_images, 24 * part) for part in range(5)]


def values(model):
    return {name: np.array(value) for name, value in model.parameters.items()}


def padding(model):
    """The largest value behind the columns of the weights in panels."""
    largest = 0.0
    for parameter in model.named_parameters.values():
        if parameter.live.ndim == 3:
            panels, _, width = parameter.live.shape
            behind = parameter.live[-1, :, parameter.shape[-1] - (panels - 1) * width :]
            largest = max(largest, np.abs(behind).max(initial=0.0))
    return largest


def near(one, other, tolerance):
    """Whether two arrays differ by so little, compared with the largest value."""
    one, other = np.asarray(one), np.asarray(other)
    assert one.shape == other.shape
    assert one.dtype == other.dtype
    difference = np.abs(one - other).max(initial=0)
    assert difference <= tolerance * max(np.abs(other).max(initial=0), 1e-3), difference


def same_runs(runs, tolerance):
    """Compare what two runs left: (history, parameters, predictions)."""
    (history, weights, outputs), (wanted, expected, predicted) = runs
    assert history.keys() == wanted.keys()
    for name in wanted.keys() - {"time"}:
        near(history[name], wanted[name], tolerance)
    for name in expected:
        near(weights[name], expected[name], tolerance)
    near(outputs, predicted, tolerance)


# --- Plans and the reference ----------------------------------------------------------------------


@pytest.mark.parametrize(("drawn", "first"), MLPS + NARROW + IMAGES)
def test_a_random_network_trains_as_the_reference_does(drawn, first, eager_threads):
    for seed in range(first, first + 24):
        case = drawn(seed)
        eager_threads((1, 2, 3)[seed // 8 % 3])
        results = []
        for backend in BACKENDS:
            model = case.build("float64", backend)
            loss, gradients = model.gradients(case.x, case.y, case.loss, case.weights)
            measured = model.evaluate(case.x, case.y, case.weights)
            outputs = model.predict(case.x)
            assert measured["loss"] == pytest.approx(loss, rel=1e-12), case
            history = case.fit(model).history
            assert padding(model) == 0, case
            run = (history, values(model), model.predict(case.x))
            results.append((loss, gradients, measured, outputs, run))
        wanted, found = results
        assert found[0] == pytest.approx(wanted[0], rel=1e-12, abs=1e-300), case
        assert found[1].keys() == wanted[1].keys()
        for name in wanted[1]:
            near(found[1][name], wanted[1][name], 1e-12)
        assert found[2] == pytest.approx(wanted[2], rel=1e-12), case
        near(found[3], wanted[3], 1e-12)
        try:
            same_runs((found[4], wanted[4]), 1e-9)
        except AssertionError as error:
            raise AssertionError(case) from error


@pytest.mark.parametrize(("drawn", "first"), MLPS[:7] + NARROW + IMAGES[:4])
def test_what_was_in_the_arena_does_not_matter(drawn, first, monkeypatch, eager_threads):
    place = plan.Builder._place

    def poisoned(builder):
        place(builder)
        builder.arena[...] = np.nan
        for buffer in builder._buffers:
            if buffer.zero:
                builder.arena[buffer.offset : buffer.offset + buffer.size] = 0

    for seed in range(first, first + 24):
        case = drawn(seed)
        eager_threads(1 + seed % 2)
        clean, model = (case.build("float32", "kernels") for _ in range(2))
        case.fit(clean)
        with monkeypatch.context() as patch:
            patch.setattr(plan.Builder, "_place", poisoned)
            case.fit(model)
        assert padding(model) == 0, case
        for name, value in model.parameters.items():
            np.testing.assert_array_equal(value, clean.parameters[name], str(case))


def test_every_part_has_its_turn_in_the_random_networks():
    cases = [draw(seed) for seed in range(240)]
    used = {arguments.get("activation") for case in cases for _, arguments in case.specification}
    assert used >= set(fm.activations.ACTIVATIONS)
    assert {(case.optimizer, case.loss) for case in cases} >= {
        (optimizer, loss) for optimizer in OPTIMIZERS for loss in ("cross_entropy", "mse")
    }
    assert {losses.get(case.loss).name for case in cases} == set(losses.LOSSES)
    assert any(case.weights is not None for case in cases)
    assert any(not any(kind == "Dense" for kind, _ in case.specification) for case in cases)
    assert any(case.x.dtype == np.uint8 for case in cases)
    assert {case.shuffle for case in cases} == {True, False}
    images = [draw_images(first + i) for _, first in IMAGES for i in range(24)]
    parts = {kind for case in images for kind, _ in case.specification}
    assert parts >= {"Conv2D", "MaxPool2D", "AvgPool2D", "GlobalAvgPool2D", "Activation"}
    used = {arguments.get("activation") for case in images for _, arguments in case.specification}
    assert used >= set(fm.activations.ACTIVATIONS)


@pytest.mark.parametrize(("drawn", "first"), MLPS[:7] + NARROW + IMAGES[:4])
def test_float32_gradients_are_those_of_float64(drawn, first, eager_threads):
    for seed in range(1000 + first, 1024 + first):
        case = drawn(seed)
        eager_threads((1, 2, 3)[seed % 3])
        model = case.build("float32", "kernels")
        wide = model.copy("float64")
        wide.backend = "numpy"
        found, wanted = (
            m.gradients(case.x, case.y, case.loss, case.weights)[1] for m in (model, wide)
        )
        error = sum(float(((found[name] - wanted[name]) ** 2).sum()) for name in wanted)
        norm = sum(float((wanted[name] ** 2).sum()) for name in wanted)
        assert error**0.5 <= 1e-5 * norm**0.5 + 1e-12, case


@pytest.mark.parametrize("activation", sorted(fm.activations.ACTIVATIONS))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_share_narrow_layers(activation, dtype, eager_threads):
    # A hidden layer that fits in a panel, whose rows an activation passes in one go.
    eager_threads(2)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((256, 40)), np.arange(256) % 10
    for units in (7, 8, 14, 16):
        layers = [fm.Dense(units, activation=activation), fm.Dense(10)]
        model = fm.Sequential(layers, 40, dtype)
        wide = model.copy("float64")
        wide.backend = "numpy"
        found, wanted = model.gradients(x, y)[1], wide.gradients(x, y)[1]
        for name in wanted:
            difference = np.abs(found[name] - wanted[name]).max()
            assert difference <= 3e-6 * np.abs(wanted[name]).max(), (units, name)


@pytest.mark.parametrize("outputs", [127, 128, 129, 144, 145, 400])
@pytest.mark.parametrize("batch", [1, 5, 33, 100])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_many_outputs_pass_their_gradient_on(outputs, batch, dtype, eager_threads):
    eager_threads(3)
    rng = np.random.default_rng(outputs)
    x, y = rng.standard_normal((batch, 9)), rng.integers(0, outputs, batch)
    found = []
    for backend in BACKENDS:
        layers = [fm.Dense(61, "tanh"), fm.Dense(outputs, "relu"), fm.Dense(outputs)]
        model = fm.Sequential(layers, 9, dtype, seed=2)
        model.backend = backend
        found.append(model.gradients(x, y, "cross_entropy")[1])
    for name, gradient in found[0].items():
        near(found[1][name], gradient, 1e-11 if dtype == "float64" else 1e-4)


@pytest.mark.parametrize("layer", [fm.Flatten, lambda: fm.Activation("linear")])
@pytest.mark.parametrize("purpose", ["fit", "evaluate", "gradients", "predict"])
def test_a_network_may_have_nothing_to_compute(layer, purpose, backend):
    model = fm.Sequential([layer()], 6, "float64")
    model.backend = backend
    model.compile(loss="mse")
    x = np.full((5, 6), 2.0)
    if purpose == "fit":
        assert model.fit(x, 0 * x, epochs=1, shuffle=False).history["loss"] == [4.0]
    elif purpose == "evaluate":
        assert model.evaluate(x, 0 * x) == {"loss": 4.0}
    elif purpose == "gradients":
        assert model.gradients(x, 0 * x, "mse") == (4.0, {})
    else:
        np.testing.assert_array_equal(model.predict(x), x)


@pytest.mark.parametrize("outputs", [500, 3000, 20_000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loss_of_many_outputs_needs_no_gradient(outputs, dtype):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((20, 4)), rng.standard_normal((20, outputs))
    model = fm.MLP(4, [], outputs, dtype=dtype)
    model.compile(loss="mse")
    expected = np.mean((model.predict(x).astype("float64") - y) ** 2)
    assert model.evaluate(x, y)["loss"] == pytest.approx(expected, rel=1e-5)
    labels = rng.integers(0, outputs, 20)
    model.compile(loss="cross_entropy")
    logits = model.predict(x).astype("float64")
    logits -= logits.max(axis=1, keepdims=True)
    picked = logits[np.arange(20), labels] - np.log(np.exp(logits).sum(axis=1))
    assert model.evaluate(x, labels)["loss"] == pytest.approx(-picked.mean(), rel=1e-5)


def test_a_measurement_goes_on_after_a_loss_that_is_not_finite(backend):
    model = fm.Sequential([fm.Dense(2, use_bias=False)], 2, "float64")
    model.backend = backend
    model.set_parameters({"dense_0.weight": [[1e300, 0], [0, 1e300]]})
    x = np.full((1200, 2), [1, 0.5])
    x[3] = 1e10
    with np.errstate(all="ignore"):
        measured = model.evaluate(x, np.zeros(1200, int))
    assert np.isnan(measured["loss"])
    assert measured["accuracy"] == 1.0


def test_gradients_of_a_loss_that_is_not_finite_are_computed(backend):
    model = fm.MLP(2, [3], 1, dtype="float64")
    model.backend = backend
    model.set_parameters({"dense_1.weight": np.full((3, 1), 1e200)})
    with np.errstate(all="ignore"):
        loss, gradients = model.gradients(np.full((4, 2), 1e200), np.zeros(4), "mse")
    assert loss == np.inf
    np.testing.assert_array_equal(gradients["dense_1.bias"], [np.inf])


# --- Parts written by the user --------------------------------------------------------------------


class Gain(fm.Layer):
    """Multiply every feature by a number of its own."""

    def build(self, input_shape):
        count = (int(np.prod(input_shape)),)
        self._gain = Parameter("gain", count, lambda shape, *_: np.full(shape, 0.9), 1, 1)
        self.parameters = [self._gain]
        return input_shape

    def workspace(self, n, dtype):
        return {}

    def forward(self, ops, x, workspace):
        workspace["x"] = x
        return x * self._gain.value.reshape(self.input_shape)

    def backward(self, ops, dy, workspace, sink, need_dx):
        dx = dy * self._gain.value.reshape(self.input_shape) if need_dx else None
        sink.row_sum(self._gain, (dy * workspace["x"]).reshape(len(dy), -1))
        return dx


class Grid(fm.Layer):
    """Give samples of 6 features the shape (2, 3), times a matrix: a product for the sink."""

    def build(self, input_shape):
        self._mix = Parameter("mix", (6, 6), lambda shape, *_: np.eye(6) + 0.1, 6, 6)
        self.parameters = [self._mix]
        return (2, 3)

    def workspace(self, n, dtype):
        return {}

    def forward(self, ops, x, workspace):
        workspace["x"] = x
        return (x @ self._mix.value).reshape(-1, 2, 3)

    def backward(self, ops, dy, workspace, sink, need_dx):
        dy = np.ascontiguousarray(dy.reshape(-1, 6))
        dx = dy @ self._mix.value.T
        sink.product(self._mix, workspace["x"], dy)
        return dx


class Huber(Loss):
    name = "huber"

    def targets(self, y, n, output_shape, dtype, name="y"):
        return np.asarray(y)  # as it is: any dtype and layout

    def __call__(self, ops, output, targets, out):
        difference = output - targets.reshape(output.shape)
        clipped = np.clip(difference, -1, 1)
        out[...] = clipped / difference.size
        return float(np.mean(clipped * (difference - 0.5 * clipped))), out


class Margin(Loss):
    """A loss with classes: the squares of what a sample's other outputs exceed its own less one."""

    classifies = True

    def targets(self, y, n, output_shape, dtype, name="y"):
        return np.asarray(y)

    def __call__(self, ops, output, targets, out):
        rows = np.arange(len(output))
        margins = np.maximum(output - output[rows, targets][:, None] + 1, 0)
        margins[rows, targets] = 0
        gradient = 2 * margins / len(output)
        gradient[rows, targets] = -gradient.sum(axis=1)
        return float((margins**2).sum() / len(output)), gradient


class Lion(Optimizer):
    """Soft signs of a running mean, for which the step's number counts too."""

    slots = ("mean",)

    def __init__(self, learning_rate=0.01):
        super().__init__(learning_rate)

    def update(self, ops, value, gradient, state, step, learning_rate):
        mean = state["mean"]
        mean *= 0.9
        mean += 0.1 * gradient
        corrected = mean / (1 - 0.9**step)
        value -= learning_rate * corrected / (np.abs(corrected) + 0.1)


def custom_model(where, backend, dtype="float64"):
    layers = {
        "first": [Gain(), fm.Dense(7, activation="tanh"), fm.Dense(3)],
        "middle": [fm.Dense(7, activation="gelu"), Gain(), fm.Activation("relu"), fm.Dense(3)],
        "last": [fm.Dense(9), fm.Activation("elu"), fm.Dense(3, use_bias=False), Gain()],
        "alone": [Gain()],
        "twice": [Gain(), Gain(), fm.Dense(3, activation="softmax"), Gain()],
        "shapes": [
            fm.Dense(6, activation="silu"), Grid(), fm.Activation("softmax"), Gain(),
            fm.Flatten(), fm.Activation("tanh"), fm.Dense(3),
        ],
    }  # fmt: skip
    model = fm.Sequential(layers[where], 3 if where == "alone" else 5, dtype, seed=2)
    model.backend = backend
    return model


def custom_data(where):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((45, 3 if where == "alone" else 5))
    return x, rng.integers(0, 3, 45), rng.standard_normal((45, 6))[:, ::2]


@pytest.mark.parametrize("where", ["first", "middle", "last", "alone", "twice", "shapes"])
@pytest.mark.parametrize("loss", ["cross_entropy", "mse", Huber, Margin])
@pytest.mark.parametrize("optimizer", [fm.SGD, fm.Adam, Lion])
def test_parts_of_the_users_own_train_alike_on_both_backends(where, loss, optimizer):
    x, labels, numbers = custom_data(where)
    y = labels if loss in ("cross_entropy", Margin) else numbers
    runs, before = [], []
    for backend in BACKENDS:
        model = custom_model(where, backend)
        used = losses.get(loss) if isinstance(loss, str) else loss()
        optimizer_ = fm.Adam(0.01, eps=1e-4) if optimizer is fm.Adam else optimizer(0.02)
        model.compile(optimizer=optimizer_, loss=used)
        value, gradients = model.gradients(x, y, used)
        steps = [model.train_on_batch(x[:n], y[:n]) for n in (45, 1, 13)]
        history = model.fit(x, y, epochs=3, batch_size=8, validation_data=(x[:9], y[:9])).history
        measured = model.evaluate(x, y)
        before.append([value, *steps, *measured.values(), *gradients.values()])
        runs.append((history, values(model), model.predict(x)))
        assert ("accuracy" in history) == used.classifies
    for found, wanted in zip(before[1], before[0], strict=True):
        near(found, wanted, 1e-10)
    same_runs(runs[::-1], 1e-9)


@pytest.mark.parametrize("where", ["first", "middle", "last", "shapes"])
def test_gradients_of_a_layer_of_the_users_own_are_right(where, backend):
    x, labels, _ = custom_data(where)
    model = custom_model(where, backend)
    assert fm.gradcheck(model, x[:6], labels[:6]).passed


@pytest.mark.parametrize("part", ["forward", "backward", "loss", "update", "callback"])
@pytest.mark.parametrize("at", [1, 4])
def test_what_a_part_raises_comes_out_and_the_model_goes_on(part, at, backend, eager_threads):
    eager_threads(2)
    calls = 0

    class Planned(Exception):
        pass

    def count(which):
        nonlocal calls
        if which == part:
            calls += 1
            if calls == at:
                raise Planned("as planned")

    class Faulty(Gain):
        def forward(self, *arguments):
            count("forward")
            return super().forward(*arguments)

        def backward(self, *arguments):
            count("backward")
            return super().backward(*arguments)

    class FaultyLoss(Huber):
        def __call__(self, *arguments):
            count("loss")
            return super().__call__(*arguments)

    class FaultyOptimizer(Lion):
        def update(self, *arguments):
            count("update")
            super().update(*arguments)

    class FaultyCallback(fm.Callback):
        def on_epoch_end(self, epoch, logs):
            count("callback")

    x, _, y = custom_data(part)
    layers = [fm.Dense(7, activation="tanh"), Faulty(), Gain(), fm.Dense(3)]
    model = fm.Sequential(layers, 5, "float64")
    model.backend = backend
    options = {"loss": FaultyLoss(), "batch_size": 8, "callbacks": [FaultyCallback()]}
    with pytest.raises(Planned, match="as planned"):
        model.fit(x, y, epochs=5, optimizer=FaultyOptimizer(0.02), **options)
    assert all(np.isfinite(value).all() for value in model.parameters.values())
    other = model.copy()
    for each in (model, other):
        each.fit(x, y, epochs=2, optimizer=FaultyOptimizer(0.02), **options)
    np.testing.assert_array_equal(model.predict(x), other.predict(x))


def test_no_thread_is_left_behind_when_one_layer_after_another_may_raise(eager_threads):
    # The others are at the end of one Python operation while the next one fails already.
    class Through(fm.Layer):
        def forward(self, ops, x, workspace):
            return x

    class Faulty(fm.Layer):
        def forward(self, ops, x, workspace):
            raise KeyError("as planned")

    eager_threads(4)
    layers = [fm.Dense(7), Through(), Through(), Faulty(), fm.Dense(3)]
    model, x = fm.Sequential(layers, 5), np.zeros((8, 5))
    for _ in range(500):
        with pytest.raises(KeyError, match="as planned"):
            model.predict(x)


def test_a_layer_may_return_what_it_got_and_overwrite_gradients(backend):
    class Through(fm.Layer):
        def forward(self, ops, x, workspace):
            return x

        def backward(self, ops, dy, workspace, sink, need_dx):
            dy *= 1.0
            return dy

    x, labels, _ = custom_data("")
    plain = fm.Sequential([fm.Dense(8, activation="relu"), fm.Dense(3)], 5, "float64")
    layers = [Through(), fm.Dense(8), Through(), fm.Activation("relu"), Through(), fm.Dense(3)]
    model = fm.Sequential([*layers, Through()], 5, "float64")
    for each in (plain, model):
        each.backend = backend
        each.fit(x, labels, epochs=2, batch_size=7)
    near(model.predict(x), plain.predict(x), 1e-12)


def test_a_wrong_shape_of_a_layer_is_told():
    class Wrong(fm.Layer):
        def forward(self, ops, x, workspace):
            return x[:, :2]

    model = fm.Sequential([Wrong()], 3)
    with pytest.raises(
        ValueError, match=r"wrong_0: forward must return shape \(4, 3\), got \(4, 2"
    ):
        model.predict(np.zeros((4, 3)))


# --- Weights in panels, and everything else that looks at them ------------------------------------


@pytest.mark.parametrize("optimizer", ["momentum", "adam", "rmsprop"])
@pytest.mark.parametrize("how", ["pickle", "deepcopy", "backends", "reading", "writing"])
def test_panels_do_not_show(optimizer, how, toy):
    """Two fits with something between them are one run without it."""
    model, undisturbed = (fm.MLP(6, [17, 9], 3, dtype="float64", seed=1) for _ in range(2))
    for each in (model, undisturbed):
        each.compile(optimizer=OPTIMIZERS[optimizer]())
        each.fit(*toy, epochs=2, batch_size=20)
    if how == "pickle":
        model = pickle.loads(pickle.dumps(model))
    elif how == "deepcopy":
        model = copy.deepcopy(model)
    elif how == "backends":
        for backend in ("numpy", "kernels", "numpy"):
            model.backend = backend
            model.predict(toy[0])
            model.evaluate(*toy)
        model.backend = "kernels"
    elif how == "reading":
        near(model.parameters["dense_0.weight"], undisturbed.parameters["dense_0.weight"], 0)
        model.gradients(*toy)
        model.copy().fit(*toy, epochs=1)
    else:
        model.set_parameters(values(model))
    for each in (model, undisturbed):
        each.fit(*toy, epochs=2, batch_size=20)
    assert model.parameters.keys() == undisturbed.parameters.keys()
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, undisturbed.parameters[name])


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_two_fits_are_one_and_backends_may_change_between(optimizer, toy):
    models = [fm.MLP(6, [17, 9], 3, dtype="float64", seed=1) for _ in range(3)]
    models[2].backend = "numpy"
    for model in models:
        model.compile(optimizer=OPTIMIZERS[optimizer]())
    for model in models[1:]:
        model.fit(*toy, epochs=1, batch_size=40)
        model.backend = "kernels"
        model.fit(*toy, epochs=2, batch_size=40)
        model.backend = "numpy" if model is models[2] else "kernels"
        model.fit(*toy, epochs=1, batch_size=40)
    models[0].fit(*toy, epochs=4, batch_size=40)
    for name, value in models[0].parameters.items():
        np.testing.assert_array_equal(models[1].parameters[name], value)
        near(models[2].parameters[name], value, 1e-10)


def test_another_optimizer_begins_anew_and_the_same_goes_on(toy, backend):
    results = []
    for again in (True, False):
        model = fm.MLP(6, [5], 3, dtype="float64")
        model.backend = backend
        adam = fm.Adam(0.01)
        model.fit(*toy, epochs=1, optimizer=adam)
        model.fit(*toy, epochs=1, optimizer=adam if again else fm.Adam(0.01))
        results.append(model.predict(toy[0]))
    assert np.abs(results[0] - results[1]).max() > 1e-3


@pytest.mark.parametrize("setting", ["learning_rate", "weight_decay", "beta1"])
def test_settings_changed_between_fits_count(setting, toy):
    runs = []
    for backend in BACKENDS:
        model = fm.MLP(6, [9], 3, dtype="float64")
        model.backend = backend
        adam = fm.Adam(0.01, eps=1e-4)
        model.fit(*toy, epochs=1, optimizer=adam)
        before = model.predict(toy[0])
        setattr(adam, setting, 0.5 if setting == "beta1" else 0.2)
        history = model.fit(*toy, epochs=2).history
        runs.append((history, values(model), model.predict(toy[0])))
    same_runs(runs, 1e-9)
    steady = fm.MLP(6, [9], 3, dtype="float64")
    steady.fit(*toy, epochs=3, optimizer=fm.Adam(0.01, eps=1e-4))
    assert np.abs(steady.predict(toy[0]) - runs[1][2]).max() > 1e-3
    assert np.abs(before - runs[1][2]).max() > 1e-3


def test_set_parameters_within_a_run(toy):
    class Reset(fm.Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 2:
                self.model.set_parameters(start)

    runs = []
    for backend in BACKENDS:
        model = fm.MLP(6, [9, 17], 3, dtype="float64")
        model.backend = backend
        start = values(model)
        history = model.fit(*toy, epochs=4, callbacks=[Reset()], optimizer=fm.SGD(0.1)).history
        runs.append((history, values(model), model.predict(toy[0])))
    same_runs(runs, 1e-9)


def test_saved_and_loaded_after_training(toy, tmp_path):
    model = fm.MLP(6, [17, 9], 3, seed=4)
    model.fit(*toy, epochs=2, optimizer=fm.Adam(0.01))
    model.save(tmp_path / "model")
    loaded = fm.load_model(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict(toy[0]), model.predict(toy[0]))
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(loaded.parameters[name], value)
    # The file has no states of the optimizer: both begin anew.
    for each in (model, loaded):
        each.fit(*toy, epochs=1, optimizer=fm.Adam(0.01))
    np.testing.assert_array_equal(loaded.predict(toy[0]), model.predict(toy[0]))


# --- Bytes and scales -----------------------------------------------------------------------------


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scaled_bytes_are_scaled_numbers(shuffle, dtype, backend):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (70, 5, 7), dtype=np.uint8)
    labels = np.arange(70) % 3
    numbers = images.astype(dtype) * np.dtype(dtype).type(1 / 255)
    results = []
    for x, scale in ((numbers, 1.0), (images, 1 / 255), (images.astype(dtype), 1 / 255)):
        model = fm.MLP(35, [9], 3, dtype=dtype, scale=scale)
        model.backend = backend
        gradients = model.gradients(x, labels)
        model.fit(x, labels, epochs=2, batch_size=16, shuffle=shuffle, validation_data=(x, labels))
        model.train_on_batch(x[:9], labels[:9])
        results.append([gradients[0], *gradients[1].values(), *values(model).values()])
        results[-1] += [model.predict(x), model.evaluate(x, labels)["loss"]]
    for found in results[1:]:
        for one, other in zip(found, results[0], strict=True):
            np.testing.assert_array_equal(one, other)


def test_bytes_need_no_scale(backend):
    x = np.random.default_rng(0).integers(0, 4, (30, 5), dtype=np.uint8)
    model = fm.MLP(5, [4], 3)
    model.backend = backend
    np.testing.assert_array_equal(model.predict(x), model.predict(x.astype("float32")))


def test_scale_is_in_the_file_and_files_without_it_load(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (9, 4), dtype=np.uint8)
    model = fm.MLP(4, [3], 2, scale=1 / 255)
    model.save(tmp_path / "scaled")
    loaded = fm.load_model(tmp_path / "scaled")
    assert loaded.scale == 1 / 255
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    for clone in (model.copy(), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert clone.scale == 1 / 255
    with io.ModelFile(tmp_path / "scaled") as file:
        config = file.config
    del config["scale"]
    io.write_model(tmp_path / "old", config, model.parameters)
    assert fm.load_model(tmp_path / "old").scale == 1.0


@pytest.mark.parametrize("scale", [0, 0.0, -1.0, float("inf"), float("nan"), "1", None, True])
def test_scale_is_a_positive_number(scale):
    with pytest.raises((ValueError, TypeError), match="scale must be"):
        fm.MLP(4, [3], 2, scale=scale)


def test_bytes_stay_bytes(backend):
    images = np.random.default_rng(0).integers(0, 256, (8000, 400), dtype=np.uint8)
    labels = np.arange(8000) % 3
    model = fm.MLP(400, [4], 3, scale=1 / 255)
    model.backend = backend
    small = images[:64], labels[:64]
    model.fit(*small, epochs=1)  # modules and plans
    tracemalloc.start()
    model.fit(images, labels, epochs=1, batch_size=64)
    model.evaluate(images, labels)
    model.predict(images)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < images.nbytes, "a float copy takes four times as much"


# --- The plan that is shown -----------------------------------------------------------------------


def test_plan_shows_what_is_done(eager_threads):
    eager_threads(2)
    layers = [fm.Dense(32, activation="relu"), fm.Activation("tanh"), fm.Dense(16), fm.Dense(10)]
    plan = fm.Sequential(layers, 64, seed=1).plan(batch_size=128)
    shown = [(op.kind, op.layer, op.shape) for op in plan.operations]
    assert shown == [
        ("gather", "", "(128, 64)"),
        ("dense", "dense_0", "(128, 64) @ (64, 32)"),
        ("activation", "activation_0", "(128, 32)"),
        ("dense", "dense_1", "(128, 32) @ (32, 16)"),
        ("dense", "dense_2", "(128, 16) @ (16, 10)"),
        ("cross_entropy", "", "(128, 10)"),
        ("dense_backward", "dense_2", "(128, 10) @ (10, 16)"),
        ("dense_update", "dense_2", "(16, 128) @ (128, 10)"),
        ("dense_backward", "dense_1", "(128, 16) @ (16, 32)"),
        ("dense_update", "dense_1", "(32, 128) @ (128, 16)"),
        ("activation_backward", "dense_0", "(128, 32)"),
        ("dense_update", "dense_0", "(64, 128) @ (128, 32)"),
    ]
    fused = {(op.kind, op.layer): op.fused for op in plan.operations}
    assert fused["dense", "dense_0"] == ["bias", "relu"]
    assert fused["activation", "activation_0"] == ["tanh"]
    assert fused["cross_entropy", ""] == ["gradient"]
    assert fused["dense_backward", "dense_1"] == ["tanh'"]
    assert fused["dense_update", "dense_0"] == ["bias gradient", "sgd"]
    products = [op.flops for op in plan.operations if "@" in op.shape]
    assert sum(products) == 2 * 128 * (2 * 64 * 32 + 3 * 32 * 16 + 3 * 16 * 10)
    assert (plan.threads, plan.rows) == (2, 128)
    assert {op.threads for op in plan.operations} == {2}
    assert [op.barrier for op in plan.operations if op.kind == "dense_update"] == [False] * 3


def test_plan_prints_a_table():
    lines = str(fm.MLP(4, [3], 2, scale=0.5).plan(8)).splitlines()
    titles = ["operation", "layer", "shapes", "fused", "MFLOP", "KiB", "threads"]
    assert lines[0].split() == titles
    assert set(lines[1]) == set(lines[-2]) == {"-"}
    assert lines[2].split()[:4] == ["gather", "(8,", "4)", "scale"]
    assert "scale 0.5" in lines[2]
    assert [line.split()[0] for line in lines[2:-2]] == [
        "gather", "dense", "dense", "cross_entropy", "dense_backward", "dense_update",
        "dense_update",
    ]  # fmt: skip
    assert lines[-1].startswith("batches of 8: 0.00 MFLOP a step, ")
    assert lines[-1].endswith("KiB of arena; | all threads meet")


@pytest.mark.parametrize(
    ("purpose", "kinds"),
    [
        ("predict", ["dense", "dense", "output"]),
        ("evaluate", ["dense", "dense", "cross_entropy"]),
        (
            "gradients",
            ["dense", "dense", "cross_entropy", "dense_backward", "dense_update", "dense_update"],
        ),
    ],
)
@pytest.mark.parametrize(("hidden", "copied"), [(3, ["gather"]), (40, [])])
def test_plan_of_another_purpose(purpose, kinds, hidden, copied):
    plan = fm.MLP(4, [hidden], 2).plan(purpose=purpose)
    assert [op.kind for op in plan.operations] == copied + kinds
    assert plan.rows == 32
    if purpose == "gradients":
        assert plan.operations[-1].fused[-1] == "store"


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0."),
        ({"batch_size": 1.5}, TypeError, "batch_size must be an integer, got 1.5"),
        (
            {"purpose": "learn"},
            ValueError,
            "purpose must be one of train, evaluate, predict, gradients, got 'learn'.",
        ),
        ({"purpose": None}, TypeError, "purpose must be one of"),
    ],
)
def test_plan_refuses(arguments, error, text):
    with pytest.raises(error) as caught:
        fm.MLP(4, [3], 2).plan(**arguments)
    assert str(caught.value).startswith(text)


def test_the_reference_has_no_plan():
    model = fm.MLP(4, [3], 2)
    model.backend = "numpy"
    with pytest.raises(ValueError) as caught:
        model.plan()
    assert str(caught.value) == 'plan: only the "kernels" backend has plans, got backend "numpy".'


def test_looking_at_the_plan_changes_nothing(toy):
    model, other = (fm.MLP(6, [9], 3) for _ in range(2))
    for each in (model, other):
        each.fit(*toy, epochs=1, optimizer=fm.SGD(0.1, momentum=0.9))
        if each is model:
            for purpose in ("train", "evaluate", "predict", "gradients"):
                str(model.plan(purpose=purpose))
        each.fit(*toy, epochs=1)
    np.testing.assert_array_equal(model.predict(toy[0]), other.predict(toy[0]))


# --- How a run ends -------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_divergence_in_a_later_epoch_goes_back_to_its_start(optimizer, toy, backend):
    class Break(fm.Callback):
        def on_epoch_begin(self, epoch):
            starts.append(values(self.model))
            if epoch == 3:
                self.model.optimizer.learning_rate = 1e300

    starts: list = []
    model = fm.MLP(6, [9], 3, dtype="float64", seed=1)
    model.backend = backend
    y = np.sin(toy[0][:, :3])
    chosen = OPTIMIZERS[optimizer]()
    with (
        pytest.raises(fm.DivergenceError, match="from the start of epoch 3") as caught,
        np.errstate(all="ignore"),
    ):
        model.fit(toy[0], y, 5, 20, optimizer=chosen, loss="mse", callbacks=[Break()])
    assert caught.value.epoch == 3
    assert model.history.epochs == [1, 2]
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, starts[2][name])
    # The states of the optimizer, full of infinities maybe, are gone.
    chosen.learning_rate = 0.01
    other = model.copy()
    other.fit(toy[0], y, 2, 20, optimizer=OPTIMIZERS[optimizer](), loss="mse")
    other = model.copy()
    other.compile(copy.deepcopy(chosen), "mse")
    model.fit(toy[0], y, 2, 20)
    other.fit(toy[0], y, 2, 20)
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, other.parameters[name])


def test_divergence_is_told_by_threads_that_had_nothing_to_do_with_the_loss(monkeypatch):
    # Two threads share the first product; the loss and what follows are one thread's.
    monkeypatch.setattr(_threads, "OVERSUBSCRIBE", True)
    monkeypatch.setattr(plans, "_PARALLEL_CALL", 0)
    before = _threads.choice()
    fm.set_num_threads(4)
    x, y = np.full((64, 300), 1e30, "float32"), np.full((64, 3), 1e30)
    model = fm.MLP(300, [200], 3)
    threads = [operation.threads for operation in model.plan(8).operations]
    assert max(threads) > 1
    for _ in range(100):
        with pytest.raises(fm.DivergenceError, match="in epoch 1, step"):
            model.fit(x, y, epochs=1, batch_size=8, loss="mse")
    _threads.choose(before)


@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh", "softplus", "softmax"])
def test_an_overflow_leaves_no_trace_in_a_plan(activation):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((16, 5)), rng.standard_normal((16, 3))
    layers = [fm.Dense(7, activation=a) for a in (activation, "tanh", "sigmoid")]
    model = fm.Sequential([*layers, fm.Dense(3)], 5, "float64")
    model.compile(optimizer=fm.SGD(0.1), loss="mse")
    weights = values(model)
    for name in weights:
        model.set_parameters({name: np.sign(weights[name] + 0.1) * 1e308})
        try:
            model.train_on_batch(x, y)
        except fm.DivergenceError:
            pass
        model.set_parameters(weights)
    fresh = model.copy()
    for each in (model, fresh):
        each.fit(x, y, epochs=3, batch_size=16)
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, fresh.parameters[name])


# --- Threads of Python's --------------------------------------------------------------------------


def in_threads(count, work):
    """Run ``work(index)`` in so many threads at once; raise what any of them raised."""
    errors: list = []
    gate = threading.Barrier(count)

    def guarded(index):
        try:
            gate.wait()
            work(index)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.fixture
def busy_switching():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_threads_predict_with_a_model_that_has_no_plan_yet(busy_switching, eager_threads):
    eager_threads(2)
    x = np.random.default_rng(0).standard_normal((4, 130, 30)).astype("float32")
    for seed in range(15):
        model = fm.MLP(30, [100, 17], 3, seed=seed)
        expected = [model.copy().predict(part) for part in x]
        labels = np.arange(130) % 3
        loss = model.copy().evaluate(x[0], labels)["loss"]

        def work(index, model=model, expected=expected, loss=loss, labels=labels):
            for _ in range(5):
                np.testing.assert_array_equal(model.predict(x[index]), expected[index])
                assert model.evaluate(x[0], labels)["loss"] == loss

        in_threads(4, work)


def test_a_plan_is_taken_by_one_thread_only():
    class Slow(list):
        def __bool__(self):  # others have their chance between the look and the grasp
            there = len(self) > 0
            time.sleep(0.002)
            return there

    model, x = fm.MLP(4, [3], 2), np.zeros((5, 4), "float32")
    model.predict(x)
    runner = model.engine[1]
    ((key, plans),) = runner._plans.items()
    runner._plans[key] = Slow(plans)
    taken = [None] * 4

    def work(index):
        taken[index] = runner.plan("predict", 5, x)[1]

    in_threads(4, work)
    assert len(set(map(id, taken))) == 4


def test_two_models_train_at_once_as_one_after_the_other(busy_switching, eager_threads):
    eager_threads(2)
    cases = [draw(seed) for seed in (3, 21, 40, 65)]
    expected = []
    for case in cases:
        model = case.build("float32", "kernels")
        case.fit(model, 3)
        expected.append(values(model))
    models = [case.build("float32", "kernels") for case in cases]
    in_threads(4, lambda index: cases[index].fit(models[index], 3))
    for model, wanted in zip(models, expected, strict=True):
        for name, value in model.parameters.items():
            np.testing.assert_array_equal(value, wanted[name])


def test_python_in_a_plan_has_subnormal_numbers(toy):
    seen = []

    class Halves(fm.Layer):
        def forward(self, ops, x, workspace):
            seen.append(float(np.float64(1e-308) / 1024))
            return x.copy()

        def backward(self, ops, dy, workspace, sink, need_dx):
            return dy.copy()

    model = fm.Sequential([fm.Dense(4), Halves(), fm.Dense(3)], input_shape=(6,))
    model.fit(*toy, epochs=1)
    assert min(seen) > 0
    assert np.float64(1e-308) / 1024 > 0
