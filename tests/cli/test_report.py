"""``fastmlp train --report``: the page it writes."""

from __future__ import annotations

import re

import numpy as np
from html_page import Page

import fastmlp as fm


def test_page_of_the_command(tmp_path, run):
    path = tmp_path / "run.html"
    status, out, _ = run("train", "--hidden", 16, "--epochs", 2, "--report", path)
    assert status == 0
    assert f"report {path}" in out
    page = Page(path.read_text(encoding="utf-8"))
    for heading in ("Results", "Learning curves", "Confusion matrix", "Worst mistakes", "Training time",
                    "Network", "Settings", "Environment"):  # fmt: skip
        assert heading in page.text
    accuracy = re.search(r"test   loss .*  accuracy (\S+)", out)[1]
    assert f"test accuracy {accuracy}" in page.text
    assert page.tags.count("svg") == 3  # loss, accuracy, time
    assert "Dense(16, activation='relu')" in page.text
    for name, value in (("dataset", "digits"), ("epochs", "2"), ("lr", "0.2")):
        assert f"{name}{value}" in page.text
    assert fm._config.instruction_set() in page.text


def test_a_file_with_an_evil_name(tmp_path, run):
    x, y = np.random.default_rng(0).random((40, 5)), np.arange(40) % 2
    path = tmp_path / "<img src=x onerror=alert(1)>.npz"
    np.savez(path, x=x, y=y)
    page = tmp_path / "run.html"
    assert run("train", path, "--hidden", 4, "--epochs", 1, "--report", page).status == 0
    text = page.read_text(encoding="utf-8")
    assert "<img src=x" not in text
    assert path.name in Page(text).text
