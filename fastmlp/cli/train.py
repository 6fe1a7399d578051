"""``fastmlp train``: train a network, save it, and report the result."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from fastmlp import callbacks, losses, plot, report
from fastmlp._training import checkpoint
from fastmlp.cli import data, networks, recipe
from fastmlp.cli.data import Part
from fastmlp.cli.parser import Parser, use_threads
from fastmlp.cli.settings import Setting, add_options, read_file, to_toml, values
from fastmlp.errors import DivergenceError
from fastmlp.history import History
from fastmlp.io import check_writable, write_atomically
from fastmlp.model import Sequential

__all__ = ["HELP", "SETTINGS", "add", "run"]

_INTERRUPTED = 130

SETTINGS = (
    *data.SETTINGS,
    *networks.SETTINGS,
    *recipe.SETTINGS,
    Setting("save", "output", "file"),
    Setting("report", "output", "file"),
    Setting("plot", "output", "file"),
    Setting("csv", "output", "file"),
    Setting("tensorboard", "output", "folder"),
    Setting("tensorboard_steps", "output", "integer"),
    Setting("threads", "output", "integer"),
    Setting("quiet", "output", "switch", default=False),
)

# The TOML files themselves. A TOML file cannot contain these settings.
_FILES = (Setting("config", "files", "file"), Setting("save_config", "files", "file"))

HELP = """\
usage: fastmlp train [DATA] [options]

Train a network. If DATA has no validation part, every tenth training sample is
held out for validation. Ctrl-C stops early, then saves and reports as usual.

DATA: digits (the default; comes with fastmlp), mnist, fashion_mnist, cifar10,
  or a file *.npz, *.h5 (arrays x, y or x_train, y_train, x_test, ...) or *.csv
  --data PATH  --download     folder or file of mnist etc.; download mnist
  --x NAME  --y NAME          names of the arrays in *.npz and *.h5 files
  --target COLUMN             target in *.csv, name or index (default: the last)
  --channels-first            images have shape (N, C, H, W)
network
  --hidden 512,256            sizes of the hidden layers, or none
  --conv 32x5  --pool 2  --avg-pool 2  --global-pool
      layers for images, in the order given, before the hidden layers;
      with strides: --conv 32x5/2, --pool 3/2
  --padding same  --activation relu  --init he_normal  --dtype float64
  --dropout 0.5  --batch-norm  --l2 1e-4  --seed 0  --backend numpy  --threads N
  --standardize               scale features or channels to mean 0, deviation 1
training
  --epochs N  --batch-size N  --optimizer sgd|adagrad|rmsprop|adam|adamw
  --lr 0.1  --momentum 0.9  --nesterov  --weight-decay 1e-4
  --schedule cosine|step:10:0.5|exponential:0.95|plateau:5:0.1   (in epochs)
  --warmup EPOCHS  --clip-norm 1  --clip-value 1  --metrics error,f1
  --loss cross_entropy|binary_cross_entropy|hinge|mse|mae|huber
  --label-smoothing 0.1  --early-stopping PATIENCE  --monitor val_loss
  --checkpoint FILE  --checkpoint-steps N   save checkpoints
  --resume [FILE]  continue from a checkpoint (default: the --checkpoint file)
output
  --save FILE  --report FILE.html  --plot FILE.png  --csv FILE
  --tensorboard DIR  --tensorboard-steps N  --quiet
  --config FILE.toml          read options by name; the command line overrides
  --save-config FILE  --print-config     write or print all settings as TOML
examples
  fastmlp train --save model.safetensors --report run.html
  fastmlp train --conv 16x3 --pool 2 --hidden 64 --optimizer adam --epochs 5
  fastmlp train data.csv --target kind --hidden 16 --early-stopping 5
