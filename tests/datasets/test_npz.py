from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastmlp.datasets import load_npz
from fastmlp.datasets._arrays import ITEM_SIZES
from fastmlp.errors import FastmlpFormatError


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    data=st.data(),
    code=st.sampled_from(sorted(ITEM_SIZES)),
    byte_order=st.sampled_from("<>"),
    fortran=st.booleans(),
    packed=st.booleans(),
)
def test_npz_round_trip(
    tmp_path: Path, data: st.DataObject, code: str, byte_order: str, fortran: bool, packed: bool
) -> None:
    shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
    x = data.draw(hnp.arrays(byte_order + code, shapes))
    y = np.arange(3)
    x = np.asfortranarray(x) if fortran and x.ndim else x
    path = tmp_path / "arrays.npz"
    (np.savez_compressed if packed else np.savez)(path, x=x, y=y)
    found = load_npz(path)
    assert list(found) == ["x", "y"]
    assert found["x"].dtype == np.dtype(code) and found["x"].dtype.isnative
    assert found["x"].flags.writeable and found["x"].flags.aligned
    np.testing.assert_array_equal(found["x"], x)
    np.testing.assert_array_equal(found["y"], y)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_truncated_at_every_offset(tmp_path: Path, save: object) -> None:
    buffer = io.BytesIO()
    save(buffer, x=np.arange(6.0))  # type: ignore[operator]
    raw = buffer.getvalue()
    path = tmp_path / "short.npz"
    for length in range(len(raw)):
        path.write_bytes(raw[:length])
        with pytest.raises(FastmlpFormatError):
            load_npz(path)


def test_npz_every_flipped_byte_gives_arrays_or_refusal(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, x=np.arange(6.0))
    raw = buffer.getvalue()
    path = tmp_path / "flipped.npz"
    n_refused = 0
    for place in range(len(raw)):
        flipped = bytearray(raw)
        flipped[place] ^= 0xFF
        path.write_bytes(bytes(flipped))
        try:
            found = load_npz(path)
        except FastmlpFormatError:
            n_refused += 1
        else:  # a date, or another unused field
            np.testing.assert_array_equal(next(iter(found.values())), np.arange(6.0))
    assert n_refused > 0.75 * len(raw)


def test_npz_of_python_2(tmp_path: Path) -> None:
    header = b"{'descr': '<i2', 'fortran_order': False, 'shape': (2L, 1L), }\n"
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\1\0\2\0"
    with zipfile.ZipFile(tmp_path / "old.npz", "w") as file:
        file.writestr("x.npy", member)
    assert load_npz(tmp_path / "old.npz")["x"].tolist() == [[1], [2]]


def test_npz_of_version_2(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.arange(3), version=(2, 0))
    with zipfile.ZipFile(tmp_path / "new.npz", "w") as file:
        file.writestr("x.npy", buffer.getvalue())
    assert load_npz(tmp_path / "new.npz")["x"].tolist() == [0, 1, 2]


def test_npz_without_members(tmp_path: Path) -> None:
    np.savez(tmp_path / "none.npz")
    assert load_npz(tmp_path / "none.npz") == {}


def test_npz_sum_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "zeros.npz"
    np.savez_compressed(path, x=np.zeros(1000, "u1"), y=np.zeros(1000, "u1"))
    assert len(load_npz(path, max_bytes=2 * 1128)) == 2
    with pytest.raises(FastmlpFormatError) as error:
        load_npz(path, max_bytes=2 * 1128 - 1)
    assert str(error.value) == f"{path}: expected at most 2255 unpacked bytes, got 2256."


def two_floats(data: bytes) -> bytes:
    """Return an npy file of shape (2,) with any number of bytes after its header."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


def test_npz_messages(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    np.savez(path, x=np.array([None]))
    with pytest.raises(FastmlpFormatError) as error:
        load_npz(path)
    assert str(error.value).startswith(
        f"{path}:'x.npy': expected the header of an array of plain numbers, got b\"{{'descr': '|O'"
    )
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", two_floats(bytes(108)))
    with pytest.raises(FastmlpFormatError) as error:
        load_npz(path)
    assert str(error.value) == (
        f"{path}:'x.npy': expected 8 bytes for shape (2,) of f4, got 108 bytes."
    )
    path.write_bytes(b"hello")
    with pytest.raises(FastmlpFormatError) as error:
        load_npz(path)
    assert str(error.value) == (
        f"{path}: expected an npz file, got a file that starts with 68 65 6c 6c 6f."
    )


def test_npz_size_that_no_packing_reaches(tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", two_floats(bytes(8)))
    data = bytearray(path.read_bytes())
    place = data.index(b"PK\1\2") + 24
    data[place : place + 4] = (2**30).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(FastmlpFormatError, match="bytes, got a declared size of 1073741824"):
        load_npz(path)


def test_npz_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_npz(tmp_path / "absent.npz")
