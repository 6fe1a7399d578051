"""The command ``fastmlp``: one module a subcommand, each with ``add`` and ``run``.

What a user can get wrong ends in one line and exit status 2; a training that diverges or a
gradient check that fails in status 1; Ctrl-C in status 130.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from fastmlp import _checks
from fastmlp._threads import set_num_threads
from fastmlp.cli import evaluate, gradcheck, info, predict, train
from fastmlp.errors import DivergenceError

__all__ = ["main"]

_INTERRUPTED = 130  # what shells report for a program that Ctrl-C ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    Parameters
    ----------
    arguments : list of str, default=None
        What follows the command's name; None means ``sys.argv[1:]``.

    Returns
    -------
    status : int
        0 on success, 1 if training diverged or a check failed, 2 for a mistake, 130 for Ctrl-C.
    """
    parsed = _parser().parse_args(arguments)
    try:
        if getattr(parsed, "threads", None) is not None:
            set_num_threads(_checks.integer(parsed.threads, "--threads", minimum=1))
        status: int = parsed.run(parsed)
        sys.stdout.flush()
    except DivergenceError as error:
        return _fail(error, 1)
    except KeyboardInterrupt:
        print("fastmlp: stopped by Ctrl-C", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (ImportError, MemoryError, OSError, TypeError, ValueError) as error:
        return _fail(error, 2)
    return status


def _fail(error: BaseException, status: int) -> int:
    text = " ".join(str(error).split()) or type(error).__name__
    print(f"fastmlp: error: {text}", file=sys.stderr)
    return status


class _Version(argparse.Action):
    """Prints the version; reading it takes longer than all other imports together."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib import metadata

        print(f"fastmlp {metadata.version('fastmlp')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fastmlp", description="Train and run small neural networks on a CPU."
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (train, evaluate, predict, gradcheck, info):
        command = module.add(commands)
        command.set_defaults(run=module.run)
    return parser
