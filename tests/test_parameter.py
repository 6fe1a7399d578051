"""Parameters: arrays with two memory layouts, row-major and packed in panels."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.parameter import Storage


@pytest.mark.parametrize("shape", [(3, 2, 5, 7), (1, 1, 1, 16), (2, 2, 3, 33), (4, 5, 8)])
@pytest.mark.parametrize("width", [8, 16])
def test_a_filter_is_a_matrix_in_panels(shape, width):
    value = np.arange(float(np.prod(shape))).reshape(shape)
    stored = Storage(shape)
    stored.assign(value, np.dtype(np.float64))
    panels = stored.panels(width)
    matrix = value.reshape(-1, shape[-1])
    assert panels.shape == (-(-shape[-1] // width), len(matrix), width)
    padded = np.zeros((len(matrix), len(panels) * width))
    padded[:, : shape[-1]] = matrix
    for p, panel in enumerate(panels):
        np.testing.assert_array_equal(panel, padded[:, p * width : (p + 1) * width])
    np.testing.assert_array_equal(stored.value, value)
    stored.write(value + 1)
    assert stored.live is panels
    np.testing.assert_array_equal(stored.value, value + 1)
    stored.restore(value)  # a copy of before it was in panels
    np.testing.assert_array_equal(stored.value, value)
    np.testing.assert_array_equal(stored.panels(2 * width)[0, :, 0], matrix[:, 0])
    np.testing.assert_array_equal(stored.plain(), value)
    assert stored.plain().shape == shape
