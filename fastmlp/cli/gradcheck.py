"""``fastmlp gradcheck``: gradients against finite differences, on this machine."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from fastmlp import model as models
from fastmlp.gradcheck import gradcheck as check_gradients

__all__ = ["add", "run"]

_SAMPLES, _FEATURES, _CLASSES = 12, 10, 4


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command and return its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "gradcheck",
        help="compare gradients with finite differences",
        description="Compare every gradient of a small MLP with finite differences in float64. "
        "Exit status 1 if they differ.",
    )
    parser.add_argument("--hidden", type=int, nargs="*", default=[16, 8], metavar="UNITS",
                        help="units of the hidden layers (default: 16 8)")  # fmt: skip
    parser.add_argument("--activation", default="relu", help="(default: relu)")
    parser.add_argument("--loss", default="cross_entropy", help="(default: cross_entropy)")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    parser.add_argument("--backend", choices=["kernels", "numpy"], default="kernels",
                        help="(default: kernels)")  # fmt: skip
    return parser


def run(args: argparse.Namespace) -> int:
    """Check a new model on random samples and print the table."""
    model = models.MLP(_FEATURES, args.hidden, _CLASSES, args.activation, seed=args.seed)
    model.backend = args.backend
    rng = np.random.default_rng(args.seed)
    x = rng.standard_normal((_SAMPLES, _FEATURES))
    y = rng.integers(_CLASSES, size=_SAMPLES)
    targets = y if args.loss in ("cross_entropy", "hinge") else np.eye(_CLASSES)[y]
    result = check_gradients(model, x, targets, loss=args.loss)
    print(result)
    return 0 if result.passed else 1
