"""Hyper-parameters of perceptrons on MNIST: the tables of two reports, and better settings.

    python examples/mnist_mlp.py [--study first second runs ours] [--rows 1 2] [--most-epochs 50]
        [--quick] [--data FOLDER]

first   two hidden layers with several activations, batch sizes and learning rates
second  the grid of another report, after 10 and after 50 epochs
runs    two networks of that report, before training and after each epoch
ours    dropout, momentum and a decaying learning rate; the network with the best validation
        accuracy is evaluated once on the test set

All studies together take an hour. --rows selects rows of each table; --quick trains on a hundredth
of the data for a few epochs. Needs the MNIST files (--data, or FASTMLP_DATA).
"""

import argparse
import json
import time
from itertools import product
from pathlib import Path

import fastmlp as fm

STUDIES = ("first", "second", "runs", "ours")

# Hidden layers, activations, batch, learning rate, epochs, and the reported values: accuracy (in
# percent) and loss on the training set and on the validation set. The last row is the final choice
# of the report.
FIRST = [
    ((512, 256), ("sigmoid", "relu"), 8, 0.01, 24, (97.94, 0.0739, 97.04, 0.1016)),
    ((512, 256), ("relu", "relu"), 8, 0.01, 8, (97.53, 0.0928, 97.10, 0.1077)),
    ((512, 256), ("sigmoid", "sigmoid"), 8, 0.01, 50, (97.86, 0.0831, 96.99, 0.1083)),
    ((512, 256), ("relu", "relu"), 8, 0.01, 3, (98.01, 0.0766, 97.16, 0.0994)),
    ((512, 256), ("relu", "relu"), 32, 0.01, 11, (97.92, 0.0838, 97.06, 0.1059)),
    ((512, 256), ("relu", "relu"), 32, 0.001, 50, (95.64, 0.1607, 95.65, 0.1614)),
    ((710, 610), ("relu", "relu"), 32, 0.01, 10, (97.77, 0.0885, 97.00, 0.1084)),
    ((710, 610), ("relu", "relu"), 8, 0.01, 3, (98.00, 0.0753, 97.07, 0.0993)),
    ((710, 610), ("relu", "relu"), 4, 0.01, 2, (98.30, 0.0628, 97.11, 0.0929)),
    ((710, 610), ("relu", "relu"), 8, 0.01, 10, (None, None, 97.73, 0.0761)),
]

# Hidden layers, batch, learning rate. Validation accuracies are reported for some rows, by epochs.
SECOND = list(product([(512, 1024), (700, 512)], [10, 80, 200], [0.1, 0.01, 0.001]))
SECOND_REPORTED = {
    ((512, 1024), 10, 0.1): {10: 98.12},
    ((512, 1024), 200, 0.1): {10: 97.43, 50: 98.12},
    ((700, 512), 80, 0.1): {10: 98.19},
    ((700, 512), 200, 0.1): {10: 97.97},
}

# Dropout of the pixels and of the hidden layers, initial learning rate, momentum, epochs.
OURS = [
    (0.0, 0.0, 0.03, 0.9, 20),
    (0.1, 0.3, 0.03, 0.9, 20),
    (0.1, 0.3, 0.03, 0.9, 40),
    (0.2, 0.4, 0.05, 0.9, 30),
    (0.2, 0.4, 0.3, 0.0, 30),
]

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--quick", action="store_true", help="train on less data")
parser.add_argument("--study", nargs="+", choices=STUDIES, default=STUDIES)
parser.add_argument("--rows", nargs="+", type=int, help="rows of the tables, from 1")
parser.add_argument("--most-epochs", type=int, default=50, help="limit for each run")
parser.add_argument("--data", type=Path, default=None, help="folder of MNIST's files")
options = parser.parse_args()

(x, y), valid, test = fm.datasets.load_mnist(options.data)
if options.quick:
    x, y, valid = x[:500], y[:500], (valid[0][:500], valid[1][:500])
few, many = (1, 2) if options.quick else (min(10, options.most_epochs), options.most_epochs)
results = {study: [] for study in options.study}
began = time.perf_counter()


def rows(study, table):
    """Return the selected rows of the table of a study."""
    chosen = options.rows or range(1, len(table) + 1)
    return [row for n, row in enumerate(table, 1) if n in chosen] if study in results else []


def perceptron(widths, activations=("relu", "relu"), pixels=0.0, hidden=0.0, init="glorot"):
    """Return a perceptron; ``pixels`` and ``hidden`` are dropout rates, and 0 means no dropout."""
    layers = [fm.Dropout(pixels)] if pixels else []
    for width, activation in zip(widths, activations, strict=True):
        layers.append(fm.Dense(width, activation=activation, init=init))
        layers += [fm.Dropout(hidden)] if hidden else []
    return fm.Sequential([*layers, fm.Dense(10)], input_shape=(784,), seed=0)


