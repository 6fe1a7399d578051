"""Fixtures for every test."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import _backend

try:
    import fastmlp.kernels
except ImportError:  # a source tree that is not built: test what needs no compiler
    _backend.DEFAULT = "numpy"


@pytest.fixture(scope="session", autouse=True)
def _away_from_the_sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run in an empty folder, because a child process imports from the current folder."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("cwd"))
    yield
    os.chdir(before)


@pytest.fixture(params=["numpy", "kernels"])
def backend(request: pytest.FixtureRequest) -> str:
    """Run a test on each backend; skip a backend that is not built."""
    if request.param == "kernels":
        pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)
    return request.param


@pytest.fixture
def toy() -> tuple[np.ndarray, np.ndarray]:
    """Three noisy classes of 150 points in six dimensions: x (150, 6) float32, y (150,) int64."""
    rng = np.random.default_rng(5)
    y = np.arange(150) % 3
    centres = 2.0 * rng.standard_normal((3, 6))
    x = centres[y] + rng.standard_normal((150, 6))
    return x.astype(np.float32), y


@pytest.fixture
def model(backend: str) -> fm.Sequential:
    """Return a small classifier for the toy data, on each backend."""
    result = fm.MLP(6, [8, 5], 3, activation="tanh", seed=3)
    result.backend = backend
    return result


@pytest.fixture
def eager_threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Return a function that sets the number of threads; threads then share even the smallest work."""
    from fastmlp import _threads
    from fastmlp._engines import plans
    from fastmlp._plan import builder

    monkeypatch.setattr(_threads, "OVERSUBSCRIBE", True)
    monkeypatch.setattr(plans, "_PARALLEL_STEP", 0)
    monkeypatch.setattr(plans, "_PARALLEL_CALL", 0)
    monkeypatch.setattr(builder, "_GRAIN", 1)
    monkeypatch.setattr(builder, "OWN_SAMPLES", 8)
    before = _threads.choice()
    yield fm.set_num_threads
    _threads.choose(before)


@pytest.fixture
def poisoned_arenas(monkeypatch):
    """A context in which the arenas of new plans hold NaN wherever zeros are not promised."""
    from fastmlp._plan import builder

    allocate = builder.allocate

    def poisoned(buffers, phases, dtype):
        arena = allocate(buffers, phases, dtype)
        arena[...] = np.nan
        for buffer in buffers:
            if buffer.zero:
                arena[buffer.offset : buffer.offset + buffer.size] = 0
        return arena

    @contextlib.contextmanager
    def poison():
        with monkeypatch.context() as patch:
            patch.setattr(builder, "allocate", poisoned)
            yield

    return poison
