"""Where threadpoolctl is installed, its limits hold for fastmlp, and it lists fastmlp.

threadpoolctl asks the libraries that are loaded when a limit is set. So this is registered, and
the library that runs the threads is loaded, when fastmlp is imported: 3 ms together.
"""

from __future__ import annotations

import importlib
import os

from fastmlp import _threads

__all__ = ["register"]

LIBRARY = "plan"
"""The module of ``fastmlp._compiled`` that stands for fastmlp in threadpoolctl's list."""


class _Count(int):
    """A number of threads that knows which choice it comes from, to go back to just that one.

    threadpoolctl keeps what ``get_num_threads`` returned and sets it again when a limit ends. The
    plain number would turn a default, or a choice of more threads than CPUs, into a choice of it.
    """

    choice: tuple[int, str] | None


def register() -> None:
    """Tell threadpoolctl of fastmlp; do nothing without threadpoolctl or without kernels."""
    try:
        import threadpoolctl

        library = importlib.import_module(f"fastmlp._compiled.{LIBRARY}")
    except ImportError:
        return
    if not hasattr(threadpoolctl, "register"):  # it is older than 3.2
        return
    path = os.path.realpath(str(library.__file__))

    class Controller(threadpoolctl.LibController):  # type: ignore[misc]  # it has no types
        user_api = "fastmlp"  # it is neither BLAS nor OpenMP: their limits are not for it
        internal_api = "fastmlp"
        filename_prefixes = (os.path.basename(path).lower(),)
        check_symbols = (f"PyInit_{LIBRARY}",)

        def set_additional_attributes(self) -> None:
            if self.filepath != path:  # of another package: without symbols it is turned away
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
            return None  # reading it takes longer than all of fastmlp's import

    threadpoolctl.register(Controller)
