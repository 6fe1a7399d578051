"""BatchNorm and LayerNorm: training, prediction, running statistics, files."""

from __future__ import annotations

import re

import numpy as np
import pytest
from comparing import near_all

import fastmlp as fm
from fastmlp import reference

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((60, 11)) * 2 + 1, np.arange(60) % 4
IMAGES = RNG.standard_normal((30, 4, 3, 5))
KINDS = {"batch": fm.BatchNorm, "layer": fm.LayerNorm}


def flat(kind, activation="relu", dtype="float64", backend="kernels"):
    make = KINDS[kind]
    layers = [
        fm.Dense(33),
        make(),
        fm.Activation(activation),
        fm.Dropout(0.3),
        fm.Dense(17, activation),
        make(),
        fm.Dense(9),
        fm.Dropout(0.2),
        make(),
        fm.Dense(4),
    ]
    model = fm.Sequential(layers, 11, dtype, 3)
    model.backend = backend
    return model


def images(kind, dtype="float64", backend="kernels", shape=(4, 3, 5)):
    make = KINDS[kind]
    layers = [make(), fm.Activation("tanh"), fm.Dropout(0.2), make(), fm.Flatten(), fm.Dense(4)]
    model = fm.Sequential(layers, shape, dtype, 3)
    model.backend = backend
    return model


# --- Both backends ------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("activation", sorted(fm.activations.ACTIVATIONS))
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_training_is_that_of_the_reference(kind, activation, threads, eager_threads):
    eager_threads(threads)
    runs = []
    for backend in ("numpy", "kernels"):
        model = flat(kind, activation, backend=backend)
        loss, gradients = model.gradients(X, Y)
        assert all(np.isin(value, (0, 1)).all() for value in model.buffers.values())
        # Batches of 13, and a last one of 8.
        model.fit(X, Y, 2, 13, optimizer=fm.SGD(0.05, momentum=0.5), validation_data=(X, Y))
        runs.append((loss, gradients, model))
    (wanted, expected, twin), (loss, gradients, model) = runs
    assert loss == pytest.approx(wanted, rel=1e-12)
    near_all(gradients, expected, 1e-12)
    near_all(model.parameters, twin.parameters, 1e-9)
    near_all(model.buffers, twin.buffers, 1e-9)
    near_all(
        model.history.history, twin.history.history | {"time": model.history.history["time"]}, 1e-9
    )
    np.testing.assert_allclose(model.predict(X), twin.predict(X), rtol=0, atol=1e-9)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(4, 3, 5), (2, 2, 1), (3, 3, 17), (1, 1, 6), (5, 4), (1, 3)])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_images_are_normalised_over_their_pixels(kind, shape, threads, eager_threads):
    eager_threads(threads)
    x, y = RNG.standard_normal((30, *shape)), np.arange(30) % 4
    runs = []
    for backend in ("numpy", "kernels"):
        model = images(kind, backend=backend, shape=shape)
        loss, gradients = model.gradients(x, y)
        model.fit(x, y, 2, 7, optimizer=fm.Adam(0.01, eps=1e-3))
        runs.append((loss, gradients, model))
    (wanted, expected, twin), (loss, gradients, model) = runs
    assert loss == pytest.approx(wanted, rel=1e-12)
    near_all(gradients, expected, 1e-12)
    near_all(model.parameters, twin.parameters, 1e-9)
    near_all(model.buffers, twin.buffers, 1e-9)
    np.testing.assert_allclose(model.predict(x), twin.predict(x), rtol=0, atol=1e-9)


