"""What counts as an improvement of a metric."""

from __future__ import annotations

import math
import re

from fastmlp import _checks

__all__ = ["Monitor"]

# Metrics for which larger values are better. For all others, smaller values are better.
_LARGER = re.compile(r"(val_)?(accuracy|r2|top_\d+|(precision|recall|f1)(_\w+)?)")


class Monitor:
    """A metric to watch, and what counts as an improvement of it.

    Parameters
    ----------
    name : str
        Name of the metric, a key of ``history.history``.
    mode : {"auto", "min", "max"}, default="auto"
        Whether smaller or larger values are better. "auto" means "max" for accuracy, top_k,
        precision, recall, f1 and r2, and "min" for all other metrics.
    min_delta : float, default=0.0
        Minimum change that counts as an improvement, at least 0.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described above.
    """

    def __init__(self, name: str, mode: str = "auto", min_delta: float = 0.0) -> None:
        if not isinstance(name, str):
            raise TypeError(f"monitor must be the name of a metric, got {name!r}.")
        _checks.lookup(mode, dict.fromkeys(("auto", "min", "max")), "mode")
        self.name = name
        self.min_delta = _checks.number(min_delta, "min_delta", minimum=0.0)
        larger = mode == "max" or (mode == "auto" and _LARGER.fullmatch(name) is not None)
        self._sign = -1.0 if larger else 1.0

    def improves(self, value: float, best: float | None) -> bool:
        """Return whether ``value`` is better than ``best``; NaN never is, None is the worst."""
        limit = math.inf if best is None else self._sign * best
        return self._sign * value < limit - self.min_delta
