"""ModelCheckpoint: which files it writes, keeps and removes."""

from __future__ import annotations

import os

import numpy as np
import pytest

import fastmlp as fm


def weights(model):
    return {name: value.tobytes() for name, value in model.arrays.items()}


def make(backend="numpy", dtype="float32", seed=3):
    model = fm.MLP(6, [8, 5], 3, activation="tanh", dtype=dtype, seed=seed)
    model.backend = backend
    return model


@pytest.mark.parametrize(
    ("settings", "epochs", "expected"),
    [
        ({"path": "a"}, 2, ["a"]),
        ({"path": "{epoch}"}, 3, ["3"]),
        ({"path": "{epoch:03d}", "keep": 2}, 3, ["002", "003"]),
        ({"path": "e{epoch}", "keep": None, "every_epochs": 2}, 5, ["e2", "e4", "e5"]),
        ({"path": "{epoch}-{step}", "keep": 4, "every_steps": 2}, 2, ["1-2", "1-3", "2-4", "2-6"]),
        ({"path": "{step}", "keep": 3, "every_steps": 2, "every_epochs": None}, 3, ["4", "6", "8"]),
        ({"path": "{x}"}, 1, ["{x}"]),
    ],
)
def test_files(settings, epochs, expected, model, toy, tmp_path):
    saver = fm.ModelCheckpoint(**settings | {"path": tmp_path / settings["path"]})
    model.fit(*toy, epochs=epochs, batch_size=50, callbacks=[saver])
    assert sorted(os.listdir(tmp_path)) == sorted(expected)
    assert sorted(map(os.path.basename, saver.saved)) == sorted(expected)


def test_the_best_epoch_is_kept(model, toy, tmp_path):
    values = iter([5.0, 3.0, 4.0, 2.0, 9.0])
    seen = []

    def planned(y, outputs):
        return next(values)

    class Look(fm.Callback):
        def on_epoch_end(self, epoch, logs):
            seen.append(weights(self.model))

    saver = fm.ModelCheckpoint(tmp_path / "{epoch}", monitor="planned", keep=2)
    model.fit(*toy, epochs=5, metrics=[planned], callbacks=[saver, Look()])
    assert sorted(os.listdir(tmp_path)) == ["2", "4"]
    assert saver.best == 2.0
    for name, epoch in (("2", 2), ("4", 4)):
        assert weights(fm.load_model(tmp_path / name)) == seen[epoch - 1]


def test_a_resumed_run_forgets_no_file(toy, tmp_path):
    def saver():
        return fm.ModelCheckpoint(tmp_path / "{epoch}", keep=2, monitor="loss")

    make().fit(*toy, epochs=2, callbacks=[saver()])
    make().fit(*toy, epochs=4, callbacks=[saver()], resume=tmp_path / "2")
    assert sorted(os.listdir(tmp_path)) == ["3", "4"]


def test_checkpoints_see_what_other_callbacks_did(toy, tmp_path):
    class Shift(fm.Callback):
        def on_epoch_end(self, epoch, logs):
            self.model.set_parameters({"dense_0.bias": np.full(8, epoch)})

    model = make()
    model.fit(*toy, epochs=2, callbacks=[fm.ModelCheckpoint(tmp_path / "a"), Shift()])
    assert (fm.load_model(tmp_path / "a").parameters["dense_0.bias"] == 2).all()
