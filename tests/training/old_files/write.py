"""Write the old files and the expected results. Fastmlp 0.1.0 wrote the files in this folder.

    FASTMLP_ISA=generic python write.py --files    writes the models and the checkpoints
    FASTMLP_ISA=avx2 python write.py               adds the results of a level to expected.json

Later versions must read the files and go on from them to the same bits. So the files stay as they
are: this script shows what they hold, and the test takes the data and the runs from it.

Nothing here depends on the random generator or the transcendental functions of numpy: data are
exact in binary, and powers of the decay rates are too. What remains is compiled, and its bits are
the same on any machine with the level.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

import fastmlp as fm

Array = np.ndarray
Results = dict[str, Array | dict[str, Array]]
FOLDER = Path(__file__).parent
EXPECTED = FOLDER / "expected.json"


# --- Data -----------------------------------------------------------------------------------------


def scattered(count: int, below: int) -> Array:
    """Return integers from 0 to one less than ``below``, a power of 2, without visible order."""
    mixed = np.arange(1, count + 1) * 2654435761 % 2**32
    return (mixed >> 13) % below


def points() -> tuple[Array, Array]:
    """Return 60 samples of 6 features in three classes."""
    y = np.arange(60) % 3
    x = scattered(360, 1024).reshape(60, 6) / 512 - 1
    x[:, :3] += np.eye(3)[y]
    return x.astype(np.float32), y


def images() -> tuple[Array, Array]:
    """Return 40 images of bytes in three classes, bright in different places on a black ground."""
    y = np.arange(40) % 3
    x = np.zeros((40, 8, 8, 1), np.uint8)
    for image, label in zip(x, y, strict=True):
        image[label : label + 3, 2 : 6 - label] = 250
    x[:, 1:7, 1:7, 0] //= 1 + scattered(40 * 36, 4).reshape(40, 6, 6).astype(np.uint8)
    return x, y


def words() -> tuple[Array, Array]:
    """Return 60 rows of 4 integers below 16, in three classes."""
    x = scattered(240, 16).reshape(60, 4)
    return x, x[:, 0] % 3


# --- Networks and runs ----------------------------------------------------------------------------


def mlp() -> fm.Sequential:
    """Return a model with statistics, random layers, settings of layers and of classes."""
    model = fm.Sequential(
        [
            fm.Standardize(),
            fm.Dense(36, activation="relu", l2=0.01),
            fm.BatchNorm(momentum=0.75),
            fm.Dropout(0.25),
            fm.Dense(9, activation="tanh", learning_rate_multiplier=0.5),
            fm.LayerNorm(),
            fm.Dense(9, activation="gelu", trainable=False),
            fm.Dense(3),
        ],
        input_shape=6,
        seed=7,
        scale=0.5,
    )
    loss = fm.CrossEntropy(label_smoothing=0.125, class_weight=[1.0, 0.5, 2.0])
    optimizer = fm.RMSprop(fm.StepDecay(0.01, 8, 0.5), rho=0.75, weight_decay=0.001)
    model.compile(optimizer, loss, metrics=["accuracy", "f1"])
    return model


def cnn() -> fm.Sequential:
    """Return a model for images, in float64."""
    model = fm.Sequential(
        [
            fm.Conv2D(4, 3, padding="same", activation="relu"),
            fm.MaxPool2D(2),
            fm.Conv2D(6, 2, strides=(1, 2), activation="silu", l1=0.001),
            fm.AvgPool2D((2, 1), strides=1),
            fm.Flatten(),
            fm.Dense(10, activation="elu"),
            fm.Dense(3),
        ],
        input_shape=(8, 8),
        dtype="float64",
        seed=2,
        scale=1 / 256,
    )
    model.compile(fm.SGD(0.125, momentum=0.75, nesterov=True, clip_norm=1.0), fm.Hinge(0.5))
    return model


def narrow() -> fm.Sequential:
    """Return the model of the checkpoint between two epochs."""
    return fm.MLP(6, [12, 8], 3, activation="tanh", seed=5)


def narrow_settings() -> dict[str, Any]:
    """Return the arguments of its training, which EarlyStopping ends."""
    x, y = points()
    schedule = fm.Warmup(10, fm.StepDecay(0.0625, 32, 0.5))
    return {
        "x": x[:44],
        "y": y[:44],
        "batch_size": 8,
        "epochs": 30,
        "optimizer": fm.Adam(schedule, beta1=0.5, beta2=0.75),
        "validation_data": (x[44:], y[44:]),
        "callbacks": [fm.EarlyStopping(patience=4, min_delta=0.2)],
    }


def embedding() -> fm.Sequential:
    """Return the model of the checkpoint in the middle of an epoch."""
    return fm.Sequential(
        [
            fm.Embedding(16, 6, "concat"),
            fm.Dropout(0.25),
            fm.Dense(33, activation="relu", l2=0.001),
            fm.BatchNorm(momentum=0.75),
            fm.Dense(3),
        ],
        input_shape=4,
        seed=6,
    )


def embedding_settings() -> dict[str, Any]:
    """Return the arguments of its training; the F-measure needs all outputs of an epoch."""
    x, y = words()
    schedule = fm.ReduceOnPlateau(0.125, "loss", 0.5, patience=2, min_delta=9.0)
    return {
        "x": x,
        "y": y,
        "batch_size": 8,
        "epochs": 6,
        "optimizer": fm.SGD(schedule, momentum=0.5),
        "metrics": ["accuracy", "f1"],
        "sample_weight": 0.5 + scattered(60, 8) / 8,
    }


def write_files() -> None:
    """Train for a while and write the four files."""
    for name, make, (x, y) in (("mlp", mlp, points()), ("cnn", cnn, images())):
        model = make()
        model.fit(x, y, epochs=3, batch_size=8, verbose=0)
        model.save(FOLDER / f"{name}.safetensors")
    for name, make, settings, saver in (
        ("epoch", narrow, narrow_settings(), {"every_epochs": 3}),
        ("step", embedding, embedding_settings(), {"every_epochs": None, "every_steps": 13}),
    ):
        checkpoint = fm.ModelCheckpoint(FOLDER / f"{name}.ckpt", **saver)
        settings["callbacks"] = [*settings.get("callbacks", []), checkpoint]
        make().fit(**settings | {"epochs": 3}, verbose=0)


# --- Results --------------------------------------------------------------------------------------


def state(model: fm.Sequential, x: Array) -> Results:
    """Return what a trained model holds, has measured and predicts."""
    history = {name: column for name, column in model.history.history.items() if name != "time"}
    return {
        "weights": model.parameters,
        "buffers": model.buffers,
        "counters": np.array([model.epochs_begun, model.steps_done]),
        "history": {name: np.array(column) for name, column in history.items()},
        "predictions afterwards": model.predict(x[:12]),
    }


def load_and_train(path: Path, backend: str) -> Results:
    """Load a model, use it and train it further."""
    model = fm.load_model(path)
    model.backend = backend
    x, y = images() if path.stem == "cnn" else points()
    loss, gradients = model.gradients(x, y, model.loss)
    found = {
        "predictions": model.predict(x[:12]),
        "evaluation": np.array(list(model.evaluate(x, y).values())),
        "loss": np.array([loss]),
        "gradients": gradients,
    }
    model.fit(x, y, epochs=2, batch_size=8, verbose=0)
    return found | state(model, x)


def load_and_resume(path: Path, backend: str) -> Results:
    """Load the model in a checkpoint, then resume the training with one that is made anew."""
    make, settings = {
        "epoch": (narrow, narrow_settings()),
        "step": (embedding, embedding_settings()),
    }[path.stem]
    loaded, model = fm.load_model(path), make()
    loaded.backend = model.backend = backend
    x = settings["x"]
    with warnings.catch_warnings():  # the file says on which level it was written
        warnings.simplefilter("ignore", UserWarning)
        model.fit(**settings, resume=path, verbose=0)
    found = {"predictions": loaded.predict(x[:12])} | state(model, x)
    for callback in settings.get("callbacks", []):
        best = [callback.best, callback.best_epoch, callback.stopped_epoch]
        found["early stopping"] = np.array(best, np.float64)
    return found


RUNS: dict[str, Callable[[Path, str], Results]] = {
    "mlp.safetensors": load_and_train,
    "cnn.safetensors": load_and_train,
    "epoch.ckpt": load_and_resume,
    "step.ckpt": load_and_resume,
}


def digest(value: Array | dict[str, Array]) -> str:
    """Return a hash of the bits of an array, or of several with their names."""
    found = hashlib.sha256()
    for name, each in value.items() if isinstance(value, dict) else [("", value)]:
        found.update(f"{name} {each.dtype} {each.shape} ".encode())
        found.update(np.ascontiguousarray(each).tobytes())
    return found.hexdigest()[:16]


def instruction_set() -> str:
    """Return the level that the compiled modules run on."""
    text = StringIO()
    with redirect_stdout(text):
        fm.show_config()
    return re.search(r"^instruction set +(\S+)", text.getvalue(), re.MULTILINE)[1]


def compact(expected: dict[str, Any]) -> str:
    """Return JSON with a line for every list of numbers."""
    text = json.dumps(expected, indent=1)
    inner = re.compile(r"\[[^\[\]{}\"]*\]")
    return inner.sub(lambda numbers: re.sub(r"\s+", " ", numbers[0]), text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", action="store_true")
    if parser.parse_args().files:
        write_files()
    expected = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {"hashes": {}}
    found = {name: results(FOLDER / name, "kernels") for name, results in RUNS.items()}
    expected["hashes"][instruction_set()] = {
        name: {what: digest(value) for what, value in arrays.items()}
        for name, arrays in found.items()
    }
    # For other levels, whose results differ by rounding.
    expected["values"] = {
        name: {
            what: {name: column.tolist() for name, column in value.items()}
            if isinstance(value, dict)
            else value.tolist()
            for what, value in arrays.items()
            if what not in ("weights", "buffers", "gradients")
        }
        for name, arrays in found.items()
    }
    EXPECTED.write_text(compact(expected))


if __name__ == "__main__":
    main()
