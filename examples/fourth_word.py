"""Predict the fourth word of a sequence from the first three, with learnt word embeddings.

    python examples/fourth_word.py [--quick] [--epochs 50] [--data FOLDER] [--out FOLDER]

Each of the three words selects a row of a table. The rows are summed, which loses their order, or
concatenated. A layer of sigmoid units and a softmax over the 250 words follow. Training stops when
the cross-entropy on the validation set has not improved for 3 epochs. Needs trigrams.h5 (--data, or
FASTMLP_DATA), the extra "data" and, for the figure, the extra "plot". --quick trains the smallest
network of each kind on a tenth of the data.
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
parser.add_argument("--quick", action="store_true", help="train small networks on less data")
parser.add_argument("--epochs", type=int, default=50)
parser.add_argument("--learning-rate", type=float, default=0.15)
parser.add_argument("--data", type=Path, default=fm.datasets.data_home(), help="folder of the file")
parser.add_argument("--out", type=Path, default=Path("."), help="folder for the figure")
options = parser.parse_args()

data = fm.datasets.load_hdf5(options.data / "trigrams.h5")
words = [word.decode() for word in data["words"]]
# The file numbers words from 1.
(x, y), valid, test = (
    (data[f"{part}x"] - 1, data[f"{part}d"] - 1) for part in ("train", "val", "test")
)
epochs, sizes = options.epochs, [(8, 64), (16, 128), (32, 256)]
if options.quick:
    epochs, sizes, x, y = 12, sizes[:1], x[:37250], y[:37250]


def network(combine, dim, units):
    """Return the network; its weights are drawn from N(0, 0.01**2)."""
    small = fm.initializers.Normal(0.01)
    layers = [
        fm.Embedding(len(words), dim, combine=combine, init=small),
        fm.Dense(units, "sigmoid", init=small),
        fm.Dense(len(words), init=small),
    ]
    return fm.Sequential(layers, input_shape=(3,), seed=0)


results, models = {}, {}
began = time.perf_counter()
for combine in ("sum", "concat"):
    for dim, units in sizes:
        name = f"{combine} {dim}-{units}"
        model = models[name] = network(combine, dim, units)
        print(f"{name}: {model.num_parameters} parameters")
        stopping = fm.EarlyStopping("val_loss", patience=3)
        history = model.fit(
            x,
            y,
            epochs=epochs,
            batch_size=250,
            optimizer=fm.SGD(options.learning_rate, momentum=0.85),
            validation_data=valid,
            callbacks=[stopping],
        ).history
        results[name] = {
            "epochs": len(history["loss"]),
            "best_epoch": stopping.best_epoch,
            "valid_loss": stopping.best,
            "valid_accuracy": model.evaluate(*valid)["accuracy"],
            "test_accuracy": model.evaluate(*test)["accuracy"],
            "seconds": sum(history["time"]),
            "curve": history["val_loss"],
        }

print(f"\n{'network':<16}  valid loss  valid accuracy  test accuracy  epochs  seconds")
for name, result in results.items():
    print(
        f"{name:<16}{result['valid_loss']:12.4f}{result['valid_accuracy']:16.2%}"
        f"{result['test_accuracy']:15.2%}{result['epochs']:8}{result['seconds']:9.1f}"
    )

best = min(results, key=lambda name: results[name]["valid_loss"])
print(f"\nFive test samples and the ten most probable words ({best}):")
x_test, y_test = test
probabilities = models[best].predict_proba(x_test[:5])
cases = []
for three, true, p in zip(x_test[:5], y_test[:5], probabilities, strict=True):
    likely = np.argsort(-p)[:10]
    start, guesses = " ".join(words[i] for i in three), [words[i] for i in likely]
    cases.append({"words": start, "true": words[true], "guesses": guesses})
    print(f"{start} [{words[true]}]: " + ", ".join(f"{words[i]} {p[i]:.0%}" for i in likely))

try:
    from matplotlib.figure import Figure
except ImportError:
    print('no figure: pip install "fastmlp[plot]"')
else:
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for index, (name, result) in enumerate(results.items()):
        style = {"color": f"C{index % len(sizes)}", "linestyle": "--" if "sum" in name else "-"}
        numbers = range(1, result["epochs"] + 1)
        label = f"{name}: {result['valid_accuracy']:.1%}"
        axes.plot(numbers, result["curve"], **style, label=label)
    axes.set(xlabel="epoch", ylabel="cross-entropy, validation")
    axes.set_title("Fourth word: embedding-units, and the validation accuracy", fontsize=10)
    axes.grid(alpha=0.3, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    options.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out / "fourth_word.png", dpi=150)
    print(f"figure: {options.out / 'fourth_word.png'}")

seconds = time.perf_counter() - began
for result in results.values():
    del result["curve"]
results["cases"] = cases
print(json.dumps({"script": "fourth_word", "results": results, "seconds": seconds}))
