"""The rise of the memory peak of a process during a block of code."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path

__all__ = ["Growth"]

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


def peak() -> int:
    """Return the peak of resident memory so far, in bytes; 0 if it is unknown."""
    try:
        # ru_maxrss is at least the memory of the parent when it started this process.
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 if resource else 0


def reset_peak() -> None:
    """Return free memory to the system, and on Linux reset the peak to the resident memory."""
    gc.collect()
    try:
        # Reuse of memory that earlier work left free in the heap would not be counted.
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # not glibc
        pass
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


class Growth:
    """A context manager; afterwards ``bytes`` is the rise of the memory peak during the block."""

    bytes = 0

    def __enter__(self) -> Growth:
        reset_peak()
        self.before = peak()
        return self

    def __exit__(self, *_: object) -> None:
        self.bytes = peak() - self.before
