"""Dense: its activation is the same layer as a separate one."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import activations


@pytest.mark.parametrize("name", sorted(activations.ACTIVATIONS))
def test_dense_with_an_activation_is_dense_and_then_the_activation(name, backend):
    fused = fm.Sequential([fm.Dense(5, activation=name, bias_init="normal")], 4, dtype="float64")
    split = fm.Sequential(
        [fm.Dense(5, bias_init="normal"), fm.Activation(name)], 4, dtype="float64"
    )
    x = np.random.default_rng(0).standard_normal((7, 4))
    y = np.arange(7) % 5
    for model in (fused, split):
        model.backend = backend
        model.fit(x, y, epochs=2, batch_size=3, verbose=0)
    np.testing.assert_allclose(fused.predict(x), split.predict(x), rtol=1e-12)
