"""Every operation of fastmlp in plain numpy: the definition of what the kernels compute.

``fastmlp.kernels`` has the same functions, compiled. The functions here are what the kernels,
the gradients and whole training runs are tested against, what ``model.backend = "numpy"`` runs,
and the baseline of the benchmarks: obvious first, and with no pass or copy that numpy can spare.

Conventions, for every function below
-------------------------------------
* Arrays are float32 or float64, C-contiguous and of one dtype; results have that dtype. Nothing is
  checked here: ``fastmlp._checks`` guards the models, ``fastmlp.kernels`` guards itself.
* Letters of shapes: N rows of a batch, I inputs, O outputs, C classes; ``...`` is any shape.
  Images are (N, H, W, C) with C channels; their functions are in ``fastmlp.reference.convolution``, and
  once more, as loops over pixels with names in ``_loops``, in ``fastmlp.reference.loops``.
  Dropout, noise, normalisation and embeddings are in ``fastmlp.reference.normalization``.
* ``out`` is written and returned; without it the result is a new array. ``out`` may be the first
  argument of an elementwise function and of every ``*_backward`` function, but never an operand
  of a matrix product.
* ``*_backward`` functions take the gradient of the loss by the output, ``dy``, and return the
  gradient by the input. Those whose derivative is simple in the output take the output ``y``, the
  others the input ``x``.
* NaN and infinity propagate and nothing warns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp.reference.convolution import (
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
from fastmlp.reference.loops import (
    avg_pool2d_backward_loops,
    avg_pool2d_loops,
    conv2d_backward_input_loops,
    conv2d_backward_weights_loops,
    conv2d_loops,
    global_avg_pool2d_backward_loops,
    global_avg_pool2d_loops,
    max_pool2d_backward_loops,
    max_pool2d_loops,
)
from fastmlp.reference.losses import (
    binary_cross_entropy,
    count_correct,
    hinge,
    huber,
    log_softmax,
    log_softmax_backward,
    mae,
    mse,
    softmax,
    softmax_backward,
    softmax_cross_entropy,
)
from fastmlp.reference.normalization import (
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
    "avg_pool2d_backward_loops",
    "avg_pool2d_loops",
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_inference",
    "binary_cross_entropy",
    "clip_by_norm",
    "clip_by_value",
    "conv2d",
    "conv2d_backward_input",
    "conv2d_backward_input_loops",
    "conv2d_backward_weights",
    "conv2d_backward_weights_loops",
    "conv2d_loops",
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
    "global_avg_pool2d_backward_loops",
    "global_avg_pool2d_loops",
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
    "max_pool2d_backward_loops",
    "max_pool2d_loops",
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

Array = npt.NDArray[Any]

# np.add.reduce and np.maximum.reduce below are np.sum and np.max without their layer of Python.

# Overflow to infinity is a legitimate result here, whatever the caller's numpy settings are.
_quiet = np.errstate(all="ignore")


# --- Linear algebra -----------------------------------------------------------------------------


@_quiet
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
    """Return ``alpha * op(a) @ op(b)``, where op transposes if asked; (M, K) by (K, N) is (M, N).

    With ``accumulate`` the product is added to ``out``, which then must be given.
    """
    a = a.T if transpose_a else a
    b = b.T if transpose_b else b
    if accumulate:
        if out is None:
            raise ValueError("matmul: accumulate=True needs out, the array to add to.")
        product = np.matmul(a, b)
        if alpha != 1.0:
            product *= alpha
        out += product
        return out
    out = np.matmul(a, b, out=out)
    if alpha != 1.0:
        out *= alpha
    return out


@_quiet
def dense(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    *,
    relu: bool = False,
    out: Array | None = None,
) -> Array:
    """Return ``x @ weight + bias``, (N, I), (I, O), (O,) -> (N, O), and its relu if asked."""
    out = np.matmul(x, weight, out=out)
    if bias is not None:
        out += bias
    return np.maximum(out, 0, out=out) if relu else out


@_quiet
def add_bias(x: Array, bias: Array, *, out: Array | None = None) -> Array:
    """Return ``x + bias``, the same bias on every row: (N, O), (O,) -> (N, O)."""
    return np.add(x, bias, out=out)


@_quiet
def sum_batch(x: Array, *, out: Array | None = None) -> Array:
    """Return the sum over the rows, (N, O) -> (O,): the gradient of a bias."""
    return np.add.reduce(x, axis=0, out=out)


# --- Updates of weights -------------------------------------------------------------------------
#
# One step of an optimizer: weights and states change in place, arrays of any one shape. Weight
# decay is an L2 penalty, weight_decay * weight added to the gradient, but for decoupled Adam.


@_quiet
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
    """Do a step of stochastic gradient descent (Robbins and Monro 1951), with momentum if asked.

    ``weight -= learning_rate * gradient``; given ``velocity``, which starts at zero, the step is
    along ``velocity = momentum * velocity + gradient`` (Polyak 1964), with ``nesterov`` along
    ``gradient + momentum * velocity`` (Sutskever et al. 2013, as in PyTorch).
    """
    if velocity is None and (momentum or nesterov):
        raise TypeError("velocity must be given with momentum or nesterov, got None.")
    if weight_decay:
        gradient = gradient + weight_decay * weight
    if velocity is not None:
        velocity *= momentum
        velocity += gradient
        gradient = gradient + momentum * velocity if nesterov else velocity
    weight -= learning_rate * gradient


@_quiet
def adagrad_update(
    weight: Array,
    gradient: Array,
    accumulator: Array,
    learning_rate: float,
    *,
    eps: float = 1e-10,
    weight_decay: float = 0.0,
) -> None:
    """Do a step of Adagrad: each weight's step shrinks with the squares of its gradients so far.

    ``accumulator += gradient**2``, from zero, then ``weight -= learning_rate * gradient /
    (sqrt(accumulator) + eps)``: Duchi, Hazan and Singer 2011, equation 1, on the diagonal.
    """
    if weight_decay:
        gradient = gradient + weight_decay * weight
    accumulator += np.square(gradient)
    weight -= learning_rate * (gradient / (np.sqrt(accumulator) + eps))


@_quiet
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
    """Do a step of RMSprop: Adagrad with a running mean of squares in place of their sum.

    ``accumulator = rho * accumulator + (1 - rho) * gradient**2``, from zero, then ``weight -=
    learning_rate * gradient / (sqrt(accumulator) + eps)``: Tieleman and Hinton 2012, Neural
    networks for machine learning, lecture 6.5.
    """
    if weight_decay:
        gradient = gradient + weight_decay * weight
    accumulator *= rho
    accumulator += (1 - rho) * np.square(gradient)
    weight -= learning_rate * (gradient / (np.sqrt(accumulator) + eps))


@_quiet
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
    """Do a step of Adam; ``step`` is its number, from 1.

    ``m = beta1 * m + (1 - beta1) * gradient`` and ``v = beta2 * v + (1 - beta2) * gradient**2``,
    from zero, then ``weight -= learning_rate * M / (sqrt(V) + eps)`` with the unbiased means ``M
    = m / (1 - beta1**step)`` and ``V = v / (1 - beta2**step)``: Kingma and Ba 2015, algorithm 1.
    ``decoupled`` shrinks the weights by the factor ``1 - learning_rate * weight_decay`` instead
    of adding to the gradient: AdamW, Loshchilov and Hutter 2019, algorithm 2, as in PyTorch.
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


