"""The picture of a gradient check."""

from __future__ import annotations

import re

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import plot


def test_what_is_drawn():
    model = fm.MLP(4, [5], 3, activation="tanh", seed=1)
    curve = fm.gradcheck(model, np.eye(4), [0, 1, 2, 0], layer="dense_1")
    ax = plot.gradcheck(curve)
    line, best = ax.get_lines()
    np.testing.assert_array_equal(line.get_xdata(), curve.n)
    np.testing.assert_array_equal(line.get_ydata(), curve.errors)
    assert (best.get_xdata()[0], best.get_ydata()[0]) == (curve.best, curve.best_error)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_xlabel() == "N (the step of the central difference is 1/N)"
    assert ax.get_ylabel() == "largest |difference| of 10 gradients"
    assert ax.get_title() == "dense_1.weight: gradients are correct"
    assert re.fullmatch(r"\d\.\de-1\d at N = [\d ]+", ax.texts[0].get_text())


def test_zeros_have_a_place_of_their_own():
    model = fm.MLP(2, [3], 2, init="zeros")
    ax = plot.gradcheck(fm.gradcheck(model, [[1.0, 1.0]], [0], layer=1, n=[1, 10]))
    line, zeros = ax.get_lines()
    assert len(line.get_xdata()) == 0
    assert list(zeros.get_xdata()) == [1, 10]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["difference of exactly 0"]
    assert ax.get_title() == "dense_1.weight: inconclusive, all gradients are 0"
    ax.figure.canvas.draw()


def test_a_failure_and_a_kink_are_named(monkeypatch):
    from fastmlp import reference

    right = reference.tanh_backward
    monkeypatch.setattr(
        reference, "tanh_backward", lambda dy, y, out: np.multiply(right(dy, y), 2, out=out)
    )
    model = fm.MLP(4, [5], 3, activation="tanh")
    model.backend = "numpy"
    ax = fm.gradcheck(model, np.eye(4), [0, 1, 2, 0], layer=0).plot()
    assert ax.get_title() == "dense_0.weight: gradients are WRONG"
    model = fm.Sequential([fm.Dense(1, activation="relu", use_bias=False, init="zeros")], (1,))
    ax = fm.gradcheck(model, [[1.0]], [[1.0]], "mse", layer=0).plot()
    assert ax.get_title() == "dense_0.weight: not checked, all elements are at a kink"
    ax.figure.canvas.draw()


def test_refused():
    with pytest.raises(TypeError) as caught:
        plot.gradcheck([1.0])
    assert str(caught.value) == (
        "curve must be what fm.gradcheck(model, x, y, layer=...) returns, got list."
    )
