from __future__ import annotations

import gzip
import hashlib
import inspect
import os
import pickle
import struct
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from fastmlp.datasets import _mnist, load_mnist
from fastmlp.errors import FastmlpFormatError

PARTS = {"train": 60_000, "t10k": 10_000}


def images(n: int) -> np.ndarray:
    """Return images that repeat after 251, which divides neither 10 000 nor 784."""
    return np.resize(np.array([*range(250), 255], np.uint8), (n, 28, 28))


def labels(n: int) -> np.ndarray:
    return np.resize(np.array([*range(10), 0], np.uint8), n)


def write_idx(path: Path, array: np.ndarray, packed: bool = False) -> None:
    head = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    raw = head + array.tobytes()
    path.write_bytes(gzip.compress(raw, 1) if packed else raw)


def write_idx_files(folder: Path, separator: str = "-") -> None:
    folder.mkdir(exist_ok=True)
    for part, n in PARTS.items():
        write_idx(folder / f"{part}-images{separator}idx3-ubyte", images(n))
        write_idx(folder / f"{part}-labels{separator}idx1-ubyte.gz", labels(n), packed=True)


def check(splits: tuple[tuple[np.ndarray, np.ndarray], ...]) -> None:
    (x, y), (x_valid, y_valid), (x_test, y_test) = splits
    for array_x, array_y, n in (
        (x, y, 50_000),
        (x_valid, y_valid, 10_000),
        (x_test, y_test, 10_000),
    ):
        assert array_x.shape == (n, 28, 28) and array_x.dtype == np.float32
        assert array_y.shape == (n,) and array_y.dtype == np.int64
        assert array_x.flags.c_contiguous and array_x.flags.writeable
        assert array_x.min() == 0 and array_x.max() == 1
    everything = images(60_000)
    np.testing.assert_array_equal(x[-1], everything[49_999] / np.float32(255))
    np.testing.assert_array_equal(x_valid[0], everything[50_000] / np.float32(255))
    np.testing.assert_array_equal(y_valid, labels(60_000)[50_000:])


@pytest.fixture(scope="module")
def idx_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("idx")
    write_idx_files(folder)
    return folder


