"""Time float32 matrix products on one thread: against numpy, and as a share of the FMA peak.

    python benchmarks/products.py [--rounds 5]

The peak is measured by a loop of multiply-adds on registers, in the same process as the kernels.
"""

from __future__ import annotations

import numpy as np
from turns import best_and_median, compare, measure

# form, rows, columns, summed: X W, X^T dY and dY W^T of a layer 784 -> 512, and squares.
CASES = [
    (form, *sizes)
    for batch in (8, 32, 200)
    for form, sizes in (
        ("X W", (batch, 512, 784)),
        ("X^T dY", (784, 512, batch)),
        ("dY W^T", (batch, 784, 512)),
    )
] + [("X W", n, n, n) for n in (64, 512, 1024)]


def aligned(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return random numbers in an array that starts on a cache line, like the arrays of a model."""
    from fastmlp._arrays import empty

    result = empty(shape, np.dtype(np.float32))
    result[...] = rng.standard_normal(shape)
    return result


def side(name: str) -> dict[str, list[float]]:
    """Time every case with numpy or the kernels; the process of the kernels also times the peak."""
    rng = np.random.default_rng(0)
    times: dict[str, list[float]] = {}
    if name == "kernels":
        from fastmlp import kernels
        from fastmlp._compiled import elementwise

        rounds = 200_000
        peak = elementwise.multiply_adds["float"]
        _, lanes = peak(rounds, 0.0)
        flop = 24 * rounds * lanes
    for form, m, n, k in CASES:
        a = aligned((k, m) if form == "X^T dY" else (m, k), rng)
        b = aligned((n, k) if form == "dY W^T" else (k, n), rng)
        out = aligned((m, n), rng)
        if name == "kernels":
            flags = {"transpose_a": form == "X^T dY", "transpose_b": form == "dY W^T"}

            def call(a=a, b=b, out=out, flags=flags) -> object:
                return kernels.matmul(a, b, out=out, **flags)

            times.setdefault("peak", []).extend(
                seconds / flop for seconds in measure(lambda: peak(rounds, 0.0), 0.01, 3)
            )
        else:
            left = a.T if form == "X^T dY" else a
            right = b.T if form == "dY W^T" else b

            def call(a=left, b=right, out=out) -> object:
                return np.matmul(a, b, out=out)

        times[f"{form:<7} {m} x {n} x {k}"] = measure(call)
    return times


def report(times: dict[str, dict[str, list[float]]]) -> None:
    """Print the table."""
    peak = 1 / min(times.pop("peak")["kernels"])
    print(f"FMA peak of one thread, float32: {peak / 1e9:.1f} GFLOP/s")
    print(f"{'product':<24}{'numpy':>8}{'kernels':>9}  GFLOP/s  {'share of peak':>14}"
          f"{'ratio min':>11}{'median':>8}")  # fmt: skip
    for case, sides in times.items():
        m, n, k = (int(size) for size in case[7:].split(" x "))
        numpy_best, numpy_median = best_and_median(sides["numpy"])
        best, median = best_and_median(sides["kernels"])
        flop = 2 * m * n * k
        print(
            f"{case:<24}{flop / numpy_best / 1e9:>8.1f}{flop / best / 1e9:>9.1f}"
            f"{flop / best / peak:>23.0%}{numpy_best / best:>11.2f}{numpy_median / median:>8.2f}"
        )


if __name__ == "__main__":
    compare(__file__, __doc__.splitlines()[0], side, report)
