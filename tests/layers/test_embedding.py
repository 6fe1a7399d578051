"""Embedding: look-ups, updates of rows, and integers as samples."""

from __future__ import annotations

import numpy as np
import pytest
from comparing import near_all
from random_networks import OPTIMIZERS

import fastmlp as fm

RNG = np.random.default_rng(0)
V = 23
X = RNG.integers(0, V, (50, 3))
X[:10] = 7  # a row that many samples name, some of them three times
Y = np.arange(50) % 4
COMBINE = (None, "concat", "sum")


def network(combine="sum", backend="kernels", dtype="float64", dim=9, middle=(), **settings):
    layers = [fm.Embedding(V, dim, combine, **settings), *middle]
    layers += [fm.Flatten()] * (combine is None) + [fm.Dense(17, "sigmoid"), fm.Dense(4)]
    model = fm.Sequential(layers, 3, dtype, 1)
    model.backend = backend
    return model


@pytest.mark.parametrize("combine", COMBINE)
def test_it_is_a_dense_layer_of_one_hot_rows(combine, backend):
    model = network(combine, backend)
    weight = model.parameters["embedding_0.weight"]
    rows = np.eye(V)[X] @ weight
    rows = rows.sum(axis=1) if combine == "sum" else rows.reshape(50, -1)
    rest = fm.Sequential([fm.Dense(17, "sigmoid"), fm.Dense(4)], rows.shape[1], "float64")
    rest.set_parameters({k: v for k, v in model.parameters.items() if k.startswith("dense")})
    np.testing.assert_allclose(model.predict(X), rest.predict(rows), rtol=0, atol=1e-12)
    assert model.layers[0].output_shape == {None: (3, 9), "concat": (27,), "sum": (9,)}[combine]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, "clip", "clip values", "penalty"])
@pytest.mark.parametrize("combine", COMBINE)
def test_training_is_that_of_the_reference(combine, optimizer, threads, eager_threads):
    eager_threads(threads)
    settings = {"l2": 0.01, "l1": 0.001} if optimizer == "penalty" else {}
    others = {
        "clip": lambda: fm.SGD(0.3, clip_norm=0.1),
        "clip values": lambda: fm.SGD(0.3, clip_value=0.01),
        "penalty": lambda: fm.SGD(0.1),
    }
    runs = []
    for backend in ("numpy", "kernels"):
        model = network(combine, backend, middle=[fm.Activation("tanh")], **settings)
        loss, gradients = model.gradients(X, Y)
        made = (OPTIMIZERS | others)[optimizer]()
        model.fit(X, Y, 2, 13, optimizer=made, validation_data=(X, Y))
        runs.append((loss, gradients, model))
    (wanted, expected, twin), (loss, gradients, model) = runs
    assert loss == pytest.approx(wanted, rel=1e-12)
    near_all(gradients, expected, 1e-12)
    near_all(model.parameters, twin.parameters, 1e-9)
    near_all({"loss": model.history.history["loss"]}, {"loss": twin.history.history["loss"]}, 1e-10)
    np.testing.assert_allclose(model.predict(X), twin.predict(X), rtol=0, atol=1e-9)


@pytest.mark.parametrize("combine", COMBINE)
def test_gradients_are_those_of_the_loss(combine, backend):
    middle = [fm.Dropout(0.3), fm.LayerNorm()]
    result = fm.gradcheck(network(combine, backend, middle=middle), X[:6], Y[:6])
    assert result.passed, result


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_threads_do_not_change_a_bit(optimizer, eager_threads):
    found = set()
    for threads in (1, 2, 3, 4, 8):
        eager_threads(threads)
        model = network(dtype="float32", middle=[fm.Dropout(0.2)])
        model.fit(X, Y, 2, 13, optimizer=OPTIMIZERS[optimizer]())
        arrays = [*model.parameters.values(), *model.gradients(X, Y)[1].values(), model.predict(X)]
        found.add(b"".join(array.tobytes() for array in arrays))
    assert len(found) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_that_nobody_names_stay(dtype, backend):
    x = np.where(X < 20, X, 19)
    model = network(backend=backend, dtype=dtype)
    before = model.parameters["embedding_0.weight"]
    for optimizer in (fm.SGD(0.5), fm.Adagrad()):
        model.fit(x, Y, 2, 13, optimizer=optimizer)
        weight = model.parameters["embedding_0.weight"]
        np.testing.assert_array_equal(weight[20:], before[20:])
        named = np.unique(x)
        assert (weight[named] != before[named]).any(axis=1).all()


def test_with_momentum_rows_go_on(backend):
    model = network(backend=backend)
    model.compile(optimizer=fm.SGD(0.5, momentum=0.5))
    weights = [model.parameters["embedding_0.weight"]]
    for x in (np.full((4, 3), 2), np.full((4, 3), 3), np.full((4, 3), 3)):
        model.train_on_batch(x, Y[:4])
        weights.append(model.parameters["embedding_0.weight"])
    moved = np.diff(np.array(weights), axis=0)[:, 2]
    np.testing.assert_allclose(moved[1], 0.5 * moved[0], rtol=1e-10)
    np.testing.assert_allclose(moved[2], 0.25 * moved[0], rtol=1e-10)


