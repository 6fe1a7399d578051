"""MNIST, from any of the three formats it is distributed in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fastmlp._types import Array

from ._arrays import format_error
from ._bytestream import open_bytes
from ._download import download as fetch
from ._folders import candidates, not_found
from ._home import data_home
from ._idx import read_idx
from ._npz import load_npz
from ._pickle_reader import read_pickle

__all__ = ["IDX_SET", "check_split", "load_mnist", "read_idx_set"]

Split = tuple[Array, Array]

_N_TRAIN, _N_VALID, _N_TEST = 50_000, 10_000, 10_000
_SIDE = 28
_MAX_BYTES = 2**28  # the pickle is the largest format and unpacks to 210 MiB

_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_HASHES = {
    "train-images-idx3-ubyte.gz": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
    ),
    "train-labels-idx1-ubyte.gz": (
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
    ),
    "t10k-images-idx3-ubyte.gz": (
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
    ),
    "t10k-labels-idx1-ubyte.gz": (
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
    ),
}
_IDX_NAMES = tuple(name.removesuffix(".gz") for name in _HASHES)
_SINGLE_FILES = ("mnist.pkl.gz", "mnist.pkl", "mnist.npz")

IDX_SET = f"complete set of idx files ({', '.join(_IDX_NAMES)}, plain or with .gz)"


def load_mnist(
    path: str | os.PathLike[str] | None = None, *, download: bool = False
) -> tuple[Split, Split, Split]:
    """Load the MNIST handwritten digits: 28 x 28 pixels, 10 classes.

    Reads ``mnist.pkl.gz``, ``mnist.npz`` or the four idx files (plain or ``.gz``). No code in
    a file is run: the pickle is read without an unpickler.

    Parameters
    ----------
    path : str or path, optional
        One of the files, a folder with the files, or a folder that contains a folder ``mnist``.
        The default searches the folder ``$FASTMLP_DATA`` and then the user's cache.
    download : bool, default=False
        Whether to download the idx files if no files are found. They go to ``path/mnist``, or
        without ``path`` to ``mnist`` in :func:`data_home`. Needs the extra ``fastmlp[data]``.

    Returns
    -------
    (x_train, y_train) : arrays of shape (50000, 28, 28) float32 and (50000,) int64
        Images in [0, 1] and labels 0 to 9.
    (x_valid, y_valid) : arrays of shape (10000, 28, 28) float32 and (10000,) int64
        The last 10 000 of the original 60 000 training images.
    (x_test, y_test) : arrays of shape (10000, 28, 28) float32 and (10000,) int64

    Raises
    ------
    FileNotFoundError
        If no MNIST files are found.
    FastmlpFormatError
        If a file is damaged or is not MNIST.
    ImportError
        If ``download=True`` and pooch is missing.
    OSError
        If a file cannot be read, or no mirror returns a file with the pinned SHA-256.

    Notes
    -----
    Pixels of idx and npz files are divided by 255. The pickle stores pixels already divided by
    256, and they are returned unchanged. The two differ by a factor of 256 / 255.

    References
    ----------
    Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits, 1998.
    """
    if path is not None and Path(path).is_file():
        return _read_file(Path(path))
    for folder in candidates(path, ("", "mnist")):
        found = _read_folder(folder)
        if found is not None:
            return found
    if download:
        target = (data_home() if path is None else Path(path)) / "mnist"
        fetch(target, _MIRRORS, _HASHES)
        arrays = read_idx_set(target)
        if arrays is not None:
            return _from_arrays(str(target), arrays)
    wanted = f"{', '.join(_SINGLE_FILES)} and no {IDX_SET}"
    raise not_found("load_mnist", wanted, path, downloads=True)


def _read_folder(folder: Path) -> tuple[Split, Split, Split] | None:
    """Return the three splits from a folder, or None if it does not contain MNIST."""
    for name in _SINGLE_FILES:
        if (folder / name).is_file():
            return _read_file(folder / name)
    arrays = read_idx_set(folder)
    return None if arrays is None else _from_arrays(str(folder), arrays)


def read_idx_set(folder: Path) -> dict[str, Array] | None:
    """Return x_train, y_train, x_test, y_test from the four idx files; None if one is missing."""
    files = [_find_idx(folder, name) for name in _IDX_NAMES]
    arrays = {}
    for key, path in zip(("x_train", "y_train", "x_test", "y_test"), files, strict=True):
        if path is None or None in files:
            return None
        arrays[key] = read_idx(path, max_bytes=_MAX_BYTES)
    return arrays


def _find_idx(folder: Path, name: str) -> Path | None:
    """Return the file ``name``, spelled with "-idx" or ".idx", plain or gzip; None if missing."""
    for spelling in (name, name.replace("-idx", ".idx")):
        for suffix in ("", ".gz"):
            if (folder / (spelling + suffix)).is_file():
                return folder / (spelling + suffix)
    return None


def _read_file(path: Path) -> tuple[Split, Split, Split]:
    """Return the three splits from a single file, whose first bytes determine the format."""
    with open_bytes(path, _MAX_BYTES) as stream:
        start = stream.read(2)
    if start == b"PK":
        return _from_arrays(str(path), load_npz(path, max_bytes=_MAX_BYTES))
    if start == b"\0\0":
        raise format_error(
            str(path),
            "mnist.pkl.gz, mnist.npz or a folder",
            "one idx file; pass the folder with all four",
        )
    return _from_pickle(str(path), read_pickle(path, max_bytes=_MAX_BYTES))


def _from_pickle(name: str, value: object) -> tuple[Split, Split, Split]:
    """Return the splits from ((x, y), (x, y), (x, y))."""
    if not isinstance(value, (tuple, list)) or len(value) != 3:
        got = f"{type(value).__name__}"
        if isinstance(value, (tuple, list)):
            got += f" of length {len(value)}"
        raise format_error(name, "three pairs (images, labels)", got)
    for pair in value:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise format_error(name, "pairs (images, labels)", type(pair).__name__)
    (x_train, y_train), (x_valid, y_valid), (x_test, y_test) = value
    return (
        check_split(f"{name}:train", x_train, y_train, _N_TRAIN),
        check_split(f"{name}:valid", x_valid, y_valid, _N_VALID),
        check_split(f"{name}:test", x_test, y_test, _N_TEST),
    )


def _from_arrays(name: str, arrays: Mapping[str, Array]) -> tuple[Split, Split, Split]:
    """Return the splits from arrays with Keras's names; x_valid and y_valid are optional."""
    keys = {"x_train", "y_train", "x_test", "y_test"}
    if not keys <= arrays.keys() or ("x_valid" in arrays) != ("y_valid" in arrays):
        raise format_error(
            name,
            "arrays x_train, y_train, x_test, y_test and optionally x_valid, y_valid",
            ", ".join(sorted(arrays))[:200] or "none",
        )
    test = check_split(f"{name}:test", arrays["x_test"], arrays["y_test"], _N_TEST)
    if "x_valid" in arrays:
        train = check_split(f"{name}:train", arrays["x_train"], arrays["y_train"], _N_TRAIN)
        valid = check_split(f"{name}:valid", arrays["x_valid"], arrays["y_valid"], _N_VALID)
        return train, valid, test
    x, y = check_split(f"{name}:train", arrays["x_train"], arrays["y_train"], _N_TRAIN + _N_VALID)
    return (x[:_N_TRAIN], y[:_N_TRAIN]), (x[_N_TRAIN:], y[_N_TRAIN:]), test


