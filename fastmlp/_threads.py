"""How many threads a run may use: what was asked for, and never more than there are CPUs for it.

Whoever starts threads calls :func:`get_num_threads` once a run. Nothing here starts any.
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
"""For tests: True lets a run have more threads than CPUs, so that 8 can be compared with 2."""

_QUOTA_SECONDS = 1.0  # a container's quota changes while it runs, but seldom

_choice: tuple[int, str] | None = None
_quota: tuple[float, int, int | None] = (0.0, 0, None)  # good until, process, CPUs


def get_num_threads() -> int:
    """Return how many threads a run may use.

    It is the number of :func:`set_num_threads`; else of the environment variable
    ``FASTMLP_NUM_THREADS``; else of ``OMP_NUM_THREADS``; else one for each CPU. It is never more
    than the CPUs that the affinity of the calling thread and the quota of the control group allow.
    A small model uses fewer.

    Returns
    -------
    n : int
        At least 1.

    Raises
    ------
    ValueError
        If ``FASTMLP_NUM_THREADS`` counts, and is not a positive integer.

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
    """Set how many threads the runs of this process may use, from the next one on.

    Results are the same bits for any number of threads.

    Parameters
    ----------
    n : int or None
        At least 1. Where there are fewer CPUs, one for each is used. None returns to the default.

    See Also
    --------
    get_num_threads : says what the default is.
    """
    choose(None if n is None else (_checks.integer(n, "n", minimum=1), "set_num_threads"))


def choice() -> tuple[int, str] | None:
    """Return the number that the program chose and the name of what chose it; None for neither."""
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
    """Return how many CPUs the calling thread may keep busy.

    Every logical CPU counts, as it does for OpenMP. Two on one core would do as well with one
    thread, but what a container or virtual machine says about its cores is often made up.
    """
    global _quota
    try:
        cpus = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not every system has it
        cpus = os.cpu_count() or 1
    until, process, allowed = _quota
    now = time.monotonic()
    if now >= until or process != os.getpid():  # a child of fork may be in another group
        allowed = cgroup_cpus()
        _quota = (now + _QUOTA_SECONDS, os.getpid(), allowed)
    return cpus if allowed is None else min(cpus, allowed)


def cgroup_cpus(root: str | os.PathLike[str] = "/") -> int | None:
    """Return the CPUs that the quotas on this process allow, rounded up; None without a quota.

    A quota of the control group or of any group around it holds. In a container the path of the
    group may be the host's; then the files of the container's group are where it is mounted.

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
    """Return the quota that the files of one control group set, in CPUs rounded up."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        try:
            words = " ".join(_read(os.path.join(folder, name)) for name in names).split()
            quota, period = int(words[0]), int(words[1])
        except (OSError, ValueError, IndexError):  # no such file, or "max"
            continue
        if quota > 0 and period > 0:  # -1 is no quota
            return -(-quota // period)
    return None


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def _wanted() -> tuple[int | None, str]:
    """Return the number that was asked for, and by what; None if nothing asks."""
    if _choice is not None:
        return _choice
    text = os.environ.get("FASTMLP_NUM_THREADS", "")
    if text:
        number = _positive(text)
        if number is None:
            raise ValueError(f"FASTMLP_NUM_THREADS must be a positive integer, got {text!r}.")
        return number, "FASTMLP_NUM_THREADS"
    # OpenMP's list has a number for each level of nesting: the first is ours.
    first, _, _ = os.environ.get("OMP_NUM_THREADS", "").partition(",")
    return _positive(first), "OMP_NUM_THREADS"


def _positive(text: str) -> int | None:
    text = text.strip()
    return (int(text) or None) if text.isdecimal() else None
