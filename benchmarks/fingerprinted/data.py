"""Small data sets, identical on every call."""

from __future__ import annotations

import numpy as np

from fingerprinted.recording import Array, Data


def points(features: int, classes: int = 3, n: int = 120) -> Data:
    """Return noisy classes: x (n, features) float32 and labels."""
    rng = np.random.default_rng([1, features, classes, n])
    y = np.arange(n) % classes
    x = 1.5 * rng.standard_normal((classes, features))[y] + rng.standard_normal((n, features))
    return x.astype(np.float32), y


def numbers(features: int, outputs: int = 2, n: int = 120) -> Data:
    """Return a regression: x (n, features) float32 and targets (n, outputs)."""
    rng = np.random.default_rng([2, features, outputs, n])
    x = rng.standard_normal((n, features))
    y = np.sin(x @ rng.standard_normal((features, outputs)))
    return x.astype(np.float32), y


def several(features: int, outputs: int = 5, n: int = 120) -> Data:
    """Return samples with several labels each, 0 or 1."""
    x, y = numbers(features, outputs, n)
    return x, (y > 0).astype(np.float64)


def pictures(height: int, width: int, channels: int, n: int = 60, classes: int = 3) -> Data:
    """Return images of bytes, with a bright rectangle on a black ground."""
    rng = np.random.default_rng([3, height, width, channels, n])
    x = np.zeros((n, height, width, channels), np.uint8)
    y = np.arange(n) % classes
    for image, label in zip(x, y, strict=True):
        top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
        part = image[top : top + 2 + label, left : left + 4 - label]
        part[...] = rng.integers(1, 256, part.shape)
    return x, y


def words(length: int, vocabulary: int, n: int = 90) -> Data:
    """Return rows of integers below ``vocabulary``, and labels."""
    rng = np.random.default_rng([4, length, vocabulary, n])
    x = rng.integers(0, vocabulary, (n, length))
    return x, x.sum(axis=1) % 3


def onehot(y: Array, classes: int = 3) -> Array:
    """Return labels as one-hot rows."""
    return np.eye(classes)[y]


def shaped(*shape: int) -> Data:
    """Return the points with another shape."""
    x, y = points(int(np.prod(shape)))
    return x.reshape(-1, *shape), y


def grid() -> Data:
    """Return images and targets that are images, too."""
    x, _ = numbers(4 * 6 * 3, 1, 40)
    x = x.reshape(-1, 4, 6, 3)
    return x, np.repeat(x[..., :1], 5, axis=-1) ** 2
