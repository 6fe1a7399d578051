"""Embeddings: the compiled kernels against the reference."""

import numpy as np
import pytest
from cases import DTYPES, assert_all_close

from fastmlp import kernels, reference


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("combine", [None, "concat", "sum"])
def test_embedding(dtype, combine, rng):
    for n, length, vocabulary, dim in [(1, 1, 1, 1), (5, 3, 7, 4), (40, 2, 300, 33), (3, 9, 2, 8)]:
        weight = rng.standard_normal((vocabulary, dim)).astype(dtype)
        x = rng.integers(0, vocabulary, (n, length))
        option = {"combine": combine}
        expected = reference.embedding(x, weight, **option)
        for kind in (np.int64, np.int32, np.uint8 if vocabulary < 256 else np.uint16):
            assert_all_close(kernels.embedding(x.astype(kind), weight, **option), expected, dtype)
        out = np.full(expected.shape, np.nan, dtype)
        assert kernels.embedding(x, weight, out=out, **option) is out
        assert_all_close(out, expected, dtype)
        assert_all_close(reference.embedding(x, weight, out=out, **option), expected, dtype)
        dy = rng.standard_normal(expected.shape).astype(dtype)
        right = np.zeros((vocabulary, dim))
        for i in range(n):
            for k in range(length):
                part = dy[i] if combine == "sum" else dy[i].reshape(length, dim)[k]
                right[x[i, k]] += part
        right = right.astype(dtype)
        for module in (kernels, reference):
            assert_all_close(module.embedding_backward(dy, x, vocabulary, **option), right, dtype)
            out = np.full((vocabulary, dim), np.nan, dtype)
            assert module.embedding_backward(dy, x, vocabulary, out=out, **option) is out
            assert_all_close(out, right, dtype)


@pytest.mark.parametrize("combine", [None, "concat", "sum"])
def test_embedding_of_nothing(combine):
    weight = np.ones((4, 3))
    for module in (kernels, reference):
        none = np.zeros((0, 2), int)
        empty = module.embedding(none, weight, combine=combine)
        assert empty.shape == {None: (0, 2, 3), "concat": (0, 6), "sum": (0, 3)}[combine]
        assert not module.embedding_backward(empty, none, 4, combine=combine).any()


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
