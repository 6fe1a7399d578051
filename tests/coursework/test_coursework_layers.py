"""Functions by the names of CS231n: its values, its gradient checks, dtypes and messages."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)

from coursework import layer_utils, layers
from coursework.gradient_check import (
    eval_numerical_gradient,
    eval_numerical_gradient_array,
    rel_error,
)


def spaced(low, high, *shape):
    return np.linspace(low, high, num=int(np.prod(shape))).reshape(shape)


CONV = {"stride": 1, "pad": 1}
POOL = {"pool_height": 2, "pool_width": 2, "stride": 2}


# --- Values that the course gives ---------------------------------------------------------------


def test_affine_has_the_courses_values():
    out, _ = layers.affine_forward(
        spaced(-0.1, 0.5, 2, 4, 5, 6), spaced(-0.2, 0.3, 120, 3), spaced(-0.3, 0.1, 3)
    )
    expected = [[1.49834967, 1.70660132, 1.91485297], [3.25553199, 3.5141327, 3.77273342]]
    np.testing.assert_allclose(out, expected, rtol=0, atol=5e-9)


def test_relu_has_the_courses_values():
    out, _ = layers.relu_forward(spaced(-0.5, 0.5, 3, 4))
    expected = [
        [0, 0, 0, 0],
        [0, 0, 0.04545455, 0.13636364],
        [0.22727273, 0.31818182, 0.40909091, 0.5],
    ]
    np.testing.assert_allclose(out, expected, rtol=0, atol=5e-9)


@pytest.mark.parametrize("kind", ["naive", "fast"])
def test_convolution_and_pooling_have_the_courses_values(kind):
    forward = getattr(layers, f"conv_forward_{kind}")
    x, w, b = spaced(-0.1, 0.5, 2, 3, 4, 4), spaced(-0.2, 0.3, 3, 3, 4, 4), spaced(-0.1, 0.2, 3)
    out, _ = forward(x, w, b, {"stride": 2, "pad": 1})
    expected = [
        [
            [[-0.08759809, -0.10987781], [-0.18387192, -0.2109216]],
            [[0.21027089, 0.21661097], [0.22847626, 0.23004637]],
            [[0.50813986, 0.54309974], [0.64082444, 0.67101435]],
        ],
        [
            [[-0.98053589, -1.03143541], [-1.19128892, -1.24695841]],
            [[0.69108355, 0.66880383], [0.59480972, 0.56776003]],
            [[2.36270298, 2.36904306], [2.38090835, 2.38247847]],
        ],
    ]
    np.testing.assert_allclose(out, expected, rtol=0, atol=5e-9)
    pooled, _ = getattr(layers, f"max_pool_forward_{kind}")(spaced(-0.3, 0.4, 2, 3, 4, 4), POOL)
    assert pooled.shape == (2, 3, 2, 2)
    corners = [[-0.26315789, -0.24842105], [-0.20421053, -0.18947368]]
    np.testing.assert_allclose(pooled[0, 0], corners, rtol=0, atol=5e-9)
    np.testing.assert_allclose(pooled[1, 2, 1], [0.38526316, 0.4], rtol=0, atol=5e-9)


def test_losses_have_the_courses_values():
    # The notebook's seed, which the fixture sets, and its draws.
    scores, y = 0.001 * np.random.randn(50, 10), np.random.randint(10, size=50)
    svm, softmax = layers.svm_loss(scores, y)[0], layers.softmax_loss(scores, y)[0]
    assert svm == pytest.approx(8.9996, abs=5e-5)
    assert softmax == pytest.approx(2.302546, abs=5e-7)


# --- Gradients ----------------------------------------------------------------------------------


def check(forward, backward, inputs, limit, *rest):
    """Compare the gradient by every input with central differences."""
    out, cache = forward(*inputs, *rest)
    dout = np.random.default_rng(1).standard_normal(out.shape)
    found = backward(dout, cache)
    found = (found,) if isinstance(found, np.ndarray) else found
    assert len(found) == len(inputs)
    for ours, value in zip(found, inputs, strict=True):
        numeric = eval_numerical_gradient_array(lambda _: forward(*inputs, *rest)[0], value, dout)
        assert ours.shape == value.shape
        assert ours.dtype == value.dtype
        assert rel_error(numeric, ours) < limit


@pytest.mark.parametrize("shape", [(10, 6), (10, 2, 3), (3, 1, 2, 3)])
def test_affine_gradients(rng, shape):
    inputs = [rng.standard_normal(s) for s in (shape, (6, 5), (5,))]
    check(layers.affine_forward, layers.affine_backward, inputs, 1e-9)


def test_relu_gradient(rng):
    x = rng.standard_normal((10, 10))
    x += 0.05 * np.sign(x)  # away from the kink
    check(layers.relu_forward, layers.relu_backward, [x], 1e-11)


@pytest.mark.parametrize("loss", ["svm_loss", "softmax_loss"])
def test_gradients_of_losses(rng, loss):
    function = getattr(layers, loss)
    x, y = 0.001 * rng.standard_normal((50, 10)), rng.integers(10, size=50)
    _, dx = function(x, y)
    numeric = eval_numerical_gradient(lambda _: function(x, y)[0], x, verbose=False)
    assert rel_error(numeric, dx) < 1e-8


@pytest.mark.parametrize("kind", ["naive", "fast"])
@pytest.mark.parametrize("param", [CONV, {"stride": 2, "pad": 0}, {"stride": 2, "pad": 2}], ids=str)
def test_convolution_gradients(rng, kind, param):
    inputs = [rng.standard_normal(s) for s in ((2, 3, 5, 6), (2, 3, 3, 3), (2,))]
    forward, backward = (getattr(layers, f"conv_{way}_{kind}") for way in ("forward", "backward"))
    check(forward, backward, inputs, 1e-8, param)


@pytest.mark.parametrize("kind", ["naive", "fast"])
@pytest.mark.parametrize("param", [POOL, {**POOL, "pool_width": 3, "stride": 1}], ids=str)
def test_pooling_gradient(rng, kind, param):
    x = rng.permutation(2 * 2 * 6 * 7).reshape(2, 2, 6, 7) / 50
    forward, backward = (
        getattr(layers, f"max_pool_{way}_{kind}") for way in ("forward", "backward")
    )
    check(forward, backward, [x], 1e-10, param)


def test_normalisation_gradients(rng):
    inputs = [5 * rng.standard_normal((4, 5)) + 12, *rng.standard_normal((2, 5))]
    for name in ("batchnorm_backward", "batchnorm_backward_alt"):
        check(layers.batchnorm_forward, getattr(layers, name), inputs, 1e-7, {"mode": "train"})
    check(layers.layernorm_forward, layers.layernorm_backward, inputs, 1e-7, {})
    images = [5 * rng.standard_normal((2, 6, 4, 5)) + 12, *rng.standard_normal((2, 6))]
    check(
        layers.spatial_batchnorm_forward,
        layers.spatial_batchnorm_backward,
        images,
        1e-6,
        {"mode": "train"},
    )
    grouped = [images[0], *(value.reshape(1, 6, 1, 1) for value in images[1:])]
    check(layers.spatial_groupnorm_forward, layers.spatial_groupnorm_backward, grouped, 1e-6, 2, {})


def test_dropout_gradient(rng):
    param = {"mode": "train", "p": 0.2, "seed": 123}
    x = rng.standard_normal((10, 10)) + 10
    check(layers.dropout_forward, layers.dropout_backward, [x], 1e-9, param)


def weights(rng, *shapes):
    return [rng.standard_normal(shape) for shape in shapes]


@pytest.mark.parametrize(
    ("name", "shapes", "rest"),
    [
        ("affine_relu", ((2, 3, 4), (12, 10), (10,)), ()),
        ("affine_ln_relu", ((6, 3, 4), (12, 5), (5,), (5,), (5,)), ({},)),
        ("conv_relu", ((2, 3, 8, 8), (3, 3, 3, 3), (3,)), (CONV,)),
        ("conv_relu_pool", ((2, 3, 8, 8), (3, 3, 3, 3), (3,)), (CONV, POOL)),
    ],
)
def test_gradients_of_joined_layers(rng, name, shapes, rest):
    forward, backward = (getattr(layer_utils, f"{name}_{way}") for way in ("forward", "backward"))
    check(forward, backward, weights(rng, *shapes), 1e-6, *rest)


@pytest.mark.parametrize(
    ("name", "shapes", "rest"),
    [
        ("affine_bn_relu", ((6, 3, 4), (12, 5), (5,), (5,), (5,)), ()),
        ("conv_bn_relu", ((3, 2, 5, 5), (3, 2, 3, 3), (3,), (3,), (3,)), (CONV,)),
    ],
)
def test_gradients_of_layers_before_batchnorm(rng, name, shapes, rest):
    forward, backward = (getattr(layer_utils, f"{name}_{way}") for way in ("forward", "backward"))
    inputs, rest = weights(rng, *shapes), (*rest, {"mode": "train"})
    out, cache = forward(*inputs, *rest)
    dout = rng.standard_normal(out.shape)
    for ours, value in zip(backward(dout, cache), inputs, strict=True):
        numeric = eval_numerical_gradient_array(lambda _: forward(*inputs, *rest)[0], value, dout)
        # Not the relative error: the bias before batchnorm has the gradient 0.
        np.testing.assert_allclose(ours, numeric, rtol=1e-6, atol=1e-8)


# --- Naive and fast, dtypes, layouts ------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("param", [CONV, {"stride": 2, "pad": 3}], ids=str)
def test_naive_and_fast_agree(rng, dtype, param):
    x, w, b = (v.astype(dtype) for v in weights(rng, (3, 3, 9, 10), (5, 3, 3, 4), (5,)))
    limit = 1e-10 if dtype == np.float64 else 1e-4
    slow, slow_cache = layers.conv_forward_naive(x, w, b, param)
    fast, fast_cache = layers.conv_forward_fast(x, w, b, param)
    assert fast.dtype == slow.dtype == dtype
    height, width = (
        (size + 2 * param["pad"] - k) // param["stride"] + 1 for size, k in ((9, 3), (10, 4))
    )
    assert fast.shape == (3, 5, height, width)
    np.testing.assert_allclose(fast, slow, atol=limit)
    dout = rng.standard_normal(fast.shape).astype(dtype)
    for one, other in zip(
        layers.conv_backward_fast(dout, fast_cache),
        layers.conv_backward_naive(dout, slow_cache),
        strict=True,
    ):
        assert one.dtype == dtype
        np.testing.assert_allclose(one, other, atol=limit * 10)
    slow, slow_cache = layers.max_pool_forward_naive(x, POOL)
    fast, fast_cache = layers.max_pool_forward_fast(x, POOL)
    np.testing.assert_array_equal(fast, slow)
    dout = rng.standard_normal(fast.shape).astype(dtype)
    np.testing.assert_array_equal(
        layers.max_pool_backward_fast(dout, fast_cache),
        layers.max_pool_backward_naive(dout, slow_cache),
    )


def test_dtypes_are_those_of_numpy(rng):
    x, w, b = weights(rng, (4, 6), (6, 3), (3,))
    for own, other, result in (
        ("f4", "f4", "f4"),
        ("f8", "f8", "f8"),
        ("f4", "f8", "f8"),
        ("f2", "f2", "f4"),  # half is computed as single
        ("i4", "i4", "f8"),
    ):
        out, cache = layers.affine_forward(x.astype(own), w.astype(other), b.astype(other))
        assert out.dtype == np.dtype(result)
        assert cache[0].dtype == np.dtype(own)
        assert {g.dtype for g in layers.affine_backward(out, cache)} == {np.dtype(result)}
    # Any layout.
    out, _ = layers.affine_forward(np.asfortranarray(x), w[::-1], b)
    np.testing.assert_allclose(out, x @ w[::-1] + b)


def test_dropout_keeps_the_share_and_the_mean():
    x = np.full((500, 500), 10.0)
    for keep in (0.25, 0.4, 0.7):
        out, (_, mask) = layers.dropout_forward(x, {"mode": "train", "p": keep})
        assert np.mean(out == 0) == pytest.approx(1 - keep, abs=0.01)
        assert out.mean() == pytest.approx(10, abs=0.2)
        np.testing.assert_array_equal(out, x * mask)
        still, (_, mask) = layers.dropout_forward(x, {"mode": "test", "p": keep})
        np.testing.assert_array_equal(still, x)
        assert mask is None
        np.testing.assert_array_equal(layers.dropout_backward(x, (None, mask)), x)
    first, second = (layers.dropout_forward(x, {"mode": "train", "p": 0.5})[0] for _ in range(2))
    assert (first != second).any()
    param = {"mode": "train", "p": 0.5, "seed": 7}
    first, second = (layers.dropout_forward(x, param)[0] for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_batchnorm_trains_and_predicts(rng):
    gamma, beta = np.array([1.0, 2, 3]), np.array([11.0, 12, 13])
    param = {"mode": "train"}
    for _ in range(50):
        a = 3 * rng.standard_normal((200, 3)) + 7
        out, _ = layers.batchnorm_forward(a, gamma, beta, param)
    np.testing.assert_allclose(out.mean(axis=0), beta, atol=1e-9)
    np.testing.assert_allclose(out.std(axis=0), gamma, atol=1e-4)
    param["mode"] = "test"
    kept = param["running_mean"].copy()
    out, _ = layers.batchnorm_forward(3 * rng.standard_normal((2000, 3)) + 7, gamma, beta, param)
    np.testing.assert_allclose(out.mean(axis=0), beta, atol=0.3)
    np.testing.assert_allclose(out.std(axis=0), gamma, atol=0.3)
    np.testing.assert_array_equal(param["running_mean"], kept)


def test_batchnorm_moves_its_statistics_as_the_course_says(rng):
    x = rng.standard_normal((6, 3))
    param = {
        "mode": "train",
        "momentum": 0.8,
        "running_mean": np.ones(3),
        "running_var": np.ones(3),
    }
    layers.batchnorm_forward(x, np.ones(3), np.zeros(3), param)
    np.testing.assert_allclose(param["running_mean"], 0.8 + 0.2 * x.mean(axis=0))
    np.testing.assert_allclose(param["running_var"], 0.8 + 0.2 * x.var(axis=0))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: layers.dropout_forward(x, {"mode": "train", "p": 0.0}), 'dropout_param["p"] must be above 0 and at most 1, got 0.0.'),
        (lambda x: layers.dropout_forward(x, {"mode": "fit", "p": 0.5}), 'dropout_param["mode"] must be "train" or "test", got \'fit\'.'),
        (lambda x: layers.batchnorm_forward(x, x[0], x[0], {"mode": "no"}), 'bn_param["mode"] must be "train" or "test", got \'no\'.'),
    ],
)  # fmt: skip
def test_modes_and_probabilities_are_checked(call, message):
    with pytest.raises(ValueError, match="^" + re.escape(message) + "$"):
        call(np.ones((4, 3)))
