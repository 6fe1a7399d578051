"""Mutate small valid files and count the outcomes of the readers.

    python benchmarks/fuzz_readers.py [N] [--seed S]

Each reader gets N mutants (default 20 000): flipped bytes, length fields set to numbers that often
break parsers, truncations, insertions, and splices of two seeds. A reader may return plain values
and number arrays, or raise FastmlpFormatError. Any other outcome counts as "other". The exit status
is 1 if there is another outcome, or if a mutant takes longer than a second.
"""

from __future__ import annotations

import argparse
import gzip
import io
import pickle
import random
import resource
import struct
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp.datasets import load_cifar10, load_csv, load_hdf5, load_npz
from fastmlp.datasets._idx import read_idx
from fastmlp.datasets._pickle_reader import read_pickle
from fastmlp.errors import FastmlpFormatError

LIMIT = 2**28
EDGES = (0, 1, 2, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63)
FORMS = ("<B", "<H", "<I", ">I", "<Q", ">Q")


def pickle_seeds() -> list[bytes]:
    """Return one pickle of each protocol, and a gzipped pickle."""
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    values = ((x, np.arange(3)), {"names": ["a", "b"], 1: (x.T, None, True, 2.5, b"bytes")})
    seeds = [pickle.dumps(values, protocol) for protocol in range(6)]
    return [*seeds, gzip.compress(seeds[2], mtime=0)]


def idx_seeds() -> list[bytes]:
    """Return idx files of bytes and floats, and a gzipped file."""
    seeds = []
    for code, array in ((8, np.arange(24, dtype="u1")), (0x0D, np.arange(24, dtype=">f4"))):
        seeds.append(bytes([0, 0, code, 3]) + struct.pack(">3I", 2, 3, 4) + array.tobytes())
    return [*seeds, gzip.compress(seeds[0], mtime=0)]


def npz_seeds() -> list[bytes]:
    """Return a stored and a deflated archive."""
    seeds = []
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, x=np.arange(12.0).reshape(3, 4), y=np.arange(3), b=np.array([True, False]))
        seeds.append(buffer.getvalue())
    return seeds


def cifar_seeds() -> list[bytes]:
    """Return archives of the python and the binary version, with one image per batch."""
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    image = np.arange(3072, dtype=np.uint16).astype(np.uint8)[None]
    python = pickle.dumps({"data": image, "labels": [3]}, 2)
    seeds = []
    for suffix, data in (("", python), (".bin", b"\3" + image.tobytes())):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as file:
            for name in names:
                info = tarfile.TarInfo(name + suffix)
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
        seeds.append(buffer.getvalue())
    return [*seeds, gzip.compress(seeds[0], mtime=0)]


def read_cifar10(path: Path, max_bytes: int = LIMIT) -> Any:
    """Read CIFAR-10; the loader has no argument ``max_bytes``."""
    return load_cifar10(path)


def csv_seeds() -> list[bytes]:
    """Return tables with a header and with quotes, and a gzipped table."""
    seeds = [b"a,b,c\n1.5,2,3\n-4e2,5,6\n", b'"1";"2"\r\n"3";"4"\r\n', b"1\t2\n3\t4\n\n"]
    return [*seeds, gzip.compress(seeds[0], mtime=0)]


def hdf5_seeds() -> list[bytes]:
    """Return files of contiguous, compressed and text data sets, in the old and the new format."""
    import h5py  # an optional dependency

    seeds = []
    for version in ("earliest", "latest"):
        buffer = io.BytesIO()
        with h5py.File(buffer, "w", libver=version) as file:
            x = np.arange(200.0).reshape(20, 10)
            file["x"] = x
            file["group/words"] = np.array([b"one", b"two"])
            file.create_dataset("z", data=x, chunks=(5, 5), compression="gzip", shuffle=True)
            file.create_dataset("c", data=x, chunks=(20, 10), fletcher32=True)
        seeds.append(buffer.getvalue())
    return seeds


