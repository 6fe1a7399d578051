"""CIFAR-10 from all its forms, and the tar archives that it comes in."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from fastmlp.datasets import load_cifar10
from fastmlp.errors import FastmlpFormatError

BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
N = 7


def planes(batch: int) -> np.ndarray:
    """Return (N, 3072) bytes that differ everywhere, as three planes."""
    rng = np.random.default_rng(batch)
    return rng.integers(0, 256, (N, 3072), dtype=np.uint8)


def labels(batch: int) -> list[int]:
    return [(3 * batch + i) % 10 for i in range(N)]


def python_2_pickle(batch: int) -> bytes:
    """Return the opcodes that Python 2 wrote: str are bytes, and the array's data is a str."""
    data = planes(batch).tobytes()

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\nt"
        + text(b"b")
        + b"tR(I1\n(I%d\nI3072\nt" % N
        + b"cnumpy\ndtype\n("
        + text(b"u1")
        + b"I0\nI1\ntR(I3\n"
        + text(b"|")
        + b"NNNI-1\nI-1\nI0\ntb"
        + b"I00\nT"
        + len(data).to_bytes(4, "little")
        + data
        + b"tb"
    )
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels(batch)) + b"e"
    names = b"](" + b"".join(text(b"photo_%d.png" % i) for i in range(N)) + b"e"
    entries = text(b"batch_label") + text(b"batch 1 of 5") + text(b"labels") + numbers
    return b"\x80\x02}(" + entries + text(b"data") + array + text(b"filenames") + names + b"u."


def binary(batch: int) -> bytes:
    return np.column_stack([np.array(labels(batch), np.uint8), planes(batch)]).tobytes()


def members(kind: str) -> dict[str, bytes]:
    if kind == "binary":
        return {f"{name}.bin": binary(i) for i, name in enumerate(BATCHES)}
    return {name: python_2_pickle(i) for i, name in enumerate(BATCHES)}


def archive(
    files: dict[str, bytes], folder: str = "cifar-10-batches-py/", **settings: int
) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **settings) as file:  # type: ignore[call-overload]
        top = tarfile.TarInfo(folder.rstrip("/") or ".")
        top.type = tarfile.DIRTYPE
        file.addfile(top)
        for name, data in {"readme.html": b"<html>", **files}.items():
            info = tarfile.TarInfo(folder + name)
            info.size, info.mtime = len(data), 1.5
            file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def check(splits: tuple[tuple[np.ndarray, np.ndarray], ...], dtype: str = "float32") -> None:
    (x, y), (x_test, y_test) = splits
    assert x.shape == (5 * N, 32, 32, 3) and x_test.shape == (N, 32, 32, 3)
    assert x.dtype == x_test.dtype == np.dtype(dtype) and y.dtype == y_test.dtype == np.int64
    assert x.flags.c_contiguous and x.flags.writeable and x_test.flags.c_contiguous
    assert y.tolist() == [label for batch in range(5) for label in labels(batch)]
    assert y_test.tolist() == labels(5)
    wanted = planes(2)[4]  # row 9, column 20: its three colours are 1024 apart
    pixel = x[2 * N + 4, 9, 20]
    for colour in range(3):
        value = wanted[colour * 1024 + 9 * 32 + 20]
        assert pixel[colour] == (value if dtype == "uint8" else np.float32(value) / np.float32(255))


