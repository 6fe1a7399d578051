"""Layers, losses and optimizers written in Python, in plans and on both backends."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from comparing import BACKENDS, near, same_runs, values

import fastmlp as fm
from fastmlp import losses
from fastmlp.losses import Loss
from fastmlp.optimizers import Optimizer
from fastmlp.parameter import Parameter

pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)


class Gain(fm.Layer):
    """Multiply every feature by its parameter."""

    def build(self, input_shape):
        count = (int(np.prod(input_shape)),)
        self._gain = Parameter("gain", count, lambda shape, *_: np.full(shape, 0.9), 1, 1)
        self.parameters = [self._gain]
        return input_shape

    def workspace(self, n, dtype):
        return {}

    def forward(self, ops, x, workspace):
        workspace["x"] = x
        return x * self._gain.value.reshape(self.input_shape)

    def backward(self, ops, dy, workspace, sink, need_dx):
        dx = dy * self._gain.value.reshape(self.input_shape) if need_dx else None
        sink.row_sum(self._gain, (dy * workspace["x"]).reshape(len(dy), -1))
        return dx


class Grid(fm.Layer):
    """Give samples of 6 features the shape (2, 3), times a matrix: a product for the sink."""

    def build(self, input_shape):
        self._mix = Parameter("mix", (6, 6), lambda shape, *_: np.eye(6) + 0.1, 6, 6)
        self.parameters = [self._mix]
        return (2, 3)

    def workspace(self, n, dtype):
        return {}

    def forward(self, ops, x, workspace):
        workspace["x"] = x
        return (x @ self._mix.value).reshape(-1, 2, 3)

    def backward(self, ops, dy, workspace, sink, need_dx):
        dy = np.ascontiguousarray(dy.reshape(-1, 6))
        dx = dy @ self._mix.value.T
        sink.product(self._mix, workspace["x"], dy)
        return dx


class Huber(Loss):
    name = "huber"

    def targets(self, y, n, output_shape, dtype, name="y"):
        return np.asarray(y)  # as it is: any dtype and layout

    def __call__(self, ops, output, targets, out):
        difference = output - targets.reshape(output.shape)
        clipped = np.clip(difference, -1, 1)
        out[...] = clipped / difference.size
        return float(np.mean(clipped * (difference - 0.5 * clipped))), out


class Margin(Loss):
    """A loss with classes: the squares of what a sample's other outputs exceed its own less one."""

    classifies = True

    def targets(self, y, n, output_shape, dtype, name="y"):
        return np.asarray(y)

    def __call__(self, ops, output, targets, out):
        rows = np.arange(len(output))
        margins = np.maximum(output - output[rows, targets][:, None] + 1, 0)
        margins[rows, targets] = 0
        gradient = 2 * margins / len(output)
        gradient[rows, targets] = -gradient.sum(axis=1)
        return float((margins**2).sum() / len(output)), gradient


class Lion(Optimizer):
    """Soft signs of a running mean, for which the step's number counts too."""

    slots = ("mean",)

    def __init__(self, learning_rate=0.01):
        super().__init__(learning_rate)

    def update(self, ops, value, gradient, state, step, learning_rate):
        mean = state["mean"]
        mean *= 0.9
        mean += 0.1 * gradient
        corrected = mean / (1 - 0.9**step)
        value -= learning_rate * corrected / (np.abs(corrected) + 0.1)


def custom_model(where, backend, dtype="float64"):
    layers = {
        "first": [Gain(), fm.Dense(7, activation="tanh"), fm.Dense(3)],
        "middle": [fm.Dense(7, activation="gelu"), Gain(), fm.Activation("relu"), fm.Dense(3)],
        "last": [fm.Dense(9), fm.Activation("elu"), fm.Dense(3, use_bias=False), Gain()],
        "alone": [Gain()],
        "twice": [Gain(), Gain(), fm.Dense(3, activation="softmax"), Gain()],
        "shapes": [
            fm.Dense(6, activation="silu"), Grid(), fm.Activation("softmax"), Gain(),
            fm.Flatten(), fm.Activation("tanh"), fm.Dense(3),
        ],
    }  # fmt: skip
    model = fm.Sequential(layers[where], 3 if where == "alone" else 5, dtype, seed=2)
    model.backend = backend
    return model


