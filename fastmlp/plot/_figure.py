"""Shared by all plots: the check for matplotlib, figures and axes, colours, names."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fastmlp.io import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Layout = Literal["constrained", "compressed"]

__all__ = [
    "COLOURS",
    "MARKERS",
    "check_path",
    "class_colours",
    "class_names",
    "clean",
    "colour_bar",
    "light",
    "make_axes",
    "name_list",
    "new_figure",
    "open_axes",
    "require_matplotlib",
    "save",
    "shorten",
    "size_of",
]

# The colours of Okabe and Ito without yellow, which is too faint on white paper. The first ones
# differ most in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def require_matplotlib() -> None:
    """Raise an ImportError that names the extra if matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            'fastmlp.plot needs matplotlib: pip install "fastmlp[plot]"', name="matplotlib"
        ) from error


def check_path(path: str | os.PathLike[str]) -> None:
    """Raise early, before training, what ``history(..., path)`` would raise for a wrong path.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    ValueError
        If matplotlib cannot write files with this suffix.
    """
    require_matplotlib()
    from matplotlib.backend_bases import FigureCanvasBase

    kinds = FigureCanvasBase.get_supported_filetypes()
    suffix = Path(path).suffix
    if suffix[1:].lower() not in kinds:
        raise ValueError(
            "path must end in .png, .svg, .pdf or another suffix that matplotlib can write, got "
            f"{os.fspath(path)!r}."
        )


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure to a file atomically; ``check_path`` must accept the path.

    Raises
    ------
    OSError
        If the file cannot be written; an existing file is then intact.
    """
    picture = io.BytesIO()
    figure.savefig(picture, dpi=150, format=Path(path).suffix[1:].lower())
    write_atomically(path, picture.getvalue())


def make_axes(ax: Any) -> Axes | None:
    """Check that ``ax`` is an Axes or None, and return it.

    Raises
    ------
    ImportError
        If matplotlib is missing.
    TypeError
        If ``ax`` is neither.
    """
    require_matplotlib()
    from matplotlib.axes import Axes

    if ax is not None and not isinstance(ax, Axes):
        raise TypeError(
            f"ax must be a matplotlib Axes or None, got {type(ax).__name__}. For a figure, pass "
            "figure.add_subplot(); for the array that plt.subplots returns, pass one element."
        )
    return ax


def open_axes(ax: Axes | None, width: float, height: float, *, square: bool = False) -> Axes:
    """Return ``ax``, or the axes of a new pyplot figure with a size in inches.

    ``square`` selects a compressed layout, for images with square pixels.
    """
    if ax is not None:
        return ax
    return new_figure(width, height, "compressed" if square else "constrained").add_subplot()


def new_figure(width: float, height: float, layout: Layout = "constrained") -> Figure:
    """Return a new pyplot figure."""
    from matplotlib import pyplot

    return pyplot.figure(figsize=(width, height), layout=layout)


def size_of(ax: Axes) -> tuple[float, float]:
    """Return width and height of the axes in inches."""
    box = ax.get_position()
    figure: Any = ax.get_figure()
    width, height = figure.get_size_inches()
    return float(box.width * width), float(box.height * height)


def clean(ax: Axes) -> None:
    """Remove the top and right spines, and add a faint grid behind the data."""
    ax.grid(alpha=0.3, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def colour_bar(ax: Axes, image: Any, label: str, **settings: Any) -> Any:
    """Add a colour bar for an image in ``ax``, and return it."""
    figure: Any = ax.get_figure()
    bar = figure.colorbar(image, ax=ax, fraction=0.046, pad=0.03, **settings)
    bar.set_label(label)
    return bar


def light(colour: str, strength: float) -> tuple[float, float, float]:
    """Return a colour mixed with white: 0 is white, 1 the colour."""
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(colour)
    return 1 - strength * (1 - red), 1 - strength * (1 - green), 1 - strength * (1 - blue)


def class_colours(count: int) -> list[str]:
    """Return a colour for each of ``count`` classes; with ``MARKERS``, 56 classes are distinct."""
    return [COLOURS[index % len(COLOURS)] for index in range(count)]


def class_names(classes: Any, count: int) -> list[str]:
    """Return the names of ``count`` classes; None means their numbers.

    Raises
    ------
    ValueError
        If the number of names is not ``count``.
    TypeError
        If ``classes`` is not a list.
    """
    if classes is None:
        return [str(index) for index in range(count)]
    names = name_list(classes)
    if len(names) != count:
        raise ValueError(f"classes must have {count} names, one per class, got {len(names)}.")
    return names


def name_list(classes: Any) -> list[str]:
    """Return names as a list of strings; raise TypeError if ``classes`` is not a list."""
    if isinstance(classes, (str, bytes)) or not isinstance(classes, Iterable):
        raise TypeError(f"classes must be a list of names, got {classes!r}.")
    return [str(name) for name in classes]


def shorten(text: str, length: int) -> str:
    """Return ``text`` cut to ``length`` characters, with dots at the end if it is cut."""
    return text if len(text) <= length else text[: max(1, length - 2)].rstrip() + ".."
