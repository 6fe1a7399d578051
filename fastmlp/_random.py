"""Random numbers that are a pure function of (seed, purpose, index).

All numbers are computed from raw Philox words, which numpy guarantees never to change, with exactly
rounded operations. Therefore weights and batch orders are bit-for-bit the same for every Python,
numpy and machine, and resuming a run needs no fast-forwarding.

Random numbers of layers in every step, such as dropout masks, use cheaper words, a function of
(seed, layer, step, row, column). The compiled kernels compute them in place;
``csrc/simd/fm_random.h`` is its counterpart.
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "BATCH_ORDER",
    "PIECE_ORDER",
    "ROW_ORDER",
    "SPLIT",
    "TOYS",
    "WEIGHTS",
    "counter_words",
    "drop_threshold",
    "normal",
    "normal_of",
    "permutation",
    "random_words",
    "stream_key",
    "uniform",
]

# Purposes: one independent stream each.
WEIGHTS = 1
BATCH_ORDER = 2
PIECE_ORDER = 3
ROW_ORDER = 4
SPLIT = 5
TOYS = 6


def random_words(seed: int, purpose: int, index: int, n: int) -> np.ndarray:
    """Return n random uint64 words of the stream (seed, purpose, index)."""
    key = np.array([seed & (2**64 - 1), (purpose << 56) ^ index], dtype=np.uint64)
    words: np.ndarray = np.random.Philox(key=key).random_raw(n)
    return words


def uniform(seed: int, purpose: int, index: int, n: int) -> np.ndarray:
    """Return n float64 values, uniform on [0, 1) with 53 random bits."""
    values: np.ndarray = (random_words(seed, purpose, index, n) >> np.uint64(11)) * 2.0**-53
    return values


def permutation(seed: int, index: int, n: int, purpose: int = BATCH_ORDER) -> np.ndarray:
    """Return a permutation of range(n), int64: by default the batch order of epoch ``index``.

    Each row gets a random key, and the rows are sorted by key; rows with equal keys keep their
    order. Key and row share a 64-bit word, because numpy sorts words several times faster than
    indices. The row takes as many bits as n needs, the key the others.
    """
    bits = np.uint64(max(1, n - 1).bit_length())
    words = random_words(seed, purpose, index, n)
    words >>= bits
    words <<= bits
    words |= np.arange(n, dtype=np.uint64)
    words.sort()
    words &= (np.uint64(1) << bits) - np.uint64(1)
    order: np.ndarray = words.view(np.int64)
    return order


def normal(seed: int, purpose: int, index: int, n: int) -> np.ndarray:
    """Return n float64 values of N(0, 1)."""
    words = random_words(seed, purpose, index, n) >> np.uint64(12)
    return normal_of((words + 0.5) * 2.0**-52)  # exact, and inside the open interval (0, 1)


# --- Words of (seed, layer, step, row, column) --------------------------------------------------

_MASK = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15  # 2**64 over the golden ratio


def stream_key(seed: int, layer: int) -> int:
    """Return the key of the random numbers of layer number ``layer`` of a network."""
    return _mix((_mix((seed + _GOLDEN) & _MASK) + (layer + 1) * _GOLDEN) & _MASK)


def counter_words(key: int, step: int, rows: int, columns: int) -> np.ndarray:
    """Return the uint32 words (rows, columns) of one step of the stream ``key``.

    The key of each row is the next number of SplitMix64 (Steele, Lea and Flood 2014). Its low half
    is the start of the column counter. Its high half is combined by xor between the two products
    of an invertible 32-bit mix (C. Wellons, hash-prospector).
    """
    own = _mix((key + (step + 1) * _GOLDEN) & _MASK)
    start = np.arange(1, rows + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
    start += np.uint64(own)
    start ^= start >> np.uint64(30)
    start *= np.uint64(0xBF58476D1CE4E5B9)
    start ^= start >> np.uint64(27)
    start *= np.uint64(0x94D049BB133111EB)
    start ^= start >> np.uint64(31)
    low = start.astype(np.uint32)[:, None]
    high = (start >> np.uint64(32)).astype(np.uint32)[:, None]
    words: np.ndarray = np.arange(columns, dtype=np.uint32) * np.uint32(0x9E3779B9) + low
    words ^= words >> np.uint32(16)
    words *= np.uint32(0x21F0AAAD)
    words ^= high
    words ^= words >> np.uint32(15)
    words *= np.uint32(0x735A2D97)
    words ^= words >> np.uint32(15)
    return words


def drop_threshold(rate: float) -> int:
    """Return the threshold below which a word drops its element, so that a share ``rate`` drops."""
    return min(round(rate * 2**32), 2**32 - 1)


def _mix(z: int) -> int:
    """Return the finalizer of SplitMix64."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & _MASK
    return z ^ (z >> 31)


