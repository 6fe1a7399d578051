"""Checkpoints: a resumed run ends with the bits of an uninterrupted run."""

from __future__ import annotations

import csv
import errno
import json
import os
import random
import re
import resource
import signal

import numpy as np
import pytest
from killed import SETTINGS, Victim
from safetensors.numpy import load_file

import fastmlp as fm
from fastmlp import _backend
from fastmlp.io import atomic, model_file

EPOCHS, BATCH = 3, 32  # of 150 samples: 5 steps, the last one of 22


def weights(model):
    return {name: value.tobytes() for name, value in model.arrays.items()}


def columns(history):
    return {name: column for name, column in history.history.items() if name != "time"}


def make(backend="numpy", dtype="float32", seed=3):
    model = fm.MLP(6, [8, 5], 3, activation="tanh", dtype=dtype, seed=seed)
    model.backend = backend
    return model


def every_step(folder, **settings):
    return fm.ModelCheckpoint(folder / "{step}.ckpt", every_steps=1, keep=None, **settings)


@pytest.fixture
def saved(toy, tmp_path):
    """A checkpoint of step 7 of a run of 3 epochs of 5 steps."""
    model = make(_backend.DEFAULT)
    saver = fm.ModelCheckpoint(tmp_path / "run.ckpt", every_epochs=None, every_steps=7)
    options = {"epochs": EPOCHS, "batch_size": BATCH, "optimizer": "adam"}
    model.fit(*toy, callbacks=[saver], **{**options, "epochs": 2})
    return tmp_path / "run.ckpt", options


# --- Resuming at every step -----------------------------------------------------------------------


