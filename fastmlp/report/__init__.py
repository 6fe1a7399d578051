"""A run of training as one HTML page that needs nothing else: no network, no script, no extra.

``page`` puts it together, ``charts`` draws lines as SVG, ``pictures`` packs samples as PNG.
"""

from fastmlp.report.page import html, write

__all__ = ["html", "write"]
