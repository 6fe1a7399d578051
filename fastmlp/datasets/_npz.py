"""Numpy's npz files: zip archives of npy members, checked completely before unpacking.

The reader accepts the files that ``np.savez`` and ``np.savez_compressed`` write for arrays of
plain numbers: stored or deflated members, no encryption, no archive comment, no overlap between
members, and consistent sizes. Headers are matched by a pattern and never evaluated.
"""

from __future__ import annotations

import os
import re
import struct
import zipfile
import zlib
from typing import BinaryIO

from fastmlp._types import Array
from fastmlp.errors import FastmlpFormatError

from ._arrays import MAX_BYTES, array_from_bytes, byte_count, format_error

__all__ = ["load_npz", "read_npz"]

_MAX_MEMBERS = 1024
_MAX_DIRECTORY_BYTES = 2**20
_MAX_HEADER_BYTES = 10_000
_MAX_DEFLATE_RATIO = 1032
_CHUNK = 2**20

_END_RECORD = struct.Struct("<4s4H2LH")
_ZIP64_LOCATOR_BYTES = 20
_LOCAL_HEADER = struct.Struct("<4s22x2H")
_ENCRYPTED_FLAGS = 0x1 | 0x40 | 0x2000

_NPY_HEADER = re.compile(
    rb"\{\s*'descr':\s*'([<>|])([a-z][0-9]{1,2})',\s*'fortran_order':\s*(True|False),"
    rb"\s*'shape':\s*\(([0-9L, ]*)\),?\s*\}\s*"
)
_LENGTH = re.compile(rb" *([0-9]{1,19})L? *")

# The exceptions of zipfile for invalid archives.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    EOFError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
    zlib.error,
)


