"""Lowering rules, one per class of layer or loss: they turn it into operations of a plan.

Each family file has a table of the rules for its classes, and ``compiler.py`` joins the tables.
Rules are looked up by the **exact class** of a layer. Any other class, including a subclass of a
built-in layer, runs its own ``forward`` and ``backward`` in Python (``python.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fastmlp._plan.operation import Gradient, Value

__all__ = ["LayerRule", "LayerRules", "LossRule", "LossRules"]


class LayerRule(NamedTuple):
    """Lowering rule of a layer class.

    Attributes
    ----------
    forward : callable
        ``forward(builder, layer, x) -> y`` adds the forward pass and returns its output.
    backward : callable
        ``backward(builder, layer, x, y, gradient, need_dx)`` adds the backward pass, given the
        gradient of ``y``, and returns the gradient of ``x``, or None if nothing needs it.
    """

    forward: Callable[..., Value]
    backward: Callable[..., Gradient | None]


LossRule = Callable[..., Gradient | None]
"""``rule(builder, loss, x, gradient=bool)`` adds the loss of ``x``, and its gradient if asked."""

LayerRules = dict[type[Any], LayerRule]
LossRules = dict[type[Any], LossRule]
