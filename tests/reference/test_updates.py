"""Reference updates against values by hand."""

from __future__ import annotations

import numpy as np

from fastmlp import reference


def test_sgd_update_is_in_place():
    weight, gradient = np.array([1.0, 2.0]), np.array([10.0, -10.0])
    assert reference.sgd_update(weight, gradient, 0.1) is None
    np.testing.assert_array_equal(weight, [0.0, 3.0])
    np.testing.assert_array_equal(gradient, [10.0, -10.0])
