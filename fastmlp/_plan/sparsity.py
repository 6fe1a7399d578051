"""Samples with many zeros: whether the first dense product of a network leaves the zeros out.

Four samples of handwritten digits have 61 % of their pixels zero in common, counts and one-hot
codes more. A list of the elements that are not zero (``csrc/simd/fm_nonzeros.body.h``) costs time
for every sample. It pays where few features are listed and many units use them. The sums lack only
terms that are zero, so results are equal.
"""

from __future__ import annotations

import math

from fastmlp._compiled import plan as compiled
from fastmlp._types import Array
from fastmlp.layers import Dense, Flatten
from fastmlp.network import Network

__all__ = ["leaves_zeros", "most_listed"]

# Maximum share of listed features for which lists would pay if they cost nothing, and the number of
# units that cost as much as the lists. Measured with random zeros: benchmarks/zeros.py.
_SHARE = 0.6
_UNITS = 32
# Minimum features and samples of a batch. Beyond the maximum of samples, neither these nor their
# lists stay in L2.
_FEATURES = 64
_SAMPLES = 8
_MOST_SAMPLES = 2000
# Lists that are made to estimate the share.
_LOOKS = 16


def most_listed(network: Network) -> float:
    """Return the maximum share of listed features for which lists pay; 0 if they never do."""
    first = next((layer for layer in network.layers if type(layer) is not Flatten), None)
    wide = math.prod(network.input_shape) >= _FEATURES
    if type(first) is not Dense or not wide or network.integers_below is not None:
        return 0.0
    return max(0.0, _SHARE * (1 - _UNITS / first.units))


def leaves_zeros(x: Array, rows: int, most: float) -> bool:
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
