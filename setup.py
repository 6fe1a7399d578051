"""Build the compiled modules: Cython loop nests over one C file per instruction set.

All other settings of the package are in pyproject.toml.
"""

import os
import platform
import sys
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

DEBUG = os.environ.get("FASTMLP_DEBUG") == "1"
CSRC = Path("csrc")
SOURCES = {
    # The only module with the code of all instruction sets; the others get their tables from it.
    "cpu": [CSRC / "cpu.pyx", *sorted(CSRC.glob("simd/*.c"))],
    "plan": [CSRC / "plan/plan.pyx", CSRC / "team/fm_team.c"],
    **{path.stem: [path] for path in sorted(CSRC.glob("kernels/*.pyx"))},
}
HEADERS = sorted(map(str, [*CSRC.glob("**/*.h"), *CSRC.glob("**/*.pxd")]))

# -ffp-contract=off: no compiler fuses a multiply and an add unless the code asks for it.
UNIX_FLAGS = [
    *(["-O1", "-g"] if DEBUG else ["-O3", "-g0"]),
    "-std=c11",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=off",
    "-fvisibility=hidden",
]
# Flags per file; all other files use only the baseline instruction set.
LEVEL_FLAGS = {
    "fm_avx2.c": ["-mavx2", "-mfma"],
    "fm_avx512.c": [
        "-mavx512f",
        "-mavx512bw",
        "-mavx512dq",
        "-mavx512vl",
        "-mfma",
        "-mprefer-vector-width=512",
    ],
}
MACROS = [("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")]
if os.environ.get("FASTMLP_PLAIN_C") == "1":
    MACROS.append(("FM_PLAIN_C", "1"))
X86_64 = platform.machine().lower() in ("x86_64", "amd64")


class BuildExt(build_ext):
    """build_ext with flags per compiler and, on x86-64, per C file."""

    def finalize_options(self) -> None:
        super().finalize_options()
        if self.parallel is None:
            self.parallel = os.cpu_count()

    def build_extensions(self) -> None:
        if self.compiler.compiler_type != "msvc":
            for extension in self.extensions:
                extension.extra_compile_args = UNIX_FLAGS
                if sys.platform == "linux" and not DEBUG:  # no symbol tables: a smaller wheel
                    extension.extra_link_args = ["-Wl,-s"]
            compile_one = self.compiler._compile

            def compile_with_level(obj, src, ext, cc_args, postargs, pp_opts):
                level = LEVEL_FLAGS.get(os.path.basename(src), []) if X86_64 else []
                compile_one(obj, src, ext, cc_args, [*postargs, *level], pp_opts)

            self.compiler._compile = compile_with_level
        super().build_extensions()


setup(
    ext_modules=cythonize(
        [
            Extension(
                f"fastmlp._compiled.{name}",
                list(map(str, sources)),
                include_dirs=["csrc/simd", "csrc/team", np.get_include()],
                depends=HEADERS,
                define_macros=MACROS,
            )
            for name, sources in SOURCES.items()
        ],
        build_dir="build/cython",
        include_path=["csrc"],
        nthreads=2,
        compiler_directives={
            "language_level": 3,
            "binding": True,
            "embedsignature": False,
            "cdivision": True,
            "boundscheck": DEBUG,
            "wraparound": False,
            "initializedcheck": DEBUG,
            "freethreading_compatible": True,
            "autotestdict": False,
        },
    ),
    cmdclass={"build_ext": BuildExt},
)
