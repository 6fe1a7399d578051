"""Clipping, penalties and per-layer training settings, against textbook formulas."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import _random, optimizers, reference

LIMITS = [{"clip_norm": 0.2}, {"clip_norm": 1e6}, {"clip_value": 0.01}, {"clip_value": 1e6}]
KINDS = [
    lambda **limits: fm.SGD(0.1, weight_decay=0.01, **limits),
    lambda **limits: fm.SGD(0.05, momentum=0.8, **limits),
    lambda **limits: fm.SGD(0.05, momentum=0.8, nesterov=True, **limits),
    lambda **limits: fm.Adagrad(0.1, eps=1e-3, **limits),
    lambda **limits: fm.RMSprop(0.01, eps=1e-3, **limits),
    lambda **limits: fm.Adam(0.02, eps=1e-3, weight_decay=0.01, **limits),
    lambda **limits: fm.AdamW(0.02, eps=1e-3, weight_decay=0.2, **limits),
]
# By layer: a frozen one between two, one below that needs the input's gradient for nothing.
SETTINGS = {
    "plain": [{}, {}, {}],
    "penalties": [{"l1": 0.01}, {"l2": 0.02}, {"l1": 0.005, "l2": 0.01}],
    "multipliers": [{"learning_rate_multiplier": m} for m in (0.5, 3.0, 0.0)],
    "middle frozen": [{"l2": 0.02}, {"trainable": False, "l1": 0.1}, {}],
    "bottom frozen": [{"trainable": False}, {"learning_rate_multiplier": 2.0}, {"l1": 0.01}],
    "top frozen": [{}, {}, {"trainable": False}],
    "all frozen": [{"trainable": False}] * 3,
}


def build(backend, settings, dtype="float64"):
    widths, names = (8, 5, 3), ("tanh", "sigmoid", "linear")
    layers = [
        fm.Dense(width, activation, **each)
        for width, activation, each in zip(widths, names, settings, strict=True)
    ]
    model = fm.Sequential(layers, 6, dtype, seed=4)
    model.backend = backend
    return model


def textbook(model, optimizer, x, y, epochs, batch):
    """All gradients in numpy, then penalties, clipping, and the reference's update of each."""
    settings = optimizer.config()
    name, rate = settings.pop("name"), settings.pop("learning_rate")
    clip_norm, clip_value = settings.pop("clip_norm"), settings.pop("clip_value")
    function = getattr(reference, name.removesuffix("w") + "_update")
    weights = {key: value.copy() for key, value in model.parameters.items()}
    states = {key: [np.zeros_like(w) for _ in optimizer.slots] for key, w in weights.items()}
    plain = build("numpy", SETTINGS["plain"])
    losses, step = [], 0
    for epoch in range(epochs):
        order, total = _random.permutation(model.seed, epoch, len(x)), 0.0
        for start in range(0, len(x), batch):
            rows, step = order[start : start + batch], step + 1
            plain.set_parameters(weights)
            loss, gradients = plain.gradients(x[rows], y[rows])
            for layer in model.layers:
                w = weights[f"{layer.name}.weight"]
                loss += layer.l1 * np.abs(w).sum() + layer.l2 * (w * w).sum()
                gradients[f"{layer.name}.weight"] += layer.l1 * np.sign(w) + 2 * layer.l2 * w
            total += loss * len(rows)
            trained = {
                f"{layer.name}.{kind}": layer.learning_rate_multiplier
                for layer in model.layers
                if layer.trainable
                for kind in ("weight", "bias")
            }
            if clip_norm is not None:
                norm = math.sqrt(sum((gradients[key] ** 2).sum() for key in trained))
                for key in trained:
                    gradients[key] *= min(1.0, clip_norm / (norm + 1e-6))
            for key, multiplier in trained.items():
                gradient, w = gradients[key], weights[key]
                if clip_value is not None:
                    gradient = np.clip(gradient, -clip_value, clip_value)
                if name == "sgd":
                    velocity = {"velocity": states[key][0]} if states[key] else {}
                    function(w, gradient, rate * multiplier, **velocity, **settings)
                elif name in ("adam", "adamw"):
                    function(
                        w, gradient, *states[key], step, rate * multiplier, **settings,
                        decoupled=name == "adamw",
                    )  # fmt: skip
                else:
                    function(w, gradient, *states[key], rate * multiplier, **settings)
        losses.append(total / len(x))
    return weights, losses


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("limits", [{}, *LIMITS], ids=str)
@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_a_whole_run_is_the_textbook(kind, limits, settings, backend, toy):
    model = build(backend, SETTINGS[settings])
    optimizer = KINDS[kind](**limits)
    before = model.parameters
    history = model.fit(*toy, epochs=2, batch_size=32, optimizer=optimizer, verbose=0)
    again = build(backend, SETTINGS[settings])
    expected, losses = textbook(again, optimizer, *toy, 2, 32)
    for key, value in model.parameters.items():
        np.testing.assert_allclose(value, expected[key], rtol=0, atol=1e-12)
    np.testing.assert_allclose(history.history["loss"], losses, rtol=1e-12)
    for layer in model.layers:
        if not layer.trainable or not layer.learning_rate_multiplier:
            for kind in ("weight", "bias"):
                key = f"{layer.name}.{kind}"
                np.testing.assert_array_equal(model.parameters[key], before[key])


