"""``fastmlp gradcheck``: compare gradients with finite differences on this machine."""

from __future__ import annotations

import argparse
import os
from typing import Any

import numpy as np

from fastmlp import losses, plot
from fastmlp import model as models
from fastmlp.cli import networks
from fastmlp.cli.parser import Parser, add_threads
from fastmlp.cli.settings import Setting, add_options, values
from fastmlp.gradcheck import gradcheck as check_gradients
from fastmlp.io import check_writable
from fastmlp.plot._figure import save

__all__ = ["HELP", "add", "run"]

HELP = """\
usage: fastmlp gradcheck [MODEL] [options]

Compare the gradients of a saved MODEL, or of a new network, with central
differences in float64 on random samples. The exit status is 1 if they differ.

  --hidden 16,8  --conv 4x3  --pool 2  --avg-pool 2  --global-pool
  --padding same  --activation relu  --init NAME  --batch-norm  --dropout 0.5
  --l2 1e-4  --dtype float32  --seed 0  --backend numpy      (as for train)
  --loss cross_entropy|binary_cross_entropy|hinge|mse|mae|huber
  --layer NAME   check one layer or parameter, such as dense_0, with several
                 step sizes 1/N
  --n 1,10,100   values of N (default: 1, 5, 10, 50, ... 500000)
  --plot FILE    plot the errors over N, for example to errors.png
  --samples 12   number of random samples
  --threads N    number of threads

examples
  fastmlp gradcheck --activation gelu
  fastmlp gradcheck --conv 4x3 --pool 2 --hidden 8
  fastmlp gradcheck --layer dense_0 --n 1,10,100,1000
"""

_FEATURES, _CLASSES, _IMAGE = 10, 4, (8, 8, 1)
_MOST_ELEMENTS = 100  # elements checked per parameter of a saved model

_SETTINGS = (
    *(
        setting._replace(default=[16, 8]) if setting.name == "hidden" else setting
        for setting in networks.SETTINGS
        if setting.name != "standardize"  # which needs data
    ),
    Setting("loss", "training"),
    Setting("layer", "check"),
    Setting("n", "check", "positive integers"),
    Setting("plot", "check", "file"),
    Setting("samples", "check", "integer", default=12),
)


def add(commands: Any) -> Parser:
    """Add the command and return its parser."""
    parser: Parser = commands.add_parser("gradcheck", text=HELP)
    parser.add_argument("model", nargs="?", metavar="MODEL")
    add_options(parser, _SETTINGS, networks.LAYERS)
    add_threads(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    """Check a model on random samples and print the table."""
    chosen = values(_SETTINGS, args, {})
    for name in ("n", "plot"):
        if chosen[name] is not None and chosen["layer"] is None:
            raise ValueError(f"--{name} needs --layer NAME, the layer or parameter to check.")
    if chosen["plot"] is not None:
        _check_plot(chosen["plot"], args.model)
    model, loss = _model(args, chosen)
    x, y = _samples(model, loss, chosen["samples"], chosen["seed"])
    check: Any = check_gradients
    if chosen["layer"] is None:
        limit = None if args.model is None else _MOST_ELEMENTS
        result = check(model, x, y, loss=loss, max_per_parameter=limit)
    else:
        result = check(model, x, y, loss=loss, layer=chosen["layer"], n=chosen["n"])
    print(result)
    if chosen["plot"]:
        from matplotlib.figure import Figure  # check_path has found it

        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        result.plot(ax=figure.add_subplot())
        save(figure, chosen["plot"])
        print(f"errors {chosen['plot']}")
    return 0 if result.passed else 1


def _check_plot(path: str, model: str | None) -> None:
    """Raise if the file cannot be written or is the model itself."""
    plot.check_path(path)
    if model is not None and os.path.realpath(path) == os.path.realpath(model):
        raise ValueError(f"MODEL and --plot must name different files, got {path!r} for both.")
    check_writable(path)


def _model(args: argparse.Namespace, chosen: dict[str, Any]) -> tuple[Any, losses.Loss]:
    if args.model is None:
        shape = _IMAGE if chosen["layers"] else (_FEATURES,)
        loss = losses.get("cross_entropy" if chosen["loss"] is None else chosen["loss"])
        return networks.make(chosen, shape, _CLASSES), loss
    given = [setting for setting in networks.SETTINGS if hasattr(args, setting.name)]
    for setting in given:
        if setting.name not in ("seed", "backend"):
            raise ValueError(
                f"{setting.option} applies only to a new network, but MODEL is {args.model}."
            )
    model = models.load_model(args.model)
    model.backend = chosen["backend"]
    return model, model.loss if chosen["loss"] is None else losses.get(chosen["loss"])


def _samples(model: Any, loss: losses.Loss, count: int, seed: int) -> tuple[Any, Any]:
    """Return random samples and targets."""
    if count < 1:
        raise ValueError(f"--samples must be at least 1, got {count}.")
    rng = np.random.default_rng(seed)
    if model.integers_below is None:
        # The model multiplies samples by its scale, so the layers see a standard deviation of 1.
        x = rng.standard_normal((count, *model.input_shape)) / model.scale
    else:
        x = rng.integers(model.integers_below, size=(count, *model.input_shape))
    classes = model.output_shape[-1]
    y = rng.integers(classes, size=count)
    if loss.classifies and not isinstance(loss, losses.BinaryCrossEntropy):
        return x, y
    if classes == 1:
        return x, rng.integers(2, size=(count, 1)).astype(float)
    return x, np.eye(classes)[y]
