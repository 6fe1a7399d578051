"""Support for threadpoolctl, if it is installed: it lists fastmlp and limits its threads.

threadpoolctl applies a limit only to libraries that are already loaded. Therefore importing fastmlp
registers a controller and loads the library that runs the threads, which takes 3 ms together.
"""

from __future__ import annotations

import importlib
import os

from fastmlp import _threads

__all__ = ["register"]

LIBRARY = "plan"
"""The module of ``fastmlp._compiled`` that represents fastmlp in threadpoolctl's list."""


class _Count(int):
    """A number of threads that stores the choice it came from, to restore exactly that choice.

    threadpoolctl stores the result of ``get_num_threads`` and sets it again when a limit ends. A
    plain number would turn the default, or a choice of more threads than CPUs, into a fixed number.
    """

    choice: tuple[int, str] | None


def register() -> None:
    """Register fastmlp with threadpoolctl; do nothing if it or the compiled modules are missing."""
    try:
        import threadpoolctl

        library = importlib.import_module(f"fastmlp._compiled.{LIBRARY}")
    except ImportError:
        return
    if not hasattr(threadpoolctl, "register"):  # threadpoolctl before 3.2
        return
    path = os.path.realpath(str(library.__file__))

    class Controller(threadpoolctl.LibController):  # type: ignore[misc]  # it has no types
        user_api = "fastmlp"  # limits for BLAS or OpenMP do not apply
        internal_api = "fastmlp"
        filename_prefixes = (os.path.basename(path).lower(),)
        check_symbols = (f"PyInit_{LIBRARY}",)

        def set_additional_attributes(self) -> None:
            if self.filepath != path:  # another package's file; without symbols it is ignored
                self.dynlib = None

        def get_num_threads(self) -> int:
            count = _Count(_threads.get_num_threads())
            count.choice = _threads.choice()
            return count

        def set_num_threads(self, num_threads: int) -> None:
            if isinstance(num_threads, _Count):
                _threads.choose(num_threads.choice)
            else:
                _threads.choose((max(1, int(num_threads)), "threadpoolctl"))

        def get_version(self) -> None:
            return None  # reading the version takes longer than importing fastmlp

    threadpoolctl.register(Controller)
