"""Optimizer updates, weight penalties and gradient clipping in plain numpy.

An update performs one step of an optimizer: it changes the weights and the optimizer's state in
place. The arrays of a call have the same shape, which may be any shape. Weight decay is an L2
penalty, ``weight_decay * weight`` added to the gradient, except in decoupled Adam (AdamW).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from fastmlp._types import Array
from fastmlp.reference._quiet import quiet

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


@quiet
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
    """Perform one step of stochastic gradient descent, optionally with momentum.

    Without ``velocity`` the step is ``weight -= learning_rate * gradient`` (Robbins and Monro
    1951). With ``velocity``, which starts at zero, the step goes along ``velocity = momentum *
    velocity + gradient`` (Polyak 1964), or, with ``nesterov``, along ``gradient + momentum *
    velocity`` (Sutskever et al. 2013, in PyTorch's form).
    """
    if velocity is None and (momentum or nesterov):
        raise TypeError("velocity is required with momentum or nesterov, got None.")
    if weight_decay:
        gradient = gradient + weight_decay * weight
    if velocity is not None:
        velocity *= momentum
        velocity += gradient
        gradient = gradient + momentum * velocity if nesterov else velocity
    weight -= learning_rate * gradient


@quiet
def adagrad_update(
    weight: Array,
    gradient: Array,
    accumulator: Array,
    learning_rate: float,
    *,
    eps: float = 1e-10,
    weight_decay: float = 0.0,
) -> None:
    """Perform one step of Adagrad: the squared gradients so far shrink the step of each weight.

    ``accumulator += gradient**2``, starting at zero, then ``weight -= learning_rate * gradient /
    (sqrt(accumulator) + eps)``: Duchi, Hazan and Singer 2011, equation 1, with a diagonal matrix.
    """
    if weight_decay:
        gradient = gradient + weight_decay * weight
    accumulator += np.square(gradient)
    weight -= learning_rate * (gradient / (np.sqrt(accumulator) + eps))


@quiet
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
    """Perform one step of RMSprop: Adagrad with a running mean of the squares instead of their sum.

    ``accumulator = rho * accumulator + (1 - rho) * gradient**2``, starting at zero, then ``weight
    -= learning_rate * gradient / (sqrt(accumulator) + eps)``: Tieleman and Hinton 2012, Neural
    networks for machine learning, lecture 6.5.
    """
    if weight_decay:
        gradient = gradient + weight_decay * weight
    accumulator *= rho
    accumulator += (1 - rho) * np.square(gradient)
    weight -= learning_rate * (gradient / (np.sqrt(accumulator) + eps))


@quiet
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
    """Perform one step of Adam. ``step`` is its number, starting at 1.

    ``m = beta1 * m + (1 - beta1) * gradient`` and ``v = beta2 * v + (1 - beta2) * gradient**2``,
    both starting at zero, then ``weight -= learning_rate * M / (sqrt(V) + eps)`` with the unbiased
    means ``M = m / (1 - beta1**step)`` and ``V = v / (1 - beta2**step)``: Kingma and Ba 2015,
    algorithm 1. With ``decoupled`` the weights are first multiplied by ``1 - learning_rate *
    weight_decay``, and nothing is added to the gradient: AdamW, Loshchilov and Hutter 2019,
    algorithm 2, in PyTorch's form.
    """
    if weight_decay and decoupled:
        weight *= 1 - learning_rate * weight_decay
    elif weight_decay:
        gradient = gradient + weight_decay * weight
    m *= beta1
    m += (1 - beta1) * gradient
    v *= beta2
    v += (1 - beta2) * np.square(gradient)
    root = np.sqrt(v) * (1 / math.sqrt(1 - beta2**step))
    weight -= (learning_rate / (1 - beta1**step)) * (m / (root + eps))


@quiet
def weight_penalty(weight: Array, *, l1: float = 0.0, l2: float = 0.0) -> float:
    """Return ``l1 * sum(abs(weight)) + l2 * sum(weight**2)``, summed in float64. Any shape."""
    result = 0.0
    if l1:
        result += l1 * float(np.add.reduce(np.abs(weight), axis=None, dtype=np.float64))
    if l2:
        result += l2 * float(np.add.reduce(_squares(weight), axis=None))
    return result


@quiet
def weight_penalty_backward(
    gradient: Array, weight: Array, *, l1: float = 0.0, l2: float = 0.0
) -> None:
    """Add ``l1 * sign(weight) + 2 * l2 * weight`` to a gradient in place; sign(0) is 0."""
    gradient += l1 * np.sign(weight) + (2 * l2) * weight


@quiet
def clip_by_norm(gradients: Sequence[Array], limit: float) -> float:
    """Multiply arrays in place by ``limit / (norm + 1e-6)`` if that factor is below 1.

    The norm, which is returned, is the square root of the sum of the squares of all arrays, summed
    in float64. If it is not finite, neither are the arrays afterwards. Pascanu, Mikolov and Bengio
    2013, algorithm 1, with the 1e-6 of PyTorch's ``clip_grad_norm_``.
    """
    squares = [float(np.add.reduce(_squares(gradient), axis=None)) for gradient in gradients]
    norm = math.sqrt(math.fsum(squares)) if all(map(math.isfinite, squares)) else sum(squares)
    if not limit / (norm + 1e-6) >= 1:
        for gradient in gradients:
            gradient *= limit / (norm + 1e-6)
    return norm


@quiet
def clip_by_value(x: Array, limit: float, *, out: Array | None = None) -> Array:
    """Return x with every element clipped to ``[-limit, limit]``; NaN stays. Any shape."""
    return np.clip(x, -limit, limit, out=out)


def _squares(x: Array) -> Array:
    return np.square(x, dtype=np.float64)
