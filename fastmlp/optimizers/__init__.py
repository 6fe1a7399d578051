"""Optimizers, their states, and learning-rate schedules.

Each optimizer has its own file; ``base`` has the class they share. ``fastmlp.reference.updates``
defines their steps in plain numpy, and ``fastmlp.kernels.updates`` runs them compiled.
"""

from __future__ import annotations

from typing import Any

from fastmlp import _checks
from fastmlp.optimizers import schedules
from fastmlp.optimizers.adagrad import Adagrad
from fastmlp.optimizers.adam import Adam, AdamW
from fastmlp.optimizers.base import Optimizer
from fastmlp.optimizers.gradients import GradientStore, UpdatingSink
from fastmlp.optimizers.rmsprop import RMSprop
from fastmlp.optimizers.sgd import SGD
from fastmlp.optimizers.state import OptimizerState

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "GradientStore",
    "Optimizer",
    "OptimizerState",
    "RMSprop",
    "UpdatingSink",
    "config",
    "get",
    "schedules",
]

OPTIMIZERS: dict[str, type[Any]] = {
    kind.name: kind for kind in (SGD, Adagrad, RMSprop, Adam, AdamW)
}


def get(optimizer: str | dict[str, Any] | Optimizer) -> Optimizer:
    """Return an optimizer, given its name, its ``config()`` or the optimizer itself.

    Raises
    ------
    ValueError
        If no optimizer has that name; the message lists the known names.
    TypeError
        If the argument is neither a name nor an Optimizer.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    arguments = dict(optimizer) if isinstance(optimizer, dict) else {"name": optimizer}
    kind = _checks.lookup(arguments.pop("name", None), OPTIMIZERS, "optimizer")
    result: Optimizer = kind(**arguments)
    return result


def config(optimizer: Optimizer) -> dict[str, Any]:
    """Return plain values from which ``get`` makes an equal optimizer.

    Raises
    ------
    ValueError
        If the optimizer or its schedule is user-defined.
    """
    if OPTIMIZERS.get(optimizer.name) is not type(optimizer):
        raise ValueError(
            f"{optimizer!r} is a user-defined optimizer, which model files cannot store. Choose a "
            'built-in one before saving, for example model.compile(optimizer="sgd").'
        )
    return optimizer.config() | {"learning_rate": schedules.config(optimizer.learning_rate)}
