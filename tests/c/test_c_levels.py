"""Builds the C tests for every available instruction set and runs them."""

import os
import platform
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SIMD = HERE.parent.parent / "csrc" / "simd"
FLAGS = ["-std=c11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off"]
FLAGS += ["-Wall", "-Wextra"]
AVX512 = ["-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"]
AVX512 += ["-mprefer-vector-width=512"]
# Neither optimised nor inlined: gcc needs minutes to split the vectors of unrolled loops.
SOFT_AVX512 = ["-mavx2", "-mfma", "-O0", "-Dalways_inline=unused", "-Wno-psabi"]
# gcc 12 vectorizes the loop over k and loads b one iteration too far. It builds the plain level
# only here.
PLAIN = ["-DFM_PLAIN_C", "-fno-tree-vectorize"]
LEVELS = {
    "generic": ("fm_generic.c", []),
    "plain": ("fm_generic.c", PLAIN),
    "avx2": ("fm_avx2.c", ["-mavx2", "-mfma"]),
    "avx512": ("fm_avx512.c", AVX512),
    "soft-avx512": ("soft_avx512.h", SOFT_AVX512),
    "neon": ("fm_neon.c", []),
}
NEEDS = {
    "avx2": {"avx2", "fma"},
    "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"},
    "soft-avx512": {"avx2", "fma"},
}
PROGRAMS = ["test_math.c", "test_tile.c"]
CASES = [(c, level) for c in ("gcc", "clang") for level in LEVELS]
CASES.append(("aarch64-linux-gnu-gcc", "neon"))
X86 = platform.machine().lower() in ("x86_64", "amd64")
ARM = platform.machine().lower() in ("aarch64", "arm64")

pytestmark = [
    pytest.mark.skipif(not SIMD.is_dir(), reason="csrc/simd is not beside the tests"),
    pytest.mark.skipif(os.name != "posix", reason="the C tests need mmap"),
]


def cpu_flags():
    """Return the names of the processor's features as Linux lists them."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    return {flag for line in text.splitlines() if line.startswith("flags") for flag in line.split()}


def why_not(compiler, level):
    """Return why this level cannot be built here, or None."""
    if compiler == "aarch64-linux-gnu-gcc" and shutil.which("qemu-aarch64") is None:
        return "qemu-aarch64 is not installed"
    if shutil.which(compiler) is None:
        return f"{compiler} is not installed"
    if level in NEEDS and not X86:
        return f"{level} is for x86-64"
    if level == "soft-avx512" and NEEDS["avx512"] <= cpu_flags():
        return "this processor runs avx512 itself"
    if level == "neon" and not ARM and compiler in ("gcc", "clang"):
        return "neon is for AArch64; aarch64-linux-gnu-gcc and qemu-aarch64 stand in"
    return None


def build(test, compiler, level, simd, program, *options):
    """Compile the test program of one level; AssertionError with the messages unless silent."""
    source, flags = LEVELS[level]
    command = [compiler, *FLAGS, *flags, *options, "-I", str(simd), f'-DLEVEL_FILE="{source}"']
    command += [str(HERE / test), "-lm", "-o", str(program)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    assert "warning:" not in result.stderr, result.stderr


def run(*command):
    """Run the test program and return its exit status and report."""
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return result.returncode, result.stdout + result.stderr


def build_and_run(test, compiler, level, program):
    """Return exit status and report, or what the processor lacks and an empty report."""
    if compiler == "aarch64-linux-gnu-gcc":
        build(test, compiler, level, SIMD, program, "-static", "-DSAMPLES_LOG2=14")
        return run("qemu-aarch64", str(program))
    missing = NEEDS.get(level, set()) - cpu_flags()
    if missing:  # only that it compiles: the build has done so with its own flags
        build(test, compiler, level, SIMD, program, "-O0")
        return ", ".join(sorted(missing)), ""
    samples = 14 if level == "soft-avx512" else 19
    build(test, compiler, level, SIMD, program, f"-DSAMPLES_LOG2={samples}")
    return run(str(program))


@pytest.fixture(scope="module")
def jobs(request, tmp_path_factory):
    """Start the selected tests on all processors; return futures by (test, compiler, level)."""
    folder = tmp_path_factory.mktemp("levels")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        futures = {}
        for item in request.session.items:
            if item.path != Path(__file__) or not hasattr(item, "callspec"):
                continue
            key = tuple(item.callspec.params[name] for name in ("test", "compiler", "level"))
            if why_not(*key[1:]) is None:
                futures[key] = pool.submit(build_and_run, *key, folder / "-".join(key))
        yield futures


@pytest.mark.parametrize("test", PROGRAMS)
@pytest.mark.parametrize(("compiler", "level"), CASES)
def test_level(test, compiler, level, jobs):
    reason = why_not(compiler, level)
    if reason:
        pytest.skip(reason)
    status, report = jobs[test, compiler, level].result()
    if isinstance(status, str):
        pytest.skip(f"compiled, not run: this processor lacks {status}")
    print(report)
    assert status == 0, report
    assert "all checks passed" in report


def test_the_bounds_bite(tmp_path):
    """A coefficient that is wrong by 32 units in the last place is found."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    simd = tmp_path / "simd"
    shutil.copytree(SIMD, simd)
    header = simd / "fm_coefficients.h"
    text = header.read_text(encoding="utf-8")
    start = text.index("fm_exp_f32[] = {") + len("fm_exp_f32[] = {\n    ")
    end = text.index(",", start)
    wrong = float.fromhex(text[start:end].rstrip("f")) * (1 + 2.0**-18)
    header.write_text(f"{text[:start]}{wrong.hex()}f{text[end:]}", encoding="utf-8")
    program = tmp_path / "wrong"
    build("test_math.c", "gcc", "plain", simd, program, "-O1", "-DSAMPLES_LOG2=14")
    status, report = run(str(program))
    assert status == 1, report
    assert "FAILED exp f32" in report
    assert "FAILED exp f64" not in report