# --- Penalties and clipping ---------------------------------------------------------------------


@_quiet
def weight_penalty(weight: Array, *, l1: float = 0.0, l2: float = 0.0) -> float:
    """Return ``l1 * sum(abs(weight)) + l2 * sum(weight**2)``, summed in float64. Any shape."""
    result = 0.0
    if l1:
        result += l1 * float(np.add.reduce(np.abs(weight), axis=None, dtype=np.float64))
    if l2:
        result += l2 * float(np.add.reduce(_squares(weight), axis=None))
    return result


@_quiet
def weight_penalty_backward(
    gradient: Array, weight: Array, *, l1: float = 0.0, l2: float = 0.0
) -> None:
    """Add ``l1 * sign(weight) + 2 * l2 * weight`` to a gradient, in place; sign(0) is 0.

    Arrays of any one shape.
    """
    gradient += l1 * np.sign(weight) + (2 * l2) * weight


@_quiet
def clip_by_norm(gradients: Sequence[Array], limit: float) -> float:
    """Multiply arrays by ``limit / (norm + 1e-6)``, in place, where that is below 1.

    The norm, which is returned, is the root of the sum of all their squares, summed in float64.
    If it is not finite, no more are the arrays. Pascanu, Mikolov and Bengio 2013, algorithm 1;
    the small number is that of PyTorch's ``clip_grad_norm_``.
    """
    squares = [float(np.add.reduce(_squares(gradient), axis=None)) for gradient in gradients]
    norm = math.sqrt(math.fsum(squares)) if all(map(math.isfinite, squares)) else sum(squares)
    if not limit / (norm + 1e-6) >= 1:
        for gradient in gradients:
            gradient *= limit / (norm + 1e-6)
    return norm


