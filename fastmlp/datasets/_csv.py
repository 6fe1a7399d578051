"""Tables of numbers as text: one sample per line, one column per feature or target."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator

import numpy as np

from fastmlp._types import Array

from ._arrays import MAX_BYTES, format_error
from ._bytestream import ByteStream, open_bytes

__all__ = ["load_csv"]

_BLOCK = 2**20  # bytes parsed at a time
_MAX_LINE = 2**22
_MAX_FIELDS = 2**16
_MAX_EMPTY = 1024  # consecutive newlines
_DELIMITERS = (",", ";", "\t")
_CLASSES = "; if the column holds class names, number them: np.unique(y, return_inverse=True)[1]"
_BOM = b"\xef\xbb\xbf"


def load_csv(
    path: str | os.PathLike[str],
    target: int | str | None = -1,
    *,
    header: bool | None = None,
    delimiter: str | None = None,
    max_bytes: int = MAX_BYTES,
) -> tuple[Array, Array | None]:
    r"""Load a table of numbers: one sample per line, features and a target as columns.

    Parameters
    ----------
    path : str or path
        Text in UTF-8, plain or gzip.
    target : int or str or None, default=-1
        The target column: its index (negative indices count from the end) or, with a header, its
        name. None if the table has no target.
    header : bool, optional
        Whether the first line holds the column names. By default it does if any of its fields is
        not a number.
    delimiter : str, optional
        The character between fields. By default comma, semicolon or tab, whichever occurs most
        often in the first line.
    max_bytes : int, default=4 GiB
        Limit on the unpacked size of the file.

    Returns
    -------
    x : array of shape (N, columns - 1), or (N, columns) without a target, float64
    y : array of shape (N,), or None without a target
        int64 if all values are whole numbers, so that they serve as labels; otherwise float64.

    Raises
    ------
    FastmlpFormatError
        If a field is empty or not a finite number, or if the number of fields differs between
        lines; the message names the line and the column. Also if the file is damaged, too large,
        or has no line of numbers.
    ValueError, TypeError
        If there is no such target column, or another argument is invalid.
    OSError
        If the file cannot be opened or read.

    Notes
    -----
    Numbers follow Python's syntax, with a decimal point. Empty lines are skipped but count in line
    numbers. Fields may be in double quotes, but cannot contain a newline.

    Examples
    --------
    >>> import os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "iris.csv")
    ...     with open(path, "w") as file:
    ...         _ = file.write("width,length,species\n3.5,1.4,0\n2.9,4.3,1\n")
    ...     x, y = load_csv(path, target="species")
    >>> x.tolist(), y.tolist()
    ([[3.5, 1.4], [2.9, 4.3]], [0, 1])
    """
    if delimiter is not None and (not isinstance(delimiter, str) or len(delimiter) != 1):
        raise ValueError(f"load_csv: delimiter must be one character, got {delimiter!r}.")
    if header not in (None, True, False):
        raise TypeError(f"load_csv: header must be True, False or None, got {header!r}.")
    if isinstance(target, bool) or not (target is None or isinstance(target, (int, str))):
        raise TypeError(f"load_csv: target must be the index or name of a column, got {target!r}.")
    with open_bytes(path, max_bytes) as stream:
        table = _Table(stream.name, delimiter)
        column: int | None = None
        blocks = []
        for first, lines in _blocks(stream):
            if not table.names:
                taken = table.begin(first, lines, header)
                lines = lines[taken:]
                first += taken
                if not table.names:
                    continue
                column = table.target = _column(target, table)
            blocks.append(table.parse(first, lines))
        stream.check_end()
    rows = np.concatenate(blocks) if blocks else np.empty((0, 0))
    if not len(rows):
        raise format_error(table.name, "at least one line of numbers", "none")
    if column is None:
        return rows, None
    y = rows[:, column].copy()
    if np.all(y == np.trunc(y)) and np.abs(y).max() < 2**53:
        y = y.astype(np.int64)
    return np.delete(rows, column, axis=1), y


def _blocks(stream: ByteStream) -> Iterator[tuple[int, list[bytes]]]:
    """Yield lists of complete lines, each with the number of its first line."""
    number, rest = 1, b""
    while data := stream.read_some(_BLOCK):
        if number == 1 and not rest and data.startswith(_BOM):
            data = data[len(_BOM) :]
        text = (rest + data).replace(b"\r\n", b"\n")
        if b"\n" * _MAX_EMPTY in text:
            wanted = f"at most {_MAX_EMPTY - 2} consecutive empty lines"
            raise format_error(stream.name, wanted, "more")
        lines = text.split(b"\n")
        rest = lines.pop()
        if len(rest) > _MAX_LINE:
            where = f"{stream.name}, line {number + len(lines)}"
            raise format_error(where, f"lines of at most {_MAX_LINE} bytes", "a longer one")
        if lines:
            yield number, lines
        number += len(lines)
    if rest:
        yield number, [rest.rstrip(b"\r")]


def _column(target: int | str | None, table: _Table) -> int | None:
    """Return the index of the target column, at least 0, or None without a target."""
    names = table.names
    if target is None:
        return None
    if isinstance(target, str):
        if not table.has_header or target not in names:
            if not table.has_header:
                raise ValueError(
                    f"load_csv: target must be the index of a column, got {target!r}: the file has "
                    "no header with names."
                )
            known = ", ".join(names)[:200]
            raise ValueError(
                f"load_csv: target must be the name of a column ({known}), got {target!r}."
            )
        if names.count(target) > 1:
            raise ValueError(
                f"load_csv: target must name one column, got {target!r}, which names "
                f"{names.count(target)}. Pass the index of the column."
            )
        return names.index(target)
    if not -len(names) <= target < len(names):
        raise ValueError(
            f"load_csv: target must be from {-len(names)} to {len(names) - 1} for {len(names)} "
            f"columns, got {target}."
        )
    return target % len(names)


class _Table:
    """The column names of a table, and the conversion of lines to rows."""

    def __init__(self, name: str, delimiter: str | None) -> None:
        self.name = name
        self.names: list[str] = []
        self.has_header = False
        self.target: int | None = None
        self._delimiter = delimiter or ","
        self._detects = delimiter is None

    def begin(self, first: int, lines: list[bytes], header: bool | None) -> int:
        """Read names and delimiter from the first non-empty line; return how many lines to skip."""
        for index, line in enumerate(lines):
            if not line.strip():
                continue
            text = self._text(first + index, line)
            if self._detects:
                self._delimiter = max(_DELIMITERS, key=text.count)
            fields = self._fields(first + index, text)
            self.has_header = header is True or (header is None and not all(map(_maybe, fields)))
            self.names = fields if self.has_header else [str(i) for i in range(len(fields))]
            return index + 1 if self.has_header else index
        return len(lines)

    def parse(self, first: int, lines: list[bytes]) -> Array:
        """Return one row per non-empty line; ``first`` is the number of the first line."""
        given = [line for line in lines if line.strip()]
        width = len(self.names)
        if not given:
            return np.empty((0, width))
        joined = b"\n".join(given)
        try:
            # numpy's parser is fast, but reads quotes, comments and non-ASCII digits differently.
            if b'"' in joined or b"#" in joined or not joined.isascii():
                raise ValueError
            text = io.StringIO(joined.decode("ascii"))
            rows = np.loadtxt(text, np.float64, delimiter=self._delimiter, comments=None, ndmin=2)
            if rows.shape == (len(given), width) and np.isfinite(rows).all():
                return rows
        except ValueError:
            pass
        # A field is invalid or quoted: parse line by line, which finds the line and the column.
        numbered = enumerate(lines, first)
        return np.array([self._row(number, line) for number, line in numbered if line.strip()])

    def _row(self, number: int, line: bytes) -> list[float]:
        fields = self._fields(number, self._text(number, line))
        if len(fields) != len(self.names):
            where = f"{self.name}, line {number}"
            raise format_error(where, f"{len(self.names)} fields", str(len(fields)))
        return [self._number(number, index, field) for index, field in enumerate(fields)]

    def _number(self, number: int, index: int, field: str) -> float:
        where = f"{self.name}, line {number}, column {self.names[index][:80]!r}"
        if not field:
            raise format_error(where, "a number", "an empty field")
        value = _float(field)
        if value is None:
            hint = _CLASSES if index == self.target else ""
            raise format_error(where, "a number", repr(field[:40]) + hint)
        if not np.isfinite(value):
            raise format_error(where, "a finite number", repr(field[:40]))
        return value

    def _text(self, number: int, line: bytes) -> str:
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            where = f"{self.name}, line {number}"
            raise format_error(where, "UTF-8 text", repr(line[:40])) from None

    def _fields(self, number: int, text: str) -> list[str]:
        if text.count(self._delimiter) >= _MAX_FIELDS:
            where = f"{self.name}, line {number}"
            raise format_error(where, f"at most {_MAX_FIELDS} fields", "more")
        try:
            (fields,) = csv.reader([text], delimiter=self._delimiter, strict=True)
        except (csv.Error, ValueError) as error:
            where = f"{self.name}, line {number}"
            raise format_error(where, "fields between delimiters", str(error)[:80]) from None
        return [field.strip() for field in fields]


def _maybe(field: str) -> bool:
    """Return whether a field of the first line may be data: a number, or empty."""
    return not field or _float(field) is not None


def _float(field: str) -> float | None:
    """Return ``field`` as a number in Python's syntax without underscores; None if it is none."""
    try:
        return None if "_" in field or len(field) > 400 else float(field)
    except ValueError:
        return None
