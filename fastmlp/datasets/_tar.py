"""Tar archives, read as a stream of members without extracting files or following links.

The reader accepts regular files and folders with plain names. It rejects links, devices, sparse
files, long names and paths outside the archive, because a data set has none of them. Names are
compared with the names that a loader asks for and never reach the file system.
"""

from __future__ import annotations

from collections.abc import Iterable

from ._arrays import format_error
from ._bytestream import ByteStream

__all__ = ["read_members"]

_BLOCK = 512
_MAX_MEMBERS = 1024
_MAX_OTHER_BYTES = 2**20
_MAX_PADDING = 2**20
_REGULAR, _FOLDER = (b"0", b"\0"), b"5"
# The pax headers of POSIX 2001 hold times and owners; names and sizes in them are refused.
_EXTENSIONS = (b"x", b"g")
_REFUSED = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"6": "a named pipe",
    b"K": "a long name",
    b"L": "a long name",
    b"S": "a sparse file",
}
_CHANGES_MEMBER = (b" path=", b" linkpath=", b" size=", b" GNU.sparse")


def read_members(
    stream: ByteStream, wanted: Iterable[str], max_member_bytes: int
) -> dict[str, bytearray]:
    """Return the data of all members with a file name in ``wanted``, by file name.

    Parameters
    ----------
    stream : ByteStream
        The archive; the limit of the stream holds for all members together.
    wanted : iterable of str
        File names without folders.
    max_member_bytes : int
        Size limit for each wanted member; the limit for other members is 1 MiB.

    Raises
    ------
    FastmlpFormatError
        If the archive is damaged, or has a member of another kind, with a path outside the
        archive, or with the file name of an earlier member.

    References
    ----------
    POSIX.1-1988 (ustar), and the pax headers of POSIX.1-2001.
    """
    names = set(wanted)
    found: dict[str, bytearray] = {}
    for _ in range(_MAX_MEMBERS):
        header = stream.read(_BLOCK)
        if header == bytes(_BLOCK):
            _check_padding(stream)
            return found
        path, kind, size = _parse(stream, header)
        last = path.rsplit("/", 1)[-1]
        taken = kind in _REGULAR and last in names
        inside = f"{stream.name}:{path[:80]!a}"
        if taken and last in found:
            raise format_error(inside, "unique members", "a duplicate")
        limit = max_member_bytes if taken else _MAX_OTHER_BYTES
        if size > limit:
            raise format_error(inside, f"at most {limit} bytes", str(size))
        data = stream.read_large(size)
        stream.read(-size % _BLOCK)
        if kind in _EXTENSIONS and any(change in data for change in _CHANGES_MEMBER):
            raise format_error(inside, "plain names and sizes", "a header that changes them")
        if taken:
            found[last] = data
    raise format_error(stream.name, f"at most {_MAX_MEMBERS} members", "more")


def _parse(stream: ByteStream, header: bytes) -> tuple[str, bytes, int]:
    """Check a header; return its (path, kind, size)."""
    stated = _octal(header[148:156])
    if stated != sum(header) - sum(header[148:156]) + 8 * ord(" "):
        raise format_error(stream.name, "a tar archive", "a damaged header")
    name, prefix = header[:100].split(b"\0")[0], b""
    if header[257:263] == b"ustar\0":
        prefix = header[345:500].split(b"\0")[0]
    path = (prefix + b"/" + name if prefix else name).decode("ascii", "replace")
    kind, size = header[156:157], _octal(header[124:136])
    inside = f"{stream.name}:{path[:80]!a}"
    if kind not in (*_REGULAR, _FOLDER, *_EXTENSIONS):
        got = _REFUSED.get(kind, f"a member of type {kind!r}")
        raise format_error(inside, "a file or a folder", got)
    if size is None or (kind == _FOLDER and size):
        raise format_error(inside, "a size in octal digits", "an invalid size")
    if path.startswith("/") or ".." in path.split("/") or "\\" in path:
        raise format_error(inside, "a path inside the archive", "a path outside it")
    return path, kind, size


def _octal(field: bytes) -> int | None:
    digits = field.strip(b" \0")
    if not digits or any(digit not in b"01234567" for digit in digits):
        return None
    return int(digits, 8)


def _check_padding(stream: ByteStream) -> None:
    """Check that only zeros follow, the padding of the last record."""
    left = _MAX_PADDING
    while data := stream.read_some(_BLOCK * 128):
        left -= len(data)
        if left < 0 or data.strip(b"\0"):
            raise format_error(stream.name, "the end of the archive", "more data")
