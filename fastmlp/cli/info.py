"""``fastmlp info``: describe the installation or a model file."""

from __future__ import annotations

import argparse
import json
from importlib import util
from typing import Any

from fastmlp import datasets, losses, optimizers
from fastmlp import model as models
from fastmlp._config import config
from fastmlp.cli.parser import Parser, add_threads

__all__ = ["HELP", "add", "run"]

HELP = """\
usage: fastmlp info [MODEL] [options]

Print the version, instruction set, threads, compiler and installed extras; or
the layers of a saved MODEL (a file written by train --save or --checkpoint).

  --json       print one JSON object
  --threads N  number of threads

examples
  fastmlp info
  fastmlp info model.safetensors
  FASTMLP_ISA=generic fastmlp info
"""

_EXTRAS = {
    "plot": ("matplotlib",),
    "data": ("h5py", "pooch"),
    "tensorboard": ("tensorboardX", "PIL"),
}
"""The packages that each extra installs."""


def add(commands: Any) -> Parser:
    """Add the command and return its parser."""
    parser: Parser = commands.add_parser("info", text=HELP)
    parser.add_argument("model", nargs="?", metavar="MODEL")
    parser.add_argument("--json", action="store_true")
    add_threads(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the description."""
    if args.model is not None:
        return _describe(args.model, as_json=args.json)
    entries = config()
    for extra, packages in _EXTRAS.items():
        missing = [name for name in packages if util.find_spec(name) is None]
        state = ", ".join(packages)
        if missing:
            state = f'without {", ".join(missing)}: pip install "fastmlp[{extra}]"'
        entries[f"extra {extra}"] = state
    entries["data folder"] = str(datasets.data_home())
    if args.json:
        print(json.dumps(entries))
        return 0
    width = max(map(len, entries))
    for name, value in entries.items():
        print(f"{name:<{width}}  {value}")
    return 0


def _describe(path: str, *, as_json: bool) -> int:
    model = models.load_model(path)
    if as_json:
        layers = [
            {"name": layer.name, "layer": repr(layer), "output_shape": layer.output_shape}
            for layer in model.layers
        ]
        entries = {
            "model": path,
            "input_shape": model.input_shape,
            "layers": layers,
            "parameters": model.num_parameters,
            "dtype": str(model.dtype),
            "seed": model.seed,
            "scale": model.scale,
            "loss": losses.config(model.loss),
            "optimizer": optimizers.config(model.optimizer),
            "epochs": model.epochs_begun,
            "steps": model.steps_done,
        }
        print(json.dumps(entries))
        return 0
    print(model.summary())
    print(
        f"loss {model.loss.name}, optimizer {model.optimizer!r}, "
        f"{model.epochs_begun} epochs, seed {model.seed}"
    )
    return 0
