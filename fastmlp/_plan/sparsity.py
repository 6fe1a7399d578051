"""Samples with many zeros: whether the products of a network with them leave the zeros out.

Four samples of handwritten digits have 61 % of their pixels zero in common, counts and one-hot
codes more. Lists of what is not zero (``csrc/simd/fm_nonzeros.body.h``) cost time, too, for every
sample: they pay where few features are listed and many units use them. Sums have the same terms
either way, but those that are zero, so results are equal.
"""

from __future__ import annotations

import math
from typing import Any

import numpy.typing as npt

from fastmlp._compiled import plan as compiled
from fastmlp.layers import Dense, Flatten
from fastmlp.network import Network

__all__ = ["leaves_zeros", "most_listed"]

# Lists pay where this share of the features is listed, at most, if they cost nothing; they cost as
# much as so many units. Measured with random zeros: benchmarks/zeros.py.
_SHARE = 0.6
_UNITS = 32
# Of fewer features, or samples at a time, they are not tried; of many samples neither these nor
# their lists stay in L2.
_FEATURES = 64
_SAMPLES = 8
_MOST_SAMPLES = 2000
# Lists that are looked at to know the share.
_LOOKS = 16


def most_listed(network: Network) -> float:
    """Return the share of features up to which lists pay; 0: the network has no use for them."""
    first = next((layer for layer in network.layers if not isinstance(layer, Flatten)), None)
    wide = math.prod(network.input_shape) >= _FEATURES
    if not isinstance(first, Dense) or not wide or network.integers_below is not None:
        return 0.0
    return max(0.0, _SHARE * (1 - _UNITS / first.units))


def leaves_zeros(x: npt.NDArray[Any], rows: int, most: float) -> bool:
    """Return whether lists pay for batches of ``rows`` of the samples ``x``.

    Parameters
    ----------
    x : array (N, ...), C-contiguous, of uint8, float32 or float64
    rows : int
    most : float
        What ``most_listed`` returned.
    """
    if most == 0 or min(rows, len(x)) < _SAMPLES or rows > _MOST_SAMPLES:
        return False
    looks = min(_LOOKS, len(x) // _SAMPLES)
    return compiled.listed_share(x, len(x), math.prod(x.shape[1:]), looks) < most
