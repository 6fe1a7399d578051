"""One trainable array of a layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from fastmlp.stored import Stored

__all__ = ["Initializer", "Parameter", "Settings"]

Array = npt.NDArray[Any]
Initializer = Callable[[tuple[int, ...], int, int, int, int], Array]


class Settings(Protocol):
    """What a layer says of the training of its parameters."""

    name: str
    trainable: bool
    learning_rate_multiplier: float
    l1: float
    l2: float


class Parameter(Stored):
    """A trainable array: declared with its shape by a layer, given its values by the network.

    Declaring takes no memory, so the shapes of a whole network are known, and can be compared with
    a file, before anything is allocated.

    Parameters
    ----------
    kind : str
        Its name within the layer, such as "weight".
    shape : tuple of int
        Its shape.
    initializer : callable
        Gives the first values; see ``fastmlp.initializers``.
    fan_in, fan_out : int
        How many inputs an output sums, and how many outputs an input feeds.
    minimum : float, default=-inf
        The least value that a user or a file may give it.

    Attributes
    ----------
    name : str
        Its name within the network, such as "dense_0.weight".
    layer : Settings or None
        The layer it belongs to, once it does.
    value : array of shape ``shape``
        The values. Missing until the network fills it.
    """

    __slots__ = ("fan_in", "fan_out", "initializer", "kind", "layer", "minimum", "name")

    def __init__(
        self,
        kind: str,
        shape: tuple[int, ...],
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
        """Whether training changes it."""
        return self.layer is None or self.layer.trainable

    @property
    def learning_rate_multiplier(self) -> float:
        """Factor of the learning rate."""
        return 1.0 if self.layer is None else self.layer.learning_rate_multiplier

    @property
    def penalty(self) -> tuple[float, float]:
        """The factors (l1, l2) of what it adds to the loss; of weights, not of biases."""
        if self.layer is None or self.kind != "weight":
            return 0.0, 0.0
        return self.layer.l1, self.layer.l2

    def initialize(self, seed: int, index: int, dtype: np.dtype[Any]) -> None:
        """Fill ``value`` with the initial values of parameter number ``index`` of the network."""
        value = self.initializer(self.shape, self.fan_in, self.fan_out, seed, index)
        if np.shape(value) != self.shape:
            raise ValueError(
                f"{self.name}: the initializer must return an array of shape {self.shape}, "
                f"got {np.shape(value)}."
            )
        self.assign(value, dtype)
        if not np.isfinite(self.value).all():
            raise ValueError(f"{self.name}: the initializer returned NaN or infinity.")

    def check(self, value: Array) -> None:
        """Refuse values below the minimum."""
        if value.size and value.min() < self.minimum:
            index = tuple(map(int, np.unravel_index(int(value.argmin()), value.shape)))
            raise ValueError(
                f"{self.name} must be at least {self.minimum:g}, got {value[index]} at index "
                f"{index}."
            )

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, shape={self.shape})"
