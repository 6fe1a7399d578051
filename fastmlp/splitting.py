"""Data shared out for training and for the test."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastmlp import _checks, _random
from fastmlp._types import Array

__all__ = ["train_test_split"]

_SMALLEST_CLASS = 2


def train_test_split(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    test_size: float = 0.2,
    stratify: bool = False,
    seed: int = 0,
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Share samples out at random, some for training and the others for the test.

    Parameters
    ----------
    x : array of shape (N, ...)
        Samples.
    y : array of shape (N,) or (N, ...)
        Their targets.
    test_size : float or int, default=0.2
        How many samples are for the test: a share between 0 and 1, rounded to the nearest number
        of samples, or their number.
    stratify : bool, default=False
        Whether every class has its share in both parts, as nearly as its size allows. Then ``y``
        must be labels of shape (N,), with at least two samples of each.
    seed : int, default=0
        Key of the choice: the same samples on every machine.

    Returns
    -------
    (x_train, y_train), (x_test, y_test) : arrays
        Copies, in pairs as the loaders of ``fm.datasets`` return them (scikit-learn's function has
        another order), with the dtypes given. Samples are in random order.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above, or a part would be empty.

    Examples
    --------
    >>> import fastmlp as fm
    >>> x, y = fm.datasets.make_moons(100)
    >>> (x_train, y_train), (x_test, y_test) = fm.train_test_split(x, y, stratify=True)
    >>> x_train.shape, y_test.sum()
    ((80, 2), np.int64(10))
    """
    samples, targets = _checks.array(x, "x"), _checks.array(y, "y")
    for name, given in (("x", samples), ("y", targets)):
        if not given.ndim:
            raise ValueError(f"{name} must have one entry a sample, got a single value.")
    _checks.same_length(samples, targets, "x", "y")
    n = len(samples)
    n_test = _count(test_size, n)
    key = _checks.integer(seed, "seed", minimum=0)
    order = _random.permutation(key, 0, n, _random.SPLIT)
    if _checks.boolean(stratify, "stratify"):
        test = _of_each_class(targets, order, n_test)
    else:
        test = np.zeros(n, bool)
        test[:n_test] = True
    train, held = order[~test], order[test]
    return (samples[train], targets[train]), (samples[held], targets[held])


def _count(test_size: float, n: int) -> int:
    """Return the number of samples for the test."""
    if isinstance(test_size, (int, np.integer)) and not isinstance(test_size, bool):
        count = _checks.integer(test_size, "test_size", minimum=1)
    else:
        count = round(n * _checks.number(test_size, "test_size", minimum=0.0, below=1.0))
    if not 0 < count < n:
        raise ValueError(
            f"test_size must leave samples for both parts: {test_size!r} of {n} samples puts "
            f"{count} into the test."
        )
    return count


def _of_each_class(y: Array, order: Array, n_test: int) -> Array:
    """Return which places of ``order`` are for the test, so that every class has its share.

    Each class first gets the whole part of its share; what is left goes to the largest remainders.
    """
    if y.ndim != 1:
        raise ValueError(f"y must have shape (N,) for stratify, got {y.shape}.")
    classes, codes, sizes = np.unique(y[order], return_inverse=True, return_counts=True)
    if sizes.min() < _SMALLEST_CLASS:
        rare = classes[sizes.argmin()].item()
        raise ValueError(
            f"y must have at least two samples of each class for stratify, got {sizes.min()} of "
            f"{rare!r}."
        )
    if not len(classes) <= n_test <= len(y) - len(classes):
        raise ValueError(
            f"test_size must leave a sample of each of the {len(classes)} classes for both parts, "
            f"got {n_test} of {len(y)} for the test."
        )
    shares = np.clip(n_test * sizes // len(y), 1, sizes - 1)
    while (left := n_test - int(shares.sum())) != 0:
        # By whole numbers, so that equal remainders are equal: the lower class is first.
        missing = (n_test * sizes - shares * len(y)) * np.sign(left)
        room = shares < sizes - 1 if left > 0 else shares > 1
        index = int(np.where(room, missing, np.iinfo(np.int64).min).argmax())
        shares[index] += np.sign(left)
    grouped = np.argsort(codes, kind="stable")
    rank = np.empty(len(y), np.int64)
    rank[grouped] = np.arange(len(y)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    test: Array = rank < shares[codes]
    return test
