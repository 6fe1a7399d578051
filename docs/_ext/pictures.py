"""Draws pictures of the site with fastmlp when the site is built.

The pictures therefore show the current behaviour and need no binary file in the repository. Each
function here draws one picture to docs/_pictures, which git ignores.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx


def _curve(folder: Path) -> None:
    import fastmlp as fm

    (x, y), test = fm.datasets.load_digits()
    model = fm.MLP(64, [128, 64], 10, activation="relu", init="he_normal", seed=0)
    history = model.fit(
        x, y, epochs=30, batch_size=16, optimizer=fm.SGD(0.1), validation_data=test, verbose=0
    )
    fm.plot.history(history, folder / "curve.png")


def _boundary(folder: Path) -> None:
    import fastmlp as fm

    points, kinds = fm.datasets.make_moons(300, noise=0.15)
    model = fm.MLP(2, [20], 2, activation="tanh")
    model.fit(points, kinds, epochs=100, optimizer=fm.Adam(0.01), verbose=0)
    _save(fm.plot.decision_boundary(model, points, kinds), folder / "boundary.png")


def _misclassified(folder: Path) -> None:
    import fastmlp as fm

    (x, y), (x_test, y_test) = fm.datasets.load_digits()
    model = fm.MLP(64, [64], 10, init="he_normal")
    model.fit(x, y, epochs=10, optimizer=fm.SGD(0.1), verbose=0)
    ax = fm.plot.misclassified(x_test, y_test, model.predict_proba(x_test), count=16)
    _save(ax, folder / "misclassified.png")


def _gradcheck(folder: Path) -> None:
    import fastmlp as fm

    (x, y), _ = fm.datasets.load_digits()
    model = fm.MLP(64, [8], 10, activation="tanh")
    _save(fm.gradcheck(model, x[:4], y[:4], layer="dense_1").plot(), folder / "gradcheck.png")


def _save(ax: Any, path: Path) -> None:
    from matplotlib import pyplot

    ax.figure.savefig(path, dpi=150)
    pyplot.close(ax.figure)


PICTURES = {
    "boundary.png": _boundary,
    "curve.png": _curve,
    "gradcheck.png": _gradcheck,
    "misclassified.png": _misclassified,
}


def _draw(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "_pictures"
    folder.mkdir(exist_ok=True)
    os.environ.setdefault("MPLBACKEND", "Agg")  # before matplotlib is imported
    for name, draw in PICTURES.items():
        if not (folder / name).exists():
            draw(folder)


def setup(app: Sphinx) -> dict[str, bool]:
    """Draw the pictures before Sphinx reads the pages."""
    app.connect("builder-inited", _draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
