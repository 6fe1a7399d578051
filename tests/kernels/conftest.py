"""What the kernel tests share."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))  # for cases.py, from any working directory


@pytest.fixture
def rng():
    """Return the same random numbers for every test."""
    return np.random.default_rng(42)
