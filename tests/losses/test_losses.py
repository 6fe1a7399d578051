"""Losses in models: both backends, gradients, settings, weights of samples and of classes."""

from __future__ import annotations

import copy
import math
import pickle
import re

import numpy as np
import pytest
from comparing import near

import fastmlp as fm
from fastmlp import losses
from fastmlp._plan import narrow
from fastmlp.losses import LOSSES, Loss

CLASSES = 5


@pytest.fixture(params=["lanes", "rows"], autouse=True)
def layout(request, monkeypatch):
    """Run each test with samples in lanes and in rows: the networks here are narrow."""
    if request.param == "rows":
        monkeypatch.setattr(narrow, "_NARROW", 0)


KINDS = [
    fm.CrossEntropy(),
    fm.CrossEntropy(label_smoothing=0.1),
    fm.CrossEntropy(class_weight=[1, 2, 0.5, 0, 3]),
    fm.CrossEntropy(0.2, {1: 2.5, 4: 0.0}),
    fm.BinaryCrossEntropy(),
    fm.MeanSquaredError(),
    fm.MeanAbsoluteError(),
    fm.Huber(),
    fm.Huber(0.4),
    fm.Hinge(),
    fm.Hinge(0.3),
]


def targets_of(loss, n, rng, outputs=CLASSES, soft=False):
    """Targets of n samples as the loss takes them."""
    if loss.name in ("cross_entropy", "hinge"):
        if soft and loss.name == "cross_entropy":
            return rng.dirichlet(np.ones(outputs), n)
        return rng.integers(0, outputs, n)
    if loss.name == "binary_cross_entropy":
        return rng.random((n, outputs)) if soft else rng.integers(0, 2, (n, outputs))
    return rng.standard_normal((n, outputs))


def weights_of(how, n, rng):
    if how == "some":
        return np.where(rng.random(n) < 0.5, 0, rng.random(n) * 7)
    return rng.random(n) + 0.1 if how == "all" else None


def network(backend, outputs=CLASSES, dtype="float64", seed=1):
    model = fm.MLP(6, [9], outputs, activation="tanh", dtype=dtype, seed=seed)
    model.backend = backend
    return model


# --- Both backends, and their gradients -----------------------------------------------------------


@pytest.mark.parametrize("how", ["none", "all", "some"])
@pytest.mark.parametrize("loss", KINDS, ids=repr)
def test_plans_compute_what_the_reference_does(loss, how, eager_threads):
    pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)
    rng = np.random.default_rng(5)
    for n, outputs, batch in ((1, 5, 1), (37, 5, 8), (70, 5, 70), (40, 70, 13), (9, 17, 4)):
        if outputs != 5 and isinstance(loss, fm.CrossEntropy) and loss.class_weight is not None:
            continue
        for soft in (False, True):
            eager_threads(1 + n % 3)
            x, y = rng.standard_normal((n, 6)), targets_of(loss, n, rng, outputs, soft)
            weights = weights_of(how, n, rng)
            if weights is not None and not weights.any():
                weights[0] = 1
            found = []
            for backend in ("numpy", "kernels"):
                model = network(backend, outputs)
                model.compile(fm.SGD(0.05, momentum=0.5), loss)
                value, gradients = model.gradients(x, y, loss, weights)
                measured = model.evaluate(x, y, weights)
                assert measured["loss"] == pytest.approx(value, rel=1e-12, abs=1e-300)
                step = model.train_on_batch(x, y, weights)
                assert step == pytest.approx(value, rel=1e-12, abs=1e-300)
                validation = (x, y) if weights is None else (x, y, weights)
                history = model.fit(
                    x, y, 2, batch, validation_data=validation, sample_weight=weights, verbose=0
                ).history
                assert history["val_loss"][-1] == model.evaluate(x, y, weights)["loss"]
                del history["time"]
                found.append((value, gradients, measured, history, model.parameters))
            ours, reference = found[1], found[0]
            assert ours[0] == pytest.approx(reference[0], rel=1e-12, abs=1e-300)
            assert ours[2] == pytest.approx(reference[2], rel=1e-12, abs=1e-300)
            for name in reference[1]:
                near(ours[1][name], reference[1][name], 1e-12)
                near(ours[4][name], reference[4][name], 1e-9)
            for name in reference[3]:
                np.testing.assert_allclose(ours[3][name], reference[3][name], rtol=1e-9)


