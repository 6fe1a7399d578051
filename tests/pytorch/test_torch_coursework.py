"""The coursework's layers against PyTorch, float64; skipped where torch is missing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
F = torch.nn.functional

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))
layers = pytest.importorskip("coursework.layers", reason="the examples are not beside the tests")
layer_utils = pytest.importorskip("coursework.layer_utils")
NN = pytest.importorskip("coursework.nn").NN


def compare(ours, theirs, inputs):
    """Compare the output and the gradient by every input; ``ours`` is (forward, backward)."""
    forward, backward = ours
    rng = np.random.default_rng(0)
    out, cache = forward(*inputs)
    tensors = [torch.tensor(value, requires_grad=True) for value in inputs]
    expected = theirs(*tensors)
    np.testing.assert_allclose(out, expected.detach().numpy(), atol=1e-10)
    dout = rng.standard_normal(out.shape)
    expected.backward(torch.tensor(dout))
    found = backward(dout, cache)
    found = found if isinstance(found, tuple) else (found,)
    for gradient, tensor in zip(found, tensors, strict=True):
        np.testing.assert_allclose(gradient, tensor.grad.numpy(), atol=1e-10)


def drawn(*shapes):
    rng = np.random.default_rng(1)
    return [rng.standard_normal(shape) for shape in shapes]


@pytest.mark.parametrize(("stride", "pad"), [(1, 0), (1, 1), (2, 1), (3, 2)])
def test_convolution(stride, pad):
    param = {"stride": stride, "pad": pad}
    compare(
        (lambda *a: layers.conv_forward_fast(*a, param), layers.conv_backward_fast),
        lambda x, w, b: F.conv2d(x, w, b, stride=stride, padding=pad),
        drawn((3, 4, 11, 10), (5, 4, 3, 3), (5,)),
    )


def test_convolution_relu_pool():
    conv = {"stride": 1, "pad": 1}
    pool = {"pool_height": 3, "pool_width": 2, "stride": 2}
    compare(
        (
            lambda *a: layer_utils.conv_relu_pool_forward(*a, conv, pool),
            layer_utils.conv_relu_pool_backward,
        ),
        lambda x, w, b: F.max_pool2d(F.relu(F.conv2d(x, w, b, padding=1)), (3, 2), 2),
        drawn((3, 4, 11, 10), (5, 4, 3, 3), (5,)),
    )


def test_normalisation():
    compare(
        (
            lambda *a: layers.spatial_batchnorm_forward(*a, {"mode": "train"}),
            layers.spatial_batchnorm_backward,
        ),
        lambda x, g, b: F.batch_norm(x, None, None, g, b, training=True),
        drawn((3, 4, 5, 6), (4,), (4,)),
    )
    compare(
        (
            lambda x, g, b: layers.spatial_groupnorm_forward(
                x, g.reshape(1, 6, 1, 1), b.reshape(1, 6, 1, 1), 3, {}
            ),
            lambda dout, cache: tuple(
                v if n == 0 else v.reshape(6)
                for n, v in enumerate(layers.spatial_groupnorm_backward(dout, cache))
            ),
        ),
        lambda x, g, b: F.group_norm(x, 3, g, b),
        drawn((3, 6, 5, 4), (6,), (6,)),
    )
    compare(
        (lambda *a: layers.layernorm_forward(*a, {}), layers.layernorm_backward),
        lambda x, g, b: F.layer_norm(x, (7,), g, b),
        drawn((5, 7), (7,), (7,)),
    )


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_the_graded_class(activation):
    net = NN((7, 5), n_classes=4, activation=activation, seed=0)
    net.initialize_weights([6, 4])
    (x,) = drawn((9, 6))
    y = np.arange(9) % 4
    grads = net.backward(net.forward(x), net.one_hot(y))
    weights = {k: torch.tensor(v, requires_grad=True) for k, v in net.weights.items()}
    z = torch.tensor(x)
    for layer in (1, 2, 3):
        z = z @ weights[f"W{layer}"] + weights[f"b{layer}"]
        z = getattr(torch, activation)(z) if layer < 3 else z
    loss = F.cross_entropy(z, torch.tensor(y))
    loss.backward()
    assert net.compute_loss_and_accuracy(x, y)[0] == pytest.approx(loss.item(), abs=1e-12)
    for name, tensor in weights.items():
        np.testing.assert_allclose(grads[f"d{name}"], tensor.grad.numpy(), atol=1e-12)
