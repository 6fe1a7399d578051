"""HDF5 files, read through h5py, with all features refused that reach outside the requested data.

The HDF5 library follows links to other files, loads filters as plug-ins and unpacks a chunk to
any size. Therefore paths are resolved one link at a time, a data set is checked completely before
memory is allocated, and compressed chunks are first unpacked here, up to their expected size.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

import numpy as np

from fastmlp._types import Array
from fastmlp.errors import FastmlpFormatError

from ._arrays import MAX_BYTES, byte_count, format_error
from ._bytestream import open_bytes

__all__ = ["load_hdf5"]

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_DEFLATE, _SHUFFLE, _CHECKSUM = 1, 2, 3
_MAX_RATIO = 1032  # largest compression ratio of deflate
_MAX_TEXT = 1024  # bytes per fixed-length string
_MAX_CHUNKS = 2**20
_MAX_ARRAYS = 1024
_MAX_DEPTH = 32


def load_hdf5(
    path: str | os.PathLike[str], *keys: str | Iterable[str], max_bytes: int = MAX_BYTES
) -> dict[str, Array]:
    """Load arrays from an HDF5 file.

    Parameters
    ----------
    path : str or path
        The file.
    *keys : str, or one list of str
        Names of data sets, such as ``"x"`` or ``"group/x"``. By default all data sets are loaded.
    max_bytes : int, default=4 GiB
        Limit on the total size of the arrays.

    Returns
    -------
    arrays : dict of str to array
        In the order of ``keys``, with shapes and types as stored, in native byte order.
        Fixed-length strings become arrays of bytes (``"S16"``).

    Raises
    ------
    ImportError
        If h5py is missing. Install it with the extra ``fastmlp[data]``.
    KeyError
        If the file contains no data set of that name; the message lists the names it contains.
    FastmlpFormatError
        If the file is damaged or too large, or contains a feature that is refused: external and
        soft links, external storage, virtual data sets, references, objects, and filters other
        than gzip, shuffle and fletcher32.
    OSError
        If the file cannot be opened or read.

    Notes
    -----
    Sizes are compared with the limit and with the size of the file before memory is allocated. The
    HDF5 library, a large C library, reads the bytes themselves, and a malicious file may crash it.
    For files from untrusted sources, npz and safetensors are safer formats.

    References
    ----------
    The HDF Group, HDF5 File Format Specification, version 3.0.
    """
    wanted = _names(keys)
    try:
        import h5py  # an optional dependency, and slow to import
    except ImportError:
        hint = 'pip install "fastmlp[data]"'
        raise ImportError(f"load_hdf5 needs h5py: {hint}", name="h5py") from None
    name = os.fspath(path)
    with open_bytes(path) as stream:
        start = stream.read_some(len(_SIGNATURE))
    if start != _SIGNATURE:
        raise format_error(name, "an HDF5 file", f"a file that starts with {start.hex(' ')}")
    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            reader = _Reader(h5py, name, os.stat(path).st_size, max_bytes)
            found = dict(reader.find(file, key) for key in wanted) if wanted else reader.all(file)
            for key, data in found.items():
                reader.check(key, data)
            return {key: reader.read(key, data) for key, data in found.items()}
    except FastmlpFormatError:
        raise
    except (OSError, RuntimeError, ValueError, TypeError, OverflowError) as error:
        # The exceptions of h5py for files that the library cannot parse.
        got = f"a damaged one ({str(error)[:200]})"
        raise format_error(name, "an HDF5 file", got) from None


def _names(keys: tuple[str | Iterable[str], ...]) -> list[str]:
    if len(keys) == 1 and not isinstance(keys[0], (str, bytes)):
        given: Any = keys[0]
        keys = tuple(given) if isinstance(given, Iterable) else (given,)
    for key in keys:
        if not isinstance(key, str):
            raise TypeError(f"load_hdf5: keys must be str, got {key!r}.")
    return [str(key) for key in keys]


class _Reader:
    """Finds, checks and reads the data sets of one open file."""

    def __init__(self, h5py: Any, name: str, file_size: int, max_bytes: int) -> None:
        self._h5py, self._name = h5py, name
        self._file_size, self._max_bytes = file_size, max_bytes
        self._total = 0

    def find(self, file: Any, key: str) -> tuple[str, Any]:
        """Return a data set by its path, resolved one link at a time."""
        here = file
        for part in key.strip("/").split("/"):
            if not isinstance(here, self._h5py.Group) or part not in here.keys():
                known = ", ".join(self.all(file, open_=False))[:200] or "none"
                raise KeyError(f"{self._name}: no data set {key!r}; the file contains: {known}")
            here = self._follow(here, part, key)
        if not isinstance(here, self._h5py.Dataset):
            raise self._error(key, "a data set", f"a {type(here).__name__}")
        return key, here

    def all(self, file: Any, *, open_: bool = True) -> dict[str, Any]:
        """Return all data sets by path, also in nested groups."""
        found: dict[str, Any] = {}
        groups = [("", file, 0)]
        while groups:
            prefix, group, depth = groups.pop()
            if len(found) + len(groups) + len(group) > _MAX_ARRAYS or depth > _MAX_DEPTH:
                most = f"at most {_MAX_ARRAYS} data sets and groups, {_MAX_DEPTH} levels deep"
                raise self._error("", most, "more")
            for part in group:
                key = prefix + part
                if not open_ and type(group.get(part, getlink=True)) is not self._h5py.HardLink:
                    continue
                here = self._follow(group, part, key)
                if isinstance(here, self._h5py.Group):
                    groups.append((key + "/", here, depth + 1))
                elif isinstance(here, self._h5py.Dataset):
                    found[key] = here
        return found

    def _follow(self, group: Any, part: str, key: str) -> Any:
        link = group.get(part, getlink=True)
        if type(link) is not self._h5py.HardLink:
            kind = {"SoftLink": "a soft link", "ExternalLink": "a link to another file"}
            got = kind.get(type(link).__name__, type(link).__name__)
            raise self._error(key, "a data set in the file itself", got)
        try:
            return group[part]
        except KeyError as error:  # the h5py exception for an object the library cannot read
            raise self._error(key, "a data set", f"a damaged one ({str(error)[:200]})") from None

    def _error(self, key: str, expected: str, got: str) -> FastmlpFormatError:
        return format_error(f"{self._name}:{key[:80]!a}" if key else self._name, expected, got)

    def check(self, key: str, data: Any) -> None:
        """Refuse references to other files, and sizes above the limit or the size of the file."""
        settings = data.id.get_create_plist()
        if settings.get_external_count():
            raise self._error(key, "data in the file itself", "external storage")
        layout = settings.get_layout()
        kinds = self._h5py.h5d
        if layout not in (kinds.COMPACT, kinds.CONTIGUOUS, kinds.CHUNKED):
            raise self._error(key, "data in the file itself", "a virtual data set")
        if data.shape is None:
            raise self._error(key, "an array", "an empty data set")
        size = self._size(key, data)
        self._total += size
        if self._total > self._max_bytes:
            raise self._error("", f"arrays of at most {self._max_bytes} bytes", str(self._total))
        stored = data.id.get_storage_size()
        if stored > self._file_size:
            raise self._error(key, f"at most {self._file_size} stored bytes", str(stored))
        if layout == kinds.CHUNKED:
            self._check_chunks(key, data, settings, size, stored)
        elif stored != size:
            raise self._error(key, f"{size} stored bytes", str(stored))
        elif layout == kinds.CONTIGUOUS and size:
            place = data.id.get_offset()
            if place is None or place + size > self._file_size:
                raise self._error(key, "data within the file", f"offset {place}")

    def _size(self, key: str, data: Any) -> int:
        """Check the type and the shape of an array; return its size in bytes."""
        kinds, kind = self._h5py.h5t, data.id.get_type()
        plain = kind.get_class() in (kinds.INTEGER, kinds.FLOAT)
        boolean = kind.get_class() == kinds.ENUM and data.dtype == np.dtype(bool)
        if kind.get_class() == kinds.STRING and not kind.is_variable_str():
            width = int(kind.get_size())
            if not 0 < width <= _MAX_TEXT:
                raise self._error(key, f"strings of at most {_MAX_TEXT} bytes", str(width))
            return width * byte_count(f"{self._name}:{key}", "u1", data.shape, self._max_bytes)
        if not plain and not boolean:
            raise self._error(key, "numbers or fixed-length strings", str(data.dtype)[:80])
        code = data.dtype.kind + str(data.dtype.itemsize)
        if kind.get_size() != data.dtype.itemsize:
            wanted = f"{data.dtype.itemsize} bytes per number"
            raise self._error(key, wanted, str(kind.get_size()))
        return byte_count(f"{self._name}:{key}", code, data.shape, self._max_bytes)

    def _check_chunks(self, key: str, data: Any, settings: Any, size: int, stored: int) -> None:
        """Check that each chunk is present and unpacks to exactly its size."""
        codes = [settings.get_filter(i)[0] for i in range(settings.get_nfilters())]
        if not set(codes) <= {_DEFLATE, _SHUFFLE, _CHECKSUM} or codes.count(_DEFLATE) > 1:
            raise self._error(key, "only filters gzip, shuffle, fletcher32", str(codes)[:80])
        if size > stored * _MAX_RATIO:
            raise self._error(key, f"at most {stored * _MAX_RATIO} bytes", str(size))
        chunk_bytes = math.prod(data.chunks) * data.dtype.itemsize
        if chunk_bytes > max(size, 2**20):
            raise self._error(key, "chunks no larger than the array", f"{chunk_bytes} bytes")
        counts = [-(-n // c) for n, c in zip(data.shape, data.chunks, strict=True)]
        n_chunks = math.prod(counts)
        if n_chunks > _MAX_CHUNKS or data.id.get_num_chunks() < n_chunks:
            present = data.id.get_num_chunks()
            raise self._error(key, f"{n_chunks} chunks (maximum {_MAX_CHUNKS})", str(present))
        for place in self._places(counts, data.chunks):
            info = data.id.get_chunk_info_by_coord(place)
            if info.byte_offset is None or info.byte_offset + info.size > self._file_size:
                raise self._error(key, "chunks within the file", f"no data for chunk {place}")
            if info.filter_mask:
                raise self._error(key, "all filters applied to each chunk", "a skipped filter")
            if _DEFLATE not in codes:
                if info.size != chunk_bytes + 4 * codes.count(_CHECKSUM):
                    raise self._error(key, f"chunks of {chunk_bytes} bytes", str(info.size))
            elif info.size > 2 * chunk_bytes + 1024:
                got = f"{info.size} compressed bytes"
                raise self._error(key, f"chunks of {chunk_bytes} bytes", got)
            else:
                _, raw = data.id.read_direct_chunk(place)
                self._check_packed(key, raw, codes, chunk_bytes)

    def _check_packed(self, key: str, raw: bytes, codes: list[int], chunk_bytes: int) -> None:
        deflate = codes.index(_DEFLATE)
        after, before = codes[deflate:].count(_CHECKSUM), codes[:deflate].count(_CHECKSUM)
        inflate = zlib.decompressobj()
        wanted = chunk_bytes + 4 * before
        packed = raw[: len(raw) - 4 * after]
        try:
            got = len(inflate.decompress(packed, wanted + 1))
        except zlib.error as error:
            raise self._error(key, "gzip chunks", f"a damaged chunk ({error})") from None
        if got != wanted or not inflate.eof:
            more = "more" if got > wanted else f"{got}"
            raise self._error(key, f"chunks that unpack to {wanted} bytes", more)

    @staticmethod
    def _places(counts: list[int], chunks: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        for index in product(*map(range, counts)):
            yield tuple(i * c for i, c in zip(index, chunks, strict=True))

    def read(self, key: str, data: Any) -> Array:
        """Return the array in native byte order."""
        result = np.empty(data.shape, data.dtype.newbyteorder("="))
        if result.size:
            data.read_direct(result)
        if result.dtype == bool and result.size and result.view(np.uint8).max() > 1:
            raise self._error(key, "booleans stored as 0 or 1", "another value")
        return result
