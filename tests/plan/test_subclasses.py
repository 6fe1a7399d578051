"""Subclasses of built-in layers, losses and optimizers run their own methods on both backends.

The expected values of overridden methods come from formulas in this file, in float64 numpy.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
from comparing import near

import fastmlp as fm
from fastmlp import reference

CLASSES = 3
RATE = 0.1
BATCH = 8
TOLERANCE = {"float32": 2e-4, "float64": 1e-10}


# --- Subclasses -----------------------------------------------------------------------------------


class Doubled(fm.Dense):
    """Twice the dense layer."""

    def forward(self, ops, x, workspace):
        return 2 * super().forward(ops, x, workspace)

    def backward(self, ops, dy, workspace, sink, need_dx):
        return super().backward(ops, 2 * dy, workspace, sink, need_dx)


class EvenFeatures(fm.Dropout):
    """Keeps every second feature, in prediction too, instead of random ones."""

    def forward(self, ops, x, workspace):
        return x * even(x)

    def backward(self, ops, dy, workspace, sink, need_dx):
        return dy * even(dy)


class NeverDrops(fm.Dropout):
    """Overrides nothing but the workspace of training."""

    def training_workspace(self, n, dtype, training):
        return None


class Halved(fm.Conv2D):
    """Half the convolution."""

    def forward(self, ops, x, workspace):
        return super().forward(ops, x, workspace) / 2

    def backward(self, ops, dy, workspace, sink, need_dx):
        return super().backward(ops, dy / 2, workspace, sink, need_dx)


class Affine(fm.BatchNorm):
    """Scales and shifts, without any statistics."""

    def forward(self, ops, x, workspace):
        workspace.x = x
        gamma, beta = self.parameters
        return x * gamma.value + beta.value

    def backward(self, ops, dy, workspace, sink, need_dx):
        gamma, beta = self.parameters
        dx = dy * gamma.value
        sink.array(gamma, (dy * workspace.x).sum(axis=0))
        sink.array(beta, dy.sum(axis=0))
        return dx


class Steeper(fm.Activation):
    """Three times the activation."""

    def forward(self, ops, x, workspace):
        return 3 * super().forward(ops, x, workspace)

    def backward(self, ops, dy, workspace, sink, need_dx):
        return super().backward(ops, 3 * dy, workspace, sink, need_dx)


class Shifted(fm.Activation):
    """The activation plus one; overrides only ``forward``, as the derivative is the same."""

    def forward(self, ops, x, workspace):
        return super().forward(ops, x, workspace) + 1


class StraightThrough(fm.Activation):
    """The activation, with the gradient of the identity; overrides only ``backward``."""

    def backward(self, ops, dy, workspace, sink, need_dx):
        return dy


class Clipped(fm.Standardize):
    """Standardizes, and clips at one standard deviation."""

    def forward(self, ops, x, workspace):
        return np.clip(super().forward(ops, x, workspace), -1, 1)


class Scaled(fm.Embedding):
    """Twice the rows of the table."""

    def forward(self, ops, x, workspace):
        return 2 * super().forward(ops, x, workspace)

    def backward(self, ops, dy, workspace, sink, need_dx):
        return super().backward(ops, 2 * dy, workspace, sink, need_dx)


class Tempered(fm.CrossEntropy):
    """Cross-entropy of half the logits."""

    def __call__(self, ops, output, targets, out, weights=None):
        value, gradient = super().__call__(ops, output / 2, targets, out, weights)
        return value, gradient / 2


class Relabelled(fm.CrossEntropy):
    """Cross-entropy of the next class; overrides only the targets."""

    def targets(self, y, n, output_shape, dtype, name="y"):
        return (super().targets(y, n, output_shape, dtype, name) + 1) % CLASSES


class DoubledError(fm.MeanSquaredError):
    """Twice the mean squared error."""

    def __call__(self, ops, output, targets, out, weights=None):
        value, gradient = super().__call__(ops, output, targets, out, weights)
        return 2 * value, 2 * gradient


class Softened(fm.SGD):
    """Steps along gradient / (1 + |gradient|)."""

    def update(self, ops, value, gradient, state, step, learning_rate):
        value -= learning_rate * gradient / (1 + np.abs(gradient))


class HalfAdam(fm.Adam):
    """Adam with half the learning rate."""

    def update(self, ops, value, gradient, state, step, learning_rate):
        super().update(ops, value, gradient, state, step, learning_rate / 2)


# --- The same by hand -----------------------------------------------------------------------------


class Hand(NamedTuple):
    """A layer by hand: parameters p, ``forward(p, x)`` and ``backward(p, x, dy)``.

    ``backward`` returns the gradient by x and a list of gradients by the parameters.
    """

    parameters: int
    forward: Callable[..., Any]
    backward: Callable[..., Any]


def even(x):
    return (np.arange(x.shape[-1]) % 2 == 0).astype(x.dtype)


def dense(activation="linear", factor=1.0):
    def forward(p, x):
        z = x @ p[0] + p[1]
        return factor * (np.tanh(z) if activation == "tanh" else z)

    def backward(p, x, dy):
        dz = factor * dy
        if activation == "tanh":
            dz = dz * (1 - np.tanh(x @ p[0] + p[1]) ** 2)
        return dz @ p[0].T, [x.T @ dz, dz.sum(axis=0)]

    return Hand(2, forward, backward)


def convolution(factor):
    """A convolution with 3 x 3 filters, and relu."""

    def forward(p, x):
        return factor * reference.conv2d_loops(x, *p, relu=True)

    def backward(p, x, dy):
        dz = factor * dy * (forward(p, x) > 0)
        dx = reference.conv2d_backward_input_loops(dz, p[0], x.shape[1:3])
        dw = reference.conv2d_backward_weights_loops(x, dz, p[0].shape[:2])
        return dx, [dw, dz.sum(axis=(0, 1, 2))]

    return Hand(2, forward, backward)


def elementwise(function, derivative):
    return Hand(0, lambda p, x: function(x), lambda p, x, dy: (dy * derivative(x), []))


def slope(x):
    return 1 - np.tanh(x) ** 2


TANH = elementwise(np.tanh, slope)
FLATTEN = Hand(
    0,
    lambda p, x: x.reshape(len(x), -1),
    lambda p, x, dy: (dy.reshape(x.shape), []),
)
AFFINE = Hand(
    2,
    lambda p, x: x * p[0] + p[1],
    lambda p, x, dy: (dy * p[0], [(dy * x).sum(axis=0), dy.sum(axis=0)]),
)


def softmax_loss(output, labels, weights):
    """Return the weighted mean of the cross-entropy, and its gradient."""
    p = np.exp(output - output.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    rows = np.arange(len(output))
    share = (weights / weights.sum())[:, None]
    value = -(share[:, 0] * np.log(p[rows, labels])).sum()
    return value, share * (p - np.eye(output.shape[1])[labels])


def tempered_loss(output, labels, weights):
    value, gradient = softmax_loss(output / 2, labels, weights)
    return value, gradient / 2


def relabelled_loss(output, labels, weights):
    return softmax_loss(output, (labels + 1) % CLASSES, weights)


def doubled_error(output, targets, weights):
    share = (weights / weights.sum())[:, None] / output.shape[1]
    difference = output - targets
    return 2 * (share * difference**2).sum(), 4 * share * difference


class ByHand:
    """A network by hand, with the parameters of a model."""

    def __init__(self, layers, model, loss=softmax_loss):
        self.layers, self.loss = layers, loss
        flat = iter(value.astype("float64") for value in model.parameters.values())
        self.parameters = [[next(flat) for _ in range(layer.parameters)] for layer in layers]
        self.flat = [each for p in self.parameters for each in p]
        assert next(flat, None) is None

    def predict(self, x):
        for layer, p in zip(self.layers, self.parameters, strict=True):
            x = layer.forward(p, x)
        return x

    def gradients(self, x, y, weights=None):
        """Return the loss, and the gradients in the order of the parameters."""
        weights = np.ones(len(x)) if weights is None else weights
        inputs = [x]
        for layer, p in zip(self.layers, self.parameters, strict=True):
            inputs.append(layer.forward(p, inputs[-1]))
        value, dy = self.loss(inputs[-1], y, weights)
        gradients: list = []
        for layer, p, x in reversed(list(zip(self.layers, self.parameters, inputs, strict=False))):
            dy, own = layer.backward(p, x, dy)
            gradients[:0] = own
        return value, gradients

    def fit(self, x, y, epochs, weights=None, update=None):
        """Train in the order of the samples; return the losses of the epochs."""
        weights = np.ones(len(x)) if weights is None else weights
        losses = []
        for _ in range(epochs):
            total = 0.0
            for start in range(0, len(x), BATCH):
                rows = slice(start, start + BATCH)
                value, gradients = self.gradients(x[rows], y[rows], weights[rows])
                total += value * weights[rows].sum()
                for p, gradient in zip(self.flat, gradients, strict=True):
                    p -= RATE * (gradient if update is None else update(gradient))
            losses.append(total / weights.sum())
        return losses


# --- Layers ---------------------------------------------------------------------------------------

# Number of the subclass in the network, the layers with a hidden size, the same by hand.
NETWORKS: dict[str, Any] = {
    "dense": (0, lambda h: [Doubled(h, "tanh"), fm.Dense(3)], [dense("tanh", 2), dense()]),
    "last": (1, lambda h: [fm.Dense(h, "tanh"), Doubled(3)], [dense("tanh"), dense(factor=2)]),
    "dropout": (
        1,
        lambda h: [fm.Dense(h, "tanh"), EvenFeatures(0.5), fm.Dense(3)],
        [dense("tanh"), elementwise(lambda x: x * even(x), even), dense()],
    ),
    "workspace": (
        1,
        lambda h: [fm.Dense(h, "tanh"), NeverDrops(0.5), fm.Dense(3)],
        [dense("tanh"), dense()],
    ),
    "convolution": (
        0,
        lambda h: [Halved(h, 3, activation="relu"), fm.Flatten(), fm.Dense(3)],
        [convolution(0.5), FLATTEN, dense()],
    ),
    "normalization": (
        1,
        lambda h: [fm.Dense(h), Affine(), fm.Activation("tanh"), fm.Dense(3)],
        [dense(), AFFINE, TANH, dense()],
    ),
    "activation": (
        1,
        lambda h: [fm.Dense(h), Steeper("tanh"), fm.Dense(3)],
        [dense(), elementwise(lambda x: 3 * np.tanh(x), lambda x: 3 * slope(x)), dense()],
    ),
    "only forward": (
        1,
        lambda h: [fm.Dense(h), Shifted("tanh"), fm.Dense(3)],
        [dense(), elementwise(lambda x: np.tanh(x) + 1, slope), dense()],
    ),
    "only backward": (
        1,
        lambda h: [fm.Dense(h), StraightThrough("tanh"), fm.Dense(3)],
        [dense(), elementwise(np.tanh, np.ones_like), dense()],
    ),
    "several": (
        0,
        lambda h: [Doubled(h), Steeper("tanh"), EvenFeatures(0.1), Doubled(h, "tanh"), Doubled(3)],
        [
            dense(factor=2),
            elementwise(lambda x: 3 * np.tanh(x), lambda x: 3 * slope(x)),
            elementwise(lambda x: x * even(x), even),
            dense("tanh", 2),
            dense(factor=2),
        ],
    ),
}
N = 45  # five full batches and one of five samples

each_network = pytest.mark.parametrize("name", NETWORKS)
each_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])
# Networks of at most 32 units have plans of another kind.
each_size = pytest.mark.parametrize("hidden", [7, 40])


def case(name, hidden, dtype, backend):
    """Return a model, the same network by hand, samples and labels."""
    _, make, layers = NETWORKS[name]
    shape = (5, 6, 2) if name == "convolution" else (5,)
    model = fm.Sequential(make(hidden), shape, dtype, seed=2)
    model.backend = backend
    rng = np.random.default_rng(3)
    for key, value in model.parameters.items():  # biases and gammas that are not 0 or 1
        if not key.endswith("weight"):
            model.set_parameters({key: value + 0.1 * rng.standard_normal(value.shape)})
    x = rng.standard_normal((N, *shape)).astype(dtype)
    model.compile(optimizer=fm.SGD(RATE))
    return model, ByHand(layers, model), x, rng.integers(0, CLASSES, N)


def near_parameters(model, hand, tolerance):
    for (key, value), wanted in zip(model.parameters.items(), hand.flat, strict=True):
        near(value.astype("float64"), wanted, tolerance, key)


@each_network
@each_size
@each_dtype
def test_predictions_and_measurements(name, hidden, dtype, backend):
    model, hand, x, y = case(name, hidden, dtype, backend)
    expected = hand.predict(x.astype("float64"))
    near(model.predict(x).astype("float64"), expected, TOLERANCE[dtype])
    near(model.predict(x[:1]).astype("float64"), expected[:1], TOLERANCE[dtype])
    measured = model.evaluate(x, y)
    assert measured["loss"] == pytest.approx(
        softmax_loss(expected, y, np.ones(N))[0], rel=TOLERANCE[dtype]
    )
    assert measured["accuracy"] == np.mean(expected.argmax(axis=1) == y)


@each_network
@each_size
@each_dtype
def test_gradients(name, hidden, dtype, backend):
    model, hand, x, y = case(name, hidden, dtype, backend)
    value, gradients = model.gradients(x, y)
    expected, wanted = hand.gradients(x.astype("float64"), y)
    assert value == pytest.approx(expected, rel=TOLERANCE[dtype])
    for (key, gradient), other in zip(gradients.items(), wanted, strict=True):
        near(gradient.astype("float64"), other, TOLERANCE[dtype], key)


@each_network
@each_size
@each_dtype
@pytest.mark.parametrize("threads", [1, 2])
def test_training(name, hidden, dtype, threads, backend, eager_threads):
    eager_threads(threads)
    model, hand, x, y = case(name, hidden, dtype, backend)
    wide = x.astype("float64")
    expected, _ = hand.gradients(wide[:13], y[:13])
    assert model.train_on_batch(x[:13], y[:13]) == pytest.approx(expected, rel=TOLERANCE[dtype])
    for p, gradient in zip(hand.flat, hand.gradients(wide[:13], y[:13])[1], strict=True):
        p -= RATE * gradient
    near_parameters(model, hand, TOLERANCE[dtype])
    history = model.fit(x, y, epochs=3, batch_size=BATCH, shuffle=False, verbose=0)
    losses = hand.fit(wide, y, 3)
    np.testing.assert_allclose(history.history["loss"], losses, rtol=10 * TOLERANCE[dtype])
    near_parameters(model, hand, 10 * TOLERANCE[dtype])
    near(model.predict(x).astype("float64"), hand.predict(wide), 10 * TOLERANCE[dtype])


@each_network
def test_no_model_file_can_hold_a_subclass(name, tmp_path, toy, backend):
    model, hand, x, y = case(name, 7, "float64", backend)
    number = NETWORKS[name][0]
    path = tmp_path / "model"
    with pytest.raises(ValueError, match=rf"layers\[{number}\] is .*cannot"):
        model.save(path)
    with pytest.raises(ValueError, match=rf"layers\[{number}\] is .*cannot"):
        model.fit(x, y, epochs=1, callbacks=[fm.ModelCheckpoint(path)])
    assert not path.exists()
    near_parameters(model, hand, 0)  # refused before the training


@each_network
@pytest.mark.parametrize(
    "clone", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), lambda m: m.copy()]
)
def test_copies_keep_the_class(name, clone, backend):
    model, hand, x, _ = case(name, 7, "float64", backend)
    again = clone(model)
    again.backend = backend
    assert [type(layer) for layer in again.layers] == [type(layer) for layer in model.layers]
    near(again.predict(x), hand.predict(x), 1e-10)


@pytest.mark.parametrize("name", sorted(NETWORKS.keys() - {"only backward", "workspace"}))
def test_gradcheck_follows_the_subclass(name, backend):
    model, _, x, y = case(name, 7, "float64", backend)
    assert fm.gradcheck(model, x[:6], y[:6]).passed


# --- First layers ---------------------------------------------------------------------------------


@each_dtype
@each_size
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_standardize(hidden, dtype, scale, backend):
    rng = np.random.default_rng(0)
    x = (3 * rng.standard_normal((N, 5)) + 2).astype(dtype)
    y = rng.integers(0, CLASSES, N)
    layers = [Clipped(), fm.Dense(hidden, "tanh"), fm.Dense(3)]
    model = fm.Sequential(layers, 5, dtype, seed=2, scale=scale)
    model.backend = backend
    hand = ByHand([dense("tanh"), dense()], model)
    history = model.fit(
        x, y, epochs=3, batch_size=BATCH, shuffle=False, optimizer=fm.SGD(RATE), verbose=0
    )
    wide = x.astype("float64")
    wide = np.clip((wide - wide.mean(axis=0)) / wide.std(axis=0), -1, 1)
    losses = hand.fit(wide, y, 3)
    tolerance = 10 * TOLERANCE[dtype]
    np.testing.assert_allclose(history.history["loss"], losses, rtol=tolerance)
    near_parameters(model, hand, tolerance)
    near(model.predict(x).astype("float64"), hand.predict(wide), tolerance)


@each_dtype
@pytest.mark.parametrize("integers", [np.int64, np.uint8])
def test_embedding(dtype, integers, backend):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 11, (N, 4)).astype(integers)
    y = rng.integers(0, CLASSES, N)
    model = fm.Sequential([Scaled(11, 6, "sum"), fm.Dense(3)], 4, dtype, seed=2)
    model.backend = backend
    one_hot = np.eye(11)[x].sum(axis=1)
    table = Hand(1, lambda p, x: 2 * x @ p[0], lambda p, x, dy: (None, [2 * x.T @ dy]))
    hand = ByHand([table, dense()], model)
    value, gradients = model.gradients(x, y)
    expected, wanted = hand.gradients(one_hot, y)
    assert value == pytest.approx(expected, rel=TOLERANCE[dtype])
    for gradient, other in zip(gradients.values(), wanted, strict=True):
        near(gradient.astype("float64"), other, TOLERANCE[dtype])
    model.fit(x, y, epochs=3, batch_size=BATCH, shuffle=False, optimizer=fm.SGD(RATE), verbose=0)
    hand.fit(one_hot, y, 3)
    near_parameters(model, hand, 10 * TOLERANCE[dtype])
    near(model.predict(x).astype("float64"), hand.predict(one_hot), 10 * TOLERANCE[dtype])


# --- Losses and optimizers ------------------------------------------------------------------------

LOSSES = {
    "tempered": (Tempered, tempered_loss),
    "relabelled": (Relabelled, relabelled_loss),
    "error": (DoubledError, doubled_error),
}


def mlp(hidden, dtype, backend):
    model = fm.MLP(5, [hidden], CLASSES, activation="tanh", dtype=dtype, seed=4)
    model.backend = backend
    rng = np.random.default_rng(1)
    x = rng.standard_normal((N, 5)).astype(dtype)
    return model, x, rng.integers(0, CLASSES, N), rng.standard_normal((N, CLASSES))


@pytest.mark.parametrize("name", LOSSES)
@each_size
@each_dtype
@pytest.mark.parametrize("weighted", [False, True])
def test_losses(name, hidden, dtype, weighted, backend):
    kind, by_hand = LOSSES[name]
    model, x, labels, numbers = mlp(hidden, dtype, backend)
    y = numbers.astype(dtype) if name == "error" else labels
    hand = ByHand([dense("tanh"), dense()], model, by_hand)
    weights = np.random.default_rng(5).random(N) + 0.1 if weighted else None
    model.compile(optimizer=fm.SGD(RATE), loss=kind())
    wide, tolerance = x.astype("float64"), TOLERANCE[dtype]
    value, gradients = model.gradients(x, y, kind(), weights)
    expected, wanted = hand.gradients(wide, y, weights)
    assert value == pytest.approx(expected, rel=tolerance)
    for gradient, other in zip(gradients.values(), wanted, strict=True):
        near(gradient.astype("float64"), other, tolerance)
    assert model.evaluate(x, y, weights)["loss"] == pytest.approx(expected, rel=tolerance)
    options = {"batch_size": BATCH, "shuffle": False, "sample_weight": weights, "verbose": 0}
    history = model.fit(x, y, epochs=3, **options)
    losses = hand.fit(wide, y, 3, weights)
    np.testing.assert_allclose(history.history["loss"], losses, rtol=10 * tolerance)
    near_parameters(model, hand, 10 * tolerance)


@each_size
@each_dtype
def test_an_optimizer_with_another_rule(hidden, dtype, backend):
    model, x, y, _ = mlp(hidden, dtype, backend)
    hand = ByHand([dense("tanh"), dense()], model)
    history = model.fit(
        x, y, epochs=3, batch_size=BATCH, shuffle=False, optimizer=Softened(RATE), verbose=0
    )
    losses = hand.fit(x.astype("float64"), y, 3, update=lambda g: g / (1 + np.abs(g)))
    np.testing.assert_allclose(history.history["loss"], losses, rtol=10 * TOLERANCE[dtype])
    near_parameters(model, hand, 10 * TOLERANCE[dtype])


@each_size
@each_dtype
def test_an_optimizer_that_calls_the_rule_of_its_parent(hidden, dtype, backend):
    model, x, y, _ = mlp(hidden, dtype, backend)
    other = model.copy()
    other.backend = backend
    model.fit(x, y, epochs=3, batch_size=BATCH, optimizer=HalfAdam(0.02, eps=1e-3), verbose=0)
    other.fit(x, y, epochs=3, batch_size=BATCH, optimizer=fm.Adam(0.01, eps=1e-3), verbose=0)
    for (key, value), wanted in zip(
        model.parameters.items(), other.parameters.values(), strict=True
    ):
        near(value, wanted, 10 * TOLERANCE[dtype], key)


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": Softened(0.1)},
        {"optimizer": type("Renamed", (fm.Adam,), {})()},
        {"optimizer": fm.SGD(type("Schedule", (fm.StepDecay,), {})(0.1, 2))},
        {"loss": Tempered()},
        {"loss": type("Renamed", (fm.CrossEntropy,), {})(0.1)},
    ],
    ids=str,
)
def test_no_model_file_can_hold_a_loss_or_an_optimizer(change, tmp_path, toy):
    model = fm.MLP(6, [4], CLASSES)
    model.compile(**change)
    before = model.predict(toy[0])
    with pytest.raises(ValueError, match="cannot"):
        model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="cannot"):
        model.fit(*toy, epochs=1, callbacks=[fm.ModelCheckpoint(tmp_path / "model")])
    assert not (tmp_path / "model").exists()
    np.testing.assert_array_equal(model.predict(toy[0]), before)


# --- Subclasses that override nothing -------------------------------------------------------------


class Head(fm.Dense):
    """A dense layer with chosen arguments."""

    note = "an attribute"

    def __init__(self):
        super().__init__(3, init="he_normal", l2=0.01)
        self.kept = {"more": 1}


BUILT_IN = {
    name: getattr(fm, name)
    for name in (
        "Activation", "AvgPool2D", "BatchNorm", "Conv2D", "Dense", "Dropout", "Embedding",
        "Flatten", "GaussianNoise", "GlobalAvgPool2D", "LayerNorm", "MaxPool2D", "Standardize",
    )
}  # fmt: skip
PLAIN = {name: type(name, (kind,), {"note": name}) for name, kind in BUILT_IN.items()}

# Layers with a hidden size, of the classes k: neighbours that plans of the built-in layers fuse.
FUSED: dict[str, Callable[..., list[Any]]] = {
    "activations": lambda k, h: [k.Dense(h), k.Activation("gelu"), k.Dense(3)],
    "relu": lambda k, h: [k.Dense(h, "relu"), k.Dense(h, "tanh"), k.Dense(3)],
    "dropout": lambda k, h: [k.GaussianNoise(0.1), k.Dense(h, "relu"), k.Dropout(0.4), k.Dense(3)],
    "folded": lambda k, h: [k.Dense(h), k.BatchNorm(), k.Activation("relu"), k.Dense(3)],
    "normalized": lambda k, h: [k.Dense(h), k.LayerNorm(), k.Activation("tanh"), k.Dense(3)],
    "softmax": lambda k, h: [k.Dense(h), k.Activation("softmax"), k.Dense(3)],
    "standardized": lambda k, h: [k.Standardize(), k.Dense(h, "relu"), k.Dense(3)],
    "embedded": lambda k, h: [k.Embedding(9, h), k.Flatten(), k.Dense(h, "relu"), k.Dense(3)],
    "pooled": lambda k, h: [
        k.Conv2D(h, 3, activation="relu"), k.MaxPool2D(2), k.BatchNorm(), k.Flatten(), k.Dense(3),
    ],
    "averaged": lambda k, h: [
        k.Conv2D(h, 3), k.BatchNorm(), k.AvgPool2D(2), k.Activation("tanh"), k.GlobalAvgPool2D(),
        k.Dense(3),
    ],
}  # fmt: skip


def used(name):
    """Return the names of the classes in a network, and "all"."""
    kinds: set[str] = set()

    class Recorder:
        def __getattr__(self, kind):
            kinds.add(kind)
            return BUILT_IN[kind]

    FUSED[name](Recorder(), 4)
    return [*sorted(kinds), "all"]


@pytest.mark.parametrize(
    ("name", "replaced"), [(name, kind) for name in FUSED for kind in used(name)]
)
@each_size
def test_a_subclass_that_overrides_nothing_changes_nothing(name, replaced, hidden, backend):
    rng = np.random.default_rng(7)
    shape: tuple[int, ...] = (6, 7, 2) if name in ("pooled", "averaged") else (5,)
    x = rng.standard_normal((N, *shape))
    if name == "embedded":
        x = rng.integers(0, 9, (N, *shape))
    y = rng.integers(0, CLASSES, N)
    results = []
    for kinds in (BUILT_IN, PLAIN if replaced == "all" else BUILT_IN | {replaced: PLAIN[replaced]}):
        layers = FUSED[name](SimpleNamespace(**kinds), hidden)
        model = fm.Sequential(layers, shape, "float64", seed=3)
        model.backend = backend
        if isinstance(layers[0], fm.Standardize):
            layers[0].adapt(x)
        value, gradients = model.gradients(x, y)
        model.compile(optimizer=fm.Adam(0.01, eps=1e-3))
        history = model.fit(x, y, epochs=2, batch_size=BATCH, verbose=0).history
        values = [value, *gradients.values(), history["loss"], history["accuracy"]]
        values += [*model.parameters.values(), *model.buffers.values()]
        results.append([*values, model.predict(x), *model.evaluate(x, y).values()])
    for found, wanted in zip(*results, strict=True):
        near(found, wanted, 1e-9)


@each_size
def test_a_subclass_with_chosen_arguments(hidden, backend):
    _, x, y, _ = mlp(hidden, "float64", backend)
    found = []
    for last in (Head(), fm.Dense(3, init="he_normal", l2=0.01)):
        model = fm.Sequential([fm.Dense(hidden, "relu"), last], 5, "float64", seed=1)
        model.backend = backend
        model.fit(x, y, epochs=2, batch_size=BATCH, verbose=0)
        found.append([*model.history.history["loss"], *model.parameters.values()])
    for one, other in zip(*found, strict=True):
        near(one, other, 1e-9)


@pytest.mark.parametrize("kind", [fm.SGD, fm.Adagrad, fm.RMSprop, fm.Adam, fm.AdamW])
@pytest.mark.parametrize("clip", [{}, {"clip_norm": 0.2}, {"clip_value": 0.01}])
@each_size
def test_an_optimizer_that_overrides_nothing(kind, clip, hidden, backend):
    _, x, y, _ = mlp(hidden, "float64", backend)
    settings = {"weight_decay": 0.01, **clip} | ({} if kind is fm.SGD else {"eps": 1e-3})
    found = []
    for each in (kind, type(kind.__name__, (kind,), {})):
        model, *_ = mlp(hidden, "float64", backend)
        history = model.fit(
            x, y, epochs=2, batch_size=BATCH, optimizer=each(0.02, **settings), verbose=0
        )
        found.append([*history.history["loss"], *model.parameters.values()])
    for one, other in zip(*found, strict=True):
        near(one, other, 1e-9)


@pytest.mark.parametrize(
    "make",
    [
        lambda kind: kind(),
        lambda kind: kind(label_smoothing=0.1),
        lambda kind: kind(class_weight=[1, 2, 0.5]),
    ],
)
@each_size
def test_a_loss_that_overrides_nothing(make, hidden, backend):
    _, x, y, _ = mlp(hidden, "float64", backend)
    found = []
    for kind in (fm.CrossEntropy, type("CrossEntropy", (fm.CrossEntropy,), {})):
        model, *_ = mlp(hidden, "float64", backend)
        loss = make(kind)
        value, gradients = model.gradients(x, y, loss)
        history = model.fit(x, y, epochs=2, batch_size=BATCH, loss=loss, verbose=0).history
        found.append([value, *gradients.values(), history["loss"], history["accuracy"]])
        found[-1] += [*model.parameters.values(), *model.evaluate(x, y).values()]
    for one, other in zip(*found, strict=True):
        near(one, other, 1e-9)


def test_a_method_under_an_old_name_is_refused():
    with pytest.raises(TypeError, match=r"^Old defines right, which is called count_correct now"):
        type("Old", (fm.Loss,), {"right": lambda self, output, targets: None})
    for base in (fm.Layer, fm.Dense, fm.Loss):
        with pytest.raises(TypeError, match=r"^Old defines kink_sides, .* Rename the method\.$"):
            type("Old", (base,), {"kink_sides": lambda *arguments: None})


def test_the_activation_of_a_layer_with_another_forward_is_not_trusted(backend):
    class Logits(fm.Dense):
        def forward(self, ops, x, workspace):
            return ops.dense(x, self.weight.value, self.bias.value)

    class Named(fm.Dense):
        pass

    x = np.eye(4)
    for kind, name in ((Logits, "linear"), (Named, "softmax"), (fm.Dense, "softmax")):
        model = fm.Sequential([kind(3, activation="softmax")], 4)
        model.backend = backend
        assert model.output_activation == name
        np.testing.assert_allclose(model.predict_proba(x).sum(axis=1), 1, rtol=1e-6)


def test_layouts_do_not_guess_the_order_of_another_flatten():
    class ChannelsFirst(fm.Flatten):
        pass

    model = fm.Sequential([fm.Conv2D(2, 3), ChannelsFirst(), fm.Dense(3)], (5, 5, 1))
    with pytest.raises(TypeError, match=r"^model must flatten images with Flatten itself"):
        fm.layouts.to_torch(model, ["0.weight", "0.bias", "2.weight", "2.bias"])
