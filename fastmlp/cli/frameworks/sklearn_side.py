"""scikit-learn's MLPClassifier, with plain SGD: no momentum, no penalty."""

from __future__ import annotations

import time
import warnings
from typing import Any

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier

from fastmlp.cli.frameworks.workloads import RATE, Workload

__all__ = ["train", "version"]


def version() -> str:
    """Return the name and version of the framework."""
    return f"scikit-learn {sklearn.__version__}"


def train(workload: Workload, seconds: float) -> dict[str, Any]:
    """Train with one call of ``partial_fit`` per epoch; no convolutions."""
    if workload.image:
        return {}
    warnings.filterwarnings("ignore", module="sklearn")
    x, y = workload.data()
    model = MLPClassifier(
        workload.sizes[1:-1],
        solver="sgd",
        alpha=0.0,
        batch_size=workload.batch,
        learning_rate_init=RATE,
        momentum=0.0,
        nesterovs_momentum=False,
        random_state=0,
    )
    classes = np.arange(workload.sizes[-1])
    model.partial_fit(x[:1], y[:1], classes=classes)
    model.coefs_ = [weight for weight, _ in workload.weights()]
    model.intercepts_ = [bias for _, bias in workload.weights()]
    del model._optimizer  # partial_fit creates a new one for the replaced weights
    model.partial_fit(x, y)
    model.partial_fit(x, y)
    loss = model.loss_
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        began = time.perf_counter()
        model.partial_fit(x, y)
        times.append(time.perf_counter() - began)
    return {"steps": [spent / workload.steps for spent in times], "loss": float(loss)}