@pytest.mark.parametrize("batch", [16, 70])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("clip_norm", [1e-3, 1e6])
def test_clipped_training_has_the_same_bits_for_any_threads(clip_norm, dtype, batch, eager_threads):
    pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((210, 200)), np.arange(210) % 10
    found = set()
    for threads in range(1, 9):
        eager_threads(threads)
        layers = [fm.Dense(100, "relu", l1=1e-3, l2=1e-3), fm.Dense(90, "tanh"), fm.Dense(10)]
        model = fm.Sequential(layers, 200, dtype)
        optimizer = fm.Adam(1e-3, clip_norm=clip_norm)
        history = model.fit(x, y, epochs=2, batch_size=batch, optimizer=optimizer, verbose=0)
        kinds = [operation.kind for operation in model.plan(batch).operations]
        assert {"penalty", "gradient_norm", "clipped_update"} <= set(kinds)
        found.add(b"".join(value.tobytes() for value in model.parameters.values()))
        found.add(repr(history.history["loss"]).encode())
    assert len(found) == 2


# --- The loss and its gradients -------------------------------------------------------------------


@pytest.mark.parametrize("settings", SETTINGS)
def test_gradients_are_of_the_loss_that_is_told(settings, backend, toy):
    """``gradients`` includes frozen layers: freezing only affects training."""
    model = build(backend, SETTINGS[settings])
    x, y = toy[0][:20], toy[1][:20]
    plain = build("numpy", SETTINGS["plain"])
    loss, gradients = model.gradients(x, y)
    expected = plain.gradients(x, y)[0]
    for layer in model.layers:
        w = model.parameters[f"{layer.name}.weight"]
        expected += layer.l1 * np.abs(w).sum() + layer.l2 * (w * w).sum()
    assert loss == pytest.approx(expected, rel=1e-13)
    assert model.evaluate(x, y)["loss"] == pytest.approx(loss, rel=1e-13)
    assert list(gradients) == list(model.parameters)
    result = fm.gradcheck(model, x, y)
    assert result.passed, result
    assert all(result.checked.values())
    model.compile(optimizer=fm.SGD(0.0))
    assert model.train_on_batch(x, y) == pytest.approx(loss, rel=1e-13)
    history = model.fit(x, y, epochs=1, batch_size=7, optimizer=fm.SGD(0.0), validation_data=(x, y))
    assert history.history["loss"] == pytest.approx([loss], rel=1e-12)
    assert history.history["val_loss"] == pytest.approx([loss], rel=1e-12)


def test_a_penalty_is_no_part_of_the_weighted_mean(backend, toy):
    """The loss is the weighted mean and the penalty once, however the samples weigh."""
    model = build(backend, [{"l2": 0.1}, {"l1": 0.2}, {}])
    x, y = toy[0][:20], toy[1][:20]
    model.compile(optimizer=fm.SGD(0.0))
    penalty = model.penalty()
    for layer in model.layers:
        layer.l1 = layer.l2 = 0
    weights = np.arange(20) % 4
    options = {"sample_weight": weights}
    plain = model.evaluate(x, y, **options)["loss"]
    model.layers[0].l2, model.layers[1].l1 = 0.1, 0.2
    assert model.evaluate(x, y, **options)["loss"] == pytest.approx(plain + penalty, rel=1e-13)
    history = model.fit(x, y, epochs=1, batch_size=6, verbose=0, **options)
    assert history.history["loss"] == pytest.approx([plain + penalty], rel=1e-13)
    assert model.train_on_batch(x, y, **options) == pytest.approx(plain + penalty, rel=1e-13)
    assert model.gradients(x, y, **options)[0] == pytest.approx(plain + penalty, rel=1e-13)