@_quiet
def clip_by_value(x: Array, limit: float, *, out: Array | None = None) -> Array:
    """Return x with every element brought to ``[-limit, limit]``; NaN stays. Any shape."""
    return np.clip(x, -limit, limit, out=out)


def _squares(x: Array) -> Array:
    return np.square(x, dtype=np.float64)


# --- Elementwise functions and activations ------------------------------------------------------


@_quiet
def exp(x: Array, *, out: Array | None = None) -> Array:
    """Return e to the power x, elementwise."""
    return np.exp(x, out=out)


@_quiet
def log(x: Array, *, out: Array | None = None) -> Array:
    """Return the natural logarithm; -inf at 0 and NaN below."""
    return np.log(x, out=out)


@_quiet
def relu(x: Array, *, out: Array | None = None) -> Array:
    """Return ``max(x, 0)``; NaN stays NaN."""
    return np.maximum(x, 0, out=out)


@_quiet
def relu_backward(dy: Array, y: Array, *, out: Array | None = None) -> Array:
    """Return dy where the output is positive and 0 elsewhere: the derivative at 0 is 0."""
    return np.multiply(dy, y > 0, out=out)


@_quiet
def leaky_relu(x: Array, *, negative_slope: float = 0.01, out: Array | None = None) -> Array:
    """Return x where it is positive and ``negative_slope * x`` elsewhere (Maas et al. 2013)."""
    return np.multiply(x, _slope(x, negative_slope), out=out)


@_quiet
def leaky_relu_backward(
    dy: Array, y: Array, *, negative_slope: float = 0.01, out: Array | None = None
) -> Array:
    """Return dy times 1 or ``negative_slope`` (>= 0), told by the sign of the output."""
    return np.multiply(dy, _slope(y, negative_slope), out=out)


def _slope(x: Array, negative_slope: float) -> Array:
    slope: Array = np.where(x > 0, x.dtype.type(1), x.dtype.type(negative_slope))
    return slope


@_quiet
def elu(x: Array, *, alpha: float = 1.0, out: Array | None = None) -> Array:
    """Return x where it is positive, ``alpha * (exp(x) - 1)`` elsewhere (Clevert et al. 2015)."""
    negative = np.expm1(np.minimum(x, 0))
    if alpha != 1.0:
        negative *= alpha
    out = np.maximum(x, 0, out=out)
    return np.add(out, negative, out=out)


@_quiet
def elu_backward(dy: Array, y: Array, *, alpha: float = 1.0, out: Array | None = None) -> Array:
    """Return dy where the output is positive and ``dy * (y + alpha)`` elsewhere."""
    slope = np.where(y > 0, y.dtype.type(1), y + alpha)
    return np.multiply(dy, slope, out=out)


@_quiet
def tanh(x: Array, *, out: Array | None = None) -> Array:
    """Return the hyperbolic tangent."""
    return np.tanh(x, out=out)


@_quiet
def tanh_backward(dy: Array, y: Array, *, out: Array | None = None) -> Array:
    """Return ``dy * (1 - y**2)``."""
    slope = np.square(y)
    np.subtract(1, slope, out=slope)
    return np.multiply(dy, slope, out=out)


@_quiet
def sigmoid(x: Array, *, out: Array | None = None) -> Array:
    """Return ``1 / (1 + exp(-x))``, to full relative accuracy in the tail too."""
    out = np.negative(x, out=out)
    np.exp(out, out=out)
    out += 1
    return np.divide(1, out, out=out)


