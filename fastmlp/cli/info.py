"""``fastmlp info``: what is installed, or what is in a model file."""

from __future__ import annotations

import argparse
from typing import Any

from fastmlp import model as models
from fastmlp._config import show_config

__all__ = ["add", "run"]


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command and return its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "info",
        help="describe the installation or a saved model",
        description="Print version, instruction set and compiler; or the layers of a model.",
    )
    parser.add_argument("model", metavar="MODEL", nargs="?", help="a file that train --save wrote")
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the description."""
    if args.model is None:
        show_config()
        return 0
    model = models.load_model(args.model)
    print(model.summary())
    print(
        f"loss {model.loss.name}, optimizer {model.optimizer!r}, "
        f"{model.epochs_begun} epochs, seed {model.seed}"
    )
    return 0
