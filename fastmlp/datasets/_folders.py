"""The folders that may hold a data set: the given path, or the default folders."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ._home import ENVIRONMENT_VARIABLE, data_folders

__all__ = ["candidates", "not_found"]


def candidates(path: str | os.PathLike[str] | None, names: Sequence[str]) -> list[Path]:
    """Return the folders ``names`` inside ``path``, or inside each default folder.

    The first of ``names`` may be "" for the folder itself.
    """
    folders = data_folders() if path is None else [Path(path)]
    return [folder / name for folder in folders for name in names]


def not_found(
    loader: str, files: str, path: str | os.PathLike[str] | None, downloads: bool = False
) -> FileNotFoundError:
    """Return the error that names the missing files and the folders searched."""
    folders = data_folders() if path is None else [Path(path)]
    is_set = "is set" if os.environ.get(ENVIRONMENT_VARIABLE) else "is not set"
    fix = f"Call {loader}(path=...)"
    if downloads:
        fix += f", set {ENVIRONMENT_VARIABLE}, or call {loader}(download=True)."
    else:
        fix += f" or set {ENVIRONMENT_VARIABLE}."
    return FileNotFoundError(
        f"{loader}: no {files} in {' and '.join(map(str, folders))}; "
        f"${ENVIRONMENT_VARIABLE} {is_set}. {fix}"
    )
