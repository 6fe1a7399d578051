"""Elementwise functions, activations and softmax in plain numpy."""

from __future__ import annotations

import math

import numpy as np

from fastmlp._types import Array
from fastmlp.reference._quiet import quiet

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


@quiet
def exp(x: Array, *, out: Array | None = None) -> Array:
    """Return ``e**x``."""
    return np.exp(x, out=out)


@quiet
def log(x: Array, *, out: Array | None = None) -> Array:
    """Return the natural logarithm of x; -inf at 0 and NaN below."""
    return np.log(x, out=out)


@quiet
def relu(x: Array, *, out: Array | None = None) -> Array:
    """Return ``max(x, 0)``; NaN stays NaN."""
    return np.maximum(x, 0, out=out)


@quiet
def relu_backward(dy: Array, y: Array, *, out: Array | None = None) -> Array:
    """Return dy where the output is positive and 0 elsewhere: the derivative at 0 is 0."""
    return np.multiply(dy, y > 0, out=out)


@quiet
def leaky_relu(x: Array, *, negative_slope: float = 0.01, out: Array | None = None) -> Array:
    """Return x where it is positive, else ``negative_slope * x`` (Maas et al. 2013)."""
    return np.multiply(x, _slope(x, negative_slope), out=out)


@quiet
def leaky_relu_backward(
    dy: Array, y: Array, *, negative_slope: float = 0.01, out: Array | None = None
) -> Array:
    """Return dy where y is positive, else ``negative_slope * dy``, for a non-negative slope."""
    return np.multiply(dy, _slope(y, negative_slope), out=out)


def _slope(x: Array, negative_slope: float) -> Array:
    slope: Array = np.where(x > 0, x.dtype.type(1), x.dtype.type(negative_slope))
    return slope


@quiet
def elu(x: Array, *, alpha: float = 1.0, out: Array | None = None) -> Array:
    """Return x where it is positive, else ``alpha * (exp(x) - 1)`` (Clevert et al. 2015)."""
    negative = np.expm1(np.minimum(x, 0))
    if alpha != 1.0:
        negative *= alpha
    out = np.maximum(x, 0, out=out)
    return np.add(out, negative, out=out)


@quiet
def elu_backward(dy: Array, y: Array, *, alpha: float = 1.0, out: Array | None = None) -> Array:
    """Return dy where the output is positive, else ``dy * (y + alpha)``."""
    slope = np.where(y > 0, y.dtype.type(1), y + alpha)
    return np.multiply(dy, slope, out=out)


@quiet
def tanh(x: Array, *, out: Array | None = None) -> Array:
    """Return the hyperbolic tangent of x."""
    return np.tanh(x, out=out)


@quiet
def tanh_backward(dy: Array, y: Array, *, out: Array | None = None) -> Array:
    """Return ``dy * (1 - y**2)``."""
    slope = np.square(y)
    np.subtract(1, slope, out=slope)
    return np.multiply(dy, slope, out=out)


@quiet
def sigmoid(x: Array, *, out: Array | None = None) -> Array:
    """Return ``1 / (1 + exp(-x))``, accurate to a few units in the last place in both tails."""
    out = np.negative(x, out=out)
    np.exp(out, out=out)
    out += 1
    return np.divide(1, out, out=out)


@quiet
def sigmoid_backward(dy: Array, y: Array, *, out: Array | None = None) -> Array:
    """Return ``dy * y * (1 - y)``."""
    slope = np.subtract(1, y)
    slope *= y
    return np.multiply(dy, slope, out=out)


@quiet
def silu(x: Array, *, out: Array | None = None) -> Array:
    """Return ``x * sigmoid(x)``, also known as swish (Elfwing et al. 2017); 0 at -inf."""
    denominator = np.exp(-x)
    denominator += 1
    bounded: Array = np.maximum(x, np.finfo(x.dtype).min)
    return np.divide(bounded, denominator, out=out)


@quiet
def silu_backward(dy: Array, x: Array, *, out: Array | None = None) -> Array:
    """Return ``dy * s * (1 + x * (1 - s))`` with ``s = sigmoid(x)``."""
    s = sigmoid(x)
    slope = np.subtract(1, s)
    slope *= _bounded(x)
    slope += 1
    slope *= s
    return np.multiply(dy, slope, out=out)


@quiet
def softplus(x: Array, *, out: Array | None = None) -> Array:
    """Return ``log(1 + exp(x))``, as ``max(x, 0) + log1p(exp(-abs(x)))``, which cannot overflow."""
    tail = np.abs(x)
    np.negative(tail, out=tail)
    np.exp(tail, out=tail)
    np.log1p(tail, out=tail)
    out = np.maximum(x, 0, out=out)
    return np.add(out, tail, out=out)


@quiet
def softplus_backward(dy: Array, x: Array, *, out: Array | None = None) -> Array:
    """Return ``dy * sigmoid(x)``."""
    return np.multiply(dy, sigmoid(x), out=out)


@quiet
def gelu(x: Array, *, out: Array | None = None) -> Array:
    """Return ``x * P(x)``, where P is the normal distribution function (Hendrycks and Gimpel 2016).

    This is the exact form, the default of PyTorch and Keras, not the tanh approximation. The value
    at -inf is 0.
    """
    bounded: Array = np.maximum(x, np.finfo(x.dtype).min)
    return np.multiply(bounded, _normal_cdf(x), out=out)


