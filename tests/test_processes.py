"""Child processes of every kind train like their parent, and none hangs."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "children.py"

pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)

pytestmark = pytest.mark.alone


def run(method, children, *python_options):
    command = [sys.executable, *python_options, str(PROGRAM), method, "--children", str(children)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"{method}: the parent hangs; {error.stderr!r}") from None
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert (result["right"], result["wrong"], result["hangs"]) == (children, [], 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_child_of_a_thread_that_takes_a_plan():
    program = """if True:
        import os, signal, numpy as np, fastmlp as fm
        from fastmlp._engines import plans
        model, x = fm.MLP(4, [3], 2), np.zeros((5, 4))
        model.predict(x)
        with plans._making:
            child = os.fork()
            if child == 0:
                signal.alarm(10)
                model.predict(x)
                os._exit(0)
        raise SystemExit(os.waitpid(child, 0)[1])
    """
    done = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver", "fork-while-training"])
def test_children_of_multiprocessing(method):
    if method.partition("-")[0] not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {method}")
    run(method, 6 if method.startswith("fork") and method != "forkserver" else 3)


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_workers_of_joblib(backend):
    pytest.importorskip("joblib")
    run(backend, 4)
