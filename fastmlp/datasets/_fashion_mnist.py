"""Fashion-MNIST: images of clothes in files with the names and formats of MNIST."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from fastmlp._types import Array

from ._arrays import format_error
from ._folders import candidates, not_found
from ._mnist import IDX_SET, check_split, read_idx_set
from ._npz import load_npz

__all__ = ["load_fashion_mnist"]

Split = tuple[Array, Array]

_N_TRAIN, _N_TEST = 60_000, 10_000
_MAX_BYTES = 2**26  # all images together take 52 MiB
_FOLDERS = ("fashion-mnist", "fashion_mnist", "fashion")
_SINGLE_FILES = ("fashion-mnist.npz", "fashion_mnist.npz")


def load_fashion_mnist(path: str | os.PathLike[str] | None = None) -> tuple[Split, Split]:
    """Load the Fashion-MNIST images of clothes: 28 x 28 pixels, 10 classes.

    Reads the four idx files (plain or ``.gz``), which have the same names as the MNIST files, or
    an npz file with arrays x_train, y_train, x_test, y_test.

    Parameters
    ----------
    path : str or path, optional
        An npz file, a folder with the files, or a folder that contains a folder ``fashion-mnist``,
        ``fashion_mnist`` or ``fashion``. The default searches for a folder with one of these names
        in ``$FASTMLP_DATA`` and then in the user's cache; idx files directly in these two are
        ignored, because they may be MNIST.

    Returns
    -------
    (x_train, y_train) : arrays of shape (60000, 28, 28) float32 and (60000,) int64
        Images in [0, 1], the bytes divided by 255, and labels 0 to 9: T-shirt, trouser, pullover,
        dress, coat, sandal, shirt, sneaker, bag, ankle boot.
    (x_test, y_test) : arrays of shape (10000, 28, 28) float32 and (10000,) int64

    Raises
    ------
    FileNotFoundError
        If no Fashion-MNIST files are found.
    FastmlpFormatError
        If a file is damaged or is not Fashion-MNIST.
    OSError
        If a file cannot be read.

    References
    ----------
    H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
    Learning Algorithms, 2017.
    """
    if path is not None and Path(path).is_file():
        return _splits(os.fspath(path), load_npz(path, max_bytes=_MAX_BYTES))
    for folder in candidates(path, _FOLDERS if path is None else ("", *_FOLDERS)):
        arrays = read_idx_set(folder)
        if arrays is not None:
            return _splits(str(folder), arrays)
    for folder in candidates(path, ("", *_FOLDERS)):
        for name in _SINGLE_FILES:
            if (folder / name).is_file():
                return load_fashion_mnist(folder / name)
    folders = " or ".join(_FOLDERS)
    wanted = f"{', '.join(_SINGLE_FILES)} and no {IDX_SET} in a folder named {folders}"
    raise not_found("load_fashion_mnist", wanted, path)


def _splits(name: str, arrays: Mapping[str, Array]) -> tuple[Split, Split]:
    keys = ("x_train", "y_train", "x_test", "y_test")
    if not set(keys) <= arrays.keys():
        found = ", ".join(sorted(arrays))[:200] or "none"
        raise format_error(name, f"arrays {', '.join(keys)}", found)
    x_train, y_train, x_test, y_test = (arrays[key] for key in keys)
    return (
        check_split(f"{name}:train", x_train, y_train, _N_TRAIN),
        check_split(f"{name}:test", x_test, y_test, _N_TEST),
    )
