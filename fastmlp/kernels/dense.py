"""Matrix products and dense layers: compiled, with checks."""

from __future__ import annotations

from fastmlp._arrays import operand, output
from fastmlp._compiled import elementwise, losses
from fastmlp._compiled import matmul as products
from fastmlp._types import Array

__all__ = ["add_bias", "dense", "matmul", "sum_batch"]


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

    op transposes its argument if ``transpose_a`` or ``transpose_b`` is set.

    Parameters
    ----------
    a : array of shape (M, K), or (K, M) if transpose_a
    b : array of shape (K, N), or (N, K) if transpose_b
    transpose_a, transpose_b : bool, default=False
        Whether to transpose a, and b. Transposing makes no copy.
    out : array of shape (M, N), optional
        Receives the result. It must not overlap a or b.
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
        If an array does not have two dimensions, the inner sizes differ, or out does not fit.
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
            f"a and b must have the same inner size, got {k} in a's shape {a.shape} and {k_b} in "
            f"b's shape {b.shape}"
            + (" (a transposed)" if transpose_a else "")
            + (" (b transposed)" if transpose_b else "")
            + "."
        )
    if accumulate and out is None:
        raise TypeError("out is required with accumulate=True, got None.")
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
    """Return ``x @ weight + bias``, optionally followed by relu: (N, I), (I, O), (O,) -> (N, O)."""
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
    """Return ``x + bias``: (N, O) and (O,) -> (N, O). ``out`` may be ``x``."""
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
    """Return the sum over the batch axis: (N, O) -> (O,)."""
    result = losses.sum_batch(x, out)
    if result is not None:
        return result
    x = operand(x, "x")
    if x.ndim != 2:
        raise ValueError(f"x must have shape (N, O), got {x.shape}.")
    return losses.sum_batch(x, output(out, x.shape[1:], x.dtype))
