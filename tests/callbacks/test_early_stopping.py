"""EarlyStopping: when it stops, and the weights it leaves."""

from __future__ import annotations

import math

import numpy as np

import fastmlp as fm


def weights(model):
    return np.concatenate([value.ravel() for value in model.parameters.values()])


def same_bits(one, other):
    assert one.dtype == other.dtype
    assert one.tobytes() == other.tobytes()


class Script(fm.Callback):
    """Makes a metric take chosen values, epoch after epoch, and keeps the weights."""

    def __init__(self, values):
        self.values, self.weights = list(values), []

    def __call__(self, y, outputs):
        return self.values[len(self.weights)]

    def on_epoch_end(self, epoch, logs):
        self.weights.append(weights(self.model))


def scripted(model, toy, values, **settings):
    script = Script(values)

    def planned(y, outputs):
        return script(y, outputs)

    stopping = fm.EarlyStopping("planned", **settings)
    epochs = len(values)
    history = model.fit(*toy, epochs=epochs, metrics=[planned], callbacks=[script, stopping])
    return stopping, script, history


def test_early_stopping_goes_back_to_the_best(model, toy):
    values = [5, 3, 4, 3, math.nan, 1]
    stopping, script, history = scripted(model, toy, values, patience=3)
    assert history.epochs == [1, 2, 3, 4, 5]
    assert (stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (3, 2, 5)
    same_bits(weights(model), script.weights[1])
    assert (script.weights[1] != script.weights[4]).any()


def test_early_stopping_may_leave_the_last_weights(model, toy):
    _, script, _ = scripted(model, toy, [5, 3, 4], patience=1, restore_best=False)
    same_bits(weights(model), script.weights[2])


def test_early_stopping_that_never_stops_gives_the_best_weights(model, toy):
    stopping, script, history = scripted(model, toy, [5, 3, 4, 4], patience=3)
    assert len(history.epochs) == 4
    assert stopping.stopped_epoch == 0
    same_bits(weights(model), script.weights[1])


def test_early_stopping_needs_an_improvement_of_min_delta(model, toy):
    stopping, _, history = scripted(model, toy, [5, 4.6, 4.2, 1], patience=2, min_delta=1)
    assert len(history.epochs) == 3
    assert (stopping.best, stopping.best_epoch) == (5, 1)


def test_early_stopping_of_what_should_grow(model, toy):
    _, script, history = scripted(model, toy, [1, 2, 1, 1, 3], patience=2, mode="max")
    assert len(history.epochs) == 4
    same_bits(weights(model), script.weights[1])


def test_an_early_stopping_may_be_used_again(model, toy):
    stopping = fm.EarlyStopping("loss", patience=1, min_delta=100)
    for _ in range(2):
        assert model.fit(*toy, callbacks=[stopping]).epochs == [1, 2]
        assert stopping.stopped_epoch == 2
