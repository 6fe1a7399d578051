"""Time one epoch of the networks of examples/ in fastmlp and in PyTorch; print the ratio.

    python benchmarks/beside_torch.py [--torch PYTHON] [--threads 2] [--turns 3] [STUDY ...]

Each library runs in a separate process with the same number of threads. The processes train in
alternation, so that other load on the machine affects both. On a shared machine use --threads 1,
because threads that wait for each other lose most there. The data are random, as only the shapes
matter. PYTHON is an interpreter with PyTorch, by default the interpreter that runs fastmlp.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import numpy as np

# samples, features (or an image), hidden units, outputs, activation, batch, optimizer, rate
STUDIES = {
    "cats and cars 20": (1900, 1024, [20], 1, "tanh", 38, "sgd", 0.0),
    "cats and cars 200": (1900, 1024, [200], 1, "tanh", 38, "sgd", 0.0),
    "cats and cars 512-64": (1900, 1024, [512, 64], 1, "tanh", 38, "sgd", 0.0),
    "fourth word sum 8-64": (10000, "sum", [8, 64], 250, "sigmoid", 250, "momentum", 0.0),
    "fourth word sum 32-256": (10000, "sum", [32, 256], 250, "sigmoid", 250, "momentum", 0.0),
    "fourth word concat 32-256": (10000, "concat", [32, 256], 250, "sigmoid", 250, "momentum", 0.0),
    "cifar six layers of 100, momentum": (3805, 3072, [100] * 5, 10, "relu", 100, "momentum", 0.0),
    "cifar six layers of 100, adam": (3805, 3072, [100] * 5, 10, "relu", 100, "adam", 0.0),
    "cifar 500, keep 0.25": (500, 3072, [500], 10, "relu", 100, "adam", 0.75),
    "cifar 1024-512-256": (3805, 3072, [1024, 512, 256], 10, "relu", 100, "adam", 0.4),
    "moons tanh 3, 500 passes": (200, 2, [3], 2, "tanh", 200, "sgd", 0.0),
    "moons tanh 10x5, 500 passes": (200, 2, [10] * 5, 2, "tanh", 200, "sgd", 0.0),
    "watched CNN, 20 steps": (1000, (28, 28, 1), [], 10, "relu", 50, "adam", 0.5),
}


def data(study):
    n, inputs, _, outputs, *_ = STUDIES[study]
    rng = np.random.default_rng(0)
    if isinstance(inputs, str):
        return rng.integers(0, 250, (n, 3)), rng.integers(0, outputs, n)
    shape = inputs if isinstance(inputs, tuple) else (inputs,)
    x = rng.random((n, *shape), np.float32)
    y = rng.integers(0, outputs, n) if outputs > 1 else rng.choice([-1.0, 1.0], n)
    return x, y if outputs > 1 else y.astype(np.float32)


def passes_of(study):
    return 500 if "passes" in study else 1


def fastmlp_epoch(study, threads):
    import fastmlp as fm

    fm.set_num_threads(threads)
    _, inputs, hidden, outputs, activation, batch, rule, rate = STUDIES[study]
    x, y = data(study)
    layers = []
    if isinstance(inputs, tuple):
        for filters in (32, 64):
            layers += [fm.Conv2D(filters, 5, padding="same", activation="relu"), fm.MaxPool2D(2)]
        hidden, layers = [1024], [*layers, fm.Flatten()]
    elif isinstance(inputs, str):
        layers, hidden = [fm.Embedding(250, hidden[0], combine=inputs)], hidden[1:]
    for units in hidden:
        layers += [fm.Dense(units, activation), fm.Dropout(rate)]
    last = "tanh" if outputs == 1 else "linear"
    shape = (3,) if isinstance(inputs, str) else inputs
    model = fm.Sequential([*layers, fm.Dense(outputs, last)], input_shape=shape)
    optimizer = {
        "sgd": fm.SGD(0.01),
        "momentum": fm.SGD(0.01, momentum=0.9),
        "adam": fm.Adam(1e-3),
    }[rule]
    settings = {
        "epochs": passes_of(study),
        "batch_size": batch,
        "optimizer": optimizer,
        "loss": "mse" if outputs == 1 else "cross_entropy",
        "shuffle": passes_of(study) == 1,
        "verbose": 0,
    }
    return lambda: model.fit(x, y, **settings)


def torch_epoch(study, threads):
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    _, inputs, hidden, outputs, activation, batch, rule, rate = STUDIES[study]
    x, y = map(torch.from_numpy, data(study))
    kinds = {"tanh": nn.Tanh, "relu": nn.ReLU, "sigmoid": nn.Sigmoid}
    layers, fan_in = [], inputs
    if isinstance(inputs, tuple):
        x, channels = x.permute(0, 3, 1, 2).contiguous(), 1
        for filters in (32, 64):
            layers += [nn.Conv2d(channels, filters, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
            channels = filters
        hidden, fan_in, layers = [1024], 3136, [*layers, nn.Flatten()]
    elif inputs == "sum":
        layers, fan_in, hidden = (
            [nn.EmbeddingBag(250, hidden[0], mode="sum")],
            hidden[0],
            hidden[1:],
        )
    elif inputs == "concat":
        layers = [nn.Embedding(250, hidden[0]), nn.Flatten()]
        fan_in, hidden = 3 * hidden[0], hidden[1:]
    for units in hidden:
        layers += [nn.Linear(fan_in, units), kinds[activation](), nn.Dropout(rate)]
        fan_in = units
    layers.append(nn.Linear(fan_in, outputs))
    if outputs == 1:
        layers += [nn.Tanh(), nn.Flatten(0)]
    model = nn.Sequential(*(layer for layer in layers if getattr(layer, "p", 1)))
    loss = nn.MSELoss() if outputs == 1 else nn.CrossEntropyLoss()
    parameters = model.parameters()
    optimizer = {
        "sgd": lambda: torch.optim.SGD(parameters, 0.01),
        "momentum": lambda: torch.optim.SGD(parameters, 0.01, momentum=0.9),
        "adam": lambda: torch.optim.Adam(parameters, 1e-3),
    }[rule]()

    def epoch():
        for _ in range(passes_of(study)):
            whole = batch >= len(x)
            for rows in [slice(None)] if whole else torch.randperm(len(x)).split(batch):
                optimizer.zero_grad()
                loss(model(x[rows]), y[rows]).backward()
                optimizer.step()

    return epoch


def worker(library, threads):
    """Read names of studies, one per line; print the seconds of an epoch for each."""
    epochs = {}
    make = {"fastmlp": fastmlp_epoch, "torch": torch_epoch}[library]
    for line in sys.stdin:
        study = line.strip()
        if study not in epochs:
            epochs[study] = make(study, threads)
            epochs[study]()  # warm up
        began = time.perf_counter()
        epochs[study]()
        print(time.perf_counter() - began, flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("studies", nargs="*", metavar="STUDY", default=list(STUDIES))
    parser.add_argument("--torch", default=sys.executable, metavar="PYTHON")
    parser.add_argument("--threads", type=int, default=2, help="threads of each library")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--worker", choices=["fastmlp", "torch"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, options.threads)
        return
    workers = {
        library: subprocess.Popen(
            [python, __file__, "--worker", library, "--threads", str(options.threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for library, python in (("fastmlp", sys.executable), ("torch", options.torch))
    }
    results = {}
    print(f"{'':<36}  fastmlp  PyTorch  times as fast")
    for study in options.studies:
        seconds = {library: [] for library in workers}
        for _ in range(options.turns):
            for library, process in workers.items():
                process.stdin.write(study + "\n")
                process.stdin.flush()
                seconds[library].append(float(process.stdout.readline()))
        pairs = zip(seconds["torch"], seconds["fastmlp"], strict=True)
        ratio = statistics.median(a / b for a, b in pairs)
        ours, theirs = (statistics.median(seconds[library]) for library in workers)
        results[study] = {"fastmlp": ours, "torch": theirs, "ratio": ratio}
        print(f"{study:<36}{ours:9.4f}{theirs:9.4f}{ratio:15.1f}", flush=True)
    for process in workers.values():
        process.stdin.close()
        process.wait()
    print(json.dumps({"script": "beside_torch", "results": results}))


if __name__ == "__main__":
    main()
