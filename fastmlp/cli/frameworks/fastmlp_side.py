"""fastmlp, through its public names."""

from __future__ import annotations

from typing import Any

import fastmlp as fm
from fastmlp._config import instruction_set
from fastmlp.cli.frameworks.workloads import RATE, Workload

__all__ = ["train", "version"]


def version() -> str:
    """Return the name and version of the framework, and the instruction set in use."""
    return f"fastmlp {fm.__version__}, {instruction_set()}"


def train(workload: Workload, seconds: float) -> dict[str, Any]:
    """Train whole epochs, in as few calls as possible."""
    x, y = workload.data()
    layers: list[fm.Layer] = []
    for conv in workload.convs:
        layers += [fm.Conv2D(conv.filters, conv.size, activation="relu"), fm.MaxPool2D(conv.pool)]
    if workload.image:
        layers.append(fm.Flatten())
    layers += [fm.Dense(units, activation="relu") for units in workload.sizes[1:-1]]
    layers.append(fm.Dense(workload.sizes[-1]))
    model = fm.Sequential(layers, workload.image or workload.sizes[:1])
    named = zip(*[iter(model.parameters)] * 2, strict=True)  # weight and bias of each layer
    for names, values in zip(named, workload.weights(), strict=True):
        model.set_parameters(dict(zip(names, values, strict=True)))

    def fit(epochs: int) -> dict[str, list[float]]:
        history = model.fit(
            x, y, epochs=epochs, batch_size=workload.batch, optimizer=optimizer, verbose=0
        )
        return history.history

    optimizer = fm.SGD(RATE)
    first = fit(2)
    epochs = max(3, round(seconds / max(first["time"][1], 1e-9)))
    return {
        "steps": [spent / workload.steps for spent in fit(epochs)["time"]],
        "loss": first["loss"][1],
    }
