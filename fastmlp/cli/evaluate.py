"""``fastmlp evaluate``: the loss and the metrics of a saved model."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

import numpy as np

from fastmlp import losses, metrics
from fastmlp import model as models
from fastmlp._types import Array
from fastmlp.cli import data
from fastmlp.cli.parser import Parser, add_threads
from fastmlp.cli.settings import Setting, add_to, values

__all__ = ["HELP", "add", "run"]

HELP = """\
usage: fastmlp evaluate MODEL [DATA] [options]

Print the loss and the metrics of a saved model on the test part of DATA, or on
all samples of a file with arrays x and y.

MODEL is a file written by train --save or --checkpoint. DATA is as for train:
digits (the default), mnist, fashion_mnist, cifar10, *.npz, *.h5 or *.csv, with
  --data PATH  --download  --x NAME  --y NAME  --target COLUMN  --channels-first

  --part NAME          the part to measure: train, valid or test
  --metrics error,f1   metrics to measure besides the loss
  --confusion          print the confusion matrix
  --json               print one JSON object
  --threads N          number of threads

examples
  fastmlp evaluate model.safetensors
  fastmlp evaluate model.safetensors digits --confusion --metrics error,f1,top_2
  fastmlp evaluate model.safetensors --part train --json
"""

_METRICS = Setting("metrics", "training", "names")


def add(commands: Any) -> Parser:
    """Add the command and return its parser."""
    parser: Parser = commands.add_parser("evaluate", text=HELP)
    parser.add_argument("model", metavar="MODEL")
    data.add_data(parser)
    add_to(parser, _METRICS)
    parser.add_argument("--part")
    parser.add_argument("--confusion", action="store_true")
    parser.add_argument("--json", action="store_true")
    add_threads(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Load the model and the data; print the loss and the metrics."""
    model = models.load_model(args.model)
    chosen = values([_METRICS], args, {})["metrics"]
    if chosen is not None:
        model.compile(model.optimizer, model.loss, chosen)
    if args.confusion:
        _check_confusion(model)
    name, found = data.load(args)
    part_name, (x, y) = data.to_use(found, name, args.part)
    if y is None:
        raise ValueError(f"{name} must have labels to evaluate a model, got only samples.")
    measured = model.evaluate(x, y)
    matrix = None
    if args.confusion:
        matrix = _confusion(model, x, y)
    if args.json:
        result = {"model": args.model, "data": name, "part": part_name, "samples": len(x)}
        result |= {key: value if np.isfinite(value) else None for key, value in measured.items()}
        if matrix is not None:
            result["confusion_matrix"] = matrix.tolist()
        print(json.dumps(result))
        return 0
    shown = "  ".join(f"{key} {value:.4f}" for key, value in measured.items())
    where = f" {part_name}" if args.part else ""
    print(f"{name}{where}  {len(x):,} samples  {shown}")
    if matrix is not None:
        names = ["no", "yes"] if _is_binary(model) else data.class_names(name, len(matrix))
        print(_table(matrix, names))
    return 0


def _is_binary(model: models.Sequential) -> bool:
    """Return whether each output is a yes or no, instead of one class."""
    return isinstance(model.loss, losses.BinaryCrossEntropy)


def _check_confusion(model: models.Sequential) -> None:
    """Raise ValueError unless the model predicts one class per sample."""
    if not model.loss.classifies:
        raise ValueError(
            f"--confusion is for classifiers; this model was trained with {model.loss.name}."
        )
    count = math.prod(model.output_shape)
    if _is_binary(model) and count > 1:
        raise ValueError(
            f"--confusion needs one class per sample; this model was trained with "
            f"{model.loss.name} and has {count} independent outputs."
        )


def _confusion(model: models.Sequential, x: Array, y: Array) -> Array:
    """Return the confusion matrix: rows are true classes, columns predicted classes."""
    if _is_binary(model):
        count, true = 2, y.reshape(-1) > 0.5
        taken = model.predict_proba(x).reshape(-1) > 0.5
    else:
        count, true = model.output_shape[-1], y if y.ndim == 1 else y.argmax(axis=1)
        taken = model.predict(x).argmax(axis=-1)
    labels = np.arange(count)
    return metrics.confusion_matrix(true.astype(np.int64), taken.astype(np.int64), labels=labels)


def _table(matrix: Array, names: list[str]) -> str:
    """Return the matrix as a table: one line per true class, one column per predicted class."""
    short = [name[:8] for name in names]
    width = max(len(f"{matrix.max()}"), *map(len, short)) + 1
    head = "true \\ predicted"
    left = max(len(head), *map(len, names))
    lines = [f"{head:<{left}} " + "".join(f"{name:>{width}}" for name in short) + "   recall"]
    for name, row in zip(names, matrix, strict=True):
        right = row[names.index(name)] / row.sum() if row.sum() else float("nan")
        cells = "".join(f"{value if value else '.':>{width}}" for value in row.tolist())
        lines.append(f"{name:<{left}} {cells}  {right:7.1%}")
    return "\n".join(lines)
