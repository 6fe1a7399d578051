"""The operations of :mod:`fastmlp.reference`, compiled: same names, arguments and meaning.

Arrays are float32 or float64 (the result has their dtype) and may have any layout: what is not
C-contiguous, aligned and native is copied once. ``out`` must be a C-contiguous array of the
result's shape and dtype; elementwise functions may write over their input. float16 input counts
as float32, integers as float64. Errors are ValueError (shapes, values) and TypeError (kinds,
dtypes), raised before any work.

exp, log, tanh and sigmoid differ from the exact value by at most 2 units in the last place, for
every input; NaN and infinities propagate. Which instruction set runs: :func:`fastmlp.show_config`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fastmlp import _checks
from fastmlp._arrays import FLOAT32, FLOAT64, Array, operand, output, updated
from fastmlp._compiled import elementwise, losses
from fastmlp._compiled import matmul as products
from fastmlp.kernels.convolution import (
    avg_pool2d,
    avg_pool2d_backward,
    conv2d,
    conv2d_backward_input,
    conv2d_backward_weights,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from fastmlp.kernels.losses import (
    binary_cross_entropy,
    count_correct,
    hinge,
    huber,
    mae,
    mse,
    softmax_cross_entropy,
)
from fastmlp.kernels.normalization import (
    batch_norm,
    batch_norm_backward,
    batch_norm_inference,
    dropout,
    dropout_backward,
    embedding,
    embedding_backward,
    gaussian_noise,
    layer_norm,
    layer_norm_backward,
)

__all__ = [
    "adagrad_update",
    "adam_update",
    "add_bias",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "binary_cross_entropy",
    "clip_by_norm",
    "clip_by_value",
    "conv2d",
    "conv2d_backward_input",
    "conv2d_backward_weights",
    "count_correct",
    "dense",
    "dropout",
    "dropout_backward",
    "elu",
    "elu_backward",
    "embedding",
    "embedding_backward",
    "exp",
    "gaussian_noise",
    "gelu",
    "gelu_backward",
    "global_avg_pool2d",
    "global_avg_pool2d_backward",
    "hinge",
    "huber",
    "layer_norm",
    "layer_norm_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "log",
    "log_softmax",
    "log_softmax_backward",
    "mae",
    "matmul",
    "max_pool2d",
    "max_pool2d_backward",
    "mse",
    "relu",
    "relu_backward",
    "rmsprop_update",
    "sgd_update",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "softplus",
    "softplus_backward",
    "sum_batch",
    "tanh",
    "tanh_backward",
    "weight_penalty",
    "weight_penalty_backward",
]

# A compiled function takes its arrays as they came and returns None, having done nothing, where one
# is not ready for it or does not fit. Only then is anything looked at, converted or refused here
# (but penalties and clipping: they are called with whole weights, and look first).


# --- Products -----------------------------------------------------------------------------------


def matmul(
    a: Array,
    b: Array,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    out: Array | None = None,
    accumulate: bool = False,
    alpha: float = 1.0,
) -> Array:
    """Return ``alpha * op(a) @ op(b)``, added to ``out`` if ``accumulate``.

    Parameters
    ----------
    a : array of shape (M, K), or (K, M) if transpose_a
    b : array of shape (K, N), or (N, K) if transpose_b
    transpose_a, transpose_b : bool, default=False
        Take the transpose of a, of b. None is copied for it.
    out : array of shape (M, N), optional
        Where the result goes. It must not overlap a or b.
    accumulate : bool, default=False
        Add to ``out`` instead of overwriting it.
    alpha : float, default=1.0
        Factor of the product.

    Returns
    -------
    out : array of shape (M, N)

    Raises
    ------
    ValueError
        If an array has not two dimensions, the inner sizes differ, or out does not fit.
    TypeError
        If the dtypes differ or are not float32 or float64, or accumulate is set without out.
    """
    result = products.matmul(a, b, out, transpose_a, transpose_b, accumulate, alpha)
    if result is not None:
        return result
    a = operand(a, "a")
    b = operand(b, "b", a.dtype)
    try:
        m, k = a.shape
        k_b, n = b.shape
    except ValueError:
        raise ValueError(
            f"a and b must have two dimensions, got shapes {a.shape} and {b.shape}."
        ) from None
    if transpose_a:
        m, k = k, m
    if transpose_b:
        k_b, n = n, k_b
    if k != k_b:
        raise ValueError(
            f"a and b must agree in the summed size, got {k} of a's shape {a.shape} and {k_b} of "
            f"b's shape {b.shape}"
            + (" (a transposed)" if transpose_a else "")
            + (" (b transposed)" if transpose_b else "")
            + "."
        )
    if accumulate and out is None:
        raise TypeError("out must be given with accumulate=True, got None.")
    out = output(out, (m, n), a.dtype)
    return products.matmul(a, b, out, transpose_a, transpose_b, accumulate, alpha)


def dense(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    relu: bool = False,
    out: Array | None = None,
) -> Array:
    """Return ``x @ weight + bias``, (N, I), (I, O), (O,) -> (N, O), and its relu if asked."""
    result = products.dense(x, weight, bias, out, relu)
    if result is not None:
        return result
    x = operand(x, "x")
    dtype = x.dtype
    weight = operand(weight, "weight", dtype)
    try:
        rows, inputs = x.shape
        fan_in, units = weight.shape
    except ValueError:
        inputs, fan_in = 0, 1
    if inputs != fan_in:
        raise ValueError(
            f"x and weight must have shapes (N, I) and (I, O), got {x.shape} and {weight.shape}."
        )
    if bias is not None:
        bias = operand(bias, "bias", dtype)
        if bias.shape != (units,):
            raise ValueError(f"bias must have shape ({units},), got {bias.shape}.")
    return products.dense(x, weight, bias, output(out, (rows, units), dtype), relu)


def add_bias(x: Array, bias: Array, *, out: Array | None = None) -> Array:
    """Return ``x + bias``, (N, O) and (O,) -> (N, O). ``out`` may be ``x``."""
    result = elementwise.add_bias(x, bias, out)
    if result is not None:
        return result
    x = operand(x, "x")
    bias = operand(bias, "bias", x.dtype)
    if x.ndim != 2 or bias.shape != x.shape[1:]:
        raise ValueError(
            f"x and bias must have shapes (N, O) and (O,), got {x.shape} and {bias.shape}."
        )
    return elementwise.add_bias(x, bias, output(out, x.shape, x.dtype))


def sum_batch(x: Array, *, out: Array | None = None) -> Array:
    """Return the sum over the batch axis, (N, O) -> (O,)."""
    result = losses.sum_batch(x, out)
    if result is not None:
        return result
    x = operand(x, "x")
    if x.ndim != 2:
        raise ValueError(f"x must have shape (N, O), got {x.shape}.")
    return losses.sum_batch(x, output(out, x.shape[1:], x.dtype))


# --- Updates of weights -------------------------------------------------------------------------


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
    """Do a step of gradient descent in place, along ``velocity`` if it is given. Any one shape."""
    coefficients = (learning_rate, weight_decay, momentum)
    if velocity is not None:
        kind = elementwise.NESTEROV if nesterov else elementwise.MOMENTUM
        _update(kind, weight, gradient, coefficients, (velocity,), ("velocity",))
    elif momentum or nesterov:
        raise TypeError("velocity must be given with momentum or nesterov, got None.")
    else:
        _update(elementwise.SGD, weight, gradient, coefficients)


def adagrad_update(
    weight: Array,
    gradient: Array,
    accumulator: Array,
    learning_rate: float,
    *,
    eps: float = 1e-10,
    weight_decay: float = 0.0,
) -> None:
    """Do a step of Adagrad in place. Any one shape."""
    coefficients = (learning_rate, weight_decay, eps)
    _update(elementwise.ADAGRAD, weight, gradient, coefficients, (accumulator,), ("accumulator",))


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
    """Do a step of RMSprop in place. Any one shape."""
    coefficients = (learning_rate, weight_decay, eps, rho)
    _update(elementwise.RMSPROP, weight, gradient, coefficients, (accumulator,), ("accumulator",))


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
    """Do a step of Adam in place, AdamW if ``decoupled``. Any one shape; ``step`` from 1."""
    step = _checks.integer(step, "step", minimum=1)
    beta1 = _checks.number(beta1, "beta1", minimum=0.0, below=1.0)
    beta2 = _checks.number(beta2, "beta2", minimum=0.0, below=1.0)
    rate, scale = learning_rate / (1 - beta1**step), 1 / math.sqrt(1 - beta2**step)
    kind = elementwise.ADAMW if decoupled else elementwise.ADAM
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


# --- Penalties and clipping ---------------------------------------------------------------------


def weight_penalty(weight: Array, *, l1: float = 0.0, l2: float = 0.0) -> float:
    """Return ``l1 * sum(abs(weight)) + l2 * sum(weight**2)``, summed in float64. Any shape."""
    weight = operand(weight, "weight")
    result = l1 * elementwise.sums(weight, False) if l1 else 0.0
    return result + (l2 * elementwise.sums(weight, True) if l2 else 0.0)


def weight_penalty_backward(
    gradient: Array, weight: Array, *, l1: float = 0.0, l2: float = 0.0
) -> None:
    """Add ``l1 * sign(weight) + 2 * l2 * weight`` to a gradient, in place. Any one shape."""
    weight = operand(weight, "weight")
    gradient = updated(gradient, weight.shape, weight.dtype, "gradient")
    elementwise.penalize(l1, 2 * l2, weight, gradient)


def clip_by_norm(gradients: Sequence[Array], limit: float) -> float:
    """Multiply arrays by ``limit / (norm + 1e-6)``, in place, where that is below 1.

    Returns the norm of all of them together, summed in float64.
    """
    limit = _positive(limit)
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
    """Return x with every element brought to ``[-limit, limit]``; NaN stays. Any shape."""
    limit = _positive(limit)
    x = operand(x, "x")
    return elementwise.clamp(limit, x, output(out, x.shape, x.dtype))


def _positive(limit: float) -> float:
    result = _checks.number(limit, "limit", minimum=0.0)
    if result == 0:
        raise ValueError("limit must be above 0, got 0.0.")
    return result


# --- Elementwise --------------------------------------------------------------------------------


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
        raise ValueError(f"dy and {name} must have one shape, got {dy.shape} and {saved.shape}.")
    out = output(out, dy.shape, dy.dtype)
    return elementwise.backward(function, dy, saved, out, parameter)


def exp(x: Array, *, out: Array | None = None) -> Array:
    """Return e to the power of every element. ``out`` may be ``x``."""
    return _unary(elementwise.EXP, x, out)


def log(x: Array, *, out: Array | None = None) -> Array:
    """Return the natural logarithm of every element. ``out`` may be ``x``."""
    return _unary(elementwise.LOG, x, out)


def relu(x: Array, *, out: Array | None = None) -> Array:
    """Return ``max(x, 0)``; NaN stays NaN. ``out`` may be ``x``."""
    return _unary(elementwise.RELU, x, out)


def relu_backward(dy: Array, y: Array, *, out: Array | None = None) -> Array:
    """Return the gradient by the input of :func:`relu` from its output. ``out`` may be ``dy``."""
    return _backward(elementwise.RELU_BACKWARD, dy, y, "y", out)


def leaky_relu(x: Array, *, negative_slope: float = 0.01, out: Array | None = None) -> Array:
    """Return ``x`` where positive, else ``negative_slope * x``. ``out`` may be ``x``."""
    return _unary(elementwise.LEAKY_RELU, x, out, negative_slope)


def leaky_relu_backward(
    dy: Array, y: Array, *, negative_slope: float = 0.01, out: Array | None = None
) -> Array:
    """Return the gradient by the input of :func:`leaky_relu` from its output."""
    return _backward(elementwise.LEAKY_RELU_BACKWARD, dy, y, "y", out, negative_slope)


def elu(x: Array, *, alpha: float = 1.0, out: Array | None = None) -> Array:
    """Return ``x`` where positive, else ``alpha * (exp(x) - 1)``. ``out`` may be ``x``.

    Clevert et al. 2015, Fast and accurate deep network learning by exponential linear units.
    """
    return _unary(elementwise.ELU, x, out, alpha)


def elu_backward(dy: Array, y: Array, *, alpha: float = 1.0, out: Array | None = None) -> Array:
    """Return the gradient by the input of :func:`elu` from its output. ``out`` may be ``dy``."""
    return _backward(elementwise.ELU_BACKWARD, dy, y, "y", out, alpha)


def gelu(x: Array, *, out: Array | None = None) -> Array:
    """Return ``x * P(x)``, P the normal distribution function. ``out`` may be ``x``.

    The exact form, not the one with tanh (Hendrycks and Gimpel 2016).
    """
    return _unary(elementwise.GELU, x, out)


def gelu_backward(dy: Array, x: Array, *, out: Array | None = None) -> Array:
    """Return the gradient by the input of :func:`gelu` from its input. ``out`` may be ``dy``."""
    return _backward(elementwise.GELU_BACKWARD, dy, x, "x", out)


def silu(x: Array, *, out: Array | None = None) -> Array:
    """Return ``x * sigmoid(x)`` (Elfwing et al. 2017), also called swish. ``out`` may be ``x``."""
    return _unary(elementwise.SILU, x, out)


def silu_backward(dy: Array, x: Array, *, out: Array | None = None) -> Array:
    """Return the gradient by the input of :func:`silu` from its input. ``out`` may be ``dy``."""
    return _backward(elementwise.SILU_BACKWARD, dy, x, "x", out)


def softplus(x: Array, *, out: Array | None = None) -> Array:
    """Return ``log(1 + exp(x))``. ``out`` may be ``x``."""
    return _unary(elementwise.SOFTPLUS, x, out)


def softplus_backward(dy: Array, x: Array, *, out: Array | None = None) -> Array:
    """Return the gradient by the input of :func:`softplus` from its input."""
    return _backward(elementwise.SOFTPLUS_BACKWARD, dy, x, "x", out)


def tanh(x: Array, *, out: Array | None = None) -> Array:
    """Return the hyperbolic tangent of every element. ``out`` may be ``x``."""
    return _unary(elementwise.TANH, x, out)


def tanh_backward(dy: Array, y: Array, *, out: Array | None = None) -> Array:
    """Return the gradient by the input of :func:`tanh` from its output. ``out`` may be ``dy``."""
    return _backward(elementwise.TANH_BACKWARD, dy, y, "y", out)


def sigmoid(x: Array, *, out: Array | None = None) -> Array:
    """Return ``1 / (1 + exp(-x))``. ``out`` may be ``x``."""
    return _unary(elementwise.SIGMOID, x, out)


def sigmoid_backward(dy: Array, y: Array, *, out: Array | None = None) -> Array:
    """Return the gradient by the input of :func:`sigmoid` from its output."""
    return _backward(elementwise.SIGMOID_BACKWARD, dy, y, "y", out)


# --- Rows ---------------------------------------------------------------------------------------


def softmax(x: Array, *, out: Array | None = None) -> Array:
    """Return softmax over the last axis. ``out`` may be ``x``."""
    return _rows(losses.softmax, x, out)


def softmax_backward(dy: Array, y: Array, *, out: Array | None = None) -> Array:
    """Return the gradient by the input of :func:`softmax`, from its output ``y``."""
    return _rows_backward(losses.softmax_backward, dy, y, out)


def log_softmax(x: Array, *, out: Array | None = None) -> Array:
    """Return the logarithm of softmax over the last axis. ``out`` may be ``x``."""
    return _rows(losses.log_softmax, x, out)


def log_softmax_backward(dy: Array, y: Array, *, out: Array | None = None) -> Array:
    """Return the gradient by the input of :func:`log_softmax`, from its output ``y``."""
    return _rows_backward(losses.log_softmax_backward, dy, y, out)


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
            f"dy and y must have one shape of at least one dimension, got {dy.shape} and {y.shape}."
        )
    return function(dy, y, output(out, y.shape, y.dtype))
