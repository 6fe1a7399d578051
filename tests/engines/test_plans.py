"""The engine of compiled plans: its pool of plans, and calls from several Python threads."""

from __future__ import annotations

import sys
import threading
import time

import numpy as np
import pytest
from comparing import values
from random_networks import draw

import fastmlp as fm

pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)


def in_threads(count, work):
    """Run ``work(index)`` in ``count`` threads at once; raise the first error of any thread."""
    errors: list = []
    gate = threading.Barrier(count)

    def guarded(index):
        try:
            gate.wait()
            work(index)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


@pytest.fixture
def busy_switching():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_threads_predict_with_a_model_that_has_no_plan_yet(busy_switching, eager_threads):
    eager_threads(2)
    x = np.random.default_rng(0).standard_normal((4, 130, 30)).astype("float32")
    for seed in range(15):
        model = fm.MLP(30, [100, 17], 3, seed=seed)
        expected = [model.copy().predict(part) for part in x]
        labels = np.arange(130) % 3
        loss = model.copy().evaluate(x[0], labels)["loss"]

        def work(index, model=model, expected=expected, loss=loss, labels=labels):
            for _ in range(5):
                np.testing.assert_array_equal(model.predict(x[index]), expected[index])
                assert model.evaluate(x[0], labels)["loss"] == loss

        in_threads(4, work)


def test_a_plan_is_taken_by_one_thread_only():
    class Slow(list):
        def __bool__(self):  # others have their chance between the look and the grasp
            there = len(self) > 0
            time.sleep(0.002)
            return there

    model, x = fm.MLP(4, [3], 2), np.zeros((5, 4), "float32")
    model.predict(x)
    runner = model.engine[1]
    ((key, plans),) = runner._plans.items()
    runner._plans[key] = Slow(plans)
    taken = [None] * 4

    def work(index):
        taken[index] = runner.plan("predict", 5, x)[1]

    in_threads(4, work)
    assert len(set(map(id, taken))) == 4


def test_two_models_train_at_once_as_one_after_the_other(busy_switching, eager_threads):
    eager_threads(2)
    cases = [draw(seed) for seed in (3, 21, 40, 65)]
    expected = []
    for case in cases:
        model = case.build("float32", "kernels")
        case.fit(model, 3)
        expected.append(values(model))
    models = [case.build("float32", "kernels") for case in cases]
    in_threads(4, lambda index: cases[index].fit(models[index], 3))
    for model, wanted in zip(models, expected, strict=True):
        for name, value in model.parameters.items():
            np.testing.assert_array_equal(value, wanted[name])
