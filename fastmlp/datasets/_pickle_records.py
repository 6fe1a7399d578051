"""Records on the stack of the pickle reader, in place of Python objects.

A pickle names functions and calls them. Here the few names that numpy arrays need are members of
an enum; "calling" a member checks its arguments and makes a record or an array. The file cannot
make the reader import a module or call a function.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from fastmlp._types import Array

from ._arrays import array_from_bytes, format_error

__all__ = ["ArrayRecord", "DtypeRecord", "Name", "find_name", "from_buffer", "make_dtype"]


class Name(enum.Enum):
    """The names a pickle may contain."""

    NDARRAY = "numpy.ndarray"
    DTYPE = "numpy.dtype"
    RECONSTRUCT = "numpy.core.multiarray._reconstruct"
    FROM_BUFFER = "numpy.core.numeric._frombuffer"
    ENCODE = "_codecs.encode"
    BYTES = "builtins.bytes"


_NAMES = {
    ("numpy", "ndarray"): Name.NDARRAY,
    ("numpy", "dtype"): Name.DTYPE,
    ("numpy.core.multiarray", "_reconstruct"): Name.RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): Name.RECONSTRUCT,
    ("numpy.core.numeric", "_frombuffer"): Name.FROM_BUFFER,
    ("numpy._core.numeric", "_frombuffer"): Name.FROM_BUFFER,
    ("_codecs", "encode"): Name.ENCODE,
    ("__builtin__", "bytes"): Name.BYTES,
    ("builtins", "bytes"): Name.BYTES,
}


@dataclass
class DtypeRecord:
    """``numpy.dtype``: a number code, and after ``set_state`` its byte order."""

    code: str
    byte_order: str | None = None

    def set_state(self, file_name: str, state: object) -> None:
        """Set the byte order from (3, byte order, None, None, None, -1, -1, 0): a plain number."""
        plain = (None, None, None, -1, -1, 0)
        if (
            self.byte_order is not None
            or not isinstance(state, tuple)
            or len(state) != 8
            or state[0] != 3
            or state[2:] != plain
        ):
            raise format_error(file_name, "the state of a plain number dtype", "another state")
        self.byte_order = text_of(file_name, state[1])


@dataclass
class ArrayRecord:
    """``numpy.ndarray`` as made by ``_reconstruct``: empty until ``set_state`` is called."""

    array: Array | None = None

    def set_state(self, file_name: str, state: object, max_bytes: int) -> None:
        """Set the array from (1, shape, dtype, Fortran order, bytes)."""
        if self.array is not None or not isinstance(state, tuple) or len(state) != 5:
            raise format_error(file_name, "the state of a plain array", "another state")
        version, shape, dtype, fortran, data = state
        if version != 1 or not _is_flag(fortran):
            raise format_error(file_name, "the state of a plain array", "another state")
        self.array = _array(file_name, data, dtype, shape, bool(fortran), max_bytes)


def find_name(file_name: str, module: object, attribute: object) -> Name:
    """Return the member for ``module.attribute``; raise unless the exact name is known."""
    key = (text_of(file_name, module), text_of(file_name, attribute))
    if key not in _NAMES:
        raise format_error(
            file_name,
            "only plain values and number arrays",
            f"a pickle that names {'.'.join(key)[:80]!r}; no code was run",
        )
    return _NAMES[key]


def make_dtype(file_name: str, arguments: tuple[object, ...]) -> DtypeRecord:
    """Return the record of ``numpy.dtype(code, align=False, copy=True)``."""
    if len(arguments) != 3 or not all(_is_flag(flag) for flag in arguments[1:]):
        raise format_error(file_name, "numpy.dtype(code, False, True)", "wrong arguments")
    return DtypeRecord(text_of(file_name, arguments[0]))


def from_buffer(file_name: str, arguments: tuple[object, ...], max_bytes: int) -> ArrayRecord:
    """Return the record of ``_frombuffer(bytes, dtype, shape, order[, axes])``."""
    if len(arguments) not in (4, 5):
        wanted = "_frombuffer(bytes, dtype, shape, order)"
        raise format_error(file_name, wanted, "wrong arguments")
    data, dtype, shape, order_text, *rest = arguments
    order = text_of(file_name, order_text)
    if order not in ("C", "F", "K") or (order == "K") != bool(rest):
        raise format_error(file_name, "an array order 'C', 'F' or 'K'", repr(order)[:40])
    array = _array(file_name, data, dtype, shape, order == "F", max_bytes)
    if order == "K":
        axes = rest[0]
        if (
            not isinstance(axes, tuple)
            or not all(type(axis) is int for axis in axes)
            or sorted(axes) != list(range(array.ndim))
        ):
            raise format_error(file_name, "a permutation of the axes", "other numbers")
        array = array.transpose(axes)
    return ArrayRecord(array)


def text_of(file_name: str, value: object) -> str:
    """Return ``value``, a short ASCII string, as str; Python 2 wrote bytes."""
    if isinstance(value, (str, bytes)) and len(value) <= 256 and value.isascii():
        return value if isinstance(value, str) else value.decode("ascii")
    raise format_error(file_name, "a short ASCII name", f"a value of type {type(value).__name__}")


def _array(
    file_name: str, data: object, dtype: object, shape: object, fortran: bool, max_bytes: int
) -> Array:
    if not isinstance(dtype, DtypeRecord) or not dtype.byte_order:
        raise format_error(file_name, "a dtype with a byte order", "another value")
    if not isinstance(shape, tuple) or not isinstance(data, (bytes, bytearray)):
        raise format_error(
            file_name,
            "a shape and the bytes of the array",
            f"a {type(shape).__name__} and a {type(data).__name__}",
        )
    return array_from_bytes(
        file_name, data, dtype.code, dtype.byte_order, shape, fortran=fortran, max_bytes=max_bytes
    )


def _is_flag(value: object) -> bool:
    """Return whether ``value`` is False or True; Python 2 wrote 0 or 1."""
    return type(value) in (bool, int) and value in (0, 1)