@pytest.mark.parametrize("kind", ["python", "binary"])
def test_folder_of_batches(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / ("cifar-10-batches-py" if kind == "python" else "cifar-10-batches-bin")
    folder.mkdir()
    for name, data in members(kind).items():
        (folder / name).write_bytes(data)
    check(load_cifar10(tmp_path))
    check(load_cifar10(folder, dtype="uint8"), "uint8")


def test_batches_that_python_3_wrote(tmp_path: Path) -> None:
    for protocol, (i, name) in enumerate(enumerate(BATCHES)):
        value = {"data": planes(i), "labels": labels(i), "batch_label": "x"}
        (tmp_path / name).write_bytes(pickle.dumps(value, protocol))
    check(load_cifar10(tmp_path))


@pytest.mark.parametrize("kind", ["python", "binary"])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archive(kind: str, packed: bool, form: int, tmp_path: Path) -> None:
    data = archive(members(kind), format=form)
    path = tmp_path / f"cifar-10-{kind}.tar.gz"
    path.write_bytes(gzip.compress(data) if packed else data)
    check(load_cifar10(path))
    check(load_cifar10(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == [path.name]  # nothing was extracted


def test_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTMLP_DATA", str(tmp_path))
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(gzip.compress(archive(members("python"))))
    check(load_cifar10())


@pytest.mark.parametrize("form", ["rows", "planes", "pixels"])
def test_npz(form: str, tmp_path: Path) -> None:
    train, test = np.concatenate([planes(i) for i in range(5)]), planes(5)
    arrays = [train, test]
    if form != "rows":
        arrays = [x.reshape(-1, 3, 32, 32) for x in arrays]
    if form == "pixels":
        arrays = [x.transpose(0, 2, 3, 1) for x in arrays]
    y = [label for batch in range(5) for label in labels(batch)]
    path = tmp_path / "cifar10.npz"
    np.savez(
        path, x_train=arrays[0], y_train=np.array(y)[:, None], x_test=arrays[1], y_test=labels(5)
    )
    check(load_cifar10(path))
    check(load_cifar10(tmp_path))


def test_real_subset() -> None:
    named = os.environ.get("FASTMLP_DATA")
    sibling = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    path = (Path(named) if named else sibling) / "cifar10_subset.npz"
    if not path.is_file():
        pytest.skip(f"no {path}; set FASTMLP_DATA to the folder that holds cifar10_subset.npz")
    (x, y), (x_test, y_test) = load_cifar10(path, dtype="uint8")
    assert x.shape == (3805, 32, 32, 3) and x_test.shape == (761, 32, 32, 3)
    assert np.bincount(y).sum() == 3805 and y_test.max() == 9
    with np.load(path) as arrays:
        np.testing.assert_array_equal(x, arrays["train_images"].transpose(0, 2, 3, 1))
        np.testing.assert_array_equal(y_test, arrays["test_labels"])
    # The first training image of the python version is a frog.
    assert y[0] == 6 and x[0, 0, 0].tolist() == [59, 62, 63]


def test_nothing_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FASTMLP_DATA", raising=False)
    with pytest.raises(FileNotFoundError) as error:
        load_cifar10(tmp_path)
    assert str(error.value) == (
        "load_cifar10: no cifar-10-python.tar.gz, cifar-10-binary.tar.gz, cifar10.npz and no "
        f"complete set of batches ({', '.join(BATCHES)}, or the same names with .bin) in "
        f"{tmp_path}; $FASTMLP_DATA is not set. Call load_cifar10(path=...) or set FASTMLP_DATA."
    )
    with pytest.raises(ValueError, match='dtype must be "float32" or "uint8", got'):
        load_cifar10(tmp_path, dtype="float64")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1], "expected a dictionary, got a list."),
        ({b"x": 1}, "expected entries data and labels, got 'x'."),
        ({b"data": planes(0), b"labels": [10] * N}, "expected labels 0 to 9, got other values."),
        ({b"data": planes(0), b"labels": [True] * N}, "expected labels 0 to 9, got other values."),
        ({b"data": planes(0), b"labels": [1] * 3}, "7 integer labels, got shape (3,) of int64."),
        ({b"data": planes(0)[:, :9], b"labels": [1] * N}, "32 x 32 pixels, got shape (7, 9)."),
        ({b"data": planes(0) / 2, b"labels": [1] * N}, "uint8 pixels, got float64."),
        ({b"data": [1], b"labels": [1]}, "expected two arrays, got list and ndarray."),
    ],
)
def test_batches_of_something_else(value: object, message: str, tmp_path: Path) -> None:
    for name, data in members("python").items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "data_batch_3").write_bytes(pickle.dumps(value))
    with pytest.raises(FastmlpFormatError) as error:
        load_cifar10(tmp_path)
    assert str(error.value).endswith(message)


def test_one_batch_is_not_enough(tmp_path: Path) -> None:
    path = tmp_path / "data_batch_1"
    path.write_bytes(python_2_pickle(0))
    with pytest.raises(FastmlpFormatError, match="one batch; pass the folder with all six"):
        load_cifar10(path)
    files = members("python")
    del files["test_batch"]
    whole = tmp_path / "cifar-10-python.tar.gz"
    whole.write_bytes(archive(files))
    with pytest.raises(FastmlpFormatError, match=r"got data_batch_1, .*, data_batch_5"):
        load_cifar10(whole)
