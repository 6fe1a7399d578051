"""``fastmlp train``: train an MLP, save it and draw its learning curve."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from typing import Any

from fastmlp import model as models
from fastmlp import optimizers, plot
from fastmlp.cli import data

__all__ = ["add", "run"]

_INTERRUPTED = 130
# Epochs, batch size, learning rate of sgd. The digits are few, so they take more and smaller steps.
_DEFAULTS = {"digits": (30, 8, 0.2)}
_OTHERS = (10, 32, 0.1)


def add(commands: Any) -> argparse.ArgumentParser:
    """Add the command and return its parser."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train",
        usage="fastmlp train [DATA] [options]",
        help="train a classifier",
        description="Train an MLP to classify. Data without a validation part keep every tenth "
        "training sample for it. Ctrl-C ends training early; what was reached is still saved.",
    )
    data.add_options(parser)
    option = parser.add_argument
    option("--hidden", type=int, nargs="*", default=[512, 256], metavar="UNITS",
           help="units of the hidden layers (default: 512 256)")  # fmt: skip
    option("--activation", default="relu", help="of the hidden layers (default: relu)")
    option("--init", help="initial weights (default: he_normal for relu, else glorot_uniform)")
    option("--optimizer", default="sgd", help=f"{', '.join(optimizers.OPTIMIZERS)} (default: sgd)")
    option("--lr", type=float,
           help="learning rate (default: for sgd 0.2 with digits, else 0.1; that of the "
           "optimizer otherwise)")  # fmt: skip
    option("--epochs", type=int, help="(default: 30 for digits, else 10)")
    option("--batch-size", type=int, help="(default: 8 for digits, else 32)")
    option("--dtype", choices=["float32", "float64"], default="float32", help="(default: float32)")
    option("--seed", type=int, default=0, help="of weights and batch orders (default: 0)")
    option("--backend", choices=["kernels", "numpy"], default="kernels",
           help="compiled kernels or plain numpy (default: kernels)")  # fmt: skip
    option("--save", metavar="FILE", help="write the model, such as model.safetensors")
    option("--plot", metavar="FILE", help="draw the learning curve, such as curve.png")
    option("--quiet", action="store_true", help="print the result only")
    return parser


def run(args: argparse.Namespace) -> int:
    """Train, report, save and draw."""
    _check_outputs(args)
    train, valid, test = data.to_train(data.parts(args), args.dataset)
    epochs, batch_size, sgd_rate = _DEFAULTS.get(args.dataset, _OTHERS)
    epochs = epochs if args.epochs is None else args.epochs
    batch_size = batch_size if args.batch_size is None else args.batch_size
    settings = {"name": args.optimizer}
    if args.lr is not None or args.optimizer == "sgd":
        settings["learning_rate"] = sgd_rate if args.lr is None else args.lr
    optimizer = optimizers.get(settings)
    init = args.init or ("he_normal" if args.activation == "relu" else "glorot_uniform")
    features = math.prod(train.x.shape[1:])
    classes = data.n_classes(train, valid, test)
    model = models.MLP(features, args.hidden, classes, args.activation, init, args.dtype, args.seed)
    model.backend = args.backend
    if not args.quiet:
        sizes = " - ".join(map(str, (features, *args.hidden, classes)))
        held_out = f", {len(valid.x):,} to validate"
        tested = "" if test is None else f", {len(test.x):,} to test"
        print(f"data   {args.dataset}: {len(train.x):,} samples to train{held_out}{tested}")
        print(
            f"model  MLP {sizes}, {args.activation}, {args.dtype}, "
            f"{model.num_parameters:,} parameters"
        )
        print(f"fit    {optimizer!r}, batches of {batch_size}, seed {args.seed}", flush=True)
    began = time.perf_counter()
    history = model.fit(
        train.x,
        train.y if train.y is not None else (),
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        validation_data=(valid.x, valid.y if valid.y is not None else ()),
        verbose=0 if args.quiet else 1 if sys.stderr.isatty() else 2,
    )
    seconds = time.perf_counter() - began
    for name, part in (("valid", valid), ("test", test)):
        if part is not None and part.y is not None:
            measured = model.evaluate(part.x, part.y)
            print(f"{name:<6} loss {measured['loss']:.4f}  accuracy {measured['accuracy']:.2%}")
    print(f"time   {seconds:.2f} s for {len(history.epochs)} of {epochs} epochs")
    if args.save:
        model.save(args.save)
        print(f"model  {args.save}")
    if args.plot and history.epochs:
        plot.history(history, args.plot)
        print(f"curve  {args.plot}")
    return _INTERRUPTED if history.interrupted else 0


def _check_outputs(args: argparse.Namespace) -> None:
    """Find out before training, not after it, what cannot be written."""
    for path in filter(None, (args.save, args.plot)):
        folder = os.path.dirname(path) or "."
        if os.path.isdir(path):
            raise IsADirectoryError(f"{path} is a folder; give the name of a file in it.")
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"the folder {folder} of {path} does not exist.")
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"the folder {folder} of {path} cannot be written to.")
    if args.plot:
        plot.check_path(args.plot)
