"""Model files and checkpoints that fastmlp 0.1.0 wrote still load, and train on to the same bits."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent / "old_files"

specification = importlib.util.spec_from_file_location("old_files", FOLDER / "write.py")
old_files = importlib.util.module_from_spec(specification)
specification.loader.exec_module(old_files)

EXPECTED = json.loads(old_files.EXPECTED.read_text())


def check_values(found, expected):
    """Compare numbers that may differ by rounding."""
    if isinstance(found, dict):
        assert list(found) == list(expected)
        for name, value in found.items():
            check_values(value, expected[name])
    else:
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", old_files.RUNS)
def test_old_files_go_on_to_the_same_bits(name, backend):
    found = old_files.RUNS[name](FOLDER / name, backend)
    for what, values in EXPECTED["values"][name].items():
        check_values(found[what], values)
    hashes = EXPECTED["hashes"].get(old_files.instruction_set())
    if backend == "kernels" and hashes is not None:  # other levels differ by rounding
        assert {what: old_files.digest(value) for what, value in found.items()} == hashes[name]


@pytest.mark.parametrize(("name", "in_epoch"), [("epoch", False), ("step", True)])
def test_one_checkpoint_lies_between_epochs_and_one_in_the_middle(name, in_epoch):
    content = (FOLDER / f"{name}.ckpt").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    training = json.loads(header["__metadata__"]["training"])
    assert (training["part"] is not None) == in_epoch
