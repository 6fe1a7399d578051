"""Optimizer updates, weight penalties and gradient clipping: compiled, with checks."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fastmlp import _checks
from fastmlp._arrays import FLOAT32, FLOAT64, operand, output, updated
from fastmlp._compiled import elementwise
from fastmlp._types import Array

__all__ = [
    "adagrad_update",
    "adam_update",
    "clip_by_norm",
    "clip_by_value",
    "rmsprop_update",
    "sgd_update",
    "weight_penalty",
    "weight_penalty_backward",
]

_RULES = elementwise.UPDATE_RULES  # number of a rule by its name


def sgd_update(
    weight: Array,
    gradient: Array,
    learning_rate: float,
    *,
    velocity: Array | None = None,
    momentum: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> None:
    """Perform one step of gradient descent in place, along ``velocity`` if it is given.

    The arrays have the same shape, which may be any shape; so do the arrays of every update.
    """
    coefficients = (learning_rate, weight_decay, momentum)
    if velocity is not None:
        kind = _RULES["nesterov"] if nesterov else _RULES["momentum"]
        _update(kind, weight, gradient, coefficients, (velocity,), ("velocity",))
    elif momentum or nesterov:
        raise TypeError("velocity is required with momentum or nesterov, got None.")
    else:
        _update(_RULES["sgd"], weight, gradient, coefficients)


def adagrad_update(
    weight: Array,
    gradient: Array,
    accumulator: Array,
    learning_rate: float,
    *,
    eps: float = 1e-10,
    weight_decay: float = 0.0,
) -> None:
    """Perform one step of Adagrad in place."""
    coefficients = (learning_rate, weight_decay, eps)
    _update(_RULES["adagrad"], weight, gradient, coefficients, (accumulator,), ("accumulator",))


def rmsprop_update(
    weight: Array,
    gradient: Array,
    accumulator: Array,
    learning_rate: float,
    *,
    rho: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
) -> None:
    """Perform one step of RMSprop in place."""
    coefficients = (learning_rate, weight_decay, eps, rho)
    _update(_RULES["rmsprop"], weight, gradient, coefficients, (accumulator,), ("accumulator",))


def adam_update(
    weight: Array,
    gradient: Array,
    m: Array,
    v: Array,
    step: int,
    learning_rate: float,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> None:
    """Perform one step of Adam in place, or of AdamW if ``decoupled``. ``step`` starts at 1."""
    step = _checks.integer(step, "step", minimum=1)
    beta1 = _checks.number(beta1, "beta1", minimum=0.0, below=1.0)
    beta2 = _checks.number(beta2, "beta2", minimum=0.0, below=1.0)
    rate, scale = learning_rate / (1 - beta1**step), 1 / math.sqrt(1 - beta2**step)
    kind = _RULES["adamw"] if decoupled else _RULES["adam"]
    coefficients = (learning_rate, weight_decay, eps, beta1, beta2, rate, scale)
    _update(kind, weight, gradient, coefficients, (m, v), ("m", "v"))


def _update(
    kind: int,
    weight: Array,
    gradient: Array,
    coefficients: tuple[float, ...],
    states: tuple[Array, ...] = (),
    names: tuple[str, ...] = (),
) -> None:
    if elementwise.update(kind, weight, gradient, states, coefficients) is not None:
        return
    if type(weight) is not np.ndarray:
        raise TypeError(f"weight must be a numpy array, got {type(weight).__name__}.")
    dtype = FLOAT32 if weight.dtype == FLOAT32 else FLOAT64
    if weight.dtype != dtype or not weight.flags.carray:
        raise ValueError(
            "weight must be a C-contiguous, writeable array of native float32 or float64, got "
            f"dtype {weight.dtype.str} with\n{weight.flags}"
        )
    gradient = operand(gradient, "gradient", dtype)
    shape = weight.shape
    if gradient.shape != shape:
        raise ValueError(f"gradient must have the shape of weight, {shape}, got {gradient.shape}.")
    for x, name in zip(states, names, strict=True):
        updated(x, shape, dtype, name)
    elementwise.update(kind, weight, gradient, states, coefficients)


def weight_penalty(weight: Array, *, l1: float = 0.0, l2: float = 0.0) -> float:
    """Return ``l1 * sum(abs(weight)) + l2 * sum(weight**2)``, summed in float64. Any shape."""
    weight = operand(weight, "weight")
    result = l1 * elementwise.sums(weight, False) if l1 else 0.0
    return result + (l2 * elementwise.sums(weight, True) if l2 else 0.0)


def weight_penalty_backward(
    gradient: Array, weight: Array, *, l1: float = 0.0, l2: float = 0.0
) -> None:
    """Add ``l1 * sign(weight) + 2 * l2 * weight`` to a gradient in place; sign(0) is 0."""
    weight = operand(weight, "weight")
    gradient = updated(gradient, weight.shape, weight.dtype, "gradient")
    elementwise.penalize(l1, 2 * l2, weight, gradient)


def clip_by_norm(gradients: Sequence[Array], limit: float) -> float:
    """Multiply arrays in place by ``limit / (norm + 1e-6)`` if that factor is below 1.

    The norm, which is returned, is the square root of the sum of the squares of all arrays, summed
    in float64.
    """
    limit = _checks.positive(limit, "limit")
    checked = []
    for index, gradient in enumerate(gradients):
        dtype = FLOAT32 if getattr(gradient, "dtype", None) == FLOAT32 else FLOAT64
        shape = getattr(gradient, "shape", ())
        checked.append(updated(gradient, shape, dtype, f"gradients[{index}]"))
    norm = math.sqrt(sum(elementwise.sums(x, True) for x in checked))
    factor = limit / (norm + 1e-6)
    if not factor >= 1:
        for x in checked:
            elementwise.scale(factor, x)
    return norm


def clip_by_value(x: Array, limit: float, *, out: Array | None = None) -> Array:
    """Return x with every element clipped to ``[-limit, limit]``; NaN stays. Any shape."""
    limit = _checks.positive(limit, "limit")
    x = operand(x, "x")
    return elementwise.clamp(limit, x, output(out, x.shape, x.dtype))
