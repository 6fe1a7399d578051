"""Checked streams of bytes from plain or gzip files.

Gzip is recognised by its first bytes, never by the file name. It is unpacked while it is read, so
a reader never holds more bytes than it asks for. Invalid bytes raise FastmlpFormatError; a missing
or unreadable file raises OSError as usual.
"""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from ._arrays import MAX_BYTES, format_error

__all__ = ["ByteStream", "open_bytes"]

_CHUNK = 1 << 18
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW = 31  # zlib's code for: gzip header and trailer, largest window
_WEB_PAGE_STARTS = (b"<!doctype", b"<html", b"<?xml", b"<head")


class ByteStream:
    """Exact reads from a file, with a limit on their sum.

    Parameters
    ----------
    file : binary file object
        Read from its current position.
    name : str
        Name of the file in messages.
    max_bytes : int
        Limit on the unpacked bytes read in total.
    """

    def __init__(self, file: BinaryIO, name: str, max_bytes: int = MAX_BYTES) -> None:
        self.name = name
        self.max_bytes = max_bytes
        self.position = 0
        self._file = file

    def read(self, n: int) -> bytes:
        """Return exactly ``n`` bytes."""
        data = self._file.read(self._spend(n))
        if len(data) != n:
            raise self._truncated(n, len(data))
        return data

    def read_large(self, n: int) -> bytearray:
        """Return exactly ``n`` bytes; memory grows with the bytes present, not with ``n``."""
        self._spend(n)
        data = bytearray()
        while len(data) < n:
            chunk = self._file.read(min(_CHUNK, n - len(data)))
            if not chunk:
                raise self._truncated(n, len(data))
            data += chunk
        return data

    def read_line(self, max_length: int) -> bytes:
        """Read the next line; return it without its newline."""
        line = self._file.readline(max_length + 1)
        self._spend(len(line))
        if not line.endswith(b"\n"):
            if len(line) > max_length:
                raise format_error(
                    self.name, f"lines of at most {max_length} bytes", "a longer one"
                )
            raise self._truncated(len(line) + 1, len(line))
        return line[:-1]

    def read_some(self, n: int) -> bytes:
        """Return up to ``n`` bytes; no bytes at the end."""
        data = self._file.read(n)
        self._spend(len(data))
        return data

    def check_end(self) -> None:
        """Raise if more data follow, or if the checksum of a gzip file is wrong."""
        if self._file.read(1):
            raise format_error(self.name, f"the end after {self.position} bytes", "more bytes")

    def _spend(self, n: int) -> int:
        self.position += n
        if self.position > self.max_bytes:
            raise format_error(
                self.name, f"at most {self.max_bytes} bytes", f"at least {self.position}"
            )
        return n

    def _truncated(self, n: int, present: int) -> Exception:
        start = self.position - n
        return format_error(
            self.name, f"{n} bytes at position {start}", f"{present}: the file is truncated"
        )


@contextmanager
def open_bytes(path: str | os.PathLike[str], max_bytes: int = MAX_BYTES) -> Iterator[ByteStream]:
    """Open a plain or gzip file; reject an empty file and a web page saved in its place."""
    name = os.fspath(path)
    with open(path, "rb") as file:
        stream: BinaryIO = file
        if file.peek(2)[:2] == _GZIP_MAGIC:
            stream = io.BufferedReader(_GzipMember(file, name), _CHUNK)
            start = stream.peek(64)
        else:
            start = file.peek(64)
        if not start:
            raise format_error(name, "data", "an empty file")
        if start[:64].lstrip().lower().startswith(_WEB_PAGE_STARTS):
            raise format_error(
                name, "data", "a web page (HTML or XML): the download failed, download it again"
            )
        yield ByteStream(stream, name, max_bytes)


class _GzipMember(io.RawIOBase):
    """The unpacked bytes of a gzip file with exactly one member and no data after it."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = file
        self._name = name
        self._inflate = zlib.decompressobj(_GZIP_WINDOW)
        self._input = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = b""
        while not data and not self._inflate.eof:
            packed = self._input or self._file.read(_CHUNK)
            if not packed:
                raise format_error(self._name, "a complete gzip file", "a truncated one")
            try:
                data = self._inflate.decompress(packed, len(buffer))
            except zlib.error as error:
                raise format_error(self._name, "a gzip file", f"a damaged one ({error})") from None
            self._input = self._inflate.unconsumed_tail
        if not data and (self._inflate.unused_data or self._file.read(1)):
            raise format_error(self._name, "one gzip stream", "more data after its end")
        buffer[: len(data)] = data
        return len(data)
