"""The report page: complete, without network access, and safe with hostile names."""

from __future__ import annotations

import re
from html import unescape

import numpy as np
import pytest
from html_page import Page

import fastmlp as fm
from fastmlp import report

EVIL = "<script>alert(1)</script>\"'&"


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


def test_a_run_without_a_complete_epoch(trained):
    model, _, test = trained
    history = fm.History()
    history.interrupted = True
    _, page = page_of(model, history, held_out=test)
    assert "No epoch is complete." in page.text
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
    assert "predicted" in page.text and "count" in page.text
    assert len(page.text) < 20_000


def test_worst_mistakes_without_pictures_are_a_table(trained):
    model, history, (x, y) = trained
    _, page = page_of(model, history, held_out=(x.reshape(-1, 64), y))
    assert "probability of true class" in page.text
    assert page.addresses == []