@pytest.mark.parametrize("how", ["none", "all", "some"])
@pytest.mark.parametrize("loss", KINDS, ids=repr)
def test_gradients_are_right(loss, how, backend):
    rng = np.random.default_rng(2)
    for n in (1, 7):
        x, y = rng.standard_normal((n, 6)), targets_of(loss, n, rng)
        weights = weights_of(how, n, rng)
        if weights is not None:
            weights[0] += 1
        if loss.name == "cross_entropy" and n == 1:
            y = np.array([1])  # a class with weight
        result = fm.gradcheck(network(backend), x, y, loss, sample_weight=weights)
        assert result.passed, str(result)
        assert sum(result.checked.values()) > 50


@pytest.mark.parametrize("how", ["none", "some"])
@pytest.mark.parametrize("loss", KINDS, ids=repr)
def test_the_same_bits_for_any_number_of_threads(loss, how, eager_threads):
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((97, 6)), targets_of(loss, 97, rng)
    weights, runs = weights_of(how, 97, rng), []
    for threads in (1, 2, 3, 4):
        eager_threads(threads)
        model = network("kernels", dtype="float32")
        model.compile(fm.SGD(0.1), loss)
        history = model.fit(x, y, 2, 40, validation_data=(x, y), sample_weight=weights, verbose=0)
        values = [history.history[name] for name in ("loss", "val_loss")]
        runs.append([*values, *model.gradients(x, y, loss, weights)[1].values()])
        runs[-1] += model.parameters.values()
    for run in runs[1:]:
        for found, wanted in zip(run, runs[0], strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_losses_known_without_learning(backend):
    x, y = np.zeros((20, 6)), np.arange(20) % 10
    model = network(backend, 10)
    for loss, wanted in (
        ("hinge", 9.0),
        ("cross_entropy", math.log(10)),
        (fm.CrossEntropy(0.3), math.log(10)),
        (fm.Hinge(0.5), 4.5),
    ):
        model.compile(loss=loss)
        assert model.evaluate(x, y)["loss"] == pytest.approx(wanted, rel=1e-15)
    model.compile(loss="binary_cross_entropy")
    measured = model.evaluate(x, np.eye(10)[y])
    assert measured == {"loss": pytest.approx(math.log(2)), "accuracy": pytest.approx(0.9)}


@pytest.mark.parametrize("name", ["mse", "mae", "huber", "binary_cross_entropy"])
def test_outputs_may_have_any_shape(name, backend):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((11, 2, 3)), rng.random((11, 2, 3))
    model = fm.Sequential([fm.Activation("tanh")], (2, 3), "float64")
    model.backend = backend
    model.compile(loss=name)
    weights = rng.random(11)
    z = np.tanh(x)
    values = {
        "mse": (z - y) ** 2,
        "mae": abs(z - y),
        "huber": np.where(abs(z - y) < 1, (z - y) ** 2 / 2, abs(z - y) - 0.5),
        "binary_cross_entropy": np.log1p(np.exp(z)) - z * y,
    }[name].mean(axis=(1, 2))
    assert model.evaluate(x, y)["loss"] == pytest.approx(values.mean(), rel=1e-12)
    weighted = np.average(values, weights=weights)
    assert model.evaluate(x, y, weights)["loss"] == pytest.approx(weighted, rel=1e-12)


# --- Weights --------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", KINDS, ids=repr)
def test_a_weight_of_two_is_a_sample_that_is_there_twice(loss, backend):
    rng = np.random.default_rng(8)
    x, y = rng.standard_normal((12, 6)), targets_of(loss, 12, rng)
    weights = np.array([2, 1, 0, 1, 3, 1, 1, 0, 1, 1, 2, 1])
    times = np.repeat(np.arange(12), weights)
    model = network(backend)
    value, gradients = model.gradients(x, y, loss, weights)
    scaled = model.gradients(x, y, loss, 0.001 * weights)
    wanted, expected = model.gradients(x[times], y[times], loss)
    for found in ((value, gradients), scaled):
        assert found[0] == pytest.approx(wanted, rel=1e-12)
        for name in expected:
            near(found[1][name], expected[name], 1e-12)


def test_weights_of_classes_are_weights_of_their_samples(backend):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((30, 6)), rng.integers(0, CLASSES, 30)
    of_classes = np.array([1, 2, 0.5, 0, 3])
    runs = []
    for loss, weights, targets in (
        (fm.CrossEntropy(class_weight=of_classes), None, y),
        (fm.CrossEntropy(class_weight=dict(enumerate(of_classes))), None, y),
        (fm.CrossEntropy(class_weight=of_classes), None, np.eye(CLASSES)[y]),
        ("cross_entropy", of_classes[y], y),
    ):
        model = network(backend)
        model.fit(x, targets, 3, 7, fm.SGD(0.3), loss, sample_weight=weights, verbose=0)
        runs.append((model.history.history, model.parameters))
    for history, parameters in runs[1:]:
        np.testing.assert_allclose(history["loss"], runs[0][0]["loss"], rtol=1e-10)
        assert history["accuracy"] == runs[0][0]["accuracy"]
        for name, value in parameters.items():
            near(value, runs[0][1][name], 1e-10)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("classes", [2, 3, 10, 17, 64, 65])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("of_classes", [False, True])
@pytest.mark.parametrize("how", [None, "all", "some"])
def test_labels_with_settings_and_weights(classes, dtype, smoothing, of_classes, how):
    # Up to 64 classes the plan has a sample in each lane; 13 samples leave some lanes empty.
    rng = np.random.default_rng(classes)
    x, y = rng.standard_normal((13, 6)), rng.integers(0, classes, 13)
    weights = weights_of(how, 13, rng)
    class_weight = rng.permutation(classes) + 0.5 if of_classes else None
    loss = fm.CrossEntropy(smoothing, class_weight)
    found, wanted = network("kernels", classes, dtype), network("numpy", classes, dtype)
    limit = 1e-12 if dtype == "float64" else 3e-6
    for order in (slice(None), rng.permutation(13)):
        value, gradients = found.gradients(x[order], y, loss, weights)
        expected = wanted.gradients(x[order], y, loss, weights)
        assert value == pytest.approx(expected[0], rel=limit)
        for name in gradients:
            near(gradients[name], expected[1][name], 10 * limit)
    for model in (found, wanted):
        model.compile(loss=loss)
    measured = [model.evaluate(x, y, weights) for model in (found, wanted)]
    assert measured[0]["loss"] == pytest.approx(measured[1]["loss"], rel=limit)
    assert measured[0]["accuracy"] == measured[1]["accuracy"]


@pytest.mark.parametrize("loss", [fm.CrossEntropy(), fm.CrossEntropy(0.1, {1: 3.0}), fm.Huber()])
def test_history_has_the_weighted_mean_of_the_epoch(loss, backend):
    rng = np.random.default_rng(4)
    x, y, weights = rng.standard_normal((50, 6)), targets_of(loss, 50, rng), rng.random(50) ** 4
    weights[16:24] = 0  # a whole batch
    model = network(backend)
    model.fit(x, y, 2, 8, fm.SGD(0.0), loss, sample_weight=weights, shuffle=False, verbose=0)
    wanted = model.evaluate(x, y, weights)["loss"]
    np.testing.assert_allclose(model.history.history["loss"], [wanted] * 2, rtol=1e-12)
    assert wanted != pytest.approx(model.evaluate(x, y)["loss"], rel=1e-3)


def test_a_batch_without_weight_changes_nothing(backend):
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((24, 6)), rng.integers(0, CLASSES, 24)
    weights = np.ones(24)
    weights[8:16] = 0
    model, shorter = network(backend), network(backend)
    model.fit(x, y, 2, 8, fm.SGD(0.3), sample_weight=weights, shuffle=False, verbose=0)
    some = np.flatnonzero(weights)
    shorter.fit(x[some], y[some], 2, 8, fm.SGD(0.3), shuffle=False, verbose=0)
    np.testing.assert_allclose(
        model.history.history["loss"], shorter.history.history["loss"], rtol=1e-12
    )
    for name, value in model.parameters.items():
        near(value, shorter.parameters[name], 1e-12)


@pytest.mark.parametrize("clip", [{}, {"clip_norm": 0.05}])
def test_weights_go_with_penalties_and_clipping(clip):
    # The penalty counts in full, also in a batch in which nothing else has weight.
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((24, 6)), rng.integers(0, CLASSES, 24)
    weights = rng.random(24)
    weights[8:16] = 0
    runs = []
    for backend in ("numpy", "kernels"):
        layers = [fm.Dense(7, activation="tanh", l2=0.01), fm.Dense(CLASSES, l1=0.01)]
        model = fm.Sequential(layers, 6, "float64")
        model.backend = backend
        options = {"shuffle": False, "sample_weight": weights, "metrics": ["accuracy", "error"]}
        model.compile(fm.SGD(0.3, **clip))
        model.train_on_batch(x[8:16], y[8:16])
        model.fit(x, y, 2, 8, **options, verbose=0)
        measured = model.evaluate(x, y, weights)
        runs.append([*model.history.history["loss"], *measured.values()])
        runs[-1] += model.parameters.values()
    for found, wanted in zip(*runs[::-1], strict=True):
        near(found, wanted, 1e-11)


def test_weights_follow_their_samples_in_any_order(backend):
    # Only one sample counts, whatever the order and the batches: it is as if it were alone.
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((33, 6)), rng.integers(0, CLASSES, 33)
    weights = np.zeros(33)
    weights[19] = 0.1
    model, alone = network(backend), network(backend)
    model.fit(x, y, 5, 4, fm.SGD(0.3), sample_weight=weights, verbose=0)
    alone.fit(x[19:20], y[19:20], 5, 4, fm.SGD(0.3), verbose=0)
    np.testing.assert_allclose(
        model.history.history["loss"], alone.history.history["loss"], rtol=1e-12
    )
    for name, value in model.parameters.items():
        near(value, alone.parameters[name], 1e-12)


def test_settings_of_a_loss_tell_plans_apart(toy):
    x, y = toy
    model = fm.MLP(6, [4], 3, dtype="float64")
    reference = model.copy()
    reference.backend = "numpy"
    kinds = [
        fm.CrossEntropy(s, w) for s in (0.0, 0.1, 0.2) for w in (None, [1, 2, 3], [3, 2, 1], {1: 2})
    ]
    for _ in range(2):  # the second time uses the plans of the first
        for loss in kinds:
            for each in (model, reference):
                each.compile(loss=loss)
            found, wanted = (each.evaluate(x, y)["loss"] for each in (model, reference))
            assert found == pytest.approx(wanted, rel=1e-12)
    assert fm.Huber(1).key == fm.Huber(1.0).key == fm.Huber().key != fm.Huber(2).key
    assert fm.Huber().key != fm.MeanSquaredError().key


def test_divergence_is_seen_in_weighted_losses(backend, toy):
    x, y = toy[0], np.sin(toy[0][:, :3])
    model = fm.MLP(6, [4], 3, dtype="float64")
    model.backend = backend
    before = model.parameters
    with pytest.raises(fm.DivergenceError, match="epoch 1"), np.errstate(all="ignore"):
        model.fit(x, y, 5, 10, fm.SGD(1e200), "mse", sample_weight=np.arange(150), verbose=0)
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, before[name])
    for loss in ("mae", "huber", "hinge", "cross_entropy", "binary_cross_entropy"):
        model = network(backend, 3)
        model.compile(loss=loss)
        model.set_parameters({"dense_1.weight": np.full((9, 3), [1e308, 1e308, -1e308])})
        targets = toy[1] if loss in ("hinge", "cross_entropy") else (y > 0).astype(int)
        with pytest.raises(fm.DivergenceError), np.errstate(all="ignore"):
            model.train_on_batch(1e3 * x, targets, np.arange(150))


