"""The ``scale`` of a model, and samples of bytes."""

from __future__ import annotations

import copy
import pickle
import tracemalloc

import numpy as np
import pytest
from comparing import values

import fastmlp as fm
from fastmlp import io


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_scaled_bytes_are_scaled_numbers(shuffle, dtype, backend):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (70, 5, 7), dtype=np.uint8)
    labels = np.arange(70) % 3
    numbers = images.astype(dtype) * np.dtype(dtype).type(1 / 255)
    results = []
    for x, scale in ((numbers, 1.0), (images, 1 / 255), (images.astype(dtype), 1 / 255)):
        model = fm.MLP(35, [9], 3, dtype=dtype, scale=scale)
        model.backend = backend
        gradients = model.gradients(x, labels)
        model.fit(x, labels, epochs=2, batch_size=16, shuffle=shuffle, validation_data=(x, labels))
        model.train_on_batch(x[:9], labels[:9])
        results.append([gradients[0], *gradients[1].values(), *values(model).values()])
        results[-1] += [model.predict(x), model.evaluate(x, labels)["loss"]]
    for found in results[1:]:
        for one, other in zip(found, results[0], strict=True):
            np.testing.assert_array_equal(one, other)


def test_bytes_need_no_scale(backend):
    x = np.random.default_rng(0).integers(0, 4, (30, 5), dtype=np.uint8)
    model = fm.MLP(5, [4], 3)
    model.backend = backend
    np.testing.assert_array_equal(model.predict(x), model.predict(x.astype("float32")))


def test_scale_is_in_the_file_and_files_without_it_load(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (9, 4), dtype=np.uint8)
    model = fm.MLP(4, [3], 2, scale=1 / 255)
    model.save(tmp_path / "scaled")
    loaded = fm.load_model(tmp_path / "scaled")
    assert loaded.scale == 1 / 255
    np.testing.assert_array_equal(loaded.predict(x), model.predict(x))
    for clone in (model.copy(), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert clone.scale == 1 / 255
    with io.ModelFile(tmp_path / "scaled") as file:
        config = file.config
    del config["scale"]
    io.write_model(tmp_path / "old", config, model.parameters)
    assert fm.load_model(tmp_path / "old").scale == 1.0


@pytest.mark.parametrize("scale", [0, 0.0, -1.0, float("inf"), float("nan"), "1", None, True])
def test_scale_is_a_positive_number(scale):
    with pytest.raises((ValueError, TypeError), match="scale must be"):
        fm.MLP(4, [3], 2, scale=scale)


def test_bytes_stay_bytes(backend):
    images = np.random.default_rng(0).integers(0, 256, (8000, 400), dtype=np.uint8)
    labels = np.arange(8000) % 3
    model = fm.MLP(400, [4], 3, scale=1 / 255)
    model.backend = backend
    small = images[:64], labels[:64]
    model.fit(*small, epochs=1)  # modules and plans
    tracemalloc.start()
    model.fit(images, labels, epochs=1, batch_size=64)
    model.evaluate(images, labels)
    model.predict(images)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < images.nbytes, "a float copy takes four times as much"
