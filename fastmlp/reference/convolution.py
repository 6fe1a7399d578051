"""Convolution in plain numpy.

Images are (N, H, W, C), channels last, and filters (kh, kw, C, F): C input channels, F filters. As
everywhere in neural networks, the filter is not flipped. The definition is in
``fastmlp.reference.loops``, loops over pixels; the functions here compute the same with a few
large matrix products. Outputs never overlap inputs.
"""

from __future__ import annotations

import numpy as np

from fastmlp._types import Array, Pair
from fastmlp._windows import pair
from fastmlp.reference._quiet import quiet
from fastmlp.reference.window import Windows, new

__all__ = ["conv2d", "conv2d_backward_input", "conv2d_backward_weights"]


@quiet
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

    ``y[n, p, q, f] = b[f] + sum(x[n, p * sy + r - top, q * sx + s - left, c] * w[r, s, c, f])``
    over the window offsets (r, s) and the channels c, where pixels outside the image are zero.

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
        zeros, the smaller half above, as in TensorFlow and Keras.
    relu : bool, default=False
    out : array of shape (N, OH, OW, F), optional

    Returns
    -------
    out : array of shape (N, OH, OW, F)
    """
    windows = Windows(x.shape, w.shape[:2], strides, padding)
    filters = w.shape[3]
    out = new((len(x), *windows.places, filters), x.dtype, out)
    matrix = w.reshape(-1, filters)
    for rows, columns in windows.unfold(x):
        np.matmul(columns, matrix, out=out[rows].reshape(-1, filters))
    if b is not None:
        out += b
    return np.maximum(out, 0, out=out) if relu else out


@quiet
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

    dy has shape (N, OH, OW, F), w (kh, kw, C, F), and ``input_shape`` is (H, W). The gradient of a
    pixel that no window covers is zero.
    """
    channels, filters = w.shape[2:]
    shape = (len(dy), *input_shape, channels)
    windows = Windows(shape, w.shape[:2], strides, padding)
    out = new(shape, dy.dtype, out)
    out[...] = 0
    for rows in windows.chunks(max(channels, filters)):
        factor = dy[rows].reshape(-1, filters)
        part = np.empty((*dy[rows].shape[:3], channels), dy.dtype)
        for r, s, of_image, of_windows in windows.taps():
            np.matmul(factor, w[r, s].T, out=part.reshape(-1, channels))
            out[rows][of_image] += part[of_windows]
    return out


@quiet
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

    x has shape (N, H, W, C) and dy (N, OH, OW, F).
    """
    windows = Windows(x.shape, pair(kernel_size), strides, padding)
    filters = dy.shape[3]
    out = new((*pair(kernel_size), x.shape[3], filters), x.dtype, out)
    out[...] = 0
    matrix = out.reshape(-1, filters)
    for rows, columns in windows.unfold(x):
        matrix += columns.T @ dy[rows].reshape(-1, filters)
    return out
