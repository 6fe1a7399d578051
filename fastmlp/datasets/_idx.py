"""The idx format of the original MNIST files.

Big-endian: two zero bytes, a type code, the number of axes, their lengths as uint32, then the
numbers in C order.
"""

from __future__ import annotations

import os
import struct

from fastmlp._types import Array

from ._arrays import MAX_BYTES, array_from_bytes, byte_count, format_error
from ._bytestream import open_bytes

__all__ = ["read_idx"]

_CODES = {0x08: "u1", 0x09: "i1", 0x0B: "i2", 0x0C: "i4", 0x0D: "f4", 0x0E: "f8"}
_MAX_AXES = 8


def read_idx(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Array:
    """Read an idx file, plain or gzip.

    Parameters
    ----------
    path : str or path
        The file; gzip is recognised by its first bytes.
    max_bytes : int, default=4 GiB
        Larger arrays are refused before memory is allocated.

    Returns
    -------
    array : array
        Shape and type as stored, in native byte order.

    Raises
    ------
    FastmlpFormatError
        If the file is not an idx file, is too short or too long, is damaged, or exceeds the limit.
    OSError
        If the file cannot be opened or read.

    References
    ----------
    Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits, section "File
    formats".
    """
    with open_bytes(path, max_bytes + 4 + 4 * _MAX_AXES) as stream:
        magic = stream.read(4)
        code = _CODES.get(magic[2])
        n_axes = magic[3]
        if magic[:2] != b"\0\0" or code is None or not 1 <= n_axes <= _MAX_AXES:
            raise format_error(
                stream.name, "an idx file (00 00, type, number of axes)", magic.hex(" ")
            )
        shape = struct.unpack(f">{n_axes}I", stream.read(4 * n_axes))
        data = stream.read_large(byte_count(stream.name, code, shape, max_bytes))
        stream.check_end()
        return array_from_bytes(stream.name, data, code, ">", shape, max_bytes=max_bytes)
