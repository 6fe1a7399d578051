"""The stack machine of the pickle format, with inert records as values and with limits."""

from __future__ import annotations

import struct
from typing import Any

from ._arrays import format_error
from ._bytestream import ByteStream
from ._pickle_records import ArrayRecord, DtypeRecord, Name

__all__ = ["LARGE", "Machine"]

LARGE = 2**20
"""Blocks longer than this many bytes are read in pieces and become the memory of arrays."""

MAX_DEPTH = 32
MAX_LINE = 2**24
MAX_VALUES = 50_000
_SPARE_BYTES = 2**20


class Machine:
    """The stack, the memo and the limits for reading one pickle."""

    def __init__(self, stream: ByteStream) -> None:
        self.stream = stream
        self.name = stream.name
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.built = 0
        self.used: set[int] = set()
        self.n_values = 0

    def error(self, expected: str, got: str) -> Exception:
        """Return a format error with the current position."""
        return format_error(self.name, expected, f"{got} (position {self.stream.position})")

    def pop(self) -> Any:
        if not self.stack:
            raise self.error("a value on the stack", "none")
        return self.stack.pop()

    def top(self, kind: type) -> Any:
        """Return the top of the stack; raise unless its type is ``kind``."""
        if not self.stack or type(self.stack[-1]) is not kind:
            raise self.error(f"a {kind.__name__} on the stack", "something else")
        return self.stack[-1]

    def pop_to_mark(self) -> list[Any]:
        if not self.marks:
            raise self.error("a mark on the stack", "none")
        values, self.stack = self.stack, self.marks.pop()
        return values

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.stream.read(struct.calcsize(form)))[0]

    def data(self, length: int) -> bytes | bytearray:
        """Return ``length`` bytes; a large block as a bytearray, the later memory of an array."""
        if length < 0:
            raise self.error("a non-negative length", str(length))
        return self.stream.read(length) if length <= LARGE else self.stream.read_large(length)

    def line(self) -> bytes:
        return self.stream.read_line(MAX_LINE)

    def spend(self, n: int) -> None:
        """Count bytes built: each byte of the file may be re-encoded once and used once."""
        self.built += n
        if self.built > 2 * self.stream.position + _SPARE_BYTES:
            raise self.error("separate bytes for each array", "bytes shared by several arrays")

    def own(self, data: object) -> object:
        """Return the bytes for an array: one array may use a large block, others get copies."""
        if isinstance(data, (bytes, bytearray)):
            self.spend(len(data))
            if isinstance(data, bytearray):
                if id(data) in self.used:
                    return bytes(data)
                self.used.add(id(data))
        return data

    def plain(self, value: Any, depth: int = 0) -> Any:
        """Return ``value`` with records replaced by arrays; copy and count its containers."""
        self.n_values += 1
        if depth > MAX_DEPTH or self.n_values > MAX_VALUES:
            raise self.error(f"at most {MAX_DEPTH} levels and {MAX_VALUES} values", "more")
        kind = type(value)
        if kind is tuple:
            return tuple([self.plain(item, depth + 1) for item in value])
        if kind is list:
            return [self.plain(item, depth + 1) for item in value]
        if kind is dict:
            return {key: self.plain(item, depth + 1) for key, item in value.items()}
        if kind is ArrayRecord and value.array is not None:
            return value.array
        if kind is bytearray:
            self.spend(len(value))
            return bytes(value)
        if kind in (ArrayRecord, DtypeRecord, Name):
            raise self.error("plain values and complete arrays", f"a bare {kind.__name__}")
        return value
