"""Positions of a window (a filter or a pooling window) on an image, one axis at a time."""

from __future__ import annotations

__all__ = ["pair", "places"]


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """Return two sizes as (y, x); a single integer stands for both."""
    return (value[0], value[1]) if isinstance(value, (tuple, list)) else (value, value)


def places(size: int, window: int, stride: int, padding: str = "valid") -> tuple[int, int, int]:
    """Return the number of window positions on an axis, and the padding before and after it.

    "valid" adds no padding and gives ``(size - window) // stride + 1`` positions. "same" pads with
    zeros to get ``ceil(size / stride)`` positions; the smaller half goes before the axis, as in
    TensorFlow and Keras.

    Raises
    ------
    ValueError
        If the padding is neither "valid" nor "same".
    """
    if padding == "valid":
        return max((size - window) // stride + 1, 0), 0, 0
    if padding != "same":
        raise ValueError(f'padding must be "valid" or "same", got {padding!r}.')
    count = -(-size // stride)
    total = max((count - 1) * stride + window - size, 0)
    return count, total // 2, total - total // 2
