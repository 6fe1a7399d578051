"""Draws the pictures of the site when it is built, with fastmlp itself.

So they show what it does now, and no binary file is in the repository. Each function here draws one
into docs/_pictures, which git ignores.
"""

from __future__ import annotations

from pathlib import Path

from sphinx.application import Sphinx


def _curve(folder: Path) -> None:
    import fastmlp as fm

    (x, y), test = fm.datasets.load_digits()
    model = fm.MLP(64, [128, 64], 10, activation="relu", init="he_normal", seed=0)
    history = model.fit(
        x, y, epochs=30, batch_size=16, optimizer=fm.SGD(0.1), validation_data=test, verbose=0
    )
    fm.plot.history(history, folder / "curve.png")


PICTURES = {"curve.png": _curve}


def _draw(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "_pictures"
    folder.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        if not (folder / name).exists():
            draw(folder)


def setup(app: Sphinx) -> dict[str, bool]:
    """Draw before the pages are read."""
    app.connect("builder-inited", _draw)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
