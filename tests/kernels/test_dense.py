"""Matrix products, dense layers, biases and sums: every form, size and flag."""

import itertools

import numpy as np
import pytest
from cases import DTYPES, assert_close

from fastmlp import kernels, reference

SIZES = [0, 1, 2, 5, 8, 13, 24, 33, 130]
WIDTHS = [*SIZES, 3, 4, 7, 9, 15, 16, 17, 31, 63, 64, 65, 100, 257]
REDUCTIONS = [0, 1, 2, 7, 65, 300]
FORMS = list(itertools.product([False, True], repeat=2))


def operands(rng, m, n, k, transpose_a, transpose_b, dtype):
    a = rng.standard_normal((k, m) if transpose_a else (m, k)).astype(dtype)
    b = rng.standard_normal((n, k) if transpose_b else (k, n)).astype(dtype)
    exact = (a.T if transpose_a else a).astype(np.longdouble) @ (b.T if transpose_b else b).astype(
        np.longdouble
    )
    return a, b, exact.astype(np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("transpose_a", "transpose_b"), FORMS)
def test_products(transpose_a, transpose_b, dtype, rng):
    flags = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    for m, n, k in itertools.product(SIZES, SIZES, REDUCTIONS):
        a, b, exact = operands(rng, m, n, k, transpose_a, transpose_b, dtype)
        scale = 1 + np.sqrt(k)
        out = np.full((m, n), np.nan, dtype)
        assert kernels.matmul(a, b, out=out, **flags) is out
        assert_close(out, exact.astype(dtype), dtype, scale)
        start = rng.standard_normal((m, n)).astype(dtype)
        out = start.copy()
        kernels.matmul(a, b, out=out, accumulate=True, alpha=-0.5, **flags)
        assert_close(out, (start - 0.5 * exact).astype(dtype), dtype, scale)
        assert_close(kernels.matmul(a, b, alpha=2.5, **flags), (2.5 * exact).astype(dtype), dtype,
                     2 * scale)  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("m", "n", "k"),
    # Past every block size of the loop nest: rows, panels and the summed size.
    [(8, 512, 784), (33, 70, 2500), (784, 512, 8), (300, 300, 900), (130, 1030, 70), (3, 3, 5000)],
)
@pytest.mark.parametrize(("transpose_a", "transpose_b"), FORMS)
def test_large_products(m, n, k, transpose_a, transpose_b, dtype, rng):
    a, b, exact = operands(rng, m, n, k, transpose_a, transpose_b, dtype)
    flags = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    assert_close(kernels.matmul(a, b, **flags), exact.astype(dtype), dtype, 1 + np.sqrt(k))
    start = rng.standard_normal((m, n)).astype(dtype)
    out = start.copy()
    kernels.matmul(a, b, out=out, accumulate=True, alpha=0.25, **flags)
    assert_close(out, (start + 0.25 * exact).astype(dtype), dtype, 1 + np.sqrt(k))


@pytest.mark.parametrize("dtype", DTYPES)
def test_dense(dtype, rng):
    for rows, inputs, units in itertools.product([0, 1, 7, 32], [0, 1, 300, 784], [1, 10, 24, 50]):
        x = rng.standard_normal((rows, inputs)).astype(dtype)
        weight = rng.standard_normal((inputs, units)).astype(dtype)
        bias = rng.standard_normal(units).astype(dtype)
        z = x.astype(np.float64) @ weight.astype(np.float64)
        scale = 1 + np.sqrt(inputs)
        assert_close(kernels.dense(x, weight), z.astype(dtype), dtype, scale)
        assert_close(kernels.dense(x, weight, bias), (z + bias).astype(dtype), dtype, scale)
        assert_close(
            kernels.dense(x, weight, bias, relu=True),
            np.maximum(z + bias, 0).astype(dtype),
            dtype,
            scale,
        )


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_do_not_depend_on_the_batch(dtype, rng):
    x = rng.standard_normal((200, 700)).astype(dtype)
    weight = rng.standard_normal((700, 90)).astype(dtype)
    bias = rng.standard_normal(90).astype(dtype)
    whole = kernels.dense(x, weight, bias)
    for rows in (1, 2, 8, 13, 64):
        part = kernels.dense(x[:rows], weight, bias)
        np.testing.assert_array_equal(part, whole[:rows])


def test_nan_and_infinity_propagate():
    a = np.ones((3, 4), np.float32)
    a[1, 2] = np.nan
    a[2, 0] = np.inf
    out = kernels.matmul(a, np.ones((4, 20), np.float32))
    assert np.isnan(out[1]).all()
    assert np.isinf(out[2]).all()
    assert (out[0] == 4).all()
    relu = kernels.dense(a, np.ones((4, 20), np.float32), relu=True)
    assert np.isnan(relu[1]).all()


def test_neighbours_of_out_stay(rng):
    for m, n in itertools.product([1, 5, 9], [1, 10, 17, 24]):
        memory = np.full(m * n + 128, 7.0, np.float32)
        out = memory[64 : 64 + m * n].reshape(m, n)
        for transpose_b in (False, True):
            b = rng.standard_normal((n, 6) if transpose_b else (6, n)).astype(np.float32)
            a = rng.standard_normal((m, 6)).astype(np.float32)
            kernels.matmul(a, b, transpose_b=transpose_b, out=out)
            assert (memory[:64] == 7).all()
            assert (memory[64 + m * n :] == 7).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_bias_and_sums(dtype, rng):
    for n in WIDTHS:
        for rows in (0, 1, 2, 33):
            x = rng.standard_normal((rows, n)).astype(dtype)
            bias = rng.standard_normal(n).astype(dtype)
            assert_close(kernels.add_bias(x, bias), reference.add_bias(x, bias), dtype)
            assert_close(kernels.sum_batch(x), reference.sum_batch(x), dtype, 6)
            kernels.add_bias(x, bias, out=x)
