"""Random splits of data into a training set and a test set."""

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
    """Split samples at random into a training set and a test set.

    Parameters
    ----------
    x : array of shape (N, ...)
        Samples.
    y : array of shape (N,) or (N, ...)
        Targets.
    test_size : float or int, default=0.2
        Size of the test set: a share between 0 and 1, rounded to the nearest number of samples, or
        an integer number of samples.
    stratify : bool, default=False
        Whether each class has the same share in both sets, as nearly as its size allows. It
        requires labels ``y`` of shape (N,), with at least two samples per class.
    seed : int, default=0
        Seed of the split. The split is the same on every machine.

    Returns
    -------
    (x_train, y_train), (x_test, y_test) : arrays
        Copies with the dtypes of ``x`` and ``y``, in random order. They are in pairs, as from the
        loaders of ``fm.datasets``; scikit-learn's function returns them in another order.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described above, or a set would be empty.

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
            raise ValueError(f"{name} must have one entry per sample, got a single value.")
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
    """Return the number of samples in the test set."""
    if isinstance(test_size, (int, np.integer)) and not isinstance(test_size, bool):
        count = _checks.integer(test_size, "test_size", minimum=1)
    else:
        count = round(n * _checks.number(test_size, "test_size", minimum=0.0, below=1.0))
    if not 0 < count < n:
        raise ValueError(
            f"test_size must leave at least one sample in both sets, got {test_size!r}, which puts "
            f"{count} of {n} samples into the test set."
        )
    return count


def _of_each_class(y: Array, order: Array, n_test: int) -> Array:
    """Return which positions of ``order`` belong to the test set, so that each class has its share.

    Each class gets its share rounded down. The remaining samples come from the classes with the
    largest remainders.
    """
    if y.ndim != 1:
        raise ValueError(f"y must have shape (N,) with stratify=True, got {y.shape}.")
    classes, codes, sizes = np.unique(y[order], return_inverse=True, return_counts=True)
    if sizes.min() < _SMALLEST_CLASS:
        rare = classes[sizes.argmin()].item()
        raise ValueError(
            f"y must have at least two samples of each class with stratify=True, got "
            f"{sizes.min()} of class {rare!r}."
        )
    if not len(classes) <= n_test <= len(y) - len(classes):
        raise ValueError(
            f"test_size must leave a sample of each of the {len(classes)} classes in both sets, "
            f"got {n_test} of {len(y)} samples for the test set."
        )
    shares = np.clip(n_test * sizes // len(y), 1, sizes - 1)
    while (left := n_test - int(shares.sum())) != 0:
        # Integer arithmetic, so that equal remainders compare equal. The lower class comes first.
        missing = (n_test * sizes - shares * len(y)) * np.sign(left)
        room = shares < sizes - 1 if left > 0 else shares > 1
        index = int(np.where(room, missing, np.iinfo(np.int64).min).argmax())
        shares[index] += np.sign(left)
    grouped = np.argsort(codes, kind="stable")
    rank = np.empty(len(y), np.int64)
    rank[grouped] = np.arange(len(y)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    test: Array = rank < shares[codes]
    return test
