from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from fastmlp.datasets import load_fashion_mnist
from fastmlp.errors import FastmlpFormatError


def write_set(folder: Path, first: int = 0) -> None:
    """Write the four files; the first pixel of all and every label is ``first``."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, n in (("train", 60_000), ("t10k", 10_000)):
        x = np.zeros((n, 28, 28), np.uint8)
        x[:, 0, 0], x[-1, 27, 27] = first, 255
        for kind, array in (("images-idx3", x), ("labels-idx1", np.full(n, first, np.uint8))):
            head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
            data = gzip.compress(head + array.tobytes(), 1)
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(data)


def check(splits: tuple[tuple[np.ndarray, np.ndarray], ...], first: int) -> None:
    (x, y), (x_test, y_test) = splits
    assert x.shape == (60_000, 28, 28) and x_test.shape == (10_000, 28, 28)
    assert x.dtype == np.float32 and y.dtype == np.int64
    assert x[0, 0, 0] == np.float32(first) / np.float32(255) and x_test[-1, 27, 27] == 1
    assert set(y) == set(y_test) == {first}


def test_idx_files_of_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTMLP_DATA", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write_set(tmp_path, first=1)  # may be MNIST
    with pytest.raises(FileNotFoundError) as error:
        load_fashion_mnist()
    assert str(error.value).startswith("load_fashion_mnist: no fashion-mnist.npz, ")
    assert "in a folder named fashion-mnist or fashion_mnist or fashion in " in str(error.value)
    write_set(tmp_path / "fashion-mnist", first=7)
    check(load_fashion_mnist(), 7)
    check(load_fashion_mnist(tmp_path / "fashion-mnist"), 7)


def test_npz(tmp_path: Path) -> None:
    arrays = {"x_train": np.zeros((60_000, 784), np.uint8), "y_train": np.full(60_000, 3)}
    arrays |= {"x_test": np.zeros((10_000, 784), np.uint8), "y_test": np.full(10_000, 3)}
    arrays["x_test"][-1, -1] = 255
    np.savez_compressed(tmp_path / "fashion-mnist.npz", **arrays)
    (x, y), (x_test, _) = load_fashion_mnist(tmp_path / "fashion-mnist.npz")
    assert x.shape == (60_000, 28, 28) and x_test[-1, -1, -1] == 1 and set(y) == {3}
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(FastmlpFormatError, match=r"expected arrays x_train, .*, got x\.$"):
        load_fashion_mnist(tmp_path / "other.npz")
