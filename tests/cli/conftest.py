"""Fixtures for tests of the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import cli


class Result(NamedTuple):
    status: int
    out: str
    err: str


Command = Callable[..., Result]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command in this process; return its exit status, stdout and stderr."""
    before = fm.get_num_threads()

    def call(*arguments: object) -> Result:
        try:
            status = cli.main([str(argument) for argument in arguments])
        except SystemExit as stop:  # argparse's own, after --help and --version
            status = int(stop.code or 0)
        finally:
            if fm.get_num_threads() != before:
                fm.set_num_threads(before)
        return Result(status, *capsys.readouterr())

    return call


@pytest.fixture
def saved(tmp_path: Path, run: Command) -> Path:
    """A model file for the digits."""
    path = tmp_path / "model.safetensors"
    assert run("train", "--epochs", 2, "--hidden", 16, "--quiet", "--save", path).status == 0
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A CSV file of 60 samples: columns a, b, kind (0 to 2, the label) and c."""
    rng = np.random.default_rng(3)
    kinds = np.arange(60) % 3
    x = rng.standard_normal((60, 3)) + 3 * np.eye(3)[kinds]
    path = tmp_path / "data.csv"
    lines = ["a,b,kind,c"]
    lines += [f"{a:.4f},{b:.4f},{kind},{c:.4f}" for (a, b, c), kind in zip(x, kinds, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path
