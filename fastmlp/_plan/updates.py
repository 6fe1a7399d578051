"""How the operations of a plan update parameters: rules, penalties, clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp._arrays import empty
from fastmlp._compiled import plan as compiled
from fastmlp._plan.core import Core, Operation
from fastmlp.optimizers.base import KINDS
from fastmlp.parameter import Parameter

__all__ = ["Updates"]

Array = npt.NDArray[Any]


@dataclass(eq=False)
class _Kept:
    """A gradient that waits for the norm of all.

    Attributes
    ----------
    memory : array
        Where it is, in the form of the parameter in memory.
    sums : int
        Into how many numbers its squares are summed.
    by : Operation or None
        The operation that does it together with the gradient; None: it is one of its own.
    """

    parameter: Parameter
    panels: bool
    memory: Array
    sums: int
    by: Operation | None


class Updates(Core):
    """The part of a Builder that knows what becomes of gradients."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._kept: dict[str, _Kept] = {}

    def updates(self, *parameters: Parameter | None) -> bool:
        """Return whether the plan has a use for the gradient of any of these parameters.

        If not, an operation that computes only gradients of parameters is not to be added:
        training has none for those of a frozen layer, ``gradients()`` for all.
        """
        known = [parameter for parameter in parameters if parameter is not None]
        return any(self.state is None or parameter.trainable for parameter in known)

    def update(
        self,
        operation: Operation,
        weight: Parameter,
        bias: Parameter | None = None,
        *,
        panels: bool = False,
        sums: bool = False,
    ) -> None:
        """Say what an operation does with the gradients that it computes of its parameters.

        Fills in ``w`` and ``b``, the two in memory; ``rule``; what the rule needs of each: states
        of the optimizer, or where the gradient is stored (``s0``, ``s1``, ``bs0``, ``bs1``); what
        the layer says of its training; and what the table of the plan says of it. The compiled
        operation hands every part of a gradient to ``apply_gradient`` of csrc/operations.pxd,
        which does the rest. One that has an order of its own asks ``gradient_store``.

        Parameters
        ----------
        operation : Operation
        weight, bias : Parameter
            Any two parameters of one layer; the second may be missing.
        panels : bool, default=False
            Whether the weight is in panels. Its gradient is computed in the same order, but
            ``STORE`` takes it row by row, as users see it.
        sums : bool, default=False
            Whether the operation, with the rule ``KEEP``, writes the sum of the squares of every
            SCRATCH_ROWS rows of each panel to ``sums``.
        """
        arguments = operation.arguments
        arguments["w"] = self._live(weight, panels=panels)
        arguments["b"] = self._live(bias)
        arguments["l1"], arguments["l2"] = weight.penalty
        if any(weight.penalty):
            operation.fused.append("penalty")
        if self.gradients is not None:
            arguments["rule"] = compiled.STORE
            arguments["s0"] = self._store(weight)
            if bias is not None:
                arguments["bs0"] = self._store(bias)
            operation.fused.append("store")
        elif self.state is not None and self.state.optimizer.clips == "norm":
            arguments["rule"] = compiled.KEEP
            arguments["s0"] = self.gradient_store(weight, panels=panels)
            if sums:
                kept = self._kept[weight.name]
                count, rows, _ = kept.memory.shape
                kept.sums = count * -(-rows // compiled.SCRATCH_ROWS)
                kept.by = operation
            if bias is not None:
                arguments["bs0"] = self.gradient_store(bias)
            operation.fused.append("keep")
        elif self.state is not None:
            optimizer = self.state.optimizer
            arguments["clamps"] = optimizer.clips == "value"
            operation.fused += ["clip"] if arguments["clamps"] else []
            self._rule(operation, weight, "s", panels)
            if bias is not None:
                self._rule(operation, bias, "bs", False)
            operation.fused.append(optimizer.name)

    def _rule(self, operation: Operation, parameter: Parameter, prefix: str, panels: bool) -> None:
        """Let an operation update a parameter as the optimizer does."""
        if self.state is None:
            raise ValueError("the plan has no optimizer.")
        arguments = operation.arguments
        arguments["rule"] = KINDS[self.state.optimizer.kind]
        arguments["multiplier"] = parameter.learning_rate_multiplier
        for index, slot in enumerate(self.state.optimizer.slots):
            stored = self.state.of(parameter)[slot]
            arguments[f"{prefix}{index}"] = self._live(stored, panels=panels)
            operation.bytes += 2 * self.dtype.itemsize * math.prod(parameter.shape)

    def gradient_store(self, parameter: Parameter, *, panels: bool = False) -> Array:
        """Return where an operation leaves a gradient that ``finish_updates`` is to clip.

        Of the form in which the parameter lies in memory; every step overwrites all of it. The
        gradient is that of the loss with its penalties.
        """
        live = self._live(parameter, panels=panels)
        if live is None:
            raise ValueError(f"{parameter.name} has no memory.")
        memory = empty(live.shape, self.dtype)
        memory[...] = 0
        sums = -(-memory.size // compiled.VALUES_OF_A_SUM)
        self._kept[parameter.name] = _Kept(parameter, panels, memory, sums, None)
        return memory

    def finish_updates(self) -> None:
        """Add what needs the gradients of all parameters: their norm, and the clipped updates."""
        if not self._kept or self.state is None:
            return
        self.meet()
        squares, at = np.zeros(sum(kept.sums for kept in self._kept.values())), 0
        for kept in self._kept.values():
            mine = squares[at : at + kept.sums]
            at += kept.sums
            if kept.by is not None:
                kept.by.arguments["sums"] = mine
            else:
                self._whole("gradient_norm", kept.parameter, 2, x=kept.memory, sums=mine)
        self.meet()
        for kept in self._kept.values():
            w = self._live(kept.parameter, panels=kept.panels)
            operation = self._whole(
                "clipped_update",
                kept.parameter,
                8,
                x=kept.memory,
                w=w,
                sums=squares,
                outputs=len(squares),
            )
            self._rule(operation, kept.parameter, "s", kept.panels)
            operation.fused += ["clip", self.state.optimizer.name]

    def penalties(self, parameters: Iterable[Parameter]) -> None:
        """Let the loss of a batch have the penalties of the parameters, as they are before it.

        To be called when the layers that have them are in the plan, and the loss is not.
        """
        penalized = [parameter for parameter in parameters if any(parameter.penalty)]
        chunk = compiled.VALUES_OF_A_SUM
        counts = [-(-parameter.live.size // chunk) for parameter in penalized]
        self._penalties = np.zeros(sum(counts))
        at = 0
        for parameter, count in zip(penalized, counts, strict=True):
            live, (l1, l2) = parameter.live, parameter.penalty
            self.storage.append((parameter, live))
            sums = self._penalties[at : at + count]
            operation = self._whole("penalty", parameter, 4, x=live, sums=sums, l1=l1, l2=l2)
            operation.fused += [f"l1 {l1:g}"] * (l1 > 0) + [f"l2 {l2:g}"] * (l2 > 0)
            # First of all: what follows has a barrier before the loss, and may be one with it.
            self.operations.insert(0, self.operations.pop())
            at += count

    def _whole(
        self, kind: str, parameter: Parameter, cost: int, *, x: Array, **arguments: Any
    ) -> Operation:
        """Add an operation on all values of a parameter in memory."""
        layer: Any = parameter.layer
        return self._add(
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
