"""Results are the same bits for any number of threads."""

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
@pytest.mark.parametrize("classes", [40, 250])
@pytest.mark.parametrize("combine", ["sum", "concat"])
def test_threads_with_samples_of_their_own(classes, combine, dtype, eager_threads, shaken):
    # From the lookup to the loss and back a thread goes on with its own, also in a short last batch.
    rng = np.random.default_rng(0)
    x, y = rng.integers(90, size=(455, 3)), rng.integers(classes, size=455)
    found = set()
    for threads, steps in ((1, 0), (2, 0), (3, 0), (4, 3), (8, 0)):
        eager_threads(threads)
        shaken(steps)
        layers = [fm.Embedding(90, 7, combine=combine), fm.Dense(33, "sigmoid"), fm.Dropout(0.2)]
        model = fm.Sequential([*layers, fm.Dense(classes)], (3,), dtype)
        history = model.fit(x, y, epochs=3, batch_size=100, optimizer=fm.SGD(0.1, momentum=0.8))
        run = bits(model, history, x, y, "cross_entropy")
        found.add(hashlib.sha256(b"".join(run.values())).hexdigest())
        met = [operation.barrier for operation in model.plan(100).operations]
        assert met.index(True) == (3 if threads > 1 else met.index(True))
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


@pytest.fixture
def shaken():
    """Return a function that makes the number of threads change every few steps."""
    from fastmlp._compiled import plan

    yield plan.change_threads
    plan.change_threads(0)


@pytest.mark.parametrize("seed", range(30))
def test_threads_that_rest_and_return_do_not_change_a_bit(seed, eager_threads, shaken):
    case = draw(6000 + seed) if seed < 15 else draw_images(6000 + seed)
    dtype = ("float32", "float64")[seed % 2]
    runs = []
    for threads, steps in ((1, 0), (2, 1), (3, 1), (4, 3), (8, 2)):
        eager_threads(threads)
        shaken(steps)
        model = case.build(dtype, "kernels")
        runs.append(bits(model, case.fit(model), case.x, case.y, case.loss))
    for run in runs[1:]:
        assert [name for name in run if run[name] != runs[0][name]] == [], case


def test_threads_that_rest_over_the_end_of_an_epoch(eager_threads, shaken):
    # Without validation several short epochs are one run.
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((230, 40), dtype="float32"), np.arange(230) % 10
    found = set()
    for threads, steps in ((1, 0), (2, 1), (2, 3), (3, 2), (4, 5)):
        eager_threads(threads)
        shaken(steps)
        model = fm.MLP(40, [30], 10)
        model.fit(x, y, epochs=40, batch_size=20, verbose=0)
        found.add(model.parameters["dense_0.weight"].tobytes())
    assert len(found) == 1


@pytest.mark.parametrize("threads", [2, 3, 5])
def test_a_run_may_end_anywhere_while_threads_rest(threads, eager_threads, shaken):
    class Ends(fm.Callback):
        every_steps = 1

        def __init__(self, last):
            self.last = last

        def on_batch_end(self, step, logs):
            if step == self.last:
                raise ValueError("enough")

    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((230, 40), dtype="float32"), np.arange(230) % 10
    eager_threads(threads)
    shaken(1)
    for last in range(1, 14):
        model = fm.MLP(40, [30], 10)
        with pytest.raises(ValueError, match="enough"):
            model.fit(x, y, epochs=3, batch_size=20, callbacks=[Ends(last)])
    for batch in (7, 20, 230):
        model = fm.MLP(40, [30], 10)
        with pytest.raises(fm.DivergenceError):
            model.fit(x, y, batch_size=batch, epochs=5, optimizer=fm.SGD(1e30))
