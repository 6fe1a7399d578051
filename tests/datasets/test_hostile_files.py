"""Files made to run code, to fill the memory, or to pass for what they are not.

Every case must raise FastmlpFormatError within a second (it takes a tenth of that at most); all of
them must do so once more in a process that may use 1 GiB of addresses.
"""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import time
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmlp.datasets
from fastmlp.datasets import load_cifar10, load_csv, load_npz
from fastmlp.datasets._idx import read_idx
from fastmlp.datasets._pickle_reader import read_pickle
from fastmlp.errors import FastmlpFormatError

pytestmark = pytest.mark.alone

LIMIT = 2**26
SECONDS = 1.0
READERS = {
    "pickle": read_pickle,
    "idx": read_idx,
    "npz": load_npz,
    "cifar": lambda path, max_bytes: load_cifar10(path),
    "csv": load_csv,
}


# Pickles are put together from opcodes, because no honest pickler writes them.


def integer(value: int) -> bytes:
    size = value.bit_length() // 8 + 1
    return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def name(module: str, attribute: str) -> bytes:
    return f"c{module}\n{attribute}\n".encode()


def tuple_of(*items: bytes) -> bytes:
    return b"(" + b"".join(items) + b"t"


RECONSTRUCT = name("numpy.core.multiarray", "_reconstruct")
EMPTY = RECONSTRUCT + tuple_of(name("numpy", "ndarray"), tuple_of(integer(0)), b"C\x01b") + b"R"
FROM_BUFFER = name("numpy._core.numeric", "_frombuffer")
DTYPE_TAIL = b"NNN" + integer(-1) + integer(-1) + integer(0)


def dtype(code: str = "f4", order: str = "<", tail: bytes = DTYPE_TAIL) -> bytes:
    call = name("numpy", "dtype") + tuple_of(text(code), b"\x89", b"\x88") + b"R"
    return call + tuple_of(integer(3), text(order), tail) + b"b"


def shape_of(*lengths: int) -> bytes:
    return tuple_of(*[integer(length) for length in lengths])


def block(data: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(data)) + data


def array(
    shape: bytes | None = None, data: bytes = block(bytes(8)), kind: bytes | None = None
) -> bytes:
    state = tuple_of(integer(1), shape or shape_of(2), kind or dtype(), b"\x89", data)
    return EMPTY + state + b"b"


def whole(body: bytes) -> bytes:
    return b"\x80\x04" + body + b"."


