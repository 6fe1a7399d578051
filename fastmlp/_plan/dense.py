"""Dense layers in a plan: the product, its input gradient, and its weight gradient with update."""

from __future__ import annotations

from fastmlp._compiled import plan as compiled
from fastmlp._plan import builder as building
from fastmlp._plan import updates
from fastmlp._plan.activations import activate, derive, fuse_derivative
from fastmlp._plan.builder import Builder
from fastmlp._plan.operation import Buffer, Gradient, Operation, Value
from fastmlp._plan.rules import LayerRule, LayerRules
from fastmlp._plan.samples import nonzeros, transpose
from fastmlp.layers import Dense

__all__ = ["LAYER_RULES", "OWN_TRANSPOSE", "add_product", "add_update"]

# Maximum elements of a transposed gradient of which each thread makes a private copy.
OWN_TRANSPOSE = 4096
# Maximum bytes of a weight, and of one thread's values, to stay in its L2 cache: half of it.
_OWN_WEIGHT = 256 * 1024


def _dense(builder: Builder, layer: Dense, x: Value) -> Value:
    """Add ``activation(x @ weight + bias)``."""
    inputs, outputs = layer.weight.shape
    few_panels = -(-outputs // builder.width) < builder.threads
    by_samples = _shares_samples(builder, inputs, outputs) or (
        few_panels and builder.rows >= 16 * builder.threads
    )
    y = builder.buffer(layer.name, outputs)
    lists = nonzeros(builder, x) if x.listed else None
    operation = add_product(builder, layer, x, y, lists, by_samples=by_samples)
    return activate(builder, layer, Value(outputs, y, producer=operation), layer.activation)


def add_product(
    builder: Builder,
    layer: Dense,
    x: Value,
    y: Buffer,
    lists: Buffer | None = None,
    *,
    by_samples: bool,
) -> Operation:
    """Add ``x @ weight + bias``, written to ``y``."""
    inputs, outputs = layer.weight.shape
    operation = builder.add(
        "dense",
        layer,
        f"({builder.rows}, {inputs}) @ ({inputs}, {outputs})",
        2 * builder.rows * inputs * outputs,
        [x.buffer, lists],
        [y],
        moved=inputs * outputs,
        inputs=inputs,
        outputs=outputs,
        lists=lists,
        w=builder.live(layer.weight, panels=builder.in_panels),
        b=builder.live(layer.bias),
        z=y,
        y=y,
        x=x.buffer,
        by_rows=by_samples,
        by_samples=by_samples,
    )
    operation.fused += ["zeros left out"] if lists is not None else []
    operation.fused += ["bias"] if layer.bias is not None else []
    operation.weights = layer.weight, layer.bias
    return operation


def _shares_samples(builder: Builder, inputs: int, outputs: int) -> bool:
    """Return whether threads divide the samples of a product among them, rather than the outputs.

    If all weights stay in each thread's L2 cache, its samples also stay there from layer to layer.
    """
    room = _OWN_WEIGHT // builder.dtype.itemsize
    each = builder.rows // builder.threads
    if each < building.OWN_SAMPLES or inputs * outputs > room:
        return False
    return each * max(inputs, outputs) <= room


def _dense_backward(
    builder: Builder, layer: Dense, x: Value, y: Value, gradient: Gradient, need_dx: bool
) -> Gradient | None:
    """Add the input gradient, which needs the old weight, and then the update."""
    gradient = derive(builder, layer, y, gradient)
    dx = _input_gradient(builder, layer, x, gradient) if need_dx else None
    add_update(builder, layer, x, gradient)
    return dx


def _input_gradient(builder: Builder, layer: Dense, x: Value, gradient: Gradient) -> Gradient:
    """Add ``dy @ weight.T``, times the derivative of the activation that computed ``x``."""
    inputs, outputs = layer.weight.shape
    dy, transposed = gradient.buffer, gradient.transposed
    stride = builder.stride(builder.rows)
    if transposed is None and outputs * stride > OWN_TRANSPOSE:
        transposed = builder.transposed_buffer(layer.name, outputs)
        transpose(builder, layer, dy, transposed)
    elif transposed is None:
        padded = -(-outputs // builder.width) * builder.width
        builder.reserve_scratch(compiled.SCRATCH_ROWS * builder.width + padded * stride)
    dx = builder.buffer("d " + layer.name, inputs, zero=inputs % builder.lanes != 0)
    below = builder.transposed_for(layer.name, x)
    by_samples = _shares_samples(builder, inputs, outputs)
    operation = builder.add(
        "dense_backward",
        layer,
        f"({builder.rows}, {outputs}) @ ({outputs}, {inputs})",
        2 * builder.rows * inputs * outputs,
        [dy, transposed],
        [dx, below],
        moved=inputs * outputs,
        by_rows=by_samples,
        by_samples=by_samples,
        inputs=inputs,
        outputs=outputs,
        w=builder.live(layer.weight, panels=True),
        dy=dy,
        dyt=transposed,
        dx=dx,
        dxt=below,
    )
    if transposed is None:
        operation.arguments["dyt_row"] = stride
    return Gradient(dx, fuse_derivative(operation, x), below)


def add_update(builder: Builder, layer: Dense, x: Value, gradient: Gradient) -> None:
    """Add the gradients of weight and bias, with the update of both in the same pass.

    No barrier follows, because nothing reads or writes weight and bias until the end of the step.
    """
    weight, bias = layer.weight, layer.bias
    if not updates.wanted(builder, weight, bias):
        return
    inputs, outputs = weight.shape
    operation = builder.add(
        "dense_update",
        layer,
        f"({inputs}, {builder.rows}) @ ({builder.rows}, {outputs})",
        2 * builder.rows * inputs * outputs,
        [x.buffer, gradient.buffer],
        [],
        moved=2 * inputs * outputs,
        barrier=False,
        inputs=inputs,
        outputs=outputs,
        x=x.buffer,
        dy=gradient.buffer,
    )
    if x.listed and builder.rows * gradient.buffer.stride < 2**31:  # an index has 32 bits
        operation.arguments["listed"] = True
        operation.fused.append("zeros left out")
        # The lists of a chunk of rows are stored after the sums of the chunk.
        _, size = compiled.list_memory(inputs, builder.rows, builder.dtype.itemsize == 8)
        lists = compiled.SCRATCH_ROWS // compiled.LIST_ROWS * size
        builder.reserve_scratch(compiled.SCRATCH_ROWS * builder.width + lists)
    operation.fused += ["bias gradient"] if bias is not None else []
    updates.update(
        builder, operation, weight, bias, panels=builder.in_panels, sums=builder.in_panels
    )


LAYER_RULES: LayerRules = {Dense: LayerRule(_dense, _dense_backward)}
