"""Rules for every picture: axes as given, no global change, clear errors."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from matplotlib import pyplot, rcParams

import fastmlp as fm

X2 = np.random.default_rng(0).standard_normal((20, 2))
Y2 = (X2[:, 0] > 0).astype(int)


def curve():
    return fm.gradcheck(fm.MLP(2, [3], 2, activation="tanh"), X2[:1], Y2[:1], layer="dense_1")


PICTURES = {
    "learning_curves": lambda ax: fm.plot.learning_curves({"loss": [2.0, 1.0]}, ax=ax),
    "decision_boundary": lambda ax: fm.plot.decision_boundary(fm.MLP(2, [3], 2), X2, Y2, ax=ax),
    "filters": lambda ax: fm.plot.filters(fm.MLP(16, [4], 2), ax=ax),
    "misclassified": lambda ax: fm.plot.misclassified(np.eye(4)[None], [0], [1], ax=ax),
    "confusion_matrix": lambda ax: fm.plot.confusion_matrix([0, 1], [0, 0], ax=ax),
    "gradcheck": lambda ax: fm.plot.gradcheck(curve(), ax=ax),
    "curve.plot": lambda ax: curve().plot(ax),
    "layer_histograms": lambda ax: fm.plot.layer_histograms(fm.MLP(2, [3], 2), X2, ax=ax),
}


@pytest.mark.parametrize("name", PICTURES)
def test_it_draws_into_the_axes_it_is_given(name):
    figure, (left, right) = pyplot.subplots(1, 2)
    assert PICTURES[name](right) is right
    assert right.get_children() and not left.lines and not left.images
    assert pyplot.get_fignums() == [figure.number]
    figure.canvas.draw()


@pytest.mark.parametrize("name", PICTURES)
def test_without_axes_it_makes_one_figure_and_changes_no_setting(name, tmp_path):
    before = dict(rcParams)
    ax = PICTURES[name](None)
    assert [ax.figure.number] == pyplot.get_fignums()
    ax.figure.savefig(tmp_path / "picture.png")
    assert dict(rcParams) == before


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("ax", ["here", pyplot.Figure(), np.array([None])])
def test_something_else_is_no_axes(name, ax):
    with pytest.raises(
        TypeError, match=f"ax must be a matplotlib Axes or None, got {type(ax).__name__}"
    ):
        PICTURES[name](ax)
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("name", PICTURES)
def test_missing_matplotlib_names_the_extra(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "fastmlp\[plot\]"'):
        PICTURES[name](None)


def test_matplotlib_waits_for_a_picture():
    code = "import sys, fastmlp as fm; fm.plot.gradcheck; print('matplotlib' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout == "False\n"


def test_all_names_are_there():
    assert set(fm.plot.__all__) == {
        "check_path", "confusion_matrix", "decision_boundary", "filters", "gradcheck", "history",
        "layer_histograms", "learning_curves", "misclassified",
    }  # fmt: skip
    assert all(callable(getattr(fm.plot, name)) for name in fm.plot.__all__)
