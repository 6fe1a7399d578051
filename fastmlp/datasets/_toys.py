"""Toy data: 2-D points, bit for bit the same on every machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp import _checks, _random
from fastmlp._types import Array

__all__ = ["make_blobs", "make_circles", "make_moons", "make_spirals"]

_NOISE, _ORDER = 0, 1  # streams for the purpose TOYS
_RING = 5.0


def make_moons(n: int = 200, noise: float = 0.0, seed: int = 0) -> tuple[Array, Array]:
    """Make two interleaving half circles.

    Class 0 is the upper half of the circle with radius 1 around (0, 0), class 1 the lower half of
    the circle with radius 1 around (1, 0.5).

    Parameters
    ----------
    n : int, default=200
        Number of points, at least 2. Half of them are of class 0; if ``n`` is odd, class 1 has one
        more.
    noise : float, default=0.0
        Standard deviation of the normal noise added to each coordinate.
    seed : int, default=0
        Seed of the noise and of the order of the points.

    Returns
    -------
    x : array of shape (n, 2) float32
    y : array of shape (n,) int64
        0 or 1.

    Raises
    ------
    ValueError, TypeError
        If an argument has the wrong type or is out of range.

    Examples
    --------
    >>> x, y = make_moons(200, noise=0.2)
    >>> x.shape, y.sum()
    ((200, 2), np.int64(100))
    """
    y, place = _classes(n, 2)
    cos, sin = _on_circle(place / 2)
    lower = y == 1
    x = np.stack([np.where(lower, 1 - cos, cos), np.where(lower, 0.5 - sin, sin)], axis=1)
    return _finish(x, y, noise, seed)


def make_circles(
    n: int = 200, noise: float = 0.0, seed: int = 0, *, factor: float = 0.5
) -> tuple[Array, Array]:
    """Make two circles around (0, 0): class 0 has radius 1, class 1 is the inner circle.

    Parameters
    ----------
    n, noise, seed
        As for :func:`make_moons`.
    factor : float, default=0.5
        Radius of the inner circle, at least 0 and below 1.

    Returns
    -------
    x : array of shape (n, 2) float32
    y : array of shape (n,) int64
        0 or 1.

    Raises
    ------
    ValueError, TypeError
        If an argument has the wrong type or is out of range.
    """
    radius = _checks.number(factor, "factor", minimum=0.0, below=1.0)
    y, place = _classes(n, 2, closed=True)
    x = np.stack(_on_circle(place), axis=1) * np.where(y == 1, radius, 1.0)[:, None]
    return _finish(x, y, noise, seed)


def make_blobs(
    n: int = 200, noise: float = 1.0, seed: int = 0, *, centers: int | npt.ArrayLike = 2
) -> tuple[Array, Array]:
    """Make one cloud of normally distributed points per class.

    Parameters
    ----------
    n : int, default=200
        Number of points, at least one per class, divided evenly between the classes; a remainder
        goes to the last classes.
    noise : float, default=1.0
        Standard deviation of the points from their centre, along each axis.
    seed : int, default=0
        Seed of the points and of their order.
    centers : int or array of shape (classes, 2), default=2
        The centre of each class. An integer places that many centres evenly on the circle with
        radius 5 around (0, 0).

    Returns
    -------
    x : array of shape (n, 2) float32
    y : array of shape (n,) int64
        0 to the number of classes - 1.

    Raises
    ------
    ValueError, TypeError
        If an argument has the wrong type or is out of range.
    """
    where: Array
    if isinstance(centers, (int, np.integer)) and not isinstance(centers, bool):
        count = _checks.integer(centers, "centers", minimum=1)
        where = _RING * np.stack(_on_circle(np.arange(count) / count), axis=1)
    else:
        where = _checks.array(centers, "centers").astype(np.float64)
        if where.ndim != 2 or where.shape[1] != 2 or not len(where):
            raise ValueError(f"centers must have shape (classes, 2), got {where.shape}.")
        if not np.isfinite(where).all():
            raise ValueError("centers must hold finite numbers, got NaN or infinity.")
    y, _ = _classes(n, len(where))
    return _finish(where[y], y, noise, seed)


def make_spirals(
    n: int = 200,
    noise: float = 0.0,
    seed: int = 0,
    *,
    classes: int = 2,
    turns: float = 1.0,
) -> tuple[Array, Array]:
    """Make spiral arms from (0, 0) to radius 1, one per class.

    Parameters
    ----------
    n, noise, seed
        As for :func:`make_moons`; ``n`` must be at least ``classes``.
    classes : int, default=2
        Number of arms.
    turns : float, default=1.0
        Number of turns of each arm around the centre.

    Returns
    -------
    x : array of shape (n, 2) float32
    y : array of shape (n,) int64
        0 to ``classes - 1``.

    Raises
    ------
    ValueError, TypeError
        If an argument has the wrong type or is out of range.
    """
    arms = _checks.integer(classes, "classes", minimum=1)
    winding = _checks.number(turns, "turns", minimum=0.0, below=1e6)
    y, place = _classes(n, arms)
    x = np.stack(_on_circle(place * winding + y / arms), axis=1) * place[:, None]
    return _finish(x, y, noise, seed)


def _classes(n: int, classes: int, *, closed: bool = False) -> tuple[Array, Array]:
    """Return the class of each point, and its position from 0 to 1 along the curve of its class.

    On a closed curve position 1 equals position 0 and is left out.
    """
    count = _checks.integer(n, "n", minimum=classes)
    bounds = [count * k // classes for k in range(classes + 1)]
    y = np.empty(count, np.int64)
    place = np.empty(count)
    for k in range(classes):
        start, stop = bounds[k], bounds[k + 1]
        y[start:stop] = k
        place[start:stop] = np.arange(stop - start) / max(stop - start - (not closed), 1)
    return y, place


def _finish(x: Any, y: Array, noise: float, seed: int) -> tuple[Array, Array]:
    """Return the points with noise, in an order determined by the seed."""
    deviation = _checks.number(noise, "noise", minimum=0.0)
    key = _checks.integer(seed, "seed", minimum=0)
    if deviation:
        x = x + deviation * _random.normal(key, _random.TOYS, _NOISE, x.size).reshape(x.shape)
    order = _random.permutation(key, _ORDER, len(y), _random.TOYS)
    return x[order].astype(np.float32), y[order]


def _on_circle(turns: Any) -> tuple[Array, Array]:
    """Return (cos, sin) of angles in turns, from operations that IEEE 754 rounds exactly.

    The sine and cosine of libm and numpy differ between machines in the last bit.
    """
    quarter = np.floor(4 * turns + 0.5)
    angle = (turns - quarter / 4) * 6.283185307179586  # within an eighth of a turn
    square = angle * angle
    cos, sin = np.ones_like(angle), np.ones_like(angle)
    for k in range(18, 0, -2):  # Taylor series by Horner's rule; the next term is below 1e-19
        cos = 1 - square / (k * (k - 1)) * cos
        sin = 1 - square / (k * (k + 1)) * sin
    sin = sin * angle
    quarter = quarter.astype(np.int64) % 4
    return (
        np.choose(quarter, [cos, -sin, -cos, sin]),
        np.choose(quarter, [sin, cos, -sin, -cos]),
    )
