"""Optimizers: their settings, and that a whole training takes their steps."""

from __future__ import annotations

import copy
import inspect
import pickle

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import _random, optimizers, reference

# Settings far from the defaults, so that each is seen to arrive; all learn the toy data.
OPTIMIZERS = [
    fm.SGD(0.2, weight_decay=0.01),
    fm.SGD(0.05, momentum=0.8),
    fm.SGD(0.05, momentum=0.8, nesterov=True, weight_decay=0.01),
    fm.Adagrad(0.1, eps=1e-3, weight_decay=0.01),
    fm.RMSprop(0.01, rho=0.8, eps=1e-3, weight_decay=0.01),
    fm.Adam(0.02),
    fm.Adam(0.02, beta1=0.7, beta2=0.8, eps=1e-3, weight_decay=0.01),
    fm.AdamW(0.02, beta1=0.7, beta2=0.8, eps=1e-3, weight_decay=0.2),
]
each = pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
each_name = pytest.mark.parametrize("name", optimizers.OPTIMIZERS)


def train(backend, optimizer, toy, *, epochs=3, batch_size=32):
    model = fm.MLP(6, [8, 5], 3, activation="tanh", seed=4, dtype="float64")
    model.backend = backend
    model.fit(*toy, epochs=epochs, batch_size=batch_size, optimizer=optimizer)
    return model


@each
def test_a_whole_run_is_the_textbook(optimizer, backend, toy):
    """All gradients first, then one update of every parameter by the reference's function."""
    x, y = toy
    model = train(backend, optimizer, toy)
    by_hand = fm.MLP(6, [8, 5], 3, activation="tanh", seed=4, dtype="float64")
    by_hand.backend = "numpy"
    settings = optimizer.config()
    assert (settings.pop("clip_norm"), settings.pop("clip_value")) == (None, None)
    name, rate = settings.pop("name"), settings.pop("learning_rate")
    function = getattr(reference, name.removesuffix("w") + "_update")
    weights = {key: value.copy() for key, value in by_hand.parameters.items()}
    states = {key: [np.zeros_like(w) for _ in optimizer.slots] for key, w in weights.items()}
    step = 0
    for epoch in range(3):
        order = _random.permutation(by_hand.seed, epoch, len(x))
        for start in range(0, len(x), 32):
            rows, step = order[start : start + 32], step + 1
            by_hand.set_parameters(weights)
            for key, gradient in by_hand.gradients(x[rows], y[rows])[1].items():
                if name == "sgd":
                    velocity = {"velocity": states[key][0]} if states[key] else {}
                    function(weights[key], gradient, rate, **velocity, **settings)
                elif name in ("adam", "adamw"):
                    function(
                        weights[key], gradient, *states[key], step, rate, **settings,
                        decoupled=name == "adamw",
                    )  # fmt: skip
                else:
                    function(weights[key], gradient, *states[key], rate, **settings)
    for key, value in model.parameters.items():
        np.testing.assert_allclose(value, weights[key], rtol=1e-11, atol=1e-12)


@each
def test_both_backends_train_alike(optimizer, toy):
    pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)
    one, other = (train(backend, optimizer, toy, batch_size=7) for backend in ("numpy", "kernels"))
    for key, value in one.parameters.items():
        np.testing.assert_allclose(value, other.parameters[key], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(
        one.history.history["loss"], other.history.history["loss"], rtol=1e-12
    )


@each
def test_it_learns(optimizer, backend, toy):
    model = fm.MLP(6, [8, 5], 3, activation="tanh", seed=3)
    model.backend = backend
    history = model.fit(*toy, epochs=40, optimizer=optimizer, validation_data=toy)
    assert history.history["val_accuracy"][-1] > 0.93


@each
def test_same_seed_same_bits(optimizer, backend, toy):
    runs = [train(backend, optimizer, toy).predict(toy[0]) for _ in range(2)]
    np.testing.assert_array_equal(*runs)


@each
def test_train_on_batch_counts_its_steps(optimizer, backend, toy):
    x, y = toy
    fitted = fm.MLP(6, [4], 3, dtype="float64")
    fitted.backend = backend
    by_batch = fitted.copy()
    fitted.fit(x, y, epochs=1, batch_size=50, optimizer=optimizer, shuffle=False)
    by_batch.compile(optimizer=optimizer)
    for start in (0, 50, 100):
        by_batch.train_on_batch(x[start : start + 50], y[start : start + 50])
    np.testing.assert_array_equal(fitted.predict(x), by_batch.predict(x))


@each_name
def test_settings_are_looked_up_in_every_step(name, backend, toy):
    model = fm.MLP(6, [4], 3, dtype="float64")
    model.backend = backend
    results = []
    for change in ({}, {"weight_decay": 9.0}, {"learning_rate": 0.0}):
        changed = model.copy()
        changed.compile(
            optimizer=optimizers.get({"name": name, "weight_decay": 0.0, "learning_rate": 0.01})
        )
        changed.train_on_batch(*toy)
        before = changed.predict(toy[0])
        for setting, value in change.items():
            setattr(changed.optimizer, setting, value)
        changed.train_on_batch(*toy)
        results.append(changed.parameters["dense_0.weight"])
    assert np.abs(results[1] - results[0]).max() > 1e-3
    np.testing.assert_array_equal(changed.predict(toy[0]), before)


# --- Names, settings, files -----------------------------------------------------------------------


def test_names():
    assert list(optimizers.OPTIMIZERS) == ["sgd", "adagrad", "rmsprop", "adam", "adamw"]
    for name, kind in optimizers.OPTIMIZERS.items():
        assert optimizers.get(name).name == name
        assert getattr(fm, kind.__name__) is kind
        assert type(optimizers.get(name)) is kind


def test_slots():
    assert [optimizer.slots for optimizer in OPTIMIZERS] == [
        (), ("velocity",), ("velocity",), ("accumulator",), ("accumulator",),
        ("m", "v"), ("m", "v"), ("m", "v"),
    ]  # fmt: skip


@each
def test_config_makes_an_equal_optimizer(optimizer):
    again = optimizers.get(optimizer.config())
    for other in (again, copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizer))):
        assert type(other) is type(optimizer)
        assert other.config() == optimizer.config()
        assert (other.kind, other.slots) == (optimizer.kind, optimizer.slots)
    assert list(optimizer.config()) == ["name", *inspect.signature(type(optimizer)).parameters]
    assert eval(repr(optimizer), vars(fm)).config() == optimizer.config()


