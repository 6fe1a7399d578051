"""Plans that leave out zeros of the samples, against plans that do not."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp as fm
from fastmlp._engines import engine

pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)
from fastmlp._plan import sparsity

OPTIMIZERS = [
    fm.SGD(0.1),
    fm.SGD(0.05, momentum=0.9, nesterov=True, weight_decay=1e-3),
    fm.Adagrad(0.01),
    fm.RMSprop(0.003),
    fm.Adam(0.003),
    fm.AdamW(0.003),
    fm.SGD(0.1, clip_norm=0.5),
    fm.Adam(0.003, clip_norm=0.1),
    fm.SGD(0.1, clip_value=0.01),
]


def samples(n, shape, dtype="float64", share=0.1, seed=0):
    """Samples: three of four features zero throughout, but the last, and most of the others."""
    rng = np.random.default_rng(seed)
    features = int(np.prod(shape))
    x = rng.integers(1, 256, (n, features)) * (rng.random((n, features)) < 4 * share)
    used = (np.arange(features) * 7 // 4 % 4 == 1) | (np.arange(features) >= features - 3)
    x = (x * used).reshape(n, *np.atleast_1d(shape))
    return x.astype(np.uint8) if dtype == "uint8" else (x / 256).astype(dtype)


@pytest.fixture
def lists(monkeypatch):
    """Return a function that lets plans leave out zeros, or not, whatever the samples are."""

    def choose(wanted):
        share = 2.0 if wanted else 0.0
        monkeypatch.setattr("fastmlp._engines.plans.most_listed", lambda network: share)

    return choose


def network(layers, inputs, dtype="float64", optimizer=None, scale=1.0, loss="cross_entropy"):
    model = fm.Sequential(layers(), inputs, dtype, seed=4, scale=scale)
    model.compile(loss=loss, optimizer=optimizer or fm.SGD(0.1))
    return model


def everything(model, x, y, batch=16, epochs=2, weights=None):
    """All that a model computes, as arrays."""
    loss, gradients = model.gradients(x, y, "cross_entropy", weights)
    found = {"loss": loss, **{f"d {name}": g for name, g in gradients.items()}}
    found["before"] = model.predict(x)
    found["few"] = model.predict(x[:9])
    history = model.fit(x, y, epochs, batch_size=batch, sample_weight=weights, verbose=0).history
    found |= {name: np.asarray(value) for name, value in history.items() if name != "time"}
    found["evaluated"] = np.asarray(list(model.evaluate(x, y, weights).values()))
    found["after"] = model.predict(x)
    return found | model.parameters


def compare(lists, make, x, y, **settings):
    """Assert equal values with and without zeros, and values near the reference."""
    lists(True)
    model = make()
    with_lists = everything(model, x, y, **settings)
    assert any(key[3][3] for key in engine(model)._plans)
    lists(False)
    whole = everything(make(), x, y, **settings)
    for name, value in whole.items():
        np.testing.assert_array_equal(with_lists[name], value, err_msg=name)
    model = make()
    model.backend = "numpy"
    tolerance = 1e-9 if model.dtype == np.float64 else 1e-3
    for name, value in everything(model, x, y, **settings).items():
        near = np.abs(with_lists[name] - value).max(initial=0)
        assert near <= tolerance * max(1e-3, np.abs(value).max(initial=0)), name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("units", [1, 7, 8, 9, 16, 17, 24, 40, 250])
@pytest.mark.parametrize("features", [64, 65, 66, 67, 257, 600])
def test_shapes(lists, dtype, units, features):
    x = samples(61, features, dtype, seed=units)
    y = np.arange(61) % 3
    compare(
        lists,
        lambda: network(lambda: [fm.Dense(units, "relu"), fm.Dense(3)], features, dtype),
        x, y, batch=23,
    )  # fmt: skip


@pytest.mark.parametrize("batch", [8, 9, 11, 16, 31, 32, 64, 67, 100, 200])
@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "linear"])
def test_batches(lists, batch, activation):
    x, y = samples(203, (8, 9)), np.arange(203) % 4

    def layers():
        return [fm.Flatten(), fm.Dense(70, activation), fm.Dense(9, "tanh"), fm.Dense(4)]

    compare(lists, lambda: network(layers, (8, 9)), x, y, batch=batch)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_optimizers(lists, optimizer, dtype):
    x, y = samples(90, 120, dtype), np.arange(90) % 5

    def layers():
        return [fm.Dense(75, "relu", l2=1e-3), fm.Dropout(0.2), fm.Dense(5)]

    compare(lists, lambda: network(layers, 120, dtype, optimizer), x, y, batch=32)


def test_one_layer_without_a_bias_and_a_learning_rate_of_its_own(lists):
    x, y = samples(90, 120), np.arange(90) % 50

    def layers():
        layer = fm.Dense(50, use_bias=False)
        layer.learning_rate_multiplier = 0.5
        return [layer]

    compare(lists, lambda: network(layers, 120), x, y)


def test_a_frozen_first_layer(lists):
    x, y = samples(90, 120), np.arange(90) % 5

    def layers():
        layer = fm.Dense(50, "sigmoid")
        layer.trainable = False
        return [layer, fm.Dense(5)]

    compare(lists, lambda: network(layers, 120), x, y)


@pytest.mark.parametrize("norm", [fm.BatchNorm, fm.LayerNorm])
def test_normalisation_behind_it(lists, norm):
    x, y = samples(90, 120), np.arange(90) % 5
    compare(lists, lambda: network(lambda: [fm.Dense(50), norm(), fm.Dense(5)], 120), x, y)


def test_bytes_and_weights_of_samples(lists):
    x, y = samples(90, (10, 10), "uint8"), np.arange(90) % 5
    weights = np.arange(90) % 4 / 2

    def layers():
        return [fm.Flatten(), fm.Dense(50, "relu"), fm.Dense(5)]

    compare(
        lists,
        lambda: network(layers, (10, 10), "float32", scale=1 / 256),
        x, y, weights=weights,
    )  # fmt: skip


@pytest.mark.parametrize("batch", [37, 64])
@pytest.mark.parametrize("units", [40, 300])
def test_threads(lists, units, batch, eager_threads):
    """Samples or outputs are shared, inputs in turn: the same bits."""
    x, y = samples(130, 401, "float32"), np.arange(130) % 5

    def run(threads):
        eager_threads(threads)
        model = network(lambda: [fm.Dense(units, "relu"), fm.Dense(5)], 401, "float32")
        return everything(model, x, y, batch=batch)

    lists(True)
    expected = run(1)
    for threads in (2, 3, 4, 8):
        for name, value in run(threads).items():
            np.testing.assert_array_equal(value, expected[name], err_msg=name)


def table(model, x, y):
    model.train_on_batch(x, y)
    (plan,) = (plan for plans in engine(model)._plans.values() for plan in plans)
    return str(plan)


def test_the_plan_says_so():
    x, y = samples(64, 784, "float32"), np.arange(64) % 5
    layers = [fm.Dense(128, "relu"), fm.Dense(5)]
    text = table(network(lambda: layers, 784, "float32"), x, y)
    assert text.count("zeros left out") == 2
    assert "nonzeros" in text


@pytest.mark.parametrize(
    ("layers", "x"),
    [
        (lambda: [fm.Dense(128), fm.Dense(5)], samples(64, 784) + 0.5),
        (lambda: [fm.Dense(40), fm.Dense(5)], samples(64, 784, share=0.2)),
        (lambda: [fm.Dense(128), fm.Dense(5)], samples(7, 784)),
        (lambda: [fm.Dense(128), fm.Dense(5)], samples(64, 60)),
        (lambda: [fm.Standardize(), fm.Dense(128), fm.Dense(5)], samples(64, 784)),
        (lambda: [fm.Conv2D(8, 3), fm.Flatten(), fm.Dense(5)], samples(64, (28, 28, 1))),
    ],
    ids=["dense", "few units", "few samples", "few features", "standardized", "images"],
)
def test_it_is_left_where_it_does_not_pay(layers, x):
    model = network(layers, x.shape[1:])
    for layer in model.layers:
        if isinstance(layer, fm.Standardize):
            layer.adapt(x + np.arange(x.shape[1]))
    text = table(model, x, np.arange(len(x)) % 5)
    assert "zeros left out" not in text


def test_the_share_is_that_of_the_samples_looked_at():
    model = network(lambda: [fm.Dense(10_000_000 // 784)], 784)
    most = sparsity.most_listed(model)
    assert 0.55 < most < 0.6
    x = samples(5000, 784)
    assert sparsity.leaves_zeros(x, 32, most)
    assert not sparsity.leaves_zeros(x, 4, most)
    assert not sparsity.leaves_zeros(x, 4000, most)
    x[:, ::4] = 1
    assert sparsity.leaves_zeros(x, 32, most)
    x[:, ::2] = 1
    assert not sparsity.leaves_zeros(x, 32, most)
    assert sparsity.most_listed(network(lambda: [fm.Dense(32)], 784)) == 0


@pytest.mark.parametrize("x", [np.zeros((9, 64), np.float16), np.zeros((8, 64)), np.zeros((9, 63))])
def test_samples_of_another_size_are_not_read(x):
    from fastmlp._compiled import plan

    with pytest.raises(ValueError, match="other samples"):
        plan.listed_share(x, 9, 64, 1)


def test_weights_that_are_not_finite_are_seen_where_an_input_is_not_zero():
    x, y = samples(64, 784, "float32"), np.arange(64) % 5
    model = network(lambda: [fm.Dense(128), fm.Dense(5)], 784, "float32")
    x[5, 300] = 1
    weights = model.parameters["dense_0.weight"].copy()
    weights[300] = 3e38
    model.set_parameters({**model.parameters, "dense_0.weight": weights})
    with pytest.raises(fm.DivergenceError):
        model.fit(x * 2, y, 1, batch_size=32, verbose=0)


@pytest.mark.parametrize("units", [5, 128])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_smallest_normal_numbers_are_no_zeros(lists, units, dtype):
    tiny = 1.5 * np.finfo(dtype).tiny
    x = (samples(64, 100, dtype) != 0) * np.asarray(tiny, dtype)
    model = network(lambda: [fm.Dense(units)], 100, dtype)
    weights = model.parameters["dense_0.weight"] / tiny
    model.set_parameters({**model.parameters, "dense_0.weight": weights})
    outputs = []
    for wanted in (True, False):
        lists(wanted)
        outputs.append(model.predict(x))
    np.testing.assert_array_equal(*outputs)
    assert np.abs(outputs[0]).max() > 0.01
