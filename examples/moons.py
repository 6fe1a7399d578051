"""Decision boundaries: two moons and two blobs, by activation, width and depth.

    python examples/moons.py [--quick] [--passes 20000] [--out FOLDER]

Each step of gradient descent is a pass over all 200 points. Weights start as N(0, 1) / sqrt(fan_in)
and have a small L2 penalty. Prints the training accuracy of each network and draws its prediction
for every point of the plane. The figures need the extra "plot". --quick does a twentieth of the
passes.
"""

import argparse
import json
import time
from pathlib import Path

import fastmlp as fm

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--quick", action="store_true", help="do fewer passes")
parser.add_argument("--passes", type=int, default=20_000)
parser.add_argument("--learning-rate", type=float, default=2.0, help="with one hidden layer")
parser.add_argument("--out", type=Path, default=Path("."), help="folder for the figures")
options = parser.parse_args()
passes = options.passes // 20 if options.quick else options.passes

moons = fm.datasets.make_moons(200, noise=0.2, seed=0)
blobs = fm.datasets.make_blobs(200, noise=2.5, seed=0)
# The original step is 0.01 along the sum of 200 gradients, with a penalty of 0.01 / 2 per sum. It
# equals a step of 2 along the mean gradient with a penalty 200 times smaller.
penalty = 0.01 / 2 / 200


def network(width, depth, activation):
    """Return a network of ``depth`` hidden layers of one width."""
    settings = {"init": "lecun_normal", "l2": penalty}
    hidden = [fm.Dense(width, activation, **settings) for _ in range(depth)]
    return fm.Sequential([*hidden, fm.Dense(2, **settings)], input_shape=2, seed=0)


# Figure: data, and the networks as (width, hidden layers, activation).
figures = {
    "moons_shallow": (
        moons,
        [(3, 1, "sigmoid"), (3, 1, "relu"), *((width, 1, "tanh") for width in (3, 5, 10, 15, 20))],
    ),
    "moons_deep": (
        moons,
        [(w, depth, "tanh") for w, depth in ((3, 3), (3, 5), (5, 5), (5, 10), (10, 3), (10, 5))],
    ),
    "blobs": (blobs, [(w, depth, "tanh") for w, depth in ((3, 3), (3, 5), (5, 3), (5, 5))]),
}
results, models = {}, {}
began = time.perf_counter()
print("figure         width  hidden layers  activation    loss  accuracy  seconds")
for figure_name, ((x, y), networks) in figures.items():
    for width, depth, activation in networks:
        model = network(width, depth, activation)
        # A step of 2 is too large for several layers.
        rate = options.learning_rate if depth == 1 else options.learning_rate / 4
        start = time.perf_counter()
        model.fit(x, y, passes, batch_size=len(x), optimizer=fm.SGD(rate), shuffle=False)
        measured = model.evaluate(x, y) | {"seconds": time.perf_counter() - start}
        name = f"{figure_name} {width}x{depth} {activation}"
        results[name], models[name] = measured, model
        print(
            f"{figure_name:<15}{width:5}{depth:15}  {activation:<10}{measured['loss']:8.4f}"
            f"{measured['accuracy']:10.1%}{measured['seconds']:9.2f}"
        )

try:
    from matplotlib.figure import Figure
except ImportError:
    print('no figures: pip install "fastmlp[plot]"')
else:
    options.out.mkdir(parents=True, exist_ok=True)
    for figure_name, ((x, y), networks) in figures.items():
        columns = 4 if len(networks) in (4, 7) else 3
        rows = -(-len(networks) // columns)
        figure = Figure(figsize=(2.9 * columns, 2.6 * rows), layout="constrained")
        for number, (width, depth, activation) in enumerate(networks, start=1):
            axes = figure.add_subplot(rows, columns, number)
            name = f"{figure_name} {width}x{depth} {activation}"
            fm.plot.decision_boundary(models[name], x, y, ax=axes)
            layers = "1 layer" if depth == 1 else f"{depth} layers"
            share = results[name]["accuracy"]
            axes.set_title(f"{activation}, {layers} of {width}: {share:.1%}", fontsize=9)
            axes.set(xlabel="", ylabel="")
            axes.get_legend().remove()
        figure.savefig(options.out / f"{figure_name}.png", dpi=80)
        print(f"figure: {options.out / figure_name}.png")

seconds = time.perf_counter() - began
print(json.dumps({"script": "moons", "results": results, "seconds": seconds}))