def mutate(rng: random.Random, seeds: list[bytes]) -> bytes:
    """Return a seed with one to four random changes."""
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        place = rng.randrange(len(data) + 1)
        kind = rng.randrange(6)
        if kind == 0 and place < len(data):
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1 and place < len(data):
            data[place] = rng.randrange(256)
        elif kind == 2:
            form = rng.choice(FORMS)
            size = struct.calcsize(form)
            number = rng.choice(EDGES) & (256**size - 1)
            data[place : place + size] = struct.pack(form, number)
        elif kind == 3:
            del data[place : place + rng.choice((1, 2, 4, 8, len(data)))]
        elif kind == 4:
            data[place:place] = rng.randbytes(rng.randrange(1, 9))
        else:
            other = rng.choice(seeds)
            start = rng.randrange(len(other))
            data[place:] = other[start:]
    return bytes(data)


def is_plain(value: Any, depth: int = 0) -> bool:
    """Return whether ``value`` consists only of plain values and valid number arrays."""
    if depth > 40:
        return False
    if isinstance(value, np.ndarray):
        sound = value.dtype.kind in "biufS" and value.dtype.isnative and value.flags.aligned
        return bool(sound and value.flags.writeable and value.nbytes <= LIMIT)
    if type(value) in (tuple, list):
        return all(is_plain(item, depth + 1) for item in value)
    if type(value) is dict:
        return all(is_plain(item, depth + 1) for item in value.values())
    return value is None or type(value) in (bool, int, float, str, bytes)


def fuzz(
    reader: Callable[..., Any], seeds: list[bytes], n: int, rng: random.Random, path: Path
) -> dict[str, Any]:
    """Run ``n`` mutants through a reader and return the outcomes."""
    counts = {"value": 0, "refused": 0, "other": 0}
    slowest, slowest_size = 0.0, 0
    start_all = time.perf_counter()
    for _ in range(n):
        data = mutate(rng, seeds)
        path.write_bytes(data)
        start = time.perf_counter()
        try:
            outcome = "value" if is_plain(reader(path, max_bytes=LIMIT)) else "other"
        except FastmlpFormatError:
            outcome = "refused"
        except Exception as error:
            outcome = "other"
            print(f"{reader.__name__}: {error!r} from {data!r}", file=sys.stderr)
        seconds = time.perf_counter() - start
        counts[outcome] += 1
        if seconds > slowest:
            slowest, slowest_size = seconds, len(data)
    total = time.perf_counter() - start_all
    return {**counts, "slowest": slowest, "size": slowest_size, "rate": n / total}


def main() -> int:
    """Fuzz the readers and print one line each."""
    parser = argparse.ArgumentParser(description="fuzz the readers of data files")
    parser.add_argument("n", nargs="?", type=int, default=20_000, help="mutants per reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--hdf5",
        action="store_true",
        help="HDF5 only; the HDF5 library may crash the process",
    )
    arguments = parser.parse_args()
    readers: list[tuple[Callable[..., Any], list[bytes]]] = [
        (read_pickle, pickle_seeds()),
        (read_idx, idx_seeds()),
        (load_npz, npz_seeds()),
        (read_cifar10, cifar_seeds()),
        (load_csv, csv_seeds()),
    ]
    if arguments.hdf5:
        readers = [(load_hdf5, hdf5_seeds())]
    print(f"{arguments.n} mutants per reader, seed {arguments.seed}")
    print(f"{'reader':12} {'value':>8} {'refused':>8} {'other':>6} {'slowest ms':>11} {'per s':>8}")
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        for reader, seeds in readers:
            for seed in seeds:
                (Path(folder) / "seed").write_bytes(seed)
                reader(Path(folder) / "seed")  # raises if a seed is not valid
            rng = random.Random(f"{arguments.seed} {reader.__name__}")
            row = fuzz(reader, seeds, arguments.n, rng, Path(folder) / "mutant")
            print(
                f"{reader.__name__:12} {row['value']:8} {row['refused']:8} {row['other']:6} "
                f"{1000 * row['slowest']:11.1f} {row['rate']:8.0f}"
            )
            failed = failed or row["other"] > 0 or row["slowest"] > 1.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"peak memory of the process: {peak} MB")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
