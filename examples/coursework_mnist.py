"""The class NN of a course on fastmlp's kernels and on plain numpy, and known values of a course.

    python examples/coursework_mnist.py [--quick] [--epochs 10] [--data FOLDER] [--out FOLDER]

Trains the graded class of coursework/nn.py, 784-512-256-10, on MNIST: Glorot, ReLU, batches of 32
in the order of the file. Also times the same class on ``fastmlp.reference``, which is plain numpy.
Needs the MNIST files (--data, or FASTMLP_DATA) and, for the figure, the extra "plot". --quick
trains on a tenth of the data.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from coursework import layers, optim
from coursework.fc_net import TwoLayerNet
from coursework.nn import NN

import fastmlp as fm

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--quick", action="store_true", help="train on less data")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--learning-rate", type=float, default=0.1)
parser.add_argument("--data", type=Path, default=None, help="folder of MNIST's files")
parser.add_argument("--out", type=Path, default=Path("."), help="folder for the figure")
options = parser.parse_args()
began = time.perf_counter()


class PlainNN(NN):
    """The same class on numpy."""

    operations = fm.reference


def known_values():
    """Return values given in the CS231n assignment, each with the value computed here."""
    np.random.seed(231)  # the seed of the notebook
    scores, labels = 0.001 * np.random.randn(50, 10), np.random.randint(10, size=50)
    net = TwoLayerNet(5, 50, 7)
    ends_of = {"W1": (-0.7, 0.3), "b1": (-0.1, 0.9), "W2": (-0.3, 0.4), "b2": (-0.9, 0.1)}
    for name, ends in ends_of.items():
        shape = net.params[name].shape
        net.params[name] = np.linspace(*ends, num=np.prod(shape)).reshape(shape)
    x = np.linspace(-5.5, 4.5, num=15).reshape(5, 3).T
    y = np.array([0, 5, 1])
    loss = net.loss(x, y)[0]
    net.reg = 1.0
    weight, gradient, velocity = (
        np.linspace(*ends, num=20).reshape(4, 5) for ends in ((-0.4, 0.6), (-0.6, 0.4), (0.6, 0.9))
    )
    config = {"learning_rate": 1e-3, "velocity": velocity}
    moved, config = optim.sgd_momentum(weight, gradient, config)
    return {
        "svm_loss": (8.9996, layers.svm_loss(scores, labels)[0]),
        "softmax_loss": (2.302546, layers.softmax_loss(scores, labels)[0]),
        "two-layer loss": (3.4702243556, loss),
        "two-layer loss, reg 1": (26.5948426952, net.loss(x, y)[0]),
        "momentum, first": (0.1406, float(moved[0, 0])),
        "momentum, last": (1.4096, float(moved[3, 4])),
    }


values = known_values()
print(f"{'known values':<24}{'course':>16}{'here':>18}")
for name, (theirs, ours) in values.items():
    print(f"{name:<24}{theirs:16.10g}{ours:18.12g}")

sets = [(x.reshape(len(x), 784), y) for x, y in fm.datasets.load_mnist(options.data)]
epochs = options.epochs
if options.quick:
    epochs, sets[0] = 3, (sets[0][0][:5000], sets[0][1][:5000])

settings = {"batch_size": 32, "lr": options.learning_rate, "seed": 0, "data": sets}
# Time one epoch of each in alternation, so that other load on the machine slows both.
seconds = {"kernels": [], "numpy": []}
for _ in range(2):
    for name, kind in {"kernels": NN, "numpy": PlainNN}.items():
        start = time.perf_counter()
        kind(**settings).train_loop(1)
        seconds[name].append(time.perf_counter() - start)
seconds = {name: min(times) for name, times in seconds.items()}
model = NN(**settings)
logs = model.train_loop(epochs)
test_loss, test_accuracy = model.evaluate()

print(f"\n{'epoch':>5}{'train':>9}{'loss':>9}{'valid':>9}{'loss':>9}")
for number in range(epochs):
    row = [
        logs[f"{part}_{what}"][number]
        for part in ("train", "validation")
        for what in ("accuracy", "loss")
    ]
    print(f"{number + 1:5}{row[0]:9.2%}{row[1]:9.4f}{row[2]:9.2%}{row[3]:9.4f}")
print(f"test set: {test_accuracy:.2%}, loss {test_loss:.4f}")
print(
    f"one epoch with two evaluations: {seconds['kernels']:.2f} s, with numpy "
    f"{seconds['numpy']:.2f} s"
)

try:
    from matplotlib.figure import Figure
except ImportError:
    print('no figure: pip install "fastmlp[plot]"')
else:
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axes = figure.add_subplot()
    numbers = range(1, epochs + 1)
    for part, style in (("train", "--"), ("validation", "o-")):
        percent = [100 * (1 - value) for value in logs[f"{part}_accuracy"]]
        axes.plot(numbers, percent, style, color="#1f5fa8", markersize=4, label=part)
    axes.axhline(3, color="#888888", linewidth=0.8, label="required: 97 % on validation")
    axes.set(xlabel="epoch", ylabel="error [%]", ylim=(0, None), xticks=numbers)
    axes.set_title("The course's NN, 784-512-256-10, on MNIST", fontsize=10)
    axes.grid(alpha=0.3, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    options.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out / "coursework_mnist.png", dpi=150)
    print(f"figure: {options.out / 'coursework_mnist.png'}")

results = {
    "known_values": {name: {"course": a, "here": b} for name, (a, b) in values.items()},
    "logs": logs,
    "test_accuracy": test_accuracy,
    "seconds_of_an_epoch": seconds,
}
print(
    json.dumps(
        {
            "script": "coursework_mnist",
            "results": results,
            "seconds": time.perf_counter() - began,
        }
    )
)
