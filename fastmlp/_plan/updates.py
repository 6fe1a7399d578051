"""Updates of parameters in a plan: update rules, penalties and clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastmlp._arrays import empty
from fastmlp._compiled import plan as compiled
from fastmlp._plan.builder import Builder
from fastmlp._plan.operation import Operation
from fastmlp._types import Array
from fastmlp.parameter import Parameter

__all__ = ["finish", "keep_gradient", "penalties", "update", "wanted"]


@dataclass(eq=False)
class _Kept:
    """A gradient that is clipped once the global norm is known.

    Attributes
    ----------
    memory : array
        The gradient, in the layout of the parameter in memory.
    sums : int
        Number of partial sums of its squares.
    by : Operation or None
        The operation that writes these sums together with the gradient; None if a separate
        operation does.
    """

    parameter: Parameter
    panels: bool
    memory: Array
    sums: int
    by: Operation | None


def wanted(builder: Builder, *parameters: Parameter | None) -> bool:
    """Return whether the plan needs the gradient of any of these parameters.

    If not, an operation that computes only gradients of parameters must not be added. Training
    needs no gradients of frozen layers; ``gradients()`` needs all gradients.
    """
    known = [parameter for parameter in parameters if parameter is not None]
    return any(builder.state is None or parameter.trainable for parameter in known)


def update(
    builder: Builder,
    operation: Operation,
    weight: Parameter,
    bias: Parameter | None = None,
    *,
    panels: bool = False,
    sums: bool = False,
) -> None:
    """Set what an operation does with the parameter gradients that it computes.

    Sets these arguments of the operation: ``w`` and ``b``, the memory of the parameters; ``rule``;
    ``s0``, ``s1``, ``bs0`` and ``bs1``, the optimizer states or the memory of the gradients; the
    training settings of the layer. It also adds the entries of the table. The compiled operation
    passes each part of a gradient to ``apply_gradient`` of csrc/plan/operation.pxd, which does the
    rest. An operation in Python calls ``keep_gradient`` instead.

    Parameters
    ----------
    builder : Builder
    operation : Operation
    weight, bias : Parameter
        Any two parameters of one layer, or only the first.
    panels : bool, default=False
        Whether the weight is in panels. Its gradient is computed in the same layout, but ``STORE``
        writes it row-major, for users.
    sums : bool, default=False
        Whether the operation, with the rule ``KEEP``, also writes sums of squares to ``sums``: one
        for every SCRATCH_ROWS rows of each panel.
    """
    arguments = operation.arguments
    arguments["w"] = builder.live(weight, panels=panels)
    arguments["b"] = builder.live(bias)
    arguments["l1"], arguments["l2"] = weight.penalty
    if any(weight.penalty):
        operation.fused.append("penalty")
    if builder.gradients is not None:
        arguments["rule"] = compiled.STORE
        arguments["s0"] = builder.store(weight)
        if bias is not None:
            arguments["bs0"] = builder.store(bias)
        operation.fused.append("store")
    elif builder.state is not None and builder.state.optimizer.clips == "norm":
        arguments["rule"] = compiled.KEEP
        arguments["s0"] = keep_gradient(builder, weight, panels=panels)
        if sums:
            kept = builder.kept_gradients[weight.name]
            count, rows, _ = kept.memory.shape
            kept.sums = count * -(-rows // compiled.SCRATCH_ROWS)
            kept.by = operation
        if bias is not None:
            arguments["bs0"] = keep_gradient(builder, bias)
        operation.fused.append("keep")
    elif builder.state is not None:
        optimizer = builder.state.optimizer
        arguments["clamps"] = optimizer.clips == "value"
        operation.fused += ["clip"] if arguments["clamps"] else []
        _apply_rule(builder, operation, weight, "s", panels)
        if bias is not None:
            _apply_rule(builder, operation, bias, "bs", False)
        operation.fused.append(optimizer.name)


def _apply_rule(
    builder: Builder, operation: Operation, parameter: Parameter, prefix: str, panels: bool
) -> None:
    """Set an operation to update a parameter by the optimizer's rule."""
    if builder.state is None:
        raise ValueError("the plan has no optimizer.")
    arguments = operation.arguments
    arguments["rule"] = compiled.UPDATE_RULES[builder.state.optimizer.kind]
    arguments["multiplier"] = parameter.learning_rate_multiplier
    for index, slot in enumerate(builder.state.optimizer.slots):
        stored = builder.state.of(parameter)[slot]
        arguments[f"{prefix}{index}"] = builder.live(stored, panels=panels)
        operation.bytes += 2 * builder.dtype.itemsize * math.prod(parameter.shape)


