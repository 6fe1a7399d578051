"""Dropout and Gaussian noise in plain numpy.

What is drawn for an element depends on (seed, layer, step), on the row (the index along the first
axis) and on the position within the row, and on nothing else.
"""

from __future__ import annotations

import math

import numpy as np

from fastmlp import _random
from fastmlp._types import Array
from fastmlp.reference._quiet import quiet

__all__ = ["dropout", "dropout_backward", "gaussian_noise"]


@quiet
def dropout(
    x: Array, rate: float, *, seed: int, layer: int, step: int, out: Array | None = None
) -> Array:
    """Return x with some elements set to 0 and the others multiplied by ``1 / (1 - rate)``.

    This is inverted dropout (Srivastava et al. 2014). An element is dropped with probability
    ``rate``, in [0, 1) and rounded to a multiple of 2**-32: if its 32-bit random word is below
    ``round(rate * 2**32)``.
    """
    dropped = _words(x, seed, layer, step) < np.uint32(_random.drop_threshold(rate))
    out = np.multiply(x, x.dtype.type(1 / (1 - rate)), out=out)
    np.copyto(out, 0, where=dropped)
    return out


def dropout_backward(
    dy: Array, rate: float, *, seed: int, layer: int, step: int, out: Array | None = None
) -> Array:
    """Return the gradient with respect to the input: dy, dropped and scaled as the input was."""
    return dropout(dy, rate, seed=seed, layer=layer, step=step, out=out)


@quiet
def gaussian_noise(
    x: Array, stddev: float, *, seed: int, layer: int, step: int, out: Array | None = None
) -> Array:
    """Return ``x + stddev * n`` with n drawn from N(0, 1); the product is rounded before the sum.

    n is the inverse normal distribution function (Wichura 1988, AS 241) at the midpoint of one of
    2**32 equal parts of (0, 1), so abs(n) is below 6.4. The gradient with respect to x is the
    gradient with respect to the output.
    """
    words = _words(x, seed, layer, step)
    noise = _random.normal_of((words + 0.5) * 2.0**-32)
    result: Array = np.add(x, (stddev * noise).astype(x.dtype), out=out)
    return result


def _words(x: Array, seed: int, layer: int, step: int) -> Array:
    """Return the 32-bit random word of every element of x."""
    columns = math.prod(x.shape[1:])
    key = _random.stream_key(seed, layer)
    return _random.counter_words(key, step, len(x), columns).reshape(x.shape)