def test_repr_shows_what_is_not_the_default():
    assert repr(fm.SGD()) == "SGD(learning_rate=0.01)"
    assert repr(fm.SGD(1, 0.5, True)) == "SGD(learning_rate=1.0, momentum=0.5, nesterov=True)"
    assert repr(fm.AdamW()) == "AdamW(learning_rate=0.001)"
    assert repr(fm.AdamW(weight_decay=0)) == "AdamW(learning_rate=0.001, weight_decay=0.0)"


@each
def test_files_keep_the_optimizer(optimizer, toy, tmp_path):
    model = fm.MLP(6, [4], 3)
    model.fit(*toy, epochs=1, optimizer=optimizer)
    model.save(tmp_path / "m.safetensors")
    again = fm.load_model(tmp_path / "m.safetensors")
    assert again.optimizer.config() == optimizer.config()
    assert type(again.optimizer) is type(optimizer)
    again.fit(*toy, epochs=1)


def test_files_of_plain_sgd_from_before_there_were_others():
    assert optimizers.get({"name": "sgd", "learning_rate": 0.25}).config() == fm.SGD(0.25).config()


def test_an_optimizer_of_ones_own(backend, toy):
    class Sign(optimizers.Optimizer):
        name = "sign"
        slots = ("seen",)

        def __init__(self, scale):
            super().__init__(scale)

        def update(self, ops, value, gradient, state, step, learning_rate):
            assert state["seen"].shape == value.shape
            assert (state["seen"] == step - 1).all()
            state["seen"] += 1
            value -= learning_rate * np.sign(gradient)

    model = fm.MLP(6, [4], 3)
    model.backend = backend
    history = model.fit(*toy, epochs=20, optimizer=Sign(0.01))
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert repr(Sign(0.01)) == "Sign()"
    with pytest.raises(
        ValueError, match="is a user-defined optimizer, which model files cannot store"
    ):
        model.save("never.safetensors")


BELOW_ONE = [1.0, 1, -0.1, np.nan, np.inf]
SETTINGS = [
    *[(fm.SGD, "momentum", v, "at least 0 and below 1") for v in BELOW_ONE],
    *[(fm.RMSprop, "rho", v, "at least 0 and below 1") for v in BELOW_ONE],
    *[(fm.Adam, "beta1", v, "at least 0 and below 1") for v in BELOW_ONE],
    *[(fm.AdamW, "beta2", v, "at least 0 and below 1") for v in BELOW_ONE],
    *[
        (kind, "eps", v, "finite and at least 1.17549e-38")
        for kind in (fm.Adagrad, fm.RMSprop, fm.Adam, fm.AdamW)
        for v in (0.0, -1e-8, np.nan, np.inf, 1e-50)
    ],
    *[
        (kind, name, v, "finite and at least 0")
        for kind in optimizers.OPTIMIZERS.values()
        for name in ("learning_rate", "weight_decay")
        for v in (-0.5, np.nan, np.inf)
    ],
]


@pytest.mark.parametrize(("kind", "name", "value", "wanted"), SETTINGS)
def test_settings_out_of_range(kind, name, value, wanted):
    message = f"{name} must be {wanted}, got {float(value)}."
    with pytest.raises(ValueError) as caught:
        kind(**{name: value})
    assert str(caught.value) == message
    optimizer = kind()
    before = optimizer.config()
    if name == "momentum":
        with pytest.raises(AttributeError):
            optimizer.momentum = 0.5
        with pytest.raises(AttributeError):
            optimizer.nesterov = True
    else:
        with pytest.raises(ValueError) as caught:
            setattr(optimizer, name, value)
        assert str(caught.value) == message
    assert optimizer.config() == before


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fm.SGD(nesterov=True), ValueError,
         "momentum must be above 0 with nesterov=True, got 0.0."),
        (lambda: fm.SGD(momentum=0.9, nesterov=1), TypeError,
         "nesterov must be True or False, got 1."),
        (lambda: fm.Adam(beta1="0.9"), TypeError,
         "beta1 must be a number, got '0.9' of type str."),
        (lambda: fm.Adam(beta1=(0.9, 0.999)), TypeError,
         "beta1 must be a number, got (0.9, 0.999) of type tuple."),
        (lambda: fm.Adagrad(weight_decay=True), TypeError,
         "weight_decay must be a number, got True of type bool."),
    ],
)  # fmt: skip
def test_messages(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == message