@_quiet
def sigmoid_backward(dy: Array, y: Array, *, out: Array | None = None) -> Array:
    """Return ``dy * y * (1 - y)``."""
    slope = np.subtract(1, y)
    slope *= y
    return np.multiply(dy, slope, out=out)


@_quiet
def silu(x: Array, *, out: Array | None = None) -> Array:
    """Return ``x * sigmoid(x)``, also known as swish (Elfwing et al. 2017); 0 at -inf."""
    denominator = np.exp(-x)
    denominator += 1
    bounded: Array = np.maximum(x, np.finfo(x.dtype).min)
    return np.divide(bounded, denominator, out=out)


@_quiet
def silu_backward(dy: Array, x: Array, *, out: Array | None = None) -> Array:
    """Return ``dy * s * (1 + x * (1 - s))`` with ``s = sigmoid(x)``."""
    s = sigmoid(x)
    slope = np.subtract(1, s)
    slope *= _bounded(x)
    slope += 1
    slope *= s
    return np.multiply(dy, slope, out=out)


def _bounded(x: Array) -> Array:
    """Return x with the largest numbers for infinities: 0 times those is 0, the limit."""
    info = np.finfo(x.dtype)
    return np.clip(x, info.min, info.max)


@_quiet
def softplus(x: Array, *, out: Array | None = None) -> Array:
    """Return ``log(1 + exp(x))``, as ``max(x, 0) + log1p(exp(-abs(x)))``, which cannot overflow."""
    tail = np.abs(x)
    np.negative(tail, out=tail)
    np.exp(tail, out=tail)
    np.log1p(tail, out=tail)
    out = np.maximum(x, 0, out=out)
    return np.add(out, tail, out=out)


@_quiet
def softplus_backward(dy: Array, x: Array, *, out: Array | None = None) -> Array:
    """Return ``dy * sigmoid(x)``."""
    return np.multiply(dy, sigmoid(x), out=out)


@_quiet
def gelu(x: Array, *, out: Array | None = None) -> Array:
    """Return ``x * P(x)``, P the normal distribution function (Hendrycks and Gimpel 2016).

    This is the exact form, the default of PyTorch and Keras, not the one with tanh. 0 at -inf.
    """
    bounded: Array = np.maximum(x, np.finfo(x.dtype).min)
    return np.multiply(bounded, _normal_cdf(x), out=out)


@_quiet
def gelu_backward(dy: Array, x: Array, *, out: Array | None = None) -> Array:
    """Return ``dy * (P(x) + x * p(x))``, P the normal distribution function and p its density."""
    density = np.square(x)
    density *= -0.5
    np.exp(density, out=density)
    density *= _bounded(x)
    density *= 1 / math.sqrt(2 * math.pi)
    density += _normal_cdf(x)
    return np.multiply(dy, density, out=out)


# --- The normal distribution function -----------------------------------------------------------


def _normal_cdf(x: Array) -> Array:
    """Return P(x) to a few units in the last place, relative, in the negative tail too.

    W. J. Cody (1969), Rational Chebyshev approximations for the error function, in the form of
    Algorithm 715 (ACM TOMS 19, 1993): three rational functions, for |x| up to 0.674, up to
    sqrt(32), and beyond.
    """
    y = np.abs(x)
    result = np.empty_like(y)
    central = y <= 0.67448975
    far = y > math.sqrt(32.0)
    near = ~(central | far)  # NaN goes here and stays NaN

    z = x[central]
    square = z * z
    result[central] = 0.5 + z * _ratio(square, _CENTRAL)

    z = y[near]
    result[near] = _half_gaussian(z) * _ratio(z, _NEAR)
    if far.any():
        # Beyond 64 P is 0 or 1 in every dtype; the limit keeps infinity out of the quotients.
        z = np.minimum(y[far], 64)
        square = 1 / (z * z)
        tail = (1 / math.sqrt(2 * math.pi) - square * _ratio(square, _FAR)) / z
        result[far] = _half_gaussian(z) * tail
    upper = x > 0.67448975
    np.subtract(1, result, out=result, where=upper)
    return result


def _half_gaussian(y: Array) -> Array:
    """Return exp(-y * y / 2); y is split so that the rounding of the square does no harm."""
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


# Numerators and denominators, highest power first (Cody 1969, the table of Algorithm 715).
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
