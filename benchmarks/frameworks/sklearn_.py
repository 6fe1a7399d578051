"""scikit-learn's MLPClassifier, plain SGD without momentum or penalty."""

from __future__ import annotations

import math
import time
import warnings
from typing import Any

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier
from turns import measure

from frameworks.workloads import Workload

warnings.filterwarnings("ignore", module="sklearn")


def version() -> str:
    return f"scikit-learn {sklearn.__version__}"


class Timed(MLPClassifier):
    """Starts from given weights, records the end of each epoch and stops after some seconds.

    scikit-learn has no public interface for this, so three private methods are extended.
    """

    def _initialize(self, y: Any, layer_units: Any, dtype: Any) -> None:
        super()._initialize(y, layer_units, dtype)
        given = self.workload.first_weights()
        if given[-1][0].shape == self.coefs_[-1].shape:  # two classes have a single output here
            self.coefs_ = [weight for weight, _ in given]
            self.intercepts_ = [bias for _, bias in given]

    def _fit_stochastic(self, *args: Any, **kwargs: Any) -> None:
        self.ends = [time.perf_counter()]
        super()._fit_stochastic(*args, **kwargs)

    def _update_no_improvement_count(self, *args: Any, **kwargs: Any) -> None:
        self.ends.append(time.perf_counter())
        if len(self.ends) > 4 and self.ends[-1] - self.ends[1] > self.seconds:
            raise KeyboardInterrupt  # fit expects it and returns as usual


def classifier(workload: Workload, seconds: float = math.inf) -> Timed:
    result = Timed(
        workload.sizes[1:-1],
        activation={"sigmoid": "logistic"}.get(workload.activation, workload.activation),
        solver=workload.optimizer,
        alpha=0.0,
        batch_size=workload.batch,
        learning_rate_init=workload.learning_rate,
        max_iter=1_000_000,
        shuffle=not workload.whole,
        random_state=0,
        tol=0.0,
        momentum=0.0,
        nesterovs_momentum=False,
        n_iter_no_change=1_000_000,
    )
    result.workload, result.seconds = workload, seconds
    return result


def train(workload: Workload, seconds: float) -> dict[str, Any]:
    x, y = workload.data()
    model = classifier(workload, seconds)
    model.fit(x, y)
    steps = workload.rows // workload.batch
    times = (np.diff(model.ends)[1:] / steps).tolist()
    losses = model.loss_curve_
    if workload.whole:  # too few passes may be done to average as in the other frameworks
        return {"seconds": times, "check": []}
    return {"seconds": times, "check": [losses[1]]}


def predict(workload: Workload, seconds: float) -> dict[str, Any]:
    x, _ = workload.data()
    model = classifier(workload)
    classes = np.arange(workload.sizes[-1])
    model.partial_fit(np.zeros((len(classes), x.shape[1]), x.dtype), classes, classes=classes)
    model.coefs_, model.intercepts_ = map(list, zip(*workload.first_weights(), strict=True))
    # Probabilities, because scikit-learn does not return logits.
    return {"seconds": measure(lambda: model.predict_proba(x), seconds / 7), "check": []}


def mnist(workload: Workload, path: str, epochs: int) -> dict[str, Any]:
    with np.load(path) as data:
        x, y, x_valid, y_valid, x_test, y_test = (data[name] for name in data.files)
    model = classifier(workload)
    began = time.perf_counter()
    for _ in range(epochs):
        model.partial_fit(x, y, classes=np.arange(10))
        valid = model.score(x_valid, y_valid)
    spent = time.perf_counter() - began
    return {"seconds": [spent], "valid": valid, "test": model.score(x_test, y_test)}
