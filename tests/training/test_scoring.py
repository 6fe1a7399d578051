"""Metrics in fit, evaluate, the history and the output, on both backends."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import metrics
from fastmlp._training.progress import Progress

ALL = [
    "accuracy", "error", "top_2", "precision", "recall", "f1", "f1_micro", "f1_weighted",
    "precision_macro", "log_loss",
]  # fmt: skip


def spread(y_true, outputs):
    """A metric of the user's own."""
    assert len(y_true) == len(outputs)
    return np.float32(outputs.max() - outputs.min())


def classifier(backend, outputs=4):
    model = fm.MLP(6, [8], outputs, activation="tanh", dtype="float64", seed=3)
    model.backend = backend
    return model


def data(n=90, classes=4):
    rng = np.random.default_rng(5)
    return rng.standard_normal((n, 6)), rng.integers(0, classes, n)


@pytest.mark.parametrize("one_hot", [False, True])
def test_evaluate_measures_the_whole_set(one_hot, backend):
    x, y = data(1300)  # several chunks
    model = classifier(backend)
    model.compile(metrics=[*ALL, spread])
    outputs = model.predict(x)
    found = model.evaluate(x, np.eye(4)[y] if one_hot else y)
    assert list(found) == ["loss", *ALL, "spread"]
    labels = outputs.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(metrics.accuracy(y, labels), rel=1e-14)
    assert found["error"] == pytest.approx(1 - found["accuracy"], rel=1e-14)
    assert found["top_2"] == metrics.top_k(y, outputs, 2)
    assert found["precision"] == found["precision_macro"] == metrics.precision(y, labels, "macro")
    assert found["recall"] == metrics.recall(y, labels, "macro")
    assert found["f1"] == metrics.f1(y, labels, "macro")
    assert found["f1_micro"] == metrics.f1(y, labels, "micro")
    assert found["f1_weighted"] == metrics.f1(y, labels, "weighted")
    assert found["log_loss"] == pytest.approx(found["loss"], rel=1e-12)
    assert found["spread"] == pytest.approx(np.ptp(outputs), rel=1e-6)


@pytest.mark.parametrize("shuffle", [True, False])
def test_metrics_of_the_training_are_of_the_outputs_before_each_step(shuffle, backend):
    x, y = data()
    model, unmeasured = classifier(backend), classifier(backend)
    seen = []

    def recorded(y_true, outputs):
        seen.append((y_true.copy(), outputs.copy()))
        return 0.0

    history = model.fit(
        x, y, 3, 8, fm.SGD(0.3), shuffle=shuffle, metrics=["accuracy", "error", recorded]
    ).history
    unmeasured.fit(x, y, 3, 8, fm.SGD(0.3), shuffle=shuffle)
    # Measuring changes nothing.
    assert history["loss"] == unmeasured.history.history["loss"]
    assert history["accuracy"] == unmeasured.history.history["accuracy"]
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, unmeasured.parameters[name])
    np.testing.assert_allclose(history["error"], 1 - np.array(history["accuracy"]), atol=1e-14)
    for epoch, (labels, outputs) in enumerate(seen):
        logits = outputs - outputs.max(axis=1, keepdims=True)
        picked = logits[np.arange(90), labels] - np.log(np.exp(logits).sum(axis=1))
        assert -picked.mean() == pytest.approx(history["loss"][epoch], rel=1e-12)
    assert len(seen) == 3


def test_validation_has_the_same_metrics(backend):
    x, y = data()
    model = classifier(backend)
    history = model.fit(
        x, y, 2, validation_data=(x[:20], y[:20]), metrics=["top_2", spread], verbose=0
    ).history
    assert list(history) == [
        "loss", "top_2", "spread", "val_loss", "val_top_2", "val_spread", "learning_rate", "time",
    ]  # fmt: skip
    measured = model.evaluate(x[:20], y[:20])
    assert {name: history["val_" + name][-1] for name in measured} == measured
    # They stay until there are others.
    assert "top_2" in model.fit(x, y, 1, verbose=0).history
    assert list(model.fit(x, y, 1, metrics=[], verbose=0).history) == [
        "loss", "learning_rate", "time"
    ]  # fmt: skip


