"""Normalisation and embeddings against PyTorch; skipped where torch is missing."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp as fm

torch = pytest.importorskip("torch")
F = torch.nn.functional


def tensor(value):
    return torch.tensor(np.array(value), requires_grad=True)


def close(ours, theirs, tolerance=1e-10):
    theirs = theirs.detach().numpy()
    if theirs.ndim == 2 and theirs.shape != ours.shape:
        theirs = theirs.T  # a linear layer's weight
    limit = tolerance * max(np.abs(theirs).max(), 1e-3)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=limit)


def layers(kind):
    make = {"batch": fm.BatchNorm, "layer": fm.LayerNorm}[kind]
    return [fm.Dense(12), make(), fm.Activation("tanh"), fm.Dense(9, "relu"), make(), fm.Dense(4)]


def twin(kind, sizes=(7, 12, 9)):
    """The same network in torch, float64."""
    inputs, first, second = sizes
    make = {"batch": torch.nn.BatchNorm1d, "layer": torch.nn.LayerNorm}[kind]
    return torch.nn.Sequential(
        torch.nn.Linear(inputs, first),
        make(first),
        torch.nn.Tanh(),
        torch.nn.Linear(first, second),
        torch.nn.ReLU(),
        make(second),
        torch.nn.Linear(second, 4),
    ).double()


def pairs(model, other):
    """Our names and their parameters, weights transposed."""
    ours = list(model.parameters)
    theirs = list(other.parameters())
    assert len(ours) == len(theirs)
    return list(zip(ours, theirs, strict=True))


def load(model, other):
    with torch.no_grad():
        for name, value in pairs(model, other):
            value.copy_(torch.tensor(np.array(model.parameters[name].T)))


@pytest.mark.parametrize("kind", ["batch", "layer"])
def test_twenty_steps_of_a_normalised_network(kind, backend):
    rng = np.random.default_rng(3)
    x, y = 3 * rng.standard_normal((40, 7)) + 1, rng.integers(4, size=40)
    model = fm.Sequential(layers(kind), 7, "float64", seed=6)
    model.backend = backend
    model.compile(optimizer=fm.SGD(0.1, momentum=0.9))
    other = twin(kind)
    load(model, other)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
    for step in range(20):
        rows = slice(step % 5 * 8, step % 5 * 8 + (8 if step % 2 else 5))
        other.train()
        loss = F.cross_entropy(other(torch.tensor(x[rows])), torch.tensor(y[rows]))
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            _, gradients = model.gradients(x[rows], y[rows])
            for name, value in pairs(model, other):
                close(gradients[name], value.grad)
        optimizer.step()
        assert model.train_on_batch(x[rows], y[rows]) == pytest.approx(loss.item(), rel=1e-9)
        for name, value in pairs(model, other):
            close(model.parameters[name], value, 1e-9)
        buffers = [b for b in other.buffers() if b.ndim]  # the last of a layer counts batches
        for ours, theirs in zip(model.buffers.values(), buffers, strict=True):
            close(ours, theirs, 1e-9)
        other.eval()
        close(model.predict(x), other(torch.tensor(x)), 1e-9)


@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_of_images(training, backend):
    rng = np.random.default_rng(5)
    x = 2 * rng.standard_normal((6, 4, 3, 5)) + 1
    targets = rng.standard_normal((6, 60))
    model = fm.Sequential([fm.BatchNorm(momentum=0.7), fm.Flatten()], (4, 3, 5), "float64")
    model.backend = backend
    values = {
        "gamma": rng.standard_normal(5),
        "beta": rng.standard_normal(5),
        "running_mean": rng.standard_normal(5),
        "running_variance": rng.random(5) + 0.5,
    }
    model.set_parameters({"batchnorm_0." + name: value for name, value in values.items()})
    mean, variance = (
        torch.tensor(values["running_" + name].copy()) for name in ("mean", "variance")
    )
    gamma, beta = tensor(values["gamma"]), tensor(values["beta"])
    images = torch.tensor(x.transpose(0, 3, 1, 2).copy())
    output = F.batch_norm(images, mean, variance, gamma, beta, training, 0.3, 1e-5)
    flat = output.permute(0, 2, 3, 1).reshape(6, 60)
    loss = F.mse_loss(flat, torch.tensor(targets))
    if not training:
        close(model.predict(x), flat)
        return
    loss.backward()
    found, gradients = model.gradients(x, targets, "mse")
    assert found == pytest.approx(loss.item(), rel=1e-10)
    close(gradients["batchnorm_0.gamma"], gamma.grad)
    close(gradients["batchnorm_0.beta"], beta.grad)
    model.compile(optimizer=fm.SGD(0.0), loss="mse")
    model.train_on_batch(x, targets)
    close(model.buffers["batchnorm_0.running_mean"], mean)
    close(model.buffers["batchnorm_0.running_variance"], variance)


def test_normalisation_functions():
    rng = np.random.default_rng(8)
    x, dy = rng.standard_normal((2, 13, 17))
    gamma, beta = rng.standard_normal((2, 17))
    for name in ("batch", "layer"):
        parts = [tensor(value) for value in (x, gamma, beta)]
        if name == "batch":
            output = F.batch_norm(parts[0], None, None, parts[1], parts[2], True, 0.1, 1e-3)
        else:
            output = F.layer_norm(parts[0], (17,), parts[1], parts[2], 1e-3)
        output.backward(torch.tensor(dy))
        for ops in (fm.reference, fm.kernels):
            if name == "batch":
                y, mean, variance = ops.batch_norm(x, gamma, beta, epsilon=1e-3)
                found = ops.batch_norm_backward(dy, x, gamma, mean, variance, epsilon=1e-3)
            else:
                y = ops.layer_norm(x, gamma, beta, epsilon=1e-3)
                found = ops.layer_norm_backward(dy, x, gamma, epsilon=1e-3)
            close(y, output)
            for ours, theirs in zip(found, parts, strict=True):
                close(ours, theirs.grad)


@pytest.mark.parametrize(("dim", "units"), [(32, 256), (8, 64)])
@pytest.mark.parametrize("momentum", [0.0, 0.85])
def test_a_network_of_three_words(dim, units, momentum, backend):
    rng = np.random.default_rng(4)
    x = np.minimum(rng.geometric(0.03, (1000, 3)) - 1, 249)  # a few words often, some never
    y = rng.integers(250, size=1000)
    layers = [fm.Embedding(250, dim, "sum"), fm.Dense(units, "sigmoid"), fm.Dense(250)]
    model = fm.Sequential(layers, 3, "float64", seed=2)
    model.backend = backend
    table = torch.nn.Embedding(250, dim).double()
    dense = torch.nn.Linear(dim, units).double()
    last = torch.nn.Linear(units, 250).double()
    other = torch.nn.ModuleList([table, dense, last])
    with torch.no_grad():
        for ours, theirs in zip(model.parameters.values(), other.parameters(), strict=True):
            value = torch.tensor(np.array(ours))
            theirs.copy_(value if value.shape == theirs.shape else value.T)
    optimizer = torch.optim.SGD(other.parameters(), lr=0.5, momentum=momentum)
    for _ in range(3):
        for start in range(0, 1000, 250):
            rows = slice(start, start + 250)
            hidden = torch.sigmoid(dense(table(torch.tensor(x[rows])).sum(dim=1)))
            loss = F.cross_entropy(last(hidden), torch.tensor(y[rows]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.fit(x, y, 3, 250, optimizer=fm.SGD(0.5, momentum=momentum), shuffle=False)
    for ours, theirs in zip(model.parameters.values(), other.parameters(), strict=True):
        close(ours, theirs, 1e-9)