@pytest.mark.parametrize("activation", ["linear", "relu", "tanh", "gelu", "softmax"])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_gradients_are_those_of_the_loss(kind, activation, backend):
    model = flat(kind, activation, backend=backend)
    result = fm.gradcheck(model, X[:6], Y[:6], max_per_parameter=20)
    assert result.passed, result


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_gradients_of_images_are_those_of_the_loss(kind, backend):
    result = fm.gradcheck(images(kind, backend=backend), IMAGES[:4], Y[:4])
    assert result.passed, result
    alone = fm.Sequential([KINDS[kind](), fm.Flatten()], (4, 3, 5))
    alone.backend = backend
    assert fm.gradcheck(alone, IMAGES[:4], RNG.standard_normal((4, 60)), "mse").passed


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_threads_do_not_change_a_bit(kind, eager_threads):
    for make, x in ((flat, X), (images, IMAGES)):
        found = set()
        for threads in (1, 2, 3, 4, 8):
            eager_threads(threads)
            model = make(kind, dtype="float32")
            model.fit(x, Y[: len(x)], 2, 13, optimizer=fm.Adam())
            arrays = [*(model.parameters | model.buffers).values(), model.predict(x)]
            found.add(b"".join(array.tobytes() for array in arrays))
        assert len(found) == 1


@pytest.mark.parametrize("kind", sorted(KINDS))
@pytest.mark.parametrize("make", [flat, images])
def test_what_was_in_the_arena_does_not_matter(kind, make, poisoned_arenas, eager_threads):
    eager_threads(2)
    x = X if make is flat else IMAGES
    clean, model = make(kind), make(kind)
    clean.fit(x, Y[: len(x)], 2, 13)
    with poisoned_arenas():
        model.fit(x, Y[: len(x)], 2, 13)
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, clean.parameters[name])


