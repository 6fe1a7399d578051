"""Activations in a plan: fused into the operation before where possible, and their derivatives."""

from __future__ import annotations

from fastmlp._compiled import plan as compiled
from fastmlp._plan.builder import Builder
from fastmlp._plan.operation import Gradient, Operation, Value, last_axis
from fastmlp._plan.rules import LayerRule, LayerRules
from fastmlp.activations import ActivationFunction
from fastmlp.layers import Activation
from fastmlp.layers.base import Layer

__all__ = ["LAYER_RULES", "activate", "derive", "fuse_derivative"]


def activate(builder: Builder, layer: Layer, x: Value, activation: ActivationFunction) -> Value:
    """Add an activation, fused into the operation that computes ``x`` where possible."""
    name = activation.name
    if name == "linear":
        return x
    before = x.fusible
    if before is not None and before.arguments.get("pool") and name != "relu":
        # Another activation may map the maximum and a smaller value to equal values, and then the
        # stored position of the maximum may not be the first one.
        before = None
    if name != "softmax" and before is not None and x.activation is None:
        x.activation, x.saved = activation, x.buffer
        before.arguments["activation"] = compiled.ACTIVATIONS[name]
        before.arguments["parameter"] = activation.parameter
        before.fused.append(name)
        if activation.saves == "input":
            # The derivative is computed from the values before the activation, so these are kept.
            y = builder.buffer(layer.name, x.columns)
            y.first = y.last = before.phase
            before.arguments["y"] = y
            x.buffer = y
        return x
    in_place = activation.saves == "output" and x.activation is None
    y = (x.free if in_place else None) or builder.output_buffer(layer, x.columns)
    builder.add(
        "activation",
        layer,
        f"({builder.rows}, {x.columns})",
        20 * builder.rows * x.columns,
        [x.buffer],
        [y],
        inputs=last_axis(layer),
        outputs=x.columns,
        x=x.buffer,
        y=y,
        activation=compiled.ACTIVATIONS[name],
        parameter=activation.parameter,
    ).fused.append(name)
    saved = x.buffer if activation.saves == "input" else y
    return Value(x.columns, y, activation, saved)


def derive(builder: Builder, layer: Layer, y: Value, gradient: Gradient) -> Gradient:
    """Return the gradient with respect to the input of the activation of ``y``."""
    if gradient.derived or y.activation is None:
        return gradient
    builder.add(
        "activation_backward",
        layer,
        f"({builder.rows}, {y.columns})",
        20 * builder.rows * y.columns,
        [gradient.buffer, y.saved],
        [gradient.buffer],
        inputs=last_axis(layer),
        outputs=y.columns,
        dy=gradient.buffer,
        dx=gradient.buffer,
        saved=y.saved,
        activation=compiled.ACTIVATIONS[y.activation.name],
        parameter=y.activation.parameter,
    ).fused.append(y.activation.name + "'")
    return Gradient(gradient.buffer, True)


def fuse_derivative(operation: Operation, x: Value) -> bool:
    """Fuse the derivative of the activation of ``x`` into the operation that computes its gradient.

    Returns whether the gradient is then with respect to the input of the activation. It is not if
    ``x`` has several readers, because their gradients are added first.
    """
    if x.activation is None:
        return True
    if x.activation.name == "softmax" or x.uses > 1:
        return False
    operation.arguments |= {
        "activation": compiled.ACTIVATIONS[x.activation.name],
        "parameter": x.activation.parameter,
        "saved": x.saved,
    }
    if x.saved is not None:
        x.saved.last = max(x.saved.last, operation.phase)
    operation.fused.append(x.activation.name + "'")
    return True


def _activation(builder: Builder, layer: Activation, x: Value) -> Value:
    return activate(builder, layer, x, layer.activation)


def _activation_backward(
    builder: Builder, layer: Activation, x: Value, y: Value, gradient: Gradient, need_dx: bool
) -> Gradient:
    gradient = derive(builder, layer, y, gradient)
    return builder.gradient(gradient.buffer, x)


LAYER_RULES: LayerRules = {Activation: LayerRule(_activation, _activation_backward)}
