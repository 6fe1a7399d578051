"""Builds and runs the test of the barrier, also with the thread sanitizer."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
TEAM = HERE.parent.parent / "csrc" / "team"
FLAGS = ["-std=c11", "-Wall", "-Wextra", "-pthread", "-I", str(TEAM)]
SOURCES = [str(HERE / "test_team.c"), str(TEAM / "fm_team.c")]

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(not TEAM.is_dir(), reason="csrc/team is not beside the tests"),
    pytest.mark.skipif(os.name != "posix", reason="teams have threads on POSIX only"),
]


def call(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize(
    "options",
    [["-O2", "-DBARRIERS=8000"], ["-O1", "-g", "-fsanitize=thread", "-DBARRIERS=3000"]],
    ids=["plain", "sanitized"],
)
def test_every_thread_waits_for_all_others(compiler, options, tmp_path):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    if "-fsanitize=thread" in options:
        empty = tmp_path / "empty.c"
        empty.write_text("int main(void) { return 0; }", encoding="utf-8")
        program = str(tmp_path / "empty")
        built = call(compiler, "-fsanitize=thread", str(empty), "-o", program)
        if built.returncode or call(program).returncode:
            pytest.skip(f"{compiler} has no thread sanitizer here")
    program = str(tmp_path / "team")
    built = call(compiler, *FLAGS, *options, *SOURCES, "-o", program)
    assert built.returncode == 0, built.stderr
    assert "warning:" not in built.stderr, built.stderr
    ran = call(program)
    report = ran.stdout + ran.stderr
    assert ran.returncode == 0, report
    assert "all checks passed" in report
