"""Settings from a file and from options."""

from __future__ import annotations

import argparse
import importlib.util
import re
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastmlp.cli import settings, train

pytestmark = pytest.mark.skipif(
    sys.version_info < (3, 11) and importlib.util.find_spec("tomli") is None,
    reason="needs tomli on Python 3.10",
)

FILE = """\
dataset = "digits"
epochs = 2

[model]
layers = ["conv 4x3", "pool 2"]
hidden = [8]
batch-norm = true

[training]
optimizer = "adam"
lr = 0.01
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(FILE)
    return path


def test_settings_of_a_file(config, run):
    status, out, err = run("train", "--config", config)
    assert (status, err) == (0, "")
    assert "CNN 8x8 - 4x3 - pool 2 - 8 - 10" in out
    assert "Adam(learning_rate=0.01), batches of 8" in out
    assert "epoch 2/2" in out


def test_options_go_first(config, run):
    out = run("train", "--config", config, "--lr", "0.5", "--optimizer", "sgd", "--print-config",
              "--conv", "2x3", "--no-batch-norm", "--hidden", "none").out  # fmt: skip
    assert "lr = 0.5\n" in out
    assert 'optimizer = "sgd"' in out
    assert 'layers = ["conv 2x3"]' in out
    assert "hidden = []" in out
    assert "batch_norm = false" in out
    assert "epochs = 2\n" in out


def test_a_printed_file_does_the_same(config, tmp_path, run):
    models = [tmp_path / "a", tmp_path / "b"]
    effective = tmp_path / "effective.toml"
    assert run("train", "--config", config, "--save", models[0], "--save-config", effective)[0] == 0
    text = effective.read_text()
    assert run("train", "--config", effective, "--print-config").out == text
    assert run("train", "--config", effective, "--save", models[1]).status == 0
    assert models[0].read_bytes() == models[1].read_bytes()


def test_layers_keep_the_order_of_the_command_line(run):
    out = run("train", "--conv", "8x3", "--pool", "3/1", "--conv", "4x2/2", "--global-pool",
              "--print-config").out  # fmt: skip
    assert 'layers = ["conv 8x3", "pool 3/1", "conv 4x2/2", "global-pool"]' in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "run.toml: epoch is unknown. Did you mean epochs?"),
        ("[training]\nlearning = 1", "run.toml: [training] learning is unknown."),
        ("[model]\nlr = 0.1", "run.toml: [model] lr belongs in [training]."),
        ("[modle]\nhidden = [3]", "run.toml: unknown table [modle]. Did you mean model?"),
        ("[zzz]", "run.toml: unknown table [zzz]. The tables are data, model, output, training."),
        ("epochs = 1\n[training]\nepochs = 2", "run.toml: epochs is set twice"),
        ("batch_size = 1\n[training]\nbatch-size = 2", "run.toml: batch-size is set twice"),
        ('epochs = "3"', "run.toml: epochs must be an integer, got '3'."),
        ("epochs = true", "run.toml: epochs must be an integer, got True."),
        ("lr = inf", "run.toml: lr must be a finite number, got inf."),
        ("nesterov = 1", "run.toml: nesterov must be true or false, got 1."),
        (
            'hidden = "512,256"',
            "run.toml: hidden must be a list of integers such as [512, 256], or []",
        ),
        (
            "hidden = 512",
            "run.toml: hidden must be a list of integers such as [512, 256], or [], got 512.",
        ),
        (
            'metrics = "f1"',
            'run.toml: metrics must be a list of names such as ["error", "f1"], got',
        ),
        ("[[training]]\nepochs = 3", "run.toml: training must be a table, [training], got [{"),
        ("training = 3", "run.toml: training must be a table, [training], got 3."),
        (
            '[model]\nconv = "4x3"',
            "run.toml: [model] conv is a layer; put it into layers, a list",
        ),
        (
            "avg-pool = 2",
            'run.toml: avg-pool is a layer; put it into layers, a list such as ["',
        ),
        ('config = ""', "run.toml: config is unknown."),
        ('data = ""', "run.toml: data must be the name of a file or a folder, got ''."),
        ('checkpoint = ""', "run.toml: checkpoint must be the name of a file, got ''."),
        ('resume = ""', "run.toml: resume must be the name of a file, or true for the file"),
        ('[output]\nsave = ""', "run.toml: [output] save must be the name of a file, got ''."),
        ('report = ""', "run.toml: report must be the name of a file, got ''."),
        ('plot = ""', "run.toml: plot must be the name of a file, got ''."),
        ('csv = ""', "run.toml: csv must be the name of a file, got ''."),
        ('tensorboard = ""', "run.toml: tensorboard must be the name of a folder, got ''."),
        ('dataset = ""', "DATA must be digits, mnist, fashion_mnist, cifar10 or a file named"),
        ("threads = 0", "--threads must be at least 1, got 0."),
        ('dtype = "f4"', "run.toml: dtype must be float32 or float64, got 'f4'."),
        (
            'layers = ["convolution 3x3"]',
            "a layer must be one of conv, pool, avg-pool, global-pool",
        ),
        ("epochs = ", "run.toml must be a TOML file: "),
    ],
)
def test_mistakes_in_a_file(text, message, tmp_path, run):
    path = tmp_path / "run.toml"
    path.write_text(text + "\n")
    status, out, err = run("train", "--config", path)
    assert (status, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_files_that_are_no_text(tmp_path, run):
    path = tmp_path / "run.toml"
    path.write_bytes(b"\xff\xfe")
    assert "must be a TOML file in UTF-8." in run("train", "--config", path).err
    assert "No such file" in run("train", "--config", tmp_path / "none.toml").err


def test_without_a_reader_of_toml_the_extra_is_named(config, run, monkeypatch):
    for name in ("tomllib", "tomli"):
        monkeypatch.setitem(sys.modules, name, None)
    status, _, err = run("train", "--config", config)
    assert (status, 'pip install "fastmlp[toml]"' in err) == (2, True)


VALUES = {
    "text": st.text(st.characters(exclude_categories=["Cs"])),
    "integer": st.integers(-(2**62), 2**62),
    "number": st.floats(allow_nan=False, allow_infinity=False),
    "switch": st.booleans(),
    "integers": st.lists(st.integers(-(2**62), 2**62)),
    "names": st.lists(st.text(st.characters(exclude_categories=["Cs"]))),
}


@given(st.fixed_dictionaries(VALUES))
def test_what_is_written_is_read_again(tmp_path_factory, drawn):
    known = [settings.Setting(name.replace(" ", "_"), "table", name) for name in VALUES]
    path = tmp_path_factory.mktemp("toml") / "f.toml"
    path.write_text(settings.to_toml(known, drawn), encoding="utf-8")
    assert settings.read_file(str(path), known) == drawn


def test_every_kind_of_setting_has_a_check():
    assert {setting.kind for setting in train.SETTINGS} <= settings.KINDS.keys()
    names = [setting.name for setting in train.SETTINGS]
    assert len(names) == len(set(names))
    empty = settings.values(train.SETTINGS, argparse.Namespace(), {})
    read = settings.to_toml(train.SETTINGS, empty)
    assert re.findall(r"^\[(\w+)\]$", read, re.M) == ["data", "model", "training", "output"]
    assert np.isfinite(empty["l2"])
