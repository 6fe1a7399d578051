"""Where a window (a filter, or what is pooled) stands over an image: one axis at a time."""

from __future__ import annotations

__all__ = ["pair", "places"]


def pair(value: int | tuple[int, int]) -> tuple[int, int]:
    """Return (y, x) of two sizes; a single integer stands for both."""
    return (value[0], value[1]) if isinstance(value, (tuple, list)) else (value, value)


def places(size: int, window: int, stride: int, padding: str = "valid") -> tuple[int, int, int]:
    """Return how many places a window has on an axis, and the padding before and behind it.

    "valid" adds nothing and leaves out places where the window does not fit:
    ``(size - window) // stride + 1``. "same" adds zeros for ``ceil(size / stride)`` places, the
    smaller half before, as TensorFlow and Keras do.

    Raises
    ------
    ValueError
        If the padding is neither of the two.
    """
    if padding == "valid":
        return max((size - window) // stride + 1, 0), 0, 0
    if padding != "same":
        raise ValueError(f'padding must be "valid" or "same", got {padding!r}.')
    count = -(-size // stride)
    total = max((count - 1) * stride + window - size, 0)
    return count, total // 2, total - total // 2
