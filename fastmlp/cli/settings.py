"""Settings of a command: one table for its options and for its TOML file.

The command line takes precedence over the TOML file, and the TOML file over the defaults.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["KINDS", "Kind", "Setting", "add_options", "add_to", "read_file", "to_toml", "values"]


class Kind(NamedTuple):
    """The values of a setting: a description, a conversion from text, and a check of TOML values.

    ``in_file`` describes the values in a TOML file, if they are written differently there.
    """

    what: str
    of_text: Callable[[str], Any]
    accepts: Callable[[Any], bool]
    in_file: str = ""


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _list_of(accepts: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(accepts, value))


def _integers(text: str) -> list[int]:
    return [] if text.strip() in ("", "none") else [int(part) for part in text.split(",")]


def _positive_integers(text: str) -> list[int]:
    values = [int(part) for part in text.split(",")]
    if min(values) < 1:
        raise ValueError
    return values


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _name(text: str) -> str:
    if not text:  # a shell passes "" for "$file" if file is not set
        raise ValueError
    return text


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _column(text: str) -> int | str:
    try:
        return int(text)
    except ValueError:
        return text


KINDS = {
    "text": Kind("a string", str, _is_text),
    "integer": Kind("an integer", int, _is_integer),
    "number": Kind("a finite number", _number, _is_number),
    "switch": Kind("true or false", bool, lambda value: isinstance(value, bool)),
    "integers": Kind(
        "integers such as 512,256, or none",
        _integers,
        _list_of(_is_integer),
        "a list of integers such as [512, 256], or []",
    ),
    "positive integers": Kind(
        "positive integers, such as 1,10,100",
        _positive_integers,
        _list_of(lambda value: _is_integer(value) and value >= 1),
    ),
    "names": Kind(
        "names such as error,f1",
        _names,
        _list_of(_is_text),
        'a list of names such as ["error", "f1"]',
    ),
    "column": Kind(
        "the name or number of a column",
        _column,
        lambda value: _is_text(value) or _is_integer(value),
    ),
    "file": Kind("the name of a file", _name, _is_name),
    "folder": Kind("the name of a folder", _name, _is_name),
    "file or folder": Kind("the name of a file or a folder", _name, _is_name),
    "file or switch": Kind(
        "the name of a file",
        _name,
        lambda value: _is_name(value) or isinstance(value, bool),
        "the name of a file, or true for the file of checkpoint",
    ),
    "layers": Kind('a list such as ["conv 32x5", "pool 2"]', str, _list_of(_is_text)),
}


class Setting(NamedTuple):
    """A setting: its name, its table in a TOML file, its kind, default and choices.

    Its option is ``--name``, with dashes; each kind of layer has a separate option.
    """

    name: str
    table: str
    kind: str = "text"
    default: Any = None
    choices: tuple[str, ...] = ()

    @property
    def option(self) -> str:
        """Name of the option."""
        return "--" + self.name.replace("_", "-")


class _Layer(argparse.Action):
    """Appends a layer, in the order of the command line."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        given: Any,
        option_string: str | None = None,
    ) -> None:
        name = (option_string or "").removeprefix("--")
        layers = [*getattr(namespace, "layers", []), f"{name} {given}" if given else name]
        namespace.layers = layers


def add_options(
    parser: argparse.ArgumentParser, settings: Iterable[Setting], layers: Sequence[str] = ()
) -> None:
    """Add an option for every setting; an absent option leaves no attribute in the namespace."""
    for setting in settings:
        add_to(parser, setting)
    for name in layers:
        count: Any = 0 if name == "global-pool" else None
        parser.add_argument(
            f"--{name}", dest="layers", action=_Layer, nargs=count, default=argparse.SUPPRESS
        )


def add_to(parser: argparse.ArgumentParser, setting: Setting) -> None:
    """Add the option of one setting."""
    common: dict[str, Any] = {"dest": setting.name, "default": argparse.SUPPRESS}
    if setting.kind == "switch":
        parser.add_argument(setting.option, action=argparse.BooleanOptionalAction, **common)
    elif setting.kind == "file or switch":
        parser.add_argument(setting.option, nargs="?", const=True, **common)
    elif setting.kind != "layers" and setting.name != "dataset":
        parser.add_argument(setting.option, **common)


