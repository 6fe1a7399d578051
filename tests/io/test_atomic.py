"""Writing a file in one step: failures half way, leftovers, links and modes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.io import atomic, check_writable, write_atomically


def test_save_to_a_directory_that_is_not_there_names_the_path(tmp_path):
    target = tmp_path / "nowhere" / "m.safetensors"
    with pytest.raises(FileNotFoundError) as caught:
        fm.MLP(2, [], 2).save(target)
    assert caught.value.filename == str(target)
    with pytest.raises(IsADirectoryError, match="is a folder; name a file in it"):
        fm.MLP(2, [], 2).save(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("function", ["open", "write", "fsync", "close", "replace", "fchmod"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_every_call_of_a_save_may_fail(function, error, saved, monkeypatch):
    model, path = saved
    old = path.read_bytes()
    model.train_on_batch(np.eye(3), [0, 1, 1])
    right = getattr(os, function)
    for failing in range(1, 20):
        calls = 0

        def maybe(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == failing:  # noqa: B023
                if function == "close":
                    right(*args)
                raise error
            return right(*args, **kwargs)

        with monkeypatch.context() as patch:
            patch.setattr(atomic.os, function, maybe)
            try:
                model.save(path)
                finished = True
            except type(error):
                finished = False
        assert os.listdir(path.parent) == [path.name]
        if finished:
            break
        replaced = path.read_bytes() != old
        # Only what comes after the new name may fail with the new file in place.
        assert not replaced or (function in ("open", "fsync", "close") and failing == 2)
        path.write_bytes(old)
    else:
        pytest.fail("the save never finished")
    np.testing.assert_array_equal(fm.load_model(path).predict(np.eye(3)), model.predict(np.eye(3)))


def test_short_writes_are_continued(path, monkeypatch):
    right = os.write
    monkeypatch.setattr(atomic.os, "write", lambda fd, data: right(fd, data[:7]))
    write_atomically(path, bytes(range(256)))
    assert path.read_bytes() == bytes(range(256))


def test_the_order_of_a_save_is_durable(path, monkeypatch):
    """Data reach the disk before the name, and the name before the save returns."""
    calls = []
    for name in ("open", "write", "fsync", "replace"):
        right = getattr(os, name)

        def record(*args, _name=name, _right=right, **kwargs):
            calls.append(_name)
            return _right(*args, **kwargs)

        monkeypatch.setattr(atomic.os, name, record)
    write_atomically(path, b"data")
    assert calls == ["open", "write", "fsync", "replace", "open", "fsync"]


def test_failure_of_the_last_step_says_so(path, monkeypatch):
    right, calls = os.fsync, []

    def fail_second(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        right(descriptor)

    monkeypatch.setattr(atomic.os, "fsync", fail_second)
    with pytest.raises(OSError, match="the file is written but may not survive a power failure"):
        write_atomically(path, b"data")
    assert path.read_bytes() == b"data"


def stale(target, process):
    """Return the name of what a process leaves that is killed as it writes a file."""
    return target.with_name(f".{target.name}.{process}-0123456789abcdef.tmp")


@pytest.fixture
def dead():
    """Return the number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot tell whether a process lives")
def test_a_save_removes_what_killed_saves_of_the_same_file_left(path, dead):
    model, link = fm.MLP(3, [], 2), path.with_name("link")
    link.symlink_to(path)
    other, longer = path.with_name("other"), path.with_name(path.name + ".more")
    kept = [
        stale(path, os.getpid()),
        stale(path, 1),
        *(stale(each, dead) for each in (other, longer)),
    ]
    kept += [path.with_name(f".{path.name}.{dead}.tmp"), path.with_name(f".{path.name}.tmp")]
    for save in (model.save, lambda name: write_atomically(name, b"data")):
        for name in (path, link):
            for each in (stale(path, dead), *kept):
                each.write_bytes(b"half a file")
            save(name)
            assert sorted(path.parent.iterdir()) == sorted([path, link, *kept])


# A process that waits between the last byte and the new name until its input ends.
SLOW_SAVE = """if True:
    import sys
    from fastmlp.io import atomic
    right = atomic.os.replace
    def wait(*names):
        print("written", flush=True)
        sys.stdin.read()
        right(*names)
    atomic.os.replace = wait
    atomic.write_atomically(sys.argv[1], b"theirs")
"""


def test_what_a_living_process_writes_is_left_alone(path):
    command = [sys.executable, "-c", SLOW_SAVE, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert process.stdout.readline() == "written\n"
        write_atomically(path, b"ours")
        assert path.read_bytes() == b"ours"
        process.communicate()
    assert process.returncode == 0
    assert path.read_bytes() == b"theirs"
    assert os.listdir(path.parent) == [path.name]


def test_a_folder_that_cannot_be_listed_is_no_failure(path, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(atomic.os, "listdir", refuse)
    write_atomically(path, b"data")
    assert path.read_bytes() == b"data"


def test_a_symbolic_link_stays_one(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


@pytest.mark.skipif(os.name == "nt", reason="has no such modes")
@pytest.mark.parametrize(
    ("before", "after"), [(None, 0o640), (0o600, 0o600), (0o666, 0o666), (0o444, 0o644)]
)
def test_a_new_file_follows_the_umask_and_an_old_one_keeps_its_mode(before, after, path):
    if before is not None:
        path.write_bytes(b"old")
        path.chmod(before)
    umask = os.umask(0o027)
    try:
        write_atomically(path, b"new")
    finally:
        os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == after


@pytest.mark.skipif(os.name == "nt", reason="has no such modes")
def test_modes_that_cannot_be_set_are_no_failure(path, monkeypatch):
    path.write_bytes(b"old")

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(atomic.os, "fchmod", refuse)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.skipif(os.name == "nt", reason="has no such pipes")
def test_pipes_and_folders_are_not_replaced(tmp_path):
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    for path in (pipe, link):
        with pytest.raises(OSError, match="is a device or a pipe; name a") as caught:
            write_atomically(path, b"new")
        assert caught.value.filename == str(path)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        write_atomically(tmp_path, b"new")
    assert stat.S_ISFIFO(pipe.stat().st_mode) and link.is_symlink()
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(OSError, match="nothing was written") as caught:
        write_atomically(loop, b"new")
    assert loop.is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link", "loop", "pipe"]


def test_what_cannot_be_written_is_known_before(path):
    check_writable(path)
    assert os.listdir(path.parent) == []
    path.write_bytes(b"old")
    check_writable(path)
    assert (os.listdir(path.parent), path.read_bytes()) == ([path.name], b"old")
    with pytest.raises(OSError, match=r"File name too long; nothing .*: choose a shorter name"):
        check_writable(path.with_name("m" * 300))
    with pytest.raises(FileNotFoundError, match="its folder does not exist or cannot hold files"):
        check_writable(path.parent / "nowhere" / "m")
    with pytest.raises(IsADirectoryError):
        check_writable(path.parent)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_no_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError):
        fm.MLP(2, [], 2).save(tmp_path / "m")
