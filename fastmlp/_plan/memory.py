"""The arena of a plan: row strides, and buffers of different phases that share memory."""

from __future__ import annotations

from fastmlp._arrays import empty
from fastmlp._plan.operation import Buffer
from fastmlp._types import Array, DType

__all__ = ["allocate", "row_stride", "without_aliasing"]

_LINE = 64  # bytes of a cache line
# Rows whose distance is a multiple of this many bytes compete for few sets of the L1 cache.
_ALIASING = 1024
# Cache lines after the last value of the arena, where whole vectors may be read and written.
_TAIL_LINES = 1024


def row_stride(columns: int, lanes: int, width: int, itemsize: int) -> int:
    """Return the row stride for ``columns`` elements: whole vectors, without aliasing."""
    return without_aliasing(-(-columns // lanes) * lanes, width, itemsize)


def without_aliasing(stride: int, width: int, itemsize: int) -> int:
    """Return a row stride, in elements, that is not a multiple of 1 KiB."""
    if stride * itemsize % _ALIASING == 0:
        stride += max(width, _LINE // itemsize)
    return stride


def allocate(buffers: list[Buffer], phases: int, dtype: DType) -> Array:
    """Set the offset of every buffer, and return the arena filled with zeros.

    Buffers that are in use in different phases share memory. The largest buffers are placed first,
    each in the first gap that is large enough.
    """
    line = _LINE // dtype.itemsize
    placed: list[Buffer] = []
    size = 0
    for buffer in sorted(buffers, key=lambda b: -b.size):
        if buffer.zero:
            buffer.first, buffer.last = 0, phases
        others = [b for b in placed if b.first <= buffer.last and buffer.first <= b.last]
        offset = 0
        for other in sorted(others, key=lambda b: b.offset):
            if offset + buffer.size <= other.offset:
                break
            offset = max(offset, other.offset + -(-other.size // line) * line)
        buffer.offset = offset
        placed.append(buffer)
        size = max(size, offset + buffer.size)
    arena = empty((size + _TAIL_LINES * line,), dtype)
    arena[...] = 0
    return arena
