"""Samples in memory-mapped files, read in pieces that the tests make small."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import _memmap

pytestmark = pytest.mark.alone

N, D = 1003, 12
Save = Callable[..., np.memmap]


@pytest.fixture
def save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Save:
    """Return a function that puts an array into a file and maps it; all of them count as large."""
    monkeypatch.setattr(_memmap, "BUFFER_BYTES", 4000)
    monkeypatch.setattr(_memmap, "PIECE_BYTES", 1000)

    def save(array: np.ndarray, name: str = "x", mode: str = "r") -> np.memmap:
        path = tmp_path / name
        path.write_bytes(array.tobytes())
        return np.memmap(path, array.dtype, mode, shape=array.shape)

    return save


@pytest.fixture
def points() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(N) % 3
    x = rng.standard_normal((3, D))[y] + 0.5 * rng.standard_normal((N, D))
    return x.astype(np.float32), y


def make(backend: str, dtype: str = "float32", **settings: float) -> fm.Sequential:
    model = fm.MLP(D, [8], 3, activation="tanh", dtype=dtype, seed=3, **settings)
    model.backend = backend
    return model


def parameters(model: fm.Sequential) -> bytes:
    return b"".join(value.tobytes() for value in model.parameters.values())


def test_groups_have_every_sample_once(save: Save) -> None:
    x = save(np.arange(N * D, dtype=np.float64).reshape(N, D))
    seen = []
    for epoch in (None, 0, 1):
        rows, sizes = [], []
        for group in _memmap.groups(x, np.dtype("float32"), 7, 5, epoch):
            order = slice(None) if group.order is None else group.order
            rows.append(group.rows[order])
            sizes.append(len(group.rows))
            np.testing.assert_array_equal(group.samples[order], x[rows[-1]].astype(np.float32))
            assert group.samples.dtype == np.float32 and group.samples.nbytes <= 4000
        assert sorted(np.concatenate(rows)) == list(range(N))
        assert sum(size % 7 != 0 for size in sizes) == 1 and len(sizes) > 5
        seen.append(np.concatenate(rows))
    assert seen[0].tolist() == list(range(N))
    assert (seen[1] != seen[2]).any()
    again = [g.rows[g.order] for g in _memmap.groups(x, np.dtype("float32"), 7, 5, 1)]
    np.testing.assert_array_equal(np.concatenate(again), seen[2])
    # Neighbours of the file come apart, though not as far as in memory.
    assert (np.abs(np.diff(seen[1])) == 1).mean() < 0.2


def test_what_is_large(save: Save, tmp_path: Path) -> None:
    x = save(np.zeros((N, D), np.float32))
    for view in (x, np.asarray(x), x[3:], x[::2], x.reshape(N, 3, 4), x[:900].view(np.ndarray)):
        assert _memmap.is_large(view)
    for other in (np.array(x), x[:20], x.T, x[:, ::2], np.zeros((N, D))):
        assert not _memmap.is_large(other)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("kind", ["float32", "float64", ">f4", "uint8", "int16", "strided"])
def test_training_takes_the_samples_of_the_order(
    save: Save, points: tuple[np.ndarray, np.ndarray], backend: str, kind: str, shuffle: bool
) -> None:
    """The same steps as by train_on_batch, on the rows that the groups name."""
    x, y = points
    if kind in ("uint8", "int16"):
        x = ((x - x.min()) * 20).astype(kind)
    elif kind != "strided":
        x = x.astype(kind)
    mapped = save(np.repeat(x, 2, axis=0))[::2] if kind == "strided" else save(x)
    assert _memmap.is_large(mapped)
    model, other = make(backend, scale=0.1), make(backend, scale=0.1)
    history = model.fit(mapped, y, epochs=2, batch_size=16, shuffle=shuffle, optimizer=fm.Adam())
    other.compile(fm.Adam())
    losses = []
    for epoch in (0, 1):
        total = 0.0
        for group in _memmap.groups(mapped, np.dtype("float32"), 16, 3, epoch if shuffle else None):
            order = np.arange(len(group.rows)) if group.order is None else group.order
            for start in range(0, len(order), 16):
                rows = group.rows[order[start : start + 16]]
                total += len(rows) * other.train_on_batch(np.asarray(x[rows]), y[rows])
        losses.append(total / N)
    for name, value in model.parameters.items():
        np.testing.assert_allclose(value, other.parameters[name], rtol=2e-4, atol=2e-6)
    np.testing.assert_allclose(history.history["loss"], losses, rtol=1e-5)
    assert model.epochs_begun == 2 and history.history["accuracy"][1] > 0.4


def test_both_backends_in_the_same_order(save: Save, points: tuple[np.ndarray, np.ndarray]) -> None:
    pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)
    x, y = points
    mapped = save(x.astype(np.float64))
    models = [make(name, "float64") for name in ("numpy", "kernels")]
    for model in models:
        model.fit(mapped, y, epochs=3, batch_size=10, optimizer=fm.SGD(0.1))
    for name, value in models[0].parameters.items():
        np.testing.assert_allclose(models[1].parameters[name], value, rtol=1e-10, atol=1e-12)


def test_same_seed_same_bits(
    save: Save, points: tuple[np.ndarray, np.ndarray], backend: str
) -> None:
    x, y = points
    mapped = save(x)
    once, again, apart = make(backend), make(backend), make(backend)
    once.fit(mapped, y, epochs=3, batch_size=10)
    again.fit(mapped, y, epochs=3, batch_size=10)
    apart.fit(mapped, y, epochs=1, batch_size=10)
    apart.fit(mapped, y, epochs=2, batch_size=10)
    assert parameters(once) == parameters(again) == parameters(apart)


def test_evaluate_and_predict(
    save: Save, points: tuple[np.ndarray, np.ndarray], backend: str
) -> None:
    x, y = points
    mapped = save(x.astype(np.float64))
    model = make(backend)
    model.compile(metrics=["accuracy", "f1"], loss=fm.CrossEntropy(class_weight=[1, 2, 3]))
    weights = np.linspace(0, 2, N)
    np.testing.assert_allclose(model.predict(mapped), model.predict(x), rtol=1e-6, atol=1e-7)
    for given in (None, weights):
        found, wanted = model.evaluate(mapped, y, given), model.evaluate(x, y, given)
        assert found.keys() == wanted.keys() == {"loss", "accuracy", "f1"}
        np.testing.assert_allclose(list(found.values()), list(wanted.values()), rtol=1e-6)
    history = model.fit(
        mapped, y, epochs=2, sample_weight=weights, metrics=["f1"], validation_data=(mapped, y),
        batch_size=50,
    )  # fmt: skip
    measured = model.evaluate(x, y)
    for name in ("loss", "f1"):
        assert history.history["val_" + name][-1] == pytest.approx(measured[name], rel=1e-5)
    assert 0 < history.history["f1"][-1] <= 1


def test_integers_for_an_embedding(save: Save, backend: str) -> None:
    rng = np.random.default_rng(1)
    x = rng.integers(0, 9, (N, 3))
    y = x.sum(axis=1) % 3
    models = []
    for given in (save(x), x):
        layers = [fm.Embedding(9, 4, combine="concat"), fm.Dense(3)]
        models.append(fm.Sequential(layers, input_shape=(3,)))
        models[-1].backend = backend
        models[-1].fit(given, y, epochs=2, shuffle=False)
    for name, value in models[0].parameters.items():
        np.testing.assert_allclose(models[1].parameters[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e300])
def test_values_that_are_not_finite(
    save: Save, points: tuple[np.ndarray, np.ndarray], wrong: float
) -> None:
    x, y = points
    x = x.astype(np.float64)
    x[900, 3] = wrong
    model = make("numpy")
    before = parameters(model)
    with pytest.raises(ValueError) as error:
        model.fit(save(x), y)
    assert str(error.value) == (
        f"x must hold finite float32 numbers, got {wrong!r} at index (900, 3)."
    )
    assert parameters(model) == before


def test_divergence_goes_back(
    save: Save, points: tuple[np.ndarray, np.ndarray], backend: str
) -> None:
    x, y = points
    model = make(backend)
    before = parameters(model)
    with pytest.raises(fm.DivergenceError, match="in epoch 1, step"):
        model.fit(
            save(1e30 * x), y.astype(float)[:, None] * [1, 1, 1], loss="mse", optimizer=fm.SGD(1e30)
        )
    assert parameters(model) == before


def test_files_are_left_as_they_are(
    save: Save, points: tuple[np.ndarray, np.ndarray], backend: str
) -> None:
    x, y = points
    for mode in ("r", "r+", "c"):
        mapped = save(x, mode, mode)
        if mode != "r":
            mapped[5] = 1.5  # not on the disk yet, or never
        make(backend).fit(mapped, y, epochs=1)
        if mode != "r":
            assert (mapped[5] == 1.5).all() and (mapped[6] == x[6]).all()
    assert np.fromfile(mapped.filename, np.float32)[5 * D] == x[5, 0]


def test_other_calls_take_mapped_arrays_whole(
    save: Save, points: tuple[np.ndarray, np.ndarray], backend: str
) -> None:
    x, y = points
    mapped = save(x.astype(np.float64))
    loss, gradients = make(backend).gradients(mapped, y)
    wanted, wanted_gradients = make(backend).gradients(x, y)
    assert loss == wanted and all((gradients[k] == v).all() for k, v in wanted_gradients.items())
    assert make(backend).train_on_batch(mapped, y) == make(backend).train_on_batch(x, y)


def test_resident_memory_stays_small(tmp_path: Path) -> None:
    """A sparse file of 512 MiB, trained on with less than half of that in memory."""
    import subprocess
    import sys

    if sys.platform != "linux":
        pytest.skip("peaks of memory are read the Linux way")
    pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)
    script = """
