"""Networks for images against PyTorch: outputs, gradients and training; skipped without torch."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import layouts

torch = pytest.importorskip("torch")
nn = torch.nn


def lenet():
    ours = fm.CNN((16, 14, 1), [6, 9], 3, 2, [12], 5, activation="tanh", dtype="float64")
    theirs = nn.Sequential(
        *(nn.Conv2d(1, 6, 3), nn.Tanh(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 9, 3), nn.Tanh(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(9 * 2 * 2, 12), nn.Tanh(), nn.Linear(12, 5)),
    )
    return ours, theirs


def padded():
    """Padding, strides, a filter that is no square, overlapping windows, no biases."""
    layers = [
        fm.Conv2D(8, (5, 3), padding="same", activation="relu"),
        fm.MaxPool2D(3, 2),
        fm.Conv2D(7, (3, 2), strides=(2, 1), activation="silu", use_bias=False),
        fm.AvgPool2D((2, 3), (1, 2)),
        fm.Flatten(),
        fm.Dense(4, use_bias=False),
    ]
    ours = fm.Sequential(layers, input_shape=(17, 18, 3), dtype="float64", seed=1)
    theirs = nn.Sequential(
        *(nn.Conv2d(3, 8, (5, 3), padding=(2, 1)), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(8, 7, (3, 2), stride=(2, 1), bias=False), nn.SiLU()),
        *(nn.AvgPool2d((2, 3), (1, 2)), nn.Flatten(), nn.Linear(42, 4, bias=False)),
    )
    return ours, theirs


class GlobalMean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))


def whole():
    """ "Same" with an even filter and with strides, where zeros come after the image first."""
    layers = [
        fm.Conv2D(6, 4, padding="same", activation="elu"),
        fm.Conv2D(5, 3, strides=2, padding="same"),
        fm.Activation("gelu"),
        fm.Conv2D(3, 1, activation="softplus"),
        fm.GlobalAvgPool2D(),
    ]
    ours = fm.Sequential(layers, input_shape=(8, 12, 2), dtype="float64", seed=2)
    theirs = nn.Sequential(
        *(nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(2, 6, 4), nn.ELU()),
        *(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(6, 5, 3, stride=2), nn.GELU()),
        *(nn.Conv2d(5, 3, 1), nn.Softplus(), GlobalMean()),
    )
    return ours, theirs


def make(build, backend):
    """Return both models with one set of parameters, PyTorch's, and data in both orders."""
    torch.manual_seed(0)
    ours, theirs = build()
    theirs = theirs.double()
    ours.set_parameters(layouts.from_torch(ours, theirs.state_dict()))
    ours.backend = backend
    rng = np.random.default_rng(0)
    x = rng.standard_normal((11, *ours.input_shape))
    return ours, theirs, x, torch.from_numpy(layouts.images_to_torch(x))


BUILDS = pytest.mark.parametrize("build", [lenet, padded, whole])


@BUILDS
def test_outputs(build, backend):
    ours, theirs, x, planes = make(build, backend)
    np.testing.assert_allclose(
        ours.predict(x), theirs(planes).detach().numpy(), rtol=1e-10, atol=1e-12
    )


@BUILDS
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_gradients(build, loss, backend):
    ours, theirs, x, planes = make(build, backend)
    rng = np.random.default_rng(1)
    classes = ours.output_shape[0]
    y = rng.integers(classes, size=11) if loss == "cross_entropy" else rng.random((11, classes))
    function = nn.CrossEntropyLoss() if loss == "cross_entropy" else nn.MSELoss()
    expected = function(theirs(planes), torch.from_numpy(y))
    expected.backward()
    value, gradients = ours.gradients(x, y, loss)
    assert value == pytest.approx(expected.item(), rel=1e-10)
    named = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, gradient in layouts.from_torch(ours, named).items():
        np.testing.assert_allclose(
            gradients[name], gradient, rtol=1e-10, atol=1e-10 * abs(gradient).max()
        )


@BUILDS
def test_three_epochs_of_training_end_at_the_same_weights(build, backend):
    ours, theirs, x, planes = make(build, backend)
    y = np.arange(11) % ours.output_shape[0]
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        for rows in (slice(0, 4), slice(4, 8), slice(8, 11)):
            optimizer.zero_grad()
            nn.CrossEntropyLoss()(theirs(planes[rows]), torch.from_numpy(y[rows])).backward()
            optimizer.step()
    rule = fm.SGD(0.1, momentum=0.9)
    ours.fit(x, y, epochs=3, batch_size=4, optimizer=rule, shuffle=False, verbose=0)
    for name, value in layouts.from_torch(ours, theirs.state_dict()).items():
        np.testing.assert_allclose(ours.parameters[name], value, rtol=1e-9, atol=1e-10)


def test_a_state_dict_goes_there_and_back():
    ours, theirs, _, planes = make(lenet, "numpy")
    expected = theirs(planes)
    state = layouts.to_torch(ours, theirs.state_dict())
    torch.manual_seed(1)
    other = lenet()[1].double()
    other.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    assert torch.equal(other(planes), expected)


def test_ties_in_max_pooling_go_where_torch_sends_them():
    x = np.random.default_rng(0).integers(0, 3, (5, 7, 9, 2)).astype(float)
    planes = torch.from_numpy(layouts.images_to_torch(x)).requires_grad_()
    theirs = nn.functional.max_pool2d(planes, (3, 2), (2, 1))
    y, index = fm.reference.max_pool2d(x, (3, 2), strides=(2, 1))
    np.testing.assert_array_equal(layouts.images_to_torch(y), theirs.detach().numpy())
    dy = np.random.default_rng(1).standard_normal(y.shape)
    theirs.backward(torch.from_numpy(layouts.images_to_torch(dy)))
    dx = fm.reference.max_pool2d_backward(dy, index, (7, 9), (3, 2), strides=(2, 1))
    np.testing.assert_allclose(layouts.images_to_torch(dx), planes.grad.numpy(), atol=1e-14)
