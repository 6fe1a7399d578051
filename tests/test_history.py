"""The history that ``fit`` records, for epochs trained one by one and together."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import fastmlp as fm


class Look(fm.Callback):
    """See every epoch, so that they are trained one by one."""

    def on_epoch_end(self, epoch, logs):
        pass


def trained(epochs, *callbacks):
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((40, 2)), rng.integers(0, 2, 40)
    model = fm.MLP(2, [3], 2, seed=1)
    model.compile(optimizer=fm.SGD(0.1, momentum=0.5))
    return model.fit(x, y, epochs=epochs, batch_size=16, callbacks=list(callbacks), verbose=0)


def test_together_they_record_what_one_by_one_they_do():
    together, single = trained(300), trained(300, Look())
    assert list(together.history) == ["loss", "accuracy", "learning_rate", "time"]
    assert list(single.history) == list(together.history)
    for name, column in together.history.items():
        assert type(column) is list and {type(value) for value in column} == {float}, name
        assert len(column) == 300
        if name != "time":
            assert column == single.history[name]
    assert together.epochs == single.epochs == list(range(1, 301))
    assert type(together.epochs) is list


def test_values_that_nobody_has_looked_at_are_pickled():
    history = trained(300)
    again = pickle.loads(pickle.dumps(history))
    assert again.epochs == history.epochs and again.history == history.history
    assert repr(again) == repr(history)


@pytest.mark.parametrize("look", [False, True], ids=["unseen", "seen"])
def test_values_follow_each_other_in_the_same_lists(look):
    history = fm.History()
    assert history.epochs == [] and history.history == {}
    values = np.array([3.0, 2.0])
    assert history.extend({"loss": values, "time": [0.5, 0.25]}) == 2
    if look:
        column, epochs = history.history["loss"], history.epochs
        assert column == [3.0, 2.0] and epochs == [1, 2]
    values[:] = 0  # not kept
    assert history.extend({"loss": [1.0], "time": [0.125]}) == 3
    history.append({"loss": 0.5, "time": 1.0, "val_loss": 4.0})
    assert history.history == {
        "loss": [3.0, 2.0, 1.0, 0.5],
        "time": [0.5, 0.25, 0.125, 1.0],
        "val_loss": [4.0],
    }
    assert list(history.history) == ["loss", "time", "val_loss"]
    assert history.epochs == [1, 2, 3, 4]
    if look:
        assert history.history["loss"] is column and history.epochs is epochs
    assert history.extend({}) == 4
