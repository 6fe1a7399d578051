"""Watch five variants of a convolutional network on MNIST with TensorBoard.

    python examples/watched_cnn.py [--quick] [--only NAME] [--data FOLDER] [--out FOLDER]
    tensorboard --logdir FOLDER/runs

The network is conv 32 @ 5x5, pool 2, conv 64 @ 5x5, pool 2, dense 1024, dropout, dense 10, with
relu and Adam. The other variants use Adagrad, tanh, leaky relu, or Glorot's (Xavier's) initial
weights. Batches have 50 images. Every 1100 steps the board gets the errors on the test and the
validation set, and statistics and histograms of every layer. Needs the MNIST files (--data, or
FASTMLP_DATA) and the extra "tensorboard". --quick does a few steps on less data.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

import fastmlp as fm

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--quick", action="store_true", help="do a few steps on less data")
parser.add_argument("--only", help="one of the variants, such as adagrad")
parser.add_argument("--steps", type=int, default=5500)
parser.add_argument("--data", type=Path, default=None, help="folder of MNIST's files")
parser.add_argument("--out", type=Path, default=Path("."), help="folder for the event files")
options = parser.parse_args()

(x, y), (x_valid, y_valid), test = fm.datasets.load_mnist(options.data)
# As in the report, 55 000 images are for training (1100 steps per epoch), 5 000 for validation.
x, y = np.concatenate([x, x_valid[:5000]]), np.concatenate([y, y_valid[:5000]])
valid = x_valid[5000:], y_valid[5000:]
steps, every = options.steps, 1100
if options.quick:
    steps, every, x, y = 22, 11, x[:550], y[:550]
    valid, test = ((images[:250], labels[:250]) for images, labels in (valid, test))


def network(activation="relu", xavier=False):
    """Return the network; without ``xavier``, weights are N(0, 0.1**2) and biases 0.1."""

    def settings(units):
        if xavier:
            return {"init": "glorot_uniform"}
        return {"init": fm.initializers.Normal(0.1), "bias_init": np.full(units, 0.1)}

    layers = [
        fm.Conv2D(32, 5, padding="same", activation=activation, **settings(32)),
        fm.MaxPool2D(2),
        fm.Conv2D(64, 5, padding="same", activation=activation, **settings(64)),
        fm.MaxPool2D(2),
        fm.Flatten(),
        fm.Dense(1024, activation, **settings(1024)),
        fm.Dropout(0.5),
        fm.Dense(10, **settings(10)),
    ]
    return fm.Sequential(layers, input_shape=(28, 28), seed=0)


variants = {
    "adam": (network(), fm.Adam(1e-4)),
    "adagrad": (network(), fm.Adagrad(1e-2)),
    "tanh": (network("tanh"), fm.Adam(1e-4)),
    "leaky_relu": (network("leaky_relu"), fm.Adam(1e-4)),
    "xavier": (network(xavier=True), fm.Adam(1e-4)),
}
if options.only:
    variants = {options.only: variants[options.only]}


class Errors(fm.Callback):
    """Record and print the errors on both sets, in addition to TensorBoard."""

    every_steps = every

    def on_train_begin(self):
        """Start an empty table."""
        self.rows = []

    def on_batch_end(self, step, logs):
        """Add a row to the table."""
        test_error, valid_error = (self.model.evaluate(*each)["error"] for each in (test, valid))
        self.rows.append({"step": step, "test_error": test_error, "valid_error": valid_error})
        print(f"{step:6}{test_error:9.2%}{valid_error:9.2%}")


results = {}
began = time.perf_counter()
for name, (model, optimizer) in variants.items():
    print(f"{name}: {model.num_parameters} parameters\n  step     test    valid")
    errors = Errors()
    board = fm.TensorBoard(
        options.out / "runs" / name,
        every_steps=every,
        validation_data={"test": test, "validation": valid},
        validation_steps=every,
    )
    history = model.fit(
        x,
        y,
        epochs=-(-steps * 50 // len(x)),
        batch_size=50,
        optimizer=optimizer,
        metrics=["error"],
        callbacks=[errors, board],
    ).history
    results[name] = {"errors": errors.rows, "seconds": sum(history["time"])}

print(f"\nerror on the test set after {errors.rows[-1]['step']} steps")
for name, result in results.items():
    print(f"{name:<12}{result['errors'][-1]['test_error']:8.2%}{result['seconds']:9.1f} s")
print(f"tensorboard --logdir {options.out / 'runs'}")

seconds = time.perf_counter() - began
print(json.dumps({"script": "watched_cnn", "results": results, "seconds": seconds}))
