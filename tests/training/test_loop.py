"""The training loop: its steps, the history it records, and divergence."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from comparing import values
from random_networks import OPTIMIZERS

import fastmlp as fm
from fastmlp import _random


def plain_sgd(model, x, y, *, epochs, batch_size, rate, loss):
    """Train a copy of an MLP's weights by the textbook, and return them with the mean losses."""
    weights = [value.astype("float64") for value in model.parameters.values()]
    count, losses = len(weights) // 2, []
    for epoch in range(epochs):
        order, total = _random.permutation(model.seed, epoch, len(x)), 0.0
        for start in range(0, len(x), batch_size):
            rows = order[start : start + batch_size]
            activations = [x[rows]]
            for i in range(count):
                z = activations[-1] @ weights[2 * i] + weights[2 * i + 1]
                activations.append(np.tanh(z) if i < count - 1 else z)
            output = activations[-1]
            if loss == "mse":
                difference = output - y[rows].reshape(output.shape)
                value, dz = np.mean(difference**2), 2 * difference / difference.size
            else:
                p = np.exp(output) / np.exp(output).sum(axis=1, keepdims=True)
                value = -np.log(p[np.arange(len(rows)), y[rows]]).mean()
                dz = (p - np.eye(p.shape[1])[y[rows]]) / len(rows)
            total += value * len(rows)
            gradients = []
            for i in reversed(range(count)):
                gradients[:0] = [activations[i].T @ dz, dz.sum(axis=0)]
                dz = (dz @ weights[2 * i].T) * (1 - activations[i] ** 2)
            for weight, gradient in zip(weights, gradients, strict=True):
                weight -= rate * gradient
        losses.append(total / len(x))
    return weights, losses


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("batch_size", [1, 32, 150, 1000])
def test_a_whole_run_is_textbook_sgd(loss, batch_size, backend, toy):
    x, y = toy[0].astype("float64"), toy[1]
    outputs = 3 if loss == "cross_entropy" else 1
    targets = y if loss == "cross_entropy" else np.sin(x[:, 0])
    model = fm.MLP(6, [8, 5], outputs, activation="tanh", seed=4, dtype="float64")
    model.backend = backend
    options = {"epochs": 3, "batch_size": batch_size, "loss": loss}
    expected, losses = plain_sgd(model, x, targets, rate=0.01, **options)
    history = model.fit(x, targets, optimizer=fm.SGD(0.01), **options)
    for value, wanted in zip(model.parameters.values(), expected, strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(history.history["loss"], losses, rtol=1e-10)
    assert ("accuracy" in history.history) == (loss == "cross_entropy")


@pytest.mark.parametrize("activation", ["relu", "gelu", "sigmoid", "elu"])
def test_both_backends_train_alike(activation, toy):
    pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)
    models = []
    for backend in ("numpy", "kernels"):
        model = fm.MLP(6, [16, 9], 3, activation=activation, dtype="float64", seed=2)
        model.backend = backend
        model.fit(*toy, epochs=5, batch_size=7, optimizer=fm.SGD(0.1))
        models.append(model)
    for one, other in zip(*(model.parameters.values() for model in models), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(
        *(model.history.history["loss"] for model in models), rtol=1e-9, atol=0
    )


def test_it_learns(model, toy):
    history = model.fit(*toy, epochs=60, optimizer=fm.SGD(0.2), validation_data=toy)
    assert history.history["val_accuracy"][-1] > 0.95
    assert history.history["loss"][-1] < 0.5 * history.history["loss"][0]


def test_zero_weights_stay_at_the_loss_of_guessing(backend):
    model = fm.MLP(4, [5], 10, init="zeros")
    model.backend = backend
    x = np.random.default_rng(0).random((40, 4))
    history = model.fit(x, np.arange(40) % 10, epochs=1, optimizer=fm.SGD(1e-6))
    assert history.history["loss"][0] == pytest.approx(np.log(10), abs=1e-6)


def test_same_seed_same_bits_and_another_seed_another_run(backend, toy):
    runs = []
    for seed in (0, 0, 1):
        model = fm.MLP(6, [4], 3, seed=seed)
        model.backend = backend
        model.fit(*toy, epochs=2)
        runs.append(model.predict(toy[0]))
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_two_fits_are_one_longer_fit(model, toy):
    once = model.copy()
    once.fit(*toy, epochs=4)
    model.fit(*toy, epochs=1)
    history = model.fit(*toy, epochs=3)
    np.testing.assert_array_equal(model.predict(toy[0]), once.predict(toy[0]))
    assert history.epochs == [1, 2, 3]
    assert model.epochs_begun == 4
    assert history.history["loss"] == once.history.history["loss"][1:]


def test_without_shuffle_the_rows_come_in_order(model, toy):
    x, y = toy
    by_hand = model.copy()
    model.fit(x, y, epochs=2, batch_size=40, optimizer=fm.SGD(0.1), shuffle=False)
    by_hand.compile(optimizer=fm.SGD(0.1))
    for _ in range(2):
        for start in range(0, 150, 40):
            by_hand.train_on_batch(x[start : start + 40], y[start : start + 40])
    np.testing.assert_array_equal(model.predict(x), by_hand.predict(x))


def test_every_row_is_seen_once_an_epoch_with_its_own_label(toy):
    seen = []

    class Spy(fm.Layer):
        def forward(self, ops, x, workspace):
            seen.append(x.copy())
            return x

        def backward(self, ops, dy, workspace, sink, need_dx):
            return dy

    x = np.arange(50, dtype="float32")[:, None] / 50
    model = fm.Sequential([Spy(), fm.Dense(1)], input_shape=1)
    model.fit(x, x, epochs=2, batch_size=8, loss="mse")
    epochs = np.concatenate(seen).reshape(2, 50)
    assert [len(batch) for batch in seen[:7]] == [8] * 6 + [2]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), x[:, 0])
    assert not np.array_equal(*epochs)


