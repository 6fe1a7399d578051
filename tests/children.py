"""Train in the parent and in children started in every way; run by tests and by a benchmark.

    python tests/children.py fork|spawn|forkserver|fork-while-training|loky|multiprocessing|threading
        [--children 3] [--timeout 20]

Prints a line of JSON: children that gave the parent's bits, that gave others, and that hung.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import threading
import time
import warnings
from typing import Any

import numpy as np

import fastmlp as fm

METHODS = ("fork", "spawn", "forkserver", "fork-while-training")
BACKENDS = ("loky", "multiprocessing", "threading")


def train(_: object = None) -> str:
    """Train a network that two threads share, and return the hash of its weights."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((600, 60), dtype="float32")
    model = fm.MLP(60, [120, 40], 10, activation="tanh")
    model.fit(x, np.arange(600) % 10, epochs=3, batch_size=100, optimizer="adam", verbose=0)
    result = hashlib.sha256()
    for value in (*model.parameters.values(), model.predict(x)):
        result.update(np.ascontiguousarray(value).tobytes())
    return result.hexdigest()


def child(pipe: Any, threads: int | None) -> None:
    """Train twice in a child: the second time with the number of threads given."""
    first = train()
    fm.set_num_threads(threads)
    second = train()
    pipe.send(first if first == second else f"{first} and then {second}")
    pipe.close()


def with_multiprocessing(method: str, children: int, timeout: float, expected: str) -> Any:
    context = multiprocessing.get_context(method.partition("-")[0])
    stop, others = threading.Event(), []

    def background() -> None:
        while not stop.is_set():
            others.append(train())

    trainers = [threading.Thread(target=background) for _ in range(2)]
    if method == "fork-while-training":
        for trainer in trainers:
            trainer.start()
    right, wrong, hangs = 0, [], 0
    for index in range(children):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=child, args=(sender, (None, 1, 2)[index % 3]))
        process.start()
        sender.close()
        if not receiver.poll(timeout):
            hangs += 1
            process.kill()
            process.join()
            continue
        try:
            got = receiver.recv()
        except EOFError:
            process.join()
            got = f"exit status {process.exitcode}"
        process.join(timeout)
        if process.exitcode is None:
            hangs += 1
            process.kill()
        elif got == expected and process.exitcode == 0:
            right += 1
        else:
            wrong.append(got)
    stop.set()
    if method == "fork-while-training":
        for trainer in trainers:
            trainer.join()
        wrong += [got for got in others if got != expected]
    return right, wrong, hangs


def with_joblib(backend: str, children: int, timeout: float, expected: str) -> Any:
    import joblib

    run = joblib.Parallel(n_jobs=2, backend=backend, timeout=timeout * children)
    try:
        results = run(joblib.delayed(train)(i) for i in range(children))
    except multiprocessing.TimeoutError:
        return 0, [], children
    return results.count(expected), [r for r in results if r != expected], 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("method", choices=METHODS + BACKENDS)
    parser.add_argument("--children", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=20.0)
    arguments = parser.parse_args()
    began = time.perf_counter()
    warnings.simplefilter("ignore", DeprecationWarning)  # of fork beside threads
    expected = train()
    run = with_joblib if arguments.method in BACKENDS else with_multiprocessing
    right, wrong, hangs = run(arguments.method, arguments.children, arguments.timeout, expected)
    wrong += [expected] * (train() != expected)  # and the parent goes on
    seconds = round(time.perf_counter() - began, 2)
    print(json.dumps({"right": right, "wrong": wrong, "hangs": hangs, "seconds": seconds}))
    return int(bool(wrong or hangs))


if __name__ == "__main__":
    raise SystemExit(main())
