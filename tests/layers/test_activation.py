"""Activation: the operation of its name."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import activations, reference


@pytest.mark.parametrize("name", sorted(set(activations.ACTIVATIONS) - {"linear"}))
def test_activation_is_the_operation_of_its_name(name, backend):
    x = np.random.default_rng(0).standard_normal((3, 4)).astype("float32")
    model = fm.Sequential([fm.Activation(name)], input_shape=4)
    model.backend = backend
    np.testing.assert_array_equal(model.predict(x), getattr(model.ops, name)(x))
    np.testing.assert_allclose(model.predict(x), getattr(reference, name)(x), rtol=1e-6)


def test_linear_activation_is_the_default():
    for activation in ("linear", None):
        assert fm.Dense(3, activation=activation).activation.name == "linear"
    np.testing.assert_array_equal(
        fm.Sequential([fm.Activation("linear")], 2).predict([[1, 2]]), [[1, 2]]
    )
