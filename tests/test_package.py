"""The installed package: its files, and the cost of an import."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from importlib import metadata, resources

import pytest

import fastmlp as fm

pytestmark = pytest.mark.alone


def child(code):
    """The output of a program in a new process."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def installed():
    """The metadata of the installed distribution."""
    try:
        return metadata.distribution("fastmlp")
    except metadata.PackageNotFoundError:
        pytest.skip("fastmlp is not installed, only importable")


def test_metadata(installed):
    assert installed.metadata["Requires-Python"] == ">=3.10"
    scripts = {entry.name: entry.value for entry in installed.entry_points}
    assert scripts["fastmlp"] == "fastmlp.cli:main"
    assert {"plot", "data", "all", "test"} <= set(installed.metadata.get_all("Provides-Extra"))


def test_version(installed):
    assert fm.__version__ == installed.version
    out = subprocess.run(
        [sys.executable, "-m", "fastmlp", "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert out == f"fastmlp {installed.version}\n"


def test_files_that_are_no_modules_are_there():
    package = resources.files(fm)
    for name in ("py.typed", "datasets/digits.npz", "datasets/digits_LICENSE.txt"):
        assert package.joinpath(name).is_file(), name


@pytest.mark.parametrize("module", ["matplotlib", "tqdm", "safetensors", "scipy", "pooch"])
def test_import_leaves_out(module):
    code = f"import sys, fastmlp, fastmlp.kernels; print({module!r} in sys.modules)"
    assert child(code) == "False"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_import_starts_no_thread():
    # Numpy's own library may start some: they are not ours.
    code = (
        "import os, numpy; before = len(os.listdir('/proc/self/task'));"
        "import fastmlp as fm; fm.MLP(4, [3], 2).predict([[1, 2, 3, 4]]);"
        "print(len(os.listdir('/proc/self/task')) - before)"
    )
    assert child(code) == "0"


def test_import_takes_little_time(record_property):
    code = (
        "import time, numpy; t = time.perf_counter();"
        "import fastmlp, fastmlp.kernels; print(time.perf_counter() - t)"
    )
    child(code)  # bytecode is written, files are cached
    seconds = min(float(child(code)) for _ in range(3))
    record_property("import_seconds", seconds)
    assert seconds < 0.150


def test_wheel():
    path = os.environ.get("FASTMLP_WHEEL")
    if not path:
        pytest.skip("FASTMLP_WHEEL does not name a wheel")
    assert os.path.getsize(path) < 5_000_000
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
    assert "fastmlp/py.typed" in names
    assert "fastmlp/cli/__init__.py" in names
    assert not [name for name in names if name.endswith((".c", ".h", ".pyx", ".pxd"))]
    assert not [name for name in names if name.startswith(("tests", "csrc", "benchmarks"))]
    assert any(name.endswith("licenses/LICENSE") for name in names)
