"""Loss functions: the targets they accept, and the operations that compute them.

``base`` defines what every loss implements. A new loss is a class and an entry in ``LOSSES``.
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
    """Return a loss, given as a name, as a ``config`` or as a loss.

    Raises
    ------
    ValueError
        If the name is unknown. The message lists the known names.
    TypeError
        If ``loss`` is neither a name nor a config nor a Loss.
    """
    if isinstance(loss, Loss):
        return loss
    settings: dict[str, Any] = dict(loss) if isinstance(loss, dict) else {"name": loss}
    kind = _checks.lookup(settings.pop("name", None), LOSSES, "loss")
    class_weight = settings.get("class_weight")
    if isinstance(class_weight, Mapping):  # the keys are strings if the config is from a file
        settings["class_weight"] = {int(label): weight for label, weight in class_weight.items()}
    result: Loss = kind(**settings)
    return result


def config(loss: Loss) -> str | dict[str, Any]:
    """Return plain values from which ``get`` makes an equal loss.

    The result is the name of the loss, or a dict of the name and the settings that differ from the
    defaults.

    Raises
    ------
    ValueError
        If the loss is user-defined.
    """
    if type(loss) not in LOSSES.values():
        raise ValueError(
            f"{loss!r} is a user-defined loss, which model files cannot store. Choose a built-in "
            'one before saving, for example model.compile(loss="mse").'
        )
    settings = loss.changed()
    return {"name": loss.name} | settings if settings else loss.name
