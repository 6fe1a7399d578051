"""Arrays that live in the layout their present user likes best.

A weight of a dense layer lies row by row, (I, O), for numpy and for users, and in *panels* for the
compiled plans: (ceil(O / width), I, width), where panel p holds columns p * width and on, with
zeros behind the last. A filter of a convolution, (kh, kw, C, F), is a matrix of kh * kw * C rows
there, as any array is whose last axis are the outputs. A panel is read from its first value to its
last by the product of a layer's input with it, and written so by the update; rows of a plain matrix
lie a power of two apart, and share few cache sets. Only one of the two forms exists at a time, and
all plans of a network want the same one: a plan holds addresses while it runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from fastmlp._arrays import empty

__all__ = ["Derived", "Stored"]

Array = npt.NDArray[Any]

_PADDING = 64  # values: one row of a panel on every instruction set, and more


class Stored:
    """An array of a fixed shape, plain or in panels.

    Attributes
    ----------
    shape : tuple of int
        Its shape for users.
    changes : int
        How often its values have changed. Who writes to ``plain()`` or ``panels()`` counts.
    """

    __slots__ = ("_panels", "_plain", "changes", "shape")

    _plain: Array | None
    _panels: Array | None

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.changes = 0

    def __getstate__(self) -> dict[str, Any]:
        names = [name for kind in type(self).__mro__ for name in getattr(kind, "__slots__", ())]
        state = {n: getattr(self, n) for n in names if n[0] != "_" and hasattr(self, n)}
        return state | ({"value": self.value} if hasattr(self, "_plain") else {})

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            if name != "value":
                setattr(self, name, value)
        if "value" in state:
            # Memory as `assign` makes it; and a dtype that was pickled is not numpy's own object.
            value = state["value"]
            self.assign(value, np.dtype(value.dtype.type))

    def assign(self, value: npt.ArrayLike, dtype: np.dtype[Any]) -> None:
        """Make the array a new one, plain, with these values."""
        self.changes += 1
        self._panels = None
        self._plain = _padded(self.shape, dtype)
        np.copyto(self._plain, value, casting="same_kind")

    @property
    def live(self) -> Array:
        """The memory itself, in whichever form it is."""
        return self._plain if self._plain is not None else cast(Array, self._panels)

    @property
    def value(self) -> Array:
        """The values in their own shape: the live array if it is plain, else a copy of it."""
        return self._plain if self._plain is not None else self._unpacked()

    def plain(self) -> Array:
        """Return the live array in its own shape; from now on it is plain."""
        if self._plain is None:
            self._plain = self._unpacked()
            self._panels = None
        return self._plain

    def panels(self, width: int) -> Array:
        """Return the live array in panels of ``width`` columns; from now on it is in them.

        All axes but the last count as rows: (kh, kw, C, F) as (kh * kw * C, F).
        """
        if self._panels is None or self._panels.shape[2] != width:
            plain = self.plain()
            inputs, outputs = math.prod(self.shape[:-1]), self.shape[-1]
            panels = empty((-(-outputs // width), inputs, width), plain.dtype)
            self._panels = pack(plain, panels)
            self._plain = None
        return self._panels

    def write(self, value: Array) -> None:
        """Overwrite the values, in whichever form they are."""
        self.changes += 1
        if self._plain is not None:
            np.copyto(self._plain, value)
        else:
            pack(value, self.live)

    def restore(self, copy: Array) -> None:
        """Go back to a copy of ``live``, also one from before it went to panels."""
        self.changes += 1
        if self.live.shape == copy.shape:
            np.copyto(self.live, copy)
        else:
            self.write(copy)

    def _unpacked(self) -> Array:
        panels = self.live
        count, _, width = panels.shape
        outputs = self.shape[-1]
        plain = empty(self.shape, panels.dtype)
        matrix = plain.reshape(-1, outputs)
        full = outputs // width
        for p in range(full):
            matrix[:, p * width : (p + 1) * width] = panels[p]
        if full < count:
            matrix[:, full * width :] = panels[-1, :, : outputs - full * width]
        return plain


class Derived:
    """Arrays that are computed from stored ones, to be computed again when those change.

    Parameters
    ----------
    sources : iterable of Stored or None
        What they are computed from; None is left out.
    compute : callable
        Writes them.
    """

    def __init__(self, sources: Iterable[Stored | None], compute: Callable[[], None]) -> None:
        self._sources = [stored for stored in sources if stored is not None]
        self._compute = compute
        self._seen: list[int] = []
        self.refresh()

    def refresh(self) -> None:
        """Compute the arrays if a source has changed since they were."""
        now = [stored.changes for stored in self._sources]
        if now != self._seen:
            self._compute()
            self._seen = now


def pack(plain: Array, panels: Array) -> Array:
    """Write an array (..., O) to its panels, and return them."""
    count, _, width = panels.shape
    outputs = plain.shape[-1]
    matrix = plain.reshape(-1, outputs)
    full = outputs // width
    for p in range(full):
        panels[p] = matrix[:, p * width : (p + 1) * width]
    if full < count:
        panels[-1] = 0
        panels[-1, :, : outputs - full * width] = matrix[:, full * width :]
    return panels


def _padded(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an uninitialised array; a vector has zeros behind it, which whole vectors may read."""
    if len(shape) != 1:
        return empty(shape, dtype)
    memory = empty((-(-shape[0] // _PADDING) * _PADDING + _PADDING,), dtype)
    memory[shape[0] :] = 0
    return memory[: shape[0]]
