"""Dropout and GaussianNoise: masks, training, prediction, files."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import reference

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((60, 11)), np.arange(60) % 4


def network(dtype="float64", backend="kernels", activation="relu", seed=0):
    layers = [
        fm.GaussianNoise(0.1),
        fm.Dense(33, activation=activation),
        fm.Dropout(0.5),
        fm.Dense(17),
        fm.Dropout(0.3),
        fm.Dropout(0.2),
        fm.Activation(activation),
        fm.Dense(4),
    ]
    model = fm.Sequential(layers, 11, dtype, seed)
    model.backend = backend
    return model


def same(one, other):
    for name, value in one.parameters.items():
        np.testing.assert_array_equal(value, other.parameters[name], name)


@pytest.mark.parametrize("activation", sorted(fm.activations.ACTIVATIONS))
@pytest.mark.parametrize("threads", [1, 3])
def test_training_is_that_of_the_reference(activation, threads, eager_threads):
    eager_threads(threads)
    runs = []
    for backend in ("numpy", "kernels"):
        model = network(backend=backend, activation=activation)
        loss, gradients = model.gradients(X, Y)
        model.fit(X, Y, 3, 7, optimizer=fm.SGD(0.05, momentum=0.5), verbose=0)
        runs.append((loss, gradients, model))
    (loss, gradients, model), (wanted, expected, twin) = runs
    assert loss == pytest.approx(wanted, rel=1e-12)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, expected[name], rtol=0, atol=1e-12)
        found, right = model.parameters[name], twin.parameters[name]
        np.testing.assert_allclose(found, right, rtol=0, atol=1e-10)


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh", "gelu", "softmax"])
def test_gradients_are_those_of_the_network_with_the_masks_of_the_first_step(activation, backend):
    model = network(backend=backend, activation=activation)
    result = fm.gradcheck(model, X[:5], Y[:5], max_per_parameter=25)
    assert result.passed, result


def test_gradients_are_those_of_the_first_step(backend):
    model, other = network(backend=backend), network(backend=backend)
    _, gradients = model.gradients(X, Y)
    other.compile(optimizer=fm.SGD(1.0))
    other.train_on_batch(X, Y)
    for name, value in other.parameters.items():
        expected = model.parameters[name] - gradients[name]
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-14)
    again = model.gradients(X, Y)[1]
    for name, gradient in gradients.items():
        np.testing.assert_array_equal(gradient, again[name])


def test_nothing_is_dropped_outside_of_training(backend):
    model = network(backend=backend)
    layers = [
        fm.Dense(33, activation="relu"),
        fm.Dense(17, activation="relu"),
        fm.Dense(4),
    ]
    plain = fm.Sequential(layers, 11, "float64")
    plain.backend = backend
    values = list(model.parameters.values())
    plain.set_parameters(dict(zip(plain.parameters, values, strict=True)))
    np.testing.assert_array_equal(model.predict(X), plain.predict(X))
    assert model.evaluate(X, Y) == plain.evaluate(X, Y)
    if backend == "kernels":
        for purpose in ("predict", "evaluate"):
            kinds = [op.kind for op in model.plan(8, purpose).operations]
            assert not {"dropout", "gaussian_noise"} & set(kinds)
            assert not any("dropout" in str(op.fused) for op in model.plan(8, purpose).operations)


def test_masks_join_the_passes_of_dense_layers():
    layers = [fm.Dense(20, activation="relu"), fm.Dropout(0.5)]
    layers += [fm.Dense(20, activation="tanh"), fm.Dropout(0.5), fm.Dense(4)]
    plan = fm.Sequential(layers, 11).plan(8)
    assert "dropout" not in {op.kind for op in plan.operations}
    assert sum("dropout 0.5" in op.fused for op in plan.operations) == 4


@pytest.mark.parametrize("rate", [0.2, 0.5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_layer_drops_what_the_function_drops(rate, dtype, backend):
    # One dense layer of ones after the mask: its gradient is the sum of what is left.
    model = fm.Sequential([fm.Dropout(rate), fm.Dense(1, "linear", "zeros")], 9, dtype)
    model.backend = backend
    x = RNG.standard_normal((6, 9)).astype(dtype)
    _, gradients = model.gradients(x, np.full(6, -3.0), "mse")
    dropped = reference.dropout(x, rate, seed=0, layer=0, step=1)
    np.testing.assert_allclose(gradients["dense_0.weight"][:, 0], dropped.sum(axis=0), rtol=1e-5)


def test_steps_layers_and_seeds_draw_differently(backend):
    def losses(model):
        model.compile(optimizer=fm.SGD(0.0))
        return [model.train_on_batch(X, Y) for _ in range(4)]

    first, second = losses(network(backend=backend)), losses(network(backend=backend, seed=1))
    assert len({*first, *second}) == 8
    assert first == losses(network(backend=backend))


def test_a_run_goes_on_from_a_file_with_the_next_masks(tmp_path, backend):
    model = network(backend=backend)
    model.fit(X, Y, 2, 8, optimizer=fm.SGD(0.1))
    assert model.steps_done == 16
    model.save(tmp_path / "m.safetensors")
    resumed = fm.load_model(tmp_path / "m.safetensors")
    resumed.backend = backend
    assert resumed.steps_done == 16
    for each in (model, resumed):
        each.fit(X, Y, 2, 8, optimizer=fm.SGD(0.1))
    same(model, resumed)
    again = network(backend=backend)
    again.set_parameters(fm.load_model(tmp_path / "m.safetensors").parameters)
    again.epochs_begun = 2
    again.fit(X, Y, 2, 8, optimizer=fm.SGD(0.1))
    weight = "dense_0.weight"
    assert not np.array_equal(again.parameters[weight], model.parameters[weight])


def test_epochs_done_together_draw_as_epochs_done_alone():
    # Without a callback, epochs of so little data are bundled.
    bundled, single = network(), network()
    bundled.fit(X, Y, 30, 16, verbose=0)
    single.fit(X, Y, 30, 16, verbose=0, callbacks=[fm.Callback()])
    same(bundled, single)
    assert bundled.steps_done == single.steps_done == 120


def test_a_bundle_that_diverges_is_done_again_with_the_same_masks():
    # The learning rate grows until the loss is infinite, many epochs after the first bundle.
    ends = []
    for callbacks in ([], [fm.Callback()]):
        layers = [fm.Dense(9, activation="tanh"), fm.Dropout(0.5), fm.Dense(4)]
        model = fm.Sequential(layers, 11, "float64")
        optimizer = fm.SGD(lambda step: 0.001 * 1.2**step)
        with pytest.raises(fm.DivergenceError) as caught, np.errstate(all="ignore"):
            model.fit(X, X[:, :4], 5000, 20, optimizer=optimizer, loss="mse", callbacks=callbacks)
        ends.append((caught.value.epoch, caught.value.step, model))
    (epoch, step, model), (wanted, last, other) = ends
    assert (epoch, step) == (wanted, last)
    assert epoch > 5
    same(model, other)
    assert model.steps_done == other.steps_done


def test_any_number_of_threads_draws_the_same(eager_threads):
    found = set()
    for threads in (1, 2, 3, 5, 8):
        eager_threads(threads)
        model = network("float32", activation="tanh")
        model.fit(X, Y, 2, 13, optimizer=fm.Adam())
        found.add(b"".join(value.tobytes() for value in model.parameters.values()))
    assert len(found) == 1


@pytest.mark.parametrize("layer", [fm.Dropout(0), fm.GaussianNoise(0)], ids=repr)
def test_a_rate_of_zero_is_nothing(layer, backend):
    model = fm.Sequential([fm.Dense(4), type(layer)(0)], 11)
    model.backend = backend
    plain = fm.Sequential([fm.Dense(4)], 11)
    plain.backend = backend
    for each in (model, plain):
        each.fit(X, Y, 1, 8)
    same(model, plain)


def test_dropout_may_be_last_and_on_images(backend):
    x = RNG.standard_normal((12, 3, 5))
    model = fm.Sequential(
        [fm.Dropout(0.4), fm.Flatten(), fm.Dense(3, "relu"), fm.Dropout(0.5)], (3, 5), "float64"
    )
    model.backend = backend
    result = fm.gradcheck(model, x, RNG.standard_normal((12, 3)), "mse")
    assert result.passed, result


@pytest.mark.parametrize("rate", [1, 1.0, -0.1, 2, float("nan")])
def test_a_rate_outside_is_refused(rate):
    with pytest.raises(ValueError, match=r"^rate must be at least 0 and below 1, got"):
        fm.Dropout(rate)


def test_other_kinds_are_refused():
    with pytest.raises(TypeError, match=r"^rate must be a number, got 'half'"):
        fm.Dropout("half")
    with pytest.raises(ValueError, match=r"^stddev must be finite and at least 0, got -1"):
        fm.GaussianNoise(-1)


def test_a_step_that_diverges_is_not_counted(backend):
    model = fm.Sequential([fm.Dense(3), fm.Dropout(0.5)], 11)
    model.backend = backend
    model.compile(optimizer=fm.SGD(1e30), loss="mse")
    with pytest.raises(fm.DivergenceError), np.errstate(all="ignore"):
        model.fit(X, X[:, :3], 10, 60)
    before = model.steps_done
    model.set_parameters({"dense_0.weight": np.full((11, 3), 1e30)})
    with pytest.raises(fm.DivergenceError), np.errstate(all="ignore"):
        model.train_on_batch(1e30 * X, X[:, :3])
    assert model.steps_done == before