def custom_data(where):
    rng = np.random.default_rng(3)
    x = rng.standard_normal((45, 3 if where == "alone" else 5))
    return x, rng.integers(0, 3, 45), rng.standard_normal((45, 6))[:, ::2]


@pytest.mark.parametrize("where", ["first", "middle", "last", "alone", "twice", "shapes"])
@pytest.mark.parametrize("loss", ["cross_entropy", "mse", Huber, Margin])
@pytest.mark.parametrize("optimizer", [fm.SGD, fm.Adam, Lion])
def test_parts_of_the_users_own_train_alike_on_both_backends(where, loss, optimizer):
    x, labels, numbers = custom_data(where)
    y = labels if loss in ("cross_entropy", Margin) else numbers
    runs, before = [], []
    for backend in BACKENDS:
        model = custom_model(where, backend)
        used = losses.get(loss) if isinstance(loss, str) else loss()
        optimizer_ = fm.Adam(0.01, eps=1e-4) if optimizer is fm.Adam else optimizer(0.02)
        model.compile(optimizer=optimizer_, loss=used)
        value, gradients = model.gradients(x, y, used)
        steps = [model.train_on_batch(x[:n], y[:n]) for n in (45, 1, 13)]
        history = model.fit(x, y, epochs=3, batch_size=8, validation_data=(x[:9], y[:9])).history
        measured = model.evaluate(x, y)
        before.append([value, *steps, *measured.values(), *gradients.values()])
        runs.append((history, values(model), model.predict(x)))
        assert ("accuracy" in history) == used.classifies
    for found, wanted in zip(before[1], before[0], strict=True):
        near(found, wanted, 1e-10)
    same_runs(runs[::-1], 1e-9)


@pytest.mark.parametrize("where", ["first", "middle", "last", "shapes"])
def test_gradients_of_a_layer_of_the_users_own_are_right(where, backend):
    x, labels, _ = custom_data(where)
    model = custom_model(where, backend)
    assert fm.gradcheck(model, x[:6], labels[:6]).passed


@pytest.mark.parametrize("part", ["forward", "backward", "loss", "update", "callback"])
@pytest.mark.parametrize("at", [1, 4])
def test_what_a_part_raises_comes_out_and_the_model_goes_on(part, at, backend, eager_threads):
    eager_threads(2)
    calls = 0

    class Planned(Exception):
        pass

    def count(which):
        nonlocal calls
        if which == part:
            calls += 1
            if calls == at:
                raise Planned("as planned")

    class Faulty(Gain):
        def forward(self, *arguments):
            count("forward")
            return super().forward(*arguments)

        def backward(self, *arguments):
            count("backward")
            return super().backward(*arguments)

    class FaultyLoss(Huber):
        def __call__(self, *arguments):
            count("loss")
            return super().__call__(*arguments)

    class FaultyOptimizer(Lion):
        def update(self, *arguments):
            count("update")
            super().update(*arguments)

    class FaultyCallback(fm.Callback):
        def on_epoch_end(self, epoch, logs):
            count("callback")

    x, _, y = custom_data(part)
    layers = [fm.Dense(7, activation="tanh"), Faulty(), Gain(), fm.Dense(3)]
    model = fm.Sequential(layers, 5, "float64")
    model.backend = backend
    options = {"loss": FaultyLoss(), "batch_size": 8, "callbacks": [FaultyCallback()]}
    with pytest.raises(Planned, match="as planned"):
        model.fit(x, y, epochs=5, optimizer=FaultyOptimizer(0.02), **options)
    assert all(np.isfinite(value).all() for value in model.parameters.values())
    other = model.copy()
    for each in (model, other):
        each.fit(x, y, epochs=2, optimizer=FaultyOptimizer(0.02), **options)
    np.testing.assert_array_equal(model.predict(x), other.predict(x))


