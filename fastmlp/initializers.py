"""Initial values of weights.

An initializer is a function ``(shape, fan_in, fan_out, seed, index) -> array``, where ``index`` is
the number of the parameter in its network. The classes here draw from ``fastmlp._random``, so their
weights are bit-for-bit the same on every machine, and model files can store them. An array may be
passed as an initializer as well; it supplies the values themselves.

The initializers named after people keep the size of signals constant from layer to layer. Their
*gain* makes up for how much an activation shrinks a signal. It is a number, or the name of an
activation in ``GAINS``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp import _checks, _random
from fastmlp._types import Array, Shape
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
    "config",
    "get",
]

GAINS: dict[str, float] = {
    "linear": 1.0,
    "sigmoid": 1.0,
    "softmax": 1.0,
    "tanh": 25 / 9,
    "relu": 2.0,
    "leaky_relu": 2 / (1 + 0.01**2),
}
"""Squared gains of the activations (He et al. 2015, equations 10 and 15)."""


class _Scheme:
    """An initializer that draws from one distribution, scaled by a function of the fans."""

    name: str
    draw = staticmethod(_random.normal)

    def scale(self, fan_in: int, fan_out: int) -> float:
        """Return the standard deviation, or half the width of a uniform distribution."""
        raise NotImplementedError

    def __call__(self, shape: Shape, fan_in: int, fan_out: int, seed: int, index: int) -> Array:
        """Return a float64 array of ``shape``, a function of (seed, index)."""
        values = self.draw(seed, _random.WEIGHTS, index, math.prod(shape))
        values *= self.scale(fan_in, fan_out)
        return values.reshape(shape)

    def config(self) -> dict[str, Any]:
        """Return the name and arguments, from which ``get`` makes an equal initializer."""
        return {"name": self.name, **vars(self)}

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).values()))

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in vars(self).items())
        return f"{type(self).__name__}({arguments})"


def _symmetric(seed: int, purpose: int, index: int, n: int) -> Array:
    """Return n float64 values drawn uniformly from [-1, 1)."""
    values = _random.uniform(seed, purpose, index, n)
    values -= 0.5
    values *= 2.0
    return values


class Zeros(_Scheme):
    """Zeros: right for biases. As weights they would keep all units of a layer equal forever."""

    name = "zeros"

    def scale(self, fan_in: int, fan_out: int) -> float:
        """Return 0."""
        return 0.0

    def __call__(self, shape: Shape, fan_in: int, fan_out: int, seed: int, index: int) -> Array:
        """Return a float64 array of zeros."""
        return np.zeros(shape)


class Normal(_Scheme):
    """Normal distribution N(0, std**2).

    Parameters
    ----------
    std : float, default=1.0
        Standard deviation, at least 0.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.initializers.Normal(0.1)((2, 3), fan_in=2, fan_out=3, seed=0, index=0).shape
    (2, 3)
    """

    name = "normal"

    def __init__(self, std: float = 1.0) -> None:
        self.std = _checks.number(std, "std", minimum=0.0)

    def scale(self, fan_in: int, fan_out: int) -> float:
        """Return the standard deviation."""
        return self.std


class Uniform(_Scheme):
    """Uniform distribution on [-limit, limit).

    Parameters
    ----------
    limit : float, default=0.05
        Half the width, at least 0. The default is the same as in Keras.

    Examples
    --------
    >>> import fastmlp as fm
    >>> w = fm.initializers.Uniform(0.5)((100, 100), fan_in=100, fan_out=100, seed=0, index=0)
    >>> bool(abs(w).max() <= 0.5)
    True
    """

    name = "uniform"
    draw = staticmethod(_symmetric)

    def __init__(self, limit: float = 0.05) -> None:
        self.limit = _checks.number(limit, "limit", minimum=0.0)

    def scale(self, fan_in: int, fan_out: int) -> float:
        """Return the limit."""
        return self.limit


class _Scaled(_Scheme):
    """An initializer whose variance is multiplied by the square of a gain."""

    def __init__(self, gain: float | str = 1.0) -> None:
        if isinstance(gain, str):
            self._square = _checks.lookup(gain, GAINS, "gain")
            self.gain: float | str = gain
        else:
            self.gain = _checks.number(gain, "gain", minimum=0.0)
            self._square = self.gain * self.gain

    def config(self) -> dict[str, Any]:
        """Return the name and the gain, from which ``get`` makes an equal initializer."""
        return {"name": self.name, "gain": self.gain}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(gain={self.gain!r})"


class GlorotUniform(_Scaled):
    """Uniform distribution on [-d, d) with d = gain * sqrt(6 / (fan_in + fan_out)).

    Keeps the variances of activations and of gradients constant, as far as both are possible.

    Parameters
    ----------
    gain : float or str, default=1.0
        At least 0, or the name of an activation in ``GAINS``.

    References
    ----------
    Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks,
    2010, equation 16.

    Examples
    --------
    >>> import fastmlp as fm
    >>> layer = fm.Dense(64, activation="tanh", init="glorot_uniform")
    """

    name = "glorot_uniform"
    draw = staticmethod(_symmetric)

    def scale(self, fan_in: int, fan_out: int) -> float:
        """Return d, half the width of the distribution."""
        return math.sqrt(6.0 * self._square / (fan_in + fan_out))


class GlorotNormal(_Scaled):
    """Normal distribution N(0, gain**2 * 2 / (fan_in + fan_out)), not truncated.

    Keeps the variances of activations and of gradients constant, as far as both are possible.

    Parameters
    ----------
    gain : float or str, default=1.0
        At least 0, or the name of an activation in ``GAINS``.

    References
    ----------
    Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks,
    2010, equation 12.

    Examples
    --------
    >>> import fastmlp as fm
    >>> layer = fm.Dense(64, activation="tanh", init=fm.initializers.GlorotNormal("tanh"))
    """

    name = "glorot_normal"

    def scale(self, fan_in: int, fan_out: int) -> float:
        """Return the standard deviation."""
        return math.sqrt(2.0 * self._square / (fan_in + fan_out))


class HeUniform(_Scaled):
    """Uniform distribution on [-d, d) with d = gain * sqrt(3 / fan_in).

    For relu and similar activations: keeps the variance of activations constant.

    Parameters
    ----------
    gain : float or str, default="relu"
        At least 0, or the name of an activation in ``GAINS``; the gain of relu is
        sqrt(2).

    References
    ----------
    He, Zhang, Ren and Sun, Delving deep into rectifiers, 2015, equation 10.

    Examples
    --------
    >>> import fastmlp as fm
    >>> layer = fm.Dense(64, activation="relu", init="he_uniform")
    """

    name = "he_uniform"
    draw = staticmethod(_symmetric)

    def __init__(self, gain: float | str = "relu") -> None:
        super().__init__(gain)

    def scale(self, fan_in: int, fan_out: int) -> float:
        """Return d, half the width of the distribution."""
        return math.sqrt(3.0 * self._square / fan_in)


class HeNormal(_Scaled):
    """Normal distribution N(0, gain**2 / fan_in), not truncated.

    For relu and similar activations: keeps the variance of activations constant.

    Parameters
    ----------
    gain : float or str, default="relu"
        At least 0, or the name of an activation in ``GAINS``; the gain of relu is
        sqrt(2).

    References
    ----------
    He, Zhang, Ren and Sun, Delving deep into rectifiers, 2015, equation 10.

    Examples
    --------
    >>> import fastmlp as fm
    >>> layer = fm.Dense(64, activation="leaky_relu", init=fm.initializers.HeNormal("leaky_relu"))
    """

    name = "he_normal"

    def __init__(self, gain: float | str = "relu") -> None:
        super().__init__(gain)

    def scale(self, fan_in: int, fan_out: int) -> float:
        """Return the standard deviation."""
        return math.sqrt(self._square / fan_in)


class LecunNormal(_Scaled):
    """Normal distribution N(0, gain**2 / fan_in), not truncated.

    Keeps the variance of activations constant for a gain of 1.

    Parameters
    ----------
    gain : float or str, default=1.0
        At least 0, or the name of an activation in ``GAINS``.

    References
    ----------
    LeCun, Bottou, Orr and Müller, Efficient BackProp, 1998, equation 16.

    Examples
    --------
    >>> import fastmlp as fm
    >>> layer = fm.Dense(64, activation="tanh", init="lecun_normal")
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

    def __call__(self, shape: Shape, fan_in: int, fan_out: int, seed: int, index: int) -> Array:
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
    """Return an initializer, given its name, its ``config()``, an array or the initializer itself.

    ``argument`` is the name of the argument in error messages.

    Raises
    ------
    ValueError
        If no initializer has that name; the message lists the known names.
    TypeError
        If the argument is neither a name nor an array nor a function.
    """
    if isinstance(init, np.ndarray):
        return Given(init)
    if isinstance(init, (str, dict)):
        arguments = dict(init) if isinstance(init, dict) else {"name": init}
        return _checks.lookup(arguments.pop("name", None), INITIALIZERS, argument)(**arguments)
    if not callable(init) or isinstance(init, type):
        raise TypeError(
            f"{argument} must be a name, an array, or a function (shape, fan_in, fan_out, seed, "
            f"index) -> array, got {init!r}."
        )
    return init


def config(initializer: Initializer) -> dict[str, Any] | None:
    """Return plain values from which ``get`` makes the same initializer.

    None if the initializer is user-defined, as a function or as a subclass of a built-in one.
    """
    if isinstance(initializer, _Scheme) and type(initializer) in INITIALIZERS.values():
        return initializer.config()
    return None
