"""Fully connected networks on CIFAR-10: overfitting, update rules, dropout, and a full training.

    python examples/cifar_fc.py [--quick] [--epochs 30] [--data FOLDER] [--out FOLDER]

Four studies, with one panel of the figure each: networks of three and five layers memorize 50
images; SGD, momentum, RMSprop and Adam train a network of six layers of width 100; 500 images are
learnt with and without dropout; and a network is trained on all images. Uses CIFAR-10 if its files
are found (--data, or FASTMLP_DATA), otherwise cifar10_subset.npz with 3805 training and 761
validation images. The figure needs the extra "plot". --quick trains for fewer epochs on fewer
images.
"""

import argparse
import json
import time
from pathlib import Path

import fastmlp as fm

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--quick", action="store_true", help="train for fewer epochs on less data")
parser.add_argument("--epochs", type=int, default=30, help="epochs of the last study")
parser.add_argument("--data", type=Path, default=fm.datasets.data_home(), help="folder of files")
parser.add_argument("--out", type=Path, default=Path("."), help="folder for the figure")
options = parser.parse_args()

try:
    (x, y), (x_test, y_test) = fm.datasets.load_cifar10(options.data)
    if options.quick:
        x, y = x[:8000], y[:8000]
    source, x_valid, y_valid = "CIFAR-10", x[-5000:], y[-5000:]
    x, y = x[:-5000], y[:-5000]
except FileNotFoundError:
    source = "the subset of CIFAR-10"
    (x, y), (x_valid, y_valid) = fm.datasets.load_cifar10(options.data / "cifar10_subset.npz")
    x_test, y_test = x_valid, y_valid  # the subset has no test set
mean, deviation = x.mean(axis=0), x.std()
for images in (x, x_valid) if x_test is x_valid else (x, x_valid, x_test):
    images -= mean
    images /= deviation
valid = x_valid, y_valid
print(f"{len(x)} images of {source} to train, {len(x_valid)} to validate")


class EveryStep(fm.Callback):
    """Record the loss of each step."""

    def on_train_begin(self):
        """Start an empty curve."""
        self.losses = []

    def on_batch_end(self, step, logs):
        """Add a point to the curve."""
        self.losses.append(logs["loss"])


def dense(hidden, dropout=0.0):
    """Return a network of relu layers, each followed by dropout."""
    layers = []
    for units in hidden:
        layers += [fm.Dense(units, "relu", init="he_normal"), fm.Dropout(dropout)]
    return fm.Sequential([*layers, fm.Dense(10)], input_shape=32 * 32 * 3, seed=0)


def train(name, model, images, epochs, batch_size, optimizer):
    """Train on the first images; store the curves and print the final values."""
    steps = EveryStep()
    history = model.fit(
        x[:images],
        y[:images],
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        validation_data=valid,
        callbacks=[steps],
    ).history
    curves[name] = history | {"steps": steps.losses}
    results[name] = {
        "train": history["accuracy"][-1],
        "valid": history["val_accuracy"][-1],
        "best_valid": max(history["val_accuracy"]),
        "epochs": epochs,
        "seconds": sum(history["time"]),
    }
    print(
        f"{name:<26}{epochs:6}{results[name]['train']:9.1%}{results[name]['valid']:9.1%}"
        f"{results[name]['best_valid']:9.1%}{results[name]['seconds']:9.1f}"
    )


results, curves = {}, {}
began = time.perf_counter()
print(f"\n{'network':<26}epochs    train    valid     best  seconds")
train("50 images, 3 layers", dense([100] * 2), 50, 20, 25, fm.SGD(0.03))
train("50 images, 5 layers", dense([100] * 4), 50, 20, 25, fm.SGD(0.03))
rules = {
    "sgd": fm.SGD(0.01),
    "momentum": fm.SGD(0.01, momentum=0.9),
    "rmsprop": fm.RMSprop(1e-4),
    "adam": fm.Adam(1e-3),
}
for name, rule in rules.items():
    train(name, dense([100] * 5), 4000, 2 if options.quick else 5, 100, rule)
for name, share in {"500 images, no dropout": 0.0, "500 images, keep 0.25": 0.75}.items():
    train(name, dense([500], share), 500, 25, 100, fm.Adam(5e-4))
model = dense([1024, 512, 256], dropout=0.4)
final = "all, 1024-512-256"
train(final, model, len(x), 2 if options.quick else options.epochs, 100, fm.Adam(3e-4))
if x_test is not x_valid:
    results[final]["test"] = model.evaluate(x_test, y_test)["accuracy"]
    print(f"{final}: {results[final]['test']:.1%} on the test set")

try:
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter
except ImportError:
    print('no figure: pip install "fastmlp[plot]"')
else:
    figure = Figure(figsize=(9, 6.4), layout="constrained")
    panels = figure.subplots(2, 2).ravel()
    names = list(results)
    parts = names[:2], names[2:6], names[6:8], names[8:]
    places = "center right", "upper right", "lower right", "upper left"
    for axes, some, place in zip(panels, parts, places, strict=True):
        for number, name in enumerate(some):
            curve, color = curves[name], f"C{number}"
            if name in rules:
                axes.plot(curve["steps"], color=color, linewidth=1, label=name)
                continue
            numbers = range(1, results[name]["epochs"] + 1)
            axes.plot(numbers, curve["accuracy"], "--", color=color, linewidth=1)
            axes.plot(numbers, curve["val_accuracy"], color=color, label=name)
        axes.set(xlabel="epoch", ylabel="accuracy (dashed: training)", ylim=(0, 1.05))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.grid(alpha=0.3, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc=place)
    panels[1].set(xlabel="step", ylabel="loss of the batch", ylim=(0, 4))
    panels[1].yaxis.set_major_formatter("{x:g}")
    titles = ("memorizing 50 images", "six layers of 100: update rules", "dropout", source)
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, fontsize=10)
    options.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out / "cifar_fc.png", dpi=110)
    print(f"figure: {options.out / 'cifar_fc.png'}")

seconds = time.perf_counter() - began
print(json.dumps({"script": "cifar_fc", "results": results, "seconds": seconds}))
