"""What is running: version, instruction set, threads, compiler."""

from __future__ import annotations

import platform

import numpy as np

from fastmlp import _threads

__all__ = ["config", "instruction_set", "show_config"]


def config() -> dict[str, str]:
    """Return what :func:`show_config` prints, as text by name."""
    from importlib import metadata  # here, because it takes as long to import as all of fastmlp

    from fastmlp._compiled import cpu

    try:
        version = metadata.version("fastmlp")
    except metadata.PackageNotFoundError:
        version = "unknown (a source tree that is not installed)"
    return {
        "fastmlp": version,
        "instruction set": cpu.isa,
        "available": ", ".join(cpu.supported_levels()),
        "threads": _threads.describe(),
        "compiler": cpu.compiler,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "numpy": np.__version__,
        "platform": platform.platform(),
    }


def instruction_set() -> str:
    """Return the name of the instruction set of the compiled modules."""
    from fastmlp._compiled import cpu

    name: str = cpu.isa
    return name


def show_config() -> None:
    """Print version, instruction set, threads and compiler.

    ``FASTMLP_ISA=generic|avx2|avx512|neon``, set before the import, forces an instruction set.

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
