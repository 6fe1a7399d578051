"""Batches from Python: the bits of train_on_batch, together with every other feature of fit."""

from __future__ import annotations

import copy
import os
import signal

import numpy as np
import pytest

import fastmlp as fm
from fastmlp._training import generator as batches

BATCH = 32  # of 150 samples: four, and a last one of 22


class Batches:
    """Batches of data that begin again with every iteration."""

    def __init__(self, x, y, weights=None, batch=BATCH):
        self.data, self.batch = (x, y) if weights is None else (x, y, weights), batch

    def __iter__(self):
        for start in range(0, len(self.data[0]), self.batch):
            yield tuple(part[start : start + self.batch] for part in self.data)


def make(backend, dtype="float32", seed=3, **settings):
    model = fm.MLP(6, [8, 5], 3, activation="tanh", dtype=dtype, seed=seed, **settings)
    model.backend = backend
    return model


def bits(model):
    return {name: value.tobytes() for name, value in model.arrays.items()}


OPTIMIZERS = {
    "sgd": lambda: fm.SGD(0.1),
    "adam": lambda: fm.Adam(0.01),
    "decay": lambda: fm.SGD(fm.CosineDecay(0.1, 12), momentum=0.9),
    "clipped": lambda: fm.AdamW(fm.ExponentialDecay(0.01, 0.9), clip_norm=0.1),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_same_bits_as_train_on_batch(backend, toy, optimizer, dtype):
    model, other = make(backend, dtype), make(backend, dtype)
    history = model.fit(Batches(*toy), epochs=3, optimizer=OPTIMIZERS[optimizer]())
    other.compile(OPTIMIZERS[optimizer]())
    steps = [[other.train_on_batch(*batch) for batch in Batches(*toy)] for _ in range(3)]
    assert bits(model) == bits(other)
    sizes = [len(batch[0]) for batch in Batches(*toy)]
    for loss, losses in zip(history.history["loss"], steps, strict=True):
        assert loss == pytest.approx(np.average(losses, weights=sizes), rel=1e-12)
    assert (model.steps_done, model.epochs_begun) == (15, 3)


def test_long_epochs_take_several_passes(backend, toy, monkeypatch):
    model, other = make(backend), make(backend)
    other.fit(Batches(*toy, batch=4), epochs=2, optimizer="adam")
    monkeypatch.setattr(batches, "_STEPS", 5)
    model.fit(Batches(*toy, batch=4), epochs=2, optimizer="adam")
    assert bits(model) == bits(other)
    np.testing.assert_allclose(
        model.history.history["loss"], other.history.history["loss"], rtol=1e-12
    )


def test_history_is_that_of_arrays(backend, toy):
    rng = np.random.default_rng(0)
    weights = rng.random(150) + 0.1
    settings = {"epochs": 4, "metrics": ["accuracy", "f1", "top_2"], "optimizer": "adam"}
    model, other = make(backend, "float64"), make(backend, "float64")
    source = Batches(*toy, weights)
    found = model.fit(source, validation_data=Batches(*toy), **settings).history
    expected = other.fit(
        *toy, sample_weight=weights, shuffle=False, validation_data=toy, **settings
    ).history
    assert list(found) == list(expected)
    for name, column in expected.items():
        if name != "time":
            np.testing.assert_allclose(found[name], column, rtol=1e-12)
    for name, value in other.parameters.items():
        np.testing.assert_allclose(model.parameters[name], value, rtol=1e-12, atol=1e-14)
    measured, whole = model.evaluate(Batches(*toy, weights)), model.evaluate(*toy, weights)
    assert measured == pytest.approx(whole, rel=1e-12)
    np.testing.assert_allclose(
        model.predict(iter(Batches(*toy))), model.predict(toy[0]), rtol=1e-9, atol=1e-12
    )


def test_backends_agree(toy):
    pytest.importorskip("fastmlp.kernels", exc_type=ImportError)
    models = [make(name, "float64") for name in ("numpy", "kernels")]
    for model in models:
        model.fit(Batches(*toy), epochs=5, optimizer="adam")
    for name, value in models[0].parameters.items():
        np.testing.assert_allclose(models[1].parameters[name], value, rtol=1e-9, atol=1e-12)


KINDS = {
    "iterable": lambda data: Batches(*data),
    "function": lambda data: lambda: iter(Batches(*data)),
    "generator function": lambda data: lambda: (batch for batch in Batches(*data)),
    "list": lambda data: list(Batches(*data)),
    "lists": lambda data: [list(batch) for batch in Batches(*data)],
    "bound method": lambda data: Batches(*data).__iter__,
}


@pytest.mark.parametrize("kind", KINDS)
def test_sources_begin_again(backend, toy, kind):
    model, other = make(backend), make(backend)
    other.fit(Batches(*toy), epochs=2)
    model.fit(KINDS[kind](toy), epochs=2)
    assert bits(model) == bits(other)


def test_steps_per_epoch_of_each_beginning(backend, toy):
    model, other = make(backend), make(backend)
    model.fit(Batches(*toy), epochs=3, steps_per_epoch=2)
    other.fit(list(Batches(*toy))[:2], epochs=3)
    assert bits(model) == bits(other)
    assert model.steps_done == 6


def test_iterators_go_on_from_epoch_to_epoch(backend, toy):
    def endless():
        while True:
            yield from Batches(*toy)

    model, other = make(backend), make(backend)
    source = endless()
    model.fit(source, epochs=4, steps_per_epoch=3)
    other.compile("sgd")
    reference = endless()
    for _ in range(12):
        other.train_on_batch(*next(reference))
    assert bits(model) == bits(other)
    # Nothing was taken that was not trained.
    np.testing.assert_array_equal(next(source)[0], next(reference)[0])


def test_a_batch_is_taken_after_the_step_before(backend, toy):
    model = make(backend)
    seen = []

    def source():
        for batch in Batches(*toy):
            seen.append((model.steps_done, model.predict(toy[0][:2]).tobytes()))
            yield batch

    model.fit(source)
    other = make(backend)
    expected = []
    for batch in list(Batches(*toy)) * 10:
        expected.append((other.steps_done, other.predict(toy[0][:2]).tobytes()))
        other.train_on_batch(*batch)
    assert seen == expected


def test_a_buffer_may_be_used_again(backend, toy):
    def source():
        x, y = np.empty((16, 6), np.float32), np.empty(16, np.int64)
        for start in range(0, 144, 16):
            x[...], y[...] = toy[0][start : start + 16], toy[1][start : start + 16]
            yield x, y

    model, other = make(backend), make(backend)
    model.fit(source, epochs=2, validation_data=source, metrics=["error", "f1"])
    same = Batches(toy[0][:144], toy[1][:144], batch=16)
    other.fit(same, epochs=2, validation_data=same, metrics=["error", "f1"])
    assert bits(model) == bits(other)
    assert model.history.history["val_f1"] == other.history.history["val_f1"]
    assert model.evaluate(source) == other.evaluate(toy[0][:144], toy[1][:144])


@pytest.mark.parametrize("error", [None, ValueError("enough"), KeyboardInterrupt()])
def test_generators_of_a_function_are_closed(backend, toy, error):
    closed = []

    def source():
        try:
            for number, batch in enumerate(Batches(*toy)):
                if error is not None and number == 2:
                    raise error
                yield batch
        finally:
            closed.append(True)

    model = make(backend)
    kept = fm.Callback()  # which keeps the run
    if error is None:
        model.fit(source, epochs=3, steps_per_epoch=2, callbacks=[kept])
        assert len(closed) == 3
        model.evaluate(source)
    else:
        with pytest.raises(type(error)):
            model.fit(source, callbacks=[kept])
    assert len(closed) == (4 if error is None else 1)


def test_an_iterator_of_the_users_own_is_not_closed(backend, toy):
    batches = iter(Batches(*toy))
    make(backend).fit(batches, epochs=1, steps_per_epoch=2)
    assert next(batches)[0].shape == (BATCH, 6)


def test_bytes_and_images(backend):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (70, 6, 6), dtype=np.uint8)
    y = rng.integers(0, 3, 70)
    models = []
    for _ in range(2):
        layers = [fm.Conv2D(3, 3, activation="relu"), fm.MaxPool2D(2), fm.BatchNorm()]
        layers += [fm.Flatten(), fm.Dropout(0.2), fm.Dense(3)]
        models.append(fm.Sequential(layers, (6, 6), seed=1, scale=1 / 255))
        models[-1].backend = backend
    models[0].fit(Batches(x, y, batch=16), epochs=2, optimizer="adam")
    models[1].compile("adam")
    for batch in list(Batches(x, y, batch=16)) * 2:
        models[1].train_on_batch(*batch)
    assert bits(models[0]) == bits(models[1])