OPTIMIZERS = {
    "sgd": lambda: fm.SGD(0.1),
    "momentum": lambda: fm.SGD(0.1, momentum=0.9),
    "adam": lambda: fm.Adam(),
    "clipped": lambda: fm.AdamW(fm.ExponentialDecay(0.01, 0.9), clip_norm=0.1),
    "cosine": lambda: fm.RMSprop(fm.Warmup(4, fm.CosineDecay(0.01, 9))),
    "epochs": lambda: fm.Adagrad(fm.StepDecay(0.1, 1, 0.5, unit="epoch")),
    "plateau": lambda: fm.SGD(fm.ReduceOnPlateau(0.1, "loss", patience=1, min_delta=9)),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_resume_at_every_step(name, backend, toy, tmp_path):
    plain, watched = make(backend), make(backend)
    options = {"epochs": EPOCHS, "batch_size": BATCH}
    expected = plain.fit(*toy, optimizer=OPTIMIZERS[name](), **options)
    optimizer = OPTIMIZERS[name]()
    watched.fit(*toy, optimizer=optimizer, callbacks=[every_step(tmp_path)], **options)
    assert weights(watched) == weights(plain)
    assert len(os.listdir(tmp_path)) == 15
    for step in range(1, 16):
        model, optimizer = make(backend, seed=3), OPTIMIZERS[name]()
        model.set_parameters({n: v + 1 for n, v in model.parameters.items()})
        history = model.fit(*toy, optimizer=optimizer, resume=tmp_path / f"{step}.ckpt", **options)
        assert weights(model) == weights(plain)
        assert columns(history) == columns(expected)
        assert history.epochs == [1, 2, 3]
        assert model.epochs_begun == plain.epochs_begun
        kept, state = plain.state(plain.optimizer), model.state(model.optimizer)
        assert (state.step, state.epoch, state.memory) == (kept.step, kept.epoch, kept.memory)
        assert state.learning_rate == kept.learning_rate
        assert {n: v.tobytes() for n, v in state.arrays.items()} == {
            n: v.tobytes() for n, v in kept.arrays.items()
        }


SETTINGS_OF_FIT = {
    "order": {"shuffle": False},
    "sums": {"sample_weight": np.linspace(0, 2, 150)},
    "metrics": {"metrics": ["f1", "accuracy", "top_2"], "loss": fm.CrossEntropy(0.1)},
    "numbers": {"loss": "mse", "metrics": ["r2"]},
    "all": {"batch_size": 150},
    "double": {"dtype": "float64"},
    "validation": {"validation": True},
}


@pytest.mark.parametrize("name", SETTINGS_OF_FIT)
def test_resume_with_all_settings(name, backend, toy, tmp_path):
    x, y = toy
    options = {"epochs": EPOCHS, "batch_size": BATCH, "optimizer": "adam"} | SETTINGS_OF_FIT[name]
    dtype = options.pop("dtype", "float32")
    if options.get("loss") == "mse":
        y = np.eye(3)[y]
    if options.pop("validation", False):
        options["validation_data"] = (x[:50], y[:50], np.arange(50))
    plain = make(backend, dtype)
    expected = plain.fit(x, y, **options)
    make(backend, dtype).fit(x, y, callbacks=[every_step(tmp_path)], **options)
    steps = sorted(int(path.stem) for path in tmp_path.iterdir())
    assert steps == list(range(1, 1 + (3 if name == "all" else 15)))
    for step in steps:
        model = make(backend, dtype)
        history = model.fit(x, y, resume=tmp_path / f"{step}.ckpt", **options)
        assert weights(model) == weights(plain)
        assert columns(history) == columns(expected)


@pytest.mark.parametrize("layers", ["images", "frozen", "random"])
def test_resume_of_other_networks(layers, backend, tmp_path):
    def network():
        if layers == "images":
            model = fm.CNN((6, 6, 1), filters=[3], kernel_size=3, pool=2, hidden=[7], classes=3)
        elif layers == "frozen":
            model = fm.Sequential([fm.Dense(9, trainable=False), fm.Dense(3, l2=0.1)], 36)
        else:  # what draws numbers in every step, and what has running statistics
            parts = [fm.Dense(9), fm.BatchNorm(), fm.Dropout(0.4), fm.GaussianNoise(0.1)]
            model = fm.Sequential([*parts, fm.Dense(3)], 36)
        model.backend = backend
        return model

    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 255, (40, 6, 6), np.uint8), np.arange(40) % 3
    options = {"epochs": 2, "batch_size": 15, "optimizer": "adam"}
    plain, other = network(), network()
    expected = other.fit(x, y, **options)
    assert columns(plain.fit(x, y, callbacks=[every_step(tmp_path)], **options)) == columns(
        expected
    )
    assert weights(plain) == weights(other)
    assert len(os.listdir(tmp_path)) == 6
    for path in tmp_path.iterdir():
        model = network()
        assert columns(model.fit(x, y, resume=path, **options)) == columns(expected)
        assert weights(model) == weights(plain)
        assert model.counters == plain.counters


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_resume_on_another_number_of_threads(threads, toy, tmp_path, eager_threads):
    pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)
    options = {"epochs": EPOCHS, "batch_size": BATCH, "optimizer": "adam"}
    eager_threads(2)
    plain = make("kernels")
    plain.fit(*toy, callbacks=[every_step(tmp_path)], **options)
    eager_threads(threads)
    for step in (1, 5, 8, 14):
        model = make("kernels")
        model.fit(*toy, resume=tmp_path / f"{step}.ckpt", **options)
        assert weights(model) == weights(plain)


def test_resume_again_and_again(backend, toy, tmp_path):
    """Every resumed run goes one step further, as one that is killed after each would."""
    options = {"epochs": EPOCHS, "batch_size": BATCH, "optimizer": "adam"}
    plain, path = make(backend), tmp_path / "run.ckpt"
    expected = plain.fit(*toy, **options)

    class Killed(Exception):
        pass

    class Kill(fm.ModelCheckpoint):
        def on_batch_end(self, step, logs):
            super().on_batch_end(step, logs)
            raise Killed

    for step in range(1, 16):
        with pytest.raises(Killed):
            make(backend).fit(
                *toy,
                callbacks=[Kill(path, every_steps=1)],
                resume=path if step > 1 else None,
                **options,
            )
    model = make(backend)
    history = model.fit(*toy, resume=path, **options)
    assert weights(model) == weights(plain)
    assert columns(history) == columns(expected)


def test_a_finished_run_goes_on_with_more_epochs(backend, toy, tmp_path):
    path = tmp_path / "run.ckpt"
    options = {"batch_size": BATCH, "optimizer": "adam"}
    plain = make(backend)
    expected = plain.fit(*toy, epochs=5, **options)
    make(backend).fit(
        *toy, epochs=3, callbacks=[fm.ModelCheckpoint(path, every_epochs=2)], **options
    )
    model = make(backend)
    assert model.fit(*toy, epochs=3, resume=path, **options).epochs == [1, 2, 3]
    history = make(backend).fit(*toy, epochs=5, resume=path, **options)
    assert columns(history) == columns(expected)
    model = make(backend)
    model.fit(*toy, epochs=5, resume=path, **options)
    assert weights(model) == weights(plain)


