"""The examples run as they stand."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastmlp.datasets import data_home

EXAMPLES = sorted((Path(__file__).resolve().parent.parent / "examples").glob("*.py"))


@pytest.mark.skipif(not EXAMPLES, reason="the examples are not beside the tests")
@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.name)
def test_example(script, tmp_path):
    source = script.read_text()
    if "load_mnist" in source and "FASTMLP_DATA" not in os.environ:
        pytest.skip("FASTMLP_DATA names no folder with MNIST's files")
    for name in ("cats_vs_cars.h5", "trigrams.h5", "cifar10_subset.npz"):
        if name in source and not (data_home() / name).exists():
            pytest.skip(f"{name} is not in FASTMLP_DATA")
    if "load_hdf5" in source:
        pytest.importorskip("h5py")
    if "fm.TensorBoard" in source:
        pytest.importorskip("tensorboardX")
    result = subprocess.run(
        [sys.executable, str(script), *(["--quick"] if '"--quick"' in source else [])],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout
    if '"--quick"' in source:
        last = json.loads(result.stdout.splitlines()[-1])
        assert last["script"] == script.stem
        assert last["results"]
        assert last["seconds"] < 60