def values(
    settings: Iterable[Setting], args: argparse.Namespace, file: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the value of every setting: from the command line, the file, or the default.

    Raises
    ------
    ValueError
        If a text on the command line is not a valid value.
    """
    result = {}
    for setting in settings:
        given = getattr(args, setting.name, None)
        if isinstance(given, str):
            given = _of_text(setting, given)
        if given is None:
            given = file.get(setting.name, setting.default)
        result[setting.name] = given
    return result


def _of_text(setting: Setting, text: str) -> Any:
    kind = KINDS[setting.kind]
    try:
        value = kind.of_text(text)
    except ValueError:
        raise ValueError(f"{setting.option} must be {kind.what}, got {text!r}.") from None
    _check_choice(setting, value, setting.option)
    return value


def _check_choice(setting: Setting, value: Any, where: str) -> None:
    if setting.choices and value not in setting.choices:
        raise ValueError(f"{where} must be {' or '.join(setting.choices)}, got {value!r}.")


def read_file(path: str, settings: Sequence[Setting], layers: Sequence[str] = ()) -> dict[str, Any]:
    """Return the settings in a TOML file, at its top level or in their tables.

    ``layers`` are the names of options for layers, which are entries of the list ``layers`` in a
    file.

    Raises
    ------
    ImportError
        If Python is older than 3.11 and tomli is missing. Install it with the extra ``toml``.
    OSError
        If the file cannot be read.
    ValueError
        If the file is not valid TOML; if a name is unknown (the message suggests the nearest
        name), set twice or in the wrong table; or if a value is invalid.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        document = _parse_toml(text)
    except UnicodeDecodeError:
        raise ValueError(f"{path} must be a TOML file in UTF-8.") from None
    except ValueError as error:
        raise ValueError(f"{path} must be a TOML file: {error}") from None
    known = {setting.name: setting for setting in settings}
    tables = {setting.table for setting in settings}
    flat: dict[str, tuple[str, str, Any]] = {}
    for top, value in document.items():
        inside = value if isinstance(value, dict) else {top: value}
        table = top if isinstance(value, dict) else ""
        if not table and top in tables - known.keys():
            raise ValueError(f"{path}: {top} must be a table, [{top}], got {value!r}.")
        if table and table not in tables:
            hint = _nearest(table, tables, "The tables are " + ", ".join(sorted(tables)))
            raise ValueError(f"{path}: unknown table [{table}]. {hint}")
        for key, given in inside.items():
            name = key.replace("-", "_")
            if name in flat:
                raise ValueError(f"{path}: {key} is set twice; remove one of the two entries.")
            flat[name] = table, key, given
    result = {}
    for name, (table, key, value) in flat.items():
        where = f"{path}: [{table}] {key}" if table else f"{path}: {key}"
        if name.replace("_", "-") in layers:
            what = KINDS["layers"].what
            raise ValueError(f"{where} is a layer; put it into layers, {what}.")
        if name not in known:
            raise ValueError(f"{where} is unknown. {_nearest(name, known, 'See train --help')}")
        setting = known[name]
        if table and table != setting.table:
            raise ValueError(f"{where} belongs in [{setting.table}].")
        kind = KINDS[setting.kind]
        if not kind.accepts(value):
            raise ValueError(f"{where} must be {kind.in_file or kind.what}, got {value!r}.")
        _check_choice(setting, value, where)
        result[name] = value
    return result


def _nearest(name: str, known: Iterable[str], otherwise: str) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {near[0]}?" if near else f"{otherwise}."


def _parse_toml(text: str) -> dict[str, Any]:
    for name in ("tomllib", "tomli"):  # tomllib is available since Python 3.11
        try:
            toml = importlib.import_module(name)
        except ImportError:
            continue
        result: dict[str, Any] = toml.loads(text)
        return result
    raise ImportError(
        '--config needs tomli on Python 3.10: pip install "fastmlp[toml]"', name="tomli"
    )


def to_toml(settings: Iterable[Setting], chosen: Mapping[str, Any]) -> str:
    """Return settings as TOML that ``read_file`` reads; settings without a value are left out."""
    tables: dict[str, list[str]] = {}
    for setting in settings:
        value = chosen[setting.name]
        if value is not None:
            line = f"{setting.name} = {_toml_value(value)}"
            tables.setdefault(setting.table, []).append(line)
    return "\n\n".join("\n".join([f"[{name}]", *lines]) for name, lines in tables.items()) + "\n"


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, value))}]"
    if isinstance(value, float):
        text = repr(value)
        return text if any(mark in text for mark in ".e") else text + ".0"
    if isinstance(value, int):
        return str(value)
    # JSON and TOML write strings alike, except DEL and file names that are not UTF-8.
    text = json.dumps(os.fsdecode(value).encode("utf-8", "replace").decode(), ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")
