"""``fastmlp predict``: the labels, or probabilities, that a saved model gives."""

from __future__ import annotations

import argparse
import io
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp import losses
from fastmlp import model as models
from fastmlp.cli import data
from fastmlp.io import write_atomically

__all__ = ["add", "run"]

Array = npt.NDArray[Any]


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command and return its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "predict",
        usage="fastmlp predict MODEL [DATA] [options]",
        help="apply a saved model",
        description="Predict the test part of the data, or x of an npz file. A classifier gives "
        "labels, any other model its outputs. Printed as csv, unless --out names a file.",
    )
    parser.add_argument("model", metavar="MODEL", help="a file that train --save wrote")
    data.add_options(parser)
    parser.add_argument("--out", metavar="FILE", help="write to a file named *.npz or *.csv")
    parser.add_argument("--proba", action="store_true", help="give the probabilities as well")
    return parser


def run(args: argparse.Namespace) -> int:
    """Predict, and print or write the result."""
    if args.out and not args.out.endswith((".npz", ".csv")):
        raise ValueError(f"--out must name a file *.npz or *.csv, got {args.out!r}.")
    model = models.load_model(args.model)
    columns = _columns(model, data.to_use(data.parts(args), args.dataset).x, args.proba)
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


def _columns(model: models.Sequential, x: Array, proba: bool) -> dict[str, Array]:
    if not model.loss.classifies:
        if proba:
            raise ValueError("--proba is for classifiers; this model was not trained as one.")
        return {"outputs": model.predict(x)}
    probabilities = model.predict_proba(x)
    if isinstance(model.loss, losses.BinaryCrossEntropy):  # an answer an output, yes or no
        answers = (probabilities > 0.5).astype(np.int64).reshape(len(probabilities), -1)
        result = {"labels": answers[:, 0] if answers.shape[1] == 1 else answers}
    else:
        result = {"labels": probabilities.argmax(axis=-1)}
    return result | {"probabilities": probabilities} if proba else result


def _csv(columns: dict[str, Array]) -> str:
    """Return one line a sample; a column of several values becomes several, numbered from 0."""
    names, flat = [], []
    for name, values in columns.items():
        table = values.reshape(len(values), -1)
        names += [name] if values.ndim == 1 else [f"{name}_{i}" for i in range(table.shape[1])]
        flat.append(table)
    # str() of a numpy float32 is the shortest text that reads back to the same value.
    rows = (
        ",".join(str(value) for part in row for value in part) for row in zip(*flat, strict=True)
    )
    return "\n".join([",".join(names), *rows]) + "\n"
