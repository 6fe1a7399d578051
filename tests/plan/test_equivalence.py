"""Compiled plans compute what the layer-by-layer reference computes."""

from __future__ import annotations

import numpy as np
import pytest
from comparing import BACKENDS, near, padding, same_runs, values
from random_networks import IMAGES, MLPS, NARROW, OPTIMIZERS, draw, draw_images

import fastmlp as fm
from fastmlp import losses, optimizers

pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)


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


def test_every_part_has_its_turn_in_the_random_networks():
    cases = [draw(seed) for seed in range(240)]
    used = {arguments.get("activation") for case in cases for _, arguments in case.specification}
    assert used >= set(fm.activations.ACTIVATIONS)
    assert {(case.optimizer, case.loss) for case in cases} >= {
        (optimizer, loss) for optimizer in OPTIMIZERS for loss in ("cross_entropy", "mse")
    }
    assert {losses.get(case.loss).name for case in cases} == set(losses.LOSSES)
    assert {make().name for make in OPTIMIZERS.values()} == set(optimizers.OPTIMIZERS)
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
