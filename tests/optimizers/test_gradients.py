"""Sinks of gradients: storing them, and updating with them."""

from __future__ import annotations

import numpy as np

import fastmlp as fm
from fastmlp import reference
from fastmlp.optimizers import GradientStore, OptimizerState, UpdatingSink


def test_a_sink_copies_what_it_stores_and_updates_with_the_gradient_itself():
    model = fm.Sequential([fm.Conv2D(2, 1)], (1, 1, 2), dtype="float64")
    weight = model.named_parameters["conv2d_0.weight"]
    gradient = np.arange(4.0).reshape(1, 1, 2, 2)
    store = GradientStore(reference)
    store.array(weight, gradient)
    gradient *= 2
    np.testing.assert_array_equal(store.gradients["conv2d_0.weight"].ravel(), [0, 1, 2, 3])
    before = weight.value.copy()
    sink = UpdatingSink(reference, OptimizerState(fm.SGD(0.5)))
    sink.array(weight, gradient)
    np.testing.assert_array_equal(weight.value, before - 0.5 * gradient)
    assert not sink.gradients
