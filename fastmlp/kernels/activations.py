"""Elementwise functions, activations and softmax: compiled, with checks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastmlp._arrays import operand, output
from fastmlp._compiled import elementwise, losses
from fastmlp._types import Array

__all__ = [
    "elu",
    "elu_backward",
    "exp",
    "gelu",
    "gelu_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "log",
    "log_softmax",
    "log_softmax_backward",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "softplus",
    "softplus_backward",
    "tanh",
    "tanh_backward",
]

_UNARY = elementwise.UNARY  # number of a function, forward and backward, by its name


def exp(x: Array, *, out: Array | None = None) -> Array:
    """Return ``e**x``, elementwise. ``out`` may be ``x``."""
    return _unary(_UNARY["exp"], x, out)


def log(x: Array, *, out: Array | None = None) -> Array:
    """Return the natural logarithm, elementwise; -inf at 0 and NaN below. ``out`` may be ``x``."""
    return _unary(_UNARY["log"], x, out)


def relu(x: Array, *, out: Array | None = None) -> Array:
    """Return ``max(x, 0)``; NaN stays NaN. ``out`` may be ``x``."""
    return _unary(_UNARY["relu"], x, out)


def relu_backward(dy: Array, y: Array, *, out: Array | None = None) -> Array:
    """Return the gradient with respect to the input of :func:`relu`. ``out`` may be ``dy``."""
    return _backward(_UNARY["relu"], dy, y, "y", out)


def leaky_relu(x: Array, *, negative_slope: float = 0.01, out: Array | None = None) -> Array:
    """Return x where it is positive, else ``negative_slope * x``. ``out`` may be ``x``."""
    return _unary(_UNARY["leaky_relu"], x, out, negative_slope)


def leaky_relu_backward(
    dy: Array, y: Array, *, negative_slope: float = 0.01, out: Array | None = None
) -> Array:
    """Return the gradient with respect to the input of :func:`leaky_relu`."""
    return _backward(_UNARY["leaky_relu"], dy, y, "y", out, negative_slope)


def elu(x: Array, *, alpha: float = 1.0, out: Array | None = None) -> Array:
    """Return x where it is positive, else ``alpha * (exp(x) - 1)``. ``out`` may be ``x``.

    Clevert et al. 2015, Fast and accurate deep network learning by exponential linear units.
    """
    return _unary(_UNARY["elu"], x, out, alpha)


def elu_backward(dy: Array, y: Array, *, alpha: float = 1.0, out: Array | None = None) -> Array:
    """Return the gradient with respect to the input of :func:`elu`. ``out`` may be ``dy``."""
    return _backward(_UNARY["elu"], dy, y, "y", out, alpha)


def gelu(x: Array, *, out: Array | None = None) -> Array:
    """Return ``x * P(x)``, where P is the normal distribution function. ``out`` may be ``x``.

    This is the exact form, not the tanh approximation (Hendrycks and Gimpel 2016).
    """
    return _unary(_UNARY["gelu"], x, out)


def gelu_backward(dy: Array, x: Array, *, out: Array | None = None) -> Array:
    """Return the gradient with respect to the input of :func:`gelu`. ``out`` may be ``dy``."""
    return _backward(_UNARY["gelu"], dy, x, "x", out)


def silu(x: Array, *, out: Array | None = None) -> Array:
    """Return ``x * sigmoid(x)``, also known as swish (Elfwing et al. 2017). ``out`` may be x."""
    return _unary(_UNARY["silu"], x, out)


def silu_backward(dy: Array, x: Array, *, out: Array | None = None) -> Array:
    """Return the gradient with respect to the input of :func:`silu`. ``out`` may be ``dy``."""
    return _backward(_UNARY["silu"], dy, x, "x", out)


def softplus(x: Array, *, out: Array | None = None) -> Array:
    """Return ``log(1 + exp(x))``. ``out`` may be ``x``."""
    return _unary(_UNARY["softplus"], x, out)


def softplus_backward(dy: Array, x: Array, *, out: Array | None = None) -> Array:
    """Return the gradient with respect to the input of :func:`softplus`. ``out`` may be ``dy``."""
    return _backward(_UNARY["softplus"], dy, x, "x", out)


def tanh(x: Array, *, out: Array | None = None) -> Array:
    """Return the hyperbolic tangent, elementwise. ``out`` may be ``x``."""
    return _unary(_UNARY["tanh"], x, out)


def tanh_backward(dy: Array, y: Array, *, out: Array | None = None) -> Array:
    """Return the gradient with respect to the input of :func:`tanh`. ``out`` may be ``dy``."""
    return _backward(_UNARY["tanh"], dy, y, "y", out)


def sigmoid(x: Array, *, out: Array | None = None) -> Array:
    """Return ``1 / (1 + exp(-x))``. ``out`` may be ``x``."""
    return _unary(_UNARY["sigmoid"], x, out)


def sigmoid_backward(dy: Array, y: Array, *, out: Array | None = None) -> Array:
    """Return the gradient with respect to the input of :func:`sigmoid`. ``out`` may be ``dy``."""
    return _backward(_UNARY["sigmoid"], dy, y, "y", out)


def softmax(x: Array, *, out: Array | None = None) -> Array:
    """Return ``exp(x) / sum(exp(x))`` over the last axis. ``out`` may be ``x``."""
    return _rows(losses.softmax, x, out)


def softmax_backward(dy: Array, y: Array, *, out: Array | None = None) -> Array:
    """Return the gradient with respect to the input of :func:`softmax`, from its output y."""
    return _rows_backward(losses.softmax_backward, dy, y, out)


def log_softmax(x: Array, *, out: Array | None = None) -> Array:
    """Return the logarithm of :func:`softmax` over the last axis. ``out`` may be ``x``."""
    return _rows(losses.log_softmax, x, out)


def log_softmax_backward(dy: Array, y: Array, *, out: Array | None = None) -> Array:
    """Return the gradient with respect to the input of :func:`log_softmax`, from its output y."""
    return _rows_backward(losses.log_softmax_backward, dy, y, out)


def _unary(function: int, x: Array, out: Array | None, parameter: float = 0.0) -> Array:
    result = elementwise.unary(function, x, out, parameter)
    if result is not None:
        return result
    x = operand(x, "x")
    return elementwise.unary(function, x, output(out, x.shape, x.dtype), parameter)


def _backward(
    function: int,
    dy: Array,
    saved: Array,
    name: str,
    out: Array | None,
    parameter: float = 0.0,
) -> Array:
    result = elementwise.backward(function, dy, saved, out, parameter)
    if result is not None:
        return result
    dy = operand(dy, "dy")
    saved = operand(saved, name, dy.dtype)
    if dy.shape != saved.shape:
        raise ValueError(
            f"dy and {name} must have the same shape, got {dy.shape} and {saved.shape}."
        )
    out = output(out, dy.shape, dy.dtype)
    return elementwise.backward(function, dy, saved, out, parameter)


def _rows(function: Callable[..., Array | Any], x: Array, out: Array | None) -> Array:
    result = function(x, out)
    if result is not None:
        return result
    x = operand(x, "x")
    if x.ndim == 0:
        raise ValueError("x must have at least one dimension, got a single number.")
    return function(x, output(out, x.shape, x.dtype))


def _rows_backward(
    function: Callable[..., Array | Any], dy: Array, y: Array, out: Array | None
) -> Array:
    result = function(dy, y, out)
    if result is not None:
        return result
    dy = operand(dy, "dy")
    y = operand(y, "y", dy.dtype)
    if dy.shape != y.shape or y.ndim == 0:
        raise ValueError(
            f"dy and y must have the same shape, with at least one dimension, got {dy.shape} and "
            f"{y.shape}."
        )
    return function(dy, y, output(out, y.shape, y.dtype))
