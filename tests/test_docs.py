"""The code on the site and in the README runs and prints what the pages show; every public name has
an entry in the API pages.

All ``python`` blocks of a page run in order, in one namespace and an empty folder. A ``text`` block
directly below a block is its printed output ("..." matches anything), or the error that it raises.
The ``fastmlp`` commands of ``console`` and ``sh`` blocks run, too. If data or a package is missing, the
blocks up to the next heading or column are left out, and the test ends as skipped, with the reason.
"""

from __future__ import annotations

import contextlib
import doctest
import importlib
import importlib.util
import inspect
import io
import os
import pkgutil
import re
import shlex
import types
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import _threads
from fastmlp.cli import main

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
API = DOCS / "api"
PAGES = [
    page
    for page in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
    if page.is_file() and page.parent != API and "results" not in page.relative_to(ROOT).as_posix()
]
OPTIONAL = ("h5py", "joblib", "keras", "matplotlib", "pandas", "polars", "sklearn",
            "tensorboardX", "threadpoolctl", "torch")  # fmt: skip
CHECKER = doctest.OutputChecker()
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

pytestmark = pytest.mark.skipif(not API.is_dir(), reason="the pages are not beside the tests")


class Block(NamedTuple):
    """A fenced code block: its language, text, first line, and the text block below it."""

    language: str
    text: str
    line: int
    printed: str | None


def parse(text: str) -> list[Block | None]:
    """Return the code blocks of a page, and None for each heading or column."""
    found: list[Any] = []
    lines = iter(enumerate(text.splitlines(), start=1))
    touches = False  # whether nothing stood between the last block and this line
    for number, line in lines:
        fence = re.match(r"\s*(`{3,})(\S*)", line)
        if fence is None:
            if line.startswith(("#", ":::")):
                found.append(None)
            touches = touches and not line.strip()
            continue
        inside = []
        for _, code in lines:
            if code.strip() == fence[1]:
                break
            inside.append(code)
        body = "\n".join(inside) + "\n"
        if fence[2] == "text" and touches and found[-1].language == "python":
            found[-1] = found[-1]._replace(printed=body)
        else:
            found.append(Block(fence[2], body, number + 1, None))
        touches = True
    return found


def installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def missing(code: str) -> str:
    """Return the name of the missing data or package that code needs, or ""."""
    if "load_mnist" in code and "FASTMLP_DATA" not in os.environ:
        return "MNIST (FASTMLP_DATA names no folder)"
    for name in OPTIONAL:
        uses = re.search(rf"^\s*(import|from) {name}\b", code, re.MULTILINE)
        if uses and not installed(name):
            return name
    if "fm.plot" in code and not installed("matplotlib"):
        return "matplotlib"
    return ""


def same(want: str, got: str, where: str) -> None:
    assert CHECKER.check_output(want, got, FLAGS), f"{where} prints\n{got}\nand not\n{want}"


def run_python(block: Block, page: str, names: dict[str, Any]) -> None:
    # Leading empty lines give tracebacks the line numbers of the page.
    code = compile("\n" * (block.line - 1) + block.text, page, "exec")
    printed = io.StringIO()
    raises = block.printed and re.match(r"(fastmlp\.)?\w*Error: ", block.printed)
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        if re.search(r"import (keras|torch)|from sklearn", block.text):
            warnings.simplefilter("ignore")  # warnings of other libraries
        if raises:
            with pytest.raises(Exception) as caught:
                exec(code, names)
            printed.write(f"{caught.type.__name__}: {caught.value}\n")
        else:
            exec(code, names)
    if block.printed is not None:
        same(block.printed, printed.getvalue(), f"{page}:{block.line}")


def commands(block: Block) -> list[tuple[str, str | None]]:
    """Return the commands of a block, each with its expected output if the block is ``console``."""
    text = block.text.replace("\\\n", " ")
    if block.language == "sh":
        return [(line, None) for line in text.splitlines()]
    found: list[tuple[str, str | None]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], ""))
        else:
            command, printed = found[-1]
            found[-1] = command, f"{printed}{line}\n"
    return found


def run_commands(block: Block, page: str) -> None:
    for command, want in commands(block):
        words = shlex.split(command, comments=True)
        if words[:1] != ["fastmlp"]:
            continue
        assert not {"&&", "|", ">", ";"} & set(words), f"{page}: one command a line: {command}"
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            try:
                status = main(words[1:])
            except SystemExit as end:  # --help, --version
                status = int(end.code or 0)
            finally:
                _threads.choose(None)
        got = printed.getvalue()
        fails = "fastmlp: error:" in (want or "")
        assert (status != 0) == fails, f"{page}:{block.line} {command}: status {status}\n{got}"
        if want:
            same(want, got, f"{page}:{block.line} {command}")