def test_gradcheck_stays_away_from_the_kink_of_l1():
    model = fm.Sequential([fm.Dense(3, l1=0.1)], 2, "float64")
    model.set_parameters({"dense_0.weight": [[0, 1e-3, -1], [0.5, 0, 2]]})
    result = fm.gradcheck(model, [[1.0, 2.0]], [0])
    assert result.passed
    assert result.kinks["dense_0.weight"] == 2  # at exactly 0
    assert result.checked["dense_0.weight"] == 4


def test_gradcheck_notices_a_penalty_that_is_wrong(monkeypatch):
    model = fm.Sequential([fm.Dense(3, l2=0.1)], 2, "float64")
    original = reference.weight_penalty
    monkeypatch.setattr(reference, "weight_penalty", lambda w, **k: 1.1 * original(w, **k))
    assert not fm.gradcheck(model, [[1.0, 2.0]], [0]).passed


class Gain(fm.Layer):
    """A factor for every feature, in Python."""

    def build(self, input_shape):
        from fastmlp.parameter import Parameter

        ones = lambda shape, *_: np.ones(shape)  # noqa: E731
        self.parameters = [Parameter("weight", input_shape, ones, 1, 1)]
        return input_shape

    def workspace(self, n, dtype):
        return {}

    def forward(self, ops, x, workspace):
        workspace["x"] = x
        return x * self.parameters[0].value

    def backward(self, ops, dy, workspace, sink, need_dx):
        dx = dy * self.parameters[0].value
        sink.array(self.parameters[0], (dy * workspace["x"]).sum(axis=0))
        return dx


class Plain(optimizers.Optimizer):
    def update(self, ops, value, gradient, state, step, learning_rate):
        value -= learning_rate * gradient


@pytest.mark.parametrize("limits", [{}, *LIMITS], ids=str)
@pytest.mark.parametrize("kind", [fm.SGD, fm.Adam, Plain])
@pytest.mark.parametrize(
    "settings",
    [{"l1": 0.01, "l2": 0.02, "learning_rate_multiplier": 3.0}, {"trainable": False, "l2": 0.1}],
)
def test_parts_of_the_users_own_are_no_exception(settings, kind, limits, toy):
    pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)
    runs = []
    for backend in ("numpy", "kernels"):
        layers = [fm.Dense(5, "tanh", l2=0.01), Gain(**settings), fm.Dense(3)]
        model = fm.Sequential(layers, 6, "float64")
        model.backend = backend
        history = model.fit(*toy, epochs=3, optimizer=kind(0.01, **limits), verbose=0)
        runs.append((model.parameters, history.history["loss"]))
    for name, value in runs[0][0].items():
        np.testing.assert_allclose(value, runs[1][0][name], rtol=0, atol=1e-12)
    np.testing.assert_allclose(runs[0][1], runs[1][1], rtol=1e-12)
    frozen = (runs[0][0]["gain_0.weight"] == 1).all()
    assert frozen == (not settings.get("trainable", True))


# --- Plans and settings ---------------------------------------------------------------------------


def kinds(model):
    return [(o.kind, o.layer) for o in model.plan(16).operations if o.layer]


def test_nothing_is_computed_for_frozen_layers():
    pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)
    model = build("kernels", SETTINGS["plain"])
    below, middle, top = model.layers
    below.trainable = False
    assert ("dense_update", below.name) not in kinds(model)
    assert ("dense_backward", middle.name) not in kinds(model)
    assert ("dense_update", middle.name) in kinds(model)
    middle.trainable = False
    assert [k for k in kinds(model) if "backward" in k[0] or "update" in k[0]] == [
        ("dense_update", top.name)
    ]
    top.trainable, below.trainable = False, True
    assert [k for k in kinds(model) if "update" in k[0]] == [("dense_update", below.name)]
    assert [layer for kind, layer in kinds(model) if kind == "dense_backward"] == [
        top.name, middle.name,
    ]  # fmt: skip
    below.trainable = False
    assert not [k for k in kinds(model) if "backward" in k[0] or "update" in k[0]]


