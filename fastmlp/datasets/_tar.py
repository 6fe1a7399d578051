"""Tar archives as a stream of members: nothing is extracted, and no link is followed.

Only what an archive of data files needs is read: regular files and folders, of plain names. Links,
devices, sparse files, long names and members that would lie elsewhere are refused, because a data
set has none. The names are compared with those that a loader looks for; no file system sees them.
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
_EXTENSIONS = (b"x", b"g")  # of POSIX 2001: times, owners; also names and sizes, which are refused
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
    """Return the data of those members whose last name is in ``wanted``, by that name.

    Parameters
    ----------
    stream : ByteStream
        The archive; its own limit holds for all members together.
    wanted : iterable of str
        Names without folders.
    max_member_bytes : int
        Limit of each; members that are not wanted may have 1 MiB.

    Raises
    ------
    FastmlpFormatError
        If the archive is damaged, has a member of another kind, of a path that leaves its folder,
        or the same member twice.

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
            raise format_error(inside, "each member once", "a duplicate")
        limit = max_member_bytes if taken else _MAX_OTHER_BYTES
        if size > limit:
            raise format_error(inside, f"at most {limit} bytes", str(size))
        data = stream.read_large(size)
        stream.read(-size % _BLOCK)
        if kind in _EXTENSIONS and any(change in data for change in _CHANGES_MEMBER):
            raise format_error(inside, "members of plain names", "a header that changes one")
        if taken:
            found[last] = data
    raise format_error(stream.name, f"at most {_MAX_MEMBERS} members", "more")


def _parse(stream: ByteStream, header: bytes) -> tuple[str, bytes, int]:
    """Return (path, kind, size) of a header, after its checksum."""
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
        got = _REFUSED.get(kind, f"one of type {kind!r}")
        raise format_error(inside, "a file or a folder", got)
    if size is None or (kind == _FOLDER and size):
        raise format_error(inside, "a size in octal digits", "another size")
    if path.startswith("/") or ".." in path.split("/") or "\\" in path:
        raise format_error(inside, "a path inside the archive", "one that leaves it")
    return path, kind, size


def _octal(field: bytes) -> int | None:
    digits = field.strip(b" \0")
    if not digits or any(digit not in b"01234567" for digit in digits):
        return None
    return int(digits, 8)


def _check_padding(stream: ByteStream) -> None:
    """Check that only zeros follow, as tar fills its last record."""
    left = _MAX_PADDING
    while data := stream.read_some(_BLOCK * 128):
        left -= len(data)
        if left < 0 or data.strip(b"\0"):
            raise format_error(stream.name, "the end of the archive", "more data")
