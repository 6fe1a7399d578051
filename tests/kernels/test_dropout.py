"""Dropout and noise: the compiled kernels against the reference."""

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