def test_float32_keeps_its_digits_far_from_zero(backend):
    # Standard deviation 1 around 1000: the inputs have 4 digits of it, and the output keeps them.
    x = (RNG.standard_normal((500, 3)) + 1000).astype("float32")
    for make in KINDS.values():
        model = fm.Sequential([make(), fm.Dense(2)], 3)
        model.backend = backend
        assert np.isfinite(model.train_on_batch(x, Y[np.arange(500) % 60] % 2))
    wide = x.astype("float64")
    expected = (wide - wide.mean(axis=0)) / wide.std(axis=0)
    gamma, beta = np.ones(3, "float32"), np.zeros(3, "float32")
    found, mean, variance = reference.batch_norm(x, gamma, beta, epsilon=0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    if backend == "kernels":
        found, mean, variance = fm.kernels.batch_norm(x, gamma, beta, epsilon=0)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
        np.testing.assert_allclose(mean, wide.mean(axis=0), rtol=1e-14)
        np.testing.assert_allclose(variance, wide.var(axis=0), rtol=1e-12)


# --- Running statistics -------------------------------------------------------------------------


def test_running_statistics_move_towards_those_of_the_batch(backend):
    model = fm.Sequential([fm.BatchNorm(momentum=0.75), fm.Dense(2)], 11, "float64")
    model.backend = backend
    mean, variance = np.zeros(11), np.ones(11)
    for start in (0, 20, 40):
        x = X[start : start + 20]
        model.train_on_batch(x, Y[:20] % 2)
        mean = 0.75 * mean + 0.25 * x.mean(axis=0)
        variance = 0.75 * variance + 0.25 * x.var(axis=0, ddof=1)
    np.testing.assert_allclose(model.buffers["batchnorm_0.running_mean"], mean, rtol=1e-12)
    np.testing.assert_allclose(model.buffers["batchnorm_0.running_variance"], variance, rtol=1e-12)
    before = model.buffers
    model.predict(X)
    model.evaluate(X, Y % 2)
    model.gradients(X, Y % 2)
    fm.gradcheck(model, X[:3], Y[:3] % 2)
    for name, value in model.buffers.items():
        np.testing.assert_array_equal(value, before[name])
    weight, bias = (model.parameters["dense_0." + name] for name in ("weight", "bias"))
    scaled = model.parameters["batchnorm_0.gamma"] * (X - mean) / np.sqrt(variance + 1e-5)
    expected = (scaled + model.parameters["batchnorm_0.beta"]) @ weight + bias
    np.testing.assert_allclose(model.predict(X), expected, rtol=1e-10, atol=1e-12)


def test_buffers_are_no_parameters(backend):
    model = fm.Sequential([fm.BatchNorm(), fm.Dense(2)], 11)
    model.backend = backend
    names = ["batchnorm_0.running_mean", "batchnorm_0.running_variance"]
    assert list(model.buffers) == names
    assert list(model.parameters)[:2] == ["batchnorm_0.gamma", "batchnorm_0.beta"]
    assert model.num_parameters == 11 * 2 + 11 * 2 + 2
    assert set(model.gradients(X, Y % 2)[1]) == set(model.parameters)
    assert not model.buffers[names[0]].flags.writeable
    model.set_parameters({names[0]: np.arange(11), "dense_0.bias": [1, 2]})
    np.testing.assert_array_equal(model.buffers[names[0]], np.arange(11))
    with pytest.raises(ValueError, match=r"running_mean must have shape \(11,\), got \(3,\)"):
        model.set_parameters({names[0]: np.arange(3)})


def test_a_negative_variance_is_refused(backend, tmp_path):
    model = fm.Sequential([fm.BatchNorm(), fm.Dense(2)], 3)
    model.backend = backend
    name = "batchnorm_0.running_variance"
    before = model.arrays
    for value, message in (
        ([1, -2, 3], f"{name} must be at least 0, got -2.0 at index (1,)."),
        ([1, 2, np.nan], f"{name} must hold finite float32 numbers, got nan at index (2,)."),
    ):
        with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
            model.set_parameters({"dense_0.bias": [5, 5], name: value})
        for key, kept in before.items():
            np.testing.assert_array_equal(model.arrays[key], kept)
    model.set_parameters({name: [0, 0, 1], "batchnorm_0.gamma": [-1, -1, -1]})
    assert np.isfinite(model.predict(np.ones((2, 3)))).all()
    forged = model.arrays | {name: np.array([-0.5, 1, 1], np.float32)}
    fm.io.write_model(tmp_path / "m.safetensors", model._saved(), forged)
    with pytest.raises(fm.errors.FastmlpFormatError, match=f"{name} must be at least 0, got -0.5"):
        fm.load_model(tmp_path / "m.safetensors")


def test_set_parameters_makes_an_equal_network(backend):
    model, other = flat("batch", backend=backend), flat("batch", backend=backend)
    model.fit(X, Y, 2, 20)
    other.set_parameters(model.parameters | model.buffers)
    np.testing.assert_array_equal(model.predict(X), other.predict(X))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_file_holds_all(kind, tmp_path, backend):
    model = flat(kind, backend=backend)
    model.fit(X, Y, 2, 20)
    model.save(tmp_path / "m.safetensors")
    loaded = fm.load_model(tmp_path / "m.safetensors")
    loaded.backend = backend
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    for each in (model, loaded):
        each.fit(X, Y, 1, 20, optimizer=fm.SGD(0.1))
    for name, value in (model.parameters | model.buffers).items():
        np.testing.assert_array_equal((loaded.parameters | loaded.buffers)[name], value)
    copied = model.copy("float64")
    np.testing.assert_array_equal(copied.predict(X), model.predict(X))


def test_a_divergence_takes_the_running_statistics_back(backend):
    class Break(fm.Callback):
        def on_epoch_begin(self, epoch):
            before.append(self.model.buffers)
            if epoch == 3:
                self.model.optimizer.learning_rate = 1e300

    before: list = []
    model = fm.Sequential([fm.Dense(5), fm.BatchNorm(), fm.Dense(3)], 11, "float64")
    model.backend = backend
    with pytest.raises(fm.DivergenceError), np.errstate(all="ignore"):
        model.fit(X, X[:, :3], 5, 20, optimizer=fm.SGD(0.01), loss="mse", callbacks=[Break()])
    for name, value in model.buffers.items():
        np.testing.assert_array_equal(value, before[2][name])


def test_a_step_that_fails_leaves_the_running_statistics(backend):
    model = fm.Sequential([fm.BatchNorm(), fm.Dense(3)], 11, "float64")
    model.backend = backend
    model.set_parameters({"dense_0.weight": np.full((11, 3), 1e308)})
    before = model.buffers
    with pytest.raises(fm.DivergenceError), np.errstate(all="ignore"):
        model.compile(loss="mse")
        model.train_on_batch(X, X[:, :3])
    for name, value in model.buffers.items():
        np.testing.assert_array_equal(value, before[name])


# --- Folding ------------------------------------------------------------------------------------


def kinds(model, purpose):
    return [operation.kind for operation in model.plan(8, purpose).operations]


@pytest.mark.parametrize("purpose", ["predict", "evaluate"])
def test_prediction_folds_it_into_a_linear_layer_before(purpose):
    model = fm.Sequential([fm.Dense(9), fm.BatchNorm(), fm.Activation("relu"), fm.Dense(3)], 11)
    assert not {"batch_norm", "scale_shift"} & set(kinds(model, purpose))
    assert model.plan(8, purpose).operations[0].fused == ["bias", "batchnorm_0", "relu"]
    twice = fm.Sequential([fm.Dense(9), fm.BatchNorm(), fm.BatchNorm(), fm.Dense(3)], 11)
    assert kinds(twice, purpose).count("scale_shift") == 1
    after = fm.Sequential([fm.Dense(9, "relu"), fm.BatchNorm(), fm.Dense(3)], 11)
    assert kinds(after, purpose).count("scale_shift") == 1


@pytest.mark.parametrize("backend", ["numpy", "kernels"])
def test_a_convolution_takes_it_in_unless_a_pool_has_joined(backend):
    def make(*layers):
        model = fm.Sequential([*layers, fm.Flatten(), fm.Dense(3)], (8, 8, 2), "float64")
        model.backend = backend
        model.set_parameters(
            {
                "batchnorm_0.gamma": RNG.standard_normal(5),
                "batchnorm_0.running_mean": RNG.standard_normal(5),
            }
        )
        return model

    x = RNG.standard_normal((6, 8, 8, 2))
    before = make(fm.Conv2D(5, 3), fm.BatchNorm(), fm.Activation("relu"), fm.MaxPool2D(2))
    after = make(fm.Conv2D(5, 3), fm.MaxPool2D(2), fm.BatchNorm(), fm.Activation("relu"))
    for model, normalised in ((before, 0), (after, 1)):
        twin = model.copy()
        twin.backend = "numpy"
        np.testing.assert_allclose(model.predict(x), twin.predict(x), rtol=0, atol=1e-12)
        if backend == "kernels":
            assert kinds(model, "predict").count("scale_shift") == normalised


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_frozen_layers_keep_gamma_and_beta(kind, backend):
    layers = [KINDS[kind](trainable=False), fm.Dense(9), KINDS[kind](trainable=False), fm.Dense(4)]
    model = fm.Sequential(layers, 11, "float64")
    model.backend = backend
    expected = model.copy()
    expected.backend = "numpy"
    before = model.parameters
    for each in (model, expected):
        each.fit(X, Y, 2, 20, optimizer=fm.SGD(0.1, momentum=0.5))
    for name, value in model.parameters.items():
        assert np.array_equal(value, before[name]) == name.startswith(kind), name
    near_all(model.parameters | model.buffers, expected.parameters | expected.buffers, 1e-11)
    assert all(not np.isin(value, (0, 1)).any() for value in model.buffers.values())


@pytest.mark.parametrize("use_bias", [True, False])
def test_what_is_folded_is_what_it_was(use_bias):
    def make(backend):
        layers = [
            fm.Dense(33, use_bias=use_bias),
            fm.BatchNorm(),
            fm.Activation("gelu"),
            fm.Dense(5),
        ]
        model = fm.Sequential(layers, 11, "float64")
        model.backend = backend
        return model

    models = [make("kernels"), make("numpy")]
    # Whatever changes the weights: a plan that is kept must see it.
    for turn in range(4):
        for model in models:
            if turn == 1:
                model.fit(X, Y, 1, 20, optimizer=fm.SGD(0.3))
            elif turn == 2:
                model.set_parameters({"batchnorm_0.running_mean": np.arange(33)})
            elif turn == 3:
                model.set_parameters({"dense_0.weight": np.ones((11, 33))})
        for x in (X, X[:1], X[:7]):
            found, expected = (model.predict(x) for model in models)
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
        assert models[0].evaluate(X, Y) == pytest.approx(models[1].evaluate(X, Y), rel=1e-12)


def test_validation_sees_every_epoch(backend):
    model = fm.Sequential([fm.Dense(9), fm.BatchNorm(), fm.Activation("relu"), fm.Dense(4)], 11)
    model.backend = backend
    seen = []

    class Look(fm.Callback):
        def on_epoch_end(self, epoch, logs):
            seen.append(self.model.copy().evaluate(X, Y)["loss"])

    model.fit(X, Y, 4, 20, optimizer=fm.SGD(0.5), validation_data=(X, Y), callbacks=[Look()])
    np.testing.assert_allclose(model.history.history["val_loss"], seen, rtol=1e-6)
    assert len(set(seen)) == 4


def test_a_users_optimizer_moves_the_folded_weights():
    class Plain(fm.optimizers.Optimizer):
        def update(self, ops, value, gradient, state, step, learning_rate):
            value -= learning_rate * gradient

    own = fm.Sequential([fm.Dense(9), fm.BatchNorm(), fm.Dense(4)], 11, "float64")
    ours = own.copy()
    for model, optimizer in ((own, Plain(0.1)), (ours, fm.SGD(0.1))):
        model.predict(X)
        model.fit(X, Y, 2, 20, optimizer=optimizer)
    np.testing.assert_allclose(own.predict(X), ours.predict(X), rtol=0, atol=1e-12)
    near_all(own.buffers, ours.buffers, 1e-12)


# --- Batches of one -----------------------------------------------------------------------------


def test_a_batch_of_one_is_refused(backend):
    model = fm.Sequential([fm.Dense(3), fm.BatchNorm(), fm.Dense(4)], 11)
    model.backend = backend
    before = model.parameters
    text = "batchnorm_0 requires at least 2 samples in a training batch, got 1."
    for call in (
        lambda: model.train_on_batch(X[:1], Y[:1]),
        lambda: model.fit(X, Y, 1, 1),
        lambda: model.fit(X[:1], Y[:1]),
        lambda: model.gradients(X[:1], Y[:1]),
        lambda: fm.gradcheck(model, X[:1], Y[:1]),
    ):
        with pytest.raises(ValueError) as caught:
            call()
        assert str(caught.value) == text
    with pytest.raises(ValueError) as caught:
        model.fit(X[:57], Y[:57], 1, 8)
    assert str(caught.value) == (
        "batchnorm_0 requires at least 2 samples in every training batch, but 57 samples in batches "
        "of 8 leave 1 for the last batch. Choose another batch_size or leave out 1 of the samples."
    )
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, before[name])
    assert model.predict(X[:1]).shape == (1, 4)
    model.evaluate(X[:1], Y[:1])
    model.fit(X[:58], Y[:58], 1, 8)


def test_one_image_is_a_batch(backend):
    model = images("batch", backend=backend)
    model.train_on_batch(IMAGES[:1], Y[:1])
    assert fm.gradcheck(model, IMAGES[:1], Y[:1]).passed
    single = images("batch", backend=backend, shape=(1, 1, 5))
    with pytest.raises(ValueError, match="requires at least 2 samples"):
        single.train_on_batch(IMAGES[:1, :1, :1], Y[:1])


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: fm.BatchNorm(momentum=1), "momentum must be at least 0 and below 1, got 1.0."),
        (lambda: fm.BatchNorm(epsilon=0), "epsilon must be above 0, got 0.0."),
        (lambda: fm.LayerNorm(-1), "epsilon must be finite and at least 0, got -1.0."),
    ],
)
def test_settings_out_of_range_are_refused(make, text):
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value) == text
