"""The version of fastmlp, and the instruction set, threads and compiler in use."""

from __future__ import annotations

import platform

import numpy as np

from fastmlp import _threads

__all__ = ["__version__", "config", "instruction_set", "show_config"]

__version__ = "0.1.0"  # read by pyproject.toml


def config() -> dict[str, str]:
    """Return the entries that :func:`show_config` prints, as text by name."""
    from fastmlp._compiled import cpu

    return {
        "fastmlp": __version__,
        "instruction set": cpu.isa,
        "available": ", ".join(cpu.supported_levels()),
        "threads": _threads.describe(),
        "compiler": cpu.compiler,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": np.__version__,
        "platform": platform.platform(),
    }


def instruction_set() -> str:
    """Return the name of the instruction set that the compiled modules use."""
    from fastmlp._compiled import cpu

    name: str = cpu.isa
    return name


def show_config() -> None:
    """Print the version, the instruction set, the number of threads and the compiler.

    The environment variable ``FASTMLP_ISA`` (generic, avx2, avx512 or neon), set before the import,
    selects an instruction set.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.show_config()  # doctest: +SKIP
    fastmlp          0.1.0
    instruction set  avx2
    """
    entries = config()
    width = max(map(len, entries))
    for name, value in entries.items():
        print(f"{name:<{width}}  {value}")
