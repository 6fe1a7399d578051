"""Samples in a memory-mapped file, which may be larger than memory, read piece by piece.

An epoch in random order would read a page of the disk for every sample. Instead, the contiguous
pieces of the file are shuffled, some of them are read into one buffer, and the samples are shuffled
within the buffer. The pages are then released, so the file never counts as memory of the process.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from fastmlp import _random
from fastmlp._types import Array, DType

__all__ = ["BUFFER_BYTES", "PIECE_BYTES", "Group", "groups", "is_large", "pieces", "release"]

BUFFER_BYTES = 2**26
"""A larger memory-mapped array is read in pieces, of which this much is in memory at a time."""

PIECE_BYTES = 2**22
"""Maximum bytes of a piece."""


class Group(NamedTuple):
    """Several pieces in one buffer.

    Attributes
    ----------
    rows : array (n,) int64
        Indices of the samples in the file.
    samples : array (n, ...)
        The buffer, which the next group overwrites.
    order : array (n,) int64 or None
        The order in which to take the samples from ``rows`` and ``samples``.
    """

    rows: Array
    samples: Array
    order: Array | None


def is_large(x: Array) -> bool:
    """Return whether ``x`` is part of a memory-mapped file and too large to be loaded.

    Each sample must be contiguous, so that it can be viewed in another shape.
    """
    if x.nbytes <= BUFFER_BYTES or not x[:1].flags.c_contiguous:
        return False
    return _mapping(x) is not None


def release(x: Array) -> None:
    """Release the pages of the file; they are read again when they are needed.

    Pages of a private map stay, because the process may have written to them.
    """
    mapping = _mapping(x)
    if mapping is None or mapping.mode == "c":
        return
    file = mapping.base
    while isinstance(file, np.ndarray):
        file = file.base
    if isinstance(file, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        file.madvise(mmap.MADV_DONTNEED)


def _mapping(x: Any) -> np.memmap[Any, Any] | None:
    """Return the memory map that ``x`` is a view of."""
    while isinstance(x, np.ndarray):
        if isinstance(x, np.memmap):
            return x
        x = x.base
    return None


def pieces(x: Array) -> Iterator[tuple[int, Array]]:
    """Yield the parts of ``x`` in order, each with the number of its first sample."""
    rows = _rows_of_piece(x, 1)
    for start in range(0, len(x), rows):
        yield start, x[start : start + rows]
        release(x)


def groups(
    x: Array, dtype: DType, batch: int, seed: int = 0, epoch: int | None = None
) -> Iterator[Group]:
    """Yield all samples of ``x``, converted to ``dtype`` (bytes stay bytes), one group at a time.

    The order is a function of (seed, epoch), of the shape and type of ``x`` and of ``batch``;
    without an epoch it is the order of the file. The number of samples in a group is a multiple of
    ``batch``, except in the group with the last piece of the file, which may come anywhere.
    """
    rows = _rows_of_piece(x, batch)
    count = -(-len(x) // rows)
    together = max(1, BUFFER_BYTES // PIECE_BYTES)
    order = np.arange(count)
    if epoch is not None:
        order = _random.permutation(seed, epoch, count, _random.PIECE_ORDER)
    size = min(together * rows, len(x))
    buffer = np.empty((size, *x.shape[1:]), x.dtype if x.dtype == np.uint8 else dtype)
    for first in range(0, count, together):
        taken = []
        done = 0
        for piece in order[first : first + together]:
            start = int(piece) * rows
            part = x[start : start + rows]
            with np.errstate(over="ignore"):
                np.copyto(buffer[done : done + len(part)], part, casting="unsafe")
            taken.append(np.arange(start, start + len(part)))
            done += len(part)
        release(x)
        within = None
        if epoch is not None:
            # Each group has a random stream; 2**20 groups are 64 TiB of samples.
            index = (epoch << 20) + first // together
            within = _random.permutation(seed, index, done, _random.ROW_ORDER)
        yield Group(np.concatenate(taken), buffer[:done], within)


def _rows_of_piece(x: Array, batch: int) -> int:
    """Return the number of samples in a piece: whole batches, at least one."""
    row_bytes = max(1, x.nbytes // len(x))
    return max(1, PIECE_BYTES // (row_bytes * batch)) * batch
