"""Arrays, memory-mapped files and batches from Python behind one interface."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import _memmap
from fastmlp._training import data, scoring
from fastmlp._training.generator import GeneratorSource
from fastmlp._training.memmap import MemmapSource
from fastmlp._training.sources import ArraySource

BATCH = 50  # of 150 samples
KINDS = {"arrays": ArraySource, "memory map": MemmapSource, "batches": GeneratorSource}


@pytest.fixture(params=KINDS)
def kind(request, monkeypatch):
    if request.param == "memory map":
        monkeypatch.setattr(_memmap, "BUFFER_BYTES", 2000)
        monkeypatch.setattr(_memmap, "PIECE_BYTES", 1500)
    return request.param


def given(kind, toy, folder: Path):
    """The data as a user passes them: x and y, or batches."""
    x, y = toy
    if kind == "batches":
        return lambda: ((x[i : i + BATCH], y[i : i + BATCH]) for i in range(0, len(x), BATCH)), None
    if kind == "memory map":
        np.save(folder / "x.npy", x)
        return np.load(folder / "x.npy", mmap_mode="r"), y
    return x, y


def make(backend):
    model = fm.MLP(6, [8], 3, dtype="float64", seed=3)
    model.backend = backend
    return model


def training_source(model, x, y):
    batch = data.BATCH_SIZE if y is None else BATCH
    settings = {"epochs": 1, "batch_size": batch, "shuffle": False, "steps_per_epoch": None}
    return data.for_training(model, model.loss, x, y, None, **settings)


def test_the_kind_of_data_chooses_the_source(kind, toy, tmp_path):
    model = make("numpy")
    x, y = given(kind, toy, tmp_path)
    assert type(training_source(model, x, y)) is KINDS[kind]
    assert type(data.for_evaluation(model, model.loss, x, y, None)) is KINDS[kind]
    assert type(data.for_validation(model, model.loss, x if y is None else (x, y))) is KINDS[kind]
    assert type(data.for_prediction(model, x)) is KINDS[kind]


@pytest.mark.parametrize("metrics", [None, ["accuracy", "f1"]])
def test_all_sources_measure_and_predict_alike(kind, metrics, backend, toy, tmp_path):
    model = make(backend)
    x, y = given(kind, toy, tmp_path)
    wanted = ArraySource(model, *model.data(*toy, model.loss))
    found = data.for_evaluation(model, model.loss, x, y, None)
    scores = scoring.scores(metrics, model.loss, model.output_shape)
    for name, one, other in zip(
        ("mean", "loss", "correct", "done", "bad", "epochs", "outputs", "targets"),
        found.evaluate(model.loss, scores),
        wanted.evaluate(model.loss, scores),
        strict=True,
    ):
        if name in ("mean", "outputs", "targets") and other is not None:
            np.testing.assert_allclose(one, other, rtol=1e-12)
        elif name in ("correct", "done", "bad"):
            assert one == other
    predicted = data.for_prediction(model, x).predict()
    np.testing.assert_allclose(predicted, wanted.predict(), rtol=1e-12)


@pytest.mark.parametrize("metrics", [None, ["accuracy", "f1"]])
def test_all_sources_train_alike(kind, metrics, backend, toy, tmp_path):
    results = []
    for each in ("arrays", kind):
        model = make(backend)
        model.epochs_begun = 1
        x, y = given(each, toy, tmp_path)
        source = training_source(model, x, y)
        scores = scoring.scores(metrics, model.loss, model.output_shape)
        state = model.state(model.optimizer)
        result = source.train(model.loss, state, scores, 1, lambda *sums: False)
        assert result.done == 150
        assert source.steps_done(0, 150) == 3
        source.close()
        results.append((result, model.parameters))
    (wanted, expected), (found, parameters) = results
    assert found.mean == pytest.approx(wanted.mean, rel=1e-12)
    assert (found.correct, found.bad) == (wanted.correct, False)
    assert (found.outputs is None) == (metrics is None)
    if metrics is not None:
        np.testing.assert_allclose(found.outputs, wanted.outputs, rtol=1e-9)
        np.testing.assert_array_equal(found.targets, wanted.targets)
    for name, value in expected.items():
        np.testing.assert_allclose(parameters[name], value, rtol=1e-9, atol=1e-12)


class Where(fm.Loss):
    """A loss in Python that records the functions of fastmlp on the stack."""

    def __init__(self):
        super().__init__()
        self.frames: list[str] = []

    def targets(self, y, n, output_shape, dtype, name="y"):
        return np.asarray(y, dtype)

    def __call__(self, ops, output, targets, out, weights=None):
        frame, names = sys._getframe(1), []
        while frame is not None:
            if frame.f_globals["__name__"].startswith("fastmlp."):
                names.append(frame.f_code.co_name)
            frame = frame.f_back
        self.frames = names[::-1]
        out[...] = 0
        return 1.0, out


def test_few_calls_lead_from_fit_to_the_step(kind, toy, tmp_path):
    """Model, loop, source, engine: the reference engine trains there, a plan starts its program."""
    pytest.importorskip("fastmlp.kernels", reason="not built", exc_type=ImportError)
    toy = toy[0], np.zeros((150, 3))
    for backend, below in (("numpy", ["measure"]), ("kernels", ["compute", "measure"])):
        model, loss = make(backend), Where()
        x, y = given(kind, toy, tmp_path)
        batch = {} if y is None else {"batch_size": BATCH}
        model.fit(x, y, epochs=1, loss=loss, **batch)
        assert loss.frames == ["fit", "fit", "train", "train", *below]
        model.evaluate(x, y)
        measure = [] if backend == "numpy" else ["measure"]
        assert loss.frames == ["evaluate", "evaluate", "evaluate", "evaluate", *measure, *below]


def test_the_step_of_a_weight_that_is_not_finite(kind, backend, toy, tmp_path):
    """One step: the loss before it is finite, the weights after it are not."""
    model = make(backend)
    x, y = given(kind, (toy[0][:BATCH], toy[1][:BATCH]), tmp_path)
    batch = {} if y is None else {"batch_size": BATCH}
    model.set_parameters({name: 1e10 * value for name, value in model.parameters.items()})
    with np.errstate(all="ignore"), pytest.raises(fm.DivergenceError) as caught:
        model.fit(x, y, epochs=1, optimizer=fm.SGD(1e300), **batch)
    assert "a weight is not finite in epoch 1, step 1" in str(caught.value)


def test_a_schedule_that_fails_leaves_the_number_of_steps(backend, toy):
    def rate(step):
        return 0.1 if step < 3 else -1.0

    model = make(backend)
    callbacks = [fm.LearningRateLogger()]  # else epochs are bundled
    with pytest.raises(ValueError, match="the schedule must return a finite, non-negative number"):
        model.fit(*toy, batch_size=50, optimizer=fm.SGD(rate), callbacks=callbacks, epochs=2)
    assert model.steps_done == 3
