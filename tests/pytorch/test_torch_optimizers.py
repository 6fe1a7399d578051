"""Clipping, parameter groups, penalties and schedules against PyTorch; skipped where it is missing."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp as fm

torch = pytest.importorskip("torch")
torch.set_num_threads(1)
F = torch.nn.functional

KINDS = [
    (fm.SGD, "SGD", {"weight_decay": 0.3}, {"weight_decay": 0.3}),
    (fm.SGD, "SGD", {"momentum": 0.9}, {"momentum": 0.9}),
    (fm.SGD, "SGD", {"momentum": 0.8, "nesterov": True}, {"momentum": 0.8, "nesterov": True}),
    (fm.Adagrad, "Adagrad", {"eps": 1e-3}, {"eps": 1e-3}),
    (fm.RMSprop, "RMSprop", {"rho": 0.7, "eps": 1e-3}, {"alpha": 0.7, "eps": 1e-3}),
    (fm.Adam, "Adam", {"eps": 1e-3, "weight_decay": 0.3}, {"eps": 1e-3, "weight_decay": 0.3}),
    (fm.AdamW, "AdamW", {"eps": 1e-3, "weight_decay": 0.3}, {"eps": 1e-3, "weight_decay": 0.3}),
]
STEPS, SPLIT = 20, 5  # steps, and steps of an epoch


def clip_norm(parameters):
    norm = torch.nn.utils.clip_grad_norm_(parameters, 0.1)
    assert norm > 0.1


def clip_value(parameters):
    assert max(float(p.grad.abs().max()) for p in parameters) > 0.01
    torch.nn.utils.clip_grad_value_(parameters, 0.01)


CLIPPING = {
    "none": ({}, lambda parameters: None),
    "norm": ({"clip_norm": 0.1}, clip_norm),
    "value": ({"clip_value": 0.01}, clip_value),
}
# What the three layers say; theirs are parameter groups and a penalty of the loss.
SETTINGS = {
    "plain": [{}, {}, {}],
    "multipliers": [{"learning_rate_multiplier": m} for m in (0.1, 2.0, 1.0)],
    "penalties": [{"l1": 0.01}, {"l2": 0.1}, {"l1": 0.02, "l2": 0.05}],
    "frozen": [{"trainable": False}, {"l2": 0.1}, {"trainable": False, "l1": 0.1}],
}
LAMBDA = torch.optim.lr_scheduler
RATE = 0.1
# Ours, theirs, and after how many steps theirs is told.
SCHEDULES = {
    "step": (fm.StepDecay(RATE, 3, 0.5), lambda o: LAMBDA.StepLR(o, 3, 0.5), 1),
    "step by epoch": (
        fm.StepDecay(RATE, 2, 0.3, unit="epoch"), lambda o: LAMBDA.StepLR(o, 2, 0.3), SPLIT,
    ),
    "exponential": (fm.ExponentialDecay(RATE, 0.9), lambda o: LAMBDA.ExponentialLR(o, 0.9), 1),
    "cosine": (fm.CosineDecay(RATE, 20), lambda o: LAMBDA.CosineAnnealingLR(o, 20), 1),
    "function": (
        lambda step: RATE / (1 + step), lambda o: LAMBDA.LambdaLR(o, lambda k: 1 / (1 + k)), 1,
    ),
    "warmup": (
        fm.Warmup(5, fm.CosineDecay(RATE, 15)),
        lambda o: LAMBDA.SequentialLR(
            o, [LAMBDA.LinearLR(o, 1 / 5, 1, 4), LAMBDA.CosineAnnealingLR(o, 15)], [5]
        ),
        1,
    ),
}  # fmt: skip


def net(backend, settings):
    layers = [
        fm.Dense(width, activation, **each)
        for width, activation, each in zip(
            (12, 9, 4), ("tanh", "tanh", None), settings, strict=True
        )
    ]
    model = fm.Sequential(layers, 7, "float64", seed=6)
    model.backend = backend
    return model


def data():
    rng = np.random.default_rng(3)
    return rng.standard_normal((40, 7)), rng.integers(4, size=40)


class Theirs:
    """The same network in torch, with a parameter group for each layer."""

    def __init__(self, model, name, options):
        self.layers = model.layers
        self.parameters = {
            key: torch.tensor(np.array(value)) for key, value in model.parameters.items()
        }
        groups = []
        for layer in self.layers:
            mine = [self.parameters[f"{layer.name}.{kind}"] for kind in ("weight", "bias")]
            for parameter in mine:
                parameter.requires_grad_(layer.trainable)
            if layer.trainable:
                groups.append({"params": mine, "lr": RATE * layer.learning_rate_multiplier})
        self.optimizer = getattr(torch.optim, name)(groups, lr=RATE, **options)

    def step(self, x, y, clip):
        value, penalty = torch.tensor(x), 0.0
        for layer in self.layers:
            w = self.parameters[f"{layer.name}.weight"]
            value = value @ w + self.parameters[f"{layer.name}.bias"]
            if layer is not self.layers[-1]:
                value = torch.tanh(value)
            penalty = penalty + layer.l1 * w.abs().sum() + layer.l2 * (w * w).sum()
        loss = F.cross_entropy(value, torch.tensor(y)) + penalty
        self.optimizer.zero_grad()
        loss.backward()
        clip([p for p in self.parameters.values() if p.requires_grad])
        self.optimizer.step()
        return loss.item()

    def compare(self, model):
        for key, ours in model.parameters.items():
            expected = self.parameters[key].detach().numpy()
            np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("clipping", CLIPPING)
@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_twenty_steps(kind, clipping, settings, backend):
    make, name, ours, options = KINDS[kind]
    limits, clip = CLIPPING[clipping]
    x, y = data()
    model = net(backend, SETTINGS[settings])
    model.compile(optimizer=make(RATE, **ours, **limits))
    theirs = Theirs(model, name, options)
    for step in range(STEPS):
        rows = slice(step % SPLIT * 8, step % SPLIT * 8 + 8)
        expected = theirs.step(x[rows], y[rows], clip)
        assert model.train_on_batch(x[rows], y[rows]) == pytest.approx(expected, rel=1e-9)
        theirs.compare(model)


@pytest.mark.filterwarnings("ignore")  # of SequentialLR, about itself
@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_schedules(kind, schedule, backend):
    make, name, ours, options = KINDS[kind]
    rate, scheduler, every = SCHEDULES[schedule]
    x, y = data()
    model = net(backend, SETTINGS["multipliers"])
    optimizer = make(rate, **ours)
    theirs = Theirs(model, name, options)
    told = scheduler(theirs.optimizer)
    rates = []
    for step in range(STEPS):
        rows = slice(step % SPLIT * 8, step % SPLIT * 8 + 8)
        theirs.step(x[rows], y[rows], lambda parameters: None)
        if step % SPLIT == SPLIT - 1:  # that of the layer whose multiplier is 1
            rates.append(theirs.optimizer.param_groups[2]["lr"])
        if (step + 1) % every == 0:
            told.step()
    history = model.fit(
        x, y, epochs=STEPS // SPLIT, batch_size=8, shuffle=False, optimizer=optimizer, verbose=0
    )
    np.testing.assert_allclose(history.history["learning_rate"], rates, rtol=1e-12)
    theirs.compare(model)


@pytest.mark.parametrize("cooldown", [0, 2])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateaus(mode, cooldown):
    """Their patience is one less; a value that stays within min_delta is no improvement."""
    rng = np.random.default_rng(1)
    measured = np.cumsum(rng.standard_normal(60) + (0.3 if mode == "max" else -0.3)).tolist()
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = LAMBDA.ReduceLROnPlateau(
        optimizer, mode, factor=0.5, patience=2, threshold=0.5, threshold_mode="abs",
        cooldown=cooldown, min_lr=1e-3,
    )  # fmt: skip
    ours = fm.ReduceOnPlateau(
        1.0, "loss", factor=0.5, patience=3, min_delta=0.5, cooldown=cooldown, minimum=1e-3,
        mode=mode,
    )  # fmt: skip
    memory, found = {}, []
    for value in measured:
        theirs.step(value)
        ours.observe({"loss": value}, memory)
        found.append(memory.get("rate", 1.0))
        assert found[-1] == optimizer.param_groups[0]["lr"]
    assert len(set(found)) > 3


@pytest.mark.parametrize("activation", ["linear", "sigmoid", "tanh", "relu", "leaky_relu"])
def test_gains(activation):
    expected = torch.nn.init.calculate_gain(activation, 0.01)
    assert fm.initializers.GAINS[activation] ** 0.5 == pytest.approx(expected, rel=1e-12)


def test_the_minimum_of_a_cosine():
    """Theirs is the same for all parameter groups, ours is multiplied as the rate is."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=RATE)
    theirs = LAMBDA.CosineAnnealingLR(optimizer, 20, 0.01)
    for step in range(20):
        expected = optimizer.param_groups[0]["lr"]
        assert fm.CosineDecay(RATE, 20, 0.01)(step) == pytest.approx(expected, rel=1e-12)
        optimizer.step()
        theirs.step()
