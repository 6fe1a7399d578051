"""Measure the errors of exp, log, tanh and sigmoid in units in the last place (ulp).

    python benchmarks/ulp.py [--function exp] [--stride 1] [--float64 1000000]

By default every one of the 2^32 float32 numbers is tested, which takes some minutes per function;
``--stride n`` tests every n-th number. The references are numpy's float64 functions.

``--float64 N`` tests N random float64 numbers per function instead. All of them are compared with
numpy's longdouble, if it has more bits than float64. The 200 worst numbers and every 100th number
are compared with mpmath at 40 digits. The exit status is 1 if an error exceeds 2 ulp.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

CHUNK = 1 << 14
LIMIT = 2.0


@dataclass
class Worst:
    """The largest error so far, its input, and the number of errors above 1 ulp."""

    error: float = 0.0
    x: float = 0.0
    above_one: int = 0
    count: int = 0

    def add(self, x: np.ndarray, errors: np.ndarray) -> None:
        """Update with the errors of one chunk."""
        at = int(errors.argmax())
        if errors[at] > self.error:
            self.error, self.x = float(errors[at]), float(x[at])
        self.above_one += int(np.count_nonzero(errors > 1))
        self.count += len(x)


def stable_sigmoid(x: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)) with full relative accuracy, also for negative x."""
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, np.ones_like(e)) / (1 + e)


REFERENCES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exp": np.exp,
    "log": np.log,
    "tanh": np.tanh,
    "sigmoid": stable_sigmoid,
}


def ulp_errors(y: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Return |y - exact| in ulps of y's dtype at exact; infinity counts as the next number.

    If both are NaN the error is 0; if only one is NaN it is infinite.
    """
    info = np.finfo(y.dtype)
    beyond = np.ldexp(exact.dtype.type(1), info.maxexp)
    value = np.clip(y.astype(exact.dtype), -beyond, beyond)
    exact = np.clip(exact, -beyond, beyond)
    exponent = np.clip(np.frexp(exact)[1] - 1, info.minexp, info.maxexp - 1)
    errors = np.abs(np.ldexp(value - exact, info.nmant - exponent)).astype(np.float64)
    nan = np.isnan(value) | np.isnan(exact)
    if nan.any():
        errors[nan] = np.where(np.isnan(value) & np.isnan(exact), 0.0, np.inf)[nan]
    return errors


def float32_worst(name: str, function: Callable, stride: int) -> Worst:
    """Return the worst error over every ``stride``-th float32 number."""
    worst = Worst()
    y = np.empty(CHUNK, np.float32)
    chunks = range(0, 1 << 32, CHUNK * stride)
    with np.errstate(all="ignore"):
        for start in tqdm(chunks, desc=name, unit_scale=CHUNK / 1e6, unit="M", mininterval=0.5):
            bits = np.arange(start, min(start + CHUNK * stride, 1 << 32), stride, dtype=np.int64)
            x = bits.astype(np.uint32).view(np.float32)
            out = y[: len(x)]
            function(x, out=out)
            worst.add(x, ulp_errors(out, REFERENCES[name](x.astype(np.float64))))
    return worst


def float64_samples(count: int) -> np.ndarray:
    """Return numbers, half with any exponent and sign, half where the functions change most."""
    rng = np.random.default_rng(0)
    any_bits = rng.integers(0, 1 << 64, count // 2, dtype=np.uint64).view(np.float64)
    widths = rng.choice([1.0, 3.0, 20.0, 120.0, 760.0], count - count // 2)
    return np.concatenate([any_bits, rng.uniform(-widths, widths)])


def mpmath_errors(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the errors of y = name(x) in ulps of float64, against 40 digits; 0 if not finite."""
    mp = importlib.import_module("mpmath")
    functions = {
        "exp": mp.exp,
        "log": mp.log,
        "tanh": mp.tanh,
        "sigmoid": lambda v: 1 / (1 + mp.exp(-v)),
    }
    errors = np.zeros(len(x))
    with mp.workdps(40):
        for i, (a, b) in enumerate(zip(x.tolist(), y.tolist(), strict=True)):
            if not (np.isfinite(a) and np.isfinite(b)) or (name == "log" and a <= 0):
                continue
            if name == "tanh" and abs(a) < 1e-12:  # mpmath's 40 digits cancel; the series is exact
                exact = mp.mpf(a) - mp.mpf(a) ** 3 / 3
            else:
                exact = functions[name](mp.mpf(a))
            exponent = max(mp.frexp(exact)[1] - 1, -1022) if exact else -1022
            errors[i] = float(abs(mp.mpf(b) - exact) * mp.mpf(2) ** (52 - exponent))
    return errors


def float64_worst(name: str, function: Callable, count: int) -> Worst:
    """Return the worst error of ``count`` float64 numbers against longdouble and mpmath."""
    worst = Worst()
    x = float64_samples(count)
    y = np.empty_like(x)
    function(x, out=y)
    errors = np.zeros(count)
    if np.finfo(np.longdouble).nmant > np.finfo(np.float64).nmant:
        with np.errstate(all="ignore"):
            for start in tqdm(range(0, count, CHUNK), desc=name):
                part = slice(start, start + CHUNK)
                errors[part] = ulp_errors(y[part], REFERENCES[name](x[part].astype(np.longdouble)))
        worst.add(x, errors)
    few = np.unique(np.concatenate([np.argsort(errors)[-200:], np.arange(0, count, 100)]))
    exact = mpmath_errors(name, x[few], y[few])
    if not worst.count:
        worst.add(x[few], exact)
    elif exact.max() > worst.error + 0.01:  # longdouble is accurate to about 1e-3 ulp of float64
        worst.error, worst.x = float(exact.max()), float(x[few][exact.argmax()])
    return worst


def main() -> int:
    """Measure and print one line per function; return 1 if an error exceeds the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--function", choices=sorted(REFERENCES), help="default: all four")
    parser.add_argument("--stride", type=int, default=1, help="test every n-th float32 number")
    parser.add_argument(
        "--float64", type=int, default=0, metavar="N", help="test N float64 numbers"
    )
    arguments = parser.parse_args()
    if arguments.stride < 1 or arguments.float64 < 0:
        parser.error("--stride must be at least 1 and --float64 at least 0")

    kernels = importlib.import_module("fastmlp.kernels")
    isa = importlib.import_module("fastmlp._compiled.cpu").isa
    results = {}
    for name in [arguments.function] if arguments.function else list(REFERENCES):
        function = getattr(kernels, name)
        if arguments.float64:
            results[name] = float64_worst(name, function, arguments.float64)
        else:
            results[name] = float32_worst(name, function, arguments.stride)

    dtype = "float64" if arguments.float64 else "float32"
    print(f"{dtype}, instruction set {isa() if callable(isa) else isa}")
    print(f"{'function':<9} {'max ulp':>8} {'at':>26} {'above 1':>11} {'of':>11}")
    for name, worst in results.items():
        print(
            f"{name:<9} {worst.error:8.4f} {worst.x!r:>26} {worst.above_one:11d} {worst.count:11d}"
        )
    return int(any(not worst.error <= LIMIT for worst in results.values()))


if __name__ == "__main__":
    raise SystemExit(main())
