"""Command lines: hand-written help that fits a screen, and errors in one line with a hint."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from fastmlp._threads import set_num_threads

__all__ = ["Parser", "UsageError", "add_threads", "join_numbers", "use_threads"]

_CHOICE = re.compile(
    r"argument COMMAND: invalid choice: '(?P<given>.*)' \(choose from (?P<known>.*)\)"
)
_NUMBERS = re.compile(r"\d+(,\d+)*,?")


class UsageError(ValueError):
    """An invalid command line."""


class Parser(argparse.ArgumentParser):
    """An ArgumentParser with hand-written help that raises UsageError for invalid arguments.

    Parameters
    ----------
    text : str
        The help, from "usage:" to the examples. A test compares it with the options.
    """

    def __init__(self, text: str = "", **options: Any) -> None:
        self.text = text
        super().__init__(allow_abbrev=False, **options)

    def format_help(self) -> str:
        """Return the help."""
        return self.text

    def error(self, message: str) -> NoReturn:
        """Raise a UsageError with a hint."""
        choice = _CHOICE.match(message)
        if choice:
            known = re.findall(r"'?([\w-]+)'?", choice["known"])
            near = difflib.get_close_matches(choice["given"], known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"The commands are {', '.join(known)}."
            message = f"unknown command {choice['given']!r}. {hint}"
        message = message.removeprefix("argument ")
        raise UsageError(f"{_sentence(message)} See {self.prog} --help.")

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Raise a UsageError for unknown arguments; it suggests the nearest option."""
        first = unknown[0].partition("=")[0]
        if not first.startswith("-"):
            self.error(f"unexpected argument {first!r}")
        near = difflib.get_close_matches(first, self._option_string_actions, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        self.error(f"unknown option {first}.{hint}")

    def options(self) -> list[str]:
        """Return the long names of all options."""
        return [name for name in self._option_string_actions if name.startswith("--")]


def _sentence(message: str) -> str:
    message = message.removesuffix(".")
    return message if message.endswith("?") else message + "."


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add the option --threads."""
    parser.add_argument("--threads", metavar="N")


def use_threads(given: Any) -> None:
    """Set the number of threads from the text of --threads; None changes nothing."""
    if given is None:
        return
    try:
        count = int(given)
    except ValueError:
        raise UsageError(f"--threads must be an integer, got {given!r}.") from None
    if count < 1:
        raise UsageError(f"--threads must be at least 1, got {count}.")
    set_num_threads(count)


def join_numbers(arguments: Sequence[str], option: str = "--hidden") -> list[str]:
    """Join the numbers after ``option`` to one argument, so that ``--hidden 512 256`` works.

    An option without numbers, as in ``--hidden --epochs 3``, gets "none".
    """
    result: list[str] = []
    index = 0
    while index < len(arguments):
        word = arguments[index]
        index += 1
        result.append(word)
        if word != option:
            continue
        numbers = []
        while index < len(arguments) and _NUMBERS.fullmatch(arguments[index]):
            numbers.append(arguments[index].rstrip(","))
            index += 1
        if numbers:
            result.append(",".join(numbers))
        elif index == len(arguments) or arguments[index].startswith("--"):
            result.append("none")
    return result
