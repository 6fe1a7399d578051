"""Where the files of a data set are: at a given path, or in the folders of data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ._home import ENVIRONMENT_VARIABLE, data_folders

__all__ = ["candidates", "not_found"]


def candidates(path: str | os.PathLike[str] | None, names: Sequence[str]) -> list[Path]:
    """Return the folders to look in: the given or default ones, and those called ``names`` there.

    The first of ``names`` may be "" for the folder itself.
    """
    folders = data_folders() if path is None else [Path(path)]
    return [folder / name for folder in folders for name in names]


def not_found(
    loader: str, files: str, path: str | os.PathLike[str] | None, downloads: bool = False
) -> FileNotFoundError:
    """Return the error that says what was looked for, and where."""
    folders = data_folders() if path is None else [Path(path)]
    is_set = "is set" if os.environ.get(ENVIRONMENT_VARIABLE) else "is not set"
    give = f"Give {loader}(path=...)"
    if downloads:
        give += f", set {ENVIRONMENT_VARIABLE}, or call {loader}(download=True)."
    else:
        give += f" or set {ENVIRONMENT_VARIABLE}."
    return FileNotFoundError(
        f"{loader}: no {files} in {' and '.join(map(str, folders))}; "
        f"${ENVIRONMENT_VARIABLE} {is_set}. {give}"
    )
