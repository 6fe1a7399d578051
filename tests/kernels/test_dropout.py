"""Dropout and noise, compiled and in numpy."""

import numpy as np
import pytest
from cases import DTYPES, layouts

from fastmlp import kernels, reference

DRAW = {"seed": 3, "layer": 1, "step": 7}
SHAPES = [(0, 3), (3, 0), (1, 1), (2, 7), (3, 8), (5, 9), (4, 33), (2, 3, 17), (9,), (32, 257)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["dropout", "dropout_backward", "gaussian_noise"])
def test_what_is_drawn_is_the_same_bits(name, dtype, rng):
    kernel, twin = getattr(kernels, name), getattr(reference, name)
    for shape in SHAPES:
        x = rng.standard_normal(shape).astype(dtype)
        for amount in (0.0, 0.1, 0.5, 0.999):
            expected = twin(x, amount, **DRAW)
            result = kernel(x, amount, **DRAW)
            np.testing.assert_array_equal(result, expected)
            assert result.dtype == dtype
            out = np.full(shape, np.nan, dtype)
            assert kernel(x, amount, out=out, **DRAW) is out
            np.testing.assert_array_equal(out, expected)
            copy = x.copy()
            kernel(copy, amount, out=copy, **DRAW)
            np.testing.assert_array_equal(copy, expected)
            twin(x, amount, out=x.copy(), **DRAW)
    for name, other in layouts(x):
        np.testing.assert_array_equal(kernel(other, 0.5, **DRAW), kernel(x, 0.5, **DRAW), name)


def test_noise_of_every_kind_of_word(rng):
    # Many of them: near the middle, in the tails, and around where the formula changes.
    x = np.zeros((1000, 1000))
    draw = {"seed": 0, "layer": 0, "step": 0}
    np.testing.assert_array_equal(
        kernels.gaussian_noise(x, 1.0, **draw), reference.gaussian_noise(x, 1.0, **draw)
    )


@pytest.mark.parametrize("counter", ["seed", "layer", "step"])
def test_every_counter_counts(counter):
    x = np.ones((8, 64))
    found = [kernels.dropout(x, 0.5, **(DRAW | {counter: value})).tobytes() for value in range(9)]
    assert len(set(found)) == 9
    large = DRAW | {counter: 2**63 - 1}
    np.testing.assert_array_equal(
        kernels.dropout(x, 0.5, **large), reference.dropout(x, 0.5, **large)
    )


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"rate": 1.0}, ValueError, "rate must be at least 0 and below 1, got 1.0."),
        ({"rate": "x"}, TypeError, "rate must be a number"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1."),
        ({"step": 1.5}, TypeError, "step must be an integer"),
        ({"layer": None}, TypeError, "layer must be an integer"),
        ({"x": np.float32(3)}, ValueError, "x must have at least one dimension, got shape ()."),
        ({"out": np.zeros(3)}, ValueError, "out must be a C-contiguous"),
    ],
)
def test_dropout_refuses(arguments, error, text):
    given = {"x": np.zeros((2, 2)), "rate": 0.5, **DRAW} | arguments
    with pytest.raises(error) as caught:
        kernels.dropout(given.pop("x"), given.pop("rate"), **given)
    assert str(caught.value).startswith(text)


def test_an_output_may_not_overlap():
    memory = np.zeros((9, 4))
    with pytest.raises(ValueError, match="overlap"):
        kernels.dropout(memory[:8], 0.5, out=memory[1:], **DRAW)


# --- Normalisation ----------------------------------------------------------------------------

FEATURES = [(2, 1), (3, 5), (32, 8), (9, 33), (50, 257), (7, 3, 31), (4, 5, 6, 3), (3, 65)]


