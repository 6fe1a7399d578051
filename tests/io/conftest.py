"""A model and its file."""

from __future__ import annotations

import pathlib

import pytest

import fastmlp as fm


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "model.safetensors"


@pytest.fixture
def saved(path: pathlib.Path) -> tuple[fm.Sequential, pathlib.Path]:
    model = fm.MLP(3, [4], 2, seed=1)
    model.save(path)
    return model, path
