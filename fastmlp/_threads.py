"""The number of threads that a run may use: the requested number, limited to the available CPUs.

Code that starts threads calls :func:`get_num_threads` once per run. No thread is started here.
"""

from __future__ import annotations

import os
import time

from fastmlp import _checks

__all__ = [
    "available_cpus",
    "cgroup_cpus",
    "choice",
    "choose",
    "describe",
    "get_num_threads",
    "set_num_threads",
]

OVERSUBSCRIBE = False
"""For tests: True allows more threads than CPUs, so that results with 8 and 2 can be compared."""

_QUOTA_SECONDS = 1.0  # the quota of a container may change at run time, but rarely does

_choice: tuple[int, str] | None = None
_quota: tuple[float, int, int | None] = (0.0, 0, None)  # time of expiry, process, CPUs


def get_num_threads() -> int:
    """Return the maximum number of threads that a run may use.

    The number comes from the first of these that is set: :func:`set_num_threads`, the environment
    variable ``FASTMLP_NUM_THREADS``, ``OMP_NUM_THREADS``. The default is one thread per CPU. The
    number is limited to the CPUs that the affinity of the calling thread and the quota of the
    control group allow. A small model uses fewer threads.

    Returns
    -------
    n : int
        At least 1.

    Raises
    ------
    ValueError
        If ``FASTMLP_NUM_THREADS`` applies and is not a positive integer.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.set_num_threads(1)
    >>> fm.get_num_threads()
    1
    >>> fm.set_num_threads(None)
    """
    wanted, _ = _wanted()
    cpus = available_cpus()
    if wanted is None:
        return cpus
    return wanted if OVERSUBSCRIBE else min(wanted, cpus)


def set_num_threads(n: int | None) -> None:
    """Set the maximum number of threads for all following runs of this process.

    Results are identical to the bit for any number of threads.

    Parameters
    ----------
    n : int or None
        At least 1, limited to the number of available CPUs. None restores the default.

    See Also
    --------
    get_num_threads : the number in use, and its default.
    """
    choose(None if n is None else (_checks.integer(n, "n", minimum=1), "set_num_threads"))


def choice() -> tuple[int, str] | None:
    """Return the number set by the program and the name of the setter, or None if not set."""
    return _choice


def choose(value: tuple[int, str] | None) -> None:
    """Make :func:`choice` return ``value``."""
    global _choice
    _choice = value


def describe() -> str:
    """Return the number of threads and where it comes from, such as "2 (2 CPUs available)"."""
    (wanted, source), cpus, used = _wanted(), available_cpus(), get_num_threads()
    available = f"{cpus} CPU{'s' * (cpus > 1)} available"
    if wanted is None:
        return f"{used} ({available})"
    return f"{used} ({source})" if used == wanted else f"{used} ({source}={wanted}, {available})"


def available_cpus() -> int:
    """Return the number of CPUs that the calling thread may use.

    Every logical CPU counts, as in OpenMP. One thread per core would be as fast, but containers and
    virtual machines often report wrong numbers of cores.
    """
    global _quota
    try:
        cpus = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not available on every system
        cpus = os.cpu_count() or 1
    until, process, allowed = _quota
    now = time.monotonic()
    if now >= until or process != os.getpid():  # a forked child may be in another group
        allowed = cgroup_cpus()
        _quota = (now + _QUOTA_SECONDS, os.getpid(), allowed)
    return cpus if allowed is None else min(cpus, allowed)


def cgroup_cpus(root: str | os.PathLike[str] = "/") -> int | None:
    """Return the number of CPUs that the quotas allow, rounded up; None without a quota.

    The quotas of the control group of this process and of all its parent groups apply. In a
    container, the path of the group may be its path on the host. The files of the group are then
    directly in the mount point, which is read too.

    Parameters
    ----------
    root : path, default="/"
        The folder with ``proc/self/cgroup`` and ``sys/fs/cgroup``.
    """
    try:
        lines = _read(os.path.join(root, "proc/self/cgroup")).splitlines()
    except OSError:
        return None
    found = []
    for line in lines:  # 0::/path in version 2, 4:cpu,cpuacct:/path in version 1
        _, _, group = line.partition(":")
        controllers, _, path = group.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        for mount in {"cpu", controllers} if controllers else {""}:
            folder = os.path.join(root, "sys/fs/cgroup", mount)
            found.append(_quota_of(folder))
            for name in filter(None, path.split("/")):
                folder = os.path.join(folder, name)
                found.append(_quota_of(folder))
    return min(filter(None, found), default=None)


def _quota_of(folder: str) -> int | None:
    """Return the quota in the files of one control group, in CPUs rounded up."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            words = " ".join(_read(os.path.join(folder, name)) for name in names).split()
            quota, period = int(words[0]), int(words[1])
        except (OSError, ValueError, IndexError):  # no such file, or "max"
            continue
        if quota > 0 and period > 0:  # -1 means no quota
            return -(-quota // period)
    return None


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _wanted() -> tuple[int | None, str]:
    """Return the requested number, or None, and the name of its source."""
    if _choice is not None:
        return _choice
    text = os.environ.get("FASTMLP_NUM_THREADS", "")
    if text:
        number = _positive(text)
        if number is None:
            raise ValueError(f"FASTMLP_NUM_THREADS must be a positive integer, got {text!r}.")
        return number, "FASTMLP_NUM_THREADS"
    # The value may be a list with one number per nesting level; the first applies here.
    first, _, _ = os.environ.get("OMP_NUM_THREADS", "").partition(",")
    return _positive(first), "OMP_NUM_THREADS"


def _positive(text: str) -> int | None:
    text = text.strip()
    return (int(text) or None) if text.isdecimal() else None
