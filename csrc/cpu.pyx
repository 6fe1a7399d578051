"""The instruction set of this process, chosen once, at the import of this module.

FASTMLP_ISA selects a level. A level that this build or this machine lacks raises ImportError.
"""

import os

from cpython.pycapsule cimport PyCapsule_New

cdef extern from "fm_dispatch.h":
    enum:
        FM_LEVEL_COUNT
    int fm_level_built(int level)
    int fm_level_supported(int level)
    const void *fm_level_table_f32(int level)
    const void *fm_level_table_f64(int level)
    const char *fm_compiler()

LEVELS = ("generic", "avx2", "avx512", "neon")


def built_levels():
    """Return the names of the levels that this build contains."""
    return [name for level, name in enumerate(LEVELS) if fm_level_built(level)]


def supported_levels():
    """Return the names of the levels that this machine can run, slowest first."""
    return [name for level, name in enumerate(LEVELS) if fm_level_supported(level)]


def _choose():
    wanted = os.environ.get("FASTMLP_ISA", "")
    if not wanted:
        return supported_levels().pop()
    if wanted not in LEVELS:
        raise ImportError(
            f"FASTMLP_ISA: expected one of {', '.join(LEVELS)}, got {wanted!r}. "
            f"This machine can run: {', '.join(supported_levels())}."
        )
    if wanted not in supported_levels():
        reason = "this machine lacks it" if wanted in built_levels() else "not in this build"
        raise ImportError(
            f"FASTMLP_ISA={wanted}: {reason}. It can run: {', '.join(supported_levels())}."
        )
    return wanted


isa = _choose()
compiler = (<bytes>fm_compiler()).decode()
cdef int _level = LEVELS.index(isa)
tables = (
    PyCapsule_New(<void *>fm_level_table_f32(_level), "fastmlp.table_f32", NULL),
    PyCapsule_New(<void *>fm_level_table_f64(_level), "fastmlp.table_f64", NULL),
)
