"""Loss functions: what they accept as targets, and which operation computes them.

``base`` holds the contract; a new loss is a class and a line in ``LOSSES``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastmlp import _checks
from fastmlp.losses.base import Loss
from fastmlp.losses.classification import BinaryCrossEntropy, CrossEntropy, Hinge
from fastmlp.losses.regression import Huber, MeanAbsoluteError, MeanSquaredError

__all__ = [
    "LOSSES",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "Hinge",
    "Huber",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "config",
    "get",
]

LOSSES: dict[str, type[Any]] = {
    kind.name: kind
    for kind in (
        CrossEntropy,
        BinaryCrossEntropy,
        MeanSquaredError,
        MeanAbsoluteError,
        Huber,
        Hinge,
    )
}


def get(loss: str | dict[str, Any] | Loss) -> Loss:
    """Return a loss from its name, its ``config()`` or itself.

    Raises
    ------
    ValueError
        If there is no loss of that name; the message lists those there are.
    TypeError
        If it is neither a name nor a Loss.
    """
    if isinstance(loss, Loss):
        return loss
    settings: dict[str, Any] = dict(loss) if isinstance(loss, dict) else {"name": loss}
    kind = _checks.lookup(settings.pop("name", None), LOSSES, "loss")
    of_classes = settings.get("class_weight")
    if isinstance(of_classes, Mapping):  # the names of numbers that a file has
        settings["class_weight"] = {int(label): weight for label, weight in of_classes.items()}
    result: Loss = kind(**settings)
    return result


def config(loss: Loss) -> str | dict[str, Any]:
    """Return what ``get`` makes the loss of again: its name, with settings that are not defaults.

    Raises
    ------
    ValueError
        If it is of a class that is not fastmlp's.
    """
    if type(loss) not in LOSSES.values():
        raise ValueError(f"loss {loss!r} is of a class of your own and cannot be saved.")
    settings = loss.changed()
    return {"name": loss.name} | settings if settings else loss.name
