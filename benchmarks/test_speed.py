"""Compare kernels and a training step with pure numpy in float32, with pytest-benchmark.

    pytest benchmarks/test_speed.py --benchmark-group-by=group

Everything runs in one process, so set OPENBLAS_NUM_THREADS=1. For numbers to publish use
products.py and step.py, which run in separate processes.
"""

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import kernels, reference

SIDES = {"kernels": kernels, "numpy": reference}
RNG = np.random.default_rng(0)
X = RNG.standard_normal((32, 784)).astype(np.float32)
W = RNG.standard_normal((784, 512)).astype(np.float32)
DY = RNG.standard_normal((32, 512)).astype(np.float32)
VALUES = RNG.standard_normal(16384).astype(np.float32)
LOGITS = RNG.standard_normal((32, 10)).astype(np.float32)
LABELS = RNG.integers(0, 10, 32)


def run(benchmark, group, call, *args, **kwargs):
    benchmark.group = group
    benchmark(call, *args, **kwargs)


@pytest.mark.parametrize("side", SIDES)
class TestKernels:
    def test_forward_product(self, benchmark, side):
        run(benchmark, "X W", SIDES[side].matmul, X, W, out=np.empty((32, 512), np.float32))

    def test_weight_gradient(self, benchmark, side):
        out = np.empty((784, 512), np.float32)
        run(benchmark, "X^T dY", SIDES[side].matmul, X, DY, transpose_a=True, out=out)

    def test_input_gradient(self, benchmark, side):
        out = np.empty((32, 784), np.float32)
        run(benchmark, "dY W^T", SIDES[side].matmul, DY, W, transpose_b=True, out=out)

    @pytest.mark.parametrize(
        "name",
        ["exp", "log", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus", "tanh", "sigmoid"],
    )
    def test_elementwise(self, benchmark, side, name):
        x = np.abs(VALUES) if name == "log" else VALUES
        run(benchmark, name, getattr(SIDES[side], name), x, out=np.empty_like(x))

    def test_softmax(self, benchmark, side):
        run(benchmark, "softmax", SIDES[side].softmax, LOGITS, out=np.empty_like(LOGITS))

    def test_cross_entropy(self, benchmark, side):
        out = np.empty_like(LOGITS)
        run(benchmark, "cross-entropy", SIDES[side].softmax_cross_entropy, LOGITS, LABELS, out=out)


@pytest.mark.parametrize("batch", [8, 32])
@pytest.mark.parametrize("side", SIDES)
def test_epoch_of_ten_steps(benchmark, side, batch):
    model = fm.MLP(784, [512, 256], 10)
    model.backend = side
    x = RNG.random((10 * batch, 784), dtype=np.float32)
    y = RNG.integers(0, 10, len(x))
    model.compile(fm.SGD(0.001))
    group = f"784-512-256-10, batch {batch}"
    run(benchmark, group, model.fit, x, y, epochs=1, batch_size=batch)


@pytest.mark.parametrize("side", SIDES)
def test_predict_one_row(benchmark, side):
    model = fm.MLP(784, [512, 256], 10)
    model.backend = side
    run(benchmark, "predict one row", model.predict, X[:1])
