"""The data of the commands: sets by name, files of arrays, and tables."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from fastmlp import datasets, layouts
from fastmlp._types import Array
from fastmlp.cli.settings import Setting, add_options, values

__all__ = [
    "CLASSES",
    "SETTINGS",
    "Part",
    "add_data",
    "class_names",
    "file_of",
    "load",
    "parts",
    "to_train",
    "to_use",
]

HELD_OUT = 10
"""Without a validation part, one in this many training samples is held out for validation."""

_SETS = ("digits", "mnist", "fashion_mnist", "cifar10")
_FILES = (".npz", ".h5", ".hdf5", ".csv", ".csv.gz", ".tsv", ".txt")

CLASSES = {
    "fashion_mnist": ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt",
                      "sneaker", "bag", "ankle boot"),
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship",
                "truck"),
}  # fmt: skip
"""Names of the classes of data sets whose labels are not digits."""

SETTINGS = (
    Setting("dataset", "data", default="digits"),
    Setting("data", "data", "file or folder"),
    Setting("download", "data", "switch", default=False),
    Setting("x", "data"),
    Setting("y", "data"),
    Setting("target", "data", "column"),
    Setting("channels_first", "data", "switch", default=False),
)
"""The settings that select the data."""


class Part(NamedTuple):
    """Samples and their labels, or None without labels."""

    x: Array
    y: Array | None


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add the argument DATA and the options that select the data."""
    parser.add_argument("dataset", nargs="?", default=argparse.SUPPRESS)
    add_options(parser, SETTINGS)


def load(args: argparse.Namespace, *, labels: bool = True) -> tuple[str, dict[str, Part]]:
    """Return the name of the data on the command line, and its parts."""
    chosen = values(SETTINGS, args, {})
    return chosen["dataset"], parts(chosen, labels=labels)


def parts(chosen: Mapping[str, Any], *, labels: bool = True) -> dict[str, Part]:
    """Return the parts of the data by name: "train", "valid" and "test", or "all" if undivided.

    Parameters
    ----------
    chosen : dict
        A value for each of ``SETTINGS``.
    labels : bool, default=True
        Whether a table has a target column by default.

    Raises
    ------
    ValueError
        If a setting does not apply to the data, or an array is missing in a file.
    OSError, ImportError
        If a file cannot be read, or the package to read it is missing.
    """
    name = chosen["dataset"]
    _check_settings(name, chosen)
    if name in _SETS:
        found = _named(name, chosen)
    elif name.endswith((".npz", ".h5", ".hdf5")):
        found = _from_arrays(name, chosen)
    else:
        found = _from_table(name, chosen["target"], labels=labels)
    if chosen["channels_first"]:
        found = {key: part._replace(x=_images(part.x, name)) for key, part in found.items()}
    return found


def file_of(chosen: Mapping[str, Any]) -> str | None:
    """Return the file that DATA names; None if DATA is the name of a set."""
    name: str = chosen["dataset"]
    return None if name in _SETS else name


def _check_settings(name: str, chosen: Mapping[str, Any]) -> None:
    if name not in _SETS and not name.endswith(_FILES):
        raise ValueError(
            f"DATA must be digits, mnist, fashion_mnist, cifar10 or a file named *.npz, *.h5 or "
            f"*.csv, got {name!r}."
        )
    of_sets = name in _SETS and name != "digits"
    of_arrays, of_tables = name.endswith((".npz", ".h5", ".hdf5")), name.endswith(_FILES[3:])
    fits = {
        "data": (of_sets, "mnist, fashion_mnist and cifar10"),
        "download": (name == "mnist", "mnist"),
        "x": (of_arrays, "*.npz and *.h5 files"),
        "y": (of_arrays, "*.npz and *.h5 files"),
        "target": (of_tables, "*.csv files"),
    }
    for setting, (does, what) in fits.items():
        given = chosen[setting] is not None and chosen[setting] is not False
        if given and not does:
            raise ValueError(f"--{setting} is for {what}, but DATA is {name}.")
    if chosen["y"] is not None and chosen["x"] is None:
        raise ValueError("--y needs --x NAME, the array with the samples.")