# --- The normal distribution --------------------------------------------------------------------


def normal_of(p: np.ndarray) -> np.ndarray:
    """Return the quantiles of N(0, 1) for probabilities p, by Wichura 1988, AS 241, PPND16."""
    q = p - 0.5
    r = np.where(np.abs(q) <= 0.425, 0.180625 - q * q, 0.0)
    central = q * _ratio(r, _CENTRAL)
    tail = np.sqrt(-_log(np.minimum(p, 1.0 - p)))
    near = _ratio(tail - 1.6, _NEAR)
    far = _ratio(tail - 5.0, _FAR)
    outer = np.copysign(np.where(tail <= 5.0, near, far), q)
    values: np.ndarray = np.where(np.abs(q) <= 0.425, central, outer)
    return values


def _ratio(x: np.ndarray, coefficients: tuple[tuple[float, ...], ...]) -> np.ndarray:
    top, bottom = (np.full_like(x, c[0]) for c in coefficients)
    for a, b in zip(coefficients[0][1:], coefficients[1][1:], strict=True):
        top = top * x + a
        bottom = bottom * x + b
    ratio: np.ndarray = top / bottom
    return ratio


def _log(x: np.ndarray) -> np.ndarray:
    # libm's log differs between machines in the last bit. This series of atanh, on
    # [sqrt(1/2), sqrt(2)], uses only operations that IEEE 754 rounds exactly.
    mantissa, exponent = np.frexp(x)
    low = mantissa < 0.7071067811865476
    mantissa = np.where(low, 2.0 * mantissa, mantissa)
    exponent = exponent - low
    s = (mantissa - 1.0) / (mantissa + 1.0)
    s2 = s * s
    series = np.zeros_like(x)
    for k in range(23, 0, -2):
        series = series * s2 + 1.0 / k
    result: np.ndarray = 2.0 * s * series + exponent * 0.6931471805599453
    return result


# Numerators and denominators, highest power first (AS 241, PPND16).
_CENTRAL = (
    (2.5090809287301226727e3, 3.3430575583588128105e4, 6.7265770927008700853e4,
     4.5921953931549871457e4, 1.3731693765509461125e4, 1.9715909503065514427e3,
     1.3314166789178437745e2, 3.3871328727963666080e0),
    (5.2264952788528545610e3, 2.8729085735721942674e4, 3.9307895800092710610e4,
     2.1213794301586595867e4, 5.3941960214247511077e3, 6.8718700749205790830e2,
     4.2313330701600911252e1, 1.0),
)  # fmt: skip
_NEAR = (
    (7.74545014278341407640e-4, 2.27238449892691845833e-2, 2.41780725177450611770e-1,
     1.27045825245236838258e0, 3.64784832476320460504e0, 5.76949722146069140550e0,
     4.63033784615654529590e0, 1.42343711074968357734e0),
    (1.05075007164441684324e-9, 5.47593808499534494600e-4, 1.51986665636164571966e-2,
     1.48103976427480074590e-1, 6.89767334985100004550e-1, 1.67638483018380384940e0,
     2.05319162663775882187e0, 1.0),
)  # fmt: skip
_FAR = (
    (2.01033439929228813265e-7, 2.71155556874348757815e-5, 1.24266094738807843860e-3,
     2.65321895265761230930e-2, 2.96560571828504891230e-1, 1.78482653991729133580e0,
     5.46378491116411436990e0, 6.65790464350110377720e0),
    (2.04426310338993978564e-15, 1.42151175831644588870e-7, 1.84631831751005468180e-5,
     7.86869131145613259100e-4, 1.48753612908506148525e-2, 1.36929880922735805310e-1,
     5.99832206555887937690e-1, 1.0),
)  # fmt: skip