# --- Multi-label, binary, and regression with several outputs -------------------------------------


def test_multi_label_classification_end_to_end(backend, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 6)).astype("float32")
    y = (x @ rng.standard_normal((6, 4)) > 0).astype(int)
    model = network(backend, 4, "float32")
    model.fit(x, y, 30, 16, fm.SGD(0.5), "binary_cross_entropy", (x[:50], y[:50]), verbose=0)
    right = (model.predict(x) > 0) == y
    measured = model.evaluate(x, y)
    assert measured["accuracy"] == pytest.approx(right.mean(), abs=1e-12)
    assert measured["accuracy"] > 0.93
    assert model.history.history["val_accuracy"][-1] > 0.93
    probabilities = model.predict_proba(x)
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-model.predict(x))), rtol=1e-5)
    model.save(tmp_path / "model")
    loaded = fm.load_model(tmp_path / "model")
    np.testing.assert_allclose(loaded.predict_proba(x), probabilities, rtol=1e-5)


def test_many_labels_are_counted(backend):
    x, y = np.zeros((3, 6)), np.zeros((3, 1000))
    y[:, :400] = 1
    model = network(backend, 1000)
    model.compile(loss="binary_cross_entropy")
    assert model.evaluate(x, y)["accuracy"] == 0.6


def test_one_output_tells_two_classes_apart(backend):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200, 6))
    y = x[:, 0] > x[:, 1]
    model = network(backend, 1)
    model.fit(x, y, 40, 16, fm.SGD(0.5), "binary_cross_entropy", verbose=0)
    assert model.evaluate(x, y)["accuracy"] > 0.95
    assert model.evaluate(x, y[:, None]) == model.evaluate(x, y)
    assert model.history.history["accuracy"][-1] > 0.95


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_several_outputs_are_learnt(loss, backend):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 6))
    y = x @ rng.standard_normal((6, 3))
    model = fm.MLP(6, [], 3, dtype="float64")
    model.backend = backend
    rate = {"mse": 0.3, "mae": 0.05, "huber": 0.5}[loss]
    first = model.fit(x, y, 1, 32, fm.SGD(rate), loss, verbose=0).history["loss"][0]
    last = model.fit(x, y, 60, 32, verbose=0).history["loss"][-1]
    assert last < 0.1 * first
    assert list(model.evaluate(x, y)) == ["loss"]


