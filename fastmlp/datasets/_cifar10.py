"""CIFAR-10, from any of the formats it is distributed in."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fastmlp._types import Array

from ._arrays import array_from_bytes, format_error
from ._bytestream import ByteStream, open_bytes
from ._folders import candidates, not_found
from ._npz import load_npz
from ._pickle_reader import pickle_value
from ._tar import read_members

__all__ = ["load_cifar10"]

Split = tuple[Array, Array]

_SIDE, _CHANNELS = 32, 3
_PIXELS = _SIDE * _SIDE * _CHANNELS
_RECORD = 1 + _PIXELS  # one image of the binary version: the label, then the three planes
_MAX_BATCH_BYTES = 2**25  # a batch of 10 000 images takes 31 MB in either version
_MAX_BYTES = 2**28  # all six batches take 186 MB

_BATCHES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch")
_BINARY = tuple(name + ".bin" for name in _BATCHES)
_SINGLE_FILES = ("cifar-10-python.tar.gz", "cifar-10-binary.tar.gz", "cifar10.npz")
_FOLDERS = ("", "cifar-10-batches-py", "cifar-10-batches-bin", "cifar10", "cifar-10")

_NPZ_KEYS = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
)


def load_cifar10(
    path: str | os.PathLike[str] | None = None, *, dtype: Literal["float32", "uint8"] = "float32"
) -> tuple[Split, Split]:
    """Load the CIFAR-10 photographs: 32 x 32 pixels, three colours, 10 classes.

    Reads the "python version" (``data_batch_1`` to ``5`` and ``test_batch``), the "binary version"
    (the same names with ``.bin``), a ``.tar`` or ``.tar.gz`` archive of either version, or an npz
    file. No code in a file is run and nothing is extracted to the disk.

    Parameters
    ----------
    path : str or path, optional
        An archive, an npz file, the folder of the batches, or a folder that contains a folder
        ``cifar-10-batches-py``, ``cifar-10-batches-bin``, ``cifar10`` or ``cifar-10``. The default
        searches the folder ``$FASTMLP_DATA`` and then the user's cache.
    dtype : {"float32", "uint8"}, default="float32"
        With "uint8" the pixels stay bytes, 0 to 255, and take a quarter of the memory. Use it with
        a model that has ``scale=1/255``.

    Returns
    -------
    (x_train, y_train) : arrays of shape (50000, 32, 32, 3) and (50000,) int64
        Images, with red, green and blue on the last axis: float32 in [0, 1] (the bytes divided by
        255), or uint8. Labels 0 to 9: airplane, automobile, bird, cat, deer, dog, frog, horse,
        ship, truck. Files with fewer images give smaller arrays.
    (x_test, y_test) : arrays of shape (10000, 32, 32, 3) and (10000,) int64

    Raises
    ------
    FileNotFoundError
        If no CIFAR-10 files are found.
    FastmlpFormatError
        If a file is damaged or is not CIFAR-10.
    OSError
        If a file cannot be read.

    Notes
    -----
    An npz file contains x_train, y_train, x_test, y_test (Keras's names) or train_images,
    train_labels, test_images, test_labels. Its images are bytes of shape (n, 32, 32, 3),
    (n, 3, 32, 32) or (n, 3072). A row of 3072 bytes holds three planes, as in the batches.

    References
    ----------
    A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
    """
    if dtype not in ("float32", "uint8"):
        raise ValueError(f'load_cifar10: dtype must be "float32" or "uint8", got {dtype!r}.')
    if path is not None and Path(path).is_file():
        return _finish(_read_file(Path(path)), dtype)
    for folder in candidates(path, _FOLDERS):
        for name in _SINGLE_FILES:
            if (folder / name).is_file():
                return _finish(_read_file(folder / name), dtype)
        for names, read in ((_BATCHES, _python_batch), (_BINARY, _binary_batch)):
            if all((folder / name).is_file() for name in names):
                return _finish(_read_batches(folder, names, read), dtype)
    raise not_found(
        "load_cifar10",
        f"{', '.join(_SINGLE_FILES)} and no complete set of batches ({', '.join(_BATCHES)}, or "
        "the same names with .bin)",
        path,
    )


def _read_file(path: Path) -> tuple[Split, Split]:
    """Return the splits from a single file, whose first bytes determine the format."""
    with open_bytes(path, _MAX_BYTES) as stream:
        start = stream.read(2)
        if start == b"PK":
            return _from_npz(path)
        if path.name in (*_BATCHES, *_BINARY):
            raise format_error(
                str(path),
                "an archive, an npz file or a folder",
                "one batch; pass the folder with all six",
            )
    with open_bytes(path, _MAX_BYTES) as stream:
        return _from_tar(stream)


def _from_npz(path: Path) -> tuple[Split, Split]:
    arrays = load_npz(path, max_bytes=_MAX_BYTES)
    for keys in _NPZ_KEYS:
        if set(keys) <= arrays.keys():
            x_train, y_train, x_test, y_test = (arrays[key] for key in keys)
            train = _check(f"{path}:{keys[0]}", x_train, y_train)
            return train, _check(f"{path}:{keys[2]}", x_test, y_test)
    raise format_error(
        str(path),
        " or ".join("arrays " + ", ".join(keys) for keys in _NPZ_KEYS),
        ", ".join(sorted(arrays))[:200] or "none",
    )


_Reader = Callable[[ByteStream], Split]


def _from_tar(stream: ByteStream) -> tuple[Split, Split]:
    members = read_members(stream, (*_BATCHES, *_BINARY), _MAX_BATCH_BYTES)
    for names, read in ((_BATCHES, _python_batch), (_BINARY, _binary_batch)):
        if all(name in members for name in names):
            splits = []
            for name in names:
                inside = f"{stream.name}:{name}"
                data = members.pop(name)
                splits.append(read(ByteStream(io.BytesIO(data), inside, _MAX_BATCH_BYTES)))
            return _joined(splits)
    found = ", ".join(members) or "none of them"
    wanted = f"members {', '.join(_BATCHES)}, or the same names with .bin"
    raise format_error(stream.name, wanted, found)


def _read_batches(folder: Path, names: tuple[str, ...], read: _Reader) -> tuple[Split, Split]:
    splits = []
    for name in names:
        with open_bytes(folder / name, _MAX_BATCH_BYTES) as stream:
            splits.append(read(stream))
    return _joined(splits)


def _joined(splits: list[Split]) -> tuple[Split, Split]:
    *train, test = splits
    x, y = zip(*train, strict=True)
    return (np.concatenate(x), np.concatenate(y)), test


def _python_batch(stream: ByteStream) -> Split:
    """Return images and labels from a dictionary pickled by Python 2 (bytes as keys) or 3."""
    value = pickle_value(stream)
    if not isinstance(value, dict):
        raise format_error(stream.name, "a dictionary", f"a {type(value).__name__}")
    entries = {k.decode("latin-1") if isinstance(k, bytes) else k: v for k, v in value.items()}
    labels = entries.get("labels")
    if "data" not in entries or labels is None:
        raise format_error(
            stream.name, "entries data and labels", ", ".join(map(repr, entries))[:200] or "none"
        )
    if isinstance(labels, list):
        # The list may hold any values, so check each one before numpy sees the list.
        if not all(type(label) is int and 0 <= label <= 9 for label in labels):
            raise format_error(stream.name, "labels 0 to 9", "other values")
        labels = np.array(labels, np.int64)
    return _check(stream.name, entries["data"], labels)


def _binary_batch(stream: ByteStream) -> Split:
    """Return images and labels from records of one label and three planes of 1024 bytes."""
    data = bytearray()
    while chunk := stream.read_some(_RECORD * 100):
        data += chunk
    if not data or len(data) % _RECORD:
        raise format_error(stream.name, f"records of {_RECORD} bytes", f"{len(data)} bytes")
    shape = (len(data) // _RECORD, _RECORD)
    records = array_from_bytes(stream.name, data, "u1", "|", shape)
    return _check(stream.name, records[:, 1:], records[:, 0])


def _check(name: str, x: Any, y: Any) -> Split:
    """Return x as (n, 32, 32, 3) uint8 and y as (n,) int64 in 0..9."""
    if not isinstance(x, np.ndarray) or not isinstance(y, np.ndarray):
        raise format_error(name, "two arrays", f"{type(x).__name__} and {type(y).__name__}")
    n = len(x) if x.ndim else 0
    if n == 0 or x.shape[1:] not in (
        (_PIXELS,),
        (_CHANNELS, _SIDE, _SIDE),
        (_SIDE, _SIDE, _CHANNELS),
    ):
        raise format_error(name, "images of 3 x 32 x 32 pixels", f"shape {x.shape}")
    if x.dtype != np.uint8:
        raise format_error(name, "uint8 pixels", str(x.dtype))
    if y.shape not in ((n,), (n, 1)) or y.dtype.kind not in "iu":
        raise format_error(name, f"{n} integer labels", f"shape {y.shape} of {y.dtype}")
    if y.min() < 0 or y.max() > 9:
        raise format_error(name, "labels 0 to 9", f"{y.min()} to {y.max()}")
    if x.shape[1:] != (_SIDE, _SIDE, _CHANNELS):
        x = x.reshape(n, _CHANNELS, _SIDE, _SIDE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(x), y.reshape(n).astype(np.int64, copy=False)


def _finish(splits: tuple[Split, Split], dtype: str) -> tuple[Split, Split]:
    if dtype == "uint8":
        return splits
    (x_train, y_train), (x_test, y_test) = splits
    return (_floats(x_train), y_train), (_floats(x_test), y_test)


def _floats(x: Array) -> Array:
    result = x.astype(np.float32)
    result /= np.float32(255)
    return result
