"""Arrays as the compiled kernels need them: float32 or float64, C-contiguous, aligned, native.

fastmlp.kernels calls these functions if a compiled function rejects its arguments
(csrc/kernels/arrays.pxd). Arrays with another layout are copied once. Values that are not arrays of
real numbers raise an error.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from fastmlp._types import Array, DType, Shape

__all__ = ["FLOAT32", "FLOAT64", "empty", "labels", "operand", "output", "updated"]

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
_INT64 = np.dtype(np.int64)
# Minimum size of an array that is aligned to cache lines; smaller ones do not become faster.
_ALIGNED_BYTES = 8192
_ALIGNMENT = 64


def empty(shape: Shape, dtype: DType) -> Array:
    """Return an uninitialized array, aligned to a cache line unless it is small.

    Vectors that straddle two cache lines cost the matrix products up to a fifth of their speed, and
    numpy aligns to 16 bytes only. The compiled modules have the same function for their results
    (csrc/kernels/arrays.pxd). This one works without the compiled modules.
    """
    result = np.empty(shape, dtype)
    size = result.nbytes
    if size < _ALIGNED_BYTES:
        return result
    memory = np.empty(size + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    return memory[start : start + size].view(dtype).reshape(shape)


def operand(x: Any, name: str, dtype: DType | None = None) -> Array:
    """Return x in the form that kernels need. ``dtype`` is the dtype of the other operands, if any.

    float16 becomes float32; integers and bools become float64 (or ``dtype``).
    """
    # carray: C-contiguous, aligned and writeable. Other arrays take the slow path.
    if type(x) is np.ndarray and x.flags.carray:
        own = x.dtype
        if own is dtype or (dtype is None and (own is FLOAT32 or own is FLOAT64)):
            return x
    return _convert(x, name, dtype)


def _convert(x: Any, name: str, dtype: DType | None) -> Array:
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
    # require() accepts a dtype that equals the native one but is a different object.
    return np.require(array, wanted, ["C", "A"]).view(wanted)


def labels(y: Any, rows: int, name: str) -> Array | None:
    """Return integer labels (rows,) as int64, or None if y is not an array of integers."""
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
            raise ValueError(f"{name} must fit in int64, got {int(array.max())}.")
        array = np.require(array, _INT64, ["C", "A"]).view(_INT64)
    if array.shape[0] != rows:
        raise ValueError(f"{name} must have one label per row ({rows}), got {array.shape[0]}.")
    return array


def output(out: Any, shape: Shape, dtype: DType) -> Array:
    """Return out, or a new array of this shape and dtype if out is None.

    The compiled functions check whether out overlaps an input.
    """
    if out is None:
        return empty(shape, dtype)
    if type(out) is np.ndarray and out.shape == shape and out.flags.carray and out.dtype == dtype:
        return out
    _refuse_output(out, shape, dtype)


def updated(x: Any, shape: Shape, dtype: DType, name: str) -> Array:
    """Return x, an array that a kernel updates in place, or raise if it has a wrong form."""
    if type(x) is np.ndarray and x.shape == shape and x.flags.carray and x.dtype == dtype:
        return x
    _refuse_output(x, shape, dtype, name)


def _refuse_output(out: Any, shape: Shape, dtype: DType, name: str = "out") -> NoReturn:
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
