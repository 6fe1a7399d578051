"""Monitored values: which of two is better."""

from __future__ import annotations

import math

import pytest

from fastmlp.monitor import Monitor


@pytest.mark.parametrize(
    ("name", "mode", "larger"),
    [
        ("val_loss", "auto", False),
        ("loss", "auto", False),
        ("val_error", "auto", False),
        ("mae", "auto", False),
        ("val_accuracy", "auto", True),
        ("top_5", "auto", True),
        ("val_f1_macro", "auto", True),
        ("val_r2", "auto", True),
        ("own", "auto", False),
        ("own", "max", True),
        ("accuracy", "min", False),
    ],
)
def test_what_is_better(name, mode, larger):
    monitor = Monitor(name, mode, min_delta=0.5)
    assert monitor.improves(1.0, None)
    assert monitor.improves(2.0, 1.0) == larger
    assert monitor.improves(1.0, 2.0) != larger
    assert not monitor.improves(1.5, 1.0)  # by no more than min_delta
    assert not monitor.improves(1.0, 1.5)
    assert not monitor.improves(math.nan, None)
    assert not monitor.improves(math.nan, 1.0)
