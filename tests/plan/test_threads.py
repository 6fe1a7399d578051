"""The threads of a plan: shared layers, and a loss that is not finite."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import _threads
from fastmlp._engines import plans

pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)


@pytest.mark.parametrize("activation", sorted(fm.activations.ACTIVATIONS))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_share_narrow_layers(activation, dtype, eager_threads):
    # A hidden layer that fits in a panel, whose rows an activation passes in one go.
    eager_threads(2)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((256, 40)), np.arange(256) % 10
    for units in (7, 8, 14, 16):
        layers = [fm.Dense(units, activation=activation), fm.Dense(10)]
        model = fm.Sequential(layers, 40, dtype)
        wide = model.copy("float64")
        wide.backend = "numpy"
        found, wanted = model.gradients(x, y)[1], wide.gradients(x, y)[1]
        for name in wanted:
            difference = np.abs(found[name] - wanted[name]).max()
            assert difference <= 3e-6 * np.abs(wanted[name]).max(), (units, name)


def test_divergence_is_told_by_threads_that_had_nothing_to_do_with_the_loss(monkeypatch):
    # Two threads share the first product; the loss and what follows are one thread's.
    monkeypatch.setattr(_threads, "OVERSUBSCRIBE", True)
    monkeypatch.setattr(plans, "_PARALLEL_CALL", 0)
    before = _threads.choice()
    fm.set_num_threads(4)
    x, y = np.full((64, 300), 1e30, "float32"), np.full((64, 3), 1e30)
    model = fm.MLP(300, [200], 3)
    threads = [operation.threads for operation in model.plan(8).operations]
    assert max(threads) > 1
    for _ in range(100):
        with pytest.raises(fm.DivergenceError, match="in epoch 1, step"):
            model.fit(x, y, epochs=1, batch_size=8, loss="mse")
    _threads.choose(before)
