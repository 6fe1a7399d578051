"""Compare convolutional networks with a perceptron on MNIST: the error after each epoch.

    python examples/mnist_cnn.py [--quick] [--epochs 10] [--data FOLDER] [--out FOLDER]

The convolutional network is conv 10 @ 3x3, pool 2, conv 25 @ 4x4, pool 3/1, dense 512, dense 10;
the perceptron is 784-512-256-10. Both train with plain SGD and batches of 32, first with the
learning rate 0.01 of the original report, then with 0.1. The last network has the same layers and
is regularised by dropout, weight decay, a decaying learning rate and early stopping on the
validation loss; it may train twice as long. Needs the MNIST files (--data, or FASTMLP_DATA) and,
for the figure, the extra "plot". --quick trains on a fiftieth of the data.
"""

import argparse
import json
import time
from pathlib import Path

import fastmlp as fm

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--quick", action="store_true", help="train on less data")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--data", type=Path, default=None, help="folder of MNIST's files")
parser.add_argument("--out", type=Path, default=Path("."), help="folder for the figure")
options = parser.parse_args()

(x, y), valid, test = fm.datasets.load_mnist(options.data)
epochs = options.epochs
if options.quick:
    epochs, x, y = 2, x[:1000], y[:1000]
    valid, test = ((images[:1000], labels[:1000]) for images, labels in (valid, test))


def perceptron():
    """Return the perceptron."""
    return fm.MLP(784, [512, 256], 10, activation="relu", seed=0)


def convolutional(dropout=0.0):
    """Return the convolutional network, with dropout after the last pool and the dense layer."""
    drop = [fm.Dropout(dropout) for _ in range(2)] if dropout else []
    return fm.Sequential(
        [
            fm.Conv2D(10, 3, activation="relu"),
            fm.MaxPool2D(2),
            fm.Conv2D(25, 4, activation="relu"),
            fm.MaxPool2D(3, strides=1),
            fm.Flatten(),
            *drop[:1],
            fm.Dense(512, activation="relu"),
            *drop[1:],
            fm.Dense(10),
        ],
        input_shape=(28, 28),
        seed=0,
    )


falling = fm.CosineDecay(0.1, 2 * epochs, unit="epoch")
runs = {
    "perceptron, rate 0.01": (perceptron(), epochs, fm.SGD(0.01), []),
    "CNN, rate 0.01": (convolutional(), epochs, fm.SGD(0.01), []),
    "perceptron, rate 0.1": (perceptron(), epochs, fm.SGD(0.1), []),
    "CNN, rate 0.1": (convolutional(), epochs, fm.SGD(0.1), []),
    "CNN, regularised": (
        convolutional(dropout=0.4),
        2 * epochs,
        fm.SGD(falling, weight_decay=1e-5),
        [fm.EarlyStopping(patience=5)],
    ),
}

results = {}
began = time.perf_counter()
for name, (model, most, optimizer, callbacks) in runs.items():
    history = model.fit(
        x,
        y,
        epochs=most,
        batch_size=32,
        optimizer=optimizer,
        validation_data=valid,
        callbacks=callbacks,
    ).history
    result = {
        "parameters": model.num_parameters,
        "train_error": [1 - value for value in history["accuracy"]],
        "valid_error": [1 - value for value in history["val_accuracy"]],
        "final_valid_error": 1 - model.evaluate(*valid)["accuracy"],
        "test_error": 1 - model.evaluate(*test)["accuracy"],
        "seconds": sum(history["time"]),
    }
    results[name] = result
    print(f"{name}: {model.num_parameters} parameters, {result['seconds']:.1f} s")
    print("  error on the validation set after each epoch, in percent:")
    print("  " + " ".join(f"{100 * error:.2f}" for error in result["valid_error"]))
    print(f"  final error {result['final_valid_error']:.2%}, on the test set ", end="")
    print(f"{result['test_error']:.2%}", flush=True)

try:
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator
except ImportError:
    print('no figure: pip install "fastmlp[plot]"')
else:
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    axes = figure.add_subplot()
    colors = ("#9fb8d6", "#f0b48a", "#1f5fa8", "#d9661f", "#2e8b57")
    for color, (name, result) in zip(colors, results.items(), strict=True):
        numbers = range(1, len(result["valid_error"]) + 1)
        percent = [100 * error for error in result["valid_error"]]
        axes.plot(numbers, percent, "o-", color=color, markersize=3.5, label=name)
    axes.set(xlabel="epoch", ylabel="error on the validation set [%]", yscale="log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_yticks([0.5, 1, 2, 5, 10], labels=["0.5", "1", "2", "5", "10"])
    axes.set_yticks([], minor=True)
    axes.set_title("MNIST: error after each epoch", fontsize=10)
    axes.grid(alpha=0.3, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    options.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out / "mnist_cnn.png", dpi=120)
    print(f"figure: {options.out / 'mnist_cnn.png'}")

seconds = time.perf_counter() - began
print(json.dumps({"script": "mnist_cnn", "results": results, "seconds": seconds}))
