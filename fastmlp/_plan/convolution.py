"""The operations of a plan on images: convolution and pooling."""

from __future__ import annotations

import math
from dataclasses import astuple
from typing import Any, Protocol

from fastmlp._compiled import plan as compiled
from fastmlp._plan.core import Buffer, Gradient, Operation, Value
from fastmlp._plan.updates import Updates
from fastmlp.activations import ActivationFunction
from fastmlp.layers.base import Layer
from fastmlp.layers.window import Window
from fastmlp.parameter import Parameter

__all__ = ["ImageOperations"]

# A filter's gradient is a sum over so many chunks of the batch at most, whatever the threads: few
# enough that adding them up costs little, more than most machines have cores.
_CHUNKS = 16
_LARGE_FILTERS = 1 << 14  # elements
_CHUNKS_OF_LARGE_FILTERS = 8


class _Windowed(Protocol):
    """A layer with a window that slides over images."""

    window: Window


class ImageOperations(Updates):
    """Adds the operations that layers of images ask for."""

    def convolution(
        self,
        layer: Layer,
        x: Value,
        weight: Parameter,
        bias: Parameter | None,
        activation: ActivationFunction,
    ) -> Value:
        """Add ``activation(x convolved with weight + bias)``."""
        window = _window(layer)
        filters, size = weight.shape[-1], math.prod(weight.shape)
        places = window.out_height * window.out_width
        y = self._output(layer, places * filters)
        scratch, _, _ = compiled.convolution_memory(astuple(window), filters, self.lanes)
        self._scratch = max(self._scratch, scratch)
        operation = self._add(
            "convolution",
            layer,
            f"{self._images(window)} * {_filters(weight)}",
            2 * self.rows * places * size,
            [x.buffer],
            [y],
            moved=size,
            inputs=size // filters,
            outputs=filters,
            w=self._live(weight, panels=True),
            b=self._live(bias),
            z=y,
            y=y,
            x=x.buffer,
            window=astuple(window),
            by_rows=False,
        )
        operation.fused += ["bias"] if bias is not None else []
        operation.weights = weight, bias
        return self.activate(layer, Value(y.columns, y, producer=operation), activation)

    def convolution_backward(
        self,
        layer: Layer,
        x: Value,
        y: Value,
        gradient: Gradient,
        weight: Parameter,
        bias: Parameter | None,
        need_dx: bool,
    ) -> Gradient | None:
        """Add the gradients of input, filters and bias, and the update of the last two."""
        gradient = self.derive(layer, y, gradient)
        updates = self.updates(weight, bias)
        if not (need_dx or updates):
            return None
        window = _window(layer)
        filters, size = weight.shape[-1], math.prod(weight.shape)
        inputs = size // filters
        _, patch, part = compiled.convolution_memory(astuple(window), filters, self.lanes)
        common: dict[str, Any] = {
            "inputs": inputs,
            "outputs": filters,
            "window": astuple(window),
            "chunks": _CHUNKS if size < _LARGE_FILTERS else _CHUNKS_OF_LARGE_FILTERS,
        }
        producer = y.producer
        pool = producer.arguments.get("pool") if producer is not None else None
        index = producer.arguments.get("index") if producer is not None else None
        turned = self._memory(f"{layer.name}, transposed", filters, patch) if need_dx else None
        if turned is not None:
            self._add(
                "filters",
                layer,
                _filters(weight),
                size,
                [],
                [turned],
                moved=2 * size,
                w=self._live(weight, panels=True),
                filters=turned,
                **common,
            )
        parts = None
        if updates:
            parts = self._memory(f"d {layer.name}, parts", common["chunks"], part)
        dx = self.buffer("d " + layer.name, x.columns, zero=True) if need_dx else None
        operation = self._add(
            "convolution_backward",
            layer,
            f"{self._images(window)} * {_filters(weight)}",
            2 * self.rows * window.out_height * window.out_width * size * (need_dx + updates),
            [x.buffer, gradient.buffer, index, turned],
            [dx, parts],
            x=x.buffer,
            dy=gradient.buffer,
            dx=dx,
            index=index,
            pool=pool,
            filters=turned,
            parts=parts,
            **common,
        )
        operation.fused += ["max-pool'"] if pool is not None else []
        derived = self._derive_too(operation, x) if dx is not None else False
        if updates:
            update = self._add(
                "convolution_update",
                layer,
                _filters(weight),
                common["chunks"] * size,
                [parts],
                [],
                moved=2 * size,
                barrier=False,
                parts=parts,
                **common,
            )
            self.update(update, weight, bias, panels=True)
        return Gradient(dx, derived) if dx is not None else None

    def max_pool(self, layer: Layer, x: Value) -> Value:
        """Add the largest of each window; it joins the convolution before where it can."""
        window = _window(layer)
        columns = window.out_height * window.out_width * window.channels
        index = None  # where each maximum was: prediction does not ask
        if self.training is not None:
            index = self._memory(
                f"{layer.name}, index",
                self.rows,
                -(-columns * _index_bytes(window) // self.dtype.itemsize),
            )
        before = x.producer
        saves = x.activation.saves if x.activation is not None else "output"
        if before is not None and saves == "output" and _takes_pool(before):
            y = self._output(layer, columns)
            y.first = y.last = before.phase
            if index is not None:
                index.first = index.last = before.phase
            before.arguments |= {"y": y, "pool": astuple(window), "index": index}
            before.fused.append(f"max-pool {window.kernel_height}x{window.kernel_width}")
            unused = x.buffer
            before.arguments["z"] = y
            self._buffers = [buffer for buffer in self._buffers if buffer is not unused]
            x.buffer, x.columns = y, columns
            if x.activation is not None:
                x.saved = y
            return x
        y = self._output(layer, columns)
        self._add(
            "max_pool",
            layer,
            self._images(window),
            self.rows * columns * window.kernel_height * window.kernel_width,
            [x.buffer],
            [y, index],
            x=x.buffer,
            y=y,
            index=index,
            window=astuple(window),
        )
        return Value(columns, y, saved=index)

    def max_pool_backward(self, layer: Layer, x: Value, y: Value, gradient: Gradient) -> Gradient:
        """Add the gradient of the input."""
        return self._pool_backward("max_pool_backward", layer, x, y, gradient, y.saved)

    def average_pool(self, layer: Layer, x: Value) -> Value:
        """Add the mean of each window."""
        window = _window(layer)
        columns = window.out_height * window.out_width * window.channels
        y = self._output(layer, columns)
        self._add(
            "average_pool",
            layer,
            self._images(window),
            self.rows * columns * window.kernel_height * window.kernel_width,
            [x.buffer],
            [y],
            x=x.buffer,
            y=y,
            window=astuple(window),
        )
        return Value(columns, y)

    def average_pool_backward(
        self, layer: Layer, x: Value, y: Value, gradient: Gradient
    ) -> Gradient:
        """Add the gradient of the input."""
        return self._pool_backward("average_pool_backward", layer, x, y, gradient, None)

    def _pool_backward(
        self,
        kind: str,
        layer: Layer,
        x: Value,
        y: Value,
        gradient: Gradient,
        index: Buffer | None,
    ) -> Gradient:
        gradient = self.derive(layer, y, gradient)
        window = _window(layer)
        dx = self.buffer("d " + layer.name, x.columns, zero=True)
        operation = self._add(
            kind,
            layer,
            self._images(window),
            self.rows * y.columns * window.kernel_height * window.kernel_width,
            [gradient.buffer, index],
            [dx],
            dy=gradient.buffer,
            dx=dx,
            index=index,
            window=astuple(window),
        )
        return Gradient(dx, self._derive_too(operation, x))

    def _memory(self, name: str, rows: int, columns: int) -> Buffer:
        """Return a buffer that is not of the samples; what no operation writes of it is zero."""
        stride = -(-columns // self.width) * self.width
        buffer = Buffer(name, rows, columns, stride, True, self._phase)
        self._buffers.append(buffer)
        return buffer

    def _images(self, window: Window) -> str:
        return f"({self.rows}, {window.height}, {window.width}, {window.channels})"


def _window(layer: Any) -> Window:
    windowed: _Windowed = layer
    return windowed.window


def _takes_pool(operation: Operation) -> bool:
    """Return whether a max-pool may join an operation: a convolution that has none yet."""
    return operation.kind == "convolution" and "pool" not in operation.arguments


def _filters(weight: Parameter) -> str:
    return "(" + ", ".join(map(str, weight.shape)) + ")"


def _index_bytes(window: Window) -> int:
    """Return the bytes of the place of a maximum in its window: csrc/pooling.pxd."""
    return 1 if window.kernel_height * window.kernel_width <= 256 else 4
