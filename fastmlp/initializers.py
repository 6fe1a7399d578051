"""Initial values of weights.

An initializer is any function ``(shape, fan_in, fan_out, seed, index) -> array``, where ``index``
is the number of the parameter in its network. The classes here draw from ``fastmlp._random``, so
their weights are the same bits on every machine, and know how to write themselves to a model file.
An array is an initializer too: it gives its own values.

Those named after people keep the size of signals through a layer. How much an activation shrinks
them is its *gain*: a number, or the name of an activation in ``GAINS``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp import _checks, _random
from fastmlp.parameter import Initializer

__all__ = [
    "GAINS",
    "Given",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "LecunNormal",
    "Normal",
    "Uniform",
    "Zeros",
    "get",
]

Array = npt.NDArray[Any]

GAINS: dict[str, float] = {
    "linear": 1.0,
    "sigmoid": 1.0,
    "softmax": 1.0,
    "tanh": 25 / 9,
    "relu": 2.0,
    "leaky_relu": 2 / (1 + 0.01**2),
}
"""Squares of the gains of activations (He et al. 2015, equations 10 and 15)."""


class _Scheme:
    """An initializer that draws from one distribution, times a scale that the fans decide."""

    name: str
    draw = staticmethod(_random.normal)

    def scale(self, fan_in: int, fan_out: int) -> float:
        """Return the standard deviation, or half the width of a uniform distribution."""
        raise NotImplementedError

    def __call__(
        self, shape: tuple[int, ...], fan_in: int, fan_out: int, seed: int, index: int
    ) -> Array:
        """Return a float64 array of ``shape``, a function of (seed, index)."""
        values = self.draw(seed, _random.WEIGHTS, index, math.prod(shape))
        values *= self.scale(fan_in, fan_out)
        return values.reshape(shape)

    def config(self) -> dict[str, Any]:
        """Return what ``get`` makes an equal initializer of: the name and the arguments."""
        return {"name": self.name, **vars(self)}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in vars(self).items())
        return f"{type(self).__name__}({arguments})"


def _symmetric(seed: int, purpose: int, index: int, n: int) -> Array:
    """Return n float64 values, uniform on [-1, 1)."""
    values = _random.uniform(seed, purpose, index, n)
    values -= 0.5
    values *= 2.0
    return values


class Zeros(_Scheme):
    """All zeros: right for biases; as weights they keep all units of a layer equal for ever."""

    name = "zeros"

    def scale(self, fan_in: int, fan_out: int) -> float:
        """Return 0."""
        return 0.0

    def __call__(
        self, shape: tuple[int, ...], fan_in: int, fan_out: int, seed: int, index: int
    ) -> Array:
        """Return a float64 array of zeros."""
        return np.zeros(shape)


class Normal(_Scheme):
    """N(0, std**2).

    Parameters
    ----------
    std : float, default=1.0
        Standard deviation, at least 0.
    """

    name = "normal"

    def __init__(self, std: float = 1.0) -> None:
        self.std = _checks.number(std, "std", minimum=0.0)

    def scale(self, fan_in: int, fan_out: int) -> float:
        """Return the given standard deviation."""
        return self.std


class Uniform(_Scheme):
    """Uniform on [-limit, limit).

    Parameters
    ----------
    limit : float, default=0.05
        Half the width, at least 0. The default is that of Keras.
    """

    name = "uniform"
    draw = staticmethod(_symmetric)

    def __init__(self, limit: float = 0.05) -> None:
        self.limit = _checks.number(limit, "limit", minimum=0.0)

    def scale(self, fan_in: int, fan_out: int) -> float:
        """Return the given limit."""
        return self.limit


class _Scaled(_Scheme):
    """An initializer whose variance is that of its name times the square of a gain."""

    def __init__(self, gain: float | str = 1.0) -> None:
        if isinstance(gain, str):
            self._square = _checks.lookup(gain, GAINS, "gain")
            self.gain: float | str = gain
        else:
            self.gain = _checks.number(gain, "gain", minimum=0.0)
            self._square = self.gain * self.gain

    def config(self) -> dict[str, Any]:
        """Return what ``get`` makes an equal initializer of: the name and the gain."""
        return {"name": self.name, "gain": self.gain}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(gain={self.gain!r})"


class GlorotUniform(_Scaled):
    """Uniform on [-d, d) with d = gain * sqrt(6 / (fan_in + fan_out)).

    Glorot and Bengio 2010, equation 16.

    Parameters
    ----------
    gain : float or str, default=1.0
        At least 0, or the name of an activation in ``GAINS``.
    """

    name = "glorot_uniform"
    draw = staticmethod(_symmetric)

    def scale(self, fan_in: int, fan_out: int) -> float:
        """Return d."""
        return math.sqrt(6.0 * self._square / (fan_in + fan_out))


class GlorotNormal(_Scaled):
    """N(0, gain**2 * 2 / (fan_in + fan_out)), not truncated (Glorot and Bengio 2010, eq. 12).

    Parameters
    ----------
    gain : float or str, default=1.0
        At least 0, or the name of an activation in ``GAINS``.
    """

    name = "glorot_normal"

    def scale(self, fan_in: int, fan_out: int) -> float:
        """Return the standard deviation."""
        return math.sqrt(2.0 * self._square / (fan_in + fan_out))


class HeUniform(_Scaled):
    """Uniform on [-d, d) with d = gain * sqrt(3 / fan_in), for relu and its kin (He et al. 2015).

    Parameters
    ----------
    gain : float or str, default="relu"
        At least 0, or the name of an activation in ``GAINS``; that of relu is sqrt(2).
    """

    name = "he_uniform"
    draw = staticmethod(_symmetric)

    def __init__(self, gain: float | str = "relu") -> None:
        super().__init__(gain)

    def scale(self, fan_in: int, fan_out: int) -> float:
        """Return d."""
        return math.sqrt(3.0 * self._square / fan_in)


class HeNormal(_Scaled):
    """N(0, gain**2 / fan_in), not truncated, for relu and its kin (He et al. 2015, eq. 10).

    Parameters
    ----------
    gain : float or str, default="relu"
        At least 0, or the name of an activation in ``GAINS``; that of relu is sqrt(2).
    """

    name = "he_normal"

    def __init__(self, gain: float | str = "relu") -> None:
        super().__init__(gain)

    def scale(self, fan_in: int, fan_out: int) -> float:
        """Return the standard deviation."""
        return math.sqrt(self._square / fan_in)


class LecunNormal(_Scaled):
    """N(0, gain**2 / fan_in), not truncated (LeCun et al. 1998, eq. 16).

    Parameters
    ----------
    gain : float or str, default=1.0
        At least 0, or the name of an activation in ``GAINS``.
    """

    name = "lecun_normal"

    def scale(self, fan_in: int, fan_out: int) -> float:
        """Return the standard deviation."""
        return math.sqrt(self._square / fan_in)


class Given:
    """The values of an array, which must have the shape of the parameter.

    Parameters
    ----------
    values : array
        Real numbers; copied.
    """

    def __init__(self, values: npt.ArrayLike) -> None:
        self.values = _checks.array(values, "init").copy()

    def __call__(
        self, shape: tuple[int, ...], fan_in: int, fan_out: int, seed: int, index: int
    ) -> Array:
        """Return the array."""
        return self.values

    def __repr__(self) -> str:
        return f"Given(<array of shape {self.values.shape}>)"


INITIALIZERS: dict[str, type[_Scheme]] = {
    "zeros": Zeros,
    "normal": Normal,
    "uniform": Uniform,
    "glorot_uniform": GlorotUniform,
    "glorot": GlorotUniform,
    "glorot_normal": GlorotNormal,
    "he_normal": HeNormal,
    "he_uniform": HeUniform,
    "lecun_normal": LecunNormal,
}


def get(
    init: str | dict[str, Any] | Array | Initializer, argument: str = "initializer"
) -> Initializer:
    """Return an initializer from its name, its ``config()``, an array or itself.

    ``argument`` is what messages call it.

    Raises
    ------
    ValueError
        If there is no initializer of that name; the message lists those there are.
    TypeError
        If it is neither a name nor an array nor a function.
    """
    if isinstance(init, np.ndarray):
        return Given(init)
    if isinstance(init, (str, dict)):
        arguments = dict(init) if isinstance(init, dict) else {"name": init}
        return _checks.lookup(arguments.pop("name", None), INITIALIZERS, argument)(**arguments)
    if not callable(init) or isinstance(init, type):
        raise TypeError(
            f"{argument} must be a name or a function (shape, fan_in, fan_out, seed, index) -> "
            f"array, or an array, got {init!r}."
        )
    return init


def config(initializer: Initializer) -> dict[str, Any] | None:
    """Return what ``get`` makes the initializer of again; None if it is the user's own."""
    return initializer.config() if isinstance(initializer, _Scheme) else None