def test_train_on_batch_is_a_step_and_returns_the_loss_before_it(model, toy):
    loss, gradients = model.gradients(*toy)
    before = values(model)
    model.compile(optimizer=fm.SGD(0.5))
    assert model.train_on_batch(*toy) == pytest.approx(loss, rel=1e-6)
    for name, value in model.parameters.items():
        np.testing.assert_allclose(value, before[name] - 0.5 * gradients[name], atol=1e-6)
    assert model.train_on_batch(*toy) < loss


def test_train_on_batch_follows_compile_and_the_backend(model, toy):
    model.train_on_batch(*toy)
    still = model.predict(toy[0])
    model.compile(optimizer=fm.SGD(0.0))
    model.train_on_batch(*toy)
    np.testing.assert_array_equal(model.predict(toy[0]), still)
    model.optimizer.learning_rate = 0.1
    model.train_on_batch(*toy)
    assert not np.array_equal(model.predict(toy[0]), still)


def test_fit_keeps_its_optimizer_and_loss_for_later(model, toy):
    assert (repr(model.optimizer), model.loss.name) == ("SGD(learning_rate=0.01)", "cross_entropy")
    model.fit(*toy, epochs=1, optimizer=fm.SGD(0.3))
    assert model.optimizer.learning_rate == 0.3
    model.fit(*toy, epochs=1)
    assert model.history.history["learning_rate"] == [0.3]


def test_history_has_one_value_an_epoch(model, toy):
    history = model.fit(*toy, epochs=3, validation_data=(toy[0][:20], toy[1][:20]))
    assert model.history is history
    assert list(history.history) == [
        "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "time"
    ]  # fmt: skip
    assert all(len(values) == 3 for values in history.history.values())
    assert history.epochs == [1, 2, 3]
    assert not history.interrupted
    measured = model.evaluate(toy[0][:20], toy[1][:20])
    assert history.history["val_loss"][-1] == measured["loss"]
    assert history.history["val_accuracy"][-1] == measured["accuracy"]
    assert repr(history).startswith("<History of 3 epochs: loss=")


def test_loss_and_accuracy_are_means_weighted_by_batch_size(model, toy):
    # With learning rate 0 the running means equal the means over the whole set.
    history = model.fit(*toy, epochs=1, batch_size=64, optimizer=fm.SGD(0.0))
    measured = model.evaluate(*toy)
    assert history.history["loss"][0] == pytest.approx(measured["loss"], rel=1e-6)
    assert history.history["accuracy"][0] == measured["accuracy"]


def test_metrics_can_be_left_out(model, toy):
    model.compile(metrics=[])
    assert "accuracy" not in model.fit(*toy, epochs=1, validation_data=toy).history
    assert list(model.evaluate(*toy)) == ["loss"]
    model.compile(metrics=["accuracy"])
    assert "accuracy" in model.evaluate(*toy)


