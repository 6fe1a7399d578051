"""The optimizer with its schedule, the loss and the callbacks, from settings."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Mapping
from typing import Any

from fastmlp import _checks, callbacks, losses, optimizers
from fastmlp.cli.settings import Setting
from fastmlp.optimizers import schedules

__all__ = ["SETTINGS", "loss_of", "make_callbacks", "make_optimizer", "resume_path"]

SETTINGS = (
    Setting("epochs", "training", "integer"),
    Setting("batch_size", "training", "integer"),
    Setting("loss", "training", default="cross_entropy"),
    Setting("label_smoothing", "training", "number", default=0.0),
    Setting("metrics", "training", "names"),
    Setting("optimizer", "training", default="sgd"),
    Setting("lr", "training", "number"),
    Setting("momentum", "training", "number"),
    Setting("nesterov", "training", "switch", default=False),
    Setting("weight_decay", "training", "number"),
    Setting("clip_norm", "training", "number"),
    Setting("clip_value", "training", "number"),
    Setting("schedule", "training"),
    Setting("warmup", "training", "number"),
    Setting("early_stopping", "training", "integer"),
    Setting("monitor", "training", default="val_loss"),
    Setting("checkpoint", "training", "file"),
    Setting("checkpoint_steps", "training", "integer"),
    Setting("resume", "training", "file or switch"),
)
"""The settings of training."""

_SCHEDULES = "cosine, step:EPOCHS[:FACTOR], exponential:FACTOR or plateau:EPOCHS[:FACTOR]"


def loss_of(chosen: Mapping[str, Any]) -> losses.Loss:
    """Return the loss."""
    name, smoothing = chosen["loss"], chosen["label_smoothing"]
    if not smoothing:
        return losses.get(name)
    if name != "cross_entropy":
        raise ValueError(f"--label-smoothing is for cross_entropy, but --loss is {name}.")
    return losses.CrossEntropy(label_smoothing=smoothing)


def make_optimizer(chosen: Mapping[str, Any], steps: int) -> optimizers.Optimizer:
    """Return the optimizer; ``steps`` is the number of steps per epoch.

    Raises
    ------
    ValueError, TypeError
        If a setting is invalid for the optimizer or the schedule.
    """
    kind = type(optimizers.get(chosen["optimizer"]))
    settings: dict[str, Any] = {}
    known = inspect.signature(kind).parameters
    for name in ("momentum", "nesterov", "weight_decay", "clip_norm", "clip_value"):
        value = chosen[name]
        if value is None or value is False:
            continue
        if name not in known:
            raise ValueError(
                f"--{name.replace('_', '-')} is not a setting of {chosen['optimizer']}; use "
                "--optimizer sgd."
            )
        settings[name] = value
    rate = chosen["lr"]
    if rate is None:
        rate = known["learning_rate"].default
    rate = _checks.number(rate, "--lr", minimum=0.0)
    result: optimizers.Optimizer = kind(_schedule(chosen, rate, steps), **settings)
    return result


def _schedule(chosen: Mapping[str, Any], rate: float, steps: int) -> Any:
    epochs, warmup = chosen["epochs"], chosen["warmup"] or 0.0
    if warmup < 0 or (warmup and epochs is not None and warmup >= epochs):
        raise ValueError(
            f"--warmup must be at least 0 and below --epochs ({epochs}), got {warmup:g}."
        )
    warm = math.ceil(warmup * steps)
    text = chosen["schedule"]
    result = rate if text is None else _decay(text, rate, max(1, epochs * steps - warm))
    return schedules.Warmup(warm, result) if warm else result


def _decay(text: str, rate: float, steps: int) -> Any:
    name, *given = text.split(":")
    try:
        numbers = [float(part) for part in given]
    except ValueError:
        numbers = [math.nan]
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"--schedule must be {_SCHEDULES}, got {text!r}.")
    whole = bool(numbers) and numbers[0] >= 1 and numbers[0] == int(numbers[0])
    factor = numbers[1] if len(numbers) == 2 else 0.1
    if name == "cosine" and not numbers:
        return schedules.CosineDecay(rate, steps)
    if name == "exponential" and len(numbers) == 1:
        return schedules.ExponentialDecay(rate, numbers[0], unit="epoch")
    if name == "step" and len(numbers) in (1, 2) and whole:
        return schedules.StepDecay(rate, int(numbers[0]), factor, unit="epoch")
    if name == "plateau" and len(numbers) in (1, 2) and whole:
        return schedules.ReduceOnPlateau(rate, factor=factor, patience=int(numbers[0]))
    raise ValueError(f"--schedule must be {_SCHEDULES}, got {text!r}.")


def make_callbacks(chosen: Mapping[str, Any]) -> list[callbacks.Callback]:
    """Return the callbacks, including the outputs ``csv`` and ``tensorboard``.

    Raises
    ------
    ImportError
        If TensorBoard is requested and a package that it needs is missing.
    ValueError, TypeError
        If a setting is invalid for a callback.
    """
    for name in ("early_stopping", "tensorboard_steps", "checkpoint_steps"):
        if chosen[name] is not None:  # checked here so that messages name the options
            _checks.integer(chosen[name], f"--{name.replace('_', '-')}", minimum=1)
    result: list[callbacks.Callback] = []
    if chosen["early_stopping"] is not None:
        result.append(callbacks.EarlyStopping(chosen["monitor"], chosen["early_stopping"]))
    if chosen["csv"] is not None:
        result.append(callbacks.CSVLogger(chosen["csv"]))
    if chosen["tensorboard"] is not None:
        result.append(_tensorboard(chosen["tensorboard"], chosen["tensorboard_steps"]))
    elif chosen["tensorboard_steps"] is not None:
        raise ValueError("--tensorboard-steps needs --tensorboard DIR.")
    if chosen["checkpoint"] is not None:
        steps = chosen["checkpoint_steps"]
        result.append(callbacks.ModelCheckpoint(chosen["checkpoint"], every_steps=steps))
    elif chosen["checkpoint_steps"] is not None:
        raise ValueError("--checkpoint-steps needs --checkpoint FILE.")
    return result


def _tensorboard(folder: str, steps: int | None) -> Any:
    import fastmlp

    kind: Any = getattr(fastmlp, "TensorBoard", None)
    if kind is None:
        raise ImportError("--tensorboard: this version of fastmlp has no TensorBoard.")
    return kind(folder, every_steps=steps)


def resume_path(chosen: Mapping[str, Any]) -> str | None:
    """Return the checkpoint to resume from; None to start from the beginning.

    ``--resume`` without a file resumes from the file of ``--checkpoint`` if it exists.
    """
    resume = chosen["resume"]
    if resume is True:
        path: str | None = chosen["checkpoint"]
        if path is None:
            raise ValueError("--resume needs a file: --resume FILE, or --checkpoint FILE --resume.")
        return path if os.path.exists(path) else None
    if isinstance(resume, str) and not os.path.exists(resume):
        raise FileNotFoundError(f"--resume: the checkpoint {resume} does not exist.")
    return resume or None
