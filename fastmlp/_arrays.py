"""Arrays as the compiled kernels want them: float32 or float64, C-contiguous, aligned, native.

The gate of fastmlp.kernels, where a compiled function did not take what it was given
(csrc/arrays.pxd). Any other layout is copied once; what is no array of real numbers is refused.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from fastmlp._types import Array

__all__ = ["FLOAT32", "FLOAT64", "empty", "labels", "operand", "output", "updated"]

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
_INT64 = np.dtype(np.int64)
# From this size on an array gets whole cache lines: below, the kernels do not notice.
_ALIGNED_BYTES = 8192
_ALIGNMENT = 64


def empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an uninitialised array, on a cache line of its own if it is not tiny.

    Vectors that straddle two cache lines cost the matrix products up to a fifth of their speed,
    and numpy aligns to 16 bytes only. Compiled functions make their results in the same way
    (csrc/arrays.pxd); this one is there before anything is compiled.
    """
    result = np.empty(shape, dtype)
    size = result.nbytes
    if size < _ALIGNED_BYTES:
        return result
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def operand(x: Any, name: str, dtype: np.dtype[Any] | None = None) -> Array:
    """Return x ready for a kernel; ``dtype``, where given, is that of the other operands.

    float16 becomes float32, integers and bools float64 (or ``dtype``).
    """
    # carray: C-contiguous, aligned and writeable; what is not goes the long way.
    if type(x) is np.ndarray and x.flags.carray:
        own = x.dtype
        if own is dtype or (dtype is None and (own is FLOAT32 or own is FLOAT64)):
            return x
    return _convert(x, name, dtype)


def _convert(x: Any, name: str, dtype: np.dtype[Any] | None) -> Array:
    if x is None:
        raise TypeError(f"{name} must be an array of float32 or float64, got None.")
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{name} must be an ordinary array, got a masked array.")
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array of numbers: {error}") from None
    kind = array.dtype.kind
    if kind == "f" and array.dtype.itemsize in (4, 8):
        wanted = FLOAT32 if array.dtype.itemsize == 4 else FLOAT64
        if dtype is not None and wanted is not dtype:
            raise TypeError(
                f"{name} must have the dtype of the other arrays, {dtype}, got {wanted}."
            )
    elif kind == "f" and array.dtype.itemsize == 2:
        wanted = dtype or FLOAT32
    elif kind in ("i", "u", "b"):
        wanted = dtype or FLOAT64
    else:
        raise TypeError(f"{name} must be an array of float32 or float64, got dtype {array.dtype}.")
    # require() lets a dtype pass that equals the native one and is another object.
    return np.require(array, wanted, ["C", "A"]).view(wanted)


def labels(y: Any, rows: int, name: str) -> Array | None:
    """Return integer labels (rows,) as int64, or None where y is no array of integers."""
    if type(y) is np.ndarray and y.dtype is _INT64 and y.shape == (rows,) and y.flags.carray:
        return y
    if y is None or isinstance(y, np.ma.MaskedArray):
        got = "None" if y is None else "a masked array"
        raise TypeError(f"{name} must be an array of labels or of one-hot rows, got {got}.")
    array: Array = np.asarray(y)
    if array.ndim != 1 or array.dtype.kind not in ("i", "u"):
        return None
    if array.dtype is not _INT64 or not (array.flags.c_contiguous and array.flags.aligned):
        if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
            raise ValueError(f"{name} must fit int64, got {int(array.max())}.")
        array = np.require(array, _INT64, ["C", "A"]).view(_INT64)
    if array.shape[0] != rows:
        raise ValueError(f"{name} must have one label a row, that is {rows}, got {array.shape[0]}.")
    return array


def output(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return out, or a new array of that shape and dtype where it is None.

    Whether it overlaps an input the compiled functions see for themselves.
    """
    if out is None:
        return empty(shape, dtype)
    if type(out) is np.ndarray and out.shape == shape and out.flags.carray and out.dtype == dtype:
        return out
    _refuse_output(out, shape, dtype)


def updated(x: Any, shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> Array:
    """Return x, an array that is read and written in place."""
    if type(x) is np.ndarray and x.shape == shape and x.flags.carray and x.dtype == dtype:
        return x
    _refuse_output(x, shape, dtype, name)


def _refuse_output(
    out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], name: str = "out"
) -> NoReturn:
    expected = f"a C-contiguous, writeable {dtype} array of shape {shape}"
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} must be {expected}, got {type(out).__name__}.")
    if type(out) is not np.ndarray or out.dtype != dtype:
        raise TypeError(f"{name} must be {expected}, got {type(out).__name__} of {out.dtype}.")
    if out.shape != shape:
        raise ValueError(f"{name} must be {expected}, got shape {out.shape}.")
    flags = out.flags
    wrong = [
        word
        for word, right in (
            ("C-contiguous", flags.c_contiguous),
            ("aligned", flags.aligned),
            ("writeable", flags.writeable),
        )
        if not right
    ]
    raise ValueError(f"{name} must be {expected}, got one that is not {' and '.join(wrong)}.")
