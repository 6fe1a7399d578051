"""Convolution: compiled, with checks.

Images are (N, H, W, C), filters (kh, kw, C, F). ``out`` must not overlap an input.
"""

from __future__ import annotations

from typing import Any

from fastmlp import _checks
from fastmlp._arrays import operand, output
from fastmlp._compiled import convolution
from fastmlp._types import Array, Pair
from fastmlp.kernels.window import Window, images

__all__ = ["conv2d", "conv2d_backward_input", "conv2d_backward_weights"]


def conv2d(
    x: Array,
    w: Array,
    b: Array | None = None,
    *,
    strides: Pair = 1,
    padding: str = "valid",
    relu: bool = False,
    out: Array | None = None,
) -> Array:
    """Return the convolution of images with filters plus the bias, optionally followed by relu.

    Parameters
    ----------
    x : array of shape (N, H, W, C)
    w : array of shape (kh, kw, C, F)
    b : array of shape (F,), optional
    strides : int or (int, int), default=1
        Steps of the window, (y, x).
    padding : {"valid", "same"}, default="valid"
        "valid" uses only windows inside the image: OH = (H - kh) // sy + 1. "same" surrounds the
        image with zeros so that OH = ceil(H / sy): with max((OH - 1) * sy + kh - H, 0) rows of
        zeros, the smaller half above.
    relu : bool, default=False
    out : array of shape (N, OH, OW, F), optional
        Receives the result. It must not overlap the other arrays.

    Returns
    -------
    out : array of shape (N, OH, OW, F)

    Raises
    ------
    ValueError
        If the shapes do not fit, a filter is larger than the image (with "valid"), or a stride is
        less than 1.
    TypeError
        If the dtypes differ or are not float32 or float64.
    """
    x = images(x, "x")
    w = _filters(w, x)
    n, height, width, channels = x.shape
    filters = w.shape[3]
    if w.shape[2] != channels:
        raise ValueError(
            "x and w must have shapes (N, H, W, C) and (kh, kw, C, F), got "
            f"{x.shape} and {w.shape}."
        )
    if b is not None:
        b = operand(b, "b", x.dtype)
        if b.shape != (filters,):
            raise ValueError(f"b must have shape ({filters},), got {b.shape}.")
    window = Window((height, width), (w.shape[0], w.shape[1]), strides, padding, "w")
    out = output(out, (n, *window.places, filters), x.dtype)
    convolution.conv2d(x, w, b, out, *window.steps, relu)
    return out


def conv2d_backward_input(
    dy: Array,
    w: Array,
    input_shape: tuple[int, int],
    *,
    strides: Pair = 1,
    padding: str = "valid",
    out: Array | None = None,
) -> Array:
    """Return the gradient with respect to the images, of shape (N, H, W, C).

    dy has shape (N, OH, OW, F), w (kh, kw, C, F), and ``input_shape`` is (H, W). Errors are the
    same as for :func:`conv2d`.
    """
    dy = images(dy, "dy", "(N, OH, OW, F)")
    w = _filters(w, dy)
    size = _checks.sizes(input_shape, "input_shape")
    window = Window(size, (w.shape[0], w.shape[1]), strides, padding, "w")
    window.check(dy, w.shape[3])
    out = output(out, (dy.shape[0], *size, w.shape[2]), dy.dtype)
    convolution.conv2d_backward_input(dy, w, out, *window.steps)
    return out


def conv2d_backward_weights(
    x: Array,
    dy: Array,
    kernel_size: Pair,
    *,
    strides: Pair = 1,
    padding: str = "valid",
    out: Array | None = None,
) -> Array:
    """Return the gradient with respect to the filters, of shape (kh, kw, C, F).

    x has shape (N, H, W, C) and dy (N, OH, OW, F). Errors are the same as for :func:`conv2d`.
    """
    x = images(x, "x")
    dy = images(dy, "dy", "(N, OH, OW, F)", x.dtype)
    n, height, width, channels = x.shape
    kernel = _checks.sizes(kernel_size, "kernel_size")
    window = Window((height, width), kernel, strides, padding, "kernel_size")
    window.check(dy, dy.shape[3], n)
    out = output(out, (*kernel, channels, dy.shape[3]), x.dtype)
    convolution.conv2d_backward_weights(x, dy, out, *window.steps)
    return out


def _filters(w: Any, like: Array) -> Array:
    filters = operand(w, "w", like.dtype)
    if filters.ndim != 4 or not filters.shape[0] * filters.shape[1]:
        raise ValueError(
            f"w must have shape (kh, kw, C, F) with kh and kw at least 1, got {filters.shape}."
        )
    return filters