def test_a_second_fit_of_the_same_model_is_resumed_too(backend, toy, tmp_path):
    options = {"epochs": 2, "batch_size": BATCH}
    plain, optimizer = make(backend), fm.Adam(fm.ExponentialDecay(0.01, 0.99))
    plain.fit(*toy, optimizer=optimizer, **options)
    expected = plain.fit(*toy, optimizer=optimizer, callbacks=[every_step(tmp_path)], **options)
    for path in tmp_path.iterdir():
        model, optimizer = make(backend), fm.Adam(fm.ExponentialDecay(0.01, 0.99))
        history = model.fit(*toy, optimizer=optimizer, resume=path, **options)
        assert weights(model) == weights(plain)
        assert columns(history) == columns(expected)


# --- Callbacks in resumed runs --------------------------------------------------------------------


@pytest.mark.parametrize("restore_best", [True, False])
def test_early_stopping_is_resumed(restore_best, backend, toy, tmp_path):
    def callbacks():
        stopping = fm.EarlyStopping("loss", 2, 0.2, restore_best=restore_best)
        return [fm.Callback(), stopping]

    options = {"epochs": 30, "batch_size": 60, "optimizer": fm.SGD(0.3)}
    plain, kept = make(backend), callbacks()
    expected = plain.fit(*toy, callbacks=[every_step(tmp_path), *kept], **options)
    assert 3 < len(expected.epochs) < 30
    for path in tmp_path.iterdir():
        model, mine = make(backend), callbacks()
        history = model.fit(*toy, callbacks=mine, resume=path, **options)
        assert weights(model) == weights(plain)
        assert columns(history) == columns(expected)
        for name in ("best", "best_epoch", "stopped_epoch"):
            assert getattr(mine[1], name) == getattr(kept[1], name)
    # With more patience the same run goes on.
    last = tmp_path / f"{3 * len(expected.epochs)}.ckpt"
    more = [fm.EarlyStopping("loss", patience=20)]
    model = make(backend)
    assert len(model.fit(*toy, callbacks=more, resume=last, **options).epochs) == 30


def test_settings_that_a_callback_changed_are_resumed(backend, toy, tmp_path):
    class Halve(fm.Callback):
        def on_epoch_begin(self, epoch):
            self.model.optimizer.learning_rate *= 0.5
            self.model.layers[0].trainable = epoch != 2

    options = {"epochs": 3, "batch_size": BATCH}
    plain = make(backend)
    optimizer = fm.SGD(1.0, momentum=0.5)
    callbacks = [Halve(), every_step(tmp_path)]
    expected = plain.fit(*toy, optimizer=optimizer, callbacks=callbacks, **options)
    assert expected.history["learning_rate"] == [0.5, 0.25, 0.125]
    for path in tmp_path.iterdir():
        model, optimizer = make(backend), fm.SGD(1.0, momentum=0.5)
        history = model.fit(*toy, optimizer=optimizer, callbacks=[Halve()], resume=path, **options)
        assert weights(model) == weights(plain)
        assert columns(history) == columns(expected)


def test_callbacks_of_ones_own_have_states(toy, tmp_path):
    class Counter(fm.Callback):
        def __init__(self):
            self.steps, self.values = 0, np.zeros(3)
            self.begun = []

        def on_epoch_begin(self, epoch):
            self.begun.append(epoch)

        def on_batch_end(self, step, logs):
            self.steps += 1
            self.values += 0.1

        def state(self):
            return {"steps": self.steps, "limit": float("inf"), "values": self.values, "no": None}

        def restore(self, state):
            assert state["limit"] == float("inf")
            assert state["no"] is None
            self.steps, self.values = state["steps"], state["values"]

    both = [Counter(), Counter()]
    both[1].steps = 100
    options = {"epochs": 3, "batch_size": 50}
    make().fit(*toy, callbacks=[every_step(tmp_path), *both], **options)
    again = [Counter(), fm.EarlyStopping("loss"), Counter()]
    model = make()
    model.fit(*toy, callbacks=again, resume=tmp_path / "4.ckpt", **options)
    assert [again[0].steps, again[2].steps] == [9, 109]
    assert again[0].values.tobytes() == both[0].values.tobytes()
    assert again[0].begun == [3]  # epoch 2 had begun before


