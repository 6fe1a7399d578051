"""Standardize: its statistics are computed once, kept in files, and equal on both backends."""

from __future__ import annotations

import copy
import math
import pickle
import re

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import _memmap
from fastmlp._plan import narrow


def data(n=150, dtype=np.float64):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 5)) * [1, 100, 1e-3, 0, 2] + [3, -500, 0, 0.1, 1e5]
    return x.astype(dtype), np.arange(n) % 3


def make(backend, *, axis=-1, shape=(5,), dtype="float32", **settings):
    layers = [fm.Standardize(axis), fm.Flatten(), fm.Dense(6, activation="tanh"), fm.Dense(3)]
    model = fm.Sequential(layers, shape, dtype=dtype, seed=2, **settings)
    model.backend = backend
    return model


def bits(model):
    return {name: value.tobytes() for name, value in model.arrays.items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moments(dtype):
    x, _ = data()
    model = make("numpy", dtype=dtype)
    model.layers[0].adapt(x)
    x = x.astype(dtype).astype(np.float64)
    std = x.std(axis=0)
    std[3] = 1  # it never changes, though 0.1 is no number of ours
    eps = np.finfo(dtype).eps
    mean = [math.fsum(column) / len(x) for column in x.T]
    np.testing.assert_allclose(model.buffers["standardize_0.mean"], mean, rtol=2 * eps)
    np.testing.assert_allclose(model.buffers["standardize_0.scale"], 1 / std, rtol=1e-12 + eps)


@pytest.mark.parametrize("axis", [-1, None, (-3, -2, -1), (-3, -1), -2])
def test_axes_of_images(backend, axis, monkeypatch):
    monkeypatch.setattr("fastmlp.layers.standardize._BLOCK_VALUES", 500)
    rng = np.random.default_rng(0)
    x = rng.random((40, 4, 6, 3)) * [1, 2, 3] + rng.random((4, 6, 1))
    model = make(backend, axis=axis, shape=(4, 6, 3), dtype="float64")
    model.layers[0].adapt(x)
    kept = () if axis is None else axis if isinstance(axis, tuple) else (axis,)
    axes = tuple(i for i in range(-4, 0) if i not in kept)
    mean, std = x.mean(axis=axes, keepdims=True), x.std(axis=axes, keepdims=True)
    shape = tuple(x.shape[i] for i in sorted(kept)) or (1,)
    assert model.buffers["standardize_0.mean"].shape == shape
    np.testing.assert_allclose(model.buffers["standardize_0.mean"], mean.reshape(shape), rtol=1e-13)
    alone = fm.Sequential([fm.Standardize(axis)], (4, 6, 3), dtype="float64")
    alone.backend = backend
    alone.layers[0].adapt(x)
    np.testing.assert_allclose(alone.predict(x), (x - mean) / std, atol=1e-12)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_is_training_on_standardized_data(backend, shuffle, optimizer):
    x, y = data()
    std = x.std(axis=0)
    std[3] = 1
    z = (x - x.mean(axis=0)) / std
    model, other = make(backend, dtype="float64"), make(backend, dtype="float64")
    other.layers[0].adapt(np.array([-np.ones(5), np.ones(5)]))  # mean 0, scale 1
    settings = {"epochs": 4, "optimizer": optimizer, "shuffle": shuffle}
    found = model.fit(x, y, validation_data=(x, y), **settings)
    expected = other.fit(z, y, validation_data=(z, y), **settings)
    for name in ("loss", "val_loss", "accuracy"):
        np.testing.assert_allclose(found.history[name], expected.history[name], rtol=1e-9)
    np.testing.assert_allclose(model.predict(x), other.predict(z), rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(model.predict(x[:1]), other.predict(z[:1]), rtol=1e-9, atol=1e-11)
    assert model.evaluate(x, y) == pytest.approx(other.evaluate(z, y), rel=1e-9)
    loss, gradients = model.gradients(x, y)
    loss_of_other, of_other = other.gradients(z, y)
    assert loss == pytest.approx(loss_of_other, rel=1e-9)
    assert set(gradients) == set(model.parameters)
    for name, gradient in of_other.items():
        np.testing.assert_allclose(gradients[name], gradient, rtol=1e-7, atol=1e-11)


def test_backends_agree():
    pytest.importorskip("fastmlp.kernels", exc_type=ImportError)
    x, y = data()
    models = [make(name, dtype="float64") for name in ("numpy", "kernels")]
    for model in models:
        model.fit(x, y, epochs=3)
    assert models[0].buffers["standardize_0.mean"].tobytes() == (
        models[1].buffers["standardize_0.mean"].tobytes()
    )
    for name, value in models[0].parameters.items():
        np.testing.assert_allclose(models[1].parameters[name], value, rtol=1e-9, atol=1e-12)


def test_it_is_part_of_the_gather(monkeypatch):
    pytest.importorskip("fastmlp.kernels", exc_type=ImportError)
    model = make("kernels")
    model.layers[0].adapt(data()[0])
    assert model.plan(32, "predict").operations[0].fused == ["standardize_0"]
    monkeypatch.setattr(narrow, "_NARROW", 0)
    model = make("kernels")
    model.layers[0].adapt(data()[0])
    first = model.plan(32).operations[0]
    assert (first.kind, first.fused) == ("gather", ["standardize_0"])
    assert [op.kind for op in model.plan(32).operations].count("scale_shift") == 0
    assert model.plan(32, "predict").operations[0].kind == "scale_shift"


def test_learnt_by_the_first_fit_only(backend):
    x, y = data()
    model = make(backend)
    model.fit(x, y, epochs=1)
    before = model.buffers
    model.fit(2 * x + 1, y, epochs=1)
    model.train_on_batch(x, y)
    for name, value in before.items():
        np.testing.assert_array_equal(model.buffers[name], value)
    outputs = model.predict(x)
    model.layers[0].adapt(2 * x)
    assert not np.array_equal(model.predict(x), outputs)
    assert model.buffers["standardize_0.mean"][1] == pytest.approx(
        2 * before["standardize_0.mean"][1]
    )


def test_bytes_with_a_scale(backend):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (60, 4, 4), dtype=np.uint8)
    y = np.arange(60) % 3
    layers = [fm.Standardize(), fm.Conv2D(2, 3), fm.Flatten(), fm.Dense(3)]
    model = fm.Sequential(layers, (4, 4), scale=1 / 255)
    model.backend = backend
    other = fm.Sequential(
        copy.deepcopy([fm.Standardize(), fm.Conv2D(2, 3), fm.Flatten(), fm.Dense(3)]), (4, 4)
    )
    other.backend = backend
    model.fit(x, y, epochs=2)
    other.fit(x / 255, y, epochs=2)
    for name, value in other.arrays.items():
        np.testing.assert_allclose(model.arrays[name], value, rtol=1e-4, atol=1e-6)
    assert model.buffers["standardize_0.mean"][0] == pytest.approx((x / 255.0).mean(), rel=1e-6)


def test_mapped_files(backend, tmp_path, monkeypatch):
    monkeypatch.setattr(_memmap, "BUFFER_BYTES", 4000)
    monkeypatch.setattr(_memmap, "PIECE_BYTES", 1000)
    x, y = data(700, np.float32)
    (tmp_path / "x").write_bytes(x.tobytes())
    mapped = np.memmap(tmp_path / "x", np.float32, "r", shape=x.shape)
    assert _memmap.is_large(mapped)
    model, other = make(backend), make(backend)
    model.fit(mapped, y, epochs=1, shuffle=False)
    other.fit(x, y, epochs=1, shuffle=False)
    for name, value in other.buffers.items():
        np.testing.assert_allclose(model.buffers[name], value, rtol=1e-6)
    np.testing.assert_allclose(model.predict(mapped), other.predict(x), rtol=1e-3, atol=1e-4)


def test_files_copies_and_pickles(backend, tmp_path):
    x, y = data()
    model = make(backend, axis=None)
    model.fit(x, y, epochs=1, callbacks=[fm.ModelCheckpoint(tmp_path / "c")])
    model.save(tmp_path / "m")
    expected = model.predict(x)
    loaded = [fm.load_model(tmp_path / name) for name in "mc"]
    for each in (*loaded, model.copy(), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        each.backend = backend
        assert each.layers[0].axis is None
        np.testing.assert_array_equal(each.predict(x), expected)
    for axis in ((-3, -1), -1, None):
        made = fm.Sequential([fm.Standardize(axis), fm.Flatten(), fm.Dense(2)], (2, 3, 4))
        made.layers[0].adapt(np.random.default_rng(0).random((5, 2, 3, 4)))
        made.save(tmp_path / "m")
        assert fm.load_model(tmp_path / "m").layers[0].axis == axis


def test_resume(backend, tmp_path):
    x, y = data()
    whole, part, resumed = (make(backend) for _ in range(3))
    whole.fit(x, y, epochs=4, optimizer="adam")
    saver = fm.ModelCheckpoint(tmp_path / "c", every_epochs=None, every_steps=7)
    part.fit(x, y, epochs=2, optimizer="adam", callbacks=[saver])
    resumed.fit(x, y, epochs=4, optimizer="adam", resume=tmp_path / "c")
    assert bits(resumed) == bits(whole)


def test_threads_give_the_same_bits(eager_threads):
    x, y = data()
    found = []
    for threads in (1, 2, 3):
        eager_threads(threads)
        model = make("kernels")
        model.fit(x, y, epochs=2)
        found.append((bits(model), model.predict(x).tobytes()))
    assert found[0] == found[1] == found[2]


def test_gradcheck(backend):
    x, y = data(9)
    model = make(backend)
    model.fit(x, y, epochs=1)
    result = fm.gradcheck(model, x, y)
    assert result.passed
    assert set(result.errors) == set(model.parameters)


def test_generators_need_adapt(backend):
    x, y = data()
    batches = [(x[i : i + 32], y[i : i + 32]) for i in range(0, 150, 32)]
    model, other = make(backend), make(backend)
    message = (
        r"standardize_0 has no statistics yet. Call fit with arrays or model.layers\[0\].adapt"
    )
    for call in (
        lambda: model.fit(batches),
        lambda: model.train_on_batch(x, y),
        lambda: model.predict(x),
        lambda: model.evaluate(x, y),
        lambda: model.gradients(x, y),
        lambda: fm.gradcheck(model, x, y),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    model.layers[0].adapt(x)
    model.fit(batches, epochs=2)
    other.fit(x, y, epochs=2, shuffle=False)
    for name, value in other.arrays.items():
        np.testing.assert_allclose(model.arrays[name], value, rtol=1e-5, atol=1e-7)


def test_given_statistics(backend):
    x, _ = data()
    model = fm.Sequential([fm.Standardize(mean=np.arange(5), std=[1, 2, 3, 4, 5])], (5,))
    model.backend = backend
    expected = ((x - np.arange(5)) / [1, 2, 3, 4, 5]).astype(np.float32)
    np.testing.assert_allclose(model.predict(x), expected, rtol=1e-5, atol=1e-4)
    one = fm.Sequential([fm.Standardize(None, mean=0.5, std=2.0)], (5,))
    np.testing.assert_allclose(one.predict([[0.5, 2.5, 0, 0, 0]])[0, :2], [0, 1])


def test_shown():
    model = make("numpy")
    assert re.search(r"^standardize_0 Standardize\(\) +\(5,\) +0$", model.summary(), re.MULTILINE)
    assert repr(fm.Standardize((-1, -3))) == "Standardize(axis=(-3, -1))"
    assert model.num_parameters == 6 * 6 + 7 * 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fm.Standardize(0), r"axis must be negative \(counted from the end\), got 0"),
        (lambda: fm.Standardize((-1, -1)), "axis must not contain the same axis twice"),
        (lambda: fm.Standardize("x"), "axis must be an integer, got 'x'"),
        (lambda: fm.Standardize(mean=[1]), "mean and std are required together, got only mean"),
        (lambda: fm.Standardize(std=[1]), "mean and std are required together, got only std"),
        (lambda: fm.Standardize(mean=[1, np.nan], std=[1, 1]), "mean must hold finite numbers"),
        (lambda: fm.Standardize(mean=[1, 1], std=[1, 0]), "std must hold finite numbers above 0"),
        (
            lambda: fm.Sequential([fm.Standardize(mean=[1, 2], std=[1, 2])], (3,)),
            r"standardize_0: mean must have shape \(3,\), got \(2,\)",
        ),
        (
            lambda: fm.Sequential([fm.Standardize(-2)], (3,)),
            r"standardize_0: axis must be in range for samples of shape \(3,\), got -2",
        ),
        (
            lambda: fm.Sequential([fm.Dense(3), fm.Standardize()], (3,)),
            "standardize_0 must be the first layer",
        ),
        (lambda: fm.Standardize().adapt([[1.0]]), "adapt requires a layer that is part of a model"),
        (lambda: make("numpy").layers[0].adapt([[1.0]]), r"x must have shape \(N, 5\)"),
        (
            lambda: make("numpy", dtype="float64").layers[0].adapt([[1e300] * 5, [-1e300] * 5]),
            "x must have a finite variance",
        ),
    ],
)
def test_refused(call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call()
