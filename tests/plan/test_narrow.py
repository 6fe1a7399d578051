"""Plans of narrow networks, which keep samples in vector lanes, against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from comparing import near

import fastmlp as fm
from fastmlp._plan import narrow
from fastmlp.activations import ACTIVATIONS
from fastmlp.optimizers import Optimizer

pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)

ELEMENTWISE = sorted(set(ACTIVATIONS) - {"softmax"})
LOSSES = [
    fm.CrossEntropy(),
    fm.CrossEntropy(label_smoothing=0.1),
    fm.CrossEntropy(0.2, [1, 2, 0.5]),
    fm.Hinge(),
    fm.MeanSquaredError(),
    fm.BinaryCrossEntropy(),
]


def pair(layers, inputs, loss, dtype="float64", optimizer=None, scale=1.0):
    """The same model on the kernels, whose plan is checked to be in lanes, and on the reference."""
    models = []
    for backend in ("kernels", "numpy"):
        model = fm.Sequential(layers(), inputs, dtype, seed=4, scale=scale)
        model.backend = backend
        model.compile(loss=loss, optimizer=optimizer or fm.SGD(0.1, momentum=0.5))
        models.append(model)
    assert narrow.is_narrow(models[0])
    return models


def same(models, x, y, loss="cross_entropy", *, batch=16, weights=None, tolerance=1e-12):
    """Compare everything that a model computes."""
    ours, theirs = models
    (value, gradients), (wanted, expected) = (m.gradients(x, y, loss, weights) for m in models)
    assert value == pytest.approx(wanted, rel=tolerance)
    for name, gradient in expected.items():
        near(gradients[name], gradient, tolerance)
    near(ours.predict(x), theirs.predict(x), tolerance)
    near(ours.predict(x[:1]), theirs.predict(x[:1]), tolerance)
    found, measured = (m.evaluate(x, y, weights) for m in models)
    assert found == pytest.approx(measured, rel=tolerance)
    one, other = (
        m.fit(x, y, 3, batch_size=batch, sample_weight=weights, verbose=0).history for m in models
    )
    for name in other.keys() - {"time"}:
        near(one[name], other[name], 1000 * tolerance)
    for name, value in theirs.parameters.items():
        near(ours.parameters[name], value, 1000 * tolerance)


@pytest.mark.parametrize("activation", ELEMENTWISE)
@pytest.mark.parametrize("sizes", [(2, 3, 2), (1, 1, 2), (5, 4, 7, 3), (32, 32, 32), (17, 9, 31)])
def test_every_activation(activation, sizes):
    rng = np.random.default_rng(len(sizes))
    *hidden, classes = sizes[1:]

    def layers():
        return [*(fm.Dense(units, activation) for units in hidden), fm.Dense(classes)]

    x, y = rng.standard_normal((45, sizes[0])), rng.integers(0, classes, 45)
    same(pair(layers, sizes[0], fm.CrossEntropy()), x, y)


@pytest.mark.parametrize("batch", [1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 200, 256])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_batch_size(batch, dtype):
    rng = np.random.default_rng(batch)
    x, y = rng.standard_normal((230, 3)), rng.integers(0, 4, 230)
    models = pair(
        lambda: [fm.Dense(6, "tanh"), fm.Dense(5, "gelu"), fm.Dense(4)], 3, "cross_entropy", dtype
    )
    x = x.astype(dtype)
    same(models, x, y, batch=batch, tolerance=1e-12 if dtype == "float64" else 2e-5)


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("end", [None, "tanh"])
def test_every_loss(loss, weighted, end):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((50, 4))
    labels = rng.integers(0, 3, 50)
    weights = rng.random(50) * (rng.random(50) < 0.8) if weighted else None

    def layers():
        return [fm.Dense(5, "sigmoid"), fm.Dense(3, end or "linear")]

    targets = [labels]
    if loss.name == "cross_entropy":
        targets += [np.eye(3)[labels], rng.dirichlet(np.ones(3), 50)]
    elif loss.name == "binary_cross_entropy":
        targets = [rng.integers(0, 2, (50, 3))]
    elif loss.name == "mse":
        targets = [rng.standard_normal((50, 3))]
    for y in targets:
        same(pair(layers, 4, loss), x, y, loss, weights=weights)


def test_layers_of_other_kinds_and_bytes():
    rng = np.random.default_rng(8)
    x, y = rng.integers(0, 256, (60, 2, 4)).astype(np.uint8), rng.integers(0, 2, 60)

    def layers():
        return [
            fm.Flatten(),
            fm.Activation("tanh"),
            fm.Dense(7, use_bias=False),
            fm.Activation("gelu"),
            fm.Activation("sigmoid"),
            fm.Dense(2, "elu"),
            fm.Activation("softplus"),
        ]

    for batch in (16, 60):
        models = pair(layers, (2, 4), "cross_entropy", scale=1 / 255)
        same(models, x, y, batch=batch)
        same(models, x[:, :, ::-1] / 255.0, y, batch=batch)


@pytest.mark.parametrize("inputs", [3, 12])
def test_standardize_joins_the_copy_of_the_batch(inputs):
    rng = np.random.default_rng(9)
    x, y = 5 + 3 * rng.standard_normal((70, inputs)), rng.integers(0, 2, 70)
    models = pair(
        lambda: [fm.Standardize(), fm.Dense(4, "relu"), fm.Dense(2)], inputs, "cross_entropy"
    )
    for model in models:
        model.layers[0].adapt(x)
    same(models, x, y)


@pytest.mark.parametrize(
    "optimizer",
    [
        fm.SGD(0.1, weight_decay=0.01),
        fm.Adam(0.01, eps=1e-4),
        fm.RMSprop(0.01, eps=1e-4),
        fm.SGD(0.1, clip_norm=0.05),
        fm.SGD(0.1, clip_value=0.01),
    ],
    ids=repr,
)
def test_updates(optimizer):
    rng = np.random.default_rng(10)
    x, y = rng.standard_normal((40, 3)), rng.integers(0, 2, 40)

    def layers():
        frozen = fm.Dense(3, "tanh")
        frozen.trainable = False
        slow = fm.Dense(2)
        slow.learning_rate_multiplier, slow.l1, slow.l2 = 0.5, 0.01, 0.02
        return [fm.Dense(4, "tanh"), frozen, slow]

    ours, theirs = pair(layers, 3, "cross_entropy", optimizer=optimizer)
    histories = [m.fit(x, y, 4, batch_size=9, verbose=0).history for m in (ours, theirs)]
    near(histories[0]["loss"], histories[1]["loss"], 1e-10)
    for name, value in theirs.parameters.items():
        near(ours.parameters[name], value, 1e-10)


def test_what_a_longer_batch_left_behind_does_not_matter():
    """Rows that are infinite after the first layer, then a short batch in the same lanes."""
    x = np.ones((19, 2), np.float32)
    x[:16] = np.finfo(np.float32).max
    model = fm.Sequential([fm.Dense(3, "relu"), fm.Dense(2)], 2, seed=1)
    model.compile(loss="mse", optimizer=fm.SGD(0.0))
    short = model.predict(x[16:])
    both = model.predict(x)
    assert not np.isfinite(both[:16]).all()
    np.testing.assert_array_equal(both[16:], short)
    y = np.zeros((19, 2), np.float32)
    weights = np.r_[np.zeros(16), np.ones(3)]
    with pytest.raises(fm.DivergenceError):
        model.fit(x, y, 1, batch_size=16, shuffle=False, sample_weight=weights, verbose=0)
    # The lanes of the plan hold infinities now: of a batch of three samples they are no part.
    clean = fm.Sequential([fm.Dense(3, "relu"), fm.Dense(2)], 2, seed=1)
    clean.compile(loss="mse", optimizer=fm.SGD(0.0))
    found, wanted = (
        m.fit(x[16:], y[16:], 1, batch_size=16, verbose=0).history["loss"] for m in (model, clean)
    )
    assert found == wanted
    for name, value in clean.parameters.items():
        np.testing.assert_array_equal(model.parameters[name], value)


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_threads_share_samples_and_change_no_bit(threads, eager_threads):
    rng = np.random.default_rng(12)
    x, y = rng.standard_normal((333, 5)).astype(np.float32), rng.integers(0, 3, 333)
    results = []
    for count in (1, threads):
        eager_threads(count)
        model = fm.MLP(5, [9, 31], 3, activation="silu", seed=2)
        model.compile(loss=fm.CrossEntropy(label_smoothing=0.1), optimizer=fm.Adam(0.01))
        plan = model.plan(100)
        assert any(operation.threads == count for operation in plan.operations)
        history = model.fit(x, y, 3, batch_size=100, verbose=0).history
        results.append((history["loss"], model.predict(x), *model.parameters.values()))
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("layers", "inputs", "expected"),
    [
        ([fm.Dense(32), fm.Dense(2)], 32, True),
        ([fm.Dense(33), fm.Dense(2)], 2, False),
        ([fm.Dense(2)], 33, False),
        ([fm.Flatten(), fm.Dense(2)], (4, 8), True),
        ([fm.Flatten(), fm.Dense(2)], (4, 9), False),
        ([fm.Dense(4, "softmax"), fm.Dense(2)], 3, False),
        ([fm.Dense(4), fm.Activation("softmax")], 3, False),
        ([fm.Dense(4), fm.Dropout(0.5), fm.Dense(2)], 3, False),
        ([fm.BatchNorm(), fm.Dense(2)], 3, False),
        ([fm.Activation("relu")], 3, False),
        ([fm.Embedding(9, 3, combine="sum"), fm.Dense(2)], 4, False),
    ],
)
def test_which_networks_are_narrow(layers, inputs, expected):
    model = fm.Sequential(layers, inputs)
    assert narrow.is_narrow(model) is expected
    lines = str(model.plan(16, purpose="predict")).splitlines()
    assert any(line.startswith("gather") for line in lines) is expected


class OwnLoss(fm.MeanSquaredError):
    """A loss in Python."""


class OwnOptimizer(Optimizer):
    """An optimizer in Python."""

    def update(self, ops, parameter, gradient, slots, step, rate):
        parameter -= rate * gradient


class Watch(fm.Callback):
    """Has the model make plans of every other purpose between two steps."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def on_batch_end(self, step, logs):
        self.model.predict(self.x[:5])
        self.model.evaluate(self.x[:6], self.y[:6])
        self.model.gradients(self.x[:7], self.y[:7], OwnLoss())
        self.model.gradients(self.x[:7], self.y[:7], "mae")


