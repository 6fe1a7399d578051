"""Shared by the kernel tests: awkward sizes, random images, tolerances and comparisons."""

import numpy as np

from fastmlp import kernels, reference

DTYPES = [np.float32, np.float64]
# Around the vector widths and tile sizes of every level, primes, and nothing at all.
SIZES = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 257]
# kernel and reference round differently; relative to the largest value of the result.
TOLERANCE = {np.float32: 2e-6, np.float64: 1e-14}

UNARY = ["exp", "log", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "tanh", "sigmoid"]
ROWS = ["softmax", "log_softmax"]
BACKWARD_BY_OUTPUT = [
    "relu_backward",
    "leaky_relu_backward",
    "elu_backward",
    "tanh_backward",
    "sigmoid_backward",
    "softmax_backward",
    "log_softmax_backward",
]
BACKWARD_BY_INPUT = ["gelu_backward", "silu_backward", "softplus_backward"]
PARAMETERS = {
    "leaky_relu": {"negative_slope": 0.3},
    "leaky_relu_backward": {"negative_slope": 0.3},
    "elu": {"alpha": 1.7},
    "elu_backward": {"alpha": 1.7},
}


def assert_close(result, expected, dtype, scale=1.0):
    """Compare with a tolerance relative to the expected array's largest value."""
    assert result.dtype == dtype
    assert result.shape == expected.shape
    if expected.size:
        largest = max(1.0, float(np.abs(expected).max()))
        np.testing.assert_allclose(
            result, expected, rtol=0, atol=TOLERANCE[dtype] * largest * scale
        )


def assert_all_close(found, expected, dtype):
    """Compare one result or a tuple of results, with a looser tolerance than assert_close."""
    found = found if isinstance(found, tuple) else (found,)
    expected = expected if isinstance(expected, tuple) else (expected,)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        limit = (1e-5 if dtype == np.float32 else 1e-12) * max(1.0, np.abs(other).max())
        np.testing.assert_allclose(one, other, rtol=0, atol=limit)


def layouts(x):
    """Yield the same values as arrays that are not what a kernel can take as it is."""
    yield "fortran", np.asfortranarray(x)
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    yield "strided", wide[..., ::2]
    yield "reversed", np.ascontiguousarray(x[::-1])[::-1]
    yield "swapped", x.astype(x.dtype.newbyteorder())
    memory = np.zeros(x.nbytes + 1, np.uint8)
    unaligned = memory[1:].view(x.dtype).reshape(x.shape)
    unaligned[...] = x
    yield "unaligned", unaligned
    frozen = x.copy()
    frozen.flags.writeable = False
    yield "read-only", frozen
    yield "list", x.tolist() if x.dtype == np.float64 else x.copy()


# Around the widths of vectors and panels.
CHANNELS = [1, 2, 3, 7, 8, 9, 15, 16, 17, 33]


def draw_images(seed, dtype, padded):
    """Return random images, a window and its options: batch 1 to 9, odd sizes, both paddings."""
    rng = np.random.default_rng([7, seed])
    n, channels = int(rng.integers(1, 10)), CHANNELS[seed % len(CHANNELS)]
    size = tuple(rng.integers(1, 18, 2).tolist())
    window = tuple(rng.integers(1, 6, 2).tolist())
    strides = int(rng.integers(1, 4)) if rng.integers(2) else tuple(rng.integers(1, 5, 2).tolist())
    options = {"strides": strides}
    if padded:
        options["padding"] = ("valid", "same")[seed % 2]
    if options.get("padding") != "same":
        window = tuple(map(min, window, size))
    return rng, rng.standard_normal((n, *size, channels)).astype(dtype), window, options


def normal(rng, dtype, *shape):
    """Return normal random numbers of a dtype."""
    return rng.standard_normal(shape).astype(dtype)


def compare(name, *arguments, scale=1.0, **options):
    """Compare a kernel with its twin, with and without ``out``; it must not change its arguments."""
    dtype = np.dtype(arguments[0].dtype).type
    expected = getattr(reference, name)(*arguments, **options)
    before = [np.array(a) for a in arguments]
    assert_close(getattr(kernels, name)(*arguments, **options), expected, dtype, scale)
    out = np.full_like(expected, np.nan)
    assert getattr(kernels, name)(*arguments, **options, out=out) is out
    assert_close(out, expected, dtype, scale)
    for argument, value in zip(arguments, before, strict=True):
        np.testing.assert_array_equal(argument, value)
