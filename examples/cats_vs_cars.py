"""Cats or cars: networks of tanh units, trained on the squared error for 300 epochs.

    python examples/cats_vs_cars.py [--quick] [--epochs 300] [--data FOLDER] [--out FOLDER]

Labels are -1 and +1. The output is a tanh, and its sign is the predicted class. An epoch has 50
batches of 38 images. The figure shows the mean squared error and the accuracy of each network, on
the training and the test images, and thus when to stop. Needs cats_vs_cars.h5 (--data, or
FASTMLP_DATA), the extra "data" and, for the figure, the extra "plot". --quick trains for a
twentieth of the epochs.
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
parser.add_argument("--quick", action="store_true", help="train for fewer epochs")
parser.add_argument("--epochs", type=int, default=300)
parser.add_argument("--learning-rate", type=float, default=0.35)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--only", help="one of the networks, such as 20")
parser.add_argument("--data", type=Path, default=fm.datasets.data_home(), help="folder of the file")
parser.add_argument("--out", type=Path, default=Path("."), help="folder for the figure")
options = parser.parse_args()
epochs = options.epochs // 20 if options.quick else options.epochs

data = fm.datasets.load_hdf5(options.data / "cats_vs_cars.h5")
x, y = data["trainims"], 2 * data["trainlbls"] - 1
x_test, y_test = data["testims"], 2 * data["testlbls"] - 1


def right(y_true, output):
    """Return the share of outputs with the sign of the label."""
    return float(np.mean((output > 0) == (y_true > 0)))


class AfterEveryEpoch(fm.Callback):
    """Evaluate on the training images after each epoch.

    The values in the history of fit are different: they are measured before each step.
    """

    def on_train_begin(self):
        """Start two empty curves."""
        self.curves = {"loss": [], "right": []}

    def on_epoch_end(self, epoch, logs):
        """Add a point to each curve."""
        for name, value in self.model.evaluate(x, y).items():
            self.curves[name].append(value)


def network(hidden):
    """Return a network of tanh layers; weights and biases are drawn from N(0, 0.02**2)."""
    small = fm.initializers.Normal(0.02)
    layers = [fm.Dense(units, "tanh", init=small, bias_init=small) for units in [*hidden, 1]]
    return fm.Sequential(layers, input_shape=(1024,), scale=1 / 255, seed=options.seed)


# The gradient of the reported squared error is (output - label). The gradient of "mse" is twice as
# large, so half the learning rate makes the same step.
rate = options.learning_rate / 2
studies = {
    "4": ([4], fm.SGD(rate)),
    "20": ([20], fm.SGD(rate)),
    "200": ([200], fm.SGD(rate)),
    "512-64": ([512, 64], fm.SGD(rate)),
    "20, momentum 0.2": ([20], fm.SGD(rate, momentum=0.2)),
    "512-64, momentum 0.2": ([512, 64], fm.SGD(rate, momentum=0.2)),
}
if options.only:
    studies = {options.only: studies[options.only]}
results = {}
began = time.perf_counter()
for name, (hidden, optimizer) in studies.items():
    print(f"hidden units {name}")
    training = AfterEveryEpoch()
    history = (
        network(hidden)
        .fit(
            x,
            y,
            epochs=epochs,
            batch_size=38,
            optimizer=optimizer,
            loss="mse",
            metrics=[right],
            validation_data=(x_test, y_test),
            callbacks=[training],
        )
        .history
    )
    best = int(np.argmax(history["val_right"]))
    results[name] = {
        "train": training.curves["right"][-1],
        "test": history["val_right"][-1],
        "best_test": history["val_right"][best],
        "best_epoch": best + 1,
        "seconds": sum(history["time"]),
        "curves": history | training.curves,
    }

print(f"\n{'hidden units':<22}  train   test   best test  (epoch)  seconds")
for name, result in results.items():
    print(
        f"{name:<22}{result['train']:7.1%}{result['test']:7.1%}{result['best_test']:12.1%}"
        f"  {result['best_epoch']:7}{result['seconds']:9.1f}"
    )

try:
    from matplotlib.figure import Figure
except ImportError:
    print('no figure: pip install "fastmlp[plot]"')
else:
    figure = Figure(figsize=(2.6 * len(results), 4.8), layout="constrained")
    panels = figure.subplots(2, len(results), sharex=True, sharey="row", squeeze=False)
    numbers = range(1, epochs + 1)
    for column, (name, result) in zip(panels.T, results.items(), strict=True):
        for axes, metric in zip(column, ("loss", "right"), strict=True):
            axes.plot(numbers, result["curves"][metric], color="#1f5fa8", label="training")
            axes.plot(numbers, result["curves"]["val_" + metric], color="#d9661f", label="test")
            axes.grid(alpha=0.3, linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
        column[0].set_title(f"{name}\nfinal test accuracy {result['test']:.1%}", fontsize=9)
        column[1].set_xlabel("epoch")
    panels[0, 0].set(ylabel="mean squared error", ylim=(0, None))
    panels[1, 0].set(ylabel="accuracy")
    panels[0, 0].legend(frameon=False, fontsize=8)
    options.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out / "cats_vs_cars.png", dpi=80)
    print(f"figure: {options.out / 'cats_vs_cars.png'}")

seconds = time.perf_counter() - began
for result in results.values():
    del result["curves"]
print(json.dumps({"script": "cats_vs_cars", "results": results, "seconds": seconds}))
