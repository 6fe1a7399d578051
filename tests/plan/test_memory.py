"""The memory of a plan: nothing left in it, and no layout of weights, changes a result."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from comparing import near, padding, values
from random_networks import IMAGES, MLPS, NARROW, OPTIMIZERS

import fastmlp as fm

pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)


@pytest.mark.parametrize(("drawn", "first"), MLPS[:7] + NARROW + IMAGES[:4])
def test_what_was_in_the_arena_does_not_matter(drawn, first, poisoned_arenas, eager_threads):
    for seed in range(first, first + 24):
        case = drawn(seed)
        eager_threads(1 + seed % 2)
        clean, model = (case.build("float32", "kernels") for _ in range(2))
        case.fit(clean)
        with poisoned_arenas():
            case.fit(model)
        assert padding(model) == 0, case
        for name, value in model.parameters.items():
            np.testing.assert_array_equal(value, clean.parameters[name], str(case))


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
