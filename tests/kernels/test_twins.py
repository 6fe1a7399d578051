"""``fastmlp.kernels`` and ``fastmlp.reference`` have the same functions with the same signatures."""

import inspect

import numpy as np
import pytest
from cases import (
    BACKWARD_BY_INPUT,
    BACKWARD_BY_OUTPUT,
    DTYPES,
    ROWS,
    UNARY,
    layouts,
)

from fastmlp import kernels, reference

# Not the definitions as loops over pixels.
TWINS = [name for name in reference.__all__ if not name.endswith("_loops")]


def test_same_names():
    assert sorted(kernels.__all__) == sorted(TWINS)
    tested = {*UNARY, *ROWS, *BACKWARD_BY_OUTPUT, *BACKWARD_BY_INPUT}
    others = {"matmul", "dense", "add_bias", "sum_batch"}
    others |= {"sgd_update", "adagrad_update", "rmsprop_update", "adam_update"}  # test_updates.py
    others |= {"clip_by_norm", "clip_by_value", "weight_penalty", "weight_penalty_backward"}
    # test_layer_kernels.py
    others |= {"dropout", "dropout_backward", "gaussian_noise"}
    others |= {"batch_norm", "batch_norm_backward", "batch_norm_inference"}
    others |= {"layer_norm", "layer_norm_backward", "embedding", "embedding_backward"}
    others |= {"softmax_cross_entropy", "mse", "count_correct"}
    others |= {name for name in TWINS if "2d" in name}  # test_images.py
    others |= {"binary_cross_entropy", "mae", "huber", "hinge"}  # test_losses.py
    assert set(kernels.__all__) == tested | others, "an operation without a twin test"


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
