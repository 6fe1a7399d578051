from __future__ import annotations

import hashlib

import numpy as np

from fastmlp.datasets import load_digits

PINNED = ["dc239e5fbc066b08", "d88bc14b5455324f", "3517ef4bf5602d04", "5b60d960d691c63f"]


def test_digits_shapes_and_types() -> None:
    (x_train, y_train), (x_test, y_test) = load_digits()
    assert x_train.shape == (1438, 8, 8) and x_test.shape == (359, 8, 8)
    assert y_train.shape == (1438,) and y_test.shape == (359,)
    assert x_train.dtype == x_test.dtype == np.float32
    assert y_train.dtype == y_test.dtype == np.int64
    assert all(a.flags.writeable and a.flags.c_contiguous for a in (x_train, y_train, x_test))


def test_digits_values() -> None:
    (x_train, y_train), (x_test, y_test) = load_digits()
    x = np.concatenate([x_train, x_test])
    assert x.min() == 0 and x.max() == 1
    np.testing.assert_array_equal(x * 16, np.rint(x * 16))
    assert set(np.unique(y_train)) == set(np.unique(y_test)) == set(range(10))


def test_digits_are_pinned() -> None:
    found = [hashlib.sha256(a.tobytes()).hexdigest()[:16] for pair in load_digits() for a in pair]
    assert found == PINNED


def test_digits_split_is_every_fifth() -> None:
    (x_train, y_train), (x_test, y_test) = load_digits()
    assert list(y_train[:8]) == [0, 1, 2, 3, 5, 6, 7, 8]  # the file starts 0, 1, 2, ...
    assert list(y_test[:3]) == [4, 9, 4]
    assert int(x_train[0].sum() * 16) == 294
    assert len(x_test) == len(y_test)


def test_digits_calls_are_independent() -> None:
    first = load_digits()[0][0]
    first[:] = -1
    assert load_digits()[0][0].min() == 0
