"""The 8 x 8 digits that come with the package."""

from __future__ import annotations

import io
from importlib import resources

import numpy as np

from fastmlp._types import Array

from ._npz import read_npz

__all__ = ["load_digits"]


def load_digits() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Load 1797 images of handwritten digits, 8 x 8 pixels, which come with the package.

    Every fifth image (index % 5 == 4) is a test image, so the split is always the same.

    Returns
    -------
    (x_train, y_train) : arrays of shape (1438, 8, 8) float32 and (1438,) int64
        Images with 17 grey levels in [0, 1], and labels 0 to 9.
    (x_test, y_test) : arrays of shape (359, 8, 8) float32 and (359,) int64

    Notes
    -----
    The training and test images come from the same writers.

    References
    ----------
    E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, 1998, UCI Machine
    Learning Repository, https://doi.org/10.24432/C50P49, licence CC BY 4.0.

    Examples
    --------
    >>> (x_train, y_train), (x_test, y_test) = load_digits()
    >>> x_train.shape, y_test.shape
    ((1438, 8, 8), (359,))
    """
    packed = resources.files(__package__).joinpath("digits.npz").read_bytes()
    arrays = read_npz(io.BytesIO(packed), "digits.npz")
    x = arrays["x"].astype(np.float32) / np.float32(16)
    y = arrays["y"].astype(np.int64)
    test = np.arange(len(y)) % 5 == 4
    return (x[~test], y[~test]), (x[test], y[test])
