"""Sphinx settings of the site.

    sphinx-build -W --keep-going -b html docs build/site

The API pages are generated from docstrings, so fastmlp must be installed, with the extra ``docs``.
"""

import sys
from pathlib import Path

from fastmlp import __version__

sys.path.append(str(Path(__file__).parent / "_ext"))

project = "fastmlp"
author = "fastmlp developers"
project_copyright = "fastmlp developers"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
    "name_links",
    "numpydoc_stars",
    "pictures",
]
exclude_patterns = ["_*", "**/README.md"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Docstrings are numpydoc. They contain the types, so signatures do not repeat them.
napoleon_google_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]  # "a, b : int" stays together
napoleon_use_param = False
napoleon_use_rtype = False
autodoc_typehints = "none"
nitpicky = True
nitpick_ignore_regex = [("py:(class|exc)", "(?!fastmlp).*")]  # types are words, not names
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
add_module_names = False
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 88
smartquotes_action = "D"  # dashes only; the quotes of default values stay unchanged

html_theme = "furo"
html_title = "fastmlp"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f5fa8", "color-brand-content": "#1f5fa8"},
    "dark_css_variables": {"color-brand-primary": "#7fb2ee", "color-brand-content": "#7fb2ee"},
}
pygments_style = "friendly"

# The copy button leaves out shell prompts and printed output.
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_selector = "div:not(.output) > div.highlight > pre"


def _add_results(app, docname, source):
    """Add the pages with results to the table of contents, if there are any."""
    folder = Path(app.srcdir)
    pages = [*sorted(folder.glob("results*.md")), *sorted(folder.glob("results/*.md"))]
    if docname == "index" and pages:
        names = [page.relative_to(folder).with_suffix("").as_posix() for page in pages]
        lines = ["```{toctree}", ":hidden:", ":caption: Results", "", *names, "```"]
        source[0] += "\n" + "\n".join(lines) + "\n"


def setup(app):
    """Register the event handlers."""
    app.connect("source-read", _add_results)
