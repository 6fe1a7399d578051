"""The operations of a plan beside those of dense layers and images.

Dropout, noise, normalisation and embeddings.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp import _random
from fastmlp._arrays import empty
from fastmlp._plan.convolution import ImageOperations
from fastmlp._plan.core import Buffer, Gradient, Operation, Value
from fastmlp.layers.base import Layer
from fastmlp.parameter import Parameter
from fastmlp.stored import Derived, Stored

__all__ = ["LayerOperations"]

Array = npt.NDArray[Any]

# Operations that drop what they have just computed, before they go on with it.
_MASKED_OUTPUTS = ("dense", "batch_norm", "layer_norm", "embedding")
_MASKED_GRADIENTS = ("dense_backward", "batch_norm_backward", "layer_norm_backward")
# Activations whose derivative is told by the sign of the output: dropped ones will do.
_SIGNS = ("relu", "leaky_relu")
# A row of a table that an integer names costs as much as so many values that are moved.
_LOOKUP = 8


class LayerOperations(ImageOperations):
    """Adds the operations that these layers ask for."""

    # --- What is drawn in every step --------------------------------------------------------------

    def dropout(self, layer: Layer, x: Value, rate: float) -> Value:
        """Add a mask: in the pass that computes ``x``, and in the place of ``x``, if it can be."""
        if self.training is None or rate == 0:
            return x
        spoilt = x.activation is not None and x.saved is x.buffer
        spoilt = spoilt and x.activation is not None and x.activation.name not in _SIGNS
        buffer = x.buffer
        if buffer is None or spoilt or x.kept:
            buffer = self._output(layer, x.columns)
        mask = self._mask(layer, rate)
        producer = x.producer
        if producer is not None and producer.kind in _MASKED_OUTPUTS and _joins(producer):
            buffer.first = min(buffer.first, producer.phase)
            buffer.last = max(buffer.last, producer.phase)
            producer.arguments |= mask | {"masked": buffer}
            producer.fused.append(f"dropout {rate:g}")
        else:
            operation = self._add(
                "dropout",
                layer,
                f"({self.rows}, {x.columns})",
                10 * self.rows * x.columns,
                [x.buffer],
                [buffer],
                outputs=x.columns,
                x=x.buffer,
                y=buffer,
                **mask,
            )
            operation.fused.append(f"rate {rate:g}")
        y = Value(x.columns, buffer)
        y.kept = x.kept or (buffer is x.buffer and x.activation is not None)
        return y

    def dropout_backward(self, layer: Layer, x: Value, gradient: Gradient, rate: float) -> Gradient:
        """Add the same mask to the gradient, where it is computed if that can be."""
        dy = gradient.buffer
        mask = self._mask(layer, rate)
        source = self._source(dy)
        if source is not None:
            source.arguments |= mask
            source.fused.append(f"dropout {rate:g}")
            derived = self._derive_too(source, x)
            below = self._transposed(layer, x, source.kind)
            if below is not None:
                below.first = below.last = source.phase
                source.arguments["dxt"] = below
            return Gradient(dy, derived, below)
        self._add(
            "dropout",
            layer,
            f"({self.rows}, {x.columns})",
            10 * self.rows * x.columns,
            [dy],
            [dy],
            outputs=x.columns,
            x=dy,
            y=dy,
            **mask,
        ).fused.append(f"rate {rate:g}")
        return self.gradient(dy, x)

    def gaussian_noise(self, layer: Layer, x: Value, stddev: float) -> Value:
        """Add noise to ``x``, in its place if it may be."""
        if self.training is None or stddev == 0:
            return x
        buffer = x.buffer
        if buffer is None or x.activation is not None or x.kept:
            buffer = self._output(layer, x.columns)
        self._add(
            "gaussian_noise",
            layer,
            f"({self.rows}, {x.columns})",
            100 * self.rows * x.columns,
            [x.buffer],
            [buffer],
            outputs=x.columns,
            x=x.buffer,
            y=buffer,
            key=_random.stream_key(self.training.seed, layer.number),
            scale=stddev,
        ).fused.append(f"stddev {stddev:g}")
        return Value(x.columns, buffer)

    def _mask(self, layer: Layer, rate: float) -> dict[str, Any]:
        seed = self.training.seed if self.training is not None else 0
        return {
            "key": _random.stream_key(seed, layer.number),
            "threshold": _random.drop_threshold(rate),
            "keep_scale": 1 / (1 - rate),
        }

    def _source(self, dy: Buffer) -> Operation | None:
        """Return the operation that wrote a gradient last, if a mask may join it."""
        for operation in reversed(self.operations):
            arguments = operation.arguments
            if arguments.get("dx") is dy:
                # What it does to a gradient besides comes after the mask, so there must be nothing.
                alone = not {"key", "activation", "dxt"} & {
                    k for k, v in arguments.items() if v is not None
                }
                return operation if operation.kind in _MASKED_GRADIENTS and alone else None
            if any(value is dy for value in arguments.values()):
                return None
        return None

    def _transposed(self, layer: Layer, x: Value, kind: str) -> Buffer | None:
        """Return where an operation is to write the gradient by ``x`` transposed, if it can."""
        # The threads of a layer_norm_backward have rows, of which the transposed are columns.
        return self._transposed_for(layer.name, x) if kind != "layer_norm_backward" else None

    # --- Normalisation --------------------------------------------------------------------------

    def batch_norm(
        self, layer: Layer, x: Value, gamma: Parameter, beta: Parameter, epsilon: float
    ) -> Value:
        """Add the normalisation of a batch by its own statistics.

        One pass where every column is a feature: a thread has some of them. Where a feature has
        many positions in a sample, the moments of each come first.
        """
        features, columns = gamma.shape[0], x.columns
        y = self._output(layer, columns)
        shape = f"({self.rows}, {columns})"
        operations = self.rows * columns
        arguments: dict[str, Any] = {
            "inputs": features,
            "outputs": columns,
            "x": x.buffer,
            "statistics": np.empty(2 * features),
        }
        if columns != features:
            arguments["partial"] = np.empty(2 * columns)
            self._add("batch_moments", layer, shape, 6 * operations, [x.buffer], [], **arguments)
        self._reserve(features, columns)
        operation = self._add(
            "batch_norm",
            layer,
            shape,
            (4 if columns != features else 10) * operations,
            [x.buffer],
            [y],
            epsilon=epsilon,
            w=self._live(gamma),
            b=self._live(beta),
            z=y,
            y=y,
            **arguments,
        )
        return Value(columns, y, producer=operation)

    def batch_norm_backward(
        self,
        layer: Layer,
        x: Value,
        y: Value,
        gradient: Gradient,
        gamma: Parameter,
        beta: Parameter,
        running: tuple[Parameter, Parameter, float],
        need_dx: bool,
    ) -> Gradient | None:
        """Add the backward pass of ``y``, which ``batch_norm`` made of ``x``, and the updates."""
        features, columns, dy = gamma.shape[0], x.columns, gradient.buffer
        shape = f"({self.rows}, {columns})"
        operations = self.rows * columns
        made = y.producer.arguments if y.producer is not None else {}
        arguments: dict[str, Any] = {
            "inputs": features,
            "outputs": columns,
            "x": x.buffer,
            "dy": dy,
            "statistics": made["statistics"],
            "epsilon": made["epsilon"],
        }
        one_pass = columns == features
        if not one_pass:
            arguments["partial"] = np.empty(2 * columns)
            self._add(
                "batch_products", layer, shape, 6 * operations, [x.buffer, dy], [], **arguments
            )
        result = None
        update = None
        if one_pass or need_dx:
            dx = None
            if need_dx:
                dx = self.buffer("d " + layer.name, columns, zero=columns % self.lanes != 0)
            below = self._transposed_for(layer.name, x) if need_dx and one_pass else None
            update = self._add(
                "batch_norm_backward",
                layer,
                shape,
                (12 if one_pass else 6) * operations,
                [x.buffer, dy],
                [dx, below],
                # Without dx nobody waits for what it computes.
                barrier=need_dx,
                dx=dx,
                dxt=below,
                **arguments,
            )
            if dx is not None:
                derived = self._derive_too(update, x)
                result = Gradient(dx, derived, below)
                if not one_pass:
                    update.arguments["w"] = self._live(gamma)
        if not one_pass:
            flops = 10 * columns
            update = self._add(
                "batch_update", layer, f"({features},)", flops, [], [], barrier=False, **arguments
            )
        if update is None:
            raise ValueError("a batch normalisation without an update.")
        if self.updates(gamma, beta):
            self.update(update, gamma, beta)
        elif need_dx and one_pass:
            update.arguments["w"] = self._live(gamma)
        if self.training is not None and self.training.updates:
            mean, variance, momentum = running
            update.arguments |= {
                "running_mean": self._live(mean),
                "running_variance": self._live(variance),
                "momentum": momentum,
            }
            update.fused.append("running statistics")
        return result

    def scale_shift(
        self,
        layer: Layer,
        x: Value,
        gamma: Parameter,
        beta: Parameter,
        mean: Parameter,
        variance: Parameter,
        epsilon: float,
    ) -> Value:
        """Add ``gamma * (x - mean) / sqrt(variance + epsilon) + beta`` to a plan that predicts.

        Folded into the weights of a linear operation just before, of which the plan then has a copy
        of its own; else as a pass of its own, in place.
        """
        sources = (gamma, beta, mean, variance)

        def factors() -> tuple[Array, Array, Array]:
            doubles = [stored.value.astype(np.float64) for stored in sources]
            return doubles[0] / np.sqrt(doubles[3] + epsilon), doubles[1], doubles[2]

        producer = x.producer
        linear = x.activation is None and producer is not None and "pool" not in producer.arguments
        if linear and producer is not None and producer.weights is not None:
            weight, bias = producer.weights
            folded, offset = Stored(weight.shape), Stored(gamma.shape)
            folded.assign(np.zeros((), self.dtype), self.dtype)
            offset.assign(np.zeros((), self.dtype), self.dtype)
            in_panels = producer.arguments["w"].shape != weight.shape
            producer.arguments["w"] = folded.panels(self.width) if in_panels else folded.plain()
            producer.arguments["b"] = offset.plain()

            def fold() -> None:
                factor, shift, centre = factors()
                folded.write((weight.value * factor).astype(self.dtype))
                before = bias.value if bias is not None else 0.0
                offset.write(((before - centre) * factor + shift).astype(self.dtype))

            self.derived.append(Derived((weight, bias, *sources), fold))
            producer.fused.append(layer.name)
            producer.weights = None
            return x
        repeats = x.columns // gamma.shape[0]
        three = empty((3, x.columns), self.dtype)

        def compute() -> None:
            factor, shift, centre = factors()
            three[0] = np.tile(centre, repeats)
            three[1] = np.tile(factor, repeats)
            # What the mean loses where it becomes a number of the dtype.
            rest = three[0, : len(centre)].astype(np.float64) - centre
            three[2] = np.tile(shift + rest * factor, repeats)

        self.derived.append(Derived(sources, compute))
        buffer = x.buffer if x.buffer is not None and not x.kept else self._output(layer, x.columns)
        operation = self._add(
            "scale_shift",
            layer,
            f"({self.rows}, {x.columns})",
            3 * self.rows * x.columns,
            [x.buffer],
            [buffer],
            inputs=x.columns,
            outputs=x.columns,
            x=x.buffer,
            s0=three[0],
            w=three[1],
            b=three[2],
            z=buffer,
            y=buffer,
        )
        return Value(x.columns, buffer, producer=operation)

    def layer_norm(
        self, layer: Layer, x: Value, gamma: Parameter, beta: Parameter, epsilon: float
    ) -> Value:
        """Add the normalisation of every sample over its last axis."""
        features, columns = gamma.shape[0], x.columns
        y = self._output(layer, columns)
        operation = self._add(
            "layer_norm",
            layer,
            f"({self.rows}, {columns})",
            12 * self.rows * columns,
            [x.buffer],
            [y],
            inputs=features,
            outputs=columns,
            x=x.buffer,
            statistics=np.empty(2 * self.rows * (columns // features)),
            epsilon=epsilon,
            w=self._live(gamma),
            b=self._live(beta),
            z=y,
            y=y,
        )
        return Value(columns, y, producer=operation)

    def layer_norm_backward(
        self,
        layer: Layer,
        x: Value,
        y: Value,
        gradient: Gradient,
        gamma: Parameter,
        beta: Parameter,
        need_dx: bool,
    ) -> Gradient | None:
        """Add the backward pass of ``y``, which ``layer_norm`` made of ``x``, and the updates."""
        features, columns, dy = gamma.shape[0], x.columns, gradient.buffer
        shape = f"({self.rows}, {columns})"
        made = y.producer.arguments if y.producer is not None else {}
        arguments: dict[str, Any] = {
            "inputs": features,
            "outputs": columns,
            "x": x.buffer,
            "dy": dy,
            "statistics": made["statistics"],
            "epsilon": made["epsilon"],
        }
        self._reserve(features, columns)
        result = None
        if need_dx:
            dx = self.buffer("d " + layer.name, columns, zero=columns % self.lanes != 0)
            operation = self._add(
                "layer_norm_backward",
                layer,
                shape,
                14 * self.rows * columns,
                [x.buffer, dy],
                [dx],
                dx=dx,
                w=self._live(gamma),
                **arguments,
            )
            derived = self._derive_too(operation, x)
            result = Gradient(dx, derived)
        if self.updates(gamma, beta):
            flops = 6 * self.rows * columns
            update = self._add(
                "layer_norm_update",
                layer,
                shape,
                flops,
                [x.buffer, dy],
                [],
                barrier=False,
                **arguments,
            )
            self.update(update, gamma, beta)
        return result

    def _reserve(self, features: int, columns: int) -> None:
        """Make room in the scratch: four doubles a feature, and four values a column."""
        doubles = 4 * features * (8 // self.dtype.itemsize)
        self._scratch = max(self._scratch, doubles + 4 * columns)

    # --- Embeddings -----------------------------------------------------------------------------

    def embedding(self, layer: Layer, x: Value, weight: Parameter, *, sums: bool) -> Value:
        """Add the rows of ``weight`` that the integers of the samples name, or their sum."""
        _, dim = weight.shape
        columns = dim if sums else x.columns * dim
        y = self._output(layer, columns)
        operation = self._add(
            "embedding",
            layer,
            f"({self.rows}, {x.columns}) of {weight.shape}",
            2 * self.rows * x.columns * dim,
            [],
            [y],
            moved=self.rows * x.columns * dim,
            moves=_LOOKUP * self.rows * x.columns,
            by_samples=True,
            inputs=x.columns,
            outputs=dim,
            w=self._live(weight),
            z=y,
            y=y,
            index_bytes=self.index_bytes,
            sums_rows=sums,
        )
        operation.fused += ["sum"] * sums
        return Value(columns, y, producer=operation)

    def embedding_update(
        self, layer: Layer, x: Value, gradient: Gradient, weight: Parameter, *, sums: bool
    ) -> None:
        """Add the gradient of the rows, and their update.

        Of all rows, unless the rule leaves alone what has a gradient of zero: that is seen in every
        step.
        """
        if not self.updates(weight):
            return
        vocabulary, dim = weight.shape
        memory = empty(weight.shape, self.dtype)
        memory[...] = 0
        operation = self._add(
            "embedding_update",
            layer,
            f"({self.rows}, {x.columns}) of {weight.shape}",
            4 * vocabulary * dim + 2 * self.rows * x.columns * dim,
            [gradient.buffer],
            [],
            moved=2 * vocabulary * dim,
            moves=_LOOKUP * self.rows * x.columns,
            barrier=False,
            inputs=x.columns,
            outputs=dim,
            dy=gradient.buffer,
            index_bytes=self.index_bytes,
            sums_rows=sums,
            vocabulary=vocabulary,
            row_gradients=memory,
            marks=np.zeros(vocabulary, np.int8),
        )
        self.update(operation, weight)


def _joins(producer: Operation) -> bool:
    """Return whether an operation draws nothing yet."""
    return "key" not in producer.arguments
