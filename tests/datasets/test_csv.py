from __future__ import annotations

import gzip
import time
from pathlib import Path

import numpy as np
import pytest

from fastmlp.datasets import load_csv
from fastmlp.errors import FastmlpFormatError


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_with_and_without_header(write) -> None:
    x, y = load_csv(write("a,b,label\n1.5,2,0\n-3e2,4,1\n"))
    assert x.tolist() == [[1.5, 2], [-300, 4]] and y.tolist() == [0, 1]
    assert x.dtype == np.float64 and y.dtype == np.int64
    x, y = load_csv(write("1.5,2,0.5\n3,4,1"))
    assert x.tolist() == [[1.5, 2], [3, 4]] and y.tolist() == [0.5, 1]
    assert y.dtype == np.float64
    x, y = load_csv(write("1,2\n3,4\n"), header=True)
    assert x.tolist() == [[3]] and y.tolist() == [4]


@pytest.mark.parametrize("target", [1, -2, "b"])
def test_target(write, target: int | str) -> None:
    x, y = load_csv(write("a,b,c\n1,2,3\n4,5,6\n"), target)
    assert x.tolist() == [[1, 3], [4, 6]] and y.tolist() == [2, 5]


def test_no_target(write) -> None:
    x, y = load_csv(write("1,2\n"), target=None)
    assert x.tolist() == [[1, 2]] and y is None


@pytest.mark.parametrize(
    "text",
    [
        "1;2;3\n4;5;6\n",
        "1\t2\t3\n4\t5\t6\n",
        "1, 2, 3\r\n4, 5, 6\r\n",
        "\n1,2,3\n\n   \n4,5,6\n\n",
        '"1","2","3"\n"4","5","6"',
        "\ufeff1,2,3\n4,5,6\n",
        b'\xef\xbb\xbf"a, b","c\xc3\xa9",d\n1,2,3\r\n4,5,6\r\n\r\n',
        gzip.compress(b"1,2,3\n4,5,6\n", mtime=0),
    ],
)
def test_spellings(write, text: str | bytes) -> None:
    x, y = load_csv(write(text))
    assert x.tolist() == [[1, 2], [4, 5]] and y.tolist() == [3, 6]


def test_names_may_be_quoted(write) -> None:
    _, y = load_csv(write('"a, b","c\u00e9"\n1,2\n'), target="a, b")
    assert y.tolist() == [1]


def test_every_bit_across_blocks(write) -> None:
    rng = np.random.default_rng(0)
    table = rng.standard_normal((20_000, 8)) * 10.0 ** rng.integers(-300, 300, (20_000, 8))
    table[:, -1] = np.arange(20_000)
    text = "\r\n".join(",".join(map(repr, row)) for row in table.tolist())
    assert len(text) > 3 * 2**20
    x, y = load_csv(write(text))
    np.testing.assert_array_equal(x, table[:, :-1])
    np.testing.assert_array_equal(y, np.arange(20_000))


@pytest.mark.parametrize(
    ("text", "where", "message"),
    [
        ("a,b\n1,2\n3,x\n", ", line 3, column 'b'", "expected a number, got 'x'; if"),
        ("a,b\n1,2\n\n,4\n", ", line 4, column 'a'", "expected a number, got an empty field."),
        ("1,2\n3,nan\n", ", line 2, column '1'", "expected a finite number, got 'nan'."),
        ("1,2\n-inf,3\n", ", line 2, column '0'", "expected a finite number, got '-inf'."),
        ("1,2\n1e999,3\n", ", line 2, column '0'", "expected a finite number, got '1e999'."),
        ("1,2\n1_0,3\n", ", line 2, column '0'", "expected a number, got '1_0'."),
        ("1,2\n3\n", ", line 2", "expected 2 fields, got 1."),
        ("1,2\n3,4,5\n", ", line 2", "expected 2 fields, got 3."),
        ("1;2\n3,5;4\n", ", line 2, column '0'", "expected a number, got '3,5'."),
        ("a,b\n", "", "expected at least one line of numbers, got none."),
        ("\n\n", "", "expected at least one line of numbers, got none."),
        ("1,2\n\0,3\n", ", line 2, column '0'", "expected a number, got '\\x00'."),
        (b"1,2\n3,\xff\n", ", line 2", "expected UTF-8 text, got b'3,\\xff'."),
        ('1,2\n"3,4\n5",6\n', ", line 2", "expected fields between delimiters, got "),
        ("", "", "expected data, got an empty file."),
        ("<!doctype html><p>1,2", "", "expected data, got a web page"),
    ],
)
def test_what_is_refused(write, text: str | bytes, where: str, message: str) -> None:
    path = write(text)
    with pytest.raises(FastmlpFormatError) as error:
        load_csv(path)
    assert str(error.value).startswith(f"{path}{where}: {message}")


def test_line_of_an_error_far_down(write) -> None:
    lines = ["1.25,2.5,3"] * 300_000
    lines[250_000] = "1,2,three"
    path = write("a,b,c\n" + "\n".join(lines))
    with pytest.raises(FastmlpFormatError) as error:
        load_csv(path)
    message = str(error.value)
    assert message.startswith(f"{path}, line 250002, column 'c': expected a number, got 'three'; ")


def test_classes_as_text_get_a_hint(write) -> None:
    path = write("a,kind,b\n1,yes,2\n")
    hint = "; if the column holds class names, number them: np.unique(y, return_inverse=True)[1]."
    for target, end in (("kind", hint), (1, hint), (-1, "."), (None, ".")):
        with pytest.raises(FastmlpFormatError) as error:
            load_csv(path, target)
        assert str(error.value).endswith(f"expected a number, got 'yes'{end}")


@pytest.mark.alone
@pytest.mark.parametrize("data", [bytes(50_000_000), b"1" * 50_000_000, b"," * 50_000_000])
def test_gzip_bombs(write, data: bytes) -> None:
    path = write(gzip.compress(data))
    start = time.perf_counter()
    with pytest.raises(FastmlpFormatError, match="lines of at most 4194304 bytes, got a longer"):
        load_csv(path)
    assert time.perf_counter() - start < 1
    with pytest.raises(FastmlpFormatError, match="at most 1000 bytes"):
        load_csv(path, max_bytes=1000)


def test_arguments(write) -> None:
    path = write("a,b\n1,2\n")
    for target, error, message in [
        ("c", ValueError, r"target must be the name of a column \(a, b\), got 'c'"),
        (2, ValueError, "target must be from -2 to 1 for 2 columns, got 2"),
        (-3, ValueError, "got -3"),
        (True, TypeError, "target must be the index or name of a column, got True"),
        (1.0, TypeError, "got 1.0"),
    ]:
        with pytest.raises(error, match=message):
            load_csv(path, target)
    with pytest.raises(ValueError, match="name one column, got 'a', which names 2"):
        load_csv(write("a,a\n1,2\n"), "a")
    with pytest.raises(ValueError, match="the file has no header"):
        load_csv(write("1,2\n"), "a")
    with pytest.raises(ValueError, match="delimiter must be one character, got '::'"):
        load_csv(path, delimiter="::")
    with pytest.raises(TypeError, match="header must be True, False or None, got 'yes'"):
        load_csv(path, header="yes")
    with pytest.raises(FileNotFoundError):
        load_csv(path.parent / "absent.csv")
