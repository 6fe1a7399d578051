"""The page of a run: complete, closed to the world, and safe from what names may hold."""

from __future__ import annotations

import base64
import math
import re
import struct
import zlib
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import report
from fastmlp.report import charts, pictures

VOID = {"meta", "img", "br", "hr", "link", "input"}
EVIL = "<script>alert(1)</script>\"'&"


class Page(HTMLParser):
    """Checks that tags are closed in their order, and collects what a page has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open, self.tags, self.addresses, self.text = [], [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture
def trained():
    (x, y), test = fm.datasets.load_digits()
    model = fm.MLP(64, [16], 10, seed=0)
    history = model.fit(x, y, epochs=2, validation_data=test, optimizer=fm.SGD(0.1), verbose=0)
    return model, history, test


def page_of(model, history, **changes):
    arguments = {"title": "digits", "settings": {}, "measured": {}} | changes
    text = report.html(model, history, **arguments)
    return text, Page(text)


def test_page_of_the_command(tmp_path, run):
    path = tmp_path / "run.html"
    status, out, _ = run("train", "--hidden", 16, "--epochs", 2, "--report", path)
    assert status == 0
    assert f"report {path}" in out
    page = Page(path.read_text(encoding="utf-8"))
    for heading in ("Figures", "Learning curves", "Confusion", "Worst mistakes", "Time", "Network",
                    "Settings", "Ran on"):  # fmt: skip
        assert heading in page.text
    accuracy = re.search(r"test   loss .*  accuracy (\S+)", out)[1]
    assert f"test accuracy {accuracy}" in page.text
    assert page.tags.count("svg") == 3  # loss, accuracy, time
    assert "Dense(16, activation='relu')" in page.text
    for name, value in (("dataset", "digits"), ("epochs", "2"), ("lr", "0.2")):
        assert f"{name}{value}" in page.text
    assert fm._config.instruction_set() in page.text


def test_page_reaches_for_nothing(trained):
    model, history, test = trained
    text, page = page_of(model, history, held_out=test)
    assert page.addresses
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert "http" not in re.sub(r"data:image[^\"]*", "", text).replace("http-equiv", "")
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "default-src 'none'" in text
    assert "url(" not in text and "@import" not in text


def test_confusion_counts(trained):
    model, history, (x, y) = trained
    text, _ = page_of(model, history, held_out=(x, y))
    rows = re.findall(r"<tr><th>(\d)</th>(.*?)</tr>", text)
    matrix = [[int(cell or 0) for cell in re.findall(r"<td class=n[^>]*>(\d*)</td>", row)]
              for _, row in rows]  # fmt: skip
    taken = model.predict(x).argmax(axis=1)
    np.testing.assert_array_equal(matrix, fm.metrics.confusion_matrix(y, taken))


def test_worst_mistakes_are_the_surest(trained):
    model, history, (x, y) = trained
    text, page = page_of(model, history, held_out=(x, y))
    probabilities = model.predict_proba(x)
    taken = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(taken != y)
    worst = wrong[np.argsort(-probabilities[wrong, taken[wrong]], kind="stable")][:24]
    assert [int(i) for i in re.findall(r'alt="sample (\d+)"', text)] == worst.tolist()
    assert len(page.addresses) == len(worst)


def test_names_of_users_are_escaped(trained):
    model, history, test = trained
    history.history[EVIL] = [0.1, 0.2]
    text, page = page_of(
        model,
        history,
        title=EVIL,
        settings={EVIL: {EVIL: [EVIL]}},
        measured={EVIL: {EVIL: 0.5}},
        held_out=test,
        held_out_name=EVIL,
        classes=[EVIL] * 10,
    )
    assert "script" not in page.tags
    assert "<script" not in text
    assert page.text.count("alert(1)") > 10
    assert unescape(re.search(r"<title>(.*) - fastmlp</title>", text)[1]) == EVIL


def test_a_file_with_an_evil_name(tmp_path, run):
    x, y = np.random.default_rng(0).random((40, 5)), np.arange(40) % 2
    path = tmp_path / "<img src=x onerror=alert(1)>.npz"
    np.savez(path, x=x, y=y)
    page = tmp_path / "run.html"
    assert run("train", path, "--hidden", 4, "--epochs", 1, "--report", page).status == 0
    text = page.read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert path.name in Page(text).text


def test_a_run_without_a_complete_epoch(trained):
    model, _, test = trained
    history = fm.History()
    history.interrupted = True
    _, page = page_of(model, history, held_out=test)
    assert "There is no complete epoch to show." in page.text
    assert "Stopped by Ctrl-C after 0 complete epochs" in page.text


def test_pages_of_other_models(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 3))
    numbers = fm.MLP(3, [4], 2)
    history = numbers.fit(x, x[:, :2], epochs=1, loss="mse", verbose=0)
    _, page = page_of(numbers, history, held_out=(x, x[:, :2]))
    assert "Predictions" in page.text and "predicted (first output)" in page.text
    assert page.tags.count("circle") >= 60
    yes = fm.MLP(3, [4], 1)
    answers = (x[:, 0] > 0).astype(int)
    history = yes.fit(x, answers, epochs=1, loss="binary_cross_entropy", verbose=0)
    _, page = page_of(yes, history, held_out=(x, answers))
    assert "Confusion" in page.text and "no" in page.text
    several = fm.MLP(3, [4], 2)
    history = several.fit(x, x[:, :2] > 0, epochs=1, loss="binary_cross_entropy", verbose=0)
    assert "Confusion" not in page_of(several, history, held_out=(x, x[:, :2] > 0))[1].text
    many = fm.MLP(3, [4], 40)
    y = np.arange(60) % 40
    history = many.fit(x, y, epochs=1, verbose=0)
    _, page = page_of(many, history, held_out=(x, y))
    assert "taken for" in page.text and "times" in page.text
    assert len(page.text) < 20_000


def test_worst_mistakes_without_pictures_are_a_table(trained):
    model, history, (x, y) = trained
    _, page = page_of(model, history, held_out=(x.reshape(-1, 64), y))
    assert "of the true one" in page.text
    assert page.addresses == []


# --- Charts and pictures ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 0), (-3, 4), (1e-9, 3e-9), (5, 5), (0.99, 1), (-1e6, 1e7)]
)
def test_ticks_cover_the_range(low, high):
    marks = charts.ticks(low, high)
    assert 2 <= len(marks) <= 12
    assert marks[0] <= low + 1e-12 * abs(low) and marks[-1] >= high - 1e-12 * abs(high)
    steps = np.diff(marks)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-6)


def test_lines_leave_out_what_is_not_finite():
    svg = charts.lines({"a": [1.0, math.nan, 3.0, math.inf], "b": [2.0]}, "t")
    assert svg.count("<circle") == 3
    assert "nan" not in svg and "inf" not in svg
    assert charts.lines({"a": [math.nan]}, "t") == ""
    assert charts.points([math.nan], [1.0], "t") == ""


def test_lines_are_where_the_values_are():
    svg = charts.lines({"a": [0.0, 1.0, 0.5]}, "t")
    (x0, y0), (x1, y1), (x2, y2) = (
        map(float, spot.split(",")) for spot in re.search(r'points="([^"]+)"', svg)[1].split()
    )
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.2)
    assert y0 > y2 > y1  # larger values are higher
    assert y2 == pytest.approx((y0 + y1) / 2, abs=0.2)


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