@pytest.mark.parametrize("kind", "bBhHiIlLqQ")
def test_any_integers_will_do(kind, backend):
    model = network(backend=backend)
    expected = network(backend=backend)
    x = X.astype(kind)
    np.testing.assert_array_equal(model.predict(x), expected.predict(X))
    np.testing.assert_array_equal(model.predict(x.astype(x.dtype.newbyteorder())), model.predict(X))
    np.testing.assert_array_equal(model.predict(np.asfortranarray(x)), model.predict(X))
    np.testing.assert_array_equal(model.predict(x.tolist()), model.predict(X))
    assert model.evaluate(x, Y) == expected.evaluate(X, Y)
    for each, samples in ((model, x), (expected, X)):
        each.fit(samples, Y, 2, 8)
        each.train_on_batch(samples, Y)
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, expected.parameters[name])


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_integers_are_read_where_they_are(kind):
    x = np.ascontiguousarray(X, kind)
    assert np.shares_memory(network().samples(x), x)
    kinds = [op.kind for op in network().plan(8).operations]
    assert "gather" not in kinds
    assert kinds[0] == "embedding"
    assert kinds[-1] == "embedding_update"


@pytest.mark.parametrize("wrong", [-1, V, 2**40, -(2**40)])
def test_an_integer_out_of_range_is_refused_before_anything_happens(wrong, backend):
    model = network(backend=backend)
    before = model.parameters
    x = X.copy()
    x[17, 2] = wrong
    text = f"x must hold integers from 0 to 22, got {wrong} at index (17, 2)."
    for call in (
        lambda: model.predict(x),
        lambda: model.fit(x, Y),
        lambda: model.evaluate(x, Y),
        lambda: model.gradients(x, Y),
        lambda: model.train_on_batch(x, Y),
        lambda: fm.gradcheck(model, x, Y),
    ):
        with pytest.raises(ValueError) as caught:
            call()
        assert str(caught.value) == text
    with pytest.raises(ValueError) as caught:
        model.fit(X, Y, validation_data=(x, Y))
    assert str(caught.value) == text.replace("x must", "validation_data[0] must")
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(
    ("x", "error", "text"),
    [
        (X.astype("float64"), TypeError, "x must hold integers, got dtype float64."),
        (X > 3, TypeError, "x must hold integers, got dtype bool."),
        (X[0], ValueError, "x must have shape (N, 3), got (3,). For a single sample pass x[None]."),
        (X[:, :2], ValueError, "x must have shape (N, 3), got (50, 2)."),
        (X[:0], ValueError, "x must hold at least one sample, got shape (0, 3)."),
        (None, TypeError, "x must be an array, got None."),
        (
            np.full((1, 3), 2**64 - 1, "Q"),
            ValueError,
            "x must hold integers from 0 to 22, got 18446744073709551615 at index (0, 0).",
        ),
    ],
)
def test_other_samples_are_refused(x, error, text, backend):
    with pytest.raises(error) as caught:
        network(backend=backend).predict(x)
    assert str(caught.value) == text


def test_it_is_the_first_layer_and_has_no_scale():
    with pytest.raises(ValueError) as caught:
        fm.Sequential([fm.Dense(3), fm.Embedding(4, 2)], 5)
    assert str(caught.value) == (
        "embedding_0 must be the first layer of a network because it takes integers, got layers[1]."
    )
    with pytest.raises(ValueError, match="scale must be 1 because embedding_0 takes integers, got"):
        fm.Sequential([fm.Embedding(4, 2)], 5, scale=0.5)
    with pytest.raises(ValueError, match=r"a sample must have shape \(length,\), got \(2, 3\)"):
        fm.Sequential([fm.Embedding(4, 2)], (2, 3))
    with pytest.raises(ValueError, match="combine must be one of concat, sum, got 'mean'"):
        fm.Embedding(4, 2, "mean")
    with pytest.raises(ValueError, match="vocabulary must be at least 1, got 0"):
        fm.Embedding(0, 2)


@pytest.mark.parametrize("combine", COMBINE)
def test_a_file_holds_all(combine, tmp_path, backend):
    model = network(combine, backend)
    model.fit(X, Y, 1, 8)
    model.save(tmp_path / "m.safetensors")
    loaded = fm.load_model(tmp_path / "m.safetensors")
    loaded.backend = backend
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.layers[0].config() == model.layers[0].config()


def test_frozen_rows_stay(backend):
    model = network(backend=backend, trainable=False)
    before = model.parameters["embedding_0.weight"]
    model.fit(X, Y, 1, 8, optimizer=fm.SGD(0.5, momentum=0.9))
    np.testing.assert_array_equal(model.parameters["embedding_0.weight"], before)
    if backend == "kernels":
        assert "embedding_update" not in [op.kind for op in model.plan(8).operations]


@pytest.mark.parametrize("combine", COMBINE)
def test_it_may_be_alone_and_of_one_row(combine, backend):
    model = fm.Sequential([fm.Embedding(1, 1, combine), fm.Flatten()], 2, "float64")
    model.backend = backend
    x = np.zeros((5, 2), int)
    y = np.zeros((5, {None: 2, "concat": 2, "sum": 1}[combine]))
    weight = float(model.parameters["embedding_0.weight"][0, 0])
    factor = 2 if combine == "sum" else 1
    assert model.gradients(x, y, "mse")[0] == pytest.approx((factor * weight) ** 2)
    model.fit(x, y, 30, 2, optimizer=fm.SGD(0.1), loss="mse")
    assert abs(model.parameters["embedding_0.weight"][0, 0]) < 0.1 * abs(weight)