def test_integers_for_a_table(backend):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 20, (50, 4)), rng.integers(0, 2, 50)
    models = []
    for _ in range(2):
        models.append(fm.Sequential([fm.Embedding(20, 3, combine="sum"), fm.Dense(2)], (4,)))
        models[-1].backend = backend
    models[0].fit(Batches(x, y), epochs=2)
    for batch in list(Batches(x, y)) * 2:
        models[1].train_on_batch(*batch)
    assert bits(models[0]) == bits(models[1])


class MyLoss(fm.Loss):
    name = "mine"

    def __call__(self, ops, output, targets, out):
        difference = output - targets
        np.multiply(difference, 2 / difference.size, out=out)
        return float((difference**2).mean()), out

    def targets(self, y, n, output_shape, dtype, name="y"):
        return fm.MeanSquaredError().targets(y, n, output_shape, dtype, name)


def test_losses_of_ones_own(backend):
    rng = np.random.default_rng(0)
    x, y = rng.random((50, 4)), rng.random((50, 2))
    found = []
    for loss in (MyLoss(), "mse"):
        model = fm.MLP(4, [5], 2, dtype="float64")
        model.backend = backend
        model.fit(Batches(x, y), epochs=2, loss=loss, optimizer="adam")
        found.append(model.parameters)
    for name in found[0]:
        np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-9)


