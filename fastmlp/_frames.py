"""Data frames and series of pandas, polars and similar libraries, recognized by their methods.

No library is imported: a series has ``to_numpy``, and a data frame also has ``columns``. numpy
could convert them without this module, but its messages would not contain the column.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from fastmlp._types import Array

__all__ = ["is_frame", "to_array"]

_NUMBERS = ("f", "i", "u", "b")


def is_frame(value: Any) -> bool:
    """Return whether ``value`` is a data frame or a series."""
    return not isinstance(value, (np.ndarray, np.generic)) and hasattr(value, "to_numpy")


def to_array(value: Any, name: str) -> Array:
    """Return the numbers of a frame (N, columns) or of a series (N,).

    Raises
    ------
    TypeError
        If an element is not a number.
    ValueError
        If an element is missing or not finite.
    """
    if hasattr(value, "columns"):
        # Columns are checked without their rows, because numpy may convert dates to integers.
        for label, column in _columns(value[:0]):
            _check_dtype(np.asarray(column.to_numpy()), label, name)
    result = np.asarray(value.to_numpy())
    if result.dtype.kind in _NUMBERS:
        if result.ndim > 1 and not hasattr(value, "columns"):
            return result  # not a table
        # As for arrays, a sum is finite unless an element is not, or it overflows.
        with np.errstate(all="ignore"):
            if result.dtype.kind != "f" or np.isfinite(result.sum()):
                return result
        for label, column in _columns(value):
            _check_finite(_column(column, label, name), label, name)
        return result
    columns = [_column(column, label, name) for label, column in _columns(value)]
    for (label, _), column in zip(_columns(value), columns, strict=True):
        _check_finite(column, label, name)
    if hasattr(value, "columns"):
        return np.column_stack(columns) if columns else np.empty((len(value), 0))
    return columns[0]


def _columns(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the label and the values of each column; for a series, its name and itself."""
    if not hasattr(value, "columns"):
        yield getattr(value, "name", None), value
        return
    by_place = getattr(value, "iloc", None)  # pandas only, where labels may occur twice
    for place, label in enumerate(value.columns):
        yield label, value[label] if by_place is None else by_place[:, place]


def _column(series: Any, label: Any, name: str) -> Array:
    """Return the numbers of one column."""
    values = np.asarray(series.to_numpy())
    if values.dtype.kind in _NUMBERS:
        return values
    _check_dtype(values, label, name)
    for row, item in enumerate(values.flat):
        if item is None or type(item).__name__ in ("NAType", "NaTType"):
            raise ValueError(f"{name} must hold numbers, got a missing value{_place(label, row)}.")
        if not isinstance(item, (int, float, np.number, np.bool_)):
            text = repr(item)
            text = text if len(text) <= 60 else text[:57] + "..."
            raise TypeError(f"{name} must hold numbers, got {text}{_place(label, row)}.")
    result = np.array(values.tolist())
    if result.dtype.kind not in _NUMBERS:
        raise TypeError(f"{name} must hold real numbers, got {result.dtype}{_place(label)}.")
    return result


def _check_dtype(values: Array, label: Any, name: str) -> None:
    if values.dtype.kind not in (*_NUMBERS, "O", "U", "S"):
        raise TypeError(f"{name} must hold numbers, got {values.dtype}{_place(label)}.")


def _check_finite(values: Array, label: Any, name: str) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        row = int(finite.argmin())
        got = values[row].item()
        what = "a missing value (nan)" if math.isnan(got) else repr(got)
        raise ValueError(f"{name} must hold finite numbers, got {what}{_place(label, row)}.")


def _place(label: Any, row: int | None = None) -> str:
    where = "" if label is None or label == "" else f" in column {label!r}"
    return where if row is None else f"{where} at row {row}"