def test_the_table_of_a_resumed_run_is_whole(toy, tmp_path):
    (tmp_path / "c").mkdir()
    path = tmp_path / "log.csv"
    options = {"epochs": 3, "batch_size": 50}
    callbacks = [fm.CSVLogger(path), every_step(tmp_path / "c")]
    make().fit(*toy, callbacks=callbacks, **options)
    path.unlink()
    history = make().fit(
        *toy, callbacks=[fm.CSVLogger(path)], resume=tmp_path / "c" / "7.ckpt", **options
    )
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    for name, column in history.history.items():
        assert [float(row[name]) for row in rows] == column


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 16}, "batch_size was 32, is now 16"),
        ({"shuffle": False}, "shuffle was True, is now False"),
        (
            {"loss": fm.CrossEntropy(0.2)},
            "loss was 'cross_entropy', is now {name: 'cross_entropy'",
        ),
        ({"optimizer": fm.Adam(0.1)}, "optimizer.learning_rate was 0.001, is now 0.1."),
        ({"optimizer": "sgd"}, "optimizer was 'adam', is now 'sgd'."),
        ({"metrics": ["top_2"]}, "metrics[0] was 'accuracy', is now 'top_2'"),
        ({"x": 1}, "x has other values"),
        ({"y": 1}, "y has other values"),
        ({"n": 140}, "x was float32 (150, 6), is now float32 (140, 6); y was int64 (150,)"),
        ({"sample_weight": np.ones(150)}, "sample_weight was None, is now float64 (150,)"),
        ({"validation": True}, "validation_data was None, is now [float32 (9, 6), int64 (9,)"),
        ({"model": fm.MLP(6, [8, 4], 3, "tanh")}, "layers[1].units was 5, is now 4; "),
        ({"model": fm.MLP(6, [8], 3, "tanh", seed=3)}, "layers was [{layer: 'Dense'"),
        ({"model": fm.MLP(6, [8, 5], 3, "tanh", seed=4)}, "seed was 3, is now 4"),
        (
            {"model": fm.MLP(6, [8, 5], 3, "tanh", dtype="float64", seed=3)},
            "dtype was 'float32', is",
        ),
        ({"model": fm.MLP(6, [8, 5], 3, "tanh", seed=3, scale=2.0)}, "scale was 1.0, is now 2.0"),
    ],
)
def test_another_training_is_refused(change, message, saved, toy):
    path, options = saved
    x, y = toy[0].copy(), toy[1].copy()
    model = change.pop("model", None) or make(_backend.DEFAULT)
    x[149, 5] += change.pop("x", 0)
    y[0] += change.pop("y", 0)
    n = change.pop("n", 150)
    if change.pop("validation", False):
        change["validation_data"] = (x[:9], y[:9])
    before = weights(model)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        model.fit(x[:n], y[:n], resume=path, **options | change)
    assert str(caught.value).startswith(f"resume: {path} belongs to a different run: ")
    assert weights(model) == before
    assert model.epochs_begun == 0
    assert model.history is None


LONGER = (
    "belongs to a different run: {} was 10, is now 20. Keep the length of the schedule: pass the "
    "same steps= (for the command, the same --epochs and --warmup)."
)


@pytest.mark.parametrize(
    ("before", "after", "more", "message"),
    [
        (
            lambda: fm.CosineDecay(0.1, 10),
            lambda: fm.CosineDecay(0.1, 20),
            {},
            LONGER.format("optimizer.learning_rate.steps"),
        ),
        (
            lambda: fm.Warmup(5, fm.CosineDecay(0.1, 10)),
            lambda: fm.Warmup(5, fm.CosineDecay(0.1, 20)),
            {},
            LONGER.format("optimizer.learning_rate.then.steps"),
        ),
        (
            lambda: fm.CosineDecay(0.1, 10),
            lambda: fm.CosineDecay(0.1, 20),
            {"batch_size": 16},
            "run: optimizer.learning_rate.steps was 10, is now 20; batch_size was 32, is now 16.",
        ),
        (
            lambda: fm.CosineDecay(0.1, 10),
            lambda: fm.StepDecay(0.1, 10),
            {},
            "run: optimizer.learning_rate was 'cosine_decay', is now 'step_decay'.",
        ),
    ],
)
def test_another_schedule_is_refused_in_few_words(before, after, more, message, toy, tmp_path):
    path, options = tmp_path / "c", {"epochs": 1, "batch_size": BATCH}
    make().fit(*toy, optimizer=fm.Adam(before()), callbacks=[fm.ModelCheckpoint(path)], **options)
    with pytest.raises(ValueError, match=re.escape(message) + "$"):
        make().fit(*toy, optimizer=fm.Adam(after()), resume=path, **options | more)


