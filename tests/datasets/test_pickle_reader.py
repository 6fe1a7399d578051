from __future__ import annotations

import gzip
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastmlp.datasets._arrays import ITEM_SIZES
from fastmlp.datasets._pickle_reader import read_pickle
from fastmlp.errors import FastmlpFormatError

PROTOCOLS = range(6)
IN_TMP_PATH = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def reread(tmp_path: Path, data: bytes) -> Any:
    path = tmp_path / "values.pkl"
    path.write_bytes(data)
    return read_pickle(path)


@IN_TMP_PATH
@given(
    data=st.data(),
    code=st.sampled_from(sorted(ITEM_SIZES)),
    byte_order=st.sampled_from("<>"),
    layout=st.sampled_from(["C", "F", "transposed", "strided"]),
    protocol=st.sampled_from(PROTOCOLS),
)
def test_array_round_trip(
    tmp_path: Path, data: st.DataObject, code: str, byte_order: str, layout: str, protocol: int
) -> None:
    shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
    array = data.draw(hnp.arrays(byte_order + code, shapes))
    if layout == "F":
        array = np.array(array, order="F")
    elif layout == "transposed" and array.ndim > 1:
        array = np.swapaxes(array, 0, 1)
    elif layout == "strided" and array.ndim:
        array = array[::2]
    found, again = reread(tmp_path, pickle.dumps((array, array.copy()), protocol))
    for result in (found, again):
        assert result.dtype == np.dtype(code) and result.dtype.isnative
        assert result.flags.writeable and result.flags.aligned
        np.testing.assert_array_equal(result, array)
    assert not np.shares_memory(found, again)


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary(),
    lambda values: (
        st.lists(values)
        | st.lists(values).map(tuple)
        | st.dictionaries(st.text("abc") | st.integers(0, 99), values)
    ),
    max_leaves=20,
)