"""


class _Defaults(NamedTuple):
    """Defaults that depend on the data: epochs, batch size, learning rate of sgd."""

    epochs: int
    batch_size: int
    rate: float


# The digits are a small set, which needs more epochs and smaller batches.
_DEFAULTS = {"digits": _Defaults(30, 8, 0.2)}
_OTHERS = _Defaults(10, 32, 0.1)
_OF_OTHER_LOSSES = 0.01

# Pairs of options that may name the same file, to read it and then replace it.
_MAY_BE_SAME = (("--resume", "--checkpoint"), ("--config", "--save-config"))


def add(commands: Any) -> Parser:
    """Add the command and return its parser."""
    parser: Parser = commands.add_parser("train", text=HELP)
    parser.add_argument("dataset", nargs="?", default=argparse.SUPPRESS)
    add_options(parser, SETTINGS, networks.LAYERS)
    add_options(parser, _FILES)
    parser.add_argument("--print-config", action="store_true")
    return parser


def run(args: argparse.Namespace) -> int:
    """Train, save and report."""
    config, save_config = values(_FILES, args, {}).values()
    file = {} if config is None else read_file(config, SETTINGS, networks.LAYERS)
    chosen = _complete(values(SETTINGS, args, file))
    if args.print_config:
        print(to_toml(SETTINGS, chosen), end="")
        return 0
    use_threads(chosen["threads"])
    _check_outputs(chosen, config, save_config)
    made = recipe.make_callbacks(chosen)
    resume = recipe.resume_path(chosen)
    before = 0 if resume is None else checkpoint.read(resume).epochs
    loss = recipe.loss_of(chosen)
    name, found = chosen["dataset"], data.parts(chosen)
    train, valid, test = data.to_train(found, name)
    model = networks.make(
        chosen,
        train.x.shape[1:],
        networks.outputs(loss, train, valid, test),
        networks.scale_of(train.x),
    )
    optimizer = recipe.make_optimizer(
        chosen, math.ceil(len(train.x) / max(chosen["batch_size"], 1))
    )
    model.compile(optimizer, loss, chosen["metrics"])
    if save_config:
        write_atomically(save_config, to_toml(SETTINGS, chosen).encode())
    if not chosen["quiet"]:
        _announce(chosen, (train, valid, test), model, optimizer, resume)
    began = time.perf_counter()
    try:
        history = model.fit(
            train.x,
            _labels(train),
            epochs=chosen["epochs"],
            batch_size=chosen["batch_size"],
            validation_data=(valid.x, _labels(valid)),
            callbacks=made,
            resume=resume,
            verbose=0 if chosen["quiet"] else 1 if sys.stderr.isatty() else 2,
        )
    except (DivergenceError, OSError):
        _rescue(model, chosen["save"])
        raise
    seconds = time.perf_counter() - began
    saved = []
    if chosen["save"]:  # first, because the rest may be interrupted
        model.save(chosen["save"])
        saved.append(f"model  {chosen['save']}")
    measured = _measure(model, {"valid": valid, "test": test})
    left = chosen["epochs"] - before
    if left > 0:
        print(f"time   {seconds:.2f} s for {len(history.epochs) - before} of {left} epochs")
    else:
        print(f"nothing to train: the checkpoint has {before} epochs; increase --epochs")
    _tell_stopped(made)
    if chosen["report"]:
        part = valid if test is None else test
        _report(chosen, model, history, measured, part, "valid" if test is None else "test")
        saved.append(f"report {chosen['report']}")
    if chosen["plot"] and history.epochs:
        plot.history(history, chosen["plot"])
        saved.append(f"curve  {chosen['plot']}")
    for line in saved:
        print(line)
    return _INTERRUPTED if history.interrupted else 0


def _tell_stopped(made: Sequence[callbacks.Callback]) -> None:
    """Print the epoch of the weights if the run was stopped early."""
    for callback in made:
        if isinstance(callback, callbacks.EarlyStopping) and callback.stopped_epoch:
            end, best = callback.stopped_epoch, callback.best_epoch
            weights = f"; the weights are from epoch {best}" if best else ""
            waited = end - best if best else callback.patience
            epochs = "1 epoch" if waited == 1 else f"{waited} epochs"
            print(
                f"stopped after epoch {end}: {callback.monitor} did not improve for "
                f"{epochs}{weights}"
            )


def _rescue(model: Sequential, path: str | None) -> None:
    """Save the model after an error if at least one epoch is complete."""
    if path and model.history is not None and model.history.epochs:
        # Suppress a second error, because the first may be its cause.
        with contextlib.suppress(OSError, ValueError):
            model.save(path)
            print(f"model  {path} (training incomplete)", file=sys.stderr)


def _complete(chosen: dict[str, Any]) -> dict[str, Any]:
    """Return the settings with defaults that depend on other settings filled in."""
    few = _DEFAULTS.get(chosen["dataset"], _OTHERS)
    rate = _OTHERS.rate if chosen["layers"] else few.rate
    if chosen["loss"] not in ("cross_entropy", "binary_cross_entropy"):
        rate = _OF_OTHER_LOSSES  # because their gradients may have any size
    momentum = chosen["momentum"] or 0.0
    if 0 <= momentum < 1:  # the optimizer rejects other values, with a message about momentum
        # A velocity accumulates up to 1 / (1 - momentum) gradients.
        rate = float(f"{rate * (1 - momentum):.6g}")
    given = {
        "epochs": few.epochs,
        "batch_size": few.batch_size,
        "init": networks.initializer(chosen["activation"]),
        "lr": rate if chosen["optimizer"] == "sgd" else None,
    }
    return {name: given.get(name) if value is None else value for name, value in chosen.items()}


def _labels(part: Part) -> Any:
    return () if part.y is None else part.y


def _announce(
    chosen: Mapping[str, Any],
    some: tuple[Part, Part, Part | None],
    model: Sequential,
    optimizer: Any,
    resume: str | None,
) -> None:
    """Print the data, the model and the optimizer."""
    train, valid, test = some
    tested = "" if test is None else f", {len(test.x):,} to test"
    print(
        f"data   {chosen['dataset']}: {len(train.x):,} samples to train, {len(valid.x):,} to "
        f"validate{tested}"
    )
    kind = "CNN" if chosen["layers"] else "MLP"
    image = "x".join(map(str, train.x.shape[1:])) if chosen["layers"] else model.input_shape[0]
    sizes = [image, *(text.replace("conv ", "") for text in chosen["layers"])]
    sizes += [*chosen["hidden"], model.output_shape[0]]
    print(
        f"model  {kind} {' - '.join(map(str, sizes))}, {chosen['activation']}, {chosen['dtype']}, "
        f"{model.num_parameters:,} parameters"
    )
    resumed = f", resumed from {resume}" if resume else ""
    print(
        f"fit    {optimizer!r}, batches of {chosen['batch_size']}, seed {chosen['seed']}{resumed}",
        flush=True,
    )


def _measure(model: Sequential, some: Mapping[str, Part | None]) -> dict[str, dict[str, float]]:
    """Evaluate the model on each part; print and return the results."""
    result = {}
    for name, part in some.items():
        if part is not None:
            result[name] = measured = model.evaluate(part.x, _labels(part))
            shown = "  ".join(f"{key} {_figure(key, value)}" for key, value in measured.items())
            print(f"{name:<6} {shown}", flush=True)
    return result


def _figure(name: str, value: float) -> str:
    return f"{value:.2%}" if name == "accuracy" else f"{value:.4f}"


def _report(
    chosen: Mapping[str, Any],
    model: Sequential,
    history: History,
    measured: dict[str, dict[str, float]],
    part: Part,
    part_name: str,
) -> None:
    tables: dict[str, dict[str, Any]] = {}
    for setting in SETTINGS:
        value = chosen[setting.name]
        if value is not None and value != [] and value is not False:
            tables.setdefault(setting.table, {})[setting.name] = value
    count = model.output_shape[-1]
    several = model.loss.classifies and not isinstance(model.loss, losses.BinaryCrossEntropy)
    report.write(
        chosen["report"],
        model,
        history,
        title=os.path.basename(chosen["dataset"]),
        settings=tables,
        measured=measured,
        held_out=(part.x, _labels(part)),
        held_out_name=part_name,
        classes=data.class_names(chosen["dataset"], count) if several else None,
    )


def _check_outputs(chosen: Mapping[str, Any], config: str | None, save_config: str | None) -> None:
    """Raise before training if an output cannot be written or would replace an input."""
    inputs = {"DATA": data.file_of(chosen), "--data": chosen["data"], "--config": config}
    inputs["--resume"] = chosen["resume"] if isinstance(chosen["resume"], str) else None
    seen = {os.path.realpath(path): option for option, path in inputs.items() if path}
    names = ("save", "plot", "report", "csv", "checkpoint")
    given = [(f"--{name}", chosen[name]) for name in names] + [("--save-config", save_config)]
    for option, path in given:
        if path is None:
            continue
        folder = os.path.dirname(path) or "."
        if os.path.isdir(path):
            raise IsADirectoryError(f"{option} must name a file, got the folder {path!r}.")
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"{option} {path}: the folder {folder} does not exist.")
        real = os.path.realpath(path)
        other = seen.get(real, option)
        if other != option and (other, option) not in _MAY_BE_SAME:
            raise ValueError(
                f"{other} and {option} must name different files, got {path!r} for both."
            )
        seen[real] = option
    folder = chosen["tensorboard"]
    if folder and os.path.exists(folder) and not os.path.isdir(folder):
        raise NotADirectoryError(f"--tensorboard must name a folder, got the file {folder!r}.")
    if chosen["report"] and not chosen["report"].endswith((".html", ".htm")):
        raise ValueError(f"--report must end in .html, got {chosen['report']!r}.")
    if chosen["plot"]:
        plot.check_path(chosen["plot"])
    for _, path in given:
        if path is not None:
            check_writable(path)
