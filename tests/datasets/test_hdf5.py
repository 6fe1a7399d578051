"""HDF5 files: what is read, and what is refused because it leads out of the file."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmlp
from fastmlp.datasets import load_hdf5
from fastmlp.errors import FastmlpFormatError

h5py = pytest.importorskip("h5py", reason="h5py is not installed: the extra fastmlp[data]")

LIMIT = 2**26
SECONDS = 0.1


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"chunks": (3, 2)},
        {"chunks": (3, 2), "compression": "gzip"},
        {"chunks": (4, 3), "compression": "gzip", "shuffle": True},
        {"chunks": (2, 2), "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": (2, 2), "fletcher32": True},
    ],
)
@pytest.mark.parametrize("dtype", ["u1", "<i2", ">i4", "<i8", "<f4", ">f8", "bool", "S5"])
def test_round_trip(settings: dict[str, Any], dtype: str, tmp_path: Path) -> None:
    array = (np.arange(20).reshape(5, 4) % 2).astype(dtype) if dtype == "bool" else None
    array = np.arange(20).reshape(5, 4).astype(dtype) if array is None else array
    path = tmp_path / "arrays.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("x", data=array, **settings)
        file.create_dataset("group/inner/y", data=array[0])
        file["scalar"], file["none"] = 2.5, np.empty((0, 3), "f4")
    found = load_hdf5(path)
    assert set(found) == {"x", "group/inner/y", "scalar", "none"}
    np.testing.assert_array_equal(found["x"], array)
    assert found["x"].dtype.isnative and found["x"].dtype == array.dtype.newbyteorder("=")
    assert found["x"].flags.writeable and found["scalar"] == 2.5 and found["none"].shape == (0, 3)
    chosen = load_hdf5(path, "/group/inner/y", "x")
    assert list(chosen) == ["/group/inner/y", "x"]
    np.testing.assert_array_equal(chosen["/group/inner/y"], array[0])
    assert list(load_hdf5(path, ["x"])) == ["x"]


def test_unknown_and_wrong_keys(tmp_path: Path) -> None:
    path = tmp_path / "arrays.h5"
    with h5py.File(path, "w") as file:
        file["group/x"], file["y"] = np.zeros(3), np.zeros(3)
    with pytest.raises(KeyError) as error:
        load_hdf5(path, "y", "group/z")
    assert error.value.args == (
        f"{path}: no data set 'group/z'; the file contains: group/x, y",
    ) or (error.value.args == (f"{path}: no data set 'group/z'; the file contains: y, group/x",))
    with pytest.raises(KeyError, match="no data set 'y/x'"):
        load_hdf5(path, "y/x")
    with pytest.raises(FastmlpFormatError, match="expected a data set, got a Group"):
        load_hdf5(path, "group")
    with pytest.raises(TypeError, match="keys must be str, got 3"):
        load_hdf5(path, ["x", 3])  # type: ignore[list-item]
    with pytest.raises(FileNotFoundError):
        load_hdf5(tmp_path / "absent.h5")


def test_without_h5py(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError) as error:
        load_hdf5(tmp_path / "arrays.h5")
    assert str(error.value) == 'load_hdf5 needs h5py: pip install "fastmlp[data]"'


def test_real_files() -> None:
    named = os.environ.get("FASTMLP_DATA")
    sibling = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    folder = Path(named) if named else sibling
    for name in ("cats_vs_cars.h5", "trigrams.h5"):
        if not (folder / name).is_file():
            pytest.skip(f"no {folder / name}; set FASTMLP_DATA to its folder")
    arrays = load_hdf5(folder / "cats_vs_cars.h5", "trainims", "trainlbls", "testims", "testlbls")
    assert [a.shape for a in arrays.values()] == [(1900, 32, 32), (1900,), (1000, 32, 32), (1000,)]
    assert arrays["testims"].dtype == np.uint8 and set(arrays["trainlbls"]) == {0.0, 1.0}
    words = load_hdf5(folder / "trigrams.h5")
    assert set(words) == {"trainx", "traind", "valx", "vald", "testx", "testd", "words"}
    assert words["trainx"].shape == (372_684, 3) and words["words"].dtype == "S16"
    assert words["traind"].min() == 1 and words["traind"].max() == 250


# --- Files that lead out of themselves ----------------------------------------------------------

Make = Callable[[Any, Path], None]


def external_link(file: Any, folder: Path) -> None:
    file["x"] = h5py.ExternalLink(str(folder / "secret.h5"), "x")


def external_link_inside_a_path(file: Any, folder: Path) -> None:
    file["group"] = h5py.ExternalLink(str(folder / "secret.h5"), "/")


def soft_link(file: Any, folder: Path) -> None:
    file["other"] = np.zeros(3)
    file["x"] = h5py.SoftLink("/other")


def soft_link_through_external(file: Any, folder: Path) -> None:
    file["out"] = h5py.ExternalLink(str(folder / "secret.h5"), "/")
    file["x"] = h5py.SoftLink("/out/x")


def external_storage(file: Any, folder: Path) -> None:
    file.create_dataset("x", (3,), "f8", external=[(str(folder / "secret.bin"), 0, 24)])


def virtual(file: Any, folder: Path) -> None:
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "x", (3,))
    file.create_virtual_dataset("x", layout)


def references(file: Any, folder: Path) -> None:
    file["y"] = np.zeros(3)
    file.create_dataset("x", data=[file["y"].ref] * 3, dtype=h5py.ref_dtype)


def objects(file: Any, folder: Path) -> None:
    file.create_dataset("x", data=["a", "bc", "d"], dtype=h5py.string_dtype())


def ragged(file: Any, folder: Path) -> None:
    file.create_dataset("x", (3,), h5py.vlen_dtype(np.float32))


def compound(file: Any, folder: Path) -> None:
    file["x"] = np.zeros(3, [("a", "f4"), ("b", "i4")])


def enumeration(file: Any, folder: Path) -> None:
    file.create_dataset("x", (3,), h5py.enum_dtype({"A": 1, "B": 2}))


def opaque(file: Any, folder: Path) -> None:
    file.create_dataset("x", data=np.zeros(3, "V8"))


def complex_numbers(file: Any, folder: Path) -> None:
    file["x"] = np.zeros(3, complex)


def inner_arrays(file: Any, folder: Path) -> None:
    file.create_dataset("x", (3,), np.dtype(("f4", (1000,))))


def no_data(file: Any, folder: Path) -> None:
    file["x"] = h5py.Empty("f4")


def text_of_a_megabyte(file: Any, folder: Path) -> None:
    file.create_dataset("x", (3,), "S1000000")


def shape_bomb(file: Any, folder: Path) -> None:
    file.create_dataset("x", (2**40,), "f8")


def shape_below_the_limit(file: Any, folder: Path) -> None:
    file.create_dataset("x", (2**22,), "f8")  # never written: 32 MiB of nothing


def chunks_absent(file: Any, folder: Path) -> None:
    file.create_dataset("x", (2**22,), "f8", chunks=(2**19,))


def one_chunk_of_many(file: Any, folder: Path) -> None:
    data = file.create_dataset("x", (2**20,), "f8", chunks=(1024,))
    data[:1024] = np.random.default_rng(0).random(1024)


def chunk_far_larger_than_the_array(file: Any, folder: Path) -> None:
    file.create_dataset("x", (10,), "f8", chunks=(2**26,), maxshape=(None,), compression="gzip")


def gzip_bomb(file: Any, folder: Path) -> None:
    data = file.create_dataset("x", (1000,), "f8", chunks=(1000,), compression="gzip")
    packed = zlib.compress(bytes(7_000_000), 9)
    data.id.write_direct_chunk((0,), packed)


def gzip_too_short(file: Any, folder: Path) -> None:
    data = file.create_dataset("x", (1000,), "f8", chunks=(1000,), compression="gzip")
    data.id.write_direct_chunk((0,), zlib.compress(bytes(7999)))


def gzip_damaged(file: Any, folder: Path) -> None:
    data = file.create_dataset("x", (1000,), "f8", chunks=(1000,), compression="gzip")
    data.id.write_direct_chunk((0,), b"\xff" * 100)


def gzip_spared(file: Any, folder: Path) -> None:
    data = file.create_dataset("x", (1000,), "f8", chunks=(1000,), compression="gzip")
    data.id.write_direct_chunk((0,), bytes(8000), filter_mask=1)


def lzf(file: Any, folder: Path) -> None:
    file.create_dataset("x", data=np.zeros(1000), compression="lzf")


def scaled(file: Any, folder: Path) -> None:
    file.create_dataset("x", data=np.zeros(1000, "i4"), chunks=(100,), scaleoffset=3)


def raw_chunk_of_another_size(file: Any, folder: Path) -> None:
    data = file.create_dataset("x", (1000,), "f8", chunks=(1000,), fletcher32=True)
    data.id.write_direct_chunk((0,), bytes(80))


def committed_type(file: Any, folder: Path) -> None:
    file["x"] = np.dtype("f8")


def too_deep(file: Any, folder: Path) -> None:
    file["/".join("g" * 50) + "/x"] = np.zeros(3)


def too_many(file: Any, folder: Path) -> None:
    for i in range(1100):
        file.create_group(f"g{i}")


def group_in_itself(file: Any, folder: Path) -> None:
    file["g/h"] = file["/"]


def over_the_limit_together(file: Any, folder: Path) -> None:
    for key in "abc":
        file.create_dataset(key, (2**20, 40), "u1")


HOSTILE = [
    external_link, external_link_inside_a_path, soft_link, soft_link_through_external,
    external_storage, virtual, references, objects, ragged, compound, enumeration, opaque,
    complex_numbers, inner_arrays, no_data, text_of_a_megabyte, shape_bomb, shape_below_the_limit,
    chunks_absent, one_chunk_of_many, chunk_far_larger_than_the_array, gzip_bomb, gzip_too_short,
    gzip_damaged, gzip_spared, lzf, scaled, raw_chunk_of_another_size, committed_type, too_deep,
    too_many, group_in_itself, over_the_limit_together,
]  # fmt: skip
KEYS = {
    committed_type: ("x",),
    external_link_inside_a_path: ("group/x",),
    soft_link: ("other", "x"),
}


@pytest.mark.alone
@pytest.mark.parametrize("make", HOSTILE, ids=lambda make: make.__name__)
def test_hostile_hdf5_is_refused(make: Make, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.full(3, 42.0)
    (tmp_path / "secret.bin").write_bytes(struct.pack("<3d", 42, 42, 42))
    path = tmp_path / "hostile.h5"
    with h5py.File(path, "w") as file:
        make(file, tmp_path)
    keys = KEYS.get(make, ())
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        with pytest.raises(FastmlpFormatError) as error:
            load_hdf5(path, *keys, max_bytes=LIMIT)
        seconds.append(time.perf_counter() - start)
        assert str(path) in str(error.value) and "expected" in str(error.value)
        assert len(str(error.value)) < len(str(path)) + 500
    assert min(seconds) < SECONDS


CHILD = f"""
import resource, sys
from pathlib import Path
import h5py
from fastmlp.datasets import load_hdf5
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak()
for path in sorted(Path(sys.argv[1]).glob("*.h5")):
    try:
        load_hdf5(path, max_bytes={LIMIT})
        print(path.name, "value")
    except Exception as error:
        print(path.name, type(error).__name__)
