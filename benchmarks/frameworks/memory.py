"""How much more memory a process needs for a while, at its peak."""

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
    """Return the largest resident memory so far, in bytes; 0 where it cannot be known."""
    try:
        # ru_maxrss is no less than what the parent had when it started this process.
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 if resource else 0


def reset_peak() -> None:
    """Give back what is free, and let the peak begin again at what is resident, if Linux can."""
    gc.collect()
    try:
        # Memory that earlier work has left free in the heap would be used without being seen.
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # not glibc
        pass
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pass


class Growth:
    """A block after which ``bytes`` says how far memory rose above what was there before it."""

    bytes = 0

    def __enter__(self) -> Growth:
        reset_peak()
        self.before = peak()
        return self

    def __exit__(self, *_: object) -> None:
        self.bytes = peak() - self.before
