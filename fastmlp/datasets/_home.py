"""The folders that loaders search for data files, and the folder for downloads."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["ENVIRONMENT_VARIABLE", "data_folders", "data_home", "user_cache"]

ENVIRONMENT_VARIABLE = "FASTMLP_DATA"


def data_home() -> Path:
    r"""Return the folder for downloads: ``$FASTMLP_DATA`` if set, otherwise the user's cache.

    Returns
    -------
    folder : Path
        The folder may not exist yet.

    Notes
    -----
    The cache is ``$XDG_CACHE_HOME/fastmlp`` or ``~/.cache/fastmlp``, on macOS
    ``~/Library/Caches/fastmlp`` and on Windows ``%LOCALAPPDATA%\fastmlp\Cache``.
    """
    return data_folders()[0]


def data_folders() -> list[Path]:
    """Return the folders that loaders search, in this order."""
    named = os.environ.get(ENVIRONMENT_VARIABLE)
    return [Path(named).expanduser(), user_cache()] if named else [user_cache()]


def user_cache() -> Path:
    """Return the platform's cache folder, or ``$XDG_CACHE_HOME/fastmlp`` if that is set."""
    cache = os.environ.get("XDG_CACHE_HOME")
    if cache:
        return Path(cache) / "fastmlp"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fastmlp"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "fastmlp" / "Cache"
    return Path.home() / ".cache" / "fastmlp"
