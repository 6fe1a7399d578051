"""Data frames and series in place of arrays, and messages that name the column."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastmlp as fm

N = 60


@pytest.fixture(params=["pandas", "polars"])
def library(request: pytest.FixtureRequest) -> Any:
    """Each library in turn; one that is not installed is skipped."""
    return pytest.importorskip(request.param, reason=f"{request.param} is not installed")


@pytest.fixture
def table() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "height": rng.standard_normal(N),
        "age": rng.integers(1, 90, N),
        "member": rng.integers(0, 2, N).astype(bool),
        "label": np.arange(N) % 3,
    }


def plain(table: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    x = np.column_stack([table["height"], table["age"], table["member"]]).astype(float)
    return x, table["label"]


def make(backend: str) -> fm.Sequential:
    model = fm.MLP(3, [4], 3, seed=1)
    model.backend = backend
    return model


def test_frames_are_arrays(library: Any, table: dict[str, np.ndarray], backend: str) -> None:
    frame = library.DataFrame(table)
    x, y = plain(table)
    features, label = frame[["height", "age", "member"]], frame["label"]
    model, other = make(backend), make(backend)
    validation = {"validation_data": (features, label), "sample_weight": frame["age"]}
    history = model.fit(features, label, epochs=2, **validation)
    wanted = other.fit(x, y, epochs=2, validation_data=(x, y), sample_weight=table["age"])
    assert history.history["val_loss"] == wanted.history["val_loss"]
    assert model.evaluate(features, label) == other.evaluate(x, y)
    np.testing.assert_array_equal(model.predict(features), other.predict(x))
    np.testing.assert_array_equal(model.predict_proba(features[:1]), other.predict_proba(x[:1]))
    model.compile(loss="mse")
    other.compile(loss="mse")
    targets = frame[["height", "age", "height"][:2] + ["member"]]
    assert model.train_on_batch(features, targets) == other.train_on_batch(x, x)
    (x_train, _), (_, y_test) = fm.train_test_split(features, label, 0.2, stratify=True)
    assert x_train.shape == (48, 3) and np.bincount(y_test).tolist() == [4, 4, 4]


@pytest.mark.parametrize("dtype", ["float32", "int8", "uint8", "bool"])
def test_columns_of_one_type(library: Any, dtype: str) -> None:
    array = (np.arange(12).reshape(4, 3) % 2).astype(dtype)
    frame = library.DataFrame({name: array[:, i] for i, name in enumerate("abc")})
    model = fm.MLP(3, [], 2)
    np.testing.assert_array_equal(model.predict(frame), model.predict(array))


def test_missing_values_name_their_column(library: Any, table: dict[str, np.ndarray]) -> None:
    columns: dict[str, Any] = {name: list(map(float, table[name])) for name in table}
    label = library.Series("label", table["label"]) if is_polars(library) else table["label"]
    columns["age"][7] = None
    frame = library.DataFrame({name: columns[name] for name in ("height", "age", "member")})
    with pytest.raises(ValueError) as error:
        make("numpy").fit(frame, label)
    assert str(error.value) == (
        "x must hold finite numbers, got a missing value (nan) in column 'age' at row 7."
    )
    columns["age"][7], columns["member"][3] = 1.0, float("inf")
    frame = library.DataFrame({name: columns[name] for name in ("height", "age", "member")})
    with pytest.raises(ValueError) as error:
        make("numpy").predict(frame)
    assert str(error.value) == "x must hold finite numbers, got inf in column 'member' at row 3."


def is_polars(library: Any) -> bool:
    return library.__name__ == "polars"


def test_text_names_its_column(library: Any, table: dict[str, np.ndarray]) -> None:
    names = ["height", "age", "species"]
    frame = library.DataFrame(table | {"species": ["setosa"] * N})[names]
    with pytest.raises(TypeError) as error:
        make("numpy").fit(frame, table["label"])
    assert str(error.value) == "x must hold numbers, got 'setosa' in column 'species' at row 0."
    with pytest.raises(TypeError) as error:
        make("numpy").fit(plain(table)[0], frame["species"])
    assert str(error.value) == "y must hold numbers, got 'setosa' in column 'species' at row 0."
    long = library.DataFrame({"a": [1.0], "b": ["x" * 500], "c": [1]})
    with pytest.raises(TypeError, match=r"got 'x{56}\.\.\. in column 'b'"):
        make("numpy").predict(long)


def test_missing_labels(library: Any, table: dict[str, np.ndarray]) -> None:
    label = [*table["label"].tolist()[:-1], None]
    series = library.DataFrame({"label": label})["label"]
    with pytest.raises(ValueError, match=f"y must hold .* in column 'label' at row {N - 1}"):
        make("numpy").fit(plain(table)[0], series)


def test_dates_name_their_column(library: Any) -> None:
    days = np.array(["2026-01-01", "2026-01-02"], "M8[us]")
    frame = library.DataFrame({"a": [1, 2], "when": days, "b": [1, 2]})
    with pytest.raises(TypeError, match=r"x must hold numbers, got .* in column 'when'"):
        make("numpy").predict(frame)


def test_pandas_alone() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    model = fm.MLP(2, [], 2)
    frame = pandas.DataFrame({"a": [1, 2], "b": [0.5, 1.5]}, index=["x", "y"])
    wanted = model.predict(frame.to_numpy())
    np.testing.assert_array_equal(model.predict(frame.convert_dtypes()), wanted)  # nullable
    np.testing.assert_array_equal(model.predict(frame.astype(object)), wanted)
    frame.columns = ["a", "a"]  # the same label twice
    np.testing.assert_array_equal(model.predict(frame.astype(object)), wanted)
    missing = pandas.DataFrame({"a": [1, 2], "b": pandas.array([1, None], "Int64")})
    with pytest.raises(ValueError, match=r"a missing value.* in column 'b' at row 1"):
        model.predict(missing)
    with pytest.raises(ValueError, match=r"x must have shape \(N, 2\), got \(2,\)"):
        model.predict(frame.iloc[:, 0])
    with pytest.raises(ValueError, match=r"x must have shape \(N, 2\), got \(2, 1\)"):
        model.predict(frame.iloc[:, :1])
    with pytest.raises(ValueError, match=r"y must hold finite numbers, .* at row 1"):
        model.fit(frame, pandas.Series([0, np.nan]))


def test_frames_of_any_library() -> None:
    """Whatever has to_numpy: no library is known by its name."""

    class Series:
        def __init__(self, values: list[Any]) -> None:
            self.values = values

        def to_numpy(self) -> Any:
            return np.array(self.values)

    model = fm.MLP(1, [], 2)
    model.fit(np.zeros((3, 1)), Series([0, 1, 0]), epochs=1)
    with pytest.raises(TypeError, match="y must hold numbers, got complex128"):
        model.fit(np.zeros((2, 1)), Series([1j, 2]))


def test_nothing_is_imported_for_them() -> None:
    for name in ("pandas", "polars"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    script = (
        "import sys, numpy as np, fastmlp as fm\n"
        "fm.MLP(2, [], 2).predict(np.zeros((3, 2)))\n"
        "print([m for m in ('pandas', 'polars', 'h5py') if m in sys.modules])"
    )
    root = str(Path(fm.__file__).parents[1])
    child = subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": ":".join([root, *sys.path])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert child.stdout == "[]\n", child.stderr
