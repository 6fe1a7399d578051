"""Gradients, optimizers and training runs against PyTorch's autograd; skipped where torch is missing."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp as fm

torch = pytest.importorskip("torch")
from torch_activations import ACTIVATIONS  # noqa: E402 - it needs torch

F = torch.nn.functional
RTOL = {"float64": 1e-10, "float32": 1e-5}


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


# --- Losses ---------------------------------------------------------------------------------------

OF_CLASSES = np.array([1.0, 2.0, 0.25, 0.0, 3.0])


def weighted(values, weights):
    """The mean of the losses of the samples, weighted as fastmlp does it."""
    values = values.reshape(len(values), -1).mean(dim=1)
    return values.mean() if weights is None else (values * weights).sum() / weights.sum()


def hinge(scores, labels, margin, weights):
    picked = scores.gather(1, labels[:, None])
    margins = torch.relu(scores - picked + margin)
    margins = margins.scatter(1, labels[:, None], 0.0)
    return weighted(margins.sum(dim=1), weights)


def of_labels(z, y, weights, **settings):
    each = F.cross_entropy(z, y, reduction="none", **settings)
    if weights is None:
        return F.cross_entropy(z, y, **settings)
    classes = settings.get("weight", torch.ones(5, dtype=torch.float64))
    return (each * weights).sum() / (weights * classes[y]).sum()


C = torch.tensor(OF_CLASSES)
LOSSES = {
    "cross_entropy": (fm.CrossEntropy(), "labels", of_labels),
    "smoothing": (
        fm.CrossEntropy(0.1),
        "labels",
        lambda z, y, s: of_labels(z, y, s, label_smoothing=0.1),
    ),
    "class weights": (
        fm.CrossEntropy(class_weight=OF_CLASSES),
        "labels",
        lambda z, y, s: of_labels(z, y, s, weight=C),
    ),
    "both": (
        fm.CrossEntropy(0.3, OF_CLASSES),
        "labels",
        lambda z, y, s: of_labels(z, y, s, weight=C, label_smoothing=0.3),
    ),
    "probabilities": (
        fm.CrossEntropy(),
        "rows",
        lambda z, y, s: weighted(F.cross_entropy(z, y, reduction="none"), s),
    ),
    "smooth probabilities": (
        fm.CrossEntropy(0.2),
        "rows",
        lambda z, y, s: weighted(F.cross_entropy(z, y, label_smoothing=0.2, reduction="none"), s),
    ),
    "binary": (
        fm.BinaryCrossEntropy(),
        "answers",
        lambda z, y, s: weighted(F.binary_cross_entropy_with_logits(z, y, reduction="none"), s),
    ),
    "binary, soft": (
        fm.BinaryCrossEntropy(),
        "rows",
        lambda z, y, s: weighted(F.binary_cross_entropy_with_logits(z, y, reduction="none"), s),
    ),
    "mse": (
        fm.MeanSquaredError(),
        "numbers",
        lambda z, y, s: weighted(F.mse_loss(z, y, reduction="none"), s),
    ),
    "mae": (
        fm.MeanAbsoluteError(),
        "numbers",
        lambda z, y, s: weighted(F.l1_loss(z, y, reduction="none"), s),
    ),
    "huber": (
        fm.Huber(0.6),
        "numbers",
        lambda z, y, s: weighted(F.huber_loss(z, y, delta=0.6, reduction="none"), s),
    ),
    "hinge": (fm.Hinge(0.9), "labels", lambda z, y, s: hinge(z, y, 0.9, s)),
}


@pytest.mark.parametrize("with_weights", [False, True])
@pytest.mark.parametrize("n", [1, 2, 29])
@pytest.mark.parametrize("case", LOSSES)
def test_losses(case, n, with_weights, backend):
    loss, kind, theirs = LOSSES[case]
    rng = np.random.default_rng(n)
    x = rng.standard_normal((n, 6))
    y = {
        "labels": rng.integers(0, 3, n),
        "rows": rng.dirichlet(np.ones(5), n),
        "answers": rng.integers(0, 2, (n, 5)).astype(float),
        "numbers": rng.standard_normal((n, 5)),
    }[kind]
    weights = rng.random(n) if with_weights else None
    model = fm.MLP(6, [8], 5, activation="tanh", dtype="float64", seed=n)
    model.backend = backend
    value, gradients = model.gradients(x, y, loss, weights)
    parameters = leaves(model)
    output = torch.tensor(x)
    output = torch.tanh(output @ parameters["dense_0.weight"] + parameters["dense_0.bias"])
    output = output @ parameters["dense_1.weight"] + parameters["dense_1.bias"]
    wanted = theirs(output, torch.tensor(y), None if weights is None else torch.tensor(weights))
    wanted.backward()
    assert value == pytest.approx(wanted.item(), rel=1e-10)
    for name, gradient in gradients.items():
        expected = parameters[name].grad.numpy()
        np.testing.assert_allclose(
            gradient, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max()
        )


def test_means_are_those_of_the_modules_of_torch(backend):
    # Without weights, by the names in torch.nn and their own reduction.
    rng = np.random.default_rng(0)
    x, numbers, labels = rng.standard_normal((9, 6)), rng.random((9, 5)), rng.integers(0, 5, 9)
    model = fm.MLP(6, [], 5, dtype="float64")
    model.backend = backend
    z = torch.tensor(model.predict(x))
    for loss, theirs, y in (
        (
            fm.CrossEntropy(0.1, OF_CLASSES),
            torch.nn.CrossEntropyLoss(C, label_smoothing=0.1),
            labels,
        ),
        (fm.BinaryCrossEntropy(), torch.nn.BCEWithLogitsLoss(), numbers),
        (fm.MeanSquaredError(), torch.nn.MSELoss(), numbers),
        (fm.MeanAbsoluteError(), torch.nn.L1Loss(), numbers),
        (fm.Huber(0.5), torch.nn.HuberLoss(delta=0.5), numbers),
    ):
        model.compile(loss=loss)
        wanted = theirs(z, torch.tensor(y)).item()
        assert model.evaluate(x, y)["loss"] == pytest.approx(wanted, rel=1e-12), loss
    # Which divides the hinge by the number of classes, too.
    model.compile(loss="hinge")
    wanted = 5 * torch.nn.MultiMarginLoss()(z, torch.tensor(labels)).item()
    assert model.evaluate(x, labels)["loss"] == pytest.approx(wanted, rel=1e-12)
