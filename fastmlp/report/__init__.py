"""The report of a training run: one self-contained HTML page without scripts.

``page`` assembles it, ``charts`` draws SVG charts, ``pictures`` encodes samples as PNG.
"""

from fastmlp.report.page import html, write

__all__ = ["html", "write"]