import sys
from pathlib import Path
import numpy as np
import fastmlp as fm
n = 2**29 // 4096
x = np.memmap(sys.argv[1], np.float32, "w+", shape=(n, 1024))
del x
x = np.memmap(sys.argv[1], np.float32, "r", shape=(n, 1024))
model = fm.MLP(1024, [4], 2)
model.fit(x, np.arange(n) % 2, epochs=1, batch_size=512)
model.predict(x)
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""
    paths = [str(Path(module.__file__).parents[1]) for module in (fm, np)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, *sys.path])}
    child = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "large")],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert child.returncode == 0, child.stderr
    assert int(child.stdout) < 240 * 1024, child.stdout


def test_steps_of_mapped_files_are_not_looked_at(
    save: Save, points: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    x, y = points
    path = tmp_path / "run.ckpt"
    mapped, model = save(x), make("kernels")
    every = fm.ModelCheckpoint(path, every_steps=5)
    with pytest.raises(ValueError, match="ModelCheckpoint runs between steps, which requires data"):
        model.fit(mapped, y, epochs=1, callbacks=[every], verbose=0)
    assert not path.exists()
    # A checkpoint after every epoch is another matter.
    model.fit(mapped, y, epochs=1, callbacks=[fm.ModelCheckpoint(path)], verbose=0)
    resumed, whole = make("kernels"), make("kernels")
    resumed.fit(mapped, y, epochs=2, resume=path, verbose=0)
    whole.fit(mapped, y, epochs=2, verbose=0)
    assert parameters(resumed) == parameters(whole)
