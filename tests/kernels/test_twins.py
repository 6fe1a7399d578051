"""Every kernel computes what its twin in fastmlp.reference defines."""

import inspect

import numpy as np
import pytest
from cases import (
    BACKWARD_BY_INPUT,
    BACKWARD_BY_OUTPUT,
    DTYPES,
    PARAMETERS,
    ROWS,
    SIZES,
    UNARY,
    assert_close,
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
@pytest.mark.parametrize("name", UNARY)
def test_unary(name, dtype, rng):
    kernel, twin = getattr(kernels, name), getattr(reference, name)
    parameters = PARAMETERS.get(name, {})
    for n in SIZES:
        x = (rng.standard_normal(n) * 4).astype(dtype)
        if name == "log":
            x = np.abs(x) + dtype(0.01)
        expected = twin(x, **parameters)
        before = x.copy()
        assert_close(kernel(x, **parameters), expected, dtype)
        np.testing.assert_array_equal(x, before)
        out = np.full(n, np.nan, dtype)
        assert kernel(x, out=out, **parameters) is out
        assert_close(out, expected, dtype)
        kernel(x, out=x, **parameters)
        np.testing.assert_array_equal(x, out)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", UNARY)
def test_unary_special_values(name, dtype):
    info = np.finfo(dtype)
    x = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, info.max, -info.max, info.tiny]
    x = np.array([*x, info.smallest_subnormal, 700.0, -700.0, 90.0, -90.0, 1e-5], dtype)
    parameters = PARAMETERS.get(name, {})
    with np.errstate(all="ignore"):
        expected = getattr(reference, name)(x, **parameters)
    result = getattr(kernels, name)(x, **parameters)
    rtol = 1e-5 if dtype == np.float32 else 1e-13
    np.testing.assert_allclose(result, expected, rtol=rtol, atol=100 * info.tiny)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*BACKWARD_BY_INPUT, "relu_backward", "tanh_backward"])
def test_backward_special_values(name, dtype):
    x = np.array([np.inf, -np.inf, np.finfo(dtype).max, -np.finfo(dtype).max, 0, -0.0], dtype)
    saved = np.sign(x) if name == "tanh_backward" else x
    dy = np.full(6, 2, dtype)
    expected = getattr(reference, name)(dy, saved)
    np.testing.assert_allclose(getattr(kernels, name)(dy, saved), expected)
    assert np.isfinite(expected).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*BACKWARD_BY_OUTPUT, *BACKWARD_BY_INPUT])
def test_backward(name, dtype, rng):
    forward = name.removesuffix("_backward")
    kernel, twin = getattr(kernels, name), getattr(reference, name)
    parameters = PARAMETERS.get(name, {})
    for n in SIZES[1:]:
        for rows in (1, 3):
            x = (rng.standard_normal((rows, n)) * 3).astype(dtype)
            dy = rng.standard_normal((rows, n)).astype(dtype)
            saved = x
            if name in BACKWARD_BY_OUTPUT:
                saved = getattr(reference, forward)(x, **PARAMETERS.get(forward, {}))
            expected = twin(dy, saved, **parameters)
            # Sums over a row of n values.
            scale = 1 + np.sqrt(n) if forward in ROWS else 1
            assert_close(kernel(dy, saved, **parameters), expected, dtype, scale)
            kernel(dy, saved, out=dy, **parameters)
            assert_close(dy, expected, dtype, scale)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ROWS)
def test_rows(name, dtype, rng):
    kernel, twin = getattr(kernels, name), getattr(reference, name)
    for n in SIZES[1:]:
        for shape in ((n,), (3, n), (2, 3, n), (0, n)):
            x = (rng.standard_normal(shape) * 5).astype(dtype)
            assert_close(kernel(x), twin(x), dtype, 4)
    huge = np.array([[1e30, -1e30, 0.0], [-np.inf, 0.0, 1.0], [np.nan, 0.0, 1.0]], dtype)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(kernel(huge), twin(huge), rtol=1e-6)
    assert kernel(np.zeros((3, 0), dtype)).shape == (3, 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_bias_and_sums(dtype, rng):
    for n in SIZES:
        for rows in (0, 1, 2, 33):
            x = rng.standard_normal((rows, n)).astype(dtype)
            bias = rng.standard_normal(n).astype(dtype)
            assert_close(kernels.add_bias(x, bias), reference.add_bias(x, bias), dtype)
            assert_close(kernels.sum_batch(x), reference.sum_batch(x), dtype, 6)
            kernels.add_bias(x, bias, out=x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("classes", [1, 2, 3, 7, 8, 9, 10, 16, 33, 250])
def test_cross_entropy(dtype, classes, rng):
    for rows in (1, 2, 32):
        logits = (rng.standard_normal((rows, classes)) * 4).astype(dtype)
        labels = rng.integers(0, classes, rows)
        one_hot = np.eye(classes, dtype=dtype)[labels]
        soft = rng.random((rows, classes)).astype(dtype)
        soft /= soft.sum(axis=1, keepdims=True)
        for targets in (labels, one_hot, soft):
            loss, gradient = kernels.softmax_cross_entropy(logits, targets)
            expected_loss, expected = reference.softmax_cross_entropy(logits, targets)
            assert isinstance(loss, float)
            # The loss itself is relative to the logits, which it is a difference of.
            tolerance = 1e-14 if dtype == np.float64 else 5e-6
            assert loss == pytest.approx(expected_loss, rel=tolerance, abs=10 * tolerance)
            assert_close(gradient, expected, dtype)
            assert kernels.count_correct(logits, targets) == reference.count_correct(
                logits, targets
            )
        copy = logits.copy()
        loss_in_place, gradient = kernels.softmax_cross_entropy(copy, labels, out=copy)
        loss, expected = kernels.softmax_cross_entropy(logits, labels)
        assert gradient is copy
        assert loss == loss_in_place
        np.testing.assert_array_equal(copy, expected)


def test_cross_entropy_of_extreme_logits():
    logits = np.array([[1e4, 0.0, -1e4], [0.0, 0.0, 0.0]], np.float32)
    loss, gradient = kernels.softmax_cross_entropy(logits, np.array([1, 2]))
    assert loss == pytest.approx((1e4 + np.log(3)) / 2, rel=1e-6)
    assert np.isfinite(gradient).all()
    loss, _ = kernels.softmax_cross_entropy(np.full((1, 3), np.nan, np.float32), np.array([0]))
    assert np.isnan(loss)


def test_count_correct_counts_the_first_of_equals():
    scores = np.array([[1, 1, 0], [0, 1, 1], [np.nan, 2, np.nan]], np.float32)
    for labels in ([0, 1, 0], [1, 2, 1]):
        labels = np.array(labels)
        assert kernels.count_correct(scores, labels) == reference.count_correct(scores, labels)


@pytest.mark.parametrize("dtype", DTYPES)
def test_mse(dtype, rng):
    for shape in [(1,), (7,), (3, 5), (17, 33), (2, 3, 4)]:
        a, b = (rng.standard_normal(shape).astype(dtype) for _ in range(2))
        loss, gradient = kernels.mse(a, b)
        expected_loss, expected = reference.mse(a, b)
        assert loss == pytest.approx(expected_loss, rel=1e-6 if dtype == np.float32 else 1e-14)
        assert_close(gradient, expected, dtype)


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