def load_npz(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> dict[str, Array]:
    """Load all arrays from an npz file; pickled arrays are refused.

    Parameters
    ----------
    path : str or path
        A file written by ``np.savez`` or ``np.savez_compressed``.
    max_bytes : int, default=4 GiB
        Limit on the total unpacked size of the members.

    Returns
    -------
    arrays : dict of str to array
        In the order of the file, with shapes and types as saved, in native byte order.

    Raises
    ------
    FastmlpFormatError
        If the file is damaged, too large, or contains anything but arrays of plain numbers.
    OSError
        If the file cannot be opened or read.

    Notes
    -----
    The total size is compared with the limit before memory is allocated. Peak memory is about the
    size of the arrays.

    References
    ----------
    NumPy Enhancement Proposal 1, "A simple file format for NumPy arrays".

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "points.npz")
    ...     np.savez(path, x=np.zeros((3, 2)), y=np.arange(3))
    ...     arrays = load_npz(path)
    >>> {key: array.shape for key, array in arrays.items()}
    {'x': (3, 2), 'y': (3,)}
    """
    with open(path, "rb") as file:
        return read_npz(file, os.fspath(path), max_bytes=max_bytes)


def read_npz(file: BinaryIO, name: str, *, max_bytes: int = MAX_BYTES) -> dict[str, Array]:
    """Return the arrays of an open npz file; ``name`` is its name in messages."""
    directory = _check_end_record(file, name)
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _check_members(file, name, members, directory, max_bytes)
            return {
                member.filename[: -len(".npy")]: _read_member(archive, member, name, max_bytes)
                for member in members
            }
    except FastmlpFormatError:
        raise
    except _ZIP_ERRORS as error:
        raise format_error(name, "an npz file", f"a damaged one ({error})") from None


def _check_end_record(file: BinaryIO, name: str) -> int:
    """Check the last 22 bytes of the file; return the offset of the directory."""
    size = file.seek(0, os.SEEK_END)
    tail_size = min(size, _END_RECORD.size + _ZIP64_LOCATOR_BYTES)
    file.seek(size - tail_size)
    tail = file.read(tail_size)
    file.seek(0)
    if tail_size < _END_RECORD.size or tail[-_END_RECORD.size :][:4] != b"PK\x05\x06":
        raise format_error(name, "an npz file", _describe_start(file))
    _, disk, start_disk, here, count, length, offset, comment = _END_RECORD.unpack(
        tail[-_END_RECORD.size :]
    )
    if (
        disk
        or start_disk
        or here != count
        or comment
        or offset + length + _END_RECORD.size != size
        or tail.startswith(b"PK\x06\x07")
    ):
        raise format_error(name, "an npz file written by numpy", "another kind of zip archive")
    if count > _MAX_MEMBERS or length > _MAX_DIRECTORY_BYTES:
        raise format_error(name, f"at most {_MAX_MEMBERS} arrays", f"{count} members")
    return int(offset)


def _describe_start(file: BinaryIO) -> str:
    start = file.read(64)
    if not start:
        return "an empty file"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page (HTML or XML): the download failed, download it again"
    if start.startswith(b"PK"):
        return "a zip archive that is truncated or has data after its end"
    return f"a file that starts with {start[:8].hex(' ')}"


def _check_members(
    file: BinaryIO,
    name: str,
    members: list[zipfile.ZipInfo],
    directory: int,
    max_bytes: int,
) -> None:
    """Check names, kinds, sizes and offsets of all members before any is unpacked."""
    seen: set[str] = set()
    total = 0
    for member in members:
        inside = f"{name}:{member.filename[:80]!a}"
        if not member.filename.endswith(".npy") or member.filename == ".npy":
            raise format_error(inside, "a member named *.npy", "another name")
        if member.filename in seen:
            raise format_error(inside, "unique names", "a duplicate")
        seen.add(member.filename)
        if member.flag_bits & _ENCRYPTED_FLAGS:
            raise format_error(inside, "no encryption", "an encrypted member")
        if member.compress_type == zipfile.ZIP_STORED:
            possible = member.compress_size
        elif member.compress_type == zipfile.ZIP_DEFLATED:
            possible = member.compress_size * _MAX_DEFLATE_RATIO
        else:
            got = f"compression type {member.compress_type}"
            raise format_error(inside, "stored or deflated data", got)
        if member.file_size > possible:
            raise format_error(
                inside,
                f"at most {possible} bytes from {member.compress_size} compressed bytes",
                f"a declared size of {member.file_size}",
            )
        total += member.file_size
    if total > max_bytes:
        raise format_error(name, f"at most {max_bytes} unpacked bytes", str(total))
    _check_places(file, name, members, directory)


def _check_places(
    file: BinaryIO, name: str, members: list[zipfile.ZipInfo], directory: int
) -> None:
    """Check that members do not overlap each other or the directory."""
    free_from = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        inside = f"{name}:{member.filename[:80]!a}"
        start = member.header_offset
        if not free_from <= start <= directory - _LOCAL_HEADER.size:
            raise format_error(inside, "members that do not overlap", "overlapping members")
        file.seek(start)
        magic, name_size, extra_size = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        free_from = start + _LOCAL_HEADER.size + name_size + extra_size + member.compress_size
        if magic != b"PK\x03\x04" or free_from > directory:
            raise format_error(inside, "a member before the directory", "a wrong offset")


def _read_member(
    archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str, max_bytes: int
) -> Array:
    """Return one array, after checking that its header agrees with the size of the member."""
    inside = f"{name}:{member.filename[:80]!a}"
    with archive.open(member) as stream:
        start = stream.read(8)
        length_form = {b"\x93NUMPY\x01\x00": "<H", b"\x93NUMPY\x02\x00": "<I"}.get(start)
        if length_form is None:
            raise format_error(inside, "an npy array of version 1 or 2", start.hex(" ") or "none")
        width = struct.calcsize(length_form)
        (header_size,) = struct.unpack(length_form, stream.read(width))
        if header_size > _MAX_HEADER_BYTES:
            raise format_error(
                inside, f"a header of at most {_MAX_HEADER_BYTES} bytes", str(header_size)
            )
        byte_order, code, fortran, shape = _parse_header(inside, stream.read(header_size))
        need = byte_count(inside, code, shape, max_bytes)
        present = member.file_size - len(start) - width - header_size
        if need != present:
            raise format_error(
                inside, f"{need} bytes for shape {shape} of {code}", f"{present} bytes"
            )
        data = bytearray()
        while chunk := stream.read(min(_CHUNK, need + 1 - len(data))):
            data += chunk
    return array_from_bytes(
        inside, data, code, byte_order, shape, fortran=fortran, max_bytes=max_bytes
    )


def _parse_header(inside: str, header: bytes) -> tuple[str, str, bool, tuple[int, ...]]:
    """Return (byte order, number code, Fortran order, shape) of an npy header."""
    match = _NPY_HEADER.fullmatch(header)
    if match is None:
        raise format_error(inside, "the header of an array of plain numbers", repr(header[:80]))
    byte_order, code, fortran, lengths = match.groups()
    parts = lengths.split(b",")
    if not parts[-1].strip():
        parts.pop()
    matches = [_LENGTH.fullmatch(part) for part in parts]
    shape = tuple(int(match[1]) for match in matches if match is not None)
    if len(shape) != len(parts):
        raise format_error(inside, "a shape of integers", repr(lengths[:80]))
    return byte_order.decode(), code.decode(), fortran == b"True", shape