print("kilobytes", peak() - before)
"""


def test_hostile_hdf5_fills_no_memory(tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("limits and peaks of memory are read the Linux way")
    makers = [make for make in HOSTILE if make is not committed_type]
    for make in makers:
        with h5py.File(tmp_path / f"{make.__name__}.h5", "w") as file:
            make(file, tmp_path)
    paths = [str(Path(module.__file__).parents[1]) for module in (fastmlp, np, h5py)]
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert child.returncode == 0, child.stderr
    outcomes = dict(line.split() for line in child.stdout.splitlines())
    used = int(outcomes.pop("kilobytes"))
    assert len(outcomes) == len(makers)
    assert {n: text for n, text in outcomes.items() if text != "FastmlpFormatError"} == {}
    assert used < 32 * 1024, f"{used} kB more than the imports"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (external_link, "'x': expected a data set in the file itself, got a link to another file."),
        (soft_link, "'x': expected a data set in the file itself, got a soft link."),
        (external_storage, "'x': expected data in the file itself, got external storage."),
        (virtual, "'x': expected data in the file itself, got a virtual data set."),
        (gzip_bomb, "'x': expected chunks that unpack to 8000 bytes, got more."),
        (lzf, "'x': expected only filters gzip, shuffle, fletcher32, got [32000]."),
        (shape_below_the_limit, "'x': expected 33554432 stored bytes, got 0."),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_messages(make: Make, message: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.h5"
    with h5py.File(path, "w") as file:
        make(file, tmp_path)
    with pytest.raises(FastmlpFormatError) as error:
        load_hdf5(path, max_bytes=LIMIT)
    assert str(error.value) == f"{path}:{message}"


@pytest.mark.parametrize(
    "data",
    [b"", b"<html>404</html>", b"\x89HDF\r\n\x1a\n", b"PK\3\4" + bytes(100), bytes(100)],
    ids=["empty", "web page", "signature only", "zip", "zeros"],
)
def test_other_files(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "hostile.h5"
    path.write_bytes(data)
    with pytest.raises(FastmlpFormatError, match="expected"):
        load_hdf5(path)


def test_truncated(tmp_path: Path) -> None:
    path = tmp_path / "arrays.h5"
    with h5py.File(path, "w") as file:
        file["x"] = np.zeros(1000)
    whole = path.read_bytes()
    for size in range(8, len(whole), 499):
        path.write_bytes(whole[:size])
        with pytest.raises(FastmlpFormatError, match="expected"):
            load_hdf5(path)
