"""Reference dropout and noise against their definitions."""

from __future__ import annotations

import numpy as np

from fastmlp import reference


def test_dropout_is_what_it_says():
    x = np.ones((200, 500), "float32")
    for rate in (0.0, 0.1, 0.5, 0.9):
        y = reference.dropout(x, rate, seed=1, layer=2, step=3)
        dropped = y == 0
        assert abs(dropped.mean() - rate) < 0.005
        np.testing.assert_array_equal(y[~dropped], np.float32(1 / (1 - rate)))
        backward = reference.dropout_backward(x, rate, seed=1, layer=2, step=3)
        np.testing.assert_array_equal(backward, y)


def test_a_part_of_a_batch_has_the_masks_of_its_rows():
    x = np.ones((40, 30))
    whole = reference.dropout(x, 0.5, seed=0, layer=0, step=1)
    part = reference.dropout(x[:7], 0.5, seed=0, layer=0, step=1)
    np.testing.assert_array_equal(part, whole[:7])


def test_what_is_dropped_may_be_nan():
    y = reference.dropout(np.full((10, 10), np.nan), 0.5, seed=0, layer=0, step=1)
    assert 20 < (y == 0).sum() < 80


def test_noise_is_normal():
    noise = reference.gaussian_noise(np.zeros((500, 400)), 2.0, seed=0, layer=0, step=1).ravel()
    noise /= 2.0
    n = len(noise)
    assert abs(noise.mean()) < 5 / np.sqrt(n)
    assert abs(noise.std() - 1) < 5 / np.sqrt(2 * n)
    assert abs((noise**3).mean()) < 5 * np.sqrt(15 / n)
    assert abs((noise**4).mean() - 3) < 5 * np.sqrt(96 / n)
    assert 4 < abs(noise).max() < 6.4