def keep_gradient(builder: Builder, parameter: Parameter, *, panels: bool = False) -> Array:
    """Return memory for a gradient that ``finish`` clips by the global norm.

    It has the layout of the parameter in memory, and every step overwrites all of it. The gradient
    includes the penalties.
    """
    live = builder.live(parameter, panels=panels)
    if live is None:
        raise ValueError(f"{parameter.name} has no memory.")
    memory = empty(live.shape, builder.dtype)
    memory[...] = 0
    sums = -(-memory.size // compiled.VALUES_OF_A_SUM)
    builder.kept_gradients[parameter.name] = _Kept(parameter, panels, memory, sums, None)
    return memory


def finish(builder: Builder) -> None:
    """Add the operations that need all gradients: the global norm and the clipped updates."""
    if not builder.kept_gradients or builder.state is None:
        return
    builder.meet()
    gradients: list[_Kept] = list(builder.kept_gradients.values())
    squares, at = np.zeros(sum(kept.sums for kept in gradients)), 0
    for kept in gradients:
        part = squares[at : at + kept.sums]
        at += kept.sums
        if kept.by is not None:
            kept.by.arguments["sums"] = part
        else:
            _add_whole(builder, "gradient_norm", kept.parameter, 2, x=kept.memory, sums=part)
    builder.meet()
    for kept in gradients:
        w = builder.live(kept.parameter, panels=kept.panels)
        operation = _add_whole(
            builder,
            "clipped_update",
            kept.parameter,
            8,
            x=kept.memory,
            w=w,
            sums=squares,
            outputs=len(squares),
        )
        _apply_rule(builder, operation, kept.parameter, "s", kept.panels)
        operation.fused += ["clip", builder.state.optimizer.name]


def penalties(builder: Builder, parameters: Iterable[Parameter]) -> None:
    """Add the penalties of the parameters to the loss of a batch, as they are before the step.

    Call it after the layers have been added to the plan, and before the loss.
    """
    penalized = [parameter for parameter in parameters if any(parameter.penalty)]
    chunk = compiled.VALUES_OF_A_SUM
    counts = [-(-parameter.live.size // chunk) for parameter in penalized]
    builder.penalties = np.zeros(sum(counts))
    at = 0
    for parameter, count in zip(penalized, counts, strict=True):
        live, (l1, l2) = parameter.live, parameter.penalty
        builder.storage.append((parameter, live))
        sums = builder.penalties[at : at + count]
        operation = _add_whole(builder, "penalty", parameter, 4, x=live, sums=sums, l1=l1, l2=l2)
        operation.fused += [f"l1 {l1:g}"] * (l1 > 0) + [f"l2 {l2:g}"] * (l2 > 0)
        # At the front of the plan, so that a later barrier separates it from the loss.
        builder.operations.insert(0, builder.operations.pop())
        at += count


def _add_whole(
    builder: Builder,
    kind: str,
    parameter: Parameter,
    cost: int,
    *,
    x: Array,
    **arguments: Any,
) -> Operation:
    """Add an operation on all elements of a parameter in memory, with ``cost`` flops each."""
    layer: Any = parameter.layer
    return builder.add(
        kind,
        layer,
        str(parameter.shape),
        cost * x.size,
        [],
        [],
        moved=x.size,
        barrier=False,
        inputs=x.size,
        x=x,
        **arguments,
    )
