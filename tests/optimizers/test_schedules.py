"""Learning-rate schedules: values by hand, and their use in training."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import optimizers
from fastmlp.optimizers import schedules

BUILT_IN = [
    fm.StepDecay(0.3, 4, 0.5),
    fm.StepDecay(0.3, 2, unit="epoch"),
    fm.ExponentialDecay(0.3, 0.9, 2),
    fm.CosineDecay(0.3, 9, minimum=0.01),
    fm.CosineDecay(0.3, 3, unit="epoch"),
    fm.Warmup(5, 0.3),
    fm.Warmup(5, fm.StepDecay(0.3, 4, 0.5)),
    fm.Warmup(2, fm.CosineDecay(0.3, 3, unit="epoch"), unit="epoch"),
    fm.Warmup(5, fm.StepDecay(0.3, 1, 0.5, unit="epoch")),
    fm.ReduceOnPlateau(0.3, "loss", 0.5, 2, min_delta=10, cooldown=1, minimum=0.01),
]
each = pytest.mark.parametrize("schedule", BUILT_IN, ids=repr)


def rates(schedule, steps, epochs):
    """The rates of whole epochs, as a training sees them."""
    return schedules.rates(schedules.get(schedule), 0, 0, steps, epochs, {}).tolist()


# --- Values ---------------------------------------------------------------------------------------


def test_step_decay():
    assert rates(fm.StepDecay(1.0, 2, 0.5), 3, 2) == [1, 1, 0.5, 0.5, 0.25, 0.25]
    assert rates(fm.StepDecay(1.0, 1, 0.5, unit="epoch"), 2, 3) == [1, 1, 0.5, 0.5, 0.25, 0.25]
    assert fm.StepDecay(0.1, 30)(59) == pytest.approx(0.01, rel=1e-15)
    assert fm.StepDecay(0.1, 1)(10**6) == 0  # no warning, no NaN


def test_exponential_decay():
    assert rates(fm.ExponentialDecay(1.0, 0.25), 1, 3) == [1, 0.25, 0.0625]
    assert rates(fm.ExponentialDecay(1.0, 0.25, 2), 1, 3) == [1, 0.5, 0.25]


def test_cosine_decay():
    expected = [1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0, 0]
    np.testing.assert_allclose(rates(fm.CosineDecay(1.0, 4), 6, 1), expected, rtol=1e-15)
    np.testing.assert_allclose(
        rates(fm.CosineDecay(2.0, 4, minimum=1.0), 6, 1), 1 + np.array(expected), rtol=1e-15
    )
    assert rates(fm.CosineDecay(2.0, 4, minimum=1.0), 6, 1)[4:] == [1, 1]


def test_warmup():
    assert rates(fm.Warmup(4, 2.0), 6, 1) == [0.5, 1, 1.5, 2, 2, 2]
    then = fm.StepDecay(2.0, 1, 0.5)
    assert rates(fm.Warmup(2, then), 5, 1) == [1, 2, 2, 1, 0.5]
    assert rates(fm.Warmup(2, lambda step: 10.0 + step), 5, 1) == [5, 10, 10, 11, 12]
    # One that counts epochs begins at the start: of its first epoch two steps are left.
    by_epoch = fm.StepDecay(2.0, 1, 0.5, unit="epoch")
    assert rates(fm.Warmup(2, by_epoch), 4, 2) == [1, 2, 2, 2, 1, 1, 1, 1]
    assert rates(fm.Warmup(2, by_epoch, unit="epoch"), 2, 4) == [1, 1, 2, 2, 2, 2, 1, 1]
    assert fm.Warmup(4, 2.0)(1) == 1.0
    with pytest.raises(ValueError, match="counts both steps and epochs"):
        fm.Warmup(2, by_epoch)(0)


def plateau(schedule, measured):
    memory, found = {}, []
    for value in measured:
        found += schedules.rates(schedule, 0, 0, 1, 1, memory).tolist()
        schedule.observe({schedule.monitor: value}, memory)
    return found


def test_reduce_on_plateau():
    schedule = fm.ReduceOnPlateau(1.0, factor=0.5, patience=2, min_delta=0.1)
    # 0.95 is no improvement over 1.0; then 0.5 is.
    assert plateau(schedule, [1, 0.95, 0.95, 0.5, 0.5, 0.5, 0.5, 0.5]) == [
        1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25,
    ]  # fmt: skip
    cooling = fm.ReduceOnPlateau(1.0, factor=0.5, patience=1, cooldown=2)
    assert plateau(cooling, [1, 1, 1, 1, 1, 1]) == [1, 1, 0.5, 0.5, 0.5, 0.25]
    lowest = fm.ReduceOnPlateau(1.0, factor=0.1, patience=1, minimum=0.05)
    assert plateau(lowest, [1, 1, 1, 1]) == [1, 1, 0.1, 0.05]
    assert plateau(lowest, [math.nan] * 3) == [1, 0.1, 0.05]
    for name in ("val_accuracy", "f1", "val_top_5", "r2", "precision", "val_recall"):
        larger = fm.ReduceOnPlateau(1.0, name, factor=0.5, patience=1)
        assert plateau(larger, [0.1, 0.2, 0.3, 0.3, 0.2]) == [1, 1, 1, 1, 0.5]
    smaller = fm.ReduceOnPlateau(1.0, "val_error", factor=0.5, patience=1)
    assert plateau(smaller, [0.3, 0.2, 0.1, 0.1, 0.1]) == [1, 1, 1, 1, 0.5]
    larger = fm.ReduceOnPlateau(1.0, "loss", factor=0.5, patience=1, mode="max")
    assert plateau(larger, [1, 2, 1, 1]) == [1, 1, 1, 0.5]


# --- In a training --------------------------------------------------------------------------------


def by_hand(toy, values, steps, batch=50):
    """Train a model a step at a time, with a rate for each."""
    x, y = toy
    model = fm.MLP(6, [4], 3, dtype="float64", seed=1)
    model.backend = "numpy"
    model.compile(optimizer=fm.SGD(1.0, momentum=0.5))
    for index in range(steps):
        model.optimizer.learning_rate = values[index]
        start = index % (len(x) // batch) * batch
        model.train_on_batch(x[start : start + batch], y[start : start + batch])
    return model.parameters


@each
def test_a_training_has_the_rates_of_its_steps(schedule, backend, toy):
    """Three steps an epoch, in one call of fit or in several."""
    for calls in ((6,), (2, 1, 3)):
        model = fm.MLP(6, [4], 3, dtype="float64", seed=1)
        model.backend = backend
        optimizer = fm.SGD(schedule, momentum=0.5)
        recorded, losses = [], []
        for epochs in calls:
            history = model.fit(
                *toy, epochs=epochs, batch_size=50, shuffle=False, optimizer=optimizer, verbose=0
            )
            recorded += history.history["learning_rate"]
            losses += history.history["loss"]
        if isinstance(schedule, fm.ReduceOnPlateau):
            values = np.repeat(plateau(schedule, losses), 3)
            assert len(set(values)) > 1
        else:
            values = np.array(rates(schedule, 3, 6))
        assert recorded == values[2::3].tolist()
        expected = by_hand(toy, values.tolist(), 18)
        for name, value in model.parameters.items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_every_optimizer_takes_a_schedule(name, backend, toy):
    found = []
    for rate in (lambda step: 0.01 / (1 + step), fm.StepDecay(0.01, 1), 0.01):
        model = fm.MLP(6, [4], 3, dtype="float64", seed=1)
        model.backend = backend
        optimizer = optimizers.OPTIMIZERS[name](rate)
        history = model.fit(*toy, epochs=2, batch_size=50, optimizer=optimizer, verbose=0)
        found.append((model.parameters["dense_0.weight"], history.history["learning_rate"]))
    assert found[0][1] == [0.01 / 3, 0.01 / 6]
    assert found[1][1] == pytest.approx([1e-4, 1e-7], rel=1e-12)
    assert found[2][1] == [0.01, 0.01]
    assert np.abs(found[0][0] - found[1][0]).max() > 1e-6
    assert np.abs(found[0][0] - found[2][0]).max() > 1e-6


def test_a_function_sees_every_step_once_and_never_within_a_run(backend, toy):
    seen = []

    def rate(step):
        assert type(step) is int
        seen.append(step)
        return 0.1

    model = fm.MLP(6, [4], 3)
    model.backend = backend
    optimizer = fm.Adam(rate)
    model.fit(*toy, epochs=2, batch_size=50, optimizer=optimizer, verbose=0)
    model.train_on_batch(*toy)
    assert seen == list(range(7))


def test_train_on_batch_counts_steps_and_no_epochs(backend, toy):
    model = fm.MLP(6, [4], 3)
    model.backend = backend
    model.compile(optimizer=fm.SGD(fm.StepDecay(0.5, 1, 0.5, unit="epoch")))
    state = model.state(model.optimizer)
    model.train_on_batch(*toy)
    model.train_on_batch(*toy)
    assert (state.step, state.epoch, state.learning_rate) == (2, 0, 0.5)
    model.fit(*toy, epochs=2, batch_size=50, verbose=0)
    model.train_on_batch(*toy)
    assert (state.step, state.epoch, state.learning_rate) == (9, 2, 0.125)


@pytest.mark.parametrize(
    ("schedule", "alone"),
    [(fm.CosineDecay(0.1, 20), True), (fm.ReduceOnPlateau(0.1, "loss"), False)],
)
def test_epochs_are_done_together_unless_a_schedule_looks_at_each(schedule, alone, monkeypatch):
    pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)
    from fastmlp._engines import plans

    asked = []
    original = plans.PlanEngine.train

    def train(self, loss, state, job):
        asked.append(job.epochs)
        return original(self, loss, state, job)

    monkeypatch.setattr(plans.PlanEngine, "train", train)
    x, y = np.random.default_rng(0).standard_normal((8, 2)), np.arange(8) % 2
    model = fm.MLP(2, [3], 2)
    history = model.fit(x, y, epochs=40, batch_size=4, optimizer=fm.SGD(schedule), verbose=0)
    assert (max(asked) > 1) == alone
    assert len(history.history["learning_rate"]) == 40
    if alone:
        assert history.history["learning_rate"] == rates(schedule, 2, 40)[1::2]


def test_plateau_needs_what_it_looks_at(backend, toy):
    model = fm.MLP(6, [4], 3)
    model.backend = backend
    before = model.optimizer
    with pytest.raises(ValueError, match=r"^monitor of the learning rate must be one of loss, acc"):
        model.fit(*toy, optimizer=fm.SGD(fm.ReduceOnPlateau(0.1)))
    with pytest.raises(ValueError, match=r"got 'val_los'. Did you mean 'val_loss'\?"):
        schedule = fm.Warmup(2, fm.ReduceOnPlateau(0.1, "val_los"))
        model.fit(*toy, optimizer=fm.SGD(schedule), validation_data=toy)
    assert model.optimizer is before
    history = model.fit(
        *toy, epochs=3, optimizer=fm.SGD(fm.ReduceOnPlateau(0.1)), validation_data=toy, verbose=0
    )
    assert history.history["learning_rate"] == [0.1] * 3


@pytest.mark.parametrize(
    ("value", "shown"),
    [(-0.1, "-0.1"), (math.nan, "nan"), (math.inf, "inf"), ("0.1", "'0.1'"), (None, "None"),
     (True, "True"), (1j, "1j"), ([0.1], r"\[0.1\]")],
)  # fmt: skip
def test_a_function_that_gives_no_rate(value, shown, backend, toy):
    model = fm.MLP(6, [4], 3)
    model.backend = backend
    optimizer = fm.SGD(lambda step: 0.1 if step != 4 else value)
    message = (
        "^learning_rate: the schedule must return a finite, non-negative number, "
        f"got {shown} at step 4.$"
    )
    with pytest.raises(ValueError, match=message):
        model.fit(*toy, epochs=3, batch_size=50, optimizer=optimizer, verbose=0)
    assert model.state(optimizer).step == 3  # the epoch with step 4 has not begun
    assert model.history.epochs == [1]


def test_a_schedule_of_the_users_own(backend, toy):
    class Steps(schedules.Schedule):
        unit = "epoch"

        def values(self, time, memory):
            return 0.1 + time

    class Wrong(schedules.Schedule):
        def values(self, time, memory):
            return np.zeros(1)

    model = fm.MLP(6, [4], 3)
    model.backend = backend
    history = model.fit(*toy, epochs=3, optimizer=fm.SGD(Steps()), verbose=0)
    assert history.history["learning_rate"] == [0.1, 1.1, 2.1]
    with pytest.raises(ValueError, match=r"must return rates of shape \(5,\), got shape \(1,\)"):
        model.fit(*toy, optimizer=fm.SGD(Wrong()), verbose=0)


def test_divergence_names_the_rate(backend, toy):
    model = fm.MLP(6, [4], 3)
    model.backend = backend
    optimizer = fm.SGD(lambda step: 0.1 if step < 7 else 1e38)
    with pytest.raises(fm.DivergenceError, match=r"at learning rate 1e\+38") as caught:
        model.fit(*toy, epochs=5, batch_size=50, optimizer=optimizer, verbose=0)
    assert (caught.value.epoch, caught.value.learning_rate) == (3, 1e38)


# --- Settings and files ---------------------------------------------------------------------------


@each
def test_schedules_are_written_and_read(schedule, toy, tmp_path):
    assert schedules.get(schedules.config(schedule)) == schedule
    assert eval(repr(schedule), vars(fm)) == schedule
    assert copy.deepcopy(schedule) == schedule
    optimizer = fm.Adam(schedule)
    assert optimizers.get(optimizer.config()).learning_rate == schedule
    model = fm.MLP(6, [4], 3)
    model.compile(optimizer=optimizer)
    model.save(tmp_path / "m.safetensors")
    again = fm.load_model(tmp_path / "m.safetensors").optimizer
    assert again.config() == optimizer.config()
    assert again.learning_rate == schedule
    assert again.learning_rate != fm.StepDecay(0.7, 4)


def test_functions_are_not_written(tmp_path):
    model = fm.MLP(6, [4], 3)
    for schedule in (lambda step: 0.1, fm.Warmup(3, lambda step: 0.1)):
        model.compile(optimizer=fm.SGD(schedule))
        with pytest.raises(
            ValueError, match="user-defined function or schedule, which model files cannot store"
        ):
            model.save(tmp_path / "m.safetensors")
    model.optimizer.learning_rate = 0.1
    model.save(tmp_path / "m.safetensors")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fm.StepDecay(-1, 3), ValueError, "initial must be finite and at least 0, got -1.0."),
        (lambda: fm.StepDecay(0.1, 0), ValueError, "every must be at least 1, got 0."),
        (lambda: fm.StepDecay(0.1, 2.5), TypeError,
         "every must be an integer, got 2.5 of type float."),
        (lambda: fm.StepDecay(0.1, 3, unit="epochs"), ValueError,
         "unit must be one of step, epoch, got 'epochs'. Did you mean 'epoch'?"),
        (lambda: fm.ExponentialDecay(0.1, -0.5), ValueError,
         "factor must be finite and at least 0, got -0.5."),
        (lambda: fm.CosineDecay(0.1, 10, 0.2), ValueError,
         "minimum must be at most initial, 0.1, got 0.2."),
        (lambda: fm.CosineDecay(0.1, 0), ValueError, "steps must be at least 1, got 0."),
        (lambda: fm.Warmup(0, 0.1), ValueError, "steps must be at least 1, got 0."),
        (lambda: fm.Warmup(3, "0.1"), TypeError, "then must be a number, got '0.1' of type str."),
        (lambda: fm.Warmup(3, -0.1), ValueError, "then must be finite and at least 0, got -0.1."),
        (lambda: fm.ReduceOnPlateau(0.1, 3), TypeError,
         "monitor must be the name of a metric, got 3."),
        (lambda: fm.ReduceOnPlateau(0.1, factor=1.0), ValueError,
         "factor must be at least 0 and below 1, got 1.0."),
        (lambda: fm.ReduceOnPlateau(0.1, patience=0), ValueError,
         "patience must be at least 1, got 0."),
        (lambda: fm.ReduceOnPlateau(0.1, mode="mini"), ValueError,
         "mode must be one of auto, min, max, got 'mini'. Did you mean 'min'?"),
        (lambda: fm.SGD(fm.StepDecay), TypeError,
         "learning_rate must be a number, a schedule or a function, got the class StepDecay "
         "instead of an instance."),
        (lambda: optimizers.get({"name": "sgd", "learning_rate": {"name": "step_decai"}}), ValueError,
         "the schedule must be one of step_decay, exponential_decay, cosine_decay, warmup, "
         "reduce_on_plateau, got 'step_decai'. Did you mean 'step_decay'?"),
        (lambda: optimizers.get("adm"), ValueError,
         "optimizer must be one of sgd, adagrad, rmsprop, adam, adamw, got 'adm'. Did you mean "
         "'adam'?"),
    ],
)  # fmt: skip
def test_messages(make, error, message):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == message