def test_settings_may_change_between_calls(backend, toy):
    """Each call does what a model made so does; and back again."""
    model = build(backend, SETTINGS["plain"])
    optimizer = fm.SGD(0.1)
    model.compile(optimizer=optimizer)
    expected = model.parameters

    def step(**limits):
        nonlocal expected
        twin = build("numpy", [layer.changed_settings() for layer in model.layers])
        twin.set_parameters(expected)
        twin.compile(optimizer=fm.SGD(0.1, **limits))
        told = twin.train_on_batch(*toy)
        assert model.train_on_batch(*toy) == pytest.approx(told, rel=1e-12)
        expected = twin.parameters
        for name, value in model.parameters.items():
            np.testing.assert_allclose(value, expected[name], rtol=0, atol=1e-13)

    step()
    for name, value in (
        ("trainable", False), ("trainable", True), ("l2", 0.5), ("l1", 0.3), ("l2", 0.0),
        ("l1", 0.0), ("learning_rate_multiplier", 2.0),
    ):  # fmt: skip
        setattr(model.layers[1], name, value)
        step()
    optimizer.clip_norm = 1e-3
    step(clip_norm=1e-3)
    optimizer.clip_norm = 2e-3
    step(clip_norm=2e-3)
    optimizer.clip_norm = None
    optimizer.clip_value = 1e-3
    step(clip_value=1e-3)
    optimizer.clip_value = None
    step()


def test_steps_count_though_layers_are_frozen(backend, toy):
    model = build(backend, SETTINGS["middle frozen"])
    optimizer = fm.Adam()
    model.fit(*toy, epochs=1, batch_size=50, optimizer=optimizer, verbose=0)
    assert model.state(optimizer).step == 3
    model.layers[1].trainable = True
    model.fit(*toy, epochs=1, batch_size=50, optimizer=optimizer, verbose=0)
    assert model.state(optimizer).step == 6


def test_files_and_copies_keep_the_settings(tmp_path):
    settings = [{"trainable": False}, {"l1": 0.1, "l2": 0.2}, {"learning_rate_multiplier": 0.5}]
    model = build("numpy", settings)
    model.layers[2].l2 = 0.25
    settings[2]["l2"] = 0.25
    model.save(tmp_path / "m.safetensors")
    again = [
        fm.load_model(tmp_path / "m.safetensors"),
        model.copy(),
        pickle.loads(pickle.dumps(model)),
    ]
    for other in (model, *again):
        assert [layer.changed_settings() for layer in other.layers] == settings
        other.layers[0].trainable = True
        assert other.lowest(trainable=True) == 0
    assert repr(model.layers[1]) == "Dense(5, activation='sigmoid', l1=0.1, l2=0.2)"
    conv = fm.Sequential([fm.Conv2D(2, 3, l2=0.5, trainable=False), fm.Flatten()], (5, 5, 1))
    conv.save(tmp_path / "c.safetensors")
    loaded = fm.load_model(tmp_path / "c.safetensors").layers[0]
    assert loaded.changed_settings() == {"trainable": False, "l2": 0.5}
    assert fm.Dense(3).training_settings == fm.Layer.training_settings  # the default is unchanged


def test_clipping_is_in_files_and_in_repr(tmp_path):
    model = fm.MLP(2, [2], 2)
    model.compile(optimizer=fm.AdamW(clip_norm=0.5))
    assert repr(model.optimizer) == "AdamW(learning_rate=0.001, clip_norm=0.5)"
    model.save(tmp_path / "m.safetensors")
    again = fm.load_model(tmp_path / "m.safetensors").optimizer
    assert (again.clip_norm, again.clip_value) == (0.5, None)


def test_a_norm_that_is_not_finite_is_not_hidden(backend):
    """A finite loss whose gradient overflows. Clipped by value, infinity becomes the limit."""
    weight = np.full((3, 2), 3e38, np.float32)
    weight[:, 1] = -3e38
    for limits in ({"clip_value": 1.0}, {"clip_norm": 1.0}):
        model = fm.MLP(2, [3], 2, activation="linear", dtype="float32")
        model.backend = backend
        model.set_parameters({"dense_0.weight": np.zeros((2, 3)), "dense_1.weight": weight})
        model.compile(optimizer=fm.SGD(0.5, **limits))
        x, y = np.full((4, 2), 1e3, np.float32), np.zeros(4, int)
        assert np.isinf(model.gradients(x, y)[1]["dense_0.weight"]).all()
        if "clip_norm" in limits:
            with pytest.raises(fm.DivergenceError, match="a weight is not finite"):
                model.fit(x, y, epochs=1, verbose=0)
        else:
            model.train_on_batch(x, y)
            np.testing.assert_array_equal(model.parameters["dense_0.weight"], np.full((2, 3), 0.5))