# --- Callbacks, interrupts, divergence ------------------------------------------------------------


class Steps(fm.Callback):
    every_steps = 2

    def __init__(self):
        self.seen, self.epochs = [], []

    def on_batch_end(self, step, logs):
        self.seen.append((step, self.run.step, self.model.steps_done, sorted(logs)))

    def on_epoch_end(self, epoch, logs):
        self.epochs.append((epoch, self.run.step))


def test_callbacks_see_steps(backend, toy):
    steps = Steps()
    make(backend).fit(Batches(*toy), epochs=3, callbacks=[steps])
    names = ["learning_rate", "loss"]
    assert steps.seen == [(step, step, step, names) for step in range(2, 16, 2)]
    assert steps.epochs == [(1, 5), (2, 10), (3, 15)]


def test_early_stopping_and_plateaus(backend, toy):
    rate = fm.ReduceOnPlateau(0.1, patience=1, monitor="val_loss", min_delta=10)
    stop = fm.EarlyStopping("val_loss", patience=3, min_delta=10)
    model = make(backend)
    history = model.fit(
        Batches(*toy),
        epochs=20,
        optimizer=fm.SGD(rate),
        validation_data=Batches(*toy),
        callbacks=[stop],
    )
    assert len(history.epochs) == 4
    assert history.history["learning_rate"][-1] < 0.1


@pytest.mark.parametrize("steps", [None, 5])
def test_resumed_at_the_end_of_an_epoch(backend, toy, tmp_path, steps):
    settings = {"optimizer": "adam", "validation_data": Batches(*toy), "steps_per_epoch": steps}
    whole, part, resumed = (make(backend) for _ in range(3))
    whole.fit(Batches(*toy), epochs=4, **settings)
    part.fit(Batches(*toy), epochs=2, callbacks=[fm.ModelCheckpoint(tmp_path / "c")], **settings)
    steps_seen = Steps()
    history = resumed.fit(
        Batches(*toy), epochs=4, resume=tmp_path / "c", callbacks=[steps_seen], **settings
    )
    assert bits(resumed) == bits(whole)
    assert steps_seen.epochs == [(3, 15), (4, 20)]
    for name, column in whole.history.history.items():
        assert name == "time" or history.history[name] == column