def close(found, expected, dtype):
    found = found if isinstance(found, tuple) else (found,)
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        limit = (1e-5 if dtype == np.float32 else 1e-12) * max(1.0, np.abs(other).max())
        np.testing.assert_allclose(one, other, rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", DTYPES)
def test_normalisation(dtype, rng):
    for shape in FEATURES:
        x, dy = (rng.standard_normal(shape).astype(dtype) * 3 + 1 for _ in range(2))
        gamma, beta = (rng.standard_normal(shape[-1:]).astype(dtype) for _ in range(2))
        for epsilon in (1e-5, 1e-1):
            option = {"epsilon": epsilon}
            expected = reference.batch_norm(x, gamma, beta, **option)
            close(kernels.batch_norm(x, gamma, beta, **option), expected, dtype)
            _, mean, variance = expected
            assert mean.dtype == variance.dtype == np.float64
            moments = (mean, variance)
            calls = [
                ("batch_norm_inference", (x, gamma, beta, *moments)),
                ("batch_norm_inference", (x, gamma, beta, *(m.astype(dtype) for m in moments))),
                ("batch_norm_backward", (dy, x, gamma, *moments)),
                ("layer_norm", (x, gamma, beta)),
                ("layer_norm_backward", (dy, x, gamma)),
            ]
            for name, arguments in calls:
                kernel, twin = getattr(kernels, name), getattr(reference, name)
                right = twin(*arguments, **option)
                close(kernel(*arguments, **option), right, dtype)
                # out may be the first argument, and for those of a gradient the second.
                for position in (0, 1) if "backward" in name else (0,):
                    for function in (kernel, twin):
                        copies = [a.copy() for a in arguments]
                        result = function(*copies, out=copies[position], **option)
                        result = result if isinstance(result, tuple) else (result,)
                        assert result[0] is copies[position]
                        close(result[0], right[0] if isinstance(right, tuple) else right, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_normalisation_of_nothing(dtype):
    empty = np.zeros((0, 4), dtype)
    four = np.ones(4, dtype)
    assert kernels.layer_norm(empty, four, four).shape == (0, 4)
    dx, dgamma, dbeta = kernels.layer_norm_backward(empty, empty, four)
    assert dx.shape == (0, 4)
    assert not dgamma.any() and not dbeta.any()
    assert kernels.batch_norm_inference(empty, four, four, four, four).shape == (0, 4)
    with pytest.raises(ValueError, match="at least one row"):
        kernels.batch_norm(empty, four, four)
    none = np.zeros((3, 0), dtype)
    nothing = np.zeros(0, dtype)
    assert kernels.batch_norm(none, nothing, nothing)[0].shape == (3, 0)
    assert kernels.layer_norm(none, nothing, nothing).shape == (3, 0)
    assert kernels.layer_norm_backward(none, none, nothing)[0].shape == (3, 0)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"gamma": np.ones(3)}, ValueError, "gamma must have shape (4,), got (3,)."),
        ({"beta": np.ones(4, "float32")}, TypeError, "beta must have the dtype of the other"),
        ({"epsilon": -1}, ValueError, "epsilon must be finite and at least 0, got -1.0."),
        ({"x": np.float64(1)}, ValueError, "x must have shape (..., F), got ()."),
    ],
)
@pytest.mark.parametrize("name", ["batch_norm", "layer_norm"])
def test_normalisation_refuses(name, arguments, error, text):
    given = {"x": np.ones((5, 4)), "gamma": np.ones(4), "beta": np.ones(4)} | arguments
    with pytest.raises(error) as caught:
        getattr(kernels, name)(**given)
    assert str(caught.value).startswith(text)


# --- Embeddings -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("combine", [None, "concat", "sum"])
def test_embedding(dtype, combine, rng):
    for n, length, vocabulary, dim in [(1, 1, 1, 1), (5, 3, 7, 4), (40, 2, 300, 33), (3, 9, 2, 8)]:
        weight = rng.standard_normal((vocabulary, dim)).astype(dtype)
        x = rng.integers(0, vocabulary, (n, length))
        option = {"combine": combine}
        expected = reference.embedding(x, weight, **option)
        for kind in (np.int64, np.int32, np.uint8 if vocabulary < 256 else np.uint16):
            close(kernels.embedding(x.astype(kind), weight, **option), expected, dtype)
        out = np.full(expected.shape, np.nan, dtype)
        assert kernels.embedding(x, weight, out=out, **option) is out
        close(out, expected, dtype)
        close(reference.embedding(x, weight, out=out, **option), expected, dtype)
        dy = rng.standard_normal(expected.shape).astype(dtype)
        right = np.zeros((vocabulary, dim))
        for i in range(n):
            for k in range(length):
                part = dy[i] if combine == "sum" else dy[i].reshape(length, dim)[k]
                right[x[i, k]] += part
        right = right.astype(dtype)
        for module in (kernels, reference):
            close(module.embedding_backward(dy, x, vocabulary, **option), right, dtype)
            out = np.full((vocabulary, dim), np.nan, dtype)
            assert module.embedding_backward(dy, x, vocabulary, out=out, **option) is out
            close(out, right, dtype)


@pytest.mark.parametrize("combine", [None, "concat", "sum"])
def test_embedding_of_nothing(combine):
    weight = np.ones((4, 3))
    for module in (kernels, reference):
        nobody = np.zeros((0, 2), int)
        empty = module.embedding(nobody, weight, combine=combine)
        assert empty.shape == {None: (0, 2, 3), "concat": (0, 6), "sum": (0, 3)}[combine]
        assert not module.embedding_backward(empty, nobody, 4, combine=combine).any()


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"x": [[0, 4]]}, ValueError, "x must hold integers from 0 to 3, got 4 at index (0, 1)."),
        ({"x": [[-1]]}, ValueError, "x must hold integers from 0 to 3, got -1 at index (0, 0)."),
        ({"x": [[1.0]]}, TypeError, "x must hold integers, got dtype float64."),
        ({"x": [1, 2]}, ValueError, "x must have shape (N, L), got (2,)."),
        ({"weight": np.ones(3)}, ValueError, "weight must have shape (V, D), got (3,)."),
        ({"combine": "mean"}, ValueError, "combine must be one of concat, sum, got 'mean'."),
    ],
)
def test_embedding_refuses(arguments, error, text):
    given = {"x": [[0, 1]], "weight": np.ones((4, 3))} | arguments
    with pytest.raises(error) as caught:
        kernels.embedding(**given)
    assert str(caught.value) == text


def test_embedding_backward_refuses():
    dy = np.ones((2, 3))
    with pytest.raises(ValueError, match=r"dy must have shape \(1, 3\), got \(2, 3\)"):
        kernels.embedding_backward(dy, [[0, 1]], 4, combine="sum")
    with pytest.raises(ValueError, match="x must hold integers from 0 to 3, got 9"):
        kernels.embedding_backward(dy, [[0, 1], [9, 1]], 4, combine="sum")
