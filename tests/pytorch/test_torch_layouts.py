"""Whole models from PyTorch and back, by layouts; skipped where torch is missing."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import layouts

torch = pytest.importorskip("torch")
nn = torch.nn

LIMITS = {"float32": 1e-5, "float64": 1e-10}


def network(dtype):
    return fm.Sequential(
        [
            fm.Conv2D(6, 3, padding="same"),
            fm.BatchNorm(),
            fm.Activation("relu"),
            fm.MaxPool2D(2),
            fm.Conv2D(5, (2, 3), strides=(1, 2), use_bias=False),
            fm.BatchNorm(epsilon=1e-3),
            fm.Activation("tanh"),
            fm.Flatten(),
            fm.BatchNorm(),
            fm.LayerNorm(),
            fm.Dense(12, activation="relu"),
            fm.LayerNorm(epsilon=1e-3),
            fm.Dense(7),
            fm.BatchNorm(),
            fm.Dense(4),
        ],
        input_shape=(10, 12, 3),
        dtype=dtype,
    )


def module():
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 5, (2, 3), stride=(1, 2), bias=False),
        nn.BatchNorm2d(5, eps=1e-3),
        nn.Tanh(),
        nn.Flatten(),
        nn.BatchNorm1d(40),
        nn.LayerNorm(40),
        nn.Linear(40, 12),
        nn.ReLU(),
        nn.LayerNorm(12, eps=1e-3),
        nn.Linear(12, 7),
        nn.BatchNorm1d(7),
        nn.Linear(7, 4),
    )


def stirred(model):
    """Give a module statistics and factors that are not their first values."""
    generator = torch.Generator().manual_seed(3)
    for name, value in model.state_dict().items():
        if value.dtype.is_floating_point:
            value += 0.3 * torch.rand(value.shape, generator=generator, dtype=torch.float64)
        assert "var" not in name or (value > 0).all()
    return model.eval()


def same(ours, theirs, limit):
    theirs = theirs.detach().numpy()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=limit * np.abs(theirs).max())


@pytest.mark.parametrize("backend", ["numpy", "kernels"])
@pytest.mark.parametrize("dtype", LIMITS)
def test_a_whole_network_from_torch(dtype, backend):
    theirs = stirred(module().to(getattr(torch, dtype)))
    ours = network(dtype)
    ours.backend = backend
    ours.set_parameters(layouts.from_torch(ours, theirs.state_dict()))
    x = np.random.default_rng(0).standard_normal((9, 10, 12, 3)).astype(dtype)
    planes = torch.tensor(layouts.images_to_torch(x))
    same(ours.predict(x), theirs(planes), LIMITS[dtype])


@pytest.mark.parametrize("dtype", LIMITS)
def test_a_whole_network_to_torch(dtype):
    rng = np.random.default_rng(1)
    ours = network(dtype)
    x = rng.standard_normal((64, 10, 12, 3)).astype(dtype)
    ours.fit(x, rng.integers(4, size=64), epochs=2, batch_size=16)
    theirs = module().to(getattr(torch, dtype))
    state = layouts.to_torch(ours, theirs.state_dict())
    theirs.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    assert theirs[1].num_batches_tracked.item() == 8
    same(ours.predict(x), theirs.eval()(torch.tensor(layouts.images_to_torch(x))), LIMITS[dtype])


def test_embeddings():
    theirs = nn.Sequential(
        nn.Embedding(20, 6), nn.Flatten(), nn.Linear(18, 9), nn.Sigmoid(), nn.Linear(9, 20)
    ).double()
    layers = [fm.Embedding(20, 6, "concat"), fm.Dense(9, "sigmoid"), fm.Dense(20)]
    ours = fm.Sequential(layers, 3, "float64")
    ours.set_parameters(layouts.from_torch(ours, theirs.state_dict()))
    x = np.random.default_rng(0).integers(20, size=(11, 3))
    same(ours.predict(x), theirs(torch.tensor(x)), 1e-10)
