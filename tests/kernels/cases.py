"""What the kernel tests share: awkward sizes, tolerances, and every function with its arguments."""

import numpy as np

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
