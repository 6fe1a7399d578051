"""Samples as PNG images inside a page, written with zlib alone."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

from fastmlp._types import Array

__all__ = ["data_uri", "is_image", "png"]

_SMALLEST, _LARGEST = 4, 512  # side in pixels: smaller is not an image, larger bloats the page


def is_image(shape: tuple[int, ...]) -> bool:
    """Return whether samples of a shape are images: (H, W), (H, W, 1) or (H, W, 3)."""
    sides = all(_SMALLEST <= side <= _LARGEST for side in shape[:2])
    return sides and (len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3)))


def png(image: Array) -> bytes:
    """Return an image (H, W), (H, W, 1) or (H, W, 3) as a PNG file.

    Bytes are written unchanged. Numbers from 0 to 1 are multiplied by 255; an image with other
    numbers is first scaled to this range by its minimum and maximum.
    """
    pixels = image.reshape(*image.shape[:2], -1)
    if pixels.dtype != np.uint8:
        values = pixels.astype(np.float64)
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > 1:
            values = (values - low) / (high - low or 1.0)
        pixels = np.rint(255 * values).astype(np.uint8)
    height, width, channels = pixels.shape
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each row begins with filter type 0
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">2I5B", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def data_uri(image: Array) -> str:
    """Return an image as a data URI for an ``img`` element."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()