@pytest.mark.parametrize("loss", [fm.MeanSquaredError, OwnLoss])
@pytest.mark.parametrize("optimizer", [fm.SGD, OwnOptimizer])
def test_losses_and_optimizers_in_python(loss, optimizer):
    """They see rows; the weights stay where they are, whoever else looks at the network."""
    rng = np.random.default_rng(13)
    x, y = rng.standard_normal((30, 3)), rng.standard_normal((30, 2))
    results = []
    for backend, callbacks in (("numpy", []), ("kernels", []), ("kernels", [Watch(x, y)])):
        model = fm.MLP(3, [4], 2, activation="tanh", dtype="float64", seed=1)
        model.backend = backend
        model.compile(loss=loss(), optimizer=optimizer(0.1))
        history = model.fit(x, y, 3, batch_size=8, callbacks=callbacks, verbose=0).history
        results.append((history["loss"], model.predict(x)))
    for found in results[1:]:
        near(found[0], results[0][0])
        near(found[1], results[0][1])


def test_a_divergence_after_a_loss_in_python_restores_the_weights():
    rng = np.random.default_rng(14)
    x, y = rng.standard_normal((30, 4)), rng.standard_normal((30, 2))
    model = fm.Sequential([fm.Dense(8, "tanh"), fm.Dense(2)], 4, seed=1)
    model.fit(x, y, 2, 8, loss=OwnLoss(), optimizer=fm.SGD(0.1), verbose=0)
    before = model.parameters
    with pytest.raises(fm.DivergenceError):
        model.fit(x, y, 3, 8, loss="mse", optimizer=fm.SGD(1e30), verbose=0)
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, before[name])