# --- Losses of the user's own ---------------------------------------------------------------------


class Plain(Loss):
    """Squares, without weights."""

    def targets(self, y, n, output_shape, dtype, name="y"):
        return np.asarray(y, dtype)

    def __call__(self, ops, output, targets, out):
        return ops.mse(output, targets, out=out)


class Weighted(Plain):
    """With them."""

    def __call__(self, ops, output, targets, out, weights=None):
        return ops.mse(output, targets, sample_weight=weights, out=out)


class Balanced(fm.CrossEntropy):
    """Ours, by another class: computed in Python."""


def test_a_loss_in_python_may_take_weights(backend):
    rng = np.random.default_rng(0)
    x, y, weights = rng.standard_normal((50, 6)), rng.standard_normal((50, 5)), rng.random(50)
    weights[8:16] = 0
    labels = rng.integers(0, 5, 50)
    pairs = [
        (Weighted(), fm.MeanSquaredError(), y),
        (Balanced(0.1, {2: 3.0}), fm.CrossEntropy(0.1, {2: 3.0}), labels),
    ]
    for mine, theirs, targets in pairs:
        runs = []
        for loss in (mine, theirs):
            model = network(backend)
            model.compile(fm.SGD(0.1), loss)
            model.fit(x, targets, 2, 8, sample_weight=weights, shuffle=False, verbose=0)
            measured = model.evaluate(x, targets, weights)
            runs.append((model.history.history, measured, model.parameters))
        np.testing.assert_allclose(runs[0][0]["loss"], runs[1][0]["loss"], rtol=1e-10)
        assert runs[0][1] == pytest.approx(runs[1][1], rel=1e-10)
        for name, value in runs[0][2].items():
            near(value, runs[1][2][name], 1e-10)


