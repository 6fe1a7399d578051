from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastmlp.datasets._idx import read_idx
from fastmlp.errors import FastmlpFormatError

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx_bytes(array: np.ndarray) -> bytes:
    head = bytes([0, 0, CODES[array.dtype.str[1:]], array.ndim])
    swapped = array.astype(array.dtype.newbyteorder(">"))
    return head + struct.pack(f">{array.ndim}I", *array.shape) + swapped.tobytes()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), code=st.sampled_from(sorted(CODES)), packed=st.booleans())
def test_idx_round_trip(tmp_path: Path, data: st.DataObject, code: str, packed: bool) -> None:
    shapes = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)
    array = data.draw(hnp.arrays(code, shapes))
    raw = idx_bytes(array)
    path = tmp_path / "numbers"
    path.write_bytes(gzip.compress(raw) if packed else raw)
    found = read_idx(path)
    assert found.dtype == np.dtype(code) and found.dtype.isnative
    assert found.flags.writeable and found.flags.aligned and found.flags.c_contiguous
    np.testing.assert_array_equal(found, array)


@pytest.mark.parametrize("packed", [False, True])
def test_idx_truncated_at_every_offset(tmp_path: Path, packed: bool) -> None:
    raw = idx_bytes(np.arange(24, dtype="i2").reshape(2, 3, 4))
    raw = gzip.compress(raw) if packed else raw
    path = tmp_path / "short"
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        with pytest.raises(FastmlpFormatError):
            read_idx(path)


def test_idx_limit(tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    path.write_bytes(idx_bytes(np.zeros(100, "u1")))
    assert read_idx(path, max_bytes=100).shape == (100,)
    with pytest.raises(FastmlpFormatError) as error:
        read_idx(path, max_bytes=99)
    assert str(error.value) == f"{path}: expected arrays of at most 99 bytes, got shape (100,)."


def test_idx_messages(tmp_path: Path) -> None:
    path = tmp_path / "numbers"
    raw = idx_bytes(np.zeros((3, 4), "u1"))
    cases = {
        raw[:-1]: "expected 12 bytes at position 12, got 11: the file is truncated.",
        raw + b"x": "expected the end after 24 bytes, got more bytes.",
        b"\x89PNG": ("expected an idx file (00 00, type, number of axes), got 89 50 4e 47."),
        b"": "expected data, got an empty file.",
        b"<!DOCTYPE html>": (
            "expected data, got a web page (HTML or XML): the download failed, download it again."
        ),
        gzip.compress(raw)[:-4]: "expected a complete gzip file, got a truncated one.",
        gzip.compress(raw) + b"x": "expected one gzip stream, got more data after its end.",
    }
    for data, message in cases.items():
        path.write_bytes(data)
        with pytest.raises(FastmlpFormatError) as error:
            read_idx(path)
        assert str(error.value) == f"{path}: {message}"


def test_idx_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "absent")