def test_metrics_of_one_output_and_of_many_answers(backend):
    x, _ = data()
    names = ["accuracy", "error", "precision", "recall", "f1", "log_loss"]
    model = classifier(backend, 1)
    y = x[:, 0] > 0.5
    model.compile(loss="binary_cross_entropy", metrics=names)
    found, decided = model.evaluate(x, y), model.predict(x)[:, 0] > 0
    assert found["f1"] == metrics.f1(y, decided)
    assert found["precision"] == metrics.precision(y, decided)
    assert found["log_loss"] == pytest.approx(found["loss"], rel=1e-12)
    model = classifier(backend, 3)
    y = x[:, :3] > 0.5
    model.compile(loss="binary_cross_entropy", metrics=names)
    found, decided = model.evaluate(x, y), model.predict(x) > 0
    assert found["accuracy"] == pytest.approx(np.mean(decided == y), rel=1e-14)
    assert found["error"] == pytest.approx(np.mean(decided != y), rel=1e-14)
    assert found["f1"] == metrics.f1(y, decided, "macro")
    assert found["log_loss"] == pytest.approx(found["loss"], rel=1e-12)
    model = classifier(backend, 2)
    model.compile(metrics=["recall"])
    _, labels = data(classes=2)
    wanted = metrics.recall(labels, model.predict(x).argmax(axis=1))
    assert model.evaluate(x, labels)["recall"] == wanted


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_metrics_of_numbers(loss, backend):
    x, _ = data()
    y = np.sin(x[:, :4])
    model = classifier(backend)
    history = model.fit(
        x, y, 2, loss=loss, validation_data=(x, y), metrics=["mse", "mae", "r2"], verbose=0
    ).history
    outputs = model.predict(x)
    for name in ("mse", "mae", "r2"):
        assert history["val_" + name][-1] == pytest.approx(getattr(metrics, name)(y, outputs))
    if loss != "huber":
        np.testing.assert_allclose(history[loss], history["loss"], rtol=1e-12)


def test_metrics_of_a_loss_and_a_layer_in_python(backend):
    class Mine(fm.CrossEntropy):
        pass

    class Through(fm.Layer):
        def forward(self, ops, x, workspace):
            return x

        def backward(self, ops, dy, workspace, sink, need_dx):
            return dy

    x, y = data()
    model = fm.Sequential([fm.Dense(4), Through()], 6, "float64")
    model.backend = backend
    chosen = ["accuracy", "error", "log_loss"]
    history = model.fit(x, y, 2, 16, loss=Mine(), metrics=chosen, verbose=0).history
    np.testing.assert_allclose(history["log_loss"], history["loss"], rtol=1e-10)
    np.testing.assert_allclose(history["error"], 1 - np.array(history["accuracy"]), atol=1e-14)
    assert model.evaluate(x, y)["error"] == pytest.approx(
        np.mean(model.predict(x).argmax(axis=1) != y)
    )


def test_weights_are_of_the_loss_only(backend):
    x, y = data()
    weights = np.random.default_rng(0).random(90)
    model = classifier(backend)
    model.compile(metrics=["accuracy", "f1"])
    plain, weighted = model.evaluate(x, y), model.evaluate(x, y, weights)
    assert plain["loss"] != weighted["loss"]
    assert plain["accuracy"] == weighted["accuracy"]
    assert plain["f1"] == weighted["f1"]


def test_outputs_that_are_not_finite_give_nan(backend):
    model = classifier(backend)
    model.compile(metrics=["f1", "log_loss", "top_2"])
    model.set_parameters({"dense_1.weight": np.full((8, 4), 1e308)})
    x, y = data()
    with np.errstate(all="ignore"):
        found = model.evaluate(1e5 * x, y)
    assert np.isnan([found["f1"], found["log_loss"], found["top_2"]]).all()