def test_a_loss_without_weights_refuses_them(backend):
    model, x, y = network(backend), np.zeros((4, 6)), np.zeros((4, 5))
    model.compile(loss=Plain())
    assert model.train_on_batch(x, y) >= 0
    for call in (model.train_on_batch, model.evaluate):
        with pytest.raises(
            ValueError, match="sample_weight requires a loss whose __call__ accepts"
        ):
            call(x, y, np.ones(4))


# --- What is kept, and what is refused ------------------------------------------------------------


@pytest.mark.parametrize("loss", KINDS, ids=repr)
def test_settings_are_saved(loss, tmp_path):
    model = network("kernels" if "kernels" in fm._backend.DEFAULT else "numpy")
    model.compile(loss=loss)
    model.save(tmp_path / "model")
    for other in (
        fm.load_model(tmp_path / "model").loss,
        pickle.loads(pickle.dumps(loss)),
        copy.deepcopy(loss),
        losses.get(losses.config(loss)),
        eval(repr(loss), vars(fm)),
    ):
        assert other.key == loss.key
        assert repr(other) == repr(loss)
    assert isinstance(losses.config(type(loss)()), str)


def test_every_loss_is_tested_and_named_in_the_docstring_of_compile():
    assert {type(loss) for loss in KINDS} == set(LOSSES.values())
    assert set(re.findall(r'"(\w+)"', fm.Sequential.compile.__doc__)) >= set(LOSSES)


