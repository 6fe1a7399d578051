"""Size limit, number types and error message shared by all readers.

A reader extracts (number code, byte order, shape, bytes) from its file format. The functions here
check the four and build the array. No other module in ``datasets`` turns bytes of a file into
numpy arrays.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import numpy as np

from fastmlp._types import Array
from fastmlp.errors import FastmlpFormatError

__all__ = ["ITEM_SIZES", "MAX_BYTES", "array_from_bytes", "byte_count", "format_error"]

MAX_BYTES = 4 * 2**30
"""Default limit on the size that one file may declare or unpack to: 4 GiB."""

MAX_DIMENSIONS = 32

ITEM_SIZES = {
    "b1": 1,
    "i1": 1,
    "u1": 1,
    "i2": 2,
    "u2": 2,
    "i4": 4,
    "u4": 4,
    "i8": 8,
    "u8": 8,
    "f2": 2,
    "f4": 4,
    "f8": 8,
}
"""Bytes of one number, by numpy's code. No other type is read; there is no code for objects."""

_NATIVE = "<" if sys.byteorder == "little" else ">"


def format_error(name: str, expected: str, got: str) -> FastmlpFormatError:
    """Return the error that all readers raise: the file, what was expected, what it has."""
    return FastmlpFormatError(f"{name}: expected {expected}, got {got}.")


def byte_count(name: str, code: str, shape: Sequence[object], max_bytes: int) -> int:
    """Check ``code`` and ``shape``; return the size of the array in bytes.

    For the limit, an axis of length 0 counts as 1. An array of shape (2**40, 0) holds no numbers
    but is refused, because a loop over its first axis would not end.
    """
    if code not in ITEM_SIZES:
        raise format_error(name, f"a number type ({', '.join(ITEM_SIZES)})", repr(code)[:40])
    if len(shape) > MAX_DIMENSIONS:
        raise format_error(name, f"at most {MAX_DIMENSIONS} dimensions", str(len(shape)))
    span = ITEM_SIZES[code]
    empty = False
    for length in shape:
        if type(length) is not int or not 0 <= length < 2**63:
            raise format_error(name, "axis lengths from 0 to 2**63 - 1", _short(length))
        empty = empty or length == 0
        span *= max(length, 1)
    if span > max_bytes:
        raise format_error(name, f"arrays of at most {max_bytes} bytes", f"shape {tuple(shape)}")
    return 0 if empty else span


def array_from_bytes(
    name: str,
    data: bytes | bytearray,
    code: str,
    byte_order: str,
    shape: Sequence[int],
    *,
    fortran: bool = False,
    max_bytes: int = MAX_BYTES,
) -> Array:
    """Return ``data`` as a writeable array in native byte order.

    The length of ``data`` must match the shape exactly. A bytearray becomes the memory of the
    array; bytes are copied.
    """
    need = byte_count(name, code, shape, max_bytes)
    if len(data) != need:
        raise format_error(
            name, f"{need} bytes for shape {tuple(shape)} of {code}", f"{len(data)} bytes"
        )
    if byte_order not in ("<", ">") and not (byte_order == "|" and ITEM_SIZES[code] == 1):
        raise format_error(name, f"a byte order '<' or '>' for {code}", repr(byte_order)[:40])
    flat = np.frombuffer(data, dtype=np.dtype(_NATIVE + code))
    if isinstance(data, bytes) or not flat.flags.aligned:
        flat = flat.copy()
    if ITEM_SIZES[code] > 1 and byte_order != _NATIVE:
        flat.byteswap(inplace=True)
    if code == "b1" and flat.size and flat.view(np.uint8).max() > 1:
        raise format_error(name, "booleans stored as 0 or 1", "another value")
    return flat.reshape(tuple(shape), order="F" if fortran else "C")


def _short(value: object) -> str:
    """Return ``value`` as text for a message: integers in full, other values by type."""
    if type(value) is int and abs(value) < 2**70:
        return str(value)
    return f"a value of type {type(value).__name__}"
