"""Make each system call of a save fail, and count the states in which the file is left.

    python benchmarks/faults.py

Builds the library of tests/c/failing_calls.c with gcc and runs tests/faults.py with it. A model and
a checkpoint are saved over old files. In turn, each call of open, write, fsync, close, rename and
unlink fails with ENOSPC, EIO, EINTR or EDQUOT, once or from then on, writes only half of the data,
or kills the process. For comparison the same is done with a file that is overwritten in place. The
exit status is 1 if a save of fastmlp tore or lost a file, left a temporary file behind, or reported
success after a failure.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from preloaded import preload

TESTS = Path(__file__).resolve().parents[1] / "tests"
BAD = ("torn", "lost", "false_ok", "leftovers", "unnamed", "unexpected")


def main() -> int:
    """Print the results of both ways to save."""
    with tempfile.TemporaryDirectory() as folder:
        environment = preload("failing_calls", Path(folder))
        worst = 0
        for name, options in (("fastmlp", []), ("overwritten in place", ["--naive"])):
            files = Path(folder, name.replace(" ", "-"))
            files.mkdir()
            began = time.perf_counter()
            command = [sys.executable, str(TESTS / "faults.py"), str(files), *options]
            done = subprocess.run(command, env=environment, check=True, capture_output=True)
            found = json.loads(done.stdout)
            calls = found.pop("calls")
            print(f"{name}: {time.perf_counter() - began:.1f} s")
            print("  " + "  ".join(f"{key} {value}" for key, value in found.items()))
            print("  calls: " + "  ".join(f"{key} {value}" for key, value in calls.items()))
            if not options:
                worst = sum(found[key] for key in BAD)
    return 1 if worst else 0


if __name__ == "__main__":
    sys.exit(main())
