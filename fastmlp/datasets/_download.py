"""Downloads on request: over https, with a pinned SHA-256, from the first mirror that answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["download"]


def download(folder: Path, mirrors: Sequence[str], hashes: Mapping[str, str]) -> list[Path]:
    """Download the files named in ``hashes`` into ``folder`` and return their paths.

    A file that already exists with the right hash is not downloaded again. A file gets its name
    only after its hash has been verified, so an interrupted download leaves no file behind.
    """
    try:
        import pooch  # type: ignore[import-untyped]  # an optional dependency, and slow to import
    except ImportError:
        raise ImportError(
            'download=True needs pooch: pip install "fastmlp[data]"', name="pooch"
        ) from None
    paths = []
    for name, sha256 in hashes.items():
        failures = []
        for mirror in mirrors:
            try:
                path = pooch.retrieve(
                    mirror + name, known_hash=f"sha256:{sha256}", fname=name, path=folder
                )
            except (OSError, ValueError) as error:  # noqa: PERF203 (no network, or a wrong hash)
                failures.append(f"{mirror}: {error}")
            else:
                paths.append(Path(path))
                break
        else:
            raise OSError(f"could not download {name} into {folder}: " + "; ".join(failures))
    return paths
