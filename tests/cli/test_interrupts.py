"""Ctrl-C, broken pipes and a killed process, in real child processes."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

import fastmlp as fm

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals")


def start(*arguments):
    command = [sys.executable, "-m", "fastmlp", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_saves_what_there_is(tmp_path):
    model, page, log = tmp_path / "m.safetensors", tmp_path / "run.html", tmp_path / "log.csv"
    checkpoint = tmp_path / "c"
    outputs = ("--save", model, "--report", page, "--csv", log, "--checkpoint", checkpoint)
    with start("train", "--epochs", 100_000, *outputs) as process:
        for line in process.stdout:
            if line.startswith("epoch 2/"):
                break
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped by Ctrl-C" in err
    assert "Traceback" not in err
    assert "test " in out
    saved = fm.load_model(model)
    assert saved.epochs_begun >= 2
    text = page.read_text(encoding="utf-8")
    assert "Stopped by Ctrl-C after" in text
    assert "Learning curves" in text
    epochs = len(log.read_text().splitlines()) - 1
    assert f"after {epochs} complete epochs" in text
    assert fm.load_model(checkpoint).epochs_begun <= saved.epochs_begun
    assert sorted(os.listdir(tmp_path)) == ["c", "log.csv", "m.safetensors", "run.html"]


def test_ctrl_c_before_there_is_anything(tmp_path):
    # A pipe as the file of settings: the command waits for it.
    fifo = tmp_path / "run.toml"
    os.mkfifo(fifo)
    with start("train", "--config", fifo) as process:
        with open(fifo, "w"):  # from here on it reads
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "fastmlp: stopped by Ctrl-C\n")


def _wait_for_child(process, seconds=30):
    """Wait until a process has started another one, where that can be seen; else a while."""
    path = Path(f"/proc/{process}/task/{process}/children")
    end = time.monotonic() + (seconds if path.exists() else 1.5)
    while time.monotonic() < end and not (path.exists() and path.read_text()):
        time.sleep(0.05)


def test_ctrl_c_ends_a_benchmark():
    with start("bench", "--sides", "fastmlp,numpy", "--seconds", 30) as process:
        _wait_for_child(process.pid)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert out == ""


def test_closed_pipe_is_no_traceback(saved):
    with start("predict", saved) as process:
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode == 1
    assert err == ""


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_are_no_traceback(closed, saved, tmp_path):
    model = tmp_path / "m"
    for command, status in (
        (f"train --epochs 1 --hidden 4 --save {model}", 0),
        (f"predict {saved}", 0),
        ("info", 0),
        ("train --epochs 0", 2),
    ):
        line = f"{sys.executable} -m fastmlp {command} {closed}"
        done = subprocess.run(line, shell=True, capture_output=True, text=True)
        assert done.returncode == status
        assert "Traceback" not in done.stderr
        assert (done.stderr != "") == (status == 2 and "2>" not in closed)
    assert fm.load_model(model).epochs_begun == 1


def test_a_closed_pipe_ends_a_training_quietly(tmp_path):
    with start("train", "--epochs", 100_000) as process:
        process.stdout.readline()
        process.stdout.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=60)
        process.kill()
        err = process.stderr.read()
    assert process.returncode == 1
    assert err == ""


def test_a_bar_in_a_terminal(tmp_path):
    """With a terminal as stderr there is a bar, and lines go to stdout."""
    import fcntl
    import pty
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    command = [sys.executable, "-m", "fastmlp", "train", "--epochs", "3", "--hidden", "8"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=slave, text=True)
    assert select.select([master], [], [], 5)[0]
    shown = os.read(master, 10_000).decode()
    os.close(slave)
    os.close(master)
    assert done.returncode == 0
    assert "epoch 1/3" in shown and "samples" in shown
    assert "epoch 3/3" in done.stdout
