from __future__ import annotations

import sys
from pathlib import Path

import pytest

from fastmlp.datasets import _home, data_home


def test_data_home_is_the_named_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FASTMLP_DATA", str(tmp_path))
    assert data_home() == tmp_path
    assert _home.data_folders() == [tmp_path, _home.user_cache()]


def test_data_home_expands_the_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTMLP_DATA", "~/digits")
    assert data_home() == Path.home() / "digits"


@pytest.mark.parametrize("value", [None, ""])
def test_data_home_is_the_cache(
    value: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("FASTMLP_DATA", raising=False)
    if value is not None:
        monkeypatch.setenv("FASTMLP_DATA", value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_home() == tmp_path / "fastmlp"
    assert _home.data_folders() == [data_home()]
    assert not data_home().exists()


@pytest.mark.parametrize(
    ("platform", "local", "parts"),
    [
        ("linux", None, (".cache", "fastmlp")),
        ("darwin", None, ("Library", "Caches", "fastmlp")),
        ("win32", None, ("AppData", "Local", "fastmlp", "Cache")),
        ("win32", "local", ("local", "fastmlp", "Cache")),
    ],
)
def test_user_cache_of_the_platform(
    platform: str,
    local: str | None,
    parts: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("LOCALAPPDATA", raising=False)
    if local:
        monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / local))
    assert _home.user_cache() == tmp_path.joinpath(*parts)
