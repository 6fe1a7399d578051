"""Instruction sets: chosen, forced, refused, and equal to the reference at every level."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastmlp._compiled import cpu

HERE = Path(__file__).parent


def run(code_or_args, **environment):
    args = code_or_args if isinstance(code_or_args, list) else ["-c", code_or_args]
    return subprocess.run(
        [sys.executable, *args],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_best_level_is_the_default():
    code = "from fastmlp._compiled import cpu; print(cpu.isa)"
    assert run(code, FASTMLP_ISA="").stdout.split() == [cpu.supported_levels()[-1]]


@pytest.mark.parametrize("level", cpu.LEVELS)
def test_forced_or_refused(level):
    result = run("from fastmlp._compiled import cpu; print(cpu.isa)", FASTMLP_ISA=level)
    if level in cpu.supported_levels():
        assert result.stdout.split() == [level]
    else:
        reason = "this machine lacks it" if level in cpu.built_levels() else "not in this build"
        assert f"ImportError: FASTMLP_ISA={level}: {reason}. It can run:" in result.stderr


def test_unknown_level_is_refused():
    result = run("import fastmlp.kernels", FASTMLP_ISA="mmx")
    expected = "FASTMLP_ISA: expected one of generic, avx2, avx512, neon, got 'mmx'."
    assert expected in result.stderr


@pytest.mark.parametrize("level", [x for x in cpu.supported_levels() if x != cpu.isa])
def test_the_twins_agree_at_every_level(level):
    names = ("twins", "activations", "dense", "losses", "ulp")
    files = [str(HERE / f"test_{name}.py") for name in names]
    args = ["-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
    result = run(args, FASTMLP_ISA=level)
    assert result.returncode == 0, result.stdout[-3000:]


def test_import_leaves_subnormals_alone():
    code = "import fastmlp.kernels, numpy as np; print(np.float64(2.0**-1074) * 1.0 != 0)"
    assert run(code).stdout.split() == ["True"]
