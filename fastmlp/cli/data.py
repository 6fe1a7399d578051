"""The data that the commands take: digits, mnist or an npz file."""

from __future__ import annotations

import argparse
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastmlp import datasets

__all__ = ["Part", "add_options", "n_classes", "parts", "to_train", "to_use"]

Array = npt.NDArray[Any]

HELD_OUT = 10
"""One sample in so many is kept for validation where the data have none of their own."""


class Part(NamedTuple):
    """Samples and their labels, which may be missing."""

    x: Array
    y: Array | None


def add_options(parser: argparse.ArgumentParser, *, default: str | None = "digits") -> None:
    """Add the argument that names the data and the options that say where they are."""
    parser.add_argument(
        "dataset",
        nargs="?",
        default=default,
        metavar="DATA",
        help="digits (8 x 8 pixels, in the package; the default), mnist, or FILE.npz with arrays "
        "x and y, or x_train, y_train and, if there are any, x_valid, y_valid, x_test, y_test",
    )
    parser.add_argument("--data", metavar="PATH", help="file or folder of mnist")
    parser.add_argument("--download", action="store_true", help="fetch mnist where it is not found")
    parser.add_argument(
        "--threads", type=int, metavar="N", help="threads to use (default: one for each CPU)"
    )


def parts(args: argparse.Namespace) -> dict[str, Part]:
    """Return the parts of the data by name: "train", "valid", "test", or "all" if undivided."""
    name = args.dataset
    if name == "digits":
        train, test = datasets.load_digits()
        return {"train": Part(*train), "test": Part(*test)}
    if name == "mnist":
        try:
            splits = datasets.load_mnist(args.data, download=args.download)
        except FileNotFoundError:
            where = f"in {args.data}" if args.data else "in $FASTMLP_DATA or the cache"
            raise FileNotFoundError(
                f"no files of mnist {where}. Give --data PATH (mnist.pkl.gz, mnist.npz, or a "
                "folder with one of them or the four idx files), or fetch them with --download."
            ) from None
        return {k: Part(*v) for k, v in zip(("train", "valid", "test"), splits, strict=True)}
    if not name.endswith(".npz"):
        raise ValueError(f"DATA must be digits, mnist or a file named *.npz, got {name!r}.")
    return _npz_parts(name, datasets.load_npz(name))


def _npz_parts(name: str, arrays: dict[str, Array]) -> dict[str, Part]:
    result = {}
    for key, suffix in (("all", ""), ("train", "_train"), ("valid", "_valid"), ("test", "_test")):
        if "x" + suffix in arrays:
            result[key] = Part(arrays["x" + suffix], arrays.get("y" + suffix))
            if not result[key].x.ndim:
                raise ValueError(f"{name}: x{suffix} must be an array of samples, got one number.")
    if not result:
        found = ", ".join(arrays) or "none"
        raise ValueError(f"{name} must have an array x, x_train or x_test; its arrays: {found}.")
    return result


def to_train(found: dict[str, Part], name: str) -> tuple[Part, Part, Part | None]:
    """Return what to train, validate and test on; every tenth sample is held out if need be."""
    train, valid = found.get("train", found.get("all")), found.get("valid")
    if train is None:
        raise ValueError(f"{name} has nothing to train on: it needs x and y, or x_train, y_train.")
    for key, part in found.items():
        if part.y is None:
            suffix = "" if key == "all" else f"_{key}"
            raise ValueError(f"{name} has x{suffix} without y{suffix}.")
        if part.y.shape[:1] != part.x.shape[:1]:
            raise ValueError(f"{name}: {key}: {len(part.x)} samples, but y {part.y.shape}.")
    if valid is None:
        if len(train.x) < HELD_OUT:
            raise ValueError(f"{name} has {len(train.x)} samples: too few to hold any out.")
        held = np.arange(len(train.x)) % HELD_OUT == HELD_OUT - 1
        x, y = train.x, np.asarray(train.y)
        train, valid = Part(x[~held], y[~held]), Part(x[held], y[held])
    return train, valid, found.get("test")


def to_use(found: dict[str, Part], name: str) -> Part:
    """Return what to evaluate or predict: the test part of divided data."""
    part = found.get("test", found.get("all"))
    if part is None:
        raise ValueError(f"{name} must have an array x or x_test.")
    return part


def n_classes(*some: Part | None) -> int:
    """Return the number of classes that the labels of all parts need."""
    count = 0
    for part in some:
        if part is None or part.y is None or not part.y.size:
            continue
        if part.y.ndim == 2:
            count = max(count, part.y.shape[1])
        elif part.y.dtype.kind in "iu" and part.y.ndim == 1:
            count = max(count, int(part.y.max()) + 1)
        else:
            raise ValueError(
                "y must hold whole numbers (labels) or one-hot rows, "
                f"got shape {part.y.shape} of {part.y.dtype}."
            )
    if count < 2:
        raise ValueError(f"y must have at least two classes, got {count}.")
    return count
