"""Batch and layer normalization: the compiled kernels against the reference."""

import numpy as np
import pytest
from cases import DTYPES, assert_all_close

from fastmlp import kernels, reference

FEATURES = [(2, 1), (3, 5), (32, 8), (9, 33), (50, 257), (7, 3, 31), (4, 5, 6, 3), (3, 65)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_normalisation(dtype, rng):
    for shape in FEATURES:
        x, dy = (rng.standard_normal(shape).astype(dtype) * 3 + 1 for _ in range(2))
        gamma, beta = (rng.standard_normal(shape[-1:]).astype(dtype) for _ in range(2))
        for epsilon in (1e-5, 1e-1):
            option = {"epsilon": epsilon}
            expected = reference.batch_norm(x, gamma, beta, **option)
            assert_all_close(kernels.batch_norm(x, gamma, beta, **option), expected, dtype)
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
                assert_all_close(kernel(*arguments, **option), right, dtype)
                # out may be the first argument; a backward function also takes the second.
                for position in (0, 1) if "backward" in name else (0,):
                    for function in (kernel, twin):
                        copies = [a.copy() for a in arguments]
                        result = function(*copies, out=copies[position], **option)
                        result = result if isinstance(result, tuple) else (result,)
                        assert result[0] is copies[position]
                        assert_all_close(
                            result[0], right[0] if isinstance(right, tuple) else right, dtype
                        )


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
