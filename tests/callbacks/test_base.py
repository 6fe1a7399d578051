"""Callbacks: when each hook is called, with which arguments, and what happens when one raises."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

import fastmlp as fm


class Planned(Exception):
    """What a test raises."""


class Recorder(fm.Callback):
    """Writes down what it is called with."""

    def __init__(self, calls, name="", every_steps=1):
        self.calls, self.name, self.every_steps = calls, name, every_steps

    def on_train_begin(self):
        self.calls.append(f"{self.name}begin")

    def on_epoch_begin(self, epoch):
        self.calls.append(f"{self.name}epoch {epoch}")

    def on_batch_end(self, step, logs):
        assert list(logs) == ["loss", "learning_rate"]
        assert self.run.step == step
        self.calls.append(f"{self.name}step {step}")

    def on_epoch_end(self, epoch, logs):
        assert self.run.epoch == epoch
        assert logs["loss"] == self.run.history.history["loss"][-1]
        self.calls.append(f"{self.name}end of {epoch}")

    def on_train_end(self):
        self.calls.append(f"{self.name}end")


def weights(model):
    return np.concatenate([value.ravel() for value in model.parameters.values()])


def same_bits(one, other):
    assert one.dtype == other.dtype
    assert one.tobytes() == other.tobytes()


# --- When hooks are called ------------------------------------------------------------------------


def test_all_hooks_in_their_order(model, toy):
    calls: list = []
    model.fit(*toy, epochs=2, batch_size=60, callbacks=[Recorder(calls)])
    assert calls == [
        *("begin", "epoch 1", "step 1", "step 2", "step 3", "end of 1"),
        *("epoch 2", "step 4", "step 5", "step 6", "end of 2", "end"),
    ]


def test_several_callbacks_take_turns(model, toy):
    calls: list = []
    both = [Recorder(calls, "a ", every_steps=4), Recorder(calls, "b ", every_steps=6)]
    model.fit(*toy, epochs=4, batch_size=50, callbacks=both)
    steps = [call for call in calls if "step" in call]
    assert steps == ["a step 4", "b step 6", "a step 8", "a step 12", "b step 12"]
    assert calls[:4] == ["a begin", "b begin", "a epoch 1", "b epoch 1"]
    assert calls[-4:] == ["a end of 4", "b end of 4", "a end", "b end"]


def test_without_steps_the_plan_has_no_hook(toy, monkeypatch):
    pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)
    from fastmlp._training.run import Run

    hooks = []
    right = Run.hook

    def note(self, *arguments):
        hooks.append(right(self, *arguments))
        return hooks[-1]

    monkeypatch.setattr(Run, "hook", note)

    class Epochs(fm.Callback):
        def on_epoch_end(self, epoch, logs):
            pass

    calls: list = []
    never = Recorder(calls, every_steps=None)
    fm.MLP(6, [4], 3).fit(*toy, epochs=1, callbacks=[Epochs(), never])
    assert hooks == [None]
    assert not any("step" in call for call in calls)
    fm.MLP(6, [4], 3).fit(*toy, epochs=1, callbacks=[Epochs(), Recorder([], every_steps=7)])
    assert (hooks[1].every, hooks[1].before) == (7, 0)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_weights_are_those_after_the_step(backend, optimizer, threads, toy, eager_threads):
    eager_threads(threads)
    x, y = toy

    class Watch(fm.Callback):
        def on_batch_end(self, step, logs):
            seen.append((logs["loss"], weights(self.model), self.model.predict(x[:2])))

    seen: list = []
    model = fm.MLP(6, [40, 30], 3, seed=1)
    other = model.copy()
    model.backend = other.backend = backend
    model.fit(
        x, y, epochs=2, batch_size=40, optimizer=optimizer, shuffle=False, callbacks=[Watch()]
    )
    assert len(seen) == 8
    other.compile(optimizer=optimizer)
    for number, (loss, after, outputs) in enumerate(seen):
        start = number % 4 * 40
        assert loss == other.train_on_batch(x[start : start + 40], y[start : start + 40])
        same_bits(after, weights(other))
        same_bits(outputs, other.predict(x[:2]))


def test_predictions_between_steps_are_those_of_the_running_statistics(backend, toy):
    class Watch(fm.Callback):
        def on_batch_end(self, step, logs):
            seen.append(self.model.predict(toy[0]))
            kept.append(self.model.copy())

    seen: list = []
    kept: list = []
    model = fm.Sequential([fm.Dense(9), fm.BatchNorm(), fm.Dropout(0.2), fm.Dense(3)], 6)
    model.backend = backend
    model.fit(*toy, epochs=2, batch_size=50, optimizer="adam", callbacks=[Watch()])
    assert [other.steps_done for other in kept] == [1, 2, 3, 4, 5, 6]
    for outputs, other in zip(seen, kept, strict=True):
        same_bits(outputs, other.predict(toy[0]))


def test_looking_changes_nothing(backend, toy):
    runs = []
    for callbacks in ([], [Recorder([])], [Recorder([], every_steps=5)]):
        model = fm.MLP(6, [8], 3, seed=2)
        model.backend = backend
        history = model.fit(*toy, epochs=5, batch_size=7, optimizer="adam", callbacks=callbacks)
        runs.append((weights(model), history.history["loss"], history.history["accuracy"]))
    for values, *columns in runs[1:]:
        same_bits(values, runs[0][0])
        assert columns == list(runs[0][1:])


def test_learning_rates_of_steps(model, toy):
    logger = fm.LearningRateLogger(every_steps=2)
    schedule = fm.ExponentialDecay(0.1, 0.5)
    for _ in range(2):  # it begins anew
        optimizer = fm.SGD(schedule)
        model.fit(*toy, epochs=2, batch_size=50, optimizer=optimizer, callbacks=[logger])
        assert logger.steps == [2, 4, 6]
        assert logger.learning_rates == [schedule(1), schedule(3), schedule(5)]


def test_weights_that_are_set_between_steps_are_those_of_the_next(backend, toy):
    class Reset(fm.Callback):
        every_steps = 3

        def on_batch_end(self, step, logs):
            self.model.set_parameters(start)

    model = fm.MLP(6, [9], 3, seed=1)
    model.backend = backend
    start = {name: value.copy() for name, value in model.parameters.items()}
    model.fit(*toy, epochs=2, batch_size=50, callbacks=[Reset()])
    for name, value in model.parameters.items():
        same_bits(value, start[name])


# --- Callbacks that raise or stop -----------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("failing", [1, 3, 4, 5])
def test_a_callback_that_raises_between_steps(backend, failing, threads, toy, eager_threads):
    eager_threads(threads)

    class Faulty(fm.Callback):
        def on_batch_end(self, step, logs):
            if step == failing:
                saved.append(weights(self.model))
                raise Planned

    saved: list = []
    calls: list = []
    model = fm.MLP(6, [20], 3, seed=1)
    model.backend = backend
    optimizer = fm.SGD(0.1, momentum=0.9)
    with pytest.raises(Planned):
        model.fit(*toy, batch_size=50, optimizer=optimizer, callbacks=[Faulty(), Recorder(calls)])
    assert "end" not in calls
    assert f"step {failing}" not in calls
    same_bits(weights(model), saved[0])
    assert len(model.history.epochs) == (failing - 1) // 3
    assert model.state(optimizer).step == failing
    assert model.epochs_begun == (failing + 2) // 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    # It is usable, and the same as one that was stopped there.
    other = model.copy()
    model.evaluate(*toy)
    for each in (model, other):
        each.fit(*toy, epochs=2, optimizer=fm.SGD(0.1), batch_size=50)
    same_bits(weights(model), weights(other))


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_epoch_end"])
def test_a_callback_that_raises_elsewhere(hook, model, toy):
    def fail(self, *arguments):
        raise Planned

    calls: list = []
    faulty = type("Faulty", (fm.Callback,), {hook: fail})()
    with pytest.raises(Planned):
        model.fit(*toy, callbacks=[Recorder(calls), faulty])
    assert "end" not in calls
    assert model.fit(*toy, epochs=1).epochs == [1]


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
def test_ctrl_c_between_steps_ends_the_run_after_that_step(model, toy):
    class Press(Recorder):
        def on_batch_end(self, step, logs):
            super().on_batch_end(step, logs)
            if step == 5:
                os.kill(os.getpid(), signal.SIGINT)

    calls: list = []
    history = model.fit(*toy, batch_size=50, callbacks=[Press(calls)])
    assert history.interrupted
    assert history.epochs == [1]
    assert calls[-2:] == ["step 5", "end"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: fm.EarlyStopping(patience=0), "patience must be at least 1, got 0."),
        (lambda: fm.EarlyStopping(mode="up"), "mode must be one of auto, min, max, got 'up'."),
        (lambda: fm.EarlyStopping(min_delta=-1), "min_delta must be finite and at least 0"),
        (lambda: fm.EarlyStopping(None), "monitor must be the name of a metric, got None."),
        (lambda: fm.EarlyStopping(restore_best=1), "restore_best must be True or False, got 1."),
        (lambda: fm.ModelCheckpoint(3), "expected str, bytes or os.PathLike object"),
        (lambda: fm.ModelCheckpoint(b"a"), "path must be a str or a path, got b'a'."),
        (lambda: fm.ModelCheckpoint("a", 0), "every_epochs must be at least 1, got 0."),
        (
            lambda: fm.ModelCheckpoint("a", None),
            "every_epochs and every_steps cannot both be None.",
        ),
        (lambda: fm.ModelCheckpoint("a", every_steps=2.5), "every_steps must be an integer"),
        (
            lambda: fm.ModelCheckpoint("a", every_steps=2, monitor="loss"),
            "every_steps cannot be set if monitor is set, because monitored values are computed once "
            "per epoch, got every_steps=2.",
        ),
        (lambda: fm.ModelCheckpoint("a", keep=0), "keep must be at least 1, got 0."),
        (
            lambda: fm.ModelCheckpoint("a", keep=2),
            "path must contain {epoch} or {step} if keep is not 1, got a.",
        ),
        (lambda: fm.LearningRateLogger(0), "every_steps must be at least 1, got 0."),
        (
            lambda: fm.CSVLogger("a", ", "),
            "separator must be a single character other than a quote or a line break, got ', '.",
        ),
    ],
)
def test_arguments_are_checked(make, message):
    with pytest.raises((ValueError, TypeError)) as caught:
        make()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    "make", [fm.EarlyStopping, lambda monitor: fm.ModelCheckpoint("a", monitor=monitor)]
)
def test_unknown_monitors_are_refused_before_anything_is_done(make, model, toy):
    before, calls = weights(model), []
    callbacks = [Recorder(calls), make(monitor="val_loss")]
    with pytest.raises(ValueError, match=r"must be one of loss, accuracy, top_2, got 'val_loss'"):
        model.fit(*toy, callbacks=callbacks, metrics=["accuracy", "top_2"])
    assert calls == []
    assert model.history is None
    same_bits(weights(model), before)


def test_impossible_steps_are_refused(model, toy):
    with pytest.raises(ValueError, match="every_steps of Recorder must be at least 1, got 0"):
        model.fit(*toy, callbacks=[Recorder([], every_steps=0)])


def test_callbacks_are_called_and_can_stop(model, toy):
    calls = []

    class Recorder(fm.Callback):
        def on_train_begin(self):
            assert self.model is model
            calls.append("fit")

        def on_epoch_begin(self, epoch):
            calls.append(epoch)

        def on_epoch_end(self, epoch, logs):
            calls.append((epoch, sorted(logs)))
            self.model.stop_training = epoch == 2

        def on_train_end(self):
            calls.append("end")

    names = ["accuracy", "learning_rate", "loss", "time"]
    history = model.fit(*toy, epochs=5, callbacks=[Recorder(), fm.Callback()])
    assert calls == ["fit", 1, (1, names), 2, (2, names), "end"]
    assert history.epochs == [1, 2]
    assert model.fit(*toy, epochs=1).epochs == [1]  # the wish to stop is forgotten
