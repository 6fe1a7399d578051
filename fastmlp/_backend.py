"""The two modules of operations a model can run on, and which one is the default."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__ = ["DEFAULT", "load"]

DEFAULT = "kernels"

_MODULES = {"kernels": "fastmlp.kernels", "numpy": "fastmlp.reference"}


def load(name: str) -> ModuleType:
    """Return the operations called ``name``; their modules are imported when first asked for.

    Raises
    ------
    ValueError
        If the name is neither "kernels" nor "numpy".
    """
    if not isinstance(name, str) or name not in _MODULES:
        raise ValueError(f'backend must be "kernels" or "numpy", got {name!r}.')
    return importlib.import_module(_MODULES[name])