@pytest.mark.parametrize("raising", ["forward", "backward", "callback", "loss"])
@pytest.mark.parametrize("limits", [{}, {"clip_norm": 0.1}], ids=str)
def test_the_steps_before_an_error_count(raising, limits, backend, toy):
    class Planned(Exception):
        pass

    calls = {"forward": 0, "backward": 0, "loss": 0}

    def count(what):
        calls[what] = calls.get(what, 0) + 1
        if what == raising and calls[what] == 8:
            raise Planned

    class Faulty(Gain):
        def forward(self, *arguments):
            count("forward")
            return super().forward(*arguments)

        def backward(self, *arguments):
            count("backward")
            return super().backward(*arguments)

    class Loss(fm.losses.CrossEntropy):
        def __call__(self, *arguments):
            count("loss")
            return super().__call__(*arguments)

    class Stop(fm.Callback):
        def on_epoch_end(self, epoch, logs):
            if raising == "callback" and epoch == 2:
                raise Planned

    model = fm.Sequential([fm.Dense(4), Faulty(), fm.Dense(3)], 6, "float64")
    model.backend = backend
    optimizer = fm.Adam(fm.StepDecay(0.1, 3, 0.5), **limits)
    with pytest.raises(Planned):
        model.fit(
            *toy, epochs=9, batch_size=50, optimizer=optimizer, loss=Loss(), callbacks=[Stop()]
        )
    state = model.state(optimizer)
    assert state.step == (6 if raising == "callback" else 7)
    assert state.learning_rate == (0.05 if raising == "callback" else 0.025)
    model.fit(*toy, epochs=1, batch_size=50, optimizer=optimizer, loss=Loss(), verbose=0)
    assert state.step == (9 if raising == "callback" else 10)


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fm.SGD(clip_norm=0), ValueError, "clip_norm must be above 0, got 0.0."),
        (lambda: fm.Adam(clip_norm=-1), ValueError,
         "clip_norm must be finite and at least 0, got -1.0."),
        (lambda: fm.AdamW(clip_value=math.nan), ValueError,
         "clip_value must be finite and at least 0, got nan."),
        (lambda: fm.RMSprop(clip_value=math.inf), ValueError,
         "clip_value must be finite and at least 0, got inf."),
        (lambda: fm.Adagrad(clip_norm="1"), TypeError,
         "clip_norm must be a number, got '1' of type str."),
        (lambda: fm.SGD(clip_norm=1.0, clip_value=2.0), ValueError,
         "clip_norm and clip_value cannot both be set, got clip_value=2.0 with clip_norm already set."),
        (lambda: setattr(fm.SGD(clip_value=1.0), "clip_norm", 3.0), ValueError,
         "clip_norm and clip_value cannot both be set, got clip_norm=3.0 with clip_value already set."),
        (lambda: fm.SGD(weight_decay=-1), ValueError,
         "weight_decay must be finite and at least 0, got -1.0."),
        (lambda: fm.Dense(3, l1=-0.1), ValueError, "l1 must be finite and at least 0, got -0.1."),
        (lambda: fm.Dense(3, l2=math.nan), ValueError, "l2 must be finite and at least 0, got nan."),
        (lambda: fm.Dense(3, l2="0.1"), TypeError, "l2 must be a number, got '0.1' of type str."),
        (lambda: fm.Dense(3, trainable=1), TypeError, "trainable must be True or False, got 1."),
        (lambda: setattr(fm.Dense(3), "learning_rate_multiplier", -2), ValueError,
         "learning_rate_multiplier must be finite and at least 0, got -2.0."),
        (lambda: fm.initializers.HeNormal("rellu"), ValueError,
         "gain must be one of linear, sigmoid, softmax, tanh, relu, leaky_relu, got 'rellu'. Did "
         "you mean 'relu'?"),
        (lambda: fm.initializers.HeNormal(-1), ValueError,
         "gain must be finite and at least 0, got -1.0."),
        (lambda: fm.Dense(3, init=np.array(["a"])), TypeError,
         "init must be an array of numbers, got 'a' at index 0."),
        (lambda: fm.Sequential([fm.Dense(3, init=np.ones((3, 2)))], 2), ValueError,
         "dense_0.weight: the initializer must return an array of shape (2, 3), got (3, 2)."),
        (lambda: fm.Sequential([fm.Dense(1, init=np.full((2, 1), np.nan))], 2), ValueError,
         "dense_0.weight: the initializer must return finite numbers, got NaN or infinity."),
    ],
)  # fmt: skip
def test_messages(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == message
