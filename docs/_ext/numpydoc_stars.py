"""Escapes the star of shapes such as (N, *input_shape) in docstrings: it starts no italics."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx

_CODE = re.compile(r"(``.*?``)")
_STAR = re.compile(r"(?<=[(, ])\*(?=[a-z_]+[,)])")


def _escape(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    for index, line in enumerate(lines):
        if "*" in line and not line.lstrip().startswith((">>>", "...")):
            parts = _CODE.split(line)
            parts[::2] = [_STAR.sub(r"\\*", part) for part in parts[::2]]
            lines[index] = "".join(parts)


def setup(app: Sphinx) -> dict[str, bool]:
    """Process docstrings before napoleon does."""
    app.connect("autodoc-process-docstring", _escape, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