def test_resumed_with_something_else(toy, tmp_path):
    model = make("numpy")
    model.fit(Batches(*toy), epochs=1, callbacks=[fm.ModelCheckpoint(tmp_path / "c")])
    with pytest.raises(ValueError, match=r"x was 'batches', is now float32 \(150, 6\)"):
        make("numpy").fit(*toy, epochs=2, resume=tmp_path / "c")
    with pytest.raises(ValueError, match="steps_per_epoch was None, is now 3"):
        make("numpy").fit(Batches(*toy), epochs=2, steps_per_epoch=3, resume=tmp_path / "c")


def test_not_resumed_within_an_epoch(toy, tmp_path):
    saver = fm.ModelCheckpoint(tmp_path / "c", every_epochs=None, every_steps=7)
    make("numpy").fit(Batches(*toy), epochs=2, callbacks=[saver])
    model = make("numpy")
    before = bits(model)
    with pytest.raises(ValueError, match="resume: the checkpoint was written within an epoch"):
        model.fit(Batches(*toy), epochs=2, resume=tmp_path / "c")
    assert bits(model) == before
    assert fm.load_model(tmp_path / "c").steps_done == 7


def test_ctrl_c_in_a_generator(backend, toy, capsys):
    model = make(backend)

    def source():
        for number, batch in enumerate(Batches(*toy)):
            if number == 3:
                os.kill(os.getpid(), signal.SIGINT)
            yield batch

    history = model.fit(source, epochs=5)
    assert history.interrupted
    assert history.epochs == []
    assert "stopped by Ctrl-C in epoch 1" in capsys.readouterr().err
    other = make(backend)
    for batch in list(Batches(*toy))[: model.steps_done]:
        other.train_on_batch(*batch)
    assert 3 <= model.steps_done <= 4
    assert bits(model) == bits(other)


def test_an_error_in_a_generator(backend, toy):
    model, other = make(backend), make(backend)

    def source():
        yield from list(Batches(*toy))[:3]
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        model.fit(source, epochs=2, optimizer="adam")
    other.compile("adam")
    for batch in list(Batches(*toy))[:3]:
        other.train_on_batch(*batch)
    assert bits(model) == bits(other)
    assert model.steps_done == 3
    # The optimizer goes on where it was.
    for each in (model, other):
        each.train_on_batch(*toy)
    assert bits(model) == bits(other)


def test_divergence(backend, toy):
    x = toy[0].copy()
    x[100:110] *= 1e30
    model = fm.MLP(6, [8], 3, seed=3)
    model.backend = backend
    one = copy.deepcopy(model)
    one.fit(Batches(*toy), epochs=1)
    sources = iter([Batches(*toy), Batches(x, toy[1])])
    with pytest.raises(fm.DivergenceError, match=r"in epoch 2, step (9|10),") as caught:
        model.fit(lambda: next(sources), epochs=3)
    assert caught.value.epoch == 2
    assert len(model.history.epochs) == 1
    assert bits(model) == bits(one)


def test_threads_give_the_same_bits(toy, eager_threads):
    found = []
    for threads in (1, 2, 3):
        eager_threads(threads)
        model = make("kernels")
        model.fit(Batches(*toy), epochs=3, optimizer="adam")
        found.append(bits(model))
    assert found[0] == found[1] == found[2]


# --- What is refused ------------------------------------------------------------------------------


def test_too_few_batches(backend, toy):
    model = make(backend)
    with pytest.raises(
        ValueError,
        match=r"^epoch 2: x must yield 3 batches per epoch \(steps_per_epoch\), got 2 \(5 in total\)\.",
    ):
        model.fit(iter(Batches(*toy)), epochs=4, steps_per_epoch=3)
    assert len(model.history.epochs) == 1
    assert model.steps_done == 5
    with pytest.raises(ValueError, match="got 5 "):
        make(backend).fit(Batches(*toy), epochs=1, steps_per_epoch=6)


def test_no_batch(backend, toy):
    with pytest.raises(ValueError, match="epoch 1: x must yield at least one batch, got none"):
        make(backend).fit([])
    once = iter(Batches(*toy))
    with pytest.raises(ValueError, match="epoch 2: x must yield at least one batch, got none"):
        make(backend).fit(lambda: once, epochs=3)
    with pytest.raises(ValueError, match="x must yield at least one batch, got none"):
        make(backend).evaluate([])
    with pytest.raises(ValueError, match="x must yield at least one batch, got none"):
        make(backend).predict(iter([]))
    with pytest.raises(ValueError, match="validation_data must yield at least one batch"):
        make(backend).fit(*toy, validation_data=lambda: [])


