"""Writing a file so that it is never seen half written."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat

__all__ = ["check_writable", "remove_stale", "write_atomically"]

_FREE = "free some space, or write to another disk"
_RIGHTS = "you may not write to its folder; choose another one"
_TO_DO = {
    errno.ENOSPC: _FREE,
    errno.EDQUOT: _FREE.replace("space", "space of your quota"),
    errno.EFBIG: "raise the limit of file sizes (ulimit -f)",
    errno.EIO: "the disk fails; write to another one",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: "the disk is read-only; write to another one",
    errno.ENAMETOOLONG: "give it a shorter name",
    errno.ENOENT: "its folder does not exist, or takes no files",
    errno.EINTR: "a signal came; write it again",
}
_TEMPORARY = re.compile(r"\.(?P<name>.*)\.(?P<process>\d+)-[0-9a-f]{16}\.tmp", re.DOTALL)


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path``: after a crash at any moment the old file stands, or the new one.

    The data go to a new file in the same directory, reach the disk, and take the name in one
    step; then the directory reaches the disk. A symbolic link stays one, and a file that is
    replaced keeps its mode, but that its owner may write. What processes that were killed had
    written of the same file is removed.

    Raises
    ------
    OSError
        If ``path`` is a folder, a device or a pipe, or if that fails; it names ``path`` and says
        what to do. The old file is intact and nothing else is left, unless only the last step
        failed: then the new file stands but may not outlast a loss of power, as the message says.

    References
    ----------
    Pillai et al., All file systems are not created equal, OSDI 2014.
    """
    target = os.path.realpath(os.fspath(path))
    mode = _mode(target, os.fspath(path))
    folder, name = os.path.split(target)
    remove_stale(folder, re.compile(re.escape(name)))  # first: the disk may be full of them
    directory, temporary, descriptor = _open(target, mode, os.fspath(path))
    try:
        try:
            if mode is not None and os.name != "nt":
                with contextlib.suppress(PermissionError):  # a file system without modes
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
    """Raise now what ``write_atomically`` would raise later, but for what depends on the data.

    A file is made beside ``path`` and removed: also root may find a folder that takes none, or a
    name that is too long.
    """
    target = os.path.realpath(os.fspath(path))
    mode = _mode(target, os.fspath(path))
    _, temporary, descriptor = _open(target, mode, os.fspath(path))
    try:
        _close(descriptor)
    finally:
        os.unlink(temporary)


def _open(target: str, mode: int | None, path: str) -> tuple[str, str, int]:
    """Make a new file beside another; return their folder, its name and its descriptor."""
    directory, name = os.path.split(target)
    temporary = os.path.join(directory, f".{name}.{os.getpid()}-{os.urandom(8).hex()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    flags |= getattr(os, "O_BINARY", 0)
    try:
        # Not wider than the old one at any moment: it may be secret.
        return directory, temporary, os.open(temporary, flags, 0o666 if mode is None else mode)
    except OSError as error:
        raise _not_written(error, path) from None


def _mode(target: str, path: str) -> int | None:
    """Return the mode for what replaces a file; None if there is none. Refuse what is no file."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _not_written(error, path) from None
    if stat.S_ISDIR(mode):
        raise OSError(errno.EISDIR, "is a folder; give the name of a file in it", path)
    if not stat.S_ISREG(mode):  # the name would go to a new file, /dev/null too
        raise OSError(errno.EINVAL, "is a device or a pipe; give the name of a file", path)
    return stat.S_IMODE(mode) & 0o777 | stat.S_IWUSR


def _not_written(error: OSError, path: str) -> OSError:
    """Return an error of the path asked for, not of a name the user has never seen."""
    todo = _TO_DO.get(error.errno or 0, "look at the folder, or write to another one")
    message = f"{error.strerror}; nothing was written, a file of before is intact: {todo}"
    return OSError(error.errno, message, path)


def _close(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except InterruptedError:  # it is closed all the same, and the data are on the disk
        pass


def remove_stale(folder: str, name: re.Pattern[str]) -> None:
    """Remove what killed processes were writing to files of a ``name`` in a folder.

    That of processes that live is left alone. Nothing is raised: it only tidies up.
    """
    with contextlib.suppress(OSError):
        for entry in os.listdir(folder or "."):
            found = _TEMPORARY.fullmatch(entry)
            if found and name.fullmatch(found["name"]) and not _lives(int(found["process"])):
                with contextlib.suppress(OSError):
                    os.unlink(os.path.join(folder, entry))


def _lives(process: int) -> bool:
    if os.name == "nt":  # os.kill would end it there
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _sync_directory(directory: str, path: str) -> None:
    if os.name == "nt":  # directories cannot be opened there
        return
    try:
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            _close(descriptor)
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ENOTSUP):  # a file system without such a thing
            return
        message = (
            f"{error.strerror}; the file is written but may not outlast a loss of power: write it "
            "again"
        )
        raise OSError(error.errno, message, path) from error
