"""A convolutional network beside a multilayer perceptron on MNIST: the error after each epoch.

    python examples/mnist_cnn.py [--quick] [--epochs 10] [--data FOLDER] [--out FOLDER]

The network is conv 10 @ 3x3, pool 2, conv 25 @ 4x4, pool 3/1, dense 512, dense 10; the perceptron
784-512-256-10. Both learn with plain SGD, batches of 32. Needs MNIST's files (--data, or
FASTMLP_DATA) and, for the figure, the extra "plot". --quick trains on a twentieth of the data.
"""

import argparse
import json
import time
from pathlib import Path

import fastmlp as fm

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--quick", action="store_true", help="the same on less data")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--learning-rate", type=float, default=0.1)
parser.add_argument("--data", type=Path, default=None, help="folder of MNIST's files")
parser.add_argument("--out", type=Path, default=Path("."), help="folder for the figure")
options = parser.parse_args()

(x, y), valid, test = fm.datasets.load_mnist(options.data)
epochs = options.epochs
if options.quick:
    epochs, x, y = 3, x[:2500], y[:2500]

networks = {
    "perceptron 784-512-256-10": fm.MLP(784, [512, 256], 10, activation="relu", seed=0),
    "convolutional network": fm.Sequential(
        [
            fm.Conv2D(10, 3, activation="relu"),
            fm.MaxPool2D(2),
            fm.Conv2D(25, 4, activation="relu"),
            fm.MaxPool2D(3, strides=1),
            fm.Flatten(),
            fm.Dense(512, activation="relu"),
            fm.Dense(10),
        ],
        input_shape=(28, 28),
        seed=0,
    ),
}

results = {}
began = time.perf_counter()
for name, model in networks.items():
    print(f"{name}: {model.num_parameters} parameters")
    history = model.fit(
        x,
        y,
        epochs=epochs,
        batch_size=32,
        optimizer=fm.SGD(options.learning_rate),
        validation_data=valid,
    ).history
    results[name] = {
        "train_error": [1 - value for value in history["accuracy"]],
        "valid_error": [1 - value for value in history["val_accuracy"]],
        "test_error": 1 - model.evaluate(*test)["accuracy"],
        "seconds": sum(history["time"]),
    }

print(f"\n{'error on the validation set':<28}" + "".join(f"{e + 1:>7}" for e in range(epochs)))
for name, result in results.items():
    print(f"{name:<28}" + "".join(f"{error:7.2%}" for error in result["valid_error"]))
for name, result in results.items():
    print(f"{name}: {result['test_error']:.2%} on the test set, {result['seconds']:.1f} s")

try:
    from matplotlib.figure import Figure
except ImportError:
    print('no figure: pip install "fastmlp[plot]"')
else:
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for color, (name, result) in zip(("#1f5fa8", "#d9661f"), results.items(), strict=True):
        numbers = range(1, epochs + 1)
        percent = [100 * error for error in result["valid_error"]]
        axes.plot(numbers, percent, "o-", color=color, markersize=4, label=f"{name}, validation")
        percent = [100 * error for error in result["train_error"]]
        axes.plot(numbers, percent, "--", color=color, linewidth=1, label=f"{name}, training")
    axes.set(xlabel="epoch", ylabel="error [%]", ylim=(0, None), xticks=numbers)
    axes.set_title("MNIST: misclassified after each epoch", fontsize=10)
    axes.grid(alpha=0.3, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    options.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out / "mnist_cnn.png", dpi=150)
    print(f"figure: {options.out / 'mnist_cnn.png'}")

seconds = time.perf_counter() - began
print(json.dumps({"script": "mnist_cnn", "results": results, "seconds": seconds}))