X, Y = np.ones((4, 6)), np.zeros(4, np.int64)
WRONG = {
    "no tuple": (X, r"batch 2 of x: it must be a tuple \(x, y\) or \(x, y, sample_weight\), got"),
    "one element": ((X,), "batch 2 of x: it must be a tuple .* got 1 elements"),
    "none": (None, "batch 2 of x: a batch must be a tuple"),
    "features": ((X[:, :5], Y), r"batch 2 of x: x must have shape \(N, 6\), got \(4, 5\)"),
    "nan": ((X * np.nan, Y), "batch 2 of x: x must hold finite float32 numbers, got nan"),
    "empty": ((X[:0], Y[:0]), "batch 2 of x: x must hold at least one sample"),
    "lengths": ((X, Y[:3]), "batch 2 of x: x and y must have the same length, got 4 and 3"),
    "label": ((X, Y + 3), "batch 2 of x: y must hold integer labels from 0 to 2 .* got 3"),
    "one-hot": (
        (X, np.eye(3)[Y]),
        r"y must be int64 \(N,\), as in the first batch, got float32 \(N, 3\)",
    ),
    "bytes": (
        (np.ones((4, 6), np.uint8), Y),
        "x must be float32, as in the first batch, got uint8",
    ),
    "weights": (
        (X, Y, np.ones(4)),
        "sample_weight must be None, as in the first batch, got an array",
    ),
    "bad weights": ((X, Y, -np.ones(4)), "sample_weight must contain finite, non-negative numbers"),
    "words": ((X, ["a"] * 4), "batch 2 of x: y must be an array of numbers, got 'a' at index 0"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_batches(backend, kind):
    wrong, message = WRONG[kind]
    model = make(backend)
    with pytest.raises((ValueError, TypeError), match="^epoch 1: .*" + message):
        model.fit([(X, Y), wrong, (X, Y)])
    assert model.steps_done == 1
    with pytest.raises((ValueError, TypeError), match=message):
        model.evaluate([(X, Y), wrong, (X, Y)])


def test_a_batch_too_small_for_a_layer(backend):
    model = fm.Sequential([fm.Dense(4), fm.BatchNorm(), fm.Dense(3)], (6,))
    model.backend = backend
    with pytest.raises(ValueError, match="batch 2 of x: batchnorm_0 requires at least 2 samples"):
        model.fit([(X, Y), (X[:1], Y[:1])])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"x": X}, "y is required when x is an array"),
        ({"x": "abc"}, "y is required when x is an array"),
        ({"x": 3}, "y is required when x is an array"),
        ({"batch_size": 16}, "batch_size must be omitted when x yields batches, got batch_size=16"),
        ({"sample_weight": np.ones(4)}, "sample_weight must be omitted when x yields batches"),
        ({"steps_per_epoch": 0}, "steps_per_epoch must be at least 1, got 0"),
        ({"steps_per_epoch": 1.5}, "steps_per_epoch must be an integer, got 1.5"),
        ({"x": iter([(X, Y)])}, "steps_per_epoch is required to train 2 epochs from an iterator"),
        (
            {"x": X, "y": Y, "steps_per_epoch": 3},
            "steps_per_epoch can be set only when x yields batches",
        ),
        ({"x": iter([(X, Y)]), "y": Y}, "y must be omitted when x yields"),
        ({"validation_data": iter([(X, Y)])}, "validation_data cannot be an iterator"),
        ({"loss": fm.BinaryCrossEntropy(), "x": lambda: 3}, "x must return an iterable of batches"),
    ],
)
def test_wrong_arguments(settings, message):
    model = make("numpy")
    before = bits(model)
    with pytest.raises((ValueError, TypeError), match=message):
        model.fit(**({"x": [(X, Y)], "epochs": 2} | settings))
    assert bits(model) == before


def test_the_bar_learns_how_long_it_is(toy, capsys):
    make("numpy").fit(Batches(*toy), epochs=2, verbose=1)
    captured = capsys.readouterr()
    assert "epoch 2/2" in captured.out
    assert "/300" in captured.err.replace(" ", "")
