"""Fixtures for tests of kernels."""

import numpy as np
import pytest


@pytest.fixture
def rng():
    """Return the same random numbers for every test."""
    return np.random.default_rng(42)
