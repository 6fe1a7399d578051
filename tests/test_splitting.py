from __future__ import annotations

import numpy as np
import pytest

import fastmlp as fm


def data(sizes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Labels in runs; each sample is its number, so that pairs can be told."""
    y = np.repeat(np.arange(len(sizes)), sizes)
    return np.stack([np.arange(len(y))] * 3, axis=1).astype(np.float32), y


@pytest.mark.parametrize("stratify", [False, True])
@pytest.mark.parametrize("test_size", [0.2, 0.5, 7, 0.33])
def test_every_sample_goes_somewhere_once(stratify: bool, test_size: float) -> None:
    x, y = data([40, 30, 33])
    (x_train, y_train), (x_test, y_test) = fm.train_test_split(x, y, test_size, stratify)
    wanted = test_size if isinstance(test_size, int) else round(test_size * 103)
    assert len(x_test) == wanted
    numbers = np.concatenate([x_train[:, 0], x_test[:, 0]]).astype(int)
    assert sorted(numbers) == list(range(103))
    np.testing.assert_array_equal(y[numbers], np.concatenate([y_train, y_test]))
    assert x_train.dtype == np.float32 and y_test.dtype == y.dtype
    assert (np.diff(x_train[:, 0]) < 0).any() and (np.diff(x_test[:, 0]) < 0).any()


@pytest.mark.parametrize("sizes", [[80, 20], [2, 98], [3, 3, 3, 91], [50, 25, 25], [34, 33, 33]])
def test_stratified_shares(sizes: list[int]) -> None:
    x, y = data(sizes)
    _, (_, y_test) = fm.train_test_split(x, y, 0.2, stratify=True)
    counts = np.bincount(y_test, minlength=len(sizes))
    assert counts.sum() == 20 and counts.min() >= 1
    for count, size in zip(counts, sizes, strict=True):
        assert abs(count - 0.2 * size) < 1.5


def test_stratified_is_random_within_classes() -> None:
    x, y = data([50, 50])
    tests = [fm.train_test_split(x, y, 0.1, True, seed)[1][0][:, 0] for seed in range(200)]
    taken = np.bincount(np.concatenate(tests).astype(int), minlength=100)
    assert taken.min() > 5 and taken.max() < 45  # each is expected 20 times
    labels = np.array(["b", "a"] * 50)
    _, (_, held) = fm.train_test_split(x, labels == "a", 0.1, True)
    assert held.sum() == 5


def test_seed_decides() -> None:
    x, y = data([50, 50])
    first, again, other = (fm.train_test_split(x, y, seed=seed)[1][0] for seed in (1, 1, 2))
    assert (first == again).all() and (first != other).any()
    # Pinned: the same samples on every machine.
    assert fm.train_test_split(x, y, 5)[1][0][:, 0].astype(int).tolist() == PINNED


PINNED = [17, 73, 97, 34, 93]


def test_arguments() -> None:
    x, y = data([5, 5])
    for arguments, error, message in [
        ((x, y[:4]), ValueError, "x and y must have the same length, got 10 and 4"),
        ((x, y, 0.01), ValueError, "got 0.01, which puts 0 of 10 samples into the test set"),
        ((x, y, 10), ValueError, "got 10, which puts 10 of 10 samples into the test set"),
        ((x, y, 1.0), ValueError, "test_size must be at least 0 and below 1, got 1.0"),
        ((x, y, 0), ValueError, "test_size must be at least 1, got 0"),
        ((x, y, True), TypeError, "test_size must be a number, got True"),
        ((x, y, 0.2, 1), TypeError, "stratify must be True or False, got 1"),
        (
            (x, x, 0.2, True),
            ValueError,
            r"y must have shape \(N,\) with stratify=True, got \(10, 3\)",
        ),
        (
            (x, [0] * 9 + [1], 0.2, True),
            ValueError,
            "two samples of each class .* got 1 of class 1",
        ),
        ((x, y, 1, True), ValueError, "a sample of each of the 2 classes"),
        ((3.0, y), ValueError, "x must have one entry per sample"),
        ((None, y), TypeError, "x must be an array, got None"),
    ]:
        with pytest.raises(error, match=message):
            fm.train_test_split(*arguments)
