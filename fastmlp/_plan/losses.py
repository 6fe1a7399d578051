"""Losses in a plan: the loss of each sample and, in the same pass, its gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from fastmlp._plan.builder import Builder
from fastmlp._plan.dense import OWN_TRANSPOSE
from fastmlp._plan.operation import Gradient, Value
from fastmlp._plan.rules import LossRules
from fastmlp._types import Array
from fastmlp.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Hinge,
    Huber,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
)

__all__ = ["LOSS_RULES", "cross_entropy_settings"]


def _cross_entropy(
    builder: Builder, loss: CrossEntropy, x: Value, *, gradient: bool
) -> Gradient | None:
    settings = cross_entropy_settings(builder, loss, x)
    transposed = x.columns * builder.stride(builder.rows) > OWN_TRANSPOSE
    return _add(builder, loss, x, gradient=gradient, transposed=transposed, **settings)


def cross_entropy_settings(builder: Builder, loss: CrossEntropy, x: Value) -> dict[str, Any]:
    """Return the arguments of the compiled operation, with the table's entries in ``fused``."""
    weights = loss.weights_of_classes(x.columns, builder.dtype)
    fused = ["smoothing"] if loss.label_smoothing else []
    fused += ["class weights"] if weights is not None else []
    return {"fused": fused, "parameter": loss.label_smoothing, "class_weight": weights}


def _plain(builder: Builder, loss: Loss, x: Value, *, gradient: bool) -> Gradient | None:
    return _add(builder, loss, x, gradient=gradient)


def _hinge(builder: Builder, loss: Hinge, x: Value, *, gradient: bool) -> Gradient | None:
    return _add(builder, loss, x, gradient=gradient, parameter=loss.margin)


def _huber(builder: Builder, loss: Huber, x: Value, *, gradient: bool) -> Gradient | None:
    return _add(builder, loss, x, gradient=gradient, parameter=loss.delta)


def _add(
    builder: Builder,
    loss: Loss,
    x: Value,
    *,
    gradient: bool,
    transposed: bool = False,
    fused: Iterable[str] = (),
    parameter: float = 0.0,
    class_weight: Array | None = None,
) -> Gradient | None:
    """Add a compiled loss of ``x``, and its gradient if asked.

    ``parameter`` and ``class_weight`` (of the plan's dtype) are settings of the loss, ``fused``
    their names in the table. With ``transposed`` the loss may also write the transposed gradient.
    """
    dy = dyt = None
    if gradient:
        # The outputs are not needed again, unless a derivative is computed from them.
        free = x.free if x.activation is None else None
        dy = free or builder.buffer("d loss", x.columns, zero=True)
        if transposed:
            dyt = builder.transposed_for("loss", x)
    # The operation always computes the gradient. Without ``gradient`` it goes to the scratch.
    builder.reserve_scratch(x.columns)
    operation = builder.add(
        loss.name,
        None,
        f"({builder.rows}, {x.columns})",
        40 * builder.rows * x.columns,
        [x.buffer],
        [dy, dyt],
        by_samples=True,
        inputs=x.columns,
        outputs=x.columns,
        x=x.buffer,
        dy=dy,
        dyt=dyt,
        parameter=parameter,
        class_weight=class_weight,
        checks=True,
    )
    operation.fused += [*fused, *(["gradient"] if gradient else [])]
    if dy is None:
        return None
    result = builder.gradient(dy, x)
    result.transposed = dyt
    return result


LOSS_RULES: LossRules = {
    CrossEntropy: _cross_entropy,
    BinaryCrossEntropy: _plain,
    MeanSquaredError: _plain,
    MeanAbsoluteError: _plain,
    Huber: _huber,
    Hinge: _hinge,
}