def test_mse_of_one_output_takes_flat_targets(backend):
    x = np.linspace(-1, 1, 64)[:, None]
    model = fm.MLP(1, [16], 1, activation="tanh")
    model.backend = backend
    history = model.fit(x, x[:, 0] ** 2, epochs=300, optimizer=fm.SGD(0.2), loss="mse")
    assert history.history["loss"][-1] < 2e-3
    assert list(model.evaluate(x, x**2)) == ["loss"]


# --- How it stops ---------------------------------------------------------------------------------


def test_divergence_restores_the_weights_of_the_epochs_start(backend):
    x, y = np.ones((8, 2)), np.ones(8)
    model = fm.Sequential([fm.Dense(4), fm.Dense(1)], input_shape=2, seed=1)
    model.backend = backend
    model.fit(x, y, epochs=2, loss="mse", optimizer=fm.SGD(0.01))
    before = values(model)
    with pytest.raises(fm.DivergenceError) as caught:
        model.fit(x, y, epochs=3, batch_size=1, optimizer=fm.SGD(1e6))
    error = caught.value
    assert (error.epoch, error.learning_rate) == (1, 1e6)
    assert 1 < error.step <= 8
    assert f"in epoch 1, step {error.step}, at learning rate 1e+06" in str(error)
    assert "Lower the learning rate" in str(error)
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, before[name])
    assert model.history.epochs == []
    model.fit(x, y, epochs=1, optimizer=fm.SGD(0.01))  # and it can go on


def test_divergence_keeps_the_history_and_the_weights_of_the_epochs_before(toy):
    class Raise(fm.Callback):
        def on_epoch_end(self, epoch, logs):
            saved.append(values(self.model))
            if epoch == 2:
                self.model.optimizer.learning_rate = 1e38

    saved: list = []
    model = fm.MLP(6, [], 1)
    with pytest.raises(fm.DivergenceError) as caught:
        model.fit(toy[0], toy[1], epochs=5, batch_size=50, loss="mse", callbacks=[Raise()])
    assert caught.value.epoch == 3
    assert caught.value.step in (7, 8, 9)
    assert model.history.epochs == [1, 2]
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, saved[1][name])


def test_a_weight_that_is_not_finite_at_the_end_of_an_epoch_is_divergence():
    # One step: the loss before it is finite, the weights after it are not.
    model = fm.MLP(1, [], 1, init="zeros")
    with pytest.raises(fm.DivergenceError, match="a weight is not finite in epoch 1, step 1"):
        model.fit([[1e18]], [1e18], epochs=1, loss="mse", optimizer=fm.SGD(1e10))
    assert not any(value.any() for value in model.parameters.values())


def test_train_on_batch_makes_no_step_when_the_loss_is_not_finite(backend):
    model = fm.MLP(1, [], 1)
    model.backend = backend
    model.set_parameters({"dense_0.weight": [[1e30]]})
    model.compile(loss="mse")
    before = values(model)
    with pytest.raises(fm.DivergenceError, match="no step was made"):
        model.train_on_batch([[1e30]], [0.0])
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_divergence_in_a_later_epoch_goes_back_to_its_start(optimizer, toy, backend):
    class Break(fm.Callback):
        def on_epoch_begin(self, epoch):
            starts.append(values(self.model))
            if epoch == 3:
                self.model.optimizer.learning_rate = 1e300

    starts: list = []
    model = fm.MLP(6, [9], 3, dtype="float64", seed=1)
    model.backend = backend
    y = np.sin(toy[0][:, :3])
    chosen = OPTIMIZERS[optimizer]()
    with (
        pytest.raises(fm.DivergenceError, match="from the start of epoch 3") as caught,
        np.errstate(all="ignore"),
    ):
        model.fit(toy[0], y, 5, 20, optimizer=chosen, loss="mse", callbacks=[Break()])
    assert caught.value.epoch == 3
    assert model.history.epochs == [1, 2]
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, starts[2][name])
    # The states of the optimizer, full of infinities maybe, are gone.
    chosen.learning_rate = 0.01
    other = model.copy()
    other.fit(toy[0], y, 2, 20, optimizer=OPTIMIZERS[optimizer](), loss="mse")
    other = model.copy()
    other.compile(copy.deepcopy(chosen), "mse")
    model.fit(toy[0], y, 2, 20)
    other.fit(toy[0], y, 2, 20)
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, other.parameters[name])
