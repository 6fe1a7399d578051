"""The model file: safetensors, with the architecture and a checksum in its metadata.

A file consists of 8 bytes with the length of the header, the header (JSON) and the data. The
header lists the name, dtype, shape and offsets of every tensor. Its metadata have three entries:
"fastmlp", the version of this format; "architecture", JSON from which the model is built; and
"sha256", the digest of the whole file with these 64 digits set to zero, which detects any changed
bit.

A checkpoint is a model file with two additions: the metadata entry "training", JSON with the
progress of the run, and float32 or float64 tensors with names that begin with "training/".
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from types import TracebackType
from typing import Any

import numpy as np

from fastmlp._types import Array
from fastmlp.errors import FastmlpFormatError
from fastmlp.io.atomic import write_atomically

__all__ = ["ModelFile", "write_model"]

FORMAT_VERSION = "1"
_NO_DIGEST = "0" * 64
_DTYPES = {"float32": "F32", "float64": "F64"}
_MAX_HEADER = 1 << 20
_MAX_TENSORS = 4096
_MAX_DIMENSIONS = 8
_MAX_NAME = 512
_TRAINING = "training/"


def write_model(
    path: str | os.PathLike[str],
    config: Mapping[str, Any],
    values: Mapping[str, Array],
    training: Mapping[str, Any] | None = None,
    state: Mapping[str, Array] | None = None,
) -> None:
    """Write a model file, or a checkpoint, atomically.

    Parameters
    ----------
    path : str or path
        The file; an existing file is replaced.
    config : dict
        The architecture, as plain values.
    values : dict of str to array
        The parameters, float32 or float64.
    training : dict, optional
        The progress of the run, as plain values. Makes the file a checkpoint.
    state : dict of str to array, optional
        The arrays of a checkpoint, float32 or float64; NaN and infinity are allowed.

    Raises
    ------
    ValueError
        If a parameter contains NaN or infinity, or if the header is too large.
    OSError
        If the file cannot be written; an existing file is then intact.
    """
    from safetensors.numpy import save  # imported lazily to keep importing fastmlp fast

    for name, value in values.items():
        if not np.isfinite(value).all():
            raise ValueError(f"{name} contains NaN or infinity; the model was not saved.")
    metadata = {
        "fastmlp": FORMAT_VERSION,
        "architecture": json.dumps(config, allow_nan=False),
        "sha256": _NO_DIGEST,
    }
    if training is not None:
        metadata["training"] = json.dumps(training, allow_nan=False)
    tensors = dict(values) | {_TRAINING + name: value for name, value in (state or {}).items()}
    content = save({name: np.ascontiguousarray(v) for name, v in tensors.items()}, metadata)
    del tensors
    length = int.from_bytes(content[:8], "little")
    # safetensors writes metadata in random order; sorting makes equal models equal files.
    header = _dump_sorted(json.loads(content[8 : 8 + length]))
    data = content[8 + length :]
    if len(header) > _MAX_HEADER:  # the reader would reject it
        raise ValueError(
            f"the header of a model file must have at most {_MAX_HEADER} bytes, got {len(header)}."
        )
    digest = _digest(header, data)
    write_atomically(
        path, _prefix(header) + header.replace(_entry(_NO_DIGEST), _entry(digest)) + data
    )


class ModelFile:
    """A model file open for reading; all content is checked before use.

    Use it in a ``with`` block, which turns exceptions about wrong values into a
    FastmlpFormatError that names the file.

    Parameters
    ----------
    path : str or path
        The file.

    Attributes
    ----------
    config : dict
        The architecture as passed to ``write_model``; not checked here.
    training : dict or None
        The progress of the run as passed to ``write_model``; None if the file is not a
        checkpoint.
    shapes : dict of str to tuple of int
        Shapes of all tensors, by their names in the file.

    Raises
    ------
    FastmlpFormatError
        If the header is not the header of a model file in this format.
    OSError
        If the file cannot be read.
    """

    config: dict[str, Any]
    training: dict[str, Any] | None
    shapes: dict[str, tuple[int, ...]]

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        self._file = open(self._path, "rb")
        try:
            self._read_header()
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            self._file.close()
            raise self._wrong(error) from error
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> ModelFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        if isinstance(error, (ValueError, TypeError, LookupError, AttributeError, OverflowError)):
            raise self._wrong(error) from error

    def check(self, shapes: Mapping[str, tuple[int, ...]], dtype: np.dtype[Any]) -> None:
        """Raise ValueError unless the model has exactly these tensors; allocates no tensors.

        A checkpoint may have additional tensors for the state of the run.
        """
        found = {name: shape for name, shape in self.shapes.items() if not self._is_state(name)}
        if found != dict(shapes):
            names = sorted(found.keys() ^ shapes.keys())
            names += [n for n in shapes if n in found and found[n] != shapes[n]]
            raise ValueError(f"the tensors do not match the architecture: {', '.join(names[:5])}")
        dtypes = {self._dtypes[name] for name in found}
        if dtypes - {_DTYPES[str(dtype)]}:
            raise ValueError(f"the tensors are {', '.join(dtypes)}, but the model is {dtype}")

    def read(self) -> tuple[dict[str, Array], dict[str, Array]]:
        """Verify the checksum and the values; return the tensors as new arrays.

        Returns
        -------
        values, state : dict of str to array
            The parameters of the model, and the state of a checkpoint, as passed to
            ``write_model``.
        """
        from safetensors.numpy import load

        data = self._file.read(self._data_size + 1)
        if len(data) != self._data_size:
            raise ValueError("the size of the file changed during reading")
        blank = self._header.replace(_entry(self._sha256), _entry(_NO_DIGEST))
        if _digest(blank, data) != self._sha256:
            raise ValueError("the checksum is wrong: the file was changed or damaged")
        values = load(_prefix(self._header) + self._header + data)
        tensors: tuple[dict[str, Array], dict[str, Array]] = {}, {}
        for name, value in values.items():
            if self._is_state(name):
                tensors[1][name.removeprefix(_TRAINING)] = np.array(value, order="C")
                continue
            if not np.isfinite(value).all():
                raise ValueError(f"{name} contains NaN or infinity")
            tensors[0][name] = np.array(value, order="C")
        return tensors

    def _is_state(self, name: str) -> bool:
        return self.training is not None and name.startswith(_TRAINING)

    def _read_header(self) -> None:
        size = os.fstat(self._file.fileno()).st_size
        start = self._file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > size - 8:
            raise ValueError("the file is truncated or not a safetensors file")
        if length > _MAX_HEADER:
            raise ValueError(f"the header has {length} bytes, the limit is {_MAX_HEADER}")
        self._header = self._file.read(length)
        self._data_size = size - 8 - length
        if len(self._header) != length or not self._header.startswith(b"{"):
            raise ValueError("the file is not a safetensors file")
        header = _object(_parse(self._header.decode()), "the header")
        metadata = _object(header.pop("__metadata__", None), "the metadata")
        if metadata.get("fastmlp") != FORMAT_VERSION:
            raise ValueError(
                f"the format version must be {FORMAT_VERSION!r}, got {metadata.get('fastmlp')!r}"
            )
        self._sha256 = metadata["sha256"]
        if not isinstance(self._sha256, str) or self._header.count(_entry(self._sha256)) != 1:
            raise ValueError("the checksum is missing")
        self.shapes, self._dtypes = _check_tensors(header, self._data_size)
        self.config = _object(_parse(metadata["architecture"]), "the architecture")
        training = metadata.get("training")
        if training is not None:
            training = _object(_parse(training), "the training state")
        self.training = training

    def _wrong(self, error: BaseException) -> FastmlpFormatError:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        return FastmlpFormatError(f"{self._path} is not a readable fastmlp model: {reason}")


def _check_tensors(
    header: Mapping[str, Any], data_size: int
) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Return shapes and dtypes; raise unless the tensors fill the data without gap or overlap."""
    if len(header) > _MAX_TENSORS:
        raise ValueError(f"the file has {len(header)} tensors, the limit is {_MAX_TENSORS}")
    shapes, places, dtypes = {}, [], {}
    for name, entry in header.items():
        if len(name.encode(errors="replace")) > _MAX_NAME or "\0" in name:
            raise ValueError("the name of a tensor is too long or contains NUL")
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"tensor {name!r} must have the keys dtype, shape and data_offsets")
        if entry["dtype"] not in _DTYPES.values():
            raise ValueError(f"tensor {name!r} must be F32 or F64, got {entry['dtype']!r}")
        shape = _integers(entry["shape"], f"the shape of {name!r}")
        offsets = _integers(entry["data_offsets"], f"the offsets of {name!r}")
        if len(shape) > _MAX_DIMENSIONS or len(offsets) != 2:
            raise ValueError(
                f"tensor {name!r} must have at most {_MAX_DIMENSIONS} dimensions and 2 offsets, "
                f"got {len(shape)} and {len(offsets)}"
            )
        if offsets[1] - offsets[0] != math.prod(shape) * int(entry["dtype"][1:]) // 8:
            raise ValueError(f"the offsets of tensor {name!r} do not match its shape")
        shapes[name] = shape
        dtypes[name] = entry["dtype"]
        places.append(offsets)
    end = 0
    for begin, stop in sorted(places):
        if begin != end:
            raise ValueError("the tensors overlap or leave gaps")
        end = stop
    if end != data_size:
        raise ValueError(f"the tensors take {end} bytes, but the file has {data_size}")
    return shapes, dtypes


def _digest(header: bytes, data: bytes) -> str:
    import hashlib  # imported lazily, like safetensors

    digest = hashlib.sha256(_prefix(header))
    digest.update(header)
    digest.update(data)
    return digest.hexdigest()


def _prefix(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little")


def _entry(digest: str) -> bytes:
    return f'"sha256":"{digest}"'.encode()


def _dump_sorted(header: dict[str, Any]) -> bytes:
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def _parse(text: Any) -> Any:
    """Parse strict JSON, without NaN and duplicate keys."""
    if not isinstance(text, str):
        raise TypeError("an entry of the metadata is not text")
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a JSON object has a duplicate key")
    return result


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not valid JSON")


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{what} is not a JSON object")
    return value


def _integers(value: Any, what: str) -> tuple[int, ...]:
    if not isinstance(value, list) or any(type(v) is not int or v < 0 for v in value):
        raise ValueError(f"{what} must be a list of non-negative integers")
    return tuple(value)
