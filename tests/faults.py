"""Let every system call of a save fail, in every way; run by tests and by a benchmark.

    LD_PRELOAD=failing_calls.so python tests/faults.py FOLDER [--naive]

FOLDER must exist and be empty. Models and checkpoints are written over old ones; after each run the
file must be the old one or the new one, whole. Prints a line of JSON: runs, and how many ended with
the old file, the new one, a torn one or none (lost); how many saves said that all was well and had
not replaced the file (false_ok), left temporary files behind, or raised an error that does not name
the file or does not say what to do (unnamed). --naive overwrites the file in place: the run that
shows what is counted.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fastmlp as fm

FAIL, FROM_NOW_ON, SHORT, KILL, SHORT_THEN_KILL = 1, 2, 3, 4, 5
CODES = (errno.ENOSPC, errno.EIO, errno.EINTR, errno.EDQUOT)
MODES = [
    *((FAIL, code) for code in CODES),
    *((FROM_NOW_ON, code) for code in (errno.ENOSPC, errno.EIO, errno.EDQUOT)),
    *((mode, 0) for mode in (SHORT, KILL, SHORT_THEN_KILL)),
]
KINDS = ("open", "write", "fsync", "close", "rename", "unlink", "truncate")


class Shim:
    """The preloaded library."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None)
        self._arm, self.disarm = library.fm_test_arm, library.fm_test_disarm
        self._arm.argtypes = [ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int]
        self.hits, self._calls_of = library.fm_test_hits, library.fm_test_calls_of
        self.hits.restype = self._calls_of.restype = ctypes.c_long

    def arm(self, folder: str, at: int, mode: int, code: int) -> None:
        self._arm(folder.encode(), at, mode, code)

    def calls(self) -> dict[str, int]:
        return {kind: self._calls_of(index) for index, kind in enumerate(KINDS)}


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((60, 6)).astype(np.float32), np.arange(60) % 3


def naive(save: Callable[[str], None]) -> Callable[[str], None]:
    """Return a save that opens the file and writes."""

    def write(path: str) -> None:
        # Not below the folder, where calls fail: its name begins otherwise.
        folder, name = os.path.split(os.path.dirname(path))
        scratch = os.path.join(folder, "of-" + name)
        save(scratch)
        content = Path(scratch).read_bytes()
        with open(path, "wb", buffering=0) as file:
            view = memoryview(content)
            while view:
                view = view[file.write(view) :]

    return write


def saves(plain: bool) -> dict[str, tuple[Callable[[str], None], Callable[[str], None]]]:
    """Return what writes an old file and a new one, of a model and of a checkpoint."""
    x, y = data()
    old, new = fm.MLP(6, [8], 3, seed=1), fm.MLP(6, [8], 3, seed=2)
    old.fit(x, y, epochs=1)
    new.fit(x, y, epochs=2)

    def checkpoint(seed: int) -> Callable[[str], None]:
        def run(path: str) -> None:
            model = fm.MLP(6, [8], 3, seed=seed)
            saver = fm.ModelCheckpoint(path)
            model.fit(x, y, epochs=1, callbacks=[saver], optimizer="adam")

        return run

    made = {"model": (old.save, new.save), "checkpoint": (checkpoint(1), checkpoint(2))}
    return {k: (a, naive(b)) for k, (a, b) in made.items()} if plain else made


def one(
    shim: Shim, folder: str, path: str, new: Callable[[str], None], at: int, mode: int, code: int
) -> tuple[str, str, bool]:
    """Save with a fault; return what was said, the message, and whether the fault was reached."""
    if mode in (KILL, SHORT_THEN_KILL):
        child = os.fork()
        if child == 0:
            shim.arm(folder, at, mode, code)
            try:
                new(path)
            except BaseException:
                os._exit(1)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return {0: "ok", 99: "killed"}.get(status, f"exit {status}"), "", status == 99
    shim.arm(folder, at, mode, code)
    try:
        new(path)
    except OSError as error:
        return "error", str(error), bool(shim.hits())
    finally:
        reached = bool(shim.hits())
        shim.disarm()
    return "ok", "", reached


def main() -> None:
    """Run all faults and print what they came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--naive", action="store_true")
    options = parser.parse_args()
    folder = os.path.realpath(options.folder)
    shim, counts = Shim(), Counter()
    fm.set_num_threads(1)  # a child of fork has no others
    path = os.path.join(folder, "run.ckpt")
    for old, new in saves(options.naive).values():
        new(path)
        whole_new = fingerprint(path)
        for mode, code in MODES:
            for at in range(1, 100):
                for name in os.listdir(folder):
                    os.unlink(os.path.join(folder, name))
                old(path)
                before = Path(path).read_bytes()
                said, message, reached = one(shim, folder, path, new, at, mode, code)
                if not reached:
                    if mode in (SHORT_THEN_KILL, SHORT) and at < 12:
                        continue  # other calls come between the writes
                    break
                counts["runs"] += 1
                left = [name for name in os.listdir(folder) if name != "run.ckpt"]
                if not os.path.exists(path):
                    now = "lost"
                elif Path(path).read_bytes() == before:
                    now = "old"
                else:
                    now = "new" if fingerprint(path) == whole_new else "torn"
                counts[now] += 1
                counts["false_ok"] += said == "ok" and now != "new"
                counts["leftovers"] += bool(left) and said != "killed"
                wanted = path in message and ";" in message
                counts["unnamed"] += said == "error" and not wanted
                counts["unexpected"] += said not in ("ok", "error", "killed")
    names = ("runs", "old", "new", "torn", "lost", "false_ok", "leftovers", "unnamed", "unexpected")
    print(json.dumps({name: counts[name] for name in names} | {"calls": shim.calls()}))


def fingerprint(path: str) -> str:
    """Return what a file is read as: its weights."""
    try:
        model = fm.load_model(path)
    except (fm.FastmlpFormatError, OSError):
        return "unreadable"
    return json.dumps({name: value.tolist() for name, value in model.parameters.items()})


if __name__ == "__main__":
    main()
