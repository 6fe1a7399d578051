"""Parameters of layers, and the memory layouts of stored arrays.

An array is stored row-major, or in *panels* for the compiled plans. A weight (I, O) in panels has
shape (ceil(O / width), I, width): panel p holds the columns from p * width on, padded with zeros
after the last column. A convolution's filters (kh, kw, C, F) count as a matrix of kh * kw * C rows.
The product of a layer's input with the weight reads each panel from its first element to its last,
and the update writes it in the same order. In a row-major matrix, rows are often a power of two
apart and compete for few cache sets. Only one of the two layouts exists at a time, and all plans of
a network use the same one, because a plan holds addresses while it runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, Protocol, cast

import numpy as np
import numpy.typing as npt

from fastmlp._arrays import empty
from fastmlp._types import Array, DType, Shape

__all__ = ["Derived", "Initializer", "Parameter", "Settings", "Storage"]

Initializer = Callable[[Shape, int, int, int, int], Array]

_PADDING = 64  # elements: one row of a panel on every instruction set, and more


class Storage:
    """An array of fixed shape, stored row-major (*plain*) or in panels.

    Attributes
    ----------
    shape : tuple of int
        Shape for users, whatever the memory layout.
    changes : int
        Number of times the values have changed. Code that writes to ``plain()`` or ``panels()``
        must increase it.
    """

    __slots__ = ("_panels", "_plain", "changes", "shape")

    _plain: Array | None
    _panels: Array | None

    def __init__(self, shape: Shape) -> None:
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
            # The kernels compare dtypes by identity, but an unpickled dtype is a different object.
            value = state["value"]
            self.assign(value, np.dtype(value.dtype.type))

    def assign(self, value: npt.ArrayLike, dtype: DType) -> None:
        """Allocate a new plain array with these values."""
        self.changes += 1
        self._panels = None
        self._plain = _padded(self.shape, dtype)
        np.copyto(self._plain, value, casting="same_kind")

    @property
    def live(self) -> Array:
        """The memory itself, plain or in panels."""
        return self._plain if self._plain is not None else cast(Array, self._panels)

    @property
    def value(self) -> Array:
        """The values in shape ``shape``: the live array if it is plain, otherwise a copy."""
        return self._plain if self._plain is not None else self._unpacked()

    def plain(self) -> Array:
        """Change the layout to plain and return the live array."""
        if self._plain is None:
            self._plain = self._unpacked()
            self._panels = None
        return self._plain

    def panels(self, width: int) -> Array:
        """Change the layout to panels of ``width`` columns and return the live array.

        All axes but the last count as rows: (kh, kw, C, F) as (kh * kw * C, F).
        """
        if self._panels is None or self._panels.shape[2] != width:
            plain = self.plain()
            inputs, outputs = math.prod(self.shape[:-1]), self.shape[-1]
            panels = empty((-(-outputs // width), inputs, width), plain.dtype)
            self._panels = _pack(plain, panels)
            self._plain = None
        return self._panels

    def write(self, value: Array) -> None:
        """Overwrite the values and keep the layout."""
        self.changes += 1
        if self._plain is not None:
            np.copyto(self._plain, value)
        else:
            _pack(value, self.live)

    def restore(self, copy: Array) -> None:
        """Set the values to a copy of ``live``, which may be from before a change to panels."""
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
    """Arrays that are computed from stored arrays, and computed again when these change.

    Parameters
    ----------
    sources : iterable of Storage or None
        The stored arrays. None entries are left out.
    compute : callable
        Function without arguments that computes and writes the derived arrays.
    """

    def __init__(self, sources: Iterable[Storage | None], compute: Callable[[], None]) -> None:
        self._sources = [stored for stored in sources if stored is not None]
        self._compute = compute
        self._seen: list[int] = []
        self.refresh()

    def refresh(self) -> None:
        """Compute the arrays if a source has changed since the last time."""
        now = [stored.changes for stored in self._sources]
        if now != self._seen:
            self._compute()
            self._seen = now


class Settings(Protocol):
    """Per-layer training settings."""

    name: str
    trainable: bool
    learning_rate_multiplier: float
    l1: float
    l2: float


class Parameter(Storage):
    """A trainable array or a buffer: a layer declares its shape, the network sets its values.

    A declaration takes no memory. So the shapes of a whole network are known, and can be compared
    with a file, before anything is allocated.

    Parameters
    ----------
    kind : str
        Name within the layer, such as "weight".
    shape : tuple of int
        Shape of the array.
    initializer : callable
        Function that returns the initial values; see ``fastmlp.initializers``.
    fan_in, fan_out : int
        Number of inputs that each output sums, and number of outputs that each input contributes
        to.
    minimum : float, default=-inf
        Smallest value that users and files may set.

    Attributes
    ----------
    name : str
        Name within the network, such as "dense_0.weight".
    layer : Settings or None
        The layer that the parameter belongs to. None until the layer is part of a network.
    value : array of shape ``shape``
        The values. Not available until the network initializes the parameter.
    """

    __slots__ = ("fan_in", "fan_out", "initializer", "kind", "layer", "minimum", "name")

    def __init__(
        self,
        kind: str,
        shape: Shape,
        initializer: Initializer,
        fan_in: int,
        fan_out: int,
        *,
        minimum: float = -math.inf,
    ) -> None:
        super().__init__(shape)
        self.minimum = minimum
        self.kind = kind
        self.name = kind
        self.initializer = initializer
        self.fan_in = fan_in
        self.fan_out = fan_out
        self.layer: Settings | None = None

    @property
    def trainable(self) -> bool:
        """Whether training changes the parameter."""
        return self.layer is None or self.layer.trainable

    @property
    def learning_rate_multiplier(self) -> float:
        """Factor of the learning rate."""
        return 1.0 if self.layer is None else self.layer.learning_rate_multiplier

    @property
    def penalty(self) -> tuple[float, float]:
        """The factors (l1, l2) of its penalty in the loss; (0, 0) unless it is a "weight"."""
        if self.layer is None or self.kind != "weight":
            return 0.0, 0.0
        return self.layer.l1, self.layer.l2

    def initialize(self, seed: int, index: int, dtype: DType) -> None:
        """Set the initial values; ``index`` is the number of the parameter in the network."""
        value = self.initializer(self.shape, self.fan_in, self.fan_out, seed, index)
        if np.shape(value) != self.shape:
            raise ValueError(
                f"{self.name}: the initializer must return an array of shape {self.shape}, "
                f"got {np.shape(value)}."
            )
        self.assign(value, dtype)
        if not np.isfinite(self.value).all():
            raise ValueError(
                f"{self.name}: the initializer must return finite numbers, got NaN or infinity."
            )

    def check(self, value: Array) -> None:
        """Raise ValueError if an element of ``value`` is below the minimum."""
        if value.size and value.min() < self.minimum:
            index = tuple(map(int, np.unravel_index(int(value.argmin()), value.shape)))
            raise ValueError(
                f"{self.name} must be at least {self.minimum:g}, got {value[index]} at index "
                f"{index}."
            )

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, shape={self.shape})"


def _pack(plain: Array, panels: Array) -> Array:
    """Write an array (..., O) to ``panels``, and return ``panels``."""
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


def _padded(shape: Shape, dtype: DType) -> Array:
    """Return an uninitialized array; after a 1-D array come zeros, which SIMD code may read."""
    if len(shape) != 1:
        return empty(shape, dtype)
    memory = empty((-(-shape[0] // _PADDING) * _PADDING + _PADDING,), dtype)
    memory[shape[0] :] = 0
    return memory[: shape[0]]
