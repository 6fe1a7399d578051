"""Narrow networks: plans whose values have the samples in the lanes of vectors.

A layer of two or ten units leaves most of a vector empty if a vector holds the units of one
sample. Here a value is a matrix (columns, samples), and a vector holds one unit of many samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy.typing as npt

from fastmlp._plan.builder import Builder
from fastmlp._plan.core import Buffer, Gradient, Operation, Value
from fastmlp.layers import Activation, Dense, Dropout, Flatten, GaussianNoise, Standardize
from fastmlp.layers.base import Layer
from fastmlp.network import Network
from fastmlp.parameter import Parameter

__all__ = ["LaneBuilder", "is_narrow"]

Array = npt.NDArray[Any]

# Columns of a value, at most: beyond it vectors of one sample's units are full enough.
_NARROW = 32

# The compiled operations of this layout.
_KINDS = {
    "gather": "lane_gather",
    "dense": "lane_dense",
    "dense_backward": "lane_dense_backward",
    "dense_update": "lane_dense_update",
    "activation": "lane_activation",
    "activation_backward": "lane_activation_backward",
    "output": "lane_output",
    "cross_entropy": "lane_cross_entropy",
}


def is_narrow(network: Network) -> bool:
    """Return whether all values of a network are narrow, and all layers known in this layout."""
    if network.integers_below is not None or math.prod(network.input_shape) > _NARROW:
        return False
    for layer in network.layers:
        if isinstance(layer, (Dense, Activation)) and layer.activation.name == "softmax":
            return False
        nothing = (type(layer) is Dropout and layer.rate == 0) or (
            type(layer) is GaussianNoise and layer.stddev == 0
        )
        if type(layer) not in (Dense, Activation, Flatten, Standardize) and not nothing:
            return False
        if math.prod(layer.output_shape or ()) > _NARROW:
            return False
    return any(isinstance(layer, Dense) for layer in network.layers)


class LaneBuilder(Builder):
    """Adds the operations of a narrow network; see :class:`fastmlp._plan.builder.Builder`."""

    _in_panels = False

    def compiled_kind(self, operation: Operation) -> str:
        """Return the name of the compiled operation."""
        return _KINDS.get(operation.kind, operation.kind)

    def buffer(self, name: str, columns: int, *, zero: bool = False) -> Buffer:
        """Return a new buffer of a row a column, in whole blocks of samples."""
        stride = self._apart(-(-self.rows // self.width) * self.width)
        return self._new_buffer(name, columns, self.rows, stride, zero)

    def _output(self, layer: Layer, columns: int) -> Buffer:
        return self.buffer(layer.name, columns)

    def input(self, columns: int) -> Value:
        """Return the batch's samples in the arena: nobody has them in this layout."""
        return self.gather(columns, False, 1.0)

    def gather(self, columns: int, bytes_: bool, scale: float) -> Value:
        """Add the copy of the batch's samples, converted, scaled and transposed."""
        self._scratch = max(self._scratch, columns * self.width)
        x = super().gather(columns, bytes_, scale)
        # Where all samples are one batch it is copied in the first step only: nobody may write
        # to it, and nobody else has its memory.
        x.kept = True
        if x.buffer is not None:
            x.buffer.zero = True
        return x

    def _shares_samples(self, inputs: int, outputs: int) -> bool:
        return True

    def dense_backward(
        self, layer: Layer, x: Value, gradient: Gradient, weight: Parameter
    ) -> Gradient:
        """Add ``dy @ weight.T``, times the derivative of what made ``x``."""
        inputs, outputs = weight.shape
        dx = self.buffer("d " + layer.name, inputs)
        operation = self._add(
            "dense_backward",
            layer,
            f"({self.rows}, {outputs}) @ ({outputs}, {inputs})",
            2 * self.rows * inputs * outputs,
            [gradient.buffer],
            [dx],
            moved=inputs * outputs,
            by_samples=True,
            inputs=inputs,
            outputs=outputs,
            w=self._live(weight),
            dy=gradient.buffer,
            dx=dx,
        )
        return Gradient(dx, self._derive_too(operation, x))

    def dense_update(
        self,
        layer: Layer,
        x: Value,
        gradient: Gradient,
        weight: Parameter,
        bias: Parameter | None,
    ) -> None:
        """Add the gradients of weight and bias, with the update of the two in the same pass."""
        self._scratch = max(self._scratch, (weight.shape[0] + 1) * weight.shape[1])
        super().dense_update(layer, x, gradient, weight, bias)

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
        """Add a loss: cross-entropy in the lanes, others on rows."""
        if kind != "cross_entropy":
            found = super().loss(
                kind, self.on_rows(x), gradient=gradient, fused=fused, parameter=parameter
            )
            return self.gradient_on_rows(found.buffer, x) if found is not None else None
        dy = self.buffer("d loss", x.columns) if gradient else None
        # Six values of a sample, and a gradient that nobody wants.
        self._scratch = max(self._scratch, (6 + x.columns) * (self.rows + self.width))
        operation = self._add(
            "cross_entropy",
            None,
            f"({x.columns}, {self.rows})",
            40 * self.rows * x.columns,
            [x.buffer],
            [dy],
            by_samples=True,
            inputs=x.columns,
            outputs=x.columns,
            x=x.buffer,
            dy=dy,
            parameter=parameter,
            class_weight=class_weight,
            checks=True,
        )
        operation.fused += [*fused, *(["gradient"] if gradient else [])]
        return self.gradient(dy, x) if dy is not None else None

    def on_rows(self, x: Value) -> Value:
        """Return a value with a row a sample, for a loss that wants it so."""
        rows = self.row_buffer("rows", x.columns)
        self._add(
            "lane_rows",
            None,
            f"({x.columns}, {self.rows})",
            self.rows * x.columns,
            [x.buffer],
            [rows],
            moves=self.rows * x.columns,
            inputs=x.columns,
            outputs=x.columns,
            x=x.buffer,
            y=rows,
        )
        return Value(x.columns, rows)

    def gradient_on_rows(self, dy: Buffer, x: Value) -> Gradient:
        """Return the gradient by ``x`` that is in ``dy``, made from what ``on_rows`` returned."""
        lanes = self.buffer("d loss", x.columns)
        self._transpose(None, dy, lanes)
        return self.gradient(lanes, x)
