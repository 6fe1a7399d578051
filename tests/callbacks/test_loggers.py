"""CSVLogger: the table it writes."""

from __future__ import annotations

import csv

import pytest

import fastmlp as fm


def test_csv(model, toy, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("old")
    lines = []

    class Look(fm.Callback):
        def on_epoch_end(self, epoch, logs):
            lines.append(len(path.read_text().splitlines()))

    history = model.fit(*toy, epochs=3, callbacks=[fm.CSVLogger(path), Look()])
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert lines == [2, 3, 4]
    assert [row.pop("epoch") for row in rows] == ["1", "2", "3"]
    assert {n: [float(row[n]) for row in rows] for n in rows[0]} == history.history
    model.fit(*toy, epochs=1, callbacks=[fm.CSVLogger(path, separator="\t")])
    assert path.read_text().startswith("epoch\tloss\taccuracy\t")


def test_csv_that_cannot_be_written(model, toy, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        model.fit(*toy, callbacks=[fm.CSVLogger(tmp_path / "nowhere" / "log.csv")])