def test_no_thread_is_left_behind_when_one_layer_after_another_may_raise(eager_threads):
    # The others are at the end of one Python operation while the next one fails already.
    class Through(fm.Layer):
        def forward(self, ops, x, workspace):
            return x

    class Faulty(fm.Layer):
        def forward(self, ops, x, workspace):
            raise KeyError("as planned")

    eager_threads(4)
    layers = [fm.Dense(7), Through(), Through(), Faulty(), fm.Dense(3)]
    model, x = fm.Sequential(layers, 5), np.zeros((8, 5))
    for _ in range(500):
        with pytest.raises(KeyError, match="as planned"):
            model.predict(x)


def test_a_layer_may_return_what_it_got_and_overwrite_gradients(backend):
    class Through(fm.Layer):
        def forward(self, ops, x, workspace):
            return x

        def backward(self, ops, dy, workspace, sink, need_dx):
            dy *= 1.0
            return dy

    x, labels, _ = custom_data("")
    plain = fm.Sequential([fm.Dense(8, activation="relu"), fm.Dense(3)], 5, "float64")
    layers = [Through(), fm.Dense(8), Through(), fm.Activation("relu"), Through(), fm.Dense(3)]
    model = fm.Sequential([*layers, Through()], 5, "float64")
    for each in (plain, model):
        each.backend = backend
        each.fit(x, labels, epochs=2, batch_size=7)
    near(model.predict(x), plain.predict(x), 1e-12)


def test_a_wrong_shape_of_a_layer_is_told():
    class Wrong(fm.Layer):
        def forward(self, ops, x, workspace):
            return x[:, :2]

    model = fm.Sequential([Wrong()], 3)
    with pytest.raises(
        ValueError, match=r"wrong_0: forward must return an array of shape \(4, 3\), got \(4, 2"
    ):
        model.predict(np.zeros((4, 3)))


def test_python_in_a_plan_has_subnormal_numbers(toy):
    seen = []

    class Halves(fm.Layer):
        def forward(self, ops, x, workspace):
            seen.append(float(np.float64(1e-308) / 1024))
            return x.copy()

        def backward(self, ops, dy, workspace, sink, need_dx):
            return dy.copy()

    model = fm.Sequential([fm.Dense(4), Halves(), fm.Dense(3)], input_shape=(6,))
    model.fit(*toy, epochs=1)
    assert min(seen) > 0
    assert np.float64(1e-308) / 1024 > 0


class Fails(fm.Layer):
    """Raises in forward where told to."""

    fails = False

    def forward(self, ops, x, workspace):
        if self.fails:
            raise RuntimeError("as told")
        return x

    def backward(self, ops, dy, workspace, sink, need_dx):
        return dy


@pytest.mark.parametrize("call", ["predict", "evaluate", "fit", "gradients"])
def test_the_arrays_of_a_call_that_failed_are_released(call):
    model = fm.Sequential([fm.Dense(4), Fails(), fm.Dense(3)], 5)
    x, y = np.ones((40, 5), np.float32), np.arange(40) % 3
    model.fit(x, y, epochs=1, verbose=0)
    model.layers[1].fails = True
    arguments = {"predict": (x,), "fit": (x, y, 1, 40)}.get(call, (x, y))
    gc.disable()  # a plan with Python parts is a cycle; memory must not wait for the collector
    try:
        with pytest.raises(RuntimeError, match="as told"):
            getattr(model, call)(*arguments)
        released = weakref.ref(x)
        del x, arguments
        assert released() is None
    finally:
        gc.enable()
