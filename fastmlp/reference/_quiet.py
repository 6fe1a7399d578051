"""Numpy without its warnings about floating-point results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

__all__ = ["quiet"]

Function = TypeVar("Function", bound=Callable[..., Any])


def quiet(function: Function) -> Function:
    """Return a function that ignores overflow, division by zero and invalid values.

    Infinity and NaN are legitimate results of every operation, whatever numpy settings the caller
    has. Each function gets a separate ``errstate`` object: if functions that share one call each
    other, numpy 1.26 does not restore the settings of the caller.
    """
    return np.errstate(all="ignore")(function)
