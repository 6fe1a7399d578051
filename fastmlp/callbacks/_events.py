"""Event files of TensorBoard: what is drawn, as tensorboardX packs it, written at once.

tensorboardX's own writer hands events to a thread, where an error, such as a full disk, is lost,
and it waits for the disk whenever it flushes. Here an event is in the file when ``write`` returns:
a process that is killed loses none, and an error ends the training it would be silent about.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["EventFile", "histogram", "image", "require", "scalar", "statistics", "text"]

Array = npt.NDArray[Any]

_BINS = 50  # of a histogram; TensorBoard draws 30
_LARGEST = 1e150  # whose square is a number


def require() -> None:
    """Import what is needed, or say how to get it.

    Raises
    ------
    ImportError
        If tensorboardX, or pillow for its pictures, is missing.
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
    """A new file of events in a folder, which is made if need be.

    Parameters
    ----------
    folder : str
        TensorBoard shows all files of a folder as one run, in the order of their names.
    first_step : int
        What older files of the folder say of this step and later ones is not shown any more.

    Raises
    ------
    OSError
        If the file cannot be made; from the methods, if it cannot be written.
    """

    def __init__(self, folder: str, first_step: int) -> None:
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._event = Event
        os.makedirs(folder, exist_ok=True)
        # Names sort by time, and no two are the same: "x" below makes sure.
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self.path = os.path.join(folder, name)
        self._file = open(self.path, "xb", buffering=0)
        self._append(file_version="brain.Event:2")
        self._append(step=first_step, session_log=SessionLog(status=SessionLog.START))

    def write(self, step: int, summaries: Iterable[Any]) -> None:
        """Append what belongs to a step."""
        from tensorboardX.proto.summary_pb2 import Summary

        values = [value for summary in summaries for value in summary.value]
        self._append(step=step, summary=Summary(value=values))

    def close(self) -> None:
        """Close it; all is written already."""
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
    """Return a picture: uint8 (height, width, 3)."""
    from tensorboardX import summary

    return summary.image(tag, pixels, dataformats="HWC")


def statistics(tag: str, values: Array) -> list[Any]:
    """Return least and largest value, mean and standard deviation of an array: four points.

    They are NaN or infinite where the values are.
    """
    with np.errstate(all="ignore"):
        found = {
            "min": values.min(),
            "max": values.max(),
            "mean": values.mean(dtype=np.float64),
            "std": values.std(dtype=np.float64),
        }
        return [scalar(f"{tag}/{name}", float(value)) for name, value in found.items()]


def histogram(tag: str, values: Array) -> list[Any]:
    """Return how many of the values are where, in equal steps from the least to the largest.

    Values that are not finite, or above 1e150, are left out; where there is no other there is no
    histogram.
    """
    from tensorboardX import summary

    flat = values.reshape(-1).astype(np.float64)
    kept = np.abs(flat) < _LARGEST
    if not kept.all():
        flat = flat[kept]
    if not flat.size:
        return []
    low, high = float(flat.min()), float(flat.max())
    total, squares = float(flat.sum()), float(flat @ flat)
    # Not numpy.histogram, which is slower, and refuses values that lie very close together: no
    # reason to end a training.
    if low == high:
        edges, counts = [low - 0.5, high + 0.5], [flat.size]
    else:
        width = high - low
        flat -= low
        flat /= width
        flat *= _BINS
        places = np.minimum(flat.astype(np.int64), _BINS - 1)
        counts = np.bincount(places, minlength=_BINS).tolist()
        edges = [*(low + place / _BINS * width for place in range(_BINS)), high]
    # A bin is known by its upper end. One without values before them says where the first begins.
    return [summary.histogram_raw(tag, low, high, flat.size, total, squares, edges, [0, *counts])]
