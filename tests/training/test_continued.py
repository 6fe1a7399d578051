"""Calls of ``fit`` in sequence: the state that one call leaves to the next."""

from __future__ import annotations

import numpy as np
import pytest
from comparing import BACKENDS, near, same_runs, values
from random_networks import OPTIMIZERS

import fastmlp as fm

pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)


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
