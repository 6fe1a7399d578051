"""The same bits for any number of threads."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from random_networks import draw, draw_images

import fastmlp as fm

pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)

THREADS = (1, 2, 3, 4, 8)


def bits(model, history, x, y, loss):
    """Everything that a run left, as bytes by name."""
    value, gradients = model.gradients(x, y, loss)
    found = {**model.parameters, **{"gradient " + n: g for n, g in gradients.items()}}
    found |= {name: np.array(v) for name, v in history.history.items() if name != "time"}
    found["predictions"] = model.predict(x)
    found["measured"] = np.array([value, *model.evaluate(x, y).values()])
    return {name: array.tobytes() for name, array in found.items()}


@pytest.mark.parametrize("seed", range(50))
def test_threads_do_not_change_a_bit(seed, eager_threads):
    case = draw(5000 + seed) if seed < 30 else draw_images(5000 + seed)
    dtype = ("float32", "float64")[seed % 2]
    runs = []
    for threads in THREADS:
        eager_threads(threads)
        model = case.build(dtype, "kernels")
        history = case.fit(model)
        runs.append(bits(model, history, case.x, case.y, case.loss))
        shown = model.plan(case.batch_size)
        assert shown.threads == threads
    for threads, run in zip(THREADS, runs, strict=True):
        different = [name for name in run if run[name] != runs[0][name]]
        assert different == [], f"{threads} threads: {case}"


def test_an_optimizer_of_the_users_own_waits_for_all_gradients(eager_threads):
    class Plain(fm.optimizers.Optimizer):
        def update(self, ops, value, gradient, state, step, learning_rate):
            value -= learning_rate * gradient

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((400, 300), dtype="float32"), np.arange(400) % 10
    found = set()
    for threads in (1, 4, 3, 8):
        eager_threads(threads)
        model = fm.MLP(300, [200, 10], 10)
        model.fit(x, y, epochs=3, batch_size=20, optimizer=Plain(0.1))
        found.add(model.parameters["dense_0.weight"].tobytes())
    assert len(found) == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("hidden", "batch"), [([16], 256), ([100, 33], 100), ([600], 50)])
def test_threads_as_they_are_used_do_not_change_a_bit(hidden, batch, dtype, monkeypatch):
    # With the sizes at which threads are worth it, unlike above.
    from fastmlp import _threads

    monkeypatch.setattr(_threads, "OVERSUBSCRIBE", True)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((1030, 300)).astype(dtype), np.arange(1030) % 10
    found, used = set(), set()
    before = _threads.choice()
    for threads in THREADS:
        fm.set_num_threads(threads)
        model = fm.MLP(300, hidden, 10, dtype=dtype, activation="tanh")
        history = model.fit(x, y, epochs=2, batch_size=batch, optimizer=fm.Adam())
        run = bits(model, history, x, y, "cross_entropy")
        found.add(hashlib.sha256(b"".join(run.values())).hexdigest())
        used |= {op.threads for op in model.plan(batch).operations}
    _threads.choose(before)
    assert len(found) == 1
    assert len(used) > 1