def run(text: str, page: str) -> list[str]:
    """Run a page; return what the blocks that did not run lacked."""
    names: dict[str, Any] = {"__name__": "page"}
    left_out: list[str] = []
    skipping = False
    for block in parse(text):
        if block is None:
            skipping = False
        elif block.language in ("python", "console", "sh") and not skipping:
            lack = missing(block.text)
            if lack:
                left_out.append(lack)
                skipping = True
            elif block.language == "python":
                run_python(block, page, names)
            else:
                run_commands(block, page)
    return left_out


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder with data.npz and data.csv, the reader's data on the pages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    x, y = fm.datasets.make_blobs(200, centers=3)
    np.savez("data.npz", x=x, y=y)
    rows = [f"{a},{b},{label}" for (a, b), label in zip(x.tolist(), y.tolist(), strict=True)]
    Path("data.csv").write_text("\n".join(["width,height,kind", *rows]) + "\n")
    yield tmp_path
    _threads.choose(None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page(page, folder):
    left_out = run(page.read_text(), str(page))
    if left_out:
        pytest.skip("the rest runs; missing for some blocks: " + ", ".join(dict.fromkeys(left_out)))


def test_a_block_that_prints_something_else_is_noticed(folder):
    run("```python\nprint(2)\n```\n\n```text\n2\n```\n", "page")
    with pytest.raises(AssertionError, match="page:2 prints"):
        run("```python\nprint(2)\n```\n\n```text\n3\n```\n", "page")
    with pytest.raises(NameError):
        run("```python\na = 1\n```\n# heading\n```python\nb\n```\n", "page")
    run("```python\n1 / 0\n```\n```text\nZeroDivisionError: division by zero\n```\n", "page")
    with pytest.raises(AssertionError, match="status 2"):
        run("```console\n$ fastmlp info nothing.safetensors\n```\n", "page")


def test_the_speed_table_and_its_chart_show_the_numbers_of_one_file():
    spec = importlib.util.spec_from_file_location("speed_chart", DOCS / "speed_chart.py")
    chart = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(chart)
    table = chart.TABLE.search(chart.README.read_text())
    assert table is not None
    assert table[0] == chart.table(), "run python docs/speed_chart.py"
    picture = chart.CHART.read_text()
    assert chart.DATA.read_text() in picture, "run python docs/speed_chart.py"
    assert len(picture) < 60_000


def resolve(name: str) -> Any:
    """Return the object with a dotted name."""
    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            value = getattr(value, part)
        return value
    raise AssertionError(f"no module for {name}")


def entries() -> dict[str, str]:
    """Return the names with an entry in docs/api, and the directive of each.

    A module with ``:members:`` stands for its ``__all__``.
    """
    found = {}
    for page in API.glob("*.md"):
        for kind, name, options in re.findall(
            r"^\.\. (auto\w+|py:data):: ([\w.]+)(?:\(\))?\n((?:   :.*\n)*)",
            page.read_text(),
            re.MULTILINE,
        ):
            found[name] = kind
            if kind == "automodule" and ":members:\n" in options:
                module = importlib.import_module(name)
                found |= {f"{name}.{member}": "member" for member in module.__all__}
    return found


def public_modules() -> list[types.ModuleType]:
    """Return fastmlp and its modules without an underscore, except the command.

    The files inside a package are not listed: their names are public through the package.
    """
    names = {info.name for info in pkgutil.iter_modules(fm.__path__)}
    public = sorted(name for name in names - {"cli"} if not name.startswith("_"))
    return [fm, *(importlib.import_module(f"fastmlp.{name}") for name in public)]


def test_every_public_name_has_an_entry():
    found = entries()
    documented = {id(resolve(name)) for name in found}
    missing = []
    for module in public_modules():
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, types.ModuleType):
                known = any(entry.startswith(f"{value.__name__}.") for entry in found)
            else:
                known = id(value) in documented
            if not known:
                missing.append(f"{module.__name__}.{name}")
    assert missing == [], "add an entry to docs/api, or an underscore to the name"


def test_every_entry_is_public():
    for name, kind in sorted(entries().items()):
        parts = name.split(".")
        private = [part for part in parts if part.startswith("_") and part != "__version__"]
        assert not private, name
        if kind != "py:data":
            assert inspect.getdoc(resolve(name)), name
        if kind not in ("automodule", "py:data") and len(parts) == 2:
            assert parts[1] in fm.__all__, name


def test_every_name_of_fastmlp_has_an_entry_under_that_name():
    found = entries()
    for name in fm.__all__:
        if not isinstance(getattr(fm, name), types.ModuleType):
            assert f"fastmlp.{name}" in found, name
