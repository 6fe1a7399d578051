"""Misclassified images."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastmlp import _checks
from fastmlp._types import Array

from ._figure import class_names, make_axes, name_list, open_axes, shorten, size_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["misclassified"]

_CELL = 1.5  # inches: width of an image with its margin
_WORDS = 0.3  # height of the two lines above an image, as a share of its width


def misclassified(
    x: npt.ArrayLike,
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    count: int = 25,
    ax: Axes | None = None,
    *,
    classes: Any = None,
) -> Axes:
    """Draw the misclassified images, the worst first.

    Parameters
    ----------
    x : array of shape (N, H, W), (N, H, W, 1), (N, H, W, 3) or (N, D)
        Images. D is H * H, or 3 * H * H with channels last.
    y_true : array of shape (N,)
        Labels 0 to C - 1, or one-hot rows (N, C).
    y_pred : array of shape (N, C), (N, 1) or (N,)
        Probabilities from ``predict_proba``: (N, C), or (N, 1) for class 1 of two classes.
        Alternatively predicted labels (N,); the images are then drawn in the order of ``x``.
    count : int, default=25
        Maximum number of images.
    ax : matplotlib Axes, default=None
        Axes to draw on; None makes a pyplot figure.
    classes : list of str, default=None
        Names of the classes; None means their numbers.

    Returns
    -------
    ax : matplotlib Axes
        The title of each image gives the true label, the predicted label and its probability. The
        worst image is the one whose true label has the smallest probability.

    Raises
    ------
    ImportError
        If matplotlib is missing: ``pip install "fastmlp[plot]"``.
    ValueError
        If the arrays differ in length, x does not hold images, or y_pred holds neither labels nor
        probabilities.
    TypeError
        If an argument has the wrong type.

    Examples
    --------
    >>> import fastmlp as fm
    >>> (x, y), (xt, yt) = fm.datasets.load_digits()
    >>> model = fm.MLP(64, [16], 10)
    >>> history = model.fit(x, y, epochs=5, verbose=0)
    >>> ax = fm.plot.misclassified(xt, yt, model.predict_proba(xt))  # doctest: +SKIP
    """
    images = _images(x)
    most = _checks.integer(count, "count", minimum=1)
    predicted, probabilities = _predictions(y_pred, len(images))
    labels = _true_labels(y_true, len(images), probabilities)
    highest = int(max(labels.max(), predicted.max()))
    if probabilities is not None:
        names = class_names(classes, probabilities.shape[1])
    else:
        names = _names_of_labels(classes, highest)
    ax = make_axes(ax)

    wrong = np.flatnonzero(predicted != labels)
    if probabilities is not None:
        wrong = wrong[np.argsort(probabilities[wrong, labels[wrong]], kind="stable")]
    shown = wrong[:most]
    columns = max(1, len(shown) if len(shown) <= 5 else math.ceil(math.sqrt(len(shown))))
    rows = max(1, -(-len(shown) // columns))
    height = images.shape[1] / images.shape[2]
    ax = open_axes(ax, max(3.4, _CELL * columns + 0.3), _CELL * rows * (height + _WORDS) + 0.4)
    ax.set_axis_off()
    total = f"{len(wrong):,} of {len(images):,} misclassified".replace(",", " ")
    if not len(wrong):
        total = f"none of {len(images):,} misclassified".replace(",", " ")
    elif len(shown) < len(wrong):
        which = "the first" if probabilities is None else "the worst"
        total += f", {which} {len(shown)}"
    ax.set_title(total, fontsize=10)
    ax.set_xlim(0, columns)
    ax.set_ylim(rows * (height + _WORDS), 0)
    ax.set_aspect("equal")
    if not len(shown):
        return ax
    limits = _limits(images[shown])
    across, _ = size_of(ax)
    font = min(8.5, max(3.0, 72 * across / columns / 12.5))
    for place, index in enumerate(shown):
        left, top = place % columns, place // columns * (height + _WORDS) + _WORDS
        _draw(ax, images[index], limits, left, top, height)
        of = None if probabilities is None else float(probabilities[index, predicted[index]])
        words = _words(names[labels[index]], names[predicted[index]], of)
        ax.text(left + 0.5, top - 0.03, words, ha="center", va="bottom", fontsize=font,
                linespacing=1.15)  # fmt: skip
    # imshow has changed the limits, so set them again.
    ax.set_xlim(0, columns)
    ax.set_ylim(rows * (height + _WORDS), 0)
    return ax


def _images(x: Any) -> Array:
    """Return images as (N, H, W, 1 or 3)."""
    given = _checks.array(x, "x")
    if given.ndim == 3:
        given = given[..., None]
    elif given.ndim == 2:
        for channels in (1, 3):
            side = math.isqrt(given.shape[1] // channels)
            if side > 0 and side * side * channels == given.shape[1]:
                given = given.reshape(len(given), side, side, channels)
                break
    if given.ndim != 4 or given.shape[3] not in (1, 3):
        raise ValueError(
            "x must be images of shape (N, H, W), (N, H, W, 1) or (N, H, W, 3), or rows of H * H "
            f"or 3 * H * H values, got {np.shape(x)}."
        )
    if not given.size:
        raise ValueError(f"x must hold at least one image, got shape {np.shape(x)}.")
    return given


def _predictions(y_pred: Any, n: int) -> tuple[Array, Array | None]:
    """Return the predicted labels, and the probabilities (N, C) if there are any."""
    given = _checks.array(y_pred, "y_pred")
    if given.ndim not in (1, 2) or len(given) != n:
        raise ValueError(
            f"y_pred must have shape ({n},) for labels or ({n}, C) for probabilities, one row per "
            f"image, got {given.shape}."
        )
    if given.ndim == 1:
        return _whole(given, "y_pred"), None
    wrong = ~((given >= 0) & (given <= 1)).all(axis=1)
    if given.shape[1] > 1:
        wrong |= np.abs(given.sum(axis=1, dtype=np.float64) - 1) > 1e-3
    if wrong.any():
        index = int(wrong.argmax())
        raise ValueError(
            "y_pred must hold rows of probabilities that sum to 1, as model.predict_proba(x) "
            f"returns them, got {given[index].tolist()!r} at index {index}."
        )
    if given.shape[1] == 1:
        given = np.concatenate([1 - given, given], axis=1)
    return given.argmax(axis=1), given


def _true_labels(y_true: Any, n: int, probabilities: Array | None) -> Array:
    given = _checks.array(y_true, "y_true")
    if probabilities is not None:
        count = probabilities.shape[1]
        if count == 2 and given.ndim == 2 and given.shape[1] == 1:
            given = given[:, 0]
        return _checks.hard_labels(given, n, count, np.dtype(np.float64), "y_true")
    if given.shape != (n,):
        raise ValueError(f"y_true must have shape ({n},), one label per image, got {given.shape}.")
    return _whole(given, "y_true")


def _whole(labels: Array, name: str) -> Array:
    with np.errstate(invalid="ignore"):
        wrong = ~(labels >= 0) | (labels != np.trunc(labels))
    if wrong.any():
        index = int(wrong.argmax())
        hint = " Probabilities need shape (N, C) or (N, 1)." if labels.dtype.kind == "f" else ""
        raise ValueError(
            f"{name} must contain non-negative integer labels, got {labels[index].item()!r} at "
            f"index {index}.{hint}"
        )
    return labels.astype(np.int64)


def _names_of_labels(classes: Any, highest: int) -> list[str]:
    names = [str(i) for i in range(highest + 1)] if classes is None else name_list(classes)
    if len(names) <= highest:
        raise ValueError(
            f"classes must have at least {highest + 1} names, one per label, got {len(names)}."
        )
    return names


def _limits(images: Array) -> tuple[float, float]:
    """Return the values drawn as black and as white."""
    if images.dtype.kind in "iub":
        return 0.0, max(255.0 if images.dtype == np.uint8 else 1.0, float(images.max()))
    finite = images[np.isfinite(images)]
    low, high = float(finite.min(initial=0.0)), float(finite.max(initial=0.0))
    return (low, max(high, 1.0)) if low >= 0 and high <= 1 else (low, high)


def _draw(
    ax: Axes, image: Array, limits: tuple[float, float], left: int, top: float, height: float
) -> None:
    low, high = limits
    margin = 0.05
    extent = (left + margin, left + 1 - margin, top + height * (1 - 2 * margin), top)
    if image.shape[2] == 3:
        shown = np.nan_to_num(np.clip((image.astype(float) - low) / ((high - low) or 1.0), 0, 1))
        ax.imshow(shown, extent=extent, interpolation="nearest")
    else:
        ax.imshow(
            image[..., 0].astype(float), extent=extent, cmap="gray", vmin=low, vmax=high,
            interpolation="nearest",
        )  # fmt: skip


def _words(true: str, predicted: str, probability: float | None) -> str:
    first = f"true {shorten(true, 17)}"
    if probability is None:
        return f"{first}\npredicted {shorten(predicted, 12)}"
    share = "100%" if probability >= 0.9995 else f"{probability:.1%}"
    return f"{first}\npred. {shorten(predicted, 11)} {share}"
