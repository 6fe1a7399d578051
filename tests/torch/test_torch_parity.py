"""Gradients, optimizers and training runs against PyTorch's autograd; skipped where torch is missing."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp as fm

torch = pytest.importorskip("torch")
F = torch.nn.functional

ACTIVATIONS = {
    "linear": lambda z: z,
    "relu": torch.relu,
    "leaky_relu": lambda z: F.leaky_relu(z, 0.01),
    "elu": F.elu,
    "gelu": None,  # filled below, for it has two definitions
    "silu": F.silu,
    "softplus": F.softplus,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softmax": lambda z: torch.softmax(z, dim=-1),
}
RTOL = {"float64": 1e-10, "float32": 1e-5}


def gelu(z):
    """The definition that fastmlp's reference uses."""
    probe = np.array([[1.0]])
    exact = F.gelu(torch.tensor(probe)).item()
    is_exact = abs(float(fm.reference.gelu(probe)[0, 0]) - exact) < 1e-9
    return F.gelu(z, approximate="none" if is_exact else "tanh")


ACTIVATIONS["gelu"] = gelu


def torch_loss(parameters, x, y, activation, loss):
    """The same MLP and loss in torch, on the parameters by their names."""
    value = x
    n_layers = len(parameters) // 2
    for i in range(n_layers):
        value = value @ parameters[f"dense_{i}.weight"] + parameters[f"dense_{i}.bias"]
        if i < n_layers - 1:
            value = ACTIVATIONS[activation](value)
    return F.cross_entropy(value, y) if loss == "cross_entropy" else F.mse_loss(value, y)


def leaves(model):
    return {
        name: torch.tensor(np.array(value), requires_grad=True)
        for name, value in model.parameters.items()
    }


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_gradients(activation, loss, dtype, backend):
    rng = np.random.default_rng(7)
    model = fm.MLP(11, [17, 9], 5, activation=activation, dtype=dtype, seed=4)
    model.backend = backend
    x = rng.standard_normal((13, 11)).astype(dtype)
    y = rng.integers(5, size=13) if loss == "cross_entropy" else rng.standard_normal((13, 5))
    y = y if loss == "cross_entropy" else y.astype(dtype)
    ours, gradients = model.gradients(x, y, loss=loss)
    parameters = leaves(model)
    theirs = torch_loss(parameters, torch.tensor(x), torch.tensor(y), activation, loss)
    theirs.backward()
    assert ours == pytest.approx(theirs.item(), rel=RTOL[dtype])
    for name, gradient in gradients.items():
        expected = parameters[name].grad.numpy()
        np.testing.assert_allclose(
            gradient, expected, rtol=RTOL[dtype], atol=RTOL[dtype] * np.abs(expected).max()
        )


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_three_epochs_of_training(loss, backend):
    rng = np.random.default_rng(1)
    labels = rng.integers(4, size=90)
    x = rng.standard_normal((90, 8)) + 2 * np.eye(4, 8)[labels]
    y = labels if loss == "cross_entropy" else np.eye(4)[labels]
    model = fm.MLP(8, [16, 12], 4, activation="tanh", dtype="float64", seed=2)
    model.backend = backend
    parameters = leaves(model)
    optimizer = torch.optim.SGD(parameters.values(), lr=0.1)
    losses = []
    for _ in range(3):
        total = 0.0
        for start in range(0, 90, 32):  # the last batch is shorter
            rows = slice(start, start + 32)
            value = torch_loss(
                parameters, torch.tensor(x[rows]), torch.tensor(y[rows]), "tanh", loss
            )
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            total += value.item() * len(x[rows])
        losses.append(total / 90)
    history = model.fit(
        x, y, epochs=3, batch_size=32, optimizer=fm.SGD(0.1), loss=loss, shuffle=False, verbose=0
    )
    np.testing.assert_allclose(history.history["loss"], losses, rtol=1e-10)
    for name, value in model.parameters.items():
        np.testing.assert_allclose(value, parameters[name].detach().numpy(), rtol=1e-9, atol=1e-12)


# Ours, and theirs by name with its options.
OPTIMIZERS = [
    (fm.SGD(0.1), "SGD", {"lr": 0.1}),
    (fm.SGD(0.1, weight_decay=0.3), "SGD", {"lr": 0.1, "weight_decay": 0.3}),
    (fm.SGD(0.1, momentum=0.9), "SGD", {"lr": 0.1, "momentum": 0.9}),
    (
        fm.SGD(0.1, momentum=0.8, weight_decay=0.3),
        "SGD",
        {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.3},
    ),
    (
        fm.SGD(0.1, momentum=0.8, nesterov=True, weight_decay=0.3),
        "SGD",
        {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.3},
    ),
    (fm.Adagrad(), "Adagrad", {}),
    (
        fm.Adagrad(0.1, eps=1e-3, weight_decay=0.3),
        "Adagrad",
        {"lr": 0.1, "eps": 1e-3, "weight_decay": 0.3},
    ),
    (fm.RMSprop(), "RMSprop", {"lr": 0.001}),
    (
        fm.RMSprop(0.1, rho=0.7, eps=1e-3, weight_decay=0.3),
        "RMSprop",
        {"lr": 0.1, "alpha": 0.7, "eps": 1e-3, "weight_decay": 0.3},
    ),
    (fm.Adam(), "Adam", {}),
    (
        fm.Adam(0.1, beta1=0.7, beta2=0.8, eps=1e-3, weight_decay=0.3),
        "Adam",
        {"lr": 0.1, "betas": (0.7, 0.8), "eps": 1e-3, "weight_decay": 0.3},
    ),
    (fm.AdamW(), "AdamW", {}),
    (
        fm.AdamW(0.1, beta1=0.7, beta2=0.8, eps=1e-3, weight_decay=0.3),
        "AdamW",
        {"lr": 0.1, "betas": (0.7, 0.8), "eps": 1e-3, "weight_decay": 0.3},
    ),
]


@pytest.mark.parametrize(
    ("optimizer", "name", "options"), OPTIMIZERS, ids=[repr(ours) for ours, *_ in OPTIMIZERS]
)
def test_twenty_steps_of_every_optimizer(optimizer, name, options, backend):
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((40, 7)), rng.integers(4, size=40)
    model = fm.MLP(7, [12, 9], 4, activation="tanh", dtype="float64", seed=6)
    model.backend = backend
    model.compile(optimizer=optimizer)
    parameters = leaves(model)
    theirs = getattr(torch.optim, name)(parameters.values(), **options)
    for step in range(20):
        rows = slice(step % 5 * 8, step % 5 * 8 + 8)
        value = torch_loss(
            parameters, torch.tensor(x[rows]), torch.tensor(y[rows]), "tanh", "cross_entropy"
        )
        theirs.zero_grad()
        value.backward()
        theirs.step()
        assert model.train_on_batch(x[rows], y[rows]) == pytest.approx(value.item(), rel=1e-9)
        for key, ours in model.parameters.items():
            expected = parameters[key].detach().numpy()
            np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)
