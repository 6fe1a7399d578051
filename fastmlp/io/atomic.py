"""Atomic writes: no process ever sees a partially written file."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat

__all__ = ["check_writable", "remove_stale", "write_atomically"]

_FREE = "free some space, or write to another disk"
_RIGHTS = "you have no permission to write to its folder; choose another folder"
_TO_DO = {
    errno.ENOSPC: _FREE,
    errno.EDQUOT: _FREE.replace("space", "of your quota"),
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EIO: "the disk is failing; write to another one",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "the disk is read-only; write to another one",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ENOENT: "its folder does not exist or cannot hold files",
    errno.EINTR: "a signal interrupted the write; try again",
}
_TEMPORARY = re.compile(r"\.(?P<name>.*)\.(?P<process>\d+)-[0-9a-f]{16}\.tmp", re.DOTALL)


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path`` so that a crash at any moment leaves the old file or the new one.

    The data are written to a temporary file in the same directory and synced to disk. The
    temporary file is then renamed, and the directory is synced. A symbolic link stays a link, and
    a replaced file keeps its mode, except that the owner gets write permission. Temporary files
    that killed processes left for the same path are removed.

    Raises
    ------
    OSError
        If ``path`` is a folder, a device or a pipe, or if writing fails. The message names
        ``path`` and a remedy. The old file is intact and no temporary file is left. If only the
        final sync of the directory failed, the new file is in place but may not survive a power
        failure; the message says so.

    References
    ----------
    Pillai et al., All file systems are not created equal, OSDI 2014.
    """
    target = os.path.realpath(os.fspath(path))
    mode = _mode(target, os.fspath(path))
    folder, name = os.path.split(target)
    remove_stale(folder, re.compile(re.escape(name)))  # first, because they may fill the disk
    directory, temporary, descriptor = _open(target, mode, os.fspath(path))
    try:
        try:
            if mode is not None and os.name != "nt":
                with contextlib.suppress(PermissionError):  # on a file system without modes
                    os.fchmod(descriptor, mode)
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            _close(descriptor)
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, OSError):
            raise _not_written(error, os.fspath(path)) from error
        raise
    _sync_directory(directory, os.fspath(path))


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise the errors of ``write_atomically`` that do not depend on the data.

    Creates a file beside ``path`` and removes it. Checking permissions is not enough: even root
    cannot create files in some folders, or files with names that are too long.
    """
    target = os.path.realpath(os.fspath(path))
    mode = _mode(target, os.fspath(path))
    _, temporary, descriptor = _open(target, mode, os.fspath(path))
    try:
        _close(descriptor)
    finally:
        os.unlink(temporary)


def _open(target: str, mode: int | None, path: str) -> tuple[str, str, int]:
    """Create a temporary file beside ``target``; return its folder, its path and its descriptor."""
    directory, name = os.path.split(target)
    temporary = os.path.join(directory, f".{name}.{os.getpid()}-{os.urandom(8).hex()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    flags |= getattr(os, "O_BINARY", 0)
    try:
        # Never more permissive than the old file, which may be secret.
        return directory, temporary, os.open(temporary, flags, 0o666 if mode is None else mode)
    except OSError as error:
        raise _not_written(error, path) from None


def _mode(target: str, path: str) -> int | None:
    """Return the mode for a replacement, or None if there is no file; reject other kinds."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _not_written(error, path) from None
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, "is a folder; name a file in it", path)
    if not stat.S_ISREG(mode):  # the rename would replace the device, even /dev/null
        raise OSError(errno.EINVAL, "is a device or a pipe; name a regular file", path)
    return stat.S_IMODE(mode) & 0o777 | stat.S_IWUSR


def _not_written(error: OSError, path: str) -> OSError:
    """Return an error that names the requested path, not the temporary file."""
    todo = _TO_DO.get(error.errno or 0, "check the folder, or write to another one")
    message = f"{error.strerror}; nothing was written, any existing file is intact: {todo}"
    return OSError(error.errno, message, path)


def _close(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except InterruptedError:  # the file is closed anyway, and its data are on the disk
        pass


def remove_stale(folder: str, name: re.Pattern[str]) -> None:
    """Remove temporary files that killed processes left in ``folder`` for files matching ``name``.

    Temporary files of running processes are kept. Errors are ignored, as this is only cleanup.
    """
    with contextlib.suppress(OSError):
        for entry in os.listdir(folder or "."):
            found = _TEMPORARY.fullmatch(entry)
            if found and name.fullmatch(found["name"]) and not _lives(int(found["process"])):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(folder, entry))


def _lives(process: int) -> bool:
    if os.name == "nt":  # where os.kill would terminate the process
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _sync_directory(directory: str, path: str) -> None:
    if os.name == "nt":  # where directories cannot be opened
        return
    try:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            _close(descriptor)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOTSUP):  # the file system cannot sync directories
            return
        message = (
            f"{error.strerror}; the file is written but may not survive a power failure: write it "
            "again"
        )
        raise OSError(error.errno, message, path) from error