def _named(name: str, chosen: Mapping[str, Any]) -> dict[str, Part]:
    path, download = chosen["data"], chosen["download"]
    loaders: dict[str, Any] = {
        "digits": datasets.load_digits,
        "mnist": lambda: datasets.load_mnist(path, download=download),
        "fashion_mnist": lambda: datasets.load_fashion_mnist(path),
        "cifar10": lambda: datasets.load_cifar10(path),
    }
    try:
        splits = loaders[name]()
    except FileNotFoundError:
        where = f"in {path}" if path else "in $FASTMLP_DATA or the user's cache"
        fetch = ", or download them with --download" if name == "mnist" else ""
        what = {
            "mnist": "mnist.pkl.gz, mnist.npz, or a folder with one of them or the four idx files",
            "fashion_mnist": "fashion-mnist.npz, or a folder with it or the four idx files",
            "cifar10": "cifar10.npz, one of the two archives, or a folder with the batches",
        }[name]
        raise FileNotFoundError(
            f"no {name} files {where}. Add --data PATH ({what}){fetch}."
        ) from None
    keys = ("train", "test") if len(splits) == 2 else ("train", "valid", "test")
    return {key: Part(*split) for key, split in zip(keys, splits, strict=True)}


def _from_arrays(name: str, chosen: Mapping[str, Any]) -> dict[str, Part]:
    x, y = chosen["x"], chosen["y"]
    if name.endswith(".npz"):
        arrays: Mapping[str, Array] = datasets.load_npz(name)
        for key in (x, y):
            if key is not None and key not in arrays:
                raise ValueError(f"{name} has no array {key!r}; its arrays: {_listed(arrays)}.")
    else:
        keys = [key for key in (x, y) if key is not None]
        try:
            arrays = datasets.load_hdf5(name, keys)
        except KeyError as error:
            raise ValueError(f"{error.args[0]}.") from None
    if x is not None:
        arrays = {"x": arrays[x]} if y is None else {"x": arrays[x], "y": arrays[y]}
    result = {}
    for key, suffix in (("all", ""), ("train", "_train"), ("valid", "_valid"), ("test", "_test")):
        if "x" + suffix in arrays:
            result[key] = Part(arrays["x" + suffix], arrays.get("y" + suffix))
            if not result[key].x.ndim:
                raise ValueError(f"{name}: x{suffix} must be an array of samples, got a number.")
    if not result:
        raise ValueError(
            f"{name} must have an array x, x_train or x_test; its arrays: {_listed(arrays)}. "
            "Use --x and --y to name other arrays."
        )
    return result


def _from_table(name: str, target: int | str | None, *, labels: bool) -> dict[str, Part]:
    """Return all lines of a table; with labels the default target is the last column."""
    if target is None and labels:
        target = -1
    return {"all": Part(*datasets.load_csv(name, target))}


def _images(x: Array, name: str) -> Array:
    if x.ndim != 4:
        raise ValueError(
            f"--channels-first is for images (N, C, H, W), but {name} has shape {x.shape}."
        )
    return layouts.images_from_torch(x)


def _listed(arrays: Mapping[str, Array]) -> str:
    return ", ".join(arrays)[:200] or "none"


def to_train(found: Mapping[str, Part], name: str) -> tuple[Part, Part, Part | None]:
    """Return the parts for training, validation and test; hold out validation samples if needed."""
    train, valid = found.get("train", found.get("all")), found.get("valid")
    if train is None:
        raise ValueError(f"{name} must have arrays x and y, or x_train and y_train, to train on.")
    for key, part in found.items():
        if part.y is None:
            suffix = "" if key == "all" else f"_{key}"
            raise ValueError(f"{name} has x{suffix} without y{suffix}.")
        if part.y.shape[:1] != part.x.shape[:1]:
            raise ValueError(
                f"{name}: {key}: x has {len(part.x)} samples, but y has shape {part.y.shape}."
            )
    if valid is None:
        if len(train.x) < HELD_OUT:
            raise ValueError(
                f"{name} must have at least {HELD_OUT} samples, to hold out some for validation, "
                f"got {len(train.x)}."
            )
        held = np.arange(len(train.x)) % HELD_OUT == HELD_OUT - 1
        x, y = train.x, np.asarray(train.y)
        train, valid = Part(x[~held], y[~held]), Part(x[held], y[held])
    return train, valid, found.get("test")


def to_use(found: Mapping[str, Part], name: str, wanted: str | None = None) -> tuple[str, Part]:
    """Return the name and the samples of the part ``wanted``; by default of "test" or "all".

    "train" and "valid" are the same samples as in training.
    """
    if wanted in ("train", "valid"):
        train, valid, _ = to_train(found, name)
        return wanted, train if wanted == "train" else valid
    if wanted is not None:
        if wanted not in found:
            known = ", ".join(dict.fromkeys(["train", "valid", *found]))
            raise ValueError(f"{name} has no part {wanted!r}; it has {known}.")
        return wanted, found[wanted]
    for key in ("test", "all"):
        if key in found:
            return key, found[key]
    raise ValueError(f"{name} must have an array x or x_test.")


def class_names(name: str, count: int) -> list[str]:
    """Return the names of the classes; classes without names get their numbers."""
    known = CLASSES.get(os.path.basename(name), ())
    return list(known) if len(known) == count else [str(number) for number in range(count)]