# --- What is shown and saved ----------------------------------------------------------------------


def test_lines_and_the_bar_show_metrics(backend, capsys):
    x, y = data()
    classifier(backend).fit(x, y, 2, metrics=["top_2"], validation_data=(x, y), verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert "top_2 0." in lines[0]
    assert "val_top_2 0." in lines[0]
    progress = Progress(1, epochs=3, samples=200)
    progress.begin(1)
    logs = {"loss": 1.0, "top_2": 0.5, "val_top_2": 0.25, "learning_rate": 0.1, "time": 1.0}
    progress.end(1, logs)
    progress.begin(2)
    progress.update(100, 0.5, 0.75)
    progress.close()
    shown = capsys.readouterr().err
    assert "top_2=0.5000" in shown
    assert "val_top_2=0.2500" in shown
    assert "learning_rate" not in shown


def test_names_are_saved_and_functions_are_not(tmp_path):
    model = fm.MLP(6, [4], 3)
    model.compile(metrics=["top_2", spread, "accuracy"])
    model.save(tmp_path / "model")
    assert fm.load_model(tmp_path / "model").metrics == ("top_2", "accuracy")


# --- What is refused ------------------------------------------------------------------------------


class NoName:
    def __call__(self, y_true, outputs):
        return 0.0


@pytest.mark.parametrize(
    ("given", "loss", "error", "message"),
    [
        (["acuracy"], "cross_entropy", ValueError, "got 'acuracy'. Did you mean 'accuracy'?"),
        (["top_0"], "cross_entropy", ValueError, "a metric must be one of accuracy, error, top_5"),
        (["f1", "f1"], "cross_entropy", ValueError,
         "metrics must have different names, got 'f1' twice."),
        ([1], "cross_entropy", TypeError, "a metric must be one of accuracy"),
        ("f1", "cross_entropy", TypeError, "metrics must be a list of names and functions, got"),
        (spread, "cross_entropy", TypeError, "metrics must be a list of names and functions, got"),
        ([NoName()], "cross_entropy", TypeError, "a metric function must have a __name__"),
        (["top_4"], "cross_entropy", ValueError,
         "metrics: top_4 needs at least 4 classes, got outputs of shape (3,)."),
        (["mse"], "cross_entropy", ValueError, "metrics: mse needs a regression loss, such as mse"),
        (["f1"], "mse", ValueError,
         "metrics: f1 needs a loss with classes, such as cross_entropy."),
        (["accuracy"], "huber", ValueError, "metrics: accuracy needs a loss with classes"),
        (["top_2"], "binary_cross_entropy", ValueError,
         "metrics: top_2 needs a loss with one class per sample, such as cross_entropy."),
        (["log_loss"], "hinge", ValueError,
         "metrics: log_loss needs cross_entropy or binary_cross_entropy."),
    ],
)  # fmt: skip
def test_bad_metrics(given, loss, error, message, backend):
    model = fm.MLP(4, [], 3)
    model.backend = backend
    before = model.parameters
    y = {"mse": np.zeros((5, 3)), "huber": np.zeros((5, 3))}.get(loss, np.arange(5) % 3)
    y = np.zeros((5, 3)) if loss == "binary_cross_entropy" else y
    for call in (
        lambda: model.compile(loss=loss, metrics=given),
        lambda: model.fit(np.zeros((5, 4)), y, loss=loss, metrics=given),
    ):
        with pytest.raises(error) as caught:
            call()
        assert message in str(caught.value)
    assert (model.metrics, model.history, model.loss.name) == (None, None, "cross_entropy")
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, before[name])


def test_a_metric_must_return_a_number(backend):
    def words(y_true, outputs):
        return "good"

    x, y = data()
    model = classifier(backend)
    with pytest.raises(TypeError, match="metric words must return a number, got 'good'"):
        model.fit(x, y, 1, metrics=[words], verbose=0)