@pytest.fixture
def no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache folder; no folder named by the environment."""
    monkeypatch.delenv("FASTMLP_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fastmlp"


def test_mnist_from_idx_files(idx_folder: Path) -> None:
    check(load_mnist(idx_folder))


def test_mnist_from_named_folder_and_dotted_names(
    no_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTMLP_DATA", str(tmp_path))
    write_idx_files(tmp_path / "mnist", separator=".")
    check(load_mnist())


def test_mnist_from_the_cache(no_data: Path, idx_folder: Path) -> None:
    no_data.parent.mkdir()
    no_data.symlink_to(idx_folder)
    check(load_mnist())


@pytest.mark.parametrize("with_valid", [False, True])
def test_mnist_from_npz(with_valid: bool, tmp_path: Path) -> None:
    x, y = images(60_000), labels(60_000)
    arrays = {"x_train": x, "y_train": y, "x_test": x[:10_000], "y_test": y[:10_000]}
    if with_valid:
        arrays |= {"x_train": x[:50_000], "y_train": y[:50_000]}
        arrays |= {"x_valid": x[50_000:], "y_valid": y[50_000:]}
    np.savez(tmp_path / "mnist.npz", **arrays)
    check(load_mnist(tmp_path / "mnist.npz"))


def test_mnist_from_pickle_of_bytes(tmp_path: Path) -> None:
    x, y = images(60_000).reshape(60_000, 784), labels(60_000)
    splits = ((x[:50_000], y[:50_000]), (x[50_000:], y[50_000:]), (x[:10_000], y[:10_000]))
    (tmp_path / "any name").write_bytes(pickle.dumps(splits))
    check(load_mnist(tmp_path / "any name"))


PINNED = [
    "776032e7e6a9793aa363ced48409f59393deff07333dbd953f3749bf80667d30",
    "3fc61c21900fc0b58d42fdaf93c02687003667ff54f671496c1d367a95cae2ba",
    "04197cf3c7f94ed5f6b5f472b6be8368610bdccf10bfd78aa83bce8ca1f7c6a4",
    "bfddcd2fec1923668512623a71a47033ec687581bc04ac5708c8857aa0193630",
    "0194b01ac10d2940c3823564d797c586e7bfd25ffac681a9577bfbbb62d0a81a",
    "2fd8de6bdb8d11780b4b96dc57847bcfe6953f7c32aa48bfcd8237c3b7847243",
]


def test_real_mnist() -> None:
    named = os.environ.get("FASTMLP_DATA")
    sibling = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    path = (Path(named) if named else sibling) / "mnist.pkl.gz"
    if not path.is_file():
        pytest.skip(f"no {path}; set FASTMLP_DATA to the folder that holds mnist.pkl.gz")
    splits = load_mnist(path)
    assert [x.shape for x, _ in splits] == [(50_000, 28, 28), (10_000, 28, 28), (10_000, 28, 28)]
    for x, y in splits:
        assert x.dtype == np.float32 and y.dtype == np.int64
        assert x.min() == 0 and x.max() == np.float32(255 / 256)
        assert x.flags.aligned and x.flags.writeable
    found = [hashlib.sha256(array.tobytes()).hexdigest() for pair in splits for array in pair]
    assert found == PINNED


def test_mnist_not_found(no_data: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        load_mnist()
    assert str(error.value) == (
        "load_mnist: no mnist.pkl.gz, mnist.pkl, mnist.npz and no complete set of idx files "
        "(train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
        f"t10k-labels-idx1-ubyte, plain or with .gz) in {no_data}; "
        "$FASTMLP_DATA is not set. Call load_mnist(path=...), set FASTMLP_DATA, "
        "or call load_mnist(download=True)."
    )


def test_mnist_not_found_names_both_folders(
    no_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FASTMLP_DATA", str(tmp_path / "named"))
    with pytest.raises(FileNotFoundError, match="FASTMLP_DATA is set") as error:
        load_mnist()
    assert f" in {tmp_path / 'named'} and {no_data}; " in str(error.value)


def test_mnist_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        load_mnist(tmp_path / "absent")


def test_mnist_counts_must_agree(tmp_path: Path, idx_folder: Path) -> None:
    for file in idx_folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    short = tmp_path / "t10k-labels-idx1-ubyte.gz"
    short.unlink()
    write_idx(short, labels(9_999))
    with pytest.raises(FastmlpFormatError) as error:
        load_mnist(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}:test: expected 10000 integer labels, got shape (9999,) of uint8."
    )
    write_idx(short, np.resize(np.uint8(10), 10_000))
    with pytest.raises(FastmlpFormatError, match=r"expected labels 0 to 9, got 10 to 10\.$"):
        load_mnist(tmp_path)


def test_mnist_one_idx_file_is_not_enough(idx_folder: Path) -> None:
    with pytest.raises(FastmlpFormatError, match="pass the folder with all four"):
        load_mnist(idx_folder / "train-images-idx3-ubyte")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((1, 2), "expected three pairs (images, labels), got tuple of length 2."),
        ((1, 2, 3), "expected pairs (images, labels), got int."),
        ([((), ())] * 3, "expected two arrays, got tuple and tuple."),
        ([(np.zeros((2, 784)), np.zeros(2, int))] * 3, "got (2, 784)."),
    ],
)
def test_mnist_pickle_of_something_else(value: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mnist.pkl.gz"
    path.write_bytes(pickle.dumps(value))
    with pytest.raises(FastmlpFormatError) as error:
        load_mnist(path)
    assert str(error.value).endswith(message)


@pytest.mark.parametrize("wrong", [-0.5, 255.0, np.nan, np.inf])
def test_mnist_pixels_outside_0_to_1(wrong: float) -> None:
    x = np.zeros((5, 784), np.float32)
    x[3, 7] = wrong
    with pytest.raises(FastmlpFormatError, match="expected pixels from 0 to 1"):
        _mnist.check_split("file", x, np.zeros(5, np.int64), 5)


def test_mnist_npz_without_the_keys(tmp_path: Path) -> None:
    np.savez(tmp_path / "mnist.npz", images=np.zeros(3), labels=np.zeros(3))
    with pytest.raises(FastmlpFormatError, match=r"got images, labels\.$"):
        load_mnist(tmp_path)


def fake_pooch(
    monkeypatch: pytest.MonkeyPatch, source: Path, dead: str = ""
) -> list[tuple[str, str]]:
    """Replace pooch by one that copies from ``source``; return the list of its calls."""
    calls: list[tuple[str, str]] = []

    def retrieve(url: str, known_hash: str, fname: str, path: Path) -> str:
        calls.append((url, known_hash))
        if dead and url.startswith(dead):
            raise ConnectionError("no network")
        path.mkdir(parents=True, exist_ok=True)
        origin = next(source.glob(fname.removesuffix(".gz") + "*"))
        (path / fname).write_bytes(origin.read_bytes())
        return str(path / fname)

    module = types.SimpleNamespace(retrieve=retrieve)
    monkeypatch.setitem(sys.modules, "pooch", module)  # type: ignore[arg-type]
    return calls


def test_mnist_download(no_data: Path, idx_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_pooch(monkeypatch, idx_folder)
    check(load_mnist(download=True))
    assert len(list((no_data / "mnist").iterdir())) == 4
    assert calls[0] == (
        "https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz",
        "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    )
    assert all(url.startswith("https://") for url, _ in calls)
    assert all(len(pinned) == len("sha256:") + 64 for _, pinned in calls)
    check(load_mnist(download=True))
    assert len(calls) == 4  # found in the cache the second time


def test_mnist_download_from_the_second_mirror(
    tmp_path: Path, idx_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = fake_pooch(monkeypatch, idx_folder, dead=_mnist._MIRRORS[0])
    check(load_mnist(tmp_path, download=True))
    assert len(calls) == 8
    assert (tmp_path / "mnist").is_dir()


def test_mnist_download_without_network(
    no_data: Path, idx_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_pooch(monkeypatch, idx_folder, dead="https://")
    with pytest.raises(OSError, match=r"could not download train-images-idx3-ubyte\.gz into"):
        load_mnist(download=True)


def test_mnist_download_without_pooch(no_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)  # type: ignore[arg-type]
    with pytest.raises(ImportError) as error:
        load_mnist(download=True)
    assert str(error.value) == 'download=True needs pooch: pip install "fastmlp[data]"'


def test_mnist_download_call_fits_the_real_pooch() -> None:
    pooch = pytest.importorskip("pooch", reason="pooch is optional")
    signature = inspect.signature(pooch.retrieve)
    signature.bind("https://host/file", known_hash="sha256:0", fname="file", path=Path())


def test_mnist_never_downloads_unasked(
    no_data: Path, idx_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = fake_pooch(monkeypatch, idx_folder)
    with pytest.raises(FileNotFoundError):
        load_mnist()
    assert calls == []
