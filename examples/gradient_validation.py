"""Compare backpropagated gradients with central differences, for several step sizes.

    python examples/gradient_validation.py [--quick] [--data FOLDER] [--out FOLDER]

A network 784-512-256-10 in float64 gets one image of MNIST. Ten weights of the second layer are
changed by +1/N and -1/N, for several N. With sigmoid these are the first ten weights. With relu
they are random, because the first ten belong to a unit that is zero for this image. The error of
large steps comes from the curvature of the loss, the error of small steps from rounding; the best N
lies between. Needs the MNIST files (--data, or FASTMLP_DATA) and, for the figure, the extra "plot".
"""

import argparse
import json
import time
from pathlib import Path

import fastmlp as fm

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--quick", action="store_true", help="use fewer N")
parser.add_argument("--data", type=Path, default=None, help="folder of MNIST's files")
parser.add_argument("--out", type=Path, default=Path("."), help="folder for the figure")
options = parser.parse_args()

REPORTED = {5: 2.6e-8, 10: 6.5e-9, 500: 7.6e-12, 10_000: 1.0e-11, 100_000: 1.0e-11}

(x, y), _, _ = fm.datasets.load_mnist(options.data)
steps = [k * 10**i for i in range(4 if options.quick else 6) for k in (1, 5)]

results, curves = {}, {}
began = time.perf_counter()
for activation, elements in {"sigmoid": "first", "relu": "random"}.items():
    model = fm.MLP(784, [512, 256], 10, activation=activation, dtype="float64", seed=0)
    curve = fm.gradcheck(model, x[:1], y[:1], layer="dense_1", n=steps, elements=elements)
    print(f"\n{activation}: {curve}")
    results[activation] = {"n": curve.n, "errors": curve.errors, "best": curve.best}
    curves[activation] = curve
results["reported"] = REPORTED

try:
    from matplotlib.figure import Figure
except ImportError:
    print('no figure: pip install "fastmlp[plot]"')
else:
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for (name, curve), color in zip(curves.items(), ("#1f5fa8", "#2e8b57"), strict=True):
        axes.loglog(curve.n, curve.errors, "o-", color=color, markersize=4, label=name)
    axes.loglog(list(REPORTED), list(REPORTED.values()), "x--", color="#777777", label="reported")
    axes.axhline(1e-10, color="#d9661f", linewidth=0.8, label="1e-10, the required accuracy")
    axes.set(xlabel="N, the step is 1/N", ylabel="largest difference of ten gradients")
    axes.set_title("Backpropagation against central differences", fontsize=10)
    axes.grid(alpha=0.3, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)
    options.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out / "gradient_validation.png", dpi=120)
    print(f"figure: {options.out / 'gradient_validation.png'}")

seconds = time.perf_counter() - began
print(json.dumps({"script": "gradient_validation", "results": results, "seconds": seconds}))
