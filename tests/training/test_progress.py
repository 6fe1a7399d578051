"""The progress bar and the lines that ``fit`` prints."""

from __future__ import annotations

import time

import fastmlp as fm
from fastmlp._training.progress import Progress


def test_auto_is_quiet_when_not_in_a_terminal(model, toy, capsys):
    model.fit(*toy, epochs=2)
    assert capsys.readouterr() == ("", "")


def test_verbose_2_prints_a_line_an_epoch(model, toy, capsys):
    model.fit(*toy, epochs=2, validation_data=toy, verbose=2)
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    for word in ("samples/s", "loss 1.", "accuracy 0.", "val_loss 1.", "val_accuracy 0."):
        assert word in lines[0]
    assert err == ""


def test_verbose_1_shows_a_bar_and_a_line(toy, capsys):
    fm.MLP(6, [4], 3).fit(*toy, epochs=1, verbose=1)
    out, err = capsys.readouterr()
    assert out.startswith("epoch 1/1  ")
    assert "epoch 1/1:  21%" in err
    assert "loss=" in err
    assert "samples/s" in err


def test_the_bar_shows_loss_accuracy_and_rate(capsys):
    progress = Progress(1, epochs=3, samples=200)
    progress.begin(2)
    assert progress.next_update < time.perf_counter() + 0.2
    time.sleep(0.15)
    progress.update(100, 0.5, 0.75)
    progress.close()
    shown = capsys.readouterr().err
    assert "epoch 2/3:  50%" in shown
    assert "accuracy=0.7500" in shown
    assert "loss=0.5000" in shown
    assert "samples/s" in shown
