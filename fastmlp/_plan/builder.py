"""A network as a list of operations over one block of memory.

Layers *lower* themselves: they ask the :class:`Builder` for operations on values, and the builder
fuses what can be, finds places for the values in one arena and hands the list to the compiled
:class:`~fastmlp._compiled.plan.Program`, which runs it for many batches without the GIL.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp._arrays import empty
from fastmlp._compiled import plan as compiled
from fastmlp._plan import core
from fastmlp._plan.core import Buffer, Gradient, Operation, Value
from fastmlp._plan.normalization import LayerOperations
from fastmlp.activations import ActivationFunction
from fastmlp.layers.base import Layer
from fastmlp.optimizers import GradientStore, UpdatingSink
from fastmlp.parameter import Parameter
from fastmlp.stored import Derived

__all__ = ["Buffer", "Builder", "Gradient", "Operation", "Value"]

Array = npt.NDArray[Any]

# A transposed gradient of at most so many elements each thread makes for itself.
_OWN_TRANSPOSE = 4096
# Bytes of a weight, and of a layer's inputs, that a thread may have to itself: half of an L2.
_OWN_WEIGHT = 256 * 1024


class Builder(LayerOperations):
    """Adds the operations that layers, losses and the two ends of a pass ask for."""

    _in_panels = True  # how the weights of dense layers lie in memory

    # --- What layers ask for ------------------------------------------------------------------

    def dense(
        self,
        layer: Layer,
        x: Value,
        weight: Parameter,
        bias: Parameter | None,
        activation: ActivationFunction,
    ) -> Value:
        """Add ``activation(x @ weight + bias)``."""
        inputs, outputs = weight.shape
        y = self.buffer(layer.name, outputs)
        lists = self._lists(x) if x.listed else None
        few_panels = -(-outputs // self.width) < self.threads
        by_rows = self._shares_samples(inputs, outputs) or (
            few_panels and self.rows >= 16 * self.threads
        )
        operation = self._add(
            "dense",
            layer,
            f"({self.rows}, {inputs}) @ ({inputs}, {outputs})",
            2 * self.rows * inputs * outputs,
            [x.buffer, lists],
            [y],
            moved=inputs * outputs,
            inputs=inputs,
            outputs=outputs,
            lists=lists,
            w=self._live(weight, panels=self._in_panels),
            b=self._live(bias),
            z=y,
            y=y,
            x=x.buffer,
            by_rows=by_rows,
            by_samples=by_rows,
        )
        operation.fused += ["zeros left out"] if lists is not None else []
        operation.fused += ["bias"] if bias is not None else []
        operation.weights = weight, bias
        return self.activate(layer, Value(outputs, y, producer=operation), activation)

    def _lists(self, x: Value) -> Buffer:
        """Add the lists of what is not zero in the samples."""
        size, _ = compiled.list_memory(x.columns, self.rows, self.dtype.itemsize == 8)
        tiles = -(-self.rows // compiled.LIST_ROWS)
        lists = self._new_buffer("nonzeros", tiles, size, size, False)
        self._add(
            "nonzeros",
            None,
            f"({self.rows}, {x.columns})",
            self.rows * x.columns,
            [x.buffer],
            [lists],
            by_samples=True,
            inputs=x.columns,
            outputs=x.columns,
            x=x.buffer,
            lists=lists,
        )
        return lists

    def _shares_samples(self, inputs: int, outputs: int) -> bool:
        """Return whether threads share the samples of a product, rather than the outputs.

        Where all weights stay in every thread's L2, its own samples do, too, from layer to layer.
        """
        room = _OWN_WEIGHT // self.dtype.itemsize
        each = self.rows // self.threads
        if each < core.OWN_SAMPLES or inputs * outputs > room:
            return False
        return each * max(inputs, outputs) <= room

    def dense_backward(
        self, layer: Layer, x: Value, gradient: Gradient, weight: Parameter
    ) -> Gradient:
        """Add ``dy @ weight.T``, times the derivative of what made ``x``."""
        inputs, outputs = weight.shape
        dy, transposed = gradient.buffer, gradient.transposed
        stride = self._stride(self.rows)
        if transposed is None and outputs * stride > _OWN_TRANSPOSE:
            transposed = self._transposed_buffer(layer.name, outputs)
            self._transpose(layer, dy, transposed)
        elif transposed is None:
            padded = -(-outputs // self.width) * self.width
            self._scratch = max(self._scratch, compiled.SCRATCH_ROWS * self.width + padded * stride)
        dx = self.buffer("d " + layer.name, inputs, zero=inputs % self.lanes != 0)
        below = self._transposed_for(layer.name, x)
        by_rows = self._shares_samples(inputs, outputs)
        operation = self._add(
            "dense_backward",
            layer,
            f"({self.rows}, {outputs}) @ ({outputs}, {inputs})",
            2 * self.rows * inputs * outputs,
            [dy, transposed],
            [dx, below],
            moved=inputs * outputs,
            by_rows=by_rows,
            by_samples=by_rows,
            inputs=inputs,
            outputs=outputs,
            w=self._live(weight, panels=True),
            dy=dy,
            dyt=transposed,
            dx=dx,
            dxt=below,
        )
        if transposed is None:
            operation.arguments["dyt_row"] = stride
        return Gradient(dx, self._derive_too(operation, x), below)

    def dense_update(
        self,
        layer: Layer,
        x: Value,
        gradient: Gradient,
        weight: Parameter,
        bias: Parameter | None,
    ) -> None:
        """Add the gradients of weight and bias, with the update of the two in the same pass.

        There is no barrier after it: until the end of the step nobody reads or writes the two.
        """
        if not self.updates(weight, bias):
            return
        inputs, outputs = weight.shape
        operation = self._add(
            "dense_update",
            layer,
            f"({inputs}, {self.rows}) @ ({self.rows}, {outputs})",
            2 * self.rows * inputs * outputs,
            [x.buffer, gradient.buffer],
            [],
            moved=2 * inputs * outputs,
            barrier=False,
            inputs=inputs,
            outputs=outputs,
            x=x.buffer,
            dy=gradient.buffer,
        )
        if x.listed and self.rows * gradient.buffer.stride < 2**31:  # an index has 32 bits
            operation.arguments["listed"] = True
            operation.fused.append("zeros left out")
            # Beside the sums of a chunk of rows the lists of that chunk.
            _, size = compiled.list_memory(inputs, self.rows, self.dtype.itemsize == 8)
            lists = compiled.SCRATCH_ROWS // compiled.LIST_ROWS * size
            self._scratch = max(self._scratch, compiled.SCRATCH_ROWS * self.width + lists)
        operation.fused += ["bias gradient"] if bias is not None else []
        self.update(operation, weight, bias, panels=self._in_panels, sums=self._in_panels)

    def python(
        self,
        layer: Layer | None,
        what: str,
        function: Callable[[int, int], None],
        reads: list[Buffer | None],
        writes: list[Buffer | None],
        *,
        checks: bool = False,
    ) -> None:
        """Add a Python function of (rows, position of the first); the GIL is taken for it."""
        self._add(
            "python", layer, what, 0, reads, writes, function=function, checks=checks
        ).fused.append("GIL")

    def custom(self, layer: Layer, x: Value) -> Value:
        """Add the ``forward`` of a layer written in Python."""
        y = self._output(layer, math.prod(layer.output_shape or ()))
        made: dict[int, Any] = {}
        self._workspaces[layer.name] = made

        def forward(rows: int, first: int) -> None:
            training = self.training
            if training is not None:
                training.step = self.first_step + first // self.batch
            if rows not in made and training is None:
                made[rows] = layer.workspace(rows, self.dtype)
            elif rows not in made and training is not None:
                made[rows] = layer.training_workspace(rows, self.dtype, training)
            samples = np.ascontiguousarray(self.view(x.buffer, rows))
            output = layer.forward(self.ops, samples.reshape(rows, *_shape(layer)), made[rows])
            if np.shape(output) != (rows, *(layer.output_shape or ())):
                raise ValueError(
                    f"{layer.name}: forward must return shape "
                    f"{(rows, *(layer.output_shape or ()))}, got {np.shape(output)}."
                )
            self.view(y, rows)[...] = output.reshape(rows, -1)

        self.python(layer, "forward", forward, [x.buffer], [y])
        return Value(y.columns, y)

    def custom_backward(
        self, layer: Layer, x: Value, y: Value, gradient: Gradient, need_dx: bool
    ) -> Gradient | None:
        """Add the ``backward`` of a layer written in Python."""
        gradient = self.derive(layer, y, gradient)
        dx = self.buffer("d " + layer.name, x.columns, zero=True) if need_dx else None
        made = self._workspaces[layer.name]
        sink, state = GradientStore(self.ops, self.updates), self.state
        updates = self.gradients is None and state is not None
        kept: dict[str, Array] = {}
        if updates and state is not None and state.optimizer.clips != "norm":
            sink = UpdatingSink(self.ops, state)
        elif updates:
            trained = filter(self.updates, layer.parameters)
            kept = {each.name: self.gradient_store(each) for each in trained}

        def backward(rows: int, first: int) -> None:
            if updates and state is not None:
                state.begin_step(first // self.batch)
            dy = np.ascontiguousarray(self.view(gradient.buffer, rows))
            dy = dy.reshape(rows, *(layer.output_shape or ()))
            result = layer.backward(self.ops, dy, made[rows], sink, need_dx)
            if self.gradients is not None:
                self.gradients.update(sink.gradients)
            for name, memory in kept.items():
                np.copyto(memory, sink.gradients[name])
            if dx is not None and result is not None:
                self.view(dx, rows)[...] = result.reshape(rows, -1)

        self.python(layer, "backward", backward, [gradient.buffer, x.buffer], [dx])
        return self.gradient(dx, x) if dx is not None else None

    def loss(
        self,
        kind: str,
        x: Value,
        *,
        gradient: bool,
        fused: Iterable[str] = (),
        parameter: float = 0.0,
        class_weight: Array | None = None,
    ) -> Gradient | None:
        """Add a compiled loss: of every sample, and its gradient by ``x`` if asked.

        ``parameter`` and ``class_weight`` (of the plan's dtype) are settings of the loss, ``fused``
        what they are called in the table.
        """
        dy = transposed = None
        if gradient:
            # The outputs are not needed again, unless a derivative is computed from them.
            mine = x.buffer is not None and x.activation is None and not x.kept
            dy = x.buffer if mine else self.buffer("d loss", x.columns, zero=True)
            if kind == "cross_entropy" and x.columns * self._stride(self.rows) > _OWN_TRANSPOSE:
                transposed = self._transposed_for("loss", x)
        # A gradient that nobody wants is written all the same, to the scratch.
        self._scratch = max(self._scratch, x.columns)
        operation = self._add(
            kind,
            None,
            f"({self.rows}, {x.columns})",
            40 * self.rows * x.columns,
            [x.buffer],
            [dy, transposed],
            by_samples=True,
            inputs=x.columns,
            outputs=x.columns,
            x=x.buffer,
            dy=dy,
            dyt=transposed,
            parameter=parameter,
            class_weight=class_weight,
            checks=True,
        )
        operation.fused += [*fused, *(["gradient"] if gradient else [])]
        if dy is None:
            return None
        found = self.gradient(dy, x)
        found.transposed = transposed
        return found

    def input(self, columns: int) -> Value:
        """Return the batch's samples where the caller has them."""
        return Value(columns, None, listed=self.listed)

    def gather(self, columns: int, bytes_: bool, scale: float) -> Value:
        """Add the copy of the batch's samples, converted and scaled, to the arena."""
        y = self.buffer("batch", columns)
        operation = self._add(
            "gather",
            None,
            f"({self.rows}, {columns})",
            4 * self.rows * columns,
            [],
            [y],
            by_samples=True,
            inputs=columns,
            outputs=columns,
            y=y,
            bytes=bytes_,
            scale=scale,
        )
        operation.fused += ["uint8"] * bytes_ + [f"scale {scale:.4g}"] * (scale != 1)
        return Value(columns, y, listed=self.listed)

    def standardize(
        self,
        layer: Layer,
        x: Value,
        sources: tuple[Parameter, Parameter],
        rows: Callable[[], tuple[Array, Array]],
    ) -> Value:
        """Add ``(x - mean) * scale``: to the copy of the batch, while a sample is in the cache.

        ``rows`` returns both, of every column, as computed from the ``sources``.
        """
        three = empty((3, x.columns), self.dtype)
        three[2] = 0

        def compute() -> None:
            three[0], three[1] = rows()

        self.derived.append(Derived(sources, compute))
        self.storage += [(stored, stored.plain()) for stored in sources]
        arguments = {"s0": three[0], "w": three[1], "b": three[2]}
        before = self.operations[-1] if self.operations else None
        if before is not None and before.kind == "gather":
            before.arguments |= arguments
            before.flops += 2 * self.rows * x.columns
            before.fused.append(layer.name)
            x.listed = False
            return x
        y = self._output(layer, x.columns)
        self._add(
            "scale_shift",
            layer,
            f"({self.rows}, {x.columns})",
            3 * self.rows * x.columns,
            [x.buffer],
            [y],
            inputs=x.columns,
            outputs=x.columns,
            x=x.buffer,
            z=y,
            y=y,
            **arguments,
        )
        return Value(x.columns, y)

    def output(self, x: Value) -> None:
        """Add the copy of the outputs to the caller's array."""
        self._add(
            "output",
            None,
            f"({self.rows}, {x.columns})",
            self.rows * x.columns,
            [x.buffer],
            [],
            inputs=x.columns,
            outputs=x.columns,
            x=x.buffer,
        )


def _shape(layer: Layer) -> tuple[int, ...]:
    return layer.input_shape or ()