def train(model, epochs, batch, optimizer, callbacks=()):
    """Train a model; return its history."""
    return model.fit(
        x,
        y,
        epochs=min(epochs, many),
        batch_size=batch,
        optimizer=optimizer,
        validation_data=valid,
        callbacks=callbacks,
    ).history


def both(train, valid):
    """Return accuracies in percent and losses on both sets, for a table."""
    values = train["accuracy"], train["loss"], valid["accuracy"], valid["loss"]
    return "{:6.2%} {:6.4f}  {:6.2%} {:6.4f}".format(*values)


if "first" in results:
    print("\nFirst report: training and validation set here, then the reported values")
for widths, activations, batch, rate, epochs, reported in rows("first", FIRST):
    model = perceptron(widths, activations)
    history = train(model, epochs, batch, fm.SGD(rate))
    result = {
        "settings": [widths, activations, batch, rate, epochs],
        "parameters": model.num_parameters,
        "train": model.evaluate(x, y),
        "valid": model.evaluate(*valid),
        "valid_accuracy_by_epoch": history["val_accuracy"],
        "reported": reported,
        "seconds": sum(history["time"]),
    }
    results["first"].append(result)
    print(
        f"{widths[0]}-{widths[1]}  {' '.join(activations):<15}  batch {batch:>2}  lr {rate:<5}  "
        f"{epochs:>2} epochs  {both(result['train'], result['valid'])}  {reported}  "
        f"{result['seconds']:6.1f} s"
    )

if "second" in results:
    print(f"\nSecond report: validation accuracy after {few} and {many} epochs, and the best")
for widths, batch, rate in rows("second", SECOND):
    # The first epochs of a long run equal a short run: same weights, same order of the data.
    history = train(perceptron(widths), many, batch, fm.SGD(rate))
    accuracy = history["val_accuracy"]
    result = {
        "settings": [widths, batch, rate],
        "valid_accuracy_by_epoch": accuracy,
        "train_accuracy": history["accuracy"][-1],
        "reported": SECOND_REPORTED.get((widths, batch, rate), {}),
        "seconds": sum(history["time"]),
    }
    results["second"].append(result)
    reported = ", ".join(f"{share} after {n}" for n, share in result["reported"].items())
    print(
        f"{widths[0]}-{widths[1]:<4}  batch {batch:>3}  lr {rate:<5}  {accuracy[few - 1]:6.2%}  "
        f"{accuracy[-1]:6.2%}  {max(accuracy):6.2%}  {result['seconds']:6.1f} s  {reported}"
    )


class AfterEveryEpoch(fm.Callback):
    """Evaluate on the training and the validation set, before training and after each epoch."""

    def on_train_begin(self):
        """Evaluate the untrained network."""
        self.rows = []
        self.on_epoch_end(0, {})

    def on_epoch_end(self, epoch, logs):
        """Evaluate the network and print the results."""
        self.rows.append((self.model.evaluate(x, y), self.model.evaluate(*valid)))
        print(f"{epoch:>5}  {both(*self.rows[-1])}")


for widths in rows("runs", [(512, 1024), (700, 512)]):
    print(f"\n784-{widths[0]}-{widths[1]}-10, batch 200, lr 0.1: training and validation set")
    watch = AfterEveryEpoch()
    train(perceptron(widths), few, 200, fm.SGD(0.1), [watch])
    results["runs"].append({"settings": [widths, 200, 0.1], "epochs": watch.rows})

if "ours" in results:
    print("\nOurs, 784-710-610-10, batch 50: accuracy on training and validation set")
best = None
for pixels, hidden, rate, momentum, epochs in rows("ours", OURS):
    model = perceptron((710, 610), pixels=pixels, hidden=hidden, init="he_normal")
    falling = fm.CosineDecay(rate, min(epochs, many), unit="epoch")
    history = train(model, epochs, 50, fm.SGD(falling, momentum=momentum))
    result = {
        "settings": [pixels, hidden, rate, momentum, epochs],
        "train": model.evaluate(x, y),
        "valid": model.evaluate(*valid),
        "seconds": sum(history["time"]),
    }
    results["ours"].append(result)
    if best is None or result["valid"]["accuracy"] > best["valid"]["accuracy"]:
        best, best_model = result, model
    print(
        f"dropout {pixels} {hidden}  cosine from {rate:<4}  momentum {momentum}  {epochs} epochs  "
        f"{both(result['train'], result['valid'])}  {result['seconds']:6.1f} s"
    )
if best:
    best["test"] = best_model.evaluate(*test)
    print(f"the network with the best validation accuracy: {best['test']['accuracy']:.2%} on test")

seconds = time.perf_counter() - began
print(json.dumps({"script": "mnist_mlp", "results": results, "seconds": seconds}))
