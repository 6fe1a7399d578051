"""Trainings that stop, resume, diverge or are watched, and model files."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import fastmlp as fm
from fingerprinted.data import onehot, pictures, points, words
from fingerprinted.recording import Array, Data, Layers, Parts, columns, make, parts, run
from fingerprinted.settings import OPTIMIZERS, SHAPES, narrow, wide


class Recorder(fm.Callback):
    """Record the arguments of a callback, and read the model between steps."""

    def __init__(self, x: Array, every_steps: int = 1) -> None:
        self.x, self.every_steps, self.found = x, every_steps, []

    def on_batch_end(self, step: int, logs: dict[str, float]) -> None:
        self.found += [step, logs, self.model.predict(self.x)]

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.found += [epoch, {name: value for name, value in logs.items() if name != "time"}]
        self.found += [self.model.parameters, self.run.step]


def register() -> None:
    """Register checkpoints, callbacks and files."""
    networks: dict[str, tuple[Layers, Data, str]] = {
        "wide": (wide, points(40), "adam"),
        "narrow": (narrow, points(9), "nesterov"),
        "random": (
            lambda: [fm.Dense(40), fm.BatchNorm(), fm.Dropout(0.3), fm.GaussianNoise(0.1),
                     fm.Dense(3)],
            points(36),
            "warmup",
        ),
        "images": (
            lambda: [fm.Conv2D(6, 3, activation="relu"), fm.MaxPool2D(2), fm.Flatten(),
                     fm.Dense(3)],
            pictures(8, 8, 2),
            "adam clip_norm",
        ),
        "embedding": (
            lambda: [fm.Embedding(50, 12, "sum"), fm.Dense(40, "relu"), fm.Dense(3)],
            words(4, 50),
            "plateau",
        ),
    }  # fmt: skip
    for backend in ("kernels", "numpy"):
        for name, (layers, (x, y), optimizer) in networks.items():

            @run(f"resume {name} {backend}")
            def _(
                layers: Any = layers, x: Array = x, y: Array = y, optimizer: str = optimizer,
                backend: str = backend,
            ) -> Parts:  # fmt: skip
                settings = {"backend": backend}
                options = {"epochs": 3, "batch_size": 16, "metrics": ["accuracy", "f1"]}
                options |= {"validation_data": (x[:30], y[:30]), "verbose": 0}

                def fit(**more: Any) -> tuple[fm.Sequential, Any]:
                    model = make(layers(), x, **settings)
                    history = model.fit(x, y, optimizer=OPTIMIZERS[optimizer](), **options, **more)
                    return model, [model.parameters, model.buffers, columns(history)]

                plain, expected = fit()
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "{step}.ckpt"
                    fit(callbacks=[fm.ModelCheckpoint(path, None, 3, keep=None)])
                    found = {}
                    for file in sorted(Path(folder).iterdir()):
                        _, found[file.name] = fit(resume=file)
                return parts(plain, x, y, uninterrupted=expected, **found)

    @run("early stopping")
    def _() -> Parts:
        (x, y), (x_test, y_test) = fm.datasets.load_digits()
        model = fm.MLP(64, [48], 10, seed=1)
        stopping = fm.EarlyStopping(patience=2, min_delta=0.1)
        model.fit(
            x[:400],
            y[:400],
            epochs=40,
            optimizer=fm.SGD(0.3),
            validation_data=(x_test, y_test),
            callbacks=[stopping],
            verbose=0,
        )
        found = [stopping.best, stopping.best_epoch, stopping.stopped_epoch]
        return parts(model, x_test, y_test, stopping=found)

    for kind, (layers, features, dtype) in SHAPES.items():
        for every in (1, 4):

            @run(f"callbacks {kind} every {every}")
            def _(layers: Any = layers, features: int = features, dtype: str = dtype,
                  every: int = every) -> Parts:  # fmt: skip
                x, y = points(features)
                model, recorder = make(layers(), x, dtype=dtype), Recorder(x[:5], every)
                rates = fm.LearningRateLogger()
                optimizer = fm.SGD(fm.Warmup(6, fm.StepDecay(0.1, 5, 0.5)), momentum=0.9)
                model.fit(x, y, 3, 16, optimizer=optimizer, callbacks=[recorder, rates], verbose=0)
                return parts(model, x, y, recorded=recorder.found)

        @run(f"file {kind}")
        def _(layers: Any = layers, features: int = features, dtype: str = dtype) -> Parts:
            x, y = points(features)
            model = make([fm.Standardize(), *layers()], x, dtype=dtype, scale=0.5)
            loss, optimizer = fm.CrossEntropy(0.1, [1.0, 2.0, 0.5]), fm.RMSprop(0.003)
            model.fit(x, y, 2, optimizer=optimizer, loss=loss, verbose=0)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.safetensors"
                model.save(path)
                found = {"first": parts(model, x, y)}
                again = fm.load_model(path)
            loaded = [again.predict(x), again.evaluate(x, y)]
            again.fit(x, y, epochs=2, verbose=0)
            return parts(again, x, y, loaded=loaded, **found)

        @run(f"several fits {kind}")
        def _(layers: Any = layers, features: int = features, dtype: str = dtype) -> Parts:
            x, y = points(features)
            model, optimizer = make(layers(), x, dtype=dtype), fm.Adam(0.01)
            found = [
                columns(model.fit(x, y, 2, batch, optimizer=optimizer, verbose=0))
                for batch in (16, 40, 7, 16)
            ]
            model.layers[0].trainable = False
            found.append(columns(model.fit(x, y, 1, optimizer=optimizer, verbose=0)))
            model.layers[0].trainable = True
            doubled = {name: 2 * value for name, value in model.parameters.items()}
            model.set_parameters(doubled)
            found.append(columns(model.fit(x, y, 1, optimizer="adagrad", verbose=0)))
            model.backend = "numpy"
            found.append(columns(model.fit(x, y, 1, verbose=0)))
            model.backend = "kernels"
            return parts(model, x, y, histories=found)

        @run(f"divergence {kind}")
        def _(layers: Any = layers, features: int = features, dtype: str = dtype) -> Parts:
            x, y = points(features)
            model = make(layers(2), x, dtype=dtype)
            targets = onehot(y)[:, :2]
            model.fit(x, targets, 2, optimizer=fm.SGD(0.01), loss="mse", verbose=0)
            with contextlib.suppress(fm.DivergenceError):
                model.fit(x, targets, 50, optimizer=fm.SGD(1e30), loss="mse", verbose=0)
                raise AssertionError("the training did not diverge.")
            kept = [model.parameters, columns(model.history), model.predict(x)]
            model.compile(fm.SGD(0.01), "mse")
            return parts(model, x, targets, kept=kept)