@IN_TMP_PATH
@given(value=plain_values, protocol=st.sampled_from(PROTOCOLS), optimized=st.booleans())
def test_plain_value_round_trip(
    tmp_path: Path, value: object, protocol: int, optimized: bool
) -> None:
    data = pickle.dumps(value, protocol)
    found = reread(tmp_path, pickletools.optimize(data) if optimized else data)
    assert found == value and type(found) is type(value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("packed", [False, True])
def test_large_array_round_trip(tmp_path: Path, protocol: int, packed: bool) -> None:
    x = np.arange(300_000, dtype=np.float32).reshape(300, 1000)  # more than the large block
    y = np.arange(300) % 10
    data = pickle.dumps(((x, y), (x[::-1].copy(), y)), protocol)
    found = reread(tmp_path, gzip.compress(data, 1) if packed else data)
    np.testing.assert_array_equal(found[0][0], x)
    np.testing.assert_array_equal(found[1][0], x[::-1])
    np.testing.assert_array_equal(found[1][1], y)
    assert found[0][1] is found[1][1]  # pickled once, so read once
    assert found[0][0].flags.writeable and found[0][0].flags.aligned


def test_one_large_block_in_two_arrays_is_copied(tmp_path: Path) -> None:
    n = 2**20 + 8
    array = pickle.dumps(np.zeros(n, "u1"), 3)  # protocol 3 has no frames
    start = array.index(b"B" + n.to_bytes(4, "little"))
    block = array[start : start + 5 + n]
    head, tail = array[2:start], array[start + 5 + n + 2 : -1]  # no PROTO, BINPUT, STOP
    remember, recall = b"r\0\1\0\0", b"j\0\1\0\0"
    pair = b"\x80\x03" + head + block + remember + tail
    pair += head + recall + tail + b"\x86."
    first, second = reread(tmp_path, pair)
    assert first.shape == second.shape == (n,)
    first[0] = 1
    assert second[0] == 0


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_truncated_at_every_offset(tmp_path: Path, protocol: int) -> None:
    data = pickle.dumps((np.arange(3, dtype=">i2"), [1, "two", b"three", {4: 5.0}]), protocol)
    assert reread(tmp_path, data)[1] == [1, "two", b"three", {4: 5.0}]
    for length in range(len(data)):
        with pytest.raises(FastmlpFormatError):
            reread(tmp_path, data[:length])


# What Python 2 and an old numpy wrote, byte for byte.
PYTHON_2_BINARY = (
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nq\x02K\x00\x85U\x01b"
    b"\x87Rq\x03(K\x01K\x02K\x01\x86cnumpy\ndtype\nq\x04U\x02f4K\x00K\x01\x87Rq\x05(K\x03U\x01<"
    b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08\x00\x00\x80?\x00\x00\x00@tb."
)
PYTHON_2_TEXT = (
    b"cnumpy.core.multiarray\n_reconstruct\np0\n(cnumpy\nndarray\np1\n(I0\ntp2\nS'b'\np3\ntp4\nRp5"
    b"\n(I1\n(L2L\ntp6\ncnumpy\ndtype\np7\n(S'i2'\np8\nI0\nI1\ntp9\nRp10\n(I3\nS'>'\np11\nNNNI-1\n"
    b"I-1\nI0\ntp12\nbI00\nS'\\x00\\n\\\\\\''\np13\ntp14\nb."
)


def test_python_2_binary(tmp_path: Path) -> None:
    found = reread(tmp_path, PYTHON_2_BINARY)
    assert found.dtype == np.float32 and found.tolist() == [[1.0], [2.0]]


def test_python_2_text(tmp_path: Path) -> None:
    found = reread(tmp_path, PYTHON_2_TEXT)
    assert found.dtype == np.int16 and found.tolist() == [10, 0x5C27]


def test_python_2_dict_has_keys_of_bytes(tmp_path: Path) -> None:
    data = b"\x80\x02}q\x01(U\x06labelsq\x02]q\x03(K\x06K\x09eU\x04dataq\x04" + PYTHON_2_BINARY[2:]
    data = data.replace(b"q\x01cnumpy", b"q\x0bcnumpy")[:-1] + b"u."
    found = reread(tmp_path, data)
    assert found[b"labels"] == [6, 9] and found[b"data"].shape == (2, 1)


def test_pickles_of_the_unpickler_agree(tmp_path: Path) -> None:
    for data in (PYTHON_2_BINARY, PYTHON_2_TEXT):
        expected = pickle.loads(data, encoding="latin1")
        np.testing.assert_array_equal(reread(tmp_path, data), expected)


def test_recursive_sharing_is_kept_within_reason(tmp_path: Path) -> None:
    shared = [1, 2]
    assert reread(tmp_path, pickle.dumps([shared] * 1000)) == [shared] * 1000


def test_limit_is_on_the_unpacked_size(tmp_path: Path) -> None:
    path = tmp_path / "values.pkl"
    data = pickle.dumps(np.zeros(1000))
    path.write_bytes(gzip.compress(data))
    assert read_pickle(path, max_bytes=len(data)).shape == (1000,)
    with pytest.raises(FastmlpFormatError, match="expected at most 8000 bytes, got at least"):
        read_pickle(path, max_bytes=8000)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b"cposix\nsystem\n.",
            (
                "expected only plain values and number arrays, "
                "got a pickle that names 'posix.system'; no code was run."
            ),
        ),
        (
            b"cnumpy\nload\n.",
            (
                "expected only plain values and number arrays, "
                "got a pickle that names 'numpy.load'; no code was run."
            ),
        ),
        (
            b"\x80\x02\x82\x01.",
            "expected a pickle of plain values and arrays, got opcode EXT1 (position 3).",
        ),
        (
            b"hello",
            "expected a number stored in the memo, got 101 (position 2).",
        ),
        (
            b"\xffNUMPY",
            (
                "expected a pickle of plain values and arrays, "
                "got byte 0xff, which is not an opcode (position 1)."
            ),
        ),
        (
            PYTHON_2_BINARY.replace(b"K\x02K\x01\x86", b"K\x03K\x01\x86"),
            "expected 12 bytes for shape (3, 1) of f4, got 8 bytes.",
        ),
        (
            PYTHON_2_BINARY.replace(b"U\x02f4", b"U\x02O8"),
            "expected a number type (b1, i1, u1, i2, u2, i4, u4, i8, u8, f2, f4, f8), got 'O8'.",
        ),
    ],
)
def test_messages(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(FastmlpFormatError) as error:
        reread(tmp_path, data)
    assert str(error.value) == f"{tmp_path / 'values.pkl'}: {message}"
