"""Event files for TensorBoard, packed with tensorboardX and written at once.

tensorboardX's writer passes events to a thread. An error there, such as a full disk, is lost, and
each flush waits for the disk. Here an event is in the file when ``write`` returns, so a process
that is killed loses none, and an error ends the run.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import struct
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from fastmlp._types import Array

__all__ = ["EventFile", "distribution", "image", "require", "scalar", "text"]

_BINS = 50  # of a histogram; TensorBoard draws 30
_BLOCK = 8192
_LARGEST = 1e150  # whose square is a number


def require() -> None:
    """Import tensorboardX and pillow, or raise an error that says how to install them.

    Raises
    ------
    ImportError
        If tensorboardX, or pillow for images, is missing.
    """
    name = "tensorboardX"
    try:
        import tensorboardX.summary  # noqa: F401

        name = "PIL"
        import PIL.Image  # noqa: F401
    except ImportError as error:
        package = "pillow" if name == "PIL" else name
        raise ImportError(
            f'fm.TensorBoard needs {package}: pip install "fastmlp[tensorboard]"', name=name
        ) from error


class EventFile:
    """A new event file in a folder, which is created if necessary.

    Parameters
    ----------
    folder : str
        TensorBoard shows all files of a folder as one run, in the order of their names.
    first_step : int
        TensorBoard hides what older files of the folder contain from this step on.

    Raises
    ------
    OSError
        If the file cannot be created; from the methods, if it cannot be written.
    """

    def __init__(self, folder: str, first_step: int) -> None:
        import socket  # imported here, as it would slow down the import of fastmlp

        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._event = Event
        os.makedirs(folder, exist_ok=True)
        # Names sort by time; mode "x" makes sure that they are different.
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self.path = os.path.join(folder, name)
        self._file = open(self.path, "xb", buffering=0)
        try:
            self._append(file_version="brain.Event:2")
            self._append(step=first_step, session_log=SessionLog(status=SessionLog.START))
        except BaseException:
            self._file.close()
            with contextlib.suppress(OSError):
                os.unlink(self.path)
            raise

    def write(self, step: int, summaries: Iterable[Any]) -> None:
        """Append the summaries of a step."""
        from tensorboardX.proto.summary_pb2 import Summary

        values = [value for summary in summaries for value in summary.value]
        self._append(step=step, summary=Summary(value=values))

    def close(self) -> None:
        """Close the file; everything is already written."""
        self._file.close()

    def _append(self, **fields: Any) -> None:
        from tensorboardX.record_writer import masked_crc32c

        data = self._event(wall_time=time.time(), **fields).SerializeToString()
        length = struct.pack("<Q", len(data))
        checks = [struct.pack("<I", masked_crc32c(part)) for part in (length, data)]
        left = memoryview(length + checks[0] + data + checks[1])
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise type(error)(error.errno, error.strerror, self.path) from None


def scalar(tag: str, value: float) -> Any:
    """Return a point of a curve."""
    from tensorboardX import summary

    return summary.scalar(tag, value)


def text(tag: str, value: str) -> Any:
    """Return a text, in Markdown."""
    from tensorboardX import summary

    return summary.text(tag, value)


def image(tag: str, pixels: Array) -> Any:
    """Return an image from uint8 pixels: (height, width) in grey, or (height, width, 3)."""
    from PIL import Image
    from tensorboardX.proto.summary_pb2 import Summary

    # tensorboardX's function would turn one channel into three.
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    packed = Summary.Image(
        height=pixels.shape[0],
        width=pixels.shape[1],
        colorspace=1 if pixels.ndim == 2 else 3,
        encoded_image_string=file.getvalue(),
    )
    return Summary(value=[Summary.Value(tag=tag, image=packed)])


def distribution(tag: str, values: Array) -> list[Any]:
    """Return four points, "min", "max", "mean" and "std", and the histogram of an array.

    NaN and infinite values make the points NaN or infinite. The histogram has equal bins from the
    minimum to the maximum. It leaves out these values and values beyond 1e150; if no value is left,
    there is no histogram.
    """
    flat = values.reshape(-1)
    found: _Measured | None = None
    with np.errstate(all="ignore"):
        low, high = float(flat.min()), float(flat.max())
        if abs(low) < _LARGEST and abs(high) < _LARGEST:
            found = _measure(flat, low, high)
            points = found.points
        else:
            mean, deviation = flat.mean(dtype=np.float64), flat.std(dtype=np.float64)
            points = {"min": low, "max": high, "mean": float(mean), "std": float(deviation)}
            flat = flat[np.abs(flat) < _LARGEST]
            if flat.size:
                found = _measure(flat, float(flat.min()), float(flat.max()))
    summaries = [scalar(f"{tag}/{name}", value) for name, value in points.items()]
    return summaries if found is None else [*summaries, found.histogram(tag)]


class _Measured(NamedTuple):
    """Statistics of some numbers, and their counts in bins of equal width."""

    points: dict[str, float]
    size: int
    total: float
    squares: float
    counts: list[int]

    def histogram(self, tag: str) -> Any:
        from tensorboardX import summary

        low, high = self.points["min"], self.points["max"]
        if low == high:
            edges = [low - 0.5, high + 0.5]
        else:
            edges = [low + place / _BINS * (high - low) for place in range(_BINS)] + [high]
        # A bin is identified by its upper edge. An empty one in front marks where the first begins.
        counts = [0, *self.counts]
        return summary.histogram_raw(
            tag, low, high, self.size, self.total, self.squares, edges, counts
        )


def _measure(flat: Array, low: float, high: float) -> _Measured:
    """Measure numbers from ``low`` to ``high`` in one pass, in blocks that stay in the cache.

    numpy.histogram is slower, and raises an error for numbers very close together, which is no
    reason to end a run. The sums are taken over distances from ``low``, because sums of the
    numbers would lose a small deviation next to a large mean.
    """
    width, size = high - low, flat.size
    first = second = 0.0
    counts = np.zeros(_BINS + 1, np.int64)
    for start in range(0, size, _BLOCK):
        block = flat[start : start + _BLOCK].astype(np.float64)
        block -= low
        first += float(block.sum())
        second += float(block @ block)
        if width:
            block /= width
            block *= _BINS
            counts += np.bincount(block.astype(np.int64), minlength=_BINS + 1)
    counts[-2] += counts[-1]  # ``high`` itself
    mean = first / size
    points = {
        "min": low,
        "max": high,
        "mean": low + mean,
        "std": math.sqrt(max(second / size - mean * mean, 0.0)),
    }
    total, squares = size * low + first, second + low * (2 * first + size * low)
    return _Measured(points, size, total, squares, counts[:-1].tolist() if width else [size])
