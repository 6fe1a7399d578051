"""PNG pictures of the report."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import pytest

from fastmlp.report import pictures


def read_png(data):
    """Return the pixels of a PNG without filters, (H, W, channels)."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, found = 8, {}
    while place < len(data):
        (size,) = struct.unpack_from(">I", data, place)
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + size]
        assert struct.unpack_from(">I", data, place + 8 + size)[0] == zlib.crc32(kind + body)
        found[kind] = body
        place += 12 + size
    width, height, depth, colour = struct.unpack_from(">2I2B", found[b"IHDR"])
    channels = {0: 1, 2: 3}[colour]
    rows = np.frombuffer(zlib.decompress(found[b"IDAT"]), np.uint8).reshape(height, -1)
    assert depth == 8 and not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, channels)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1), (6, 4, 3)])
def test_pictures_have_the_pixels(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    expected = pixels.reshape(*shape[:2], -1)
    np.testing.assert_array_equal(read_png(pictures.png(pixels)), expected)
    np.testing.assert_array_equal(read_png(pictures.png(pixels / 255)), expected)
    scaled = read_png(pictures.png(pixels * 3.0 - 100))  # of another range: all of it is used
    assert (scaled.min(), scaled.max()) == (0, 255)
    address = pictures.data_uri(pixels)
    assert base64.b64decode(address.partition(",")[2]) == pictures.png(pixels)
    assert np.isfinite(read_png(pictures.png(np.full(shape, 7.0)))).all()


def test_what_is_a_picture():
    assert pictures.is_image((8, 8)) and pictures.is_image((8, 8, 3))
    assert not any(map(pictures.is_image, [(64,), (8, 8, 2), (2, 8), (8, 8, 3, 1), (9999, 8)]))
