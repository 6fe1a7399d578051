"""A step of a plan asks for no memory, neither Python's nor the C library's."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from preloaded import MISSING, preload

pytestmark = pytest.mark.alone

PROGRAM = """if True:
    import ctypes, gc, json, sys
    import numpy as np
    import fastmlp as fm
    from fastmlp._engines import plans
    from fastmlp._engines import engine
    from fastmlp._engines.base import Pass
    gc.disable()
    calls = ctypes.CDLL(None).fm_test_allocations
    calls.restype = ctypes.c_long
    if sys.argv[1] == "eager":
        from fastmlp import _threads
        from fastmlp._plan import builder
        _threads.OVERSUBSCRIBE = True
        fm.set_num_threads(3)
        plans._PARALLEL_STEP = plans._PARALLEL_CALL = 0
        builder._GRAIN = 1
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (10_000, 40), dtype=np.uint8), np.arange(10_000) % 10
    orders = {steps: rng.permutation(10 * steps) for steps in (10, 1000)}
    found = {}
    for name, optimizer in {"sgd": fm.SGD(), "adam": fm.Adam(0.001)}.items():
        model = fm.MLP(40, [64, 17], 10, activation="gelu", scale=1 / 255)
        # A table of numbers for every step is made before the first one.
        state, counts = model.state(optimizer), {10: [], 1000: []}
        rates = {steps: state.begin_run(steps) for steps in orders}
        tables = {steps: optimizer.coefficients(1, rates[steps]) for steps in orders}
        state.begin_run = lambda steps, epochs, skipped: rates[steps]
        optimizer.coefficients = lambda first, rates: tables[len(rates)]
        for _ in range(4):
            for steps, order in orders.items():
                job = Pass(x[: 10 * steps], y[: 10 * steps], order, 10, counts=True)
                before = calls()
                engine(model).train(model.loss, state, job)
                counts[steps].append(calls() - before)
        found[name] = [min(counts[10]), min(counts[1000])]
    before = calls()
    keep = [bytearray(100_000) for _ in range(100)]
    found["it counts"] = calls() - before
    print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def counter(tmp_path_factory):
    """The environment in which allocations are counted."""
    if MISSING:
        pytest.skip(MISSING)
    pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)
    return preload("count_allocations", tmp_path_factory.mktemp("counter"))


@pytest.mark.parametrize("how", ["default", "eager"])
def test_more_steps_ask_for_no_more_memory(how, counter):
    environment = {**counter, "PYTHONMALLOC": "malloc"}
    command = [sys.executable, "-c", PROGRAM, how]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("it counts") >= 100
    for few, many in found.values():
        # Python makes objects of numbers above 256, of 1000 steps but not of 10.
        assert few <= many <= few + 20, found
