"""Pickles of plain values and number arrays, read without an unpickler.

A table maps opcodes to the functions below. The result consists of None, bool, int, float, str,
bytes, tuple, list, dict and numpy arrays of plain numbers. All other content is refused: other
names, extension codes, persistent ids, objects, and state for anything but arrays. An unpickler
with a list of allowed names is not safe: even if it allows only numpy's reconstructors, a pickle
can make it read arbitrary memory.

Limits hold for opcodes, depth, values (counted with repetition, because a small pickle of shared
tuples can represent 2**30 values) and bytes of arrays, which cannot exceed the bytes in the file.
"""

from __future__ import annotations

import codecs
import os
import pickletools
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from ._arrays import MAX_BYTES
from ._bytestream import ByteStream, open_bytes
from ._pickle_machine import LARGE, Machine
from ._pickle_records import (
    ArrayRecord,
    DtypeRecord,
    Name,
    find_name,
    from_buffer,
    make_dtype,
)

__all__ = ["pickle_value", "read_pickle"]

MAX_OPCODES = 60_000


def read_pickle(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> Any:
    """Read plain values and number arrays from a pickle, without running code from it.

    Parameters
    ----------
    path : str or path
        A pickle of protocol 0 to 5, plain or gzip.
    max_bytes : int, default=4 GiB
        Limit on the unpacked size.

    Returns
    -------
    value : object
        Tuples, lists, dicts, numbers, strings, None and arrays. Strings written by Python 2
        become bytes. Arrays have native byte order and are writeable.

    Raises
    ------
    FastmlpFormatError
        If the file is damaged, too large, or contains other values.
    OSError
        If the file cannot be opened or read.

    Notes
    -----
    Peak memory is about the unpacked size, or twice that for protocols 0 to 2 written by Python 3.

    References
    ----------
    CPython, ``Lib/pickletools.py``, and numpy, ``ndarray.__reduce_ex__``.
    """
    with open_bytes(path, max_bytes) as stream:
        return pickle_value(stream)


def pickle_value(stream: ByteStream) -> Any:
    """Return the value of a stream that contains one pickle; see ``read_pickle``."""
    value = _run(Machine(stream))
    stream.check_end()
    return value


def _run(machine: Machine) -> Any:
    """Run the opcodes up to STOP; return the value left on the stack."""
    read = machine.stream.read
    for _ in range(MAX_OPCODES):
        code = read(1)[0]
        if code == _STOP:
            if len(machine.stack) != 1 or machine.marks:
                raise machine.error("one value at the end", "no value or several")
            return machine.plain(machine.stack[0])
        operation = _OPERATIONS.get(code)
        if operation is None:
            raise machine.error("a pickle of plain values and arrays", _describe(code))
        operation(machine)
    raise machine.error(f"at most {MAX_OPCODES} opcodes", "more")


def _describe(code: int) -> str:
    name = _OPCODE_NAMES.get(code)
    return f"opcode {name}" if name else f"byte 0x{code:02x}, which is not an opcode"


# Operations, one function each; the tables at the end map opcodes to them.


def _frame(machine: Machine) -> None:
    machine.number("<Q")  # the frame length only helps buffering; its content is read anyway


def _protocol(machine: Machine) -> None:
    version = machine.number("<B")
    if version > 5:
        raise machine.error("a pickle of protocol 0 to 5", f"protocol {version}")


def _mark(machine: Machine) -> None:
    machine.marks.append(machine.stack)
    machine.stack = []


def _int_line(machine: Machine) -> None:
    line = machine.line()
    if line in (b"00", b"01"):
        machine.stack.append(line == b"01")
    elif re.fullmatch(rb"-?[0-9]{1,19}L?", line):
        machine.stack.append(int(line.rstrip(b"L")))
    else:
        raise machine.error("a decimal number", repr(line[:40]))


def _float_line(machine: Machine) -> None:
    line = machine.line()
    try:
        if len(line) > 40 or b"_" in line:
            raise ValueError
        machine.stack.append(float(line))
    except ValueError:
        raise machine.error("a floating-point number", repr(line[:40])) from None


def _long(machine: Machine) -> None:
    length = machine.number("<B")
    if length > 9:
        raise machine.error("an integer of at most 9 bytes", f"{length} bytes")
    machine.stack.append(int.from_bytes(machine.stream.read(length), "little", signed=True))


def _string_line(machine: Machine) -> None:
    line = machine.line()
    quoted = len(line) >= 2 and line[:1] == line[-1:] and line[:1] in (b"'", b'"')
    if not quoted or re.search(rb"\\(?![\\'\"nrtx])", line[1:-1].replace(b"\\\\", b"")):
        raise machine.error("a quoted string", repr(line[:40]))
    try:
        machine.stack.append(codecs.escape_decode(line[1:-1])[0])
    except ValueError:
        raise machine.error("a string with valid escapes", repr(line[:40])) from None


def _text_line(machine: Machine) -> None:
    line = machine.line()
    if len(line) > LARGE and re.search(rb"\\u(?!00)|\\U(?!000000)", line):
        raise machine.error("only Latin-1 characters in large text", "other characters")
    try:
        machine.stack.append(line.decode("raw-unicode-escape"))
    except ValueError:
        raise machine.error("text with valid escapes", repr(line[:40])) from None


def _append_text(machine: Machine, data: bytes | bytearray) -> None:
    # One wide character makes all characters of a str wide, which takes four times the memory.
    if len(data) > LARGE and np.frombuffer(data, np.uint8).max() > 0xC3:
        raise machine.error("only Latin-1 characters in large text", "other characters")
    try:
        machine.stack.append(data.decode("utf-8"))
    except ValueError:
        raise machine.error("UTF-8 text", "other bytes") from None


def _memo_put(machine: Machine, index: int) -> None:
    if not machine.stack:
        raise machine.error("a value to store in the memo", "none")
    machine.memo[index] = machine.stack[-1]


def _memo_get(machine: Machine, index: int) -> None:
    if index not in machine.memo:
        raise machine.error("a number stored in the memo", str(index))
    machine.stack.append(machine.memo[index])


def _memo_line(machine: Machine) -> int:
    line = machine.line()
    if not re.fullmatch(rb"[0-9]{1,9}", line):
        raise machine.error("a memo number", repr(line[:40]))
    return int(line)


def _tuple(machine: Machine) -> None:
    values = tuple(machine.pop_to_mark())
    machine.stack.append(values)


def _tuple_of(machine: Machine, n: int) -> None:
    if len(machine.stack) < n:
        raise machine.error(f"{n} values on the stack", str(len(machine.stack)))
    machine.stack[-n:] = [tuple(machine.stack[-n:])]


def _list(machine: Machine) -> None:
    values = machine.pop_to_mark()
    machine.stack.append(values)


def _append(machine: Machine) -> None:
    value = machine.pop()
    machine.top(list).append(value)


def _appends(machine: Machine) -> None:
    values = machine.pop_to_mark()
    machine.top(list).extend(values)


def _set_items(machine: Machine, target: dict[Any, Any], items: list[Any]) -> None:
    if len(items) % 2:
        raise machine.error("pairs of keys and values", "a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        if type(key) not in (str, bytes, int):
            raise machine.error("keys of type str, bytes or int", type(key).__name__)
        target[key] = value


def _dict(machine: Machine) -> None:
    items = machine.pop_to_mark()
    result: dict[Any, Any] = {}
    _set_items(machine, result, items)
    machine.stack.append(result)


def _setitem(machine: Machine) -> None:
    value = machine.pop()
    key = machine.pop()
    _set_items(machine, machine.top(dict), [key, value])


def _setitems(machine: Machine) -> None:
    items = machine.pop_to_mark()
    _set_items(machine, machine.top(dict), items)


def _global(machine: Machine) -> None:
    module = machine.line()
    machine.stack.append(find_name(machine.name, module, machine.line()))


def _stack_global(machine: Machine) -> None:
    attribute = machine.pop()
    machine.stack.append(find_name(machine.name, machine.pop(), attribute))


def _reduce(machine: Machine) -> None:
    arguments = machine.pop()
    function = machine.pop()
    if not isinstance(function, Name) or type(arguments) is not tuple:
        raise machine.error("a call that makes an array", "another call")
    limit = machine.stream.max_bytes
    if function is Name.DTYPE:
        machine.stack.append(make_dtype(machine.name, arguments))
    elif function is Name.RECONSTRUCT and _is_empty_array(arguments):
        machine.stack.append(ArrayRecord())
    elif function is Name.FROM_BUFFER and arguments:
        data = machine.own(arguments[0])
        machine.stack.append(from_buffer(machine.name, (data, *arguments[1:]), limit))
    elif function is Name.ENCODE and len(arguments) == 2 and arguments[1] in ("latin1", b"latin1"):
        machine.stack.append(_encode(machine, arguments[0]))
    elif function is Name.BYTES and not arguments:
        machine.stack.append(b"")
    else:
        raise machine.error("a call that makes an array", f"wrong arguments of {function.value}")


def _is_empty_array(arguments: tuple[Any, ...]) -> bool:
    """Return whether these are the arguments of ``_reconstruct(ndarray, (0,), b"b")``."""
    return (
        len(arguments) == 3
        and arguments[0] is Name.NDARRAY
        and arguments[1] == (0,)
        and arguments[2] in (b"b", "b")
    )


def _encode(machine: Machine, text: object) -> bytes | bytearray:
    """Return the bytes that Python 3 writes as Latin-1 text in protocols 0 to 2."""
    if not isinstance(text, str):
        raise machine.error("text to encode", f"a {type(text).__name__}")
    machine.spend(len(text))
    try:
        if len(text) <= LARGE:
            return text.encode("latin-1")
        data = bytearray()
        for start in range(0, len(text), LARGE):
            data += text[start : start + LARGE].encode("latin-1")
        return data
    except UnicodeEncodeError:
        raise machine.error("Latin-1 text", "other characters") from None


def _build(machine: Machine) -> None:
    state = machine.pop()
    record = machine.stack[-1] if machine.stack else None
    if isinstance(record, DtypeRecord):
        record.set_state(machine.name, state)
    elif isinstance(record, ArrayRecord):
        if type(state) is tuple and state:
            state = (*state[:-1], machine.own(state[-1]))
        record.set_state(machine.name, state, machine.stream.max_bytes)
    else:
        got = f"state for a {type(record).__name__}"
        raise machine.error("state for an array or its dtype", got)


_Operation = Callable[[Machine], None]


def _constant(make: Callable[[], Any]) -> _Operation:
    return lambda machine: machine.stack.append(make())


def _number(form: str) -> _Operation:
    return lambda machine: machine.stack.append(machine.number(form))


def _sized_bytes(form: str) -> _Operation:
    return lambda machine: machine.stack.append(machine.data(machine.number(form)))


def _sized_text(form: str) -> _Operation:
    return lambda machine: _append_text(machine, machine.data(machine.number(form)))


_STOP = ord(".")

_NAMED_OPERATIONS: dict[str, _Operation] = {
    "PROTO": _protocol,
    "FRAME": _frame,
    "MARK": _mark,
    "NONE": _constant(lambda: None),
    "NEWTRUE": _constant(lambda: True),
    "NEWFALSE": _constant(lambda: False),
    "INT": _int_line,
    "LONG": _int_line,
    "BININT": _number("<i"),
    "BININT1": _number("<B"),
    "BININT2": _number("<H"),
    "LONG1": _long,
    "FLOAT": _float_line,
    "BINFLOAT": _number(">d"),
    "STRING": _string_line,
    "BINSTRING": _sized_bytes("<i"),
    "SHORT_BINSTRING": _sized_bytes("<B"),
    "BINBYTES": _sized_bytes("<I"),
    "SHORT_BINBYTES": _sized_bytes("<B"),
    "BINBYTES8": _sized_bytes("<Q"),
    "BYTEARRAY8": _sized_bytes("<Q"),
    "UNICODE": _text_line,
    "BINUNICODE": _sized_text("<I"),
    "SHORT_BINUNICODE": _sized_text("<B"),
    "BINUNICODE8": _sized_text("<Q"),
    "EMPTY_TUPLE": _constant(tuple),
    "TUPLE1": lambda machine: _tuple_of(machine, 1),
    "TUPLE2": lambda machine: _tuple_of(machine, 2),
    "TUPLE3": lambda machine: _tuple_of(machine, 3),
    "TUPLE": _tuple,
    "EMPTY_LIST": _constant(list),
    "LIST": _list,
    "APPEND": _append,
    "APPENDS": _appends,
    "EMPTY_DICT": _constant(dict),
    "DICT": _dict,
    "SETITEM": _setitem,
    "SETITEMS": _setitems,
    "PUT": lambda machine: _memo_put(machine, _memo_line(machine)),
    "BINPUT": lambda machine: _memo_put(machine, machine.number("<B")),
    "LONG_BINPUT": lambda machine: _memo_put(machine, machine.number("<I")),
    "MEMOIZE": lambda machine: _memo_put(machine, len(machine.memo)),
    "GET": lambda machine: _memo_get(machine, _memo_line(machine)),
    "BINGET": lambda machine: _memo_get(machine, machine.number("<B")),
    "LONG_BINGET": lambda machine: _memo_get(machine, machine.number("<I")),
    "GLOBAL": _global,
    "STACK_GLOBAL": _stack_global,
    "REDUCE": _reduce,
    "BUILD": _build,
}

_OPCODE_NAMES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}
_OPERATIONS = {
    code: _NAMED_OPERATIONS[name]
    for code, name in _OPCODE_NAMES.items()
    if name in _NAMED_OPERATIONS
}
