"""Compare initial weights on MNIST (zeros, N(0, 1), Glorot) by the loss after each epoch.

    python examples/mnist_init.py [--quick] [--epochs 10] [--data FOLDER] [--out FOLDER]

The first network, 784-600-600-10 with ReLU, trains with plain SGD, learning rate 0.01 and batches
of 8. The loss is the mean over the whole training set, before the first epoch and after each epoch.
With zeros, all units of a layer stay equal, only the last bias learns, and the loss stays near
ln 10. The second network, 784-512-1024-10, trains from zeros and Glorot with batches of 200 and
learning rate 0.1, at which N(0, 1) diverges. Needs the MNIST files (--data, or FASTMLP_DATA) and,
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
    epochs, x, y = 3, x[:1000], y[:1000]

COLORS = {"zeros": "#777777", "normal": "#d9661f", "glorot": "#1f5fa8"}
# Hidden layers, batch, learning rate, initial weights.
STUDIES = {
    "600-600": ((600, 600), 8, 0.01, ("zeros", "normal", "glorot")),
    "512-1024": ((512, 1024), 200, 0.1, ("zeros", "glorot")),
}

results = {}
began = time.perf_counter()
for study, (hidden, batch, rate, inits) in STUDIES.items():
    print(f"\n784-{study}-10, batch {batch}, learning rate {rate}")
    print("loss on the training set after epoch")
    print(f"{'weights':<8}" + "".join(f"{epoch:>9}" for epoch in range(epochs + 1)) + "    train")
    results[study] = {}
    for init in inits:
        model = fm.MLP(784, hidden, 10, activation="relu", init=init, seed=0)
        before = model.evaluate(x, y)
        # As validation data, the training set is evaluated after each epoch.
        history = model.fit(
            x,
            y,
            epochs=epochs,
            batch_size=batch,
            optimizer=fm.SGD(rate),
            validation_data=(x, y),
        ).history
        result = {
            "loss": [before["loss"], *history["val_loss"]],
            "train_accuracy": history["val_accuracy"][-1],
            "valid": model.evaluate(*valid),
            "seconds": sum(history["time"]),
        }
        results[study][init] = result
        losses = "".join(f"{loss:9.4f}" for loss in result["loss"])
        print(f"{init:<8}{losses}  {result['train_accuracy']:7.2%}", flush=True)

try:
    from matplotlib.figure import Figure
except ImportError:
    print('no figure: pip install "fastmlp[plot]"')
else:
    figure = Figure(figsize=(9, 4), layout="constrained")
    for number, (study, curves) in enumerate(results.items(), start=1):
        axes = figure.add_subplot(1, len(results), number)
        for init, result in curves.items():
            numbers = range(epochs + 1)
            axes.plot(numbers, result["loss"], "o-", color=COLORS[init], markersize=4, label=init)
        _, batch, rate, _ = STUDIES[study]
        axes.set_title(f"784-{study}-10, batch {batch}, learning rate {rate}", fontsize=10)
        axes.set(xlabel="epoch", ylabel="loss on the training set", yscale="log", xticks=numbers)
        axes.grid(alpha=0.3, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    options.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out / "mnist_init.png", dpi=120)
    print(f"figure: {options.out / 'mnist_init.png'}")

seconds = time.perf_counter() - began
print(json.dumps({"script": "mnist_init", "results": results, "seconds": seconds}))