class Gadget:
    """Runs a command when a real unpickler meets it."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch gadget_ran",)


def pickle_cases() -> dict[str, bytes]:
    cases = {f"os_system_protocol_{p}": pickle.dumps(Gadget(), p) for p in range(6)}
    cases |= {
        f"os_system_in_tuple_protocol_{p}": pickle.dumps((1, [Gadget()]), p) for p in range(6)
    }
    call = tuple_of(text("touch gadget_ran")) + b"R"
    cases["builtin_eval"] = whole(name("builtins", "eval") + call)
    cases["python2_builtin_eval"] = whole(name("__builtin__", "eval") + call)
    cases["getattr"] = whole(name("builtins", "getattr") + call)
    cases["numpy_runstring"] = whole(name("numpy.testing._private.utils", "runstring") + call)
    cases["numpy_load"] = whole(name("numpy", "load") + call)
    cases["dotted_name"] = whole(text("numpy") + text("core.multiarray._reconstruct") + b"\x93N.")
    cases["dotted_allowed_name"] = whole(name("numpy", "ndarray.tofile"))
    cases["name_with_space"] = whole(name("numpy ", "dtype"))
    cases["name_not_ascii"] = whole(text("numpy") + text("dtype\u200b") + b"\x93")
    cases["name_is_number"] = whole(integer(1) + integer(2) + b"\x93")
    cases["instance"] = b"(S'touch gadget_ran'\nios\nsystem\n."
    cases["object"] = b"(cos\nsystem\nS'touch gadget_ran'\no."
    cases["newobj"] = whole(name("numpy", "dtype") + tuple_of(text("O")) + b"\x81")
    cases["newobj_ex"] = whole(name("numpy", "dtype") + tuple_of(text("O")) + b"}\x92")
    cases["ext1"] = whole(b"\x82\x01")
    cases["ext2"] = whole(b"\x83\x01\x00")
    cases["ext4"] = whole(b"\x84\x01\x00\x00\x00")
    cases["persistent_id"] = b"Pfile:///etc/passwd\n."
    cases["binary_persistent_id"] = whole(text("id") + b"Q")
    cases["out_of_band_buffer"] = whole(b"\x97")
    cases["set"] = whole(b"\x8f")
    cases["duplicate_opcode"] = whole(b"K\x012\x86")
    cases["unknown_opcode"] = whole(b"\xff")
    cases["protocol_6"] = b"\x80\x06N."

    cases["memo_bomb_tuples"] = whole(
        b")" + b"".join(b"q" + bytes([i]) + b"h" + bytes([i]) + b"\x86" for i in range(30))
    )
    cases["memo_bomb_lists"] = whole(
        b"]" + b"".join(b"\x94(" + 10 * (b"h" + bytes([i])) + b"l" for i in range(12))
    )
    cases["memo_bomb_dicts"] = whole(
        b"}" + b"".join(b"\x94}(" + b"K\0h%cK\1h%cu" % (i, i) for i in range(30))
    )
    cases["list_in_itself"] = whole(b"]q\0h\0a")
    cases["dict_in_itself"] = whole(b"}q\0K\1h\0s")
    cases["deep_tuples"] = whole(b")" + b"\x85" * 200_000)
    cases["deep_marks"] = whole(b"(" * 200_000)
    cases["endless_nones"] = b"\x80\x04(" + b"N" * 1_000_000 + b"t."
    cases["endless_lists"] = b"\x80\x04(" + b"]\x94" * 1_000_000 + b"t."
    cases["one_block_many_arrays"] = whole(
        block(bytes(2**20 + 4)) + b"q\0" + b"(" + array(shape_of(2**18 + 1), b"h\0") * 200 + b"t"
    )
    cases["one_text_encoded_often"] = whole(
        text("a" * 2**20)
        + b"q\0("
        + (name("_codecs", "encode") + tuple_of(b"h\0", text("latin1")) + b"R") * 200
        + b"t"
    )
    cases["text_that_widens"] = whole(text("a" * 2**21 + "\U0001f600"))
    cases["line_text_that_widens"] = b"V" + b"a" * 2**21 + b"\\U0001f600\n."
    cases["hash_collisions"] = whole(
        b"}(" + b"".join(integer(k * (2**61 - 1)) + b"N" for k in range(8, 2000)) + b"u"
    )

    cases["object_dtype"] = whole(array(kind=dtype("O8", "|")))
    cases["object_dtype_bare"] = whole(array(kind=dtype("O", "|")))
    cases["void_dtype"] = whole(array(kind=dtype("V4", "|")))
    cases["text_dtype"] = whole(array(kind=dtype("U1")))
    cases["complex_dtype"] = whole(array(kind=dtype("c8")))
    cases["dtype_with_comma"] = whole(array(kind=dtype("f4,O8")))
    cases["dtype_with_fields"] = whole(
        array(kind=dtype("f4", tail=b"N" + tuple_of(text("a")) + b"}KK" + bytes([1]) + b"K\1K\0"))
    )
    cases["dtype_with_flags"] = whole(
        array(kind=dtype(tail=b"NNN" + integer(-1) + integer(-1) + integer(63)))
    )
    no_state = name("numpy", "dtype") + tuple_of(text("f4"), b"\x89", b"\x88") + b"R"
    cases["dtype_without_state"] = whole(array(kind=no_state))
    cases["dtype_state_twice"] = whole(dtype() + tuple_of(integer(3), text(">"), DTYPE_TAIL) + b"b")
    cases["dtype_byte_order_empty"] = whole(array(kind=dtype(order="")))
    cases["dtype_byte_order_unknown"] = whole(array(kind=dtype(order="!")))
    cases["dtype_is_none"] = whole(array(kind=b"N"))
    cases["booleans_not_0_or_1"] = whole(array(shape_of(8), block(b"\2" * 8), dtype("b1", "|")))
    cases["shape_2_40_by_0"] = whole(array(shape_of(2**40, 0), block(b"")))
    cases["shape_0_by_2_40"] = whole(array(shape_of(0, 2**40), block(b"")))
    cases["shape_huge"] = whole(array(shape_of(2**60)))
    cases["shape_wraps_to_zero"] = whole(array(shape_of(2**32, 2**32), block(b"")))
    cases["shape_wraps_to_two"] = whole(array(shape_of(2**63 + 1, 2)))
    cases["shape_negative"] = whole(array(shape_of(-2)))
    cases["shape_two_negatives"] = whole(array(shape_of(-1, -2)))
    cases["shape_over_64_bits"] = whole(array(shape_of(2**66)))
    cases["shape_of_booleans"] = whole(array(tuple_of(b"\x88", b"\x88")))
    cases["shape_of_floats"] = whole(array(tuple_of(b"G" + struct.pack(">d", 2.0))))
    cases["shape_is_list"] = whole(array(b"](" + integer(2) + b"e"))
    cases["shape_of_100_axes"] = whole(array(shape_of(*[1] * 100), block(bytes(4))))
    cases["data_short"] = whole(array(data=block(bytes(7))))
    cases["data_long"] = whole(array(data=block(bytes(9))))
    cases["data_is_text"] = whole(array(data=text("12345678")))
    cases["data_is_list"] = whole(array(data=b"](NNe"))
    cases["data_is_none"] = whole(array(data=b"N"))
    cases["array_without_state"] = whole(EMPTY)
    cases["array_state_twice"] = whole(array() + array()[len(EMPTY) :])
    cases["array_state_short"] = whole(EMPTY + tuple_of(integer(1)) + b"b")
    cases["array_state_empty"] = whole(EMPTY + b")b")
    cases["array_state_is_dict"] = whole(EMPTY + b"}b")
    cases["array_state_is_array"] = whole(EMPTY + array() + b"b")
    cases["array_of_other_class"] = whole(
        RECONSTRUCT + tuple_of(name("numpy", "dtype"), shape_of(0), block(b"b")) + b"R"
    )
    cases["array_first_shape"] = whole(
        RECONSTRUCT + tuple_of(name("numpy", "ndarray"), shape_of(2**40), block(b"O")) + b"R"
    )
    cases["array_called"] = whole(name("numpy", "ndarray") + tuple_of(shape_of(2**40)) + b"R")
    cases["bytes_called"] = whole(name("builtins", "bytes") + tuple_of(integer(2**40)) + b"R")
    cases["name_as_result"] = whole(name("numpy", "ndarray"))
    cases["dtype_as_result"] = whole(dtype())
    cases["from_buffer_objects"] = whole(
        FROM_BUFFER + tuple_of(block(bytes(8)), dtype("O8", "|"), shape_of(1), text("C")) + b"R"
    )
    cases["from_buffer_axes"] = whole(
        FROM_BUFFER + tuple_of(block(bytes(8)), dtype(), shape_of(2), text("K"), shape_of(5)) + b"R"
    )
    cases["from_buffer_no_arguments"] = whole(FROM_BUFFER + b")R")
    cases["encode_other_codec"] = whole(
        name("_codecs", "encode") + tuple_of(text("a"), text("zlib_codec")) + b"R"
    )
    cases["encode_not_latin1"] = whole(
        name("_codecs", "encode") + tuple_of(text("\u20ac"), text("latin1")) + b"R"
    )
    cases["encode_number"] = whole(
        name("_codecs", "encode") + tuple_of(integer(1), text("latin1")) + b"R"
    )

    cases["build_on_list"] = whole(b"]}b")
    cases["build_on_nothing"] = whole(b"}b")
    cases["build_on_dict"] = whole(b"}}b")
    cases["setitems_on_list"] = whole(b"](K\1K\1u")
    cases["setitem_on_array"] = whole(array() + b"K\0K\0s")
    cases["setitems_odd"] = whole(b"}(K\1u")
    cases["append_to_tuple"] = whole(b")K\1a")
    cases["appends_to_bytes"] = whole(block(b"abc") + b"(K\1e")
    cases["key_is_list"] = whole(b"}]Ns")
    cases["key_is_tuple"] = whole(b"})Ns")
    cases["key_is_array"] = whole(b"}" + array() + b"Ns")
    cases["call_of_text"] = whole(text("os.system") + tuple_of(text("x")) + b"R")
    cases["stack_empty_at_end"] = b"\x80\x04."
    cases["two_values_at_end"] = b"\x80\x04NN."
    cases["mark_at_end"] = b"\x80\x04(N."
    cases["no_mark"] = whole(b"Nt")
    cases["tuple_of_too_few"] = whole(b"N\x87")
    cases["reduce_of_nothing"] = whole(b"R")
    cases["memo_missing"] = whole(b"h\5")
    cases["memo_put_of_nothing"] = whole(b"q\0")
    cases["memo_number_is_text"] = b"gx\n."
    cases["trailing_data"] = whole(b"N") + b"N"
    cases["no_stop"] = b"\x80\x04N"
    cases["string_negative_length"] = whole(b"T\xff\xff\xff\xff")
    cases["string_2_gb_absent"] = whole(b"T\xff\xff\xff\x7f")
    cases["string_200_mb_absent"] = whole(b"T" + struct.pack("<i", 200_000_000))
    cases["bytes_2_63_absent"] = whole(b"\x8e" + struct.pack("<Q", 2**63))
    cases["bytearray_2_64_absent"] = whole(b"\x96" + b"\xff" * 8)
    cases["text_2_62_absent"] = whole(b"\x8d" + struct.pack("<Q", 2**62))
    cases["text_not_utf8"] = whole(b"X\1\0\0\0\xff")
    cases["long_4_gb"] = whole(b"\x8b\xff\xff\xff\x7f")
    cases["long_255_bytes"] = whole(b"\x8a\xff" + b"\x7f" * 255)
    cases["int_of_a_million_digits"] = b"I" + b"9" * 1_000_000 + b"\n."
    cases["int_with_underscore"] = b"I1_0\n."
    cases["float_of_a_million_digits"] = b"F" + b"9" * 1_000_000 + b"\n."
    cases["float_is_text"] = b"Fhello\n."
    cases["line_too_long"] = b"S'" + b"a" * (2**24 + 10) + b"'\n."
    cases["string_unquoted"] = b"Sabc\n."
    cases["string_half_escape"] = b"S'\\x4'\n."
    cases["string_unknown_escape"] = b"S'\\d'\n."
    cases["string_octal_escape"] = b"S'\\101'\n."
    cases["text_half_escape"] = b"V\\u12\n."
    cases["text_escape_too_large"] = b"V\\Uffffffff\n."
    return cases


def gzip_cases() -> dict[str, bytes]:
    packed = gzip.compress(whole(array()), mtime=0)
    flipped = bytearray(packed)
    flipped[-6] ^= 1
    damaged = bytearray(packed)
    damaged[14] ^= 0xFF
    return {
        "empty_file": b"",
        "gzip_of_nothing": gzip.compress(b""),
        "gzip_truncated": packed[:-9],
        "gzip_without_trailer": packed[:-8],
        "gzip_half_trailer": packed[:-3],
        "gzip_only_magic": packed[:2],
        "gzip_with_garbage": packed + b"garbage",
        "gzip_with_zeros": packed + bytes(100),
        "gzip_two_members": packed + packed,
        "gzip_wrong_checksum": bytes(flipped),
        "gzip_damaged": bytes(damaged),
        "gzip_in_gzip": gzip.compress(packed),
        "gzip_bomb_opcodes": gzip.compress(b"\x80\x04(" + b"N" * 20_000_000),
        "gzip_bomb_string": gzip.compress(b"T\xff\xff\xff\x7f" + bytes(20_000_000)),
        "gzip_bomb_line": gzip.compress(b"S'" + bytes(20_000_000)),
        "web_page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
        "web_page_after_blank_lines": b"\r\n\n  <HTML>busy</HTML>",
        "web_page_in_gzip": gzip.compress(b"<html>503</html>"),
        "error_in_xml": b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    }


def idx(code: int, shape: tuple[int, ...], data: bytes) -> bytes:
    return bytes([0, 0, code, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + data


def idx_cases() -> dict[str, bytes]:
    top = 2**32 - 1
    return {
        "idx_short": idx(8, (3, 4), bytes(11)),
        "idx_long": idx(8, (3, 4), bytes(13)),
        "idx_no_data": idx(8, (3, 4), b""),
        "idx_half_header": idx(8, (3, 4), b"")[:9],
        "idx_three_bytes": b"\0\0\x08",
        "idx_little_endian": b"\x03\x08\0\0" + bytes(12),
        "idx_unknown_type": idx(0x0A, (1,), bytes(1)),
        "idx_object_type": idx(0x4F, (1,), bytes(8)),
        "idx_no_axes": b"\0\0\x08\0" + bytes(8),
        "idx_255_axes": b"\0\0\x08\xff" + bytes(4 * 255),
        "idx_huge": idx(8, (top,), bytes(10)),
        "idx_wraps_64_bits": idx(8, (2**16, 2**16, 2**16, 2**16), b""),
        "idx_eight_huge_axes": idx(8, (top,) * 8, b""),
        "idx_huge_by_zero": idx(8, (top, 0), b""),
        "idx_zero_by_huge": idx(8, (0, top), b""),
        "idx_200_mb_absent": idx(8, (200_000_000,), bytes(10)),
        "idx_gzip_truncated": gzip.compress(idx(8, (3, 4), bytes(12)))[:-9],
        "idx_gzip_with_garbage": gzip.compress(idx(8, (3, 4), bytes(12))) + b"x",
        "idx_gzip_bomb": gzip.compress(idx(8, (3, 4), bytes(20_000_000))),
        "idx_web_page": b"<html>404</html>",
        "idx_is_pickle": pickle.dumps(Gadget()),
        "idx_empty": b"",
    }


def npy(header: str | bytes, data: bytes = b"", version: int = 1) -> bytes:
    raw = header if isinstance(header, bytes) else header.encode()
    size = struct.pack("<H" if version == 1 else "<I", len(raw))
    return b"\x93NUMPY" + bytes([version, 0]) + size + raw + data


def header(descr: str = "'<f4'", shape: str = "(2,)", order: str = "False") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


def archive(
    *members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED, comment: bytes = b""
) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of duplicate names
        with zipfile.ZipFile(buffer, "w", compression) as file:
            file.comment = comment
            for member, data in members:
                file.writestr(zipfile.ZipInfo(member), data, compression)
    return buffer.getvalue()


def one(data: bytes) -> bytes:
    return archive(("x.npy", data))


def patched(data: bytes, in_directory: int, form: str, value: int) -> bytes:
    """Change a field of the first directory entry of an archive."""
    place = data.index(b"PK\1\2") + in_directory
    raw = struct.pack(form, value)
    return data[:place] + raw + data[place + len(raw) :]


def nested() -> bytes:
    """Return an archive whose second member lies inside the data of the first."""
    inner = one(npy(header(), bytes(8)))
    start = inner.index(b"PK\1\2")
    entry = bytearray(inner[start:-22])
    data = inner[:start].replace(b"x.npy", b"y.npy")
    outer = one(npy(header("'|u1'", f"({len(data)},)"), data))
    struct.pack_into("<I", entry, 42, outer.index(b"PK\3\4", 4))
    end = bytearray(outer[-22:])
    struct.pack_into("<2HI", end, 8, 2, 2, len(outer) - outer.index(b"PK\1\2") - 22 + len(entry))
    return outer[:-22] + bytes(entry).replace(b"x.npy", b"y.npy") + bytes(end)


def saved(**arrays: object) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def npz_cases() -> dict[str, bytes]:
    good = one(npy(header(), bytes(8)))
    packed = archive(("x.npy", npy(header(), bytes(8))), compression=zipfile.ZIP_DEFLATED)
    two = archive(("x.npy", npy(header(), bytes(8))), ("y.npy", npy(header(), bytes(8))))
    second = two.index(b"PK\1\2", two.index(b"PK\1\2") + 1)
    overlapping = two[: second + 42] + bytes(4) + two[second + 46 :]
    wrong_data = bytearray(good)
    wrong_data[good.index(b"PK\1\2") - 1] ^= 1
    quoted_names = ("x.npy", "y.npy")
    return {
        "npz_empty": b"",
        "npz_web_page": b"<!doctype html><p>404",
        "npz_is_pickle": pickle.dumps(Gadget()),
        "npz_truncated": good[:-1],
        "npz_only_end": good[-22:],
        "npz_with_garbage": good + b"garbage",
        "npz_with_prefix": b"#!/bin/sh\n" + good,
        "npz_with_comment": archive(("x.npy", npy(header(), bytes(8))), comment=b"hello"),
        "npz_object_dtype": saved(x=np.array([Gadget()], dtype=object)),
        "npz_object_dtype_plain": one(npy(header("'|O'"), pickle.dumps(Gadget()))),
        "npz_structured": saved(x=np.zeros(2, dtype=[("a", "f4"), ("b", "i4")])),
        "npz_text": saved(x=np.array(["a", "b"])),
        "npz_dates": saved(x=np.zeros(2, "M8[s]")),
        "npz_overlapping": overlapping,
        "npz_member_inside_another": nested(),
        "npz_comment_absent": good[:-2] + b"\5\0",
        "npz_duplicates": archive(*[("x.npy", npy(header(), bytes(8)))] * 2),
        "npz_other_member": archive(("x.npy", npy(header(), bytes(8))), ("run.py", b"")),
        "npz_nameless_member": archive((".npy", npy(header(), bytes(8)))),
        "npz_folder": archive(("x.npy/", b"")),
        "npz_too_many_members": archive(*[(f"{i}.npy", b"") for i in range(1100)]),
        "npz_encrypted": patched(good, 8, "<H", 1),
        "npz_bzip2": archive(("x.npy", npy(header(), bytes(8))), compression=zipfile.ZIP_BZIP2),
        "npz_lzma": archive(("x.npy", npy(header(), bytes(8))), compression=zipfile.ZIP_LZMA),
        "npz_wrong_checksum": bytes(wrong_data),
        "npz_declared_size_larger": patched(good, 24, "<I", 2**31),
        "npz_declared_size_smaller": patched(packed, 24, "<I", 40),
        "npz_packed_size_larger": patched(good, 20, "<I", 2**31),
        "npz_place_outside": patched(good, 42, "<I", 2**31),
        "npz_place_in_directory": patched(good, 42, "<I", good.index(b"PK\1\2")),
        "npz_total_over_limit": archive(
            *[
                (member, npy(header("'|u1'", "(40000000,)"), bytes(40_000_000)))
                for member in quoted_names
            ],
            compression=zipfile.ZIP_DEFLATED,
        ),
        "npz_shape_2_40": one(npy(header(shape="(1099511627776,)"))),
        "npz_shape_2_40_by_0": one(npy(header(shape="(1099511627776, 0)"))),
        "npz_shape_wraps": one(npy(header(shape="(4294967296, 4294967296)"))),
        "npz_shape_negative": one(npy(header(shape="(-2,)"), bytes(8))),
        "npz_shape_float": one(npy(header(shape="(2.0,)"), bytes(8))),
        "npz_shape_of_5000_digits": one(npy(header(shape="(" + "9" * 5000 + ",)"))),
        "npz_shape_of_commas": one(npy(header(shape="(" + "," * 5000 + ")"))),
        "npz_shape_of_spaces": one(npy(header(shape="(" + " 1" * 4000 + ")"))),
        "npz_shape_of_100_axes": one(npy(header(shape=f"({'1, ' * 100})"), bytes(4))),
        "npz_data_short": one(npy(header(), bytes(7))),
        "npz_data_long": one(npy(header(), bytes(9))),
        "npz_no_data": one(npy(header())),
        "npz_empty_member": one(b""),
        "npz_not_npy": one(b"hello world, this is text"),
        "npz_version_9": one(npy(header(), bytes(8), version=9)),
        "npz_half_magic": one(b"\x93NUM"),
        "npz_half_length": one(b"\x93NUMPY\1\0\5"),
        "npz_half_header": one(b"\x93NUMPY\1\0\xff\0{'descr'"),
        "npz_header_4_gb": one(b"\x93NUMPY\2\0\xff\xff\xff\xff{"),
        "npz_header_huge": one(npy(header() + " " * 60_000, bytes(8))),
        "npz_header_nested": one(npy("(" * 9000)),
        "npz_header_is_code": one(npy("__import__('os').system('touch gadget_ran')")),
        "npz_header_extra_key": one(npy(header()[:-2] + "'x': 1}", bytes(8))),
        "npz_header_empty": one(npy("")),
        "npz_header_not_ascii": one(npy(b"\xff" * 100)),
        "npz_booleans_not_0_or_1": one(npy(header("'|b1'"), b"\1\2")),
        "npz_order_native": one(npy(header("'=f4'"), bytes(8))),
    }


BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


def batch(n: int = 2) -> bytes:
    return pickle.dumps({"data": np.zeros((n, 3072), np.uint8), "labels": [0] * n}, 2)


def member(
    path: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", size: int = -1
) -> bytes:
    """Return a header and its data, padded; ``size`` is what the header says."""
    info = tarfile.TarInfo(path)
    info.type, info.linkname = kind, link
    info.size = len(data) if size < 0 else size
    return info.tobuf(tarfile.GNU_FORMAT) + data + bytes(-len(data) % 512)


def tar(*members: bytes, end: bytes = bytes(1024)) -> bytes:
    """Return an archive of the members and then six good batches."""
    return b"".join(members) + b"".join(member(name, batch()) for name in BATCHES) + end


def pax(*records: str) -> bytes:
    data = b""
    for record in records:
        size = len(record) + 2
        while len(f"{size} {record}\n") != size:
            size = len(f"{size} {record}\n")
        data += f"{size} {record}\n".encode()
    return data


def cifar_cases() -> dict[str, bytes]:
    good = tar()
    wrong_sum = bytearray(good)
    wrong_sum[0] ^= 1
    wide = bytearray(member("data_batch_1", batch()))
    wide[124:136] = b"\x80" + (2**40).to_bytes(11, "big")  # a size in base 256
    wide[148:156] = b"%06o\0 " % (sum(wide[:148]) + 8 * 32 + sum(wide[156:512]))
    gadget = pickle.dumps({"data": Gadget(), "labels": [0]})
    code = member("data_batch_1", gadget)
    rest = b"".join(member(name, batch()) for name in BATCHES[1:]) + bytes(1024)
    return {
        "tar_symbolic_link": tar(member("data_batch_1", kind=tarfile.SYMTYPE, link="/etc/passwd")),
        "tar_hard_link": tar(member("x", kind=tarfile.LNKTYPE, link="../../../etc/passwd")),
        "tar_absolute_path": tar(member("/etc/cron.d/x", b"boo")),
        "tar_path_upwards": tar(member("cifar/../../x", b"boo")),
        "tar_path_backslashes": tar(member("..\\..\\x", b"boo")),
        "tar_batch_elsewhere": tar(member("../data_batch_1", batch())),
        "tar_device": tar(member("x", kind=tarfile.CHRTYPE)),
        "tar_block_device": tar(member("x", kind=tarfile.BLKTYPE)),
        "tar_named_pipe": tar(member("data_batch_1", kind=tarfile.FIFOTYPE)),
        "tar_long_name": tar(member("././@LongLink", b"/etc/x\0", kind=tarfile.GNUTYPE_LONGNAME)),
        "tar_long_link": tar(member("././@LongLink", b"/etc/x\0", kind=tarfile.GNUTYPE_LONGLINK)),
        "tar_sparse": tar(member("x", kind=tarfile.GNUTYPE_SPARSE)),
        "tar_unknown_kind": tar(member("x", kind=b"Z")),
        "tar_pax_path": tar(member("x", pax("mtime=1.5", "path=/etc/passwd"), kind=b"x")),
        "tar_pax_size": tar(member("x", pax("size=99999999999"), kind=b"x")),
        "tar_pax_link": tar(member("x", pax("linkpath=/etc/passwd"), kind=b"g")),
        "tar_pax_sparse": tar(member("x", pax("GNU.sparse.size=9999999999"), kind=b"x")),
        "tar_pax_huge": tar(member("x", size=2**30, kind=b"x")),
        "tar_duplicate": tar(member("data_batch_1", batch())),
        "tar_folder_with_size": tar(member("x", b"boo", kind=tarfile.DIRTYPE)),
        "tar_wrong_checksum": bytes(wrong_sum),
        "tar_size_in_base_256": bytes(wide) + rest,
        "tar_size_absent": member("data_batch_1", batch(), size=2**24) + rest,
        "tar_batch_too_large": member("data_batch_1", size=2**33 - 1),
        "tar_other_too_large": tar(member("readme.html", bytes(2**20 + 1))),
        "tar_truncated": good[:-1100],
        "tar_without_end": good[:-1024],
        "tar_half_header": good[:100],
        "tar_with_garbage": good + b"garbage",
        "tar_with_zeros": good + bytes(2**21),
        "tar_many_members": b"".join(member(f"{i}", b"") for i in range(1100)),
        "tar_without_batches": member("readme.html", b"hello") + bytes(1024),
        "tar_only_end": bytes(1024),
        "tar_in_tar": member("cifar.tar", good) + bytes(1024),
        "tar_batch_runs_code": code + rest,
        "tar_batch_is_empty": member("data_batch_1") + rest,
        "tar_batch_is_page": member("data_batch_1", b"<html>404</html>") + rest,
        "tar_batch_of_zeros": gzip.compress(member("data_batch_1", bytes(2**24)) + rest),
        "tar_batch_of_floats": member(
            "data_batch_1", pickle.dumps({"data": np.zeros((1, 3072)), "labels": [0]})
        )
        + rest,
        "tar_batch_shape_bomb": member(
            "data_batch_1", b"\x80\x02}(U\4data" + array(shape_of(2**40, 3072)) + b"U\6labels]u."
        )
        + rest,
        "tar_labels_bomb": member(
            "data_batch_1", b"\x80\x02}(U\6labels](" + b"K\1" * 500_000 + b"eu."
        )
        + rest,
        "tar_gzip_bomb": gzip.compress(member("x", bytes(20_000_000)) + good),
        "tar_gzip_bomb_at_the_end": gzip.compress(good + bytes(20_000_000)),
        "tar_gzip_truncated": gzip.compress(good)[:-9],
        "tar_gzip_wrong_checksum": gzip.compress(good)[:-8] + bytes(8),
        "tar_gzip_two_members": gzip.compress(good) * 2,
        "tar_gzip_in_gzip": gzip.compress(gzip.compress(good)),
        "cifar_npz_objects": saved(x_train=np.array([Gadget()], dtype=object)),
        "cifar_npz_other_arrays": saved(x=np.zeros(3)),
        "cifar_npz_labels_10": saved(
            x_train=np.zeros((1, 3072), np.uint8), y_train=np.array([10]),
            x_test=np.zeros((1, 3072), np.uint8), y_test=np.array([1]),
        ),
        "cifar_npz_shape_bomb": one(npy(header("'|u1'", "(1099511627776, 3072)"))),
        "cifar_is_pickle": gadget,
        "cifar_is_page": b"<html>404</html>",
        "cifar_is_empty": b"",
    }  # fmt: skip


def csv_cases() -> dict[str, bytes]:
    return {
        "csv_is_pickle": pickle.dumps(Gadget()),
        "csv_is_npz": saved(x=np.zeros(3)),
        "csv_is_page": b"<html>1,2</html>",
        "csv_empty": b"",
        "csv_formula": b"a,b\n1,=cmd|' /C calc'!A0\n",
        "csv_number_of_a_million_digits": b"1,2\n" + b"9" * 1_000_000 + b",2\n",
        "csv_quote_that_never_ends": b'1,2\n"' + b"3,4\n" * 100_000,
        "csv_a_million_fields": b"1" + b",1" * 1_000_000 + b"\n1,2\n",
        "csv_zeros": bytes(2**23),
        "csv_gzip_bomb_line": gzip.compress(b"1" * 20_000_000),
        "csv_gzip_bomb_zeros": gzip.compress(bytes(20_000_000)),
        "csv_gzip_bomb_blank_lines": gzip.compress(b"\n" * 20_000_000 + b"x"),
        "csv_gzip_truncated": gzip.compress(b"1,2\n" * 1000)[:-9],
        "csv_gzip_wrong_checksum": gzip.compress(b"1,2\n" * 1000)[:-8] + bytes(8),
        "csv_gzip_with_garbage": gzip.compress(b"1,2\n") + b"3,4\n",
        "csv_utf16": "1,2\n3,4\n".encode("utf-16"),
        "csv_infinity": b"1,2\n1,1e400\n",
        "csv_hexadecimal": b"1,2\n0x10,1\n",
    }


CASES: dict[str, tuple[str, bytes]] = {
    **{key: ("pickle", data) for key, data in (pickle_cases() | gzip_cases()).items()},
    **{key: ("idx", data) for key, data in idx_cases().items()},
    **{key: ("npz", data) for key, data in npz_cases().items()},
    **{key: ("cifar", data) for key, data in cifar_cases().items()},
    **{key: ("csv", data) for key, data in csv_cases().items()},
}


def attack(kind: str, path: Path) -> tuple[BaseException | None, float]:
    start = time.perf_counter()
    error: BaseException | None = None
    try:
        READERS[kind](path, max_bytes=LIMIT)
    except Exception as caught:
        error = caught
    return error, time.perf_counter() - start


@pytest.mark.parametrize("case", CASES)
def test_hostile_file_is_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kind, data = CASES[case]
    path = tmp_path / "hostile"
    path.write_bytes(data)
    error, seconds = attack(kind, path)
    assert type(error) is FastmlpFormatError, repr(error)
    assert str(path) in str(error) and "expected" in str(error) and "got" in str(error)
    assert len(str(error)) < len(str(path)) + 500
    assert seconds < SECONDS
    assert not (tmp_path / "gadget_ran").exists()


@pytest.mark.parametrize("case", [case for case in CASES if CASES[case][0] in ("pickle", "npz")])
def test_hostile_file_is_refused_by_load_mnist(case: str, tmp_path: Path) -> None:
    path = tmp_path / "mnist.pkl.gz"
    path.write_bytes(CASES[case][1])
    with pytest.raises(FastmlpFormatError):
        fastmlp.datasets.load_mnist(tmp_path)


def test_corpus_is_large() -> None:
    assert len(CASES) >= 220
    assert load_cifar10_of(tar())[1][1].tolist() == [0, 0]  # what the archives are made from


def load_cifar10_of(data: bytes) -> Any:
    Path("cifar.tar").write_bytes(data)
    return load_cifar10("cifar.tar")


CHILD = f"""
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
from fastmlp.datasets._idx import read_idx
from fastmlp.datasets import load_cifar10, load_csv, load_npz
from fastmlp.datasets._pickle_reader import read_pickle
readers = dict(pickle=read_pickle, idx=read_idx, npz=load_npz, csv=load_csv)
readers["cifar"] = lambda path, max_bytes: load_cifar10(path)
for path in sorted(Path(sys.argv[1]).iterdir()):
    kind, _, case = path.name.partition(".")
    outcome = "value"
    try:
        readers[kind](path, max_bytes={LIMIT})
    except Exception as error:
        outcome = type(error).__name__
    print(case, outcome)
status = Path("/proc/self/status").read_text()
print("peak_kilobytes", status.split("VmHWM:")[1].split()[0])
"""


def test_hostile_files_fill_no_memory(tmp_path: Path) -> None:
    """All cases in one process that may use 1 GiB of addresses, numpy and all."""
    if sys.platform != "linux":
        pytest.skip("limits and peaks of memory are read the Linux way")
    root = Path(fastmlp.datasets.__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OPENBLAS_NUM_THREADS": "1"}
    for case, (kind, data) in CASES.items():
        (tmp_path / f"{kind}.{case}").write_bytes(data)
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert child.returncode == 0, child.stderr
    outcomes = dict(line.split(" ", 1) for line in child.stdout.splitlines())
    peak = int(outcomes.pop("peak_kilobytes"))
    assert len(outcomes) == len(CASES)
    assert {case: text for case, text in outcomes.items() if text != "FastmlpFormatError"} == {}
    assert peak < 128 * 1024, f"a peak of {peak} kB, of which Python and numpy are 30 000"
