"""The two modules of operations on which a model can run, and the default."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["DEFAULT", "load"]

DEFAULT = "kernels"

_MODULES = {"kernels": "fastmlp.kernels", "numpy": "fastmlp.reference"}


def load(name: str) -> ModuleType:
    """Return the module of operations called ``name``, which is imported on first use.

    Raises
    ------
    ValueError
        If the name is neither "kernels" nor "numpy".
    """
    if not isinstance(name, str) or name not in _MODULES:
        raise ValueError(f'backend must be "kernels" or "numpy", got {name!r}.')
    return importlib.import_module(_MODULES[name])
