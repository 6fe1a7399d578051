"""The layer-by-layer engine: its operations and its memory, next to the memory of plans."""

from __future__ import annotations

import tracemalloc

import numpy as np

import fastmlp as fm
from fastmlp import reference


def test_a_step_allocates_no_large_array():
    model = fm.MLP(256, [256], 10)
    model.backend = "numpy"
    x = np.random.default_rng(0).random((64, 256), dtype="float32")
    y = np.arange(64) % 10
    model.train_on_batch(x, y)
    weight = 4 * 256 * 256
    tracemalloc.start()
    model.train_on_batch(x, y)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.6 * weight  # learning_rate * gradient, which numpy cannot do without


def test_batches_of_many_sizes_do_not_pile_up_buffers(toy, backend):
    model = fm.MLP(6, [4], 3)
    model.backend = backend
    for n in range(1, 50):
        model.train_on_batch(toy[0][:n], toy[1][:n])
    if backend == "numpy":
        assert len(model.engine[1]._workspaces) <= 4
    else:
        assert sum(map(len, model.engine[1]._plans.values())) <= 8


def test_reference_is_what_the_numpy_backend_runs(toy, monkeypatch):
    calls = []
    right = reference.dense
    monkeypatch.setattr(reference, "dense", lambda *a, **k: (calls.append(1), right(*a, **k))[1])
    model = fm.MLP(6, [4], 3)
    model.backend = "numpy"
    model.predict(toy[0])
    assert len(calls) == 2
