"""``fastmlp bench``: all frameworks do the same work, each in a separate process."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys

import pytest

from fastmlp.cli import bench
from fastmlp.cli.frameworks.workloads import WORKLOADS

FAST = ("--quick", "--rounds", 1, "--seconds", 0.001, "--threads", 1, "--sides", "fastmlp,numpy")


def test_numpy_learns_what_fastmlp_learns():
    losses = []
    for name in ("fastmlp", "numpy"):
        module = importlib.import_module(f"fastmlp.cli.frameworks.{name}_side")
        result = module.train(WORKLOADS["64-64-10, 32"], 0.001)
        assert len(result["steps"]) >= 3
        assert min(result["steps"]) > 0
        losses.append(result["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=bench._SAME)


@pytest.mark.parametrize(
    ("name", "workload"),
    [
        ("torch", "64-64-10, 32"),
        ("torch", "CNN 28x28, 32"),
        ("jax", "64-64-10, 32"),
        ("jax", "CNN 28x28, 32"),
        ("sklearn", "64-64-10, 32"),
    ],
)
def test_other_frameworks_learn_what_fastmlp_learns(name, workload):
    # Only in a child: libraries stay, and their threads.
    command = [sys.executable, "-m", "fastmlp.cli.frameworks", name, workload, "0.001"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if f"No module named '{bench._FRAMEWORKS[name]}'" in done.stderr:
        pytest.skip(f"needs {name}")
    assert done.returncode == 0, done.stderr
    ours = importlib.import_module("fastmlp.cli.frameworks.fastmlp_side")
    expected = ours.train(WORKLOADS[workload], 0.001)["loss"]
    assert json.loads(done.stdout)["loss"] == pytest.approx(expected, rel=bench._SAME)


def test_table(run):
    status, out, err = run("bench", *FAST)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].split() == ["microseconds", "per", "step", "fastmlp", "numpy"]
    assert [line[:9] for line in lines[1:3]] == ["64-64-10,", "784-512-2"]
    assert all("x)" in line for line in lines[1:3])
    assert "numpy" in lines[-1] and "float32" in lines[-1]


def test_json(run):
    result = json.loads(run("bench", *FAST, "--json").out)
    assert result["threads"] == 1
    for steps in result["steps"].values():
        ratio = steps["numpy"]["microseconds"] / steps["fastmlp"]["microseconds"]
        assert steps["numpy"]["ratio"] == pytest.approx(ratio)
        assert steps["fastmlp"]["ratio"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sides", "numpi"], "--sides must list names from fastmlp,numpy,torch,jax,sklearn"),
        (["--rounds", "-1"], "--rounds must be at least 1"),
        (["--rounds", "0"], "--rounds must be at least 1 and --seconds above 0, got 0 and 1."),
        (["--seconds", "0"], "--rounds must be at least 1 and --seconds above 0, got 3 and 0."),
        (["--seconds", "soon"], "--seconds must be a finite number, got 'soon'."),
    ],
)
def test_mistakes(options, message, run):
    status, out, err = run("bench", *options)
    assert (status, out) == (2, "")
    assert message in err


def test_a_framework_that_is_not_installed(run, monkeypatch):
    monkeypatch.setitem(bench._FRAMEWORKS, "torch", "no_such_package")
    assert "--sides torch: no_such_package is not installed." in run(
        "bench", "--sides", "torch").err  # fmt: skip


def test_a_framework_that_fails_is_left_out(run, monkeypatch):
    monkeypatch.setitem(bench._FRAMEWORKS, "broken", "json")
    status, out, err = run("bench", *FAST[:-1], "broken")
    assert status == 0
    assert out.splitlines()[0].split()[-1] == "fastmlp"
    assert "broken is skipped: ModuleNotFoundError" in err