def test_names_are_losses():
    for name, kind in LOSSES.items():
        assert type(losses.get(name)) is kind
        assert losses.get(name).name == name
        assert getattr(fm, kind.__name__) is kind
    assert repr(fm.CrossEntropy(0.1, {2: 1})) == (
        "CrossEntropy(label_smoothing=0.1, class_weight={2: 1.0})"
    )


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fm.CrossEntropy(1.0), ValueError,
         "label_smoothing must be at least 0 and below 1, got 1.0."),
        (lambda: fm.CrossEntropy(-0.1), ValueError,
         "label_smoothing must be at least 0 and below 1, got -0.1."),
        (lambda: fm.CrossEntropy("0.1"), TypeError, "label_smoothing must be a number, got '0.1'"),
        (lambda: fm.CrossEntropy(np.nan), ValueError, "label_smoothing must be at least 0 and"),
        (lambda: fm.CrossEntropy(class_weight=[1, -1, 1]), ValueError,
         "class_weight must contain finite, non-negative numbers, got -1 at index 1."),
        (lambda: fm.CrossEntropy(class_weight=[0.0, 0.0]), ValueError,
         "class_weight must have a finite sum above 0, got 0.0."),
        (lambda: fm.CrossEntropy(class_weight=2.0), ValueError,
         "class_weight must have shape (C,), one weight per class, got ()."),
        (lambda: fm.CrossEntropy(class_weight="balanced"), TypeError,
         "class_weight must be an array of numbers, got 'balanced'"),
        (lambda: fm.CrossEntropy(class_weight={}), ValueError,
         "class_weight must have at least one class, got {}."),
        (lambda: fm.CrossEntropy(class_weight={1: -2}), ValueError,
         "class_weight[1] must be finite and at least 0, got -2.0."),
        (lambda: fm.CrossEntropy(class_weight={-1: 2}), ValueError,
         "each key of class_weight must be at least 0, got -1."),
        (lambda: fm.CrossEntropy(class_weight={"cat": 2}), TypeError,
         "each key of class_weight must be an integer, got 'cat'"),
        (lambda: fm.Huber(0), ValueError, "delta must be above 0, got 0.0."),
        (lambda: fm.Huber(-1), ValueError, "delta must be finite and at least 0, got -1.0."),
        (lambda: fm.Hinge(np.inf), ValueError, "margin must be finite and at least 0, got inf."),
        (lambda: fm.MLP(4, [], 3).compile(loss=fm.CrossEntropy(class_weight={3: 2})), ValueError,
         "class_weight must have keys from 0 to 2 (the model has 3 outputs), got 3."),
        (lambda: fm.MLP(4, [], 3).compile(loss=fm.CrossEntropy(class_weight=[1, 2])), ValueError,
         "class_weight must have 3 weights, one per class, got 2."),
        (lambda: fm.MLP(4, [], 1).compile(loss="hinge"), ValueError,
         "hinge requires a model with one output per class and at least 2 classes, got outputs of shape "
         "(1,)."),
        (lambda: fm.MLP(4, [], 3).compile(loss="hunge"), ValueError,
         "loss must be one of cross_entropy, binary_cross_entropy, mse, mae, huber, hinge, got "
         "'hunge'. Did you mean 'hinge'?"),
    ],
)  # fmt: skip
def test_bad_settings(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert message in str(caught.value)


X = np.zeros((4, 6))


@pytest.mark.parametrize(
    ("loss", "y", "error", "message"),
    [
        ("binary_cross_entropy", [[0, 1, 2, 0, 0]] * 4, ValueError,
         "y must hold targets from 0 to 1 for this loss, got 2.0 at index (0, 2)."),
        ("binary_cross_entropy", np.full((4, 5), -0.5), ValueError,
         "y must hold targets from 0 to 1 for this loss, got -0.5 at index (0, 0)."),
        ("binary_cross_entropy", [0, 1, 1, 0], ValueError,
         "y must have shape (N, 5) for this loss, got (4,)."),
        ("binary_cross_entropy", [["a"] * 5] * 4, TypeError, "y must be an array of numbers"),
        ("mae", np.zeros((4, 4)), ValueError, "y must have shape (N, 5) for this loss, got (4, 4)"),
        ("huber", np.full((4, 5), np.inf), ValueError, "y must hold finite float64 numbers, got"),
        ("hinge", [0, 1, 2, 5], ValueError,
         "y must hold integer labels from 0 to 4 (the model has 5 outputs), got 5 at index 3."),
        ("hinge", [0.5, 1, 2, 3], ValueError, "y must hold integer labels from 0 to 4"),
        ("hinge", np.full((4, 5), 0.2), ValueError,
         "y must hold integer labels or one-hot rows for this loss, got [0.2, 0.2, 0.2, 0.2, 0.2]"),
    ],
)  # fmt: skip
def test_bad_targets(loss, y, error, message, backend):
    model = network(backend)
    before = model.parameters
    model.compile(loss=loss)
    for call in (model.fit, model.evaluate, model.train_on_batch):
        with pytest.raises(error) as caught:
            call(X, y)
        assert message in str(caught.value)
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(
    ("weights", "error", "message"),
    [
        (np.ones(3), ValueError, "must have shape (4,), one weight per sample, got (3,)."),
        (np.ones((4, 1)), ValueError, "must have shape (4,), one weight per sample, got (4, 1)."),
        (2.0, ValueError, "must have shape (4,), one weight per sample, got ()."),
        ([1, 1, -1, 1], ValueError,
         "must contain finite, non-negative numbers, got -1 at index 2."),
        ([1, np.nan, 1, 1], ValueError,
         "must contain finite, non-negative numbers, got nan at index 1."),
        ([1, np.inf, 1, 1], ValueError,
         "must contain finite, non-negative numbers, got inf at index 1."),
        (np.zeros(4), ValueError, "must have a finite sum above 0, got 0.0."),
        (np.full(4, 1e308), ValueError, "must have a finite sum above 0, got inf."),
        (["a"] * 4, TypeError, "must be an array of numbers, got 'a' at index 0"),
    ],
)  # fmt: skip
def test_bad_weights(weights, error, message, backend):
    model, y = network(backend), [0, 1, 2, 3]
    calls = [
        lambda: model.fit(X, y, sample_weight=weights),
        lambda: model.train_on_batch(X, y, weights),
        lambda: model.evaluate(X, y, weights),
        lambda: model.gradients(X, y, sample_weight=weights),
        lambda: fm.gradcheck(model, X, y, sample_weight=weights),
    ]
    for call in calls:
        with pytest.raises(error) as caught, np.errstate(over="ignore"):
            call()
        assert f"sample_weight {message}" in str(caught.value)
    with pytest.raises(error) as caught, np.errstate(over="ignore"):
        model.fit(X, y, validation_data=(X, y, weights))
    assert f"validation_data[2] {message}" in str(caught.value)
    assert model.history is None


@pytest.mark.parametrize("classes", [2, 3, 5, 10, 32, 33, 70])
@pytest.mark.parametrize("features", [4, 40])
def test_of_equal_largest_outputs_the_first_is_the_answer(classes, features):
    rng = np.random.default_rng(classes)
    x, y = rng.standard_normal((90, features)), rng.integers(0, classes, 90)
    model = fm.Sequential([fm.Dense(classes)], features, "float64", seed=0)
    model.compile(loss="cross_entropy")
    zeros, ties = np.zeros((features, classes)), rng.integers(0, 2, classes).astype(float)
    for bias in (ties * 0, ties, -ties):
        model.set_parameters({"dense_0.weight": zeros, "dense_0.bias": bias})
        assert model.evaluate(x, y)["accuracy"] == (y == bias.argmax()).mean()
