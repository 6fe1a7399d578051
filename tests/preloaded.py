"""Libraries of tests/c that a process loads before all others, for tests and a benchmark."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

__all__ = ["MISSING", "preload"]


def _missing() -> str:
    if platform.system() != "Linux" or platform.libc_ver()[0] != "glibc":
        return "the library is for glibc"
    return "" if shutil.which("gcc") else "gcc is not installed"


MISSING = _missing()
"""Why there can be no such library here; "" if there can."""


def preload(name: str, folder: Path) -> dict[str, str]:
    """Build a library in a folder; return the environment of a process that loads it."""
    source, library = Path(__file__).parent / "c" / f"{name}.c", folder / f"{name}.so"
    command = ["gcc", "-O1", "-shared", "-fPIC", str(source), "-o", str(library), "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return {**os.environ, "LD_PRELOAD": str(library)}