@quiet
def gelu_backward(dy: Array, x: Array, *, out: Array | None = None) -> Array:
    """Return ``dy * (P(x) + x * p(x))``, where p is the density of P."""
    density = np.square(x)
    density *= -0.5
    np.exp(density, out=density)
    density *= _bounded(x)
    density *= 1 / math.sqrt(2 * math.pi)
    density += _normal_cdf(x)
    return np.multiply(dy, density, out=out)


@quiet
def softmax(x: Array, *, out: Array | None = None) -> Array:
    """Return ``exp(x) / sum(exp(x))`` over the last axis, after subtracting its maximum."""
    out = np.subtract(x, np.maximum.reduce(x, axis=-1, keepdims=True), out=out)
    np.exp(out, out=out)
    out /= np.add.reduce(out, axis=-1, keepdims=True)
    return out


@quiet
def softmax_backward(dy: Array, y: Array, *, out: Array | None = None) -> Array:
    """Return ``y * (dy - sum(dy * y))`` with the sum over the last axis."""
    projection = np.add.reduce(dy * y, axis=-1, keepdims=True)
    out = np.subtract(dy, projection, out=out)
    return np.multiply(out, y, out=out)


@quiet
def log_softmax(x: Array, *, out: Array | None = None) -> Array:
    """Return ``x - log(sum(exp(x)))`` over the last axis, after subtracting its maximum."""
    out = np.subtract(x, np.maximum.reduce(x, axis=-1, keepdims=True), out=out)
    out -= np.log(np.add.reduce(np.exp(out), axis=-1, keepdims=True))
    return out


@quiet
def log_softmax_backward(dy: Array, y: Array, *, out: Array | None = None) -> Array:
    """Return ``dy - exp(y) * sum(dy)`` with the sum over the last axis."""
    share = np.exp(y)
    share *= np.add.reduce(dy, axis=-1, keepdims=True)
    return np.subtract(dy, share, out=out)


def _bounded(x: Array) -> Array:
    """Return x with infinities replaced by the largest finite numbers.

    Zero times infinity would be NaN; zero times the largest number is 0, the limit of the product.
    """
    info = np.finfo(x.dtype)
    return np.clip(x, info.min, info.max)


def _normal_cdf(x: Array) -> Array:
    """Return P(x) to a relative error of a few units in the last place, also in the negative tail.

    W. J. Cody (1969), Rational Chebyshev approximations for the error function, in the form of
    Algorithm 715 (ACM TOMS 19, 1993): three rational functions, for abs(x) up to 0.674, up to
    sqrt(32), and beyond.
    """
    y = np.abs(x)
    result = np.empty_like(y)
    central = y <= 0.67448975
    far = y > math.sqrt(32.0)
    near = ~(central | far)  # includes NaN, which stays NaN

    z = x[central]
    square = z * z
    result[central] = 0.5 + z * _ratio(square, _CENTRAL)

    z = y[near]
    result[near] = _half_gaussian(z) * _ratio(z, _NEAR)
    if far.any():
        # Beyond 64, P is 0 or 1 in every dtype; the limit keeps infinity out of the quotients.
        z = np.minimum(y[far], 64)
        square = 1 / (z * z)
        tail = (1 / math.sqrt(2 * math.pi) - square * _ratio(square, _FAR)) / z
        result[far] = _half_gaussian(z) * tail
    upper = x > 0.67448975
    np.subtract(1, result, out=result, where=upper)
    return result


def _half_gaussian(y: Array) -> Array:
    """Return ``exp(-y * y / 2)``; splitting y keeps the rounding error of its square small."""
    head = np.trunc(y * 16) / 16
    rest = (y - head) * (y + head)
    result: Array = np.exp(-0.5 * head * head)
    result *= np.exp(-0.5 * rest)
    return result


def _ratio(x: Array, coefficients: tuple[tuple[float, ...], tuple[float, ...]]) -> Array:
    numerator, denominator = _polynomial(x, coefficients[0]), _polynomial(x, coefficients[1])
    return np.divide(numerator, denominator, out=numerator)


def _polynomial(x: Array, coefficients: tuple[float, ...]) -> Array:
    result: Array = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        result *= x
        result += c
    return result


# Numerators and denominators, highest power first (Cody 1969; table of Algorithm 715).
_CENTRAL = (
    (0.065682337918207449113, 2.2352520354606839287, 161.02823106855587881,
     1067.6894854603709582, 18154.981253343561249),
    (1.0, 47.20258190468824187, 976.09855173777669322, 10260.932208618978205,
     45507.789335026729956),
)  # fmt: skip

_NEAR = (
    (1.0765576773720192317e-8, 0.39894151208813466764, 8.8831497943883759412,
     93.506656132177855979, 597.27027639480026226, 2494.5375852903726711, 6848.1904505362823326,
     11602.651437647350124, 9842.7148383839780218),
    (1.0, 22.266688044328115691, 235.38790178262499861, 1519.377599407554805,
     6485.558298266760755, 18615.571640885098091, 34900.952721145977266, 38912.003286093271411,
     19685.429676859990727),
)  # fmt: skip

_FAR = (
    (0.02307344176494017303, 0.21589853405795699, 0.1274011611602473639, 0.022235277870649807,
     0.001421619193227893466, 2.9112874951168792e-5),
    (1.0, 1.28426009614491121, 0.468238212480865118, 0.0659881378689285515,
     0.00378239633202758244, 7.29751555083966205e-5),
)  # fmt: skip