def check_split(name: str, x: object, y: object, n: int) -> Split:
    """Return x as (n, 28, 28) float32 in [0, 1] and y as (n,) int64 in 0..9."""
    if not isinstance(x, np.ndarray) or not isinstance(y, np.ndarray):
        raise format_error(name, "two arrays", f"{type(x).__name__} and {type(y).__name__}")
    if x.shape not in ((n, _SIDE, _SIDE), (n, _SIDE * _SIDE)):
        raise format_error(name, f"images of shape ({n}, {_SIDE}, {_SIDE})", str(x.shape))
    if y.shape != (n,) or y.dtype.kind not in "iu":
        raise format_error(name, f"{n} integer labels", f"shape {y.shape} of {y.dtype}")
    if y.min() < 0 or y.max() > 9:
        raise format_error(name, "labels 0 to 9", f"{y.min()} to {y.max()}")
    if x.dtype == np.uint8:
        images = x.astype(np.float32)
        images /= np.float32(255)
    elif x.dtype.kind == "f":
        images = x.astype(np.float32, copy=False)
        if not (images.min() >= 0 and images.max() <= 1):  # also catches NaN
            raise format_error(name, "pixels from 0 to 1", f"{x.min()} to {x.max()}")
    else:
        raise format_error(name, "uint8 or floating-point pixels", str(x.dtype))
    images = np.ascontiguousarray(images).reshape(n, _SIDE, _SIDE)
    return images, y.astype(np.int64, copy=False)
