"""Time a complete training step in float32 on one thread: plans against pure numpy.

    python benchmarks/step.py [--rounds 5]

Both sides run ``fit`` of the same model: as a compiled plan, or layer by layer on
fastmlp.reference, which is efficient numpy with in-place operations. For other frameworks see
peers.py.
"""

from __future__ import annotations

import numpy as np
from turns import best_and_median, compare

SECONDS = 0.3  # duration of each case

CASES = {
    f"{'-'.join(map(str, sizes))} batch {batch}": (sizes, batch)
    for sizes, batches in (
        ((784, 512, 256, 10), (8, 32, 200)),
        ((784, 710, 610, 10), (8,)),
        ((784, 512, 1024, 10), (200,)),
        ((64, 64, 10), (32,)),
    )
    for batch in batches
}


def side(backend: str) -> dict[str, list[float]]:
    """Time the steps on one backend, as the time of complete epochs divided by their steps."""
    import fastmlp as fm

    times = {}
    rng = np.random.default_rng(0)
    for case, (sizes, batch) in CASES.items():
        model = fm.MLP(sizes[0], list(sizes[1:-1]), sizes[-1])
        model.backend = backend
        x = rng.random((20 * batch, sizes[0]), dtype=np.float32)
        y = rng.integers(0, sizes[-1], len(x))
        model.fit(x, y, epochs=2, batch_size=batch, optimizer=fm.SGD(0.001))
        spent, epochs = 0.0, []
        while spent < SECONDS:
            history = model.fit(x, y, epochs=5, batch_size=batch)
            epochs += history.history["time"]
            spent += sum(history.history["time"])
        times[case] = [seconds / 20 for seconds in epochs]
    return times


def report(times: dict[str, dict[str, list[float]]]) -> None:
    """Print the table."""
    print(f"{'step, microseconds (minimum)':<32}{'numpy':>8}{'kernels':>9}"
          f"{'ratio min':>11}{'median':>8}")  # fmt: skip
    for case, sides in times.items():
        numpy_best, numpy_median = best_and_median(sides["numpy"])
        best, median = best_and_median(sides["kernels"])
        print(
            f"{case:<32}{numpy_best * 1e6:>8.1f}{best * 1e6:>9.1f}"
            f"{numpy_best / best:>11.2f}{numpy_median / median:>8.2f}"
        )


if __name__ == "__main__":
    compare(__file__, __doc__.splitlines()[0], side, report)
