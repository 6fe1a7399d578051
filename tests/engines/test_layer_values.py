"""The values that every layer holds and computes for a batch."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp as fm
from fastmlp._engines.layer_values import layer_values


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_inside_is_what_the_layers_compute(activation, backend, toy):
    model = fm.MLP(6, [8, 5], 3, activation=activation, dtype="float64", seed=3)
    model.backend = backend
    model.fit(*toy, epochs=1)  # brings the weights to panels
    x, y = model.data(*toy, model.loss)
    found = {
        f"{layer.name}.{kind}": values.copy()
        for layer, kind, values in layer_values(model, model.loss, x, y)
    }
    p = model.parameters
    function = getattr(fm.reference, activation)
    z = x @ p["dense_0.weight"] + p["dense_0.bias"]
    np.testing.assert_allclose(found["dense_0.pre_activation"], z, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found["dense_0.activation"], function(z), rtol=1e-10, atol=1e-12)
    assert "dense_2.pre_activation" not in found
    np.testing.assert_allclose(
        found["dense_2.activation"], model.predict(toy[0]), rtol=1e-10, atol=1e-12
    )
    for name, gradient in model.gradients(*toy)[1].items():
        np.testing.assert_allclose(found[f"{name}_gradient"], gradient, rtol=1e-9, atol=1e-13)
