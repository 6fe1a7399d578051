"""Links from names in code to their entries: `fm.Dense` on a page links to fastmlp.Dense.

A name on a page that begins with ``fm.`` or ``fastmlp.`` and has no entry causes a warning, so that
no page mentions a name that does not exist. `model.fit` means the method of Sequential. A ```text
block directly below a ```python block is styled as printed output. Numbers in tables do not wrap.
"""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.nodes import make_refnode

_NAME = re.compile(r"(fm|fastmlp|model|history)((?:\.[A-Za-z_]\w*)+)(\(.*\))?", re.DOTALL)
_FIGURE = re.compile(r"\d{1,3}( \d{3})*( %)?")
_CLASS = re.compile(r"([A-Z][A-Za-z0-9]+)(?:\(.*\))?", re.DOTALL)
_OWNERS = {
    "fm": "fastmlp",
    "fastmlp": "fastmlp",
    "model": "fastmlp.Sequential",
    "history": "fastmlp.History",
}

logger = logging.getLogger(__name__)


class NameLinks(SphinxPostTransform):
    """Turns literals that name an object of the API into links to its entry."""

    default_priority = 5

    def run(self, **kwargs: Any) -> None:
        """Visit every literal of the page."""
        objects = self.env.domains["py"].data["objects"]
        page = self.env.docname
        written = str(self.env.doc2path(page)).endswith(".md") and not page.startswith("api/")
        for literal in list(self.document.findall(nodes.literal)):
            text = literal.astext()
            match, named = _NAME.fullmatch(text), _CLASS.fullmatch(text)
            if isinstance(literal.parent, nodes.reference) or not (match or named):
                continue
            if match is None:  # docstrings name a class without its module
                name = f"fastmlp.{named[1]}"
                if written or name not in objects:
                    continue
            else:
                name = _OWNERS[match[1]] + match[2]
            if name not in objects:
                if written and match[1] in ("fm", "fastmlp") and "_" not in match[2][:2]:
                    logger.warning("no entry for %s", name, location=literal, type="name_links")
                continue
            entry = objects[name]
            link = make_refnode(
                self.app.builder, page, entry.docname, entry.node_id, literal.deepcopy(), name
            )
            literal.replace_self(link)


class PrintedBlocks(SphinxTransform):
    """Marks text blocks directly below code as printed output."""

    default_priority = 900

    def apply(self, **kwargs: Any) -> None:
        """Visit every block of the page."""
        for block in self.document.findall(nodes.literal_block):
            index = block.parent.index(block)
            before = block.parent[index - 1] if index else None
            code = isinstance(before, nodes.literal_block) and before.get("language") == "python"
            if code and block.get("language") == "text":
                block["classes"].append("output")


class Figures(SphinxTransform):
    """Keeps numbers such as "1 078" and "66 %" in table cells on one line."""

    default_priority = 900

    def apply(self, **kwargs: Any) -> None:
        """Visit every table cell of the page."""
        for cell in self.document.findall(nodes.entry):
            for text in list(cell.findall(nodes.Text)):
                if _FIGURE.fullmatch(text):
                    text.parent.replace(text, nodes.Text(text.replace(" ", "\u00a0")))


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the transforms."""
    app.add_transform(PrintedBlocks)
    app.add_transform(Figures)
    app.add_post_transform(NameLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
