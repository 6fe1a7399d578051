"""Numpy's floating-point warnings are errors in every test of the reference."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    """Fail on any warning, even where the user's numpy settings would raise one."""
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        yield
