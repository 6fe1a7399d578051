"""The command ``fastmlp``: one module per subcommand, each with ``HELP``, ``add`` and ``run``.

A user's mistake prints one line and gives exit status 2. A run that diverges or a gradient
check that fails gives status 1, Ctrl-C gives status 130.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from fastmlp._config import __version__
from fastmlp.cli import bench, evaluate, gradcheck, info, predict, train
from fastmlp.cli.parser import Parser, join_numbers, use_threads
from fastmlp.errors import DivergenceError

__all__ = ["HELP", "main"]

_INTERRUPTED = 130  # the status that shells report for a program ended by Ctrl-C

HELP = """\
usage: fastmlp COMMAND [arguments]

Train and run small neural networks on a CPU.

commands
  train      train a network on a data set or a file, and save it
  evaluate   measure the loss and the metrics of a saved model
  predict    write the predictions of a saved model as CSV
  gradcheck  compare gradients with finite differences
  bench      compare the speed of fastmlp and other installed frameworks
  info       describe the installation or a saved model

Options of a command: fastmlp COMMAND --help. Version: fastmlp --version.

examples
  fastmlp train digits --save model.safetensors --report run.html
  fastmlp evaluate model.safetensors --confusion
  fastmlp predict model.safetensors digits --proba > predictions.csv
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    Parameters
    ----------
    arguments : list of str, default=None
        Arguments after the name of the command; None means ``sys.argv[1:]``.

    Returns
    -------
    status : int
        0 on success, 1 if training diverged or a check failed, 2 for a user's mistake, 130 for
        Ctrl-C.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    _open_streams()
    try:
        parser, commands = _parser()
        parsed, unknown = parser.parse_known_args(join_numbers(given))
        if unknown:
            commands[parsed.command].refuse(unknown)
        if getattr(parsed, "model", None) == "":
            commands[parsed.command].error("MODEL must be the name of a file, got ''")
        use_threads(getattr(parsed, "threads", None))
        status: int = parsed.run(parsed)
        sys.stdout.flush()
    except DivergenceError as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        print("fastmlp: stopped by Ctrl-C", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of the pipe, such as head, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ImportError, MemoryError, OSError, TypeError, ValueError) as error:
        return _fail(error, 2)
    return status


def _open_streams() -> None:
    """Discard the output to a closed stdout or stderr (``>&-``), which is None in Python."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = open(os.devnull, "w", encoding="utf-8", errors="backslashreplace")
            setattr(sys, name, nowhere)


def _fail(error: BaseException, status: int) -> int:
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, OSError) and error.strerror and isinstance(error.filename, (str, bytes)):
        text = f"{os.fsdecode(error.filename)}: {error.strerror}."
        if isinstance(error, FileNotFoundError) and not os.path.isabs(error.filename):
            text += f" (The current folder is {os.getcwd()}.)"
    elif isinstance(error, MemoryError):
        text = f"out of memory. {text}"
    print(f"fastmlp: error: {text}", file=sys.stderr)
    return status


def _parser() -> tuple[Parser, dict[str, Parser]]:
    parser = Parser(HELP, prog="fastmlp")
    parser.add_argument("--version", action="version", version=f"fastmlp {__version__}")
    subparsers: Any = parser.add_subparsers(
        metavar="COMMAND", required=True, dest="command", parser_class=Parser, prog="fastmlp"
    )
    commands = {}
    for module in (train, evaluate, predict, gradcheck, bench, info):
        command: Parser = module.add(subparsers)
        command.set_defaults(run=module.run)
        commands[command.prog.split()[-1]] = command
    return parser, commands
