"""Ctrl-C at random moments; test_loop.py has those at chosen ones."""

from __future__ import annotations

import random
import signal

import pytest
from interrupted import Patient

pytestmark = pytest.mark.alone


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="signals are those of POSIX")
@pytest.mark.parametrize("kind", ["tiny", "small", "wide"])
def test_ctrl_c_at_a_random_moment(kind):
    pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)
    patient, numbers = Patient(kind), random.Random(kind)
    for _ in range(4):
        # 0.2 s is the promise; a busy machine may add as much again.
        assert patient.interrupt(numbers.uniform(0.01, 0.2)) < 0.4
        patient.x, patient.y = patient.x[: 100 + 9], patient.y[: 100 + 9]
        history = patient.fit(2)
        assert (history.interrupted, history.epochs) == (False, [1, 2])
        patient = Patient(kind)
