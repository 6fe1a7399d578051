"""System calls of a save that fail, one after the other, and disks that are full."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from preloaded import MISSING, preload

import fastmlp as fm

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    """The environment in which calls can be made to fail."""
    if MISSING:
        pytest.skip(MISSING)
    return preload("failing_calls", tmp_path_factory.mktemp("failing"))


def run(failing, folder, *options):
    folder.mkdir()
    environment = {**failing, "PYTHONPATH": str(Path(fm.__file__).parents[1])}
    command = [sys.executable, str(HERE / "faults.py"), str(folder), *options]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_system_call_of_a_save_may_fail(failing, tmp_path):
    found = run(failing, tmp_path / "files")
    calls = found.pop("calls")
    assert all(calls[kind] > 20 for kind in ("open", "write", "fsync", "close", "rename"))
    assert found["runs"] >= 120
    assert min(found["old"], found["new"]) >= 40
    bad = ("torn", "lost", "false_ok", "leftovers", "unnamed", "unexpected")
    assert {name: found[name] for name in bad} == dict.fromkeys(bad, 0)


def test_the_faults_tear_a_file_that_is_overwritten(failing, tmp_path):
    found = run(failing, tmp_path / "files", "--naive")
    assert found["torn"] >= 10
    assert found["unnamed"] >= 10


def test_a_disk_that_is_really_full(tmp_path):
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root mounts a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, timeout=60, check=False).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        path = disk / "model"
        model = fm.MLP(50, [200], 10)  # 48 KB
        model.save(path)
        old = path.read_bytes()
        (disk / "ballast").write_bytes(bytes(80 * 1024))
        model.train_on_batch(np.eye(50), np.arange(50) % 10)
        with pytest.raises(OSError, match="free some space, or write to another disk") as caught:
            model.save(path)
        assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
        assert path.read_bytes() == old
        assert sorted(os.listdir(disk)) == ["ballast", "model"]
        saver = fm.ModelCheckpoint(path)
        with pytest.raises(OSError, match="No space left on device; nothing was written"):
            model.fit(np.eye(50), np.arange(50) % 10, epochs=2, callbacks=[saver])
        assert path.read_bytes() == old
        assert sorted(os.listdir(disk)) == ["ballast", "model"]
        (disk / "ballast").unlink()
        model.save(path)
        np.testing.assert_array_equal(
            fm.load_model(path).predict(np.eye(50)), model.predict(np.eye(50))
        )
    finally:
        subprocess.run(["umount", str(disk)], check=True, timeout=60)
