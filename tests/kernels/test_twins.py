"""``fastmlp.kernels`` and ``fastmlp.reference`` have the same functions with the same signatures."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
from cases import DTYPES, layouts

from fastmlp import kernels, reference

HERE = Path(__file__).parent
# Not the definitions as loops over pixels.
TWINS = [name for name in reference.__all__ if not name.endswith("_loops")]


def test_same_names():
    assert sorted(kernels.__all__) == sorted(TWINS)


@pytest.mark.parametrize("name", TWINS)
def test_every_function_is_tested_in_the_file_of_its_family(name):
    family = getattr(kernels, name).__module__.rpartition(".")[2]
    text = (HERE / f"test_{family}.py").read_text() + (HERE / "cases.py").read_text()
    assert re.search(rf"\b{name}\b", text)


@pytest.mark.parametrize("name", TWINS)
def test_same_signature(name):
    ours = inspect.signature(getattr(kernels, name))
    twin = inspect.signature(getattr(reference, name))
    assert ours == twin
    assert getattr(kernels, name).__doc__


@pytest.mark.parametrize("dtype", DTYPES)
def test_layouts_simply_work(dtype, rng):
    x = rng.standard_normal((6, 10)).astype(dtype)
    w = rng.standard_normal((10, 4)).astype(dtype)
    for name, other in layouts(x):
        np.testing.assert_array_equal(kernels.tanh(other), kernels.tanh(x), name)
        np.testing.assert_array_equal(kernels.softmax(other), kernels.softmax(x), name)
        np.testing.assert_array_equal(kernels.matmul(other, w), kernels.matmul(x, w), name)
        np.testing.assert_array_equal(kernels.sum_batch(other), kernels.sum_batch(x), name)
        np.testing.assert_array_equal(
            kernels.relu_backward(other, x), kernels.relu_backward(x, x), name
        )
    for name, other in layouts(w):
        np.testing.assert_array_equal(kernels.dense(x, other), kernels.dense(x, w), name)
        kernels.sgd_update(w.copy(), other, 0.1)


def test_other_number_types():
    assert kernels.exp(np.arange(3)).dtype == np.float64
    assert kernels.exp(np.arange(3, dtype=np.float16)).dtype == np.float32
    assert kernels.relu([True, False]).dtype == np.float64
    assert kernels.relu(np.float32(-2.0)).shape == ()
    labels = np.array([0, 1], np.uint8)
    scores = np.eye(2, dtype=np.float32)
    assert kernels.count_correct(scores, labels) == 2
    assert kernels.count_correct(scores, [0, 1]) == 2
