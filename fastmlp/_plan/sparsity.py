"""Samples with many zeros: whether the first dense product of a network leaves the zeros out.

In four samples of handwritten digits, 61 % of the pixels are zero in all four; in counts and
one-hot codes more. A list of the nonzero elements (``csrc/simd/fm_nonzeros.body.h``) takes time for
every sample. It pays if few features are listed and many units use them. The sums leave out only
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
# Minimum features, and minimum and maximum samples of a batch. Above the maximum, neither the
# samples nor their lists stay in the L2 cache.
_FEATURES = 64
_SAMPLES = 8
_MOST_SAMPLES = 2000
# Number of lists from which the share is estimated.
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
        The result of ``most_listed``.
    """
    if most == 0 or min(rows, len(x)) < _SAMPLES or rows > _MOST_SAMPLES:
        return False
    looks = min(_LOOKS, len(x) // _SAMPLES)
    return compiled.listed_share(x, len(x), math.prod(x.shape[1:]), looks) < most
