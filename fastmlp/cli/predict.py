"""``fastmlp predict``: the labels, probabilities or outputs of a saved model."""

from __future__ import annotations

import argparse
import io
import math
import os
import sys
from typing import Any

import numpy as np

from fastmlp import losses
from fastmlp import model as models
from fastmlp._types import Array
from fastmlp.cli import data
from fastmlp.cli.parser import Parser, add_threads
from fastmlp.cli.settings import values
from fastmlp.io import check_writable, write_atomically

__all__ = ["HELP", "add", "run"]

HELP = """\
usage: fastmlp predict MODEL [DATA] [options]

Predict the test part of DATA, or all samples of a file with an array x. Prints
the labels of a classifier, or the outputs of another model, as CSV.

MODEL is a file written by train --save or --checkpoint. DATA is as for train:
digits (the default), mnist, fashion_mnist, cifar10, *.npz, *.h5 or *.csv, with
  --data PATH  --download  --x NAME  --y NAME  --channels-first
  --target COLUMN   column of *.csv that is not a feature (default: none)

  --part NAME       the part to predict: train, valid or test
  --proba           add the probability of each class
  --out FILE        write to a *.csv or *.npz file instead of printing
  --threads N       number of threads

examples
  fastmlp predict model.safetensors
  fastmlp predict model.safetensors digits --proba --out predictions.csv
  fastmlp predict model.safetensors --part train | head
"""

_ROWS = 2**16  # samples between two updates of the progress bar


def add(commands: Any) -> Parser:
    """Add the command and return its parser."""
    parser: Parser = commands.add_parser("predict", text=HELP)
    parser.add_argument("model", metavar="MODEL")
    data.add_data(parser)
    parser.add_argument("--part")
    parser.add_argument("--proba", action="store_true")
    parser.add_argument("--out")
    add_threads(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Predict; print or write the result."""
    if args.out is not None:
        _check_out(args)
    model = models.load_model(args.model)
    if args.proba and not model.loss.classifies:
        raise ValueError(
            f"--proba is for classifiers; this model was trained with {model.loss.name}."
        )
    name, found = data.load(args, labels=False)
    x = data.to_use(found, name, args.part)[1].x
    _check_columns(model, x, args)
    columns = _columns(model, x, args.proba)
    if args.out and args.out.endswith(".npz"):
        packed = io.BytesIO()
        np.savez(packed, **columns)  # type: ignore[arg-type]  # its stub takes no ** of arrays
        write_atomically(args.out, packed.getvalue())
    elif args.out:
        write_atomically(args.out, _csv(columns).encode())
    else:
        sys.stdout.write(_csv(columns))
    if args.out:
        print(f"{len(next(iter(columns.values()))):,} predictions in {args.out}")
    return 0


def _check_out(args: argparse.Namespace) -> None:
    """Raise if the file of --out cannot be written or is an input file."""
    if not args.out.endswith((".npz", ".csv")):
        raise ValueError(f"--out must end in .npz or .csv, got {args.out!r}.")
    chosen = values(data.SETTINGS, args, {})
    inputs = {"MODEL": args.model, "DATA": data.file_of(chosen), "--data": chosen["data"]}
    for name, path in inputs.items():
        if path and os.path.realpath(path) == os.path.realpath(args.out):
            raise ValueError(
                f"{name} and --out must name different files, got {args.out!r} for both."
            )
    check_writable(args.out)


def _check_columns(model: models.Sequential, x: Array, args: argparse.Namespace) -> None:
    """Raise if x has one column too many; the message suggests that it is the target."""
    wanted = math.prod(model.input_shape)
    if x.ndim == 2 and x.shape[1] == wanted + 1 and not hasattr(args, "target"):
        raise ValueError(
            f"the model takes {wanted} features, got {x.shape[1]} columns. If one column is the "
            "target, name it: --target COLUMN (--target=-1 for the last)."
        )


def _columns(model: models.Sequential, x: Array, proba: bool) -> dict[str, Array]:
    if not model.loss.classifies:
        return {"outputs": _in_parts(model.predict, x)}
    probabilities = _in_parts(model.predict_proba, x)
    if isinstance(model.loss, losses.BinaryCrossEntropy):  # each output is a yes or no
        labels = (probabilities > 0.5).astype(np.int64).reshape(len(probabilities), -1)
        result = {"labels": labels[:, 0] if labels.shape[1] == 1 else labels}
    else:
        result = {"labels": probabilities.argmax(axis=-1)}
    return result | {"probabilities": probabilities} if proba else result


def _in_parts(function: Any, x: Array) -> Array:
    """Apply a function to all samples, in parts with a progress bar if there are many."""
    if len(x) <= _ROWS:
        result: Array = function(x)
        return result
    from tqdm import tqdm  # type: ignore[import-untyped]  # imported lazily: slow to import

    bar = tqdm(total=len(x), unit=" samples", unit_scale=True, leave=False, disable=None)
    with bar:
        parts = []
        for start in range(0, len(x), _ROWS):
            parts.append(function(x[start : start + _ROWS]))
            bar.update(len(parts[-1]))
    return np.concatenate(parts)


def _csv(columns: dict[str, Array]) -> str:
    """Return one line per sample; an array with several values per sample gives several columns."""
    names, flat = [], []
    for name, column in columns.items():
        table = column.reshape(len(column), -1)
        names += [name] if column.ndim == 1 else [f"{name}_{i}" for i in range(table.shape[1])]
        flat.append(table)
    # str() of a numpy float32 is the shortest text that reads back to the same value.
    rows = (
        ",".join(str(value) for part in row for value in part) for row in zip(*flat, strict=True)
    )
    return "\n".join([",".join(names), *rows]) + "\n"
