"""``fastmlp evaluate``: the loss and accuracy of a saved model."""

from __future__ import annotations

import argparse
from typing import Any

from fastmlp import model as models
from fastmlp.cli import data

__all__ = ["add", "run"]


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command and return its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "evaluate",
        usage="fastmlp evaluate MODEL [DATA] [options]",
        help="measure a saved model",
        description="Print the loss and accuracy of a saved model on the test part of the data, "
        "or on all of an npz file with x and y.",
    )
    parser.add_argument("model", metavar="MODEL", help="a file that train --save wrote")
    data.add_options(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Load the model and the data, and print the measurements."""
    model = models.load_model(args.model)
    x, y = data.to_use(data.parts(args), args.dataset)
    if y is None:
        raise ValueError(f"{args.dataset} has samples without labels.")
    measured = model.evaluate(x, y)
    values = "  ".join(f"{name} {value:.4f}" for name, value in measured.items())
    print(f"{args.dataset}  {len(x):,} samples  {values}")
    return 0
