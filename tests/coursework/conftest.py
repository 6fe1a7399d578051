"""The coursework's modules lie in examples/, beside the tests."""

import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

if (EXAMPLES / "coursework").is_dir():
    sys.path.insert(0, str(EXAMPLES))
else:
    collect_ignore_glob = ["test_*"]


@pytest.fixture
def rng():
    return np.random.default_rng(231)


@pytest.fixture(autouse=True)
def _seeded():
    """Seed the global generator, as the courses' notebooks do."""
    np.random.seed(231)