def test_files_that_are_no_checkpoints_are_refused(toy, tmp_path):
    path = tmp_path / "m.safetensors"
    model = make()
    model.save(path)
    with pytest.raises(
        fm.FastmlpFormatError, match=r"^resume: \S+ is a model file, not a checkpoint\."
    ):
        model.fit(*toy, resume=path)
    with pytest.raises(FileNotFoundError):
        model.fit(*toy, resume=tmp_path / "none")
    path.write_bytes(b"x" * 100)
    with pytest.raises(fm.FastmlpFormatError, match="not a readable fastmlp model"):
        model.fit(*toy, resume=path)


def test_every_changed_byte_is_noticed(saved, toy):
    path, options = saved
    content = path.read_bytes()
    for place in random.Random(0).sample(range(len(content)), 300):
        changed = bytearray(content)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        model = make(_backend.DEFAULT)
        with pytest.raises(fm.FastmlpFormatError):
            model.fit(*toy, resume=path, **options)
    for length in (0, 7, 100, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(fm.FastmlpFormatError):
            model.fit(*toy, resume=path, **options)


def forge(path, change):
    """Change what a checkpoint says of the training, with a right checksum."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    training = json.loads(header["__metadata__"]["training"])
    change(training)
    header["__metadata__"]["training"] = json.dumps(training)
    header["__metadata__"]["sha256"] = "0" * 64
    text = json.dumps(header, separators=(",", ":"))
    text = text.replace("0" * 64, model_file._digest(text.encode(), data))
    path.write_bytes(len(text).to_bytes(8, "little") + text.encode() + data)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.pop("settings"),
        lambda t: t.update(part=[1, 2]),
        lambda t: t["part"].__setitem__(0, 33),
        lambda t: t["part"].__setitem__(0, -32),
        lambda t: t["part"].__setitem__(0, 1600),
        lambda t: t["part"].__setitem__(3, 0.5),
        lambda t: t["state"].update(step=-1),
        lambda t: t["state"].update(learning_rate="x"),
        lambda t: t["counters"].update(epochs_begun=1.5),
        lambda t: t.update(columns=["loss", "other"]),
        lambda t: t.update(callbacks=3),
        lambda t: t.update(layers=[]),
        lambda t: t.update(layers=[{"weight": 1}] * 3),
        lambda t: t["optimizer"].update(beta1=2),
    ],
)
def test_forged_checkpoints(change, saved, toy):
    path, options = saved
    forge(path, lambda training: None)
    make(_backend.DEFAULT).fit(*toy, resume=path, **options)
    forge(path, change)
    model = make(_backend.DEFAULT)
    before = weights(model)
    with pytest.raises(ValueError, match=re.escape(str(path))):
        model.fit(*toy, resume=path, **options)
    assert weights(model) == before


def test_a_forged_checkpoint_deletes_no_file(saved, toy, tmp_path):
    path, options = saved
    precious = tmp_path / "precious"
    precious.write_text("x")

    def change(training):
        training["callbacks"][0]["state"]["saved"] = [str(precious)]

    forge(path, change)
    saver = fm.ModelCheckpoint(tmp_path / "{step}.ckpt", every_steps=1)
    make(_backend.DEFAULT).fit(*toy, resume=path, callbacks=[saver], **options)
    assert sorted(os.listdir(tmp_path)) == ["15.ckpt", "precious", "run.ckpt"]


def test_another_backend_is_warned_of(saved, toy):
    path, options = saved
    if _backend.DEFAULT == "numpy":
        pytest.skip("only one backend is there")
    model = make("numpy")
    with pytest.warns(UserWarning, match="differ by rounding") as caught:
        model.fit(*toy, resume=path, **options)
    assert caught[0].filename == __file__


def test_what_no_file_can_hold_is_refused_before_training(model, toy, tmp_path):
    saver = fm.ModelCheckpoint(tmp_path / "a")
    own = [fm.SGD(lambda step: 0.1), type("Own", (fm.SGD,), {})()]
    before = weights(model)
    for optimizer in own:
        with pytest.raises(ValueError, match="user-defined"):
            model.fit(*toy, optimizer=optimizer, callbacks=[saver])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        model.fit(*toy, optimizer="sgd", callbacks=[fm.ModelCheckpoint(tmp_path / "nowhere" / "a")])
    assert weights(model) == before
    # Other callbacks need no file.
    model.fit(*toy, optimizer=own[0], epochs=1, callbacks=[fm.EarlyStopping("loss")])


def test_a_checkpoint_is_a_model(saved, toy):
    path, options = saved
    model, seen = make(_backend.DEFAULT), []

    class Look(fm.Callback):
        def on_batch_end(self, step, logs):
            seen.append((weights(self.model), self.model.predict(toy[0])))

    model.fit(*toy, callbacks=[Look()], **options)
    again = fm.load_model(path)
    assert weights(again) == seen[6][0]
    assert again.predict(toy[0]).tobytes() == seen[6][1].tobytes()
    assert repr(again.optimizer) == repr(model.optimizer)
    again.fit(*toy, epochs=1)  # from the weights, as any model


@pytest.mark.parametrize(("optimizer", "times"), [("sgd", 1), ("rmsprop", 2), ("adam", 3)])
def test_size_of_a_checkpoint(optimizer, times, toy, tmp_path, record_property):
    model = fm.MLP(6, [300, 300], 3)
    model.fit(*toy, epochs=1, optimizer=optimizer, callbacks=[fm.ModelCheckpoint(tmp_path / "a")])
    size, data = (tmp_path / "a").stat().st_size, 4 * model.num_parameters
    record_property("overhead_bytes", size - times * data)
    assert times * data < size < times * data + 6000
    assert len(load_file(tmp_path / "a")) == 6 * times + 4


# --- Writing that fails ---------------------------------------------------------------------------


@pytest.mark.parametrize("function", ["open", "write", "fsync", "close", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_every_call_of_a_checkpoint_may_fail(function, code, backend, toy, tmp_path, monkeypatch):
    path = tmp_path / "run.ckpt"
    right = getattr(os, function)
    options = {"epochs": 2, "batch_size": 50}
    plain = make(backend)
    plain.fit(*toy, **options)
    for failing in range(1, 30):
        path.unlink(missing_ok=True)
        good: list = [None]
        calls = 0

        def maybe(*arguments, **settings):
            nonlocal calls
            calls += 1
            if calls == failing:  # noqa: B023
                if function == "close":
                    right(*arguments)
                raise OSError(code, os.strerror(code))
            return right(*arguments, **settings)

        class Saver(fm.ModelCheckpoint):
            def on_batch_end(self, step, logs):
                with monkeypatch.context() as patch:
                    patch.setattr(atomic.os, function, maybe)
                    super().on_batch_end(step, logs)
                good[0] = path.read_bytes()  # noqa: B023

        model = make(backend)
        saver = Saver(path, every_epochs=None, every_steps=1)
        try:
            model.fit(*toy, callbacks=[saver], **options)
        except OSError as error:
            assert error.errno == code
        else:
            break
        assert os.listdir(tmp_path) == [path.name] * path.exists()
        steps = model.state(model.optimizer).step
        if path.exists() and path.read_bytes() != good[0]:
            # Only the folder could not be flushed: the new one stands, and is whole.
            assert function in ("open", "fsync", "close")
        else:
            assert (good[0] is None) == (steps == 1)
        # The model has the weights of the last step, and the training goes on from the file.
        assert all(np.isfinite(value).all() for value in model.parameters.values())
        if path.exists():
            again = make(backend)
            again.fit(*toy, resume=path, **options)
            assert weights(again) == weights(plain)
    assert failing > 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX limits")
def test_a_full_disk(toy, tmp_path):
    path = tmp_path / "run.ckpt"
    make(_backend.DEFAULT).fit(*toy, epochs=1, callbacks=[fm.ModelCheckpoint(path)])
    old = path.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    model = make(_backend.DEFAULT)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(old) // 2, before[1]))
        with pytest.raises(OSError, match="File too large"):
            model.fit(*toy, callbacks=[fm.ModelCheckpoint(path)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert os.listdir(tmp_path) == ["run.ckpt"]
    assert path.read_bytes() == old
    assert model.history.epochs == [1]
    model.fit(*toy, epochs=1, callbacks=[fm.ModelCheckpoint(path)])
    assert path.read_bytes() != old


def test_no_checkpoint_has_weights_that_are_not_finite(backend, toy, tmp_path):
    saver = fm.ModelCheckpoint(tmp_path / "{step}", every_steps=1, keep=None)
    model = make(backend, "float64")
    with np.errstate(all="ignore"), pytest.raises(fm.DivergenceError):
        model.fit(toy[0], np.eye(3)[toy[1]], loss="mse", optimizer=fm.SGD(1e200), callbacks=[saver])
    assert len(os.listdir(tmp_path)) >= 1
    for name in os.listdir(tmp_path):
        loaded = fm.load_model(tmp_path / name)
        assert all(np.isfinite(value).all() for value in loaded.parameters.values())


def test_divergence_after_a_resume_goes_back_to_the_checkpoint(toy, tmp_path):
    class Raise(fm.Callback):
        every_steps = 5

        def on_batch_end(self, step, logs):
            self.model.set_parameters({"dense_0.weight": np.full((6, 8), 1e308)})

    options = {"epochs": 2, "batch_size": 50, "loss": "mse"}
    x, y = toy[0], np.eye(3)[toy[1]]

    def network():
        model = fm.MLP(6, [8], 3, "linear", dtype="float64", seed=3)
        model.backend = "numpy"
        return model

    network().fit(x, y, callbacks=[every_step(tmp_path)], **options)
    model = network()
    with np.errstate(all="ignore"), pytest.raises(fm.DivergenceError, match="from the checkpoint"):
        model.fit(x, y, callbacks=[Raise()], resume=tmp_path / "4.ckpt", **options)
    assert weights(model) == weights(fm.load_model(tmp_path / "4.ckpt"))


# --- Killing --------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("name", SETTINGS)
def test_killed_and_resumed(name, tmp_path):
    victim, numbers = Victim(name, tmp_path), random.Random(name)
    expected = victim.train([])
    while victim.kills < 8:
        assert victim.run(numbers, 0.06) == expected
        assert sorted(os.listdir(tmp_path)) == ["result.safetensors", "run.ckpt"]
    assert victim.lost == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_what_the_dead_left_is_removed(toy, tmp_path):
    process = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(process, 0)
    random_part = "0123456789abcdef"
    names = {
        "dead": f".run.ckpt.{process}-{random_part}.tmp",
        "alive": f".run.ckpt.{os.getpid()}-{random_part}.tmp",
        "other": f".other.ckpt.{process}-{random_part}.tmp",
        "no": f".run.ckpt.{process}.tmp",
    }
    for name in names.values():
        (tmp_path / name).write_text("half a file")
    make().fit(*toy, epochs=1, callbacks=[fm.ModelCheckpoint(tmp_path / "run.ckpt")])
    expected = {"run.ckpt", names["alive"], names["other"], names["no"]}
    assert set(os.listdir(tmp_path)) == expected


# --- Samples that stay in their file --------------------------------------------------------------


def test_samples_in_a_file(backend, toy, tmp_path, monkeypatch):
    from fastmlp import _memmap

    monkeypatch.setattr(_memmap, "BUFFER_BYTES", 1600)
    monkeypatch.setattr(_memmap, "PIECE_BYTES", 400)
    x = np.memmap(tmp_path / "x", toy[0].dtype, "w+", shape=toy[0].shape)
    x[:] = toy[0]
    x.flush()
    with pytest.raises(ValueError, match="ModelCheckpoint runs between steps, which requires"):
        make(backend).fit(x, toy[1], callbacks=[every_step(tmp_path)])
    options = {"epochs": 3, "batch_size": BATCH, "optimizer": "adam"}
    plain, saver = make(backend), fm.ModelCheckpoint(tmp_path / "{epoch}", keep=None)
    expected = plain.fit(x, toy[1], callbacks=[saver], **options)
    for epoch in (1, 2, 3):
        model = make(backend)
        history = model.fit(x, toy[1], resume=tmp_path / str(epoch), **options)
        assert columns(history) == columns(expected)
        assert weights(model) == weights(plain)
