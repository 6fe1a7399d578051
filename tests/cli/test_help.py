"""The help texts: small enough, complete, and their examples work."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

import fastmlp as fm
from fastmlp import cli
from fastmlp.cli import bench, evaluate, gradcheck, info, predict, train
from fastmlp.losses import LOSSES
from fastmlp.optimizers import OPTIMIZERS

MODULES = {
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "gradcheck": gradcheck,
    "bench": bench,
    "info": info,
}
TEXTS = {"": cli.HELP} | {name: module.HELP for name, module in MODULES.items()}


def examples(text):
    return [line.strip() for line in text.partition("\nexamples\n")[2].splitlines()]


@pytest.mark.parametrize("name", TEXTS)
def test_help_fits_a_screen(name, run):
    status, out, err = run(*([name] if name else []), "--help")
    assert (status, out, err) == (0, TEXTS[name], "")
    assert len(out.splitlines()) <= (40 if name == "train" else 24)
    assert max(map(len, out.splitlines())) <= 80
    assert len(examples(out)) == 3


@pytest.mark.parametrize("name", MODULES)
def test_help_and_options_are_the_same(name):
    parser = cli._parser()[1][name]
    options = {option for option in parser.options() if not option.startswith("--no-")}
    told = set(re.findall(r"--[a-z0-9-]+", TEXTS[name].partition("\nexamples\n")[0]))
    if name in ("evaluate", "predict"):
        told -= {"--save", "--checkpoint"}  # of train
    if name == "info":
        told -= {"--save", "--checkpoint"}
    assert told == options - {"--help"}


def names(text, option):
    return re.search(rf"{option} ([a-z_|]+)", text)[1].split("|")


def test_help_names_all_losses_and_optimizers():
    assert names(train.HELP, "--optimizer") == list(OPTIMIZERS)
    assert set(names(train.HELP, "--loss")) == set(LOSSES)
    assert set(names(gradcheck.HELP, "--loss")) == set(LOSSES)


def test_version(run):
    assert run("--version") == (0, f"fastmlp {fm.__version__}\n", "")


@pytest.mark.skipif(os.name != "posix", reason="the examples are for a POSIX shell")
@pytest.mark.parametrize("name", [name for name in TEXTS if name != "bench"])
def test_examples_work(name, saved, table):
    """Run every example as it stands, in a folder with the files that they name."""
    folder = saved.parent
    environment = os.environ | {"FASTMLP_TEST_PYTHON": sys.executable}
    for example in examples(TEXTS[name]):
        if "--layer" in example and "layer" not in gradcheck.check_gradients.__annotations__:
            continue  # not in this version
        command = example.replace("fastmlp ", '"$FASTMLP_TEST_PYTHON" -m fastmlp ', 1)
        if command.startswith("FASTMLP_ISA"):
            command = re.sub(r"fastmlp ", '"$FASTMLP_TEST_PYTHON" -m fastmlp ', example, count=1)
        done = subprocess.run(
            command, shell=True, cwd=folder, env=environment, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, ""), example
