"""Tables and a plot of the results of peers.py."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from frameworks.workloads import WORKLOADS

__all__ = ["plot", "show"]

Results = dict[str, dict[str, list[dict[str, Any]]]]

PLAIN = "784-512-256-10/32"  # the reference for the variants

# Largest relative difference of losses or logits that count as equal. In training the order of the
# rows differs between frameworks; in prediction the work is identical.
TOLERANCES = {"train": 0.03, "predict": 0.001}


def pooled(runs: list[dict[str, Any]]) -> list[float]:
    """Return the seconds of all rounds."""
    return [seconds for run in runs for seconds in run["seconds"]]


def median(runs: list[dict[str, Any]]) -> float:
    return statistics.median(pooled(runs))


def best(runs: list[dict[str, Any]]) -> float:
    return min(pooled(runs))


def peak(results: Results) -> float:
    """Return the best multiply-add peak measured around these measurements."""
    return max(p for sides in results.values() for run in sides["fastmlp"] for p in run["peak"])


def table(head: list[str], rows: Iterable[list[str]]) -> None:
    """Print an aligned Markdown table."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: list[str]) -> str:
        first, *others = (
            cell.ljust(width) if not i else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join([first, *others])} |"

    print(line(head))
    print("|" + "|".join("-" * (width + 1) + ":-"[not i] for i, width in enumerate(widths)) + "|")
    print(*map(line, rows), sep="\n")
    print()


def number(microseconds: float) -> str:
    """Return a number as text with about three digits."""
    digits = 2 if microseconds < 10 else 1 if microseconds < 100 else 0
    return f"{microseconds:.{digits}f}"


def show(measured: dict[str, Any]) -> None:
    """Print all tables."""
    machine = measured["machine"]
    print(f"{machine['processor']}, {machine['cores']} cores, {measured['date']}")
    pinned = ", every process on one core" if measured["pinned"] else ""
    print(f"threads: {measured['threads']}{pinned}; rounds: {measured['rounds']}")
    print("; ".join(dict.fromkeys(measured["versions"].values())))
    results: Results = measured["results"]
    timed = {
        name: sides
        for name, sides in results.items()
        if "fastmlp" in sides and WORKLOADS[name].kind != "mnist"
    }
    if timed:
        each = peak(timed) / measured["threads"] / 1e9
        print(f"multiply-add peak: {peak(timed) / 1e9:.0f} GFLOP/s, {each:.0f} per thread")
    for name in ("copy", "add"):
        rates = [found[name] for found in machine["bandwidth"]]
        if rates:
            print(f"memory, {name}: {statistics.median(rates) / 1e9:.1f} GB/s")
    print()
    names = [name for name in measured["versions"] if any(name in s for s in results.values())]
    for kind, title in (("train", "training step"), ("predict", "prediction")):
        chosen = {n: sides for n, sides in timed.items() if WORKLOADS[n].kind == kind}
        if chosen:
            present = [name for name in names if any(name in s for s in chosen.values())]
            show_times(title, present, chosen)
    show_variants(timed)
    if "mnist" in results:
        show_mnist(results["mnist"], measured["epochs"])
    for workload, sides in measured["skipped"].items():
        for reason in dict.fromkeys(filter(None, sides.values())):
            which = ", ".join(side for side in sides if sides[side] == reason)
            print(f"{workload}: {which} skipped: {reason}")
    warn(timed, measured["threads"])


def show_times(title: str, sides: list[str], results: Results) -> None:
    """Print times and ratios of some workloads."""

    def row(name: str, show: Callable[[list[dict[str, Any]]], str], which: list[str]) -> list[str]:
        found = results[name]
        return [name, *(show(found[side]) if side in found else "-" for side in which)]

    table(
        [f"{title}, us, median", *sides],
        (row(name, lambda runs: number(median(runs) * 1e6), sides) for name in results),
    )
    rows = []
    for name, found in results.items():
        own = found["fastmlp"]
        rate, top = WORKLOADS[name].flop / best(own), peak({name: found})

        def ratios(runs: list[dict[str, Any]], own: list[dict[str, Any]] = own) -> str:
            return f"{median(runs) / median(own):.2f} ({best(runs) / best(own):.2f})"

        rows.append(
            [*row(name, ratios, sides[1:]), f"{rate / 1e9:.1f}", f"{rate / top:.0%}"],
        )
    head = "time relative to fastmlp: medians (minima)"
    table([head, *sides[1:], "fastmlp, GFLOP/s, best", "share of peak"], rows)


def show_variants(results: Results) -> None:
    """Print the cost of an optimizer or activation in each framework."""
    variants = [
        name
        for name in results
        if WORKLOADS[name].kind == "train" and WORKLOADS[name].sizes == WORKLOADS[PLAIN].sizes
        if not name.startswith("784")
    ]
    if not variants or PLAIN not in results:
        return
    plain = results[PLAIN]
    sides = [side for side in plain if any(side in results[name] for name in variants)]
    rows = [
        [name]
        + [
            f"{median(results[name][side]) / median(plain[side]):.2f}"
            if side in results[name]
            else "-"
            for side in sides
        ]
        for name in variants
    ]
    table([f"time relative to {PLAIN}, relu, SGD", *sides], rows)


def show_mnist(sides: dict[str, list[dict[str, Any]]], epochs: int) -> None:
    """Print seconds and accuracies."""
    own = sides.get("fastmlp")
    rows = []
    for side, runs in sides.items():
        rows.append(
            [
                side,
                f"{median(runs):.1f}",
                f"{median(runs) / median(own):.2f}" if own else "-",
                *(f"{statistics.mean(r[part] for r in runs):.2%}" for part in ("valid", "test")),
            ]
        )
    head = f"MNIST, 784-512-256-10, {epochs} epochs"
    table([head, "seconds", "relative to fastmlp", "valid", "test"], rows)


def warn(results: Results, threads: int) -> None:
    """Print a warning if frameworks compute different results or use more cores than allowed."""
    for name, sides in results.items():
        own = sides["fastmlp"][0]["check"]
        scale = max(map(abs, own))
        for side, runs in sides.items():
            pairs = zip(own, runs[0]["check"], strict=False)
            off = max((abs(a - b) / scale for a, b in pairs), default=0.0)
            if not off <= TOLERANCES[WORKLOADS[name].kind]:
                print(f"{name}: the results of {side} and fastmlp differ by {off:.1%}")
            cores = statistics.median(run["cores"] for run in runs)
            if cores > threads + 0.15:
                print(f"{name}: {side} kept {cores:.1f} cores busy")


# --- The plot -----------------------------------------------------------------------------------

COLOURS = {  # by Okabe and Ito, distinct for colour-blind readers and in grey
    "numpy": "#999999",
    "torch": "#D55E00",
    "torch-channels-last": "#F0E442",
    "torch-compile": "#E69F00",
    "jax-step": "#56B4E9",
    "jax-scan": "#0072B2",
    "sklearn": "#009E73",
    "onnxruntime": "#CC79A7",
}


def plot(measured: dict[str, Any], path: Path) -> None:
    """Draw the ratios of the medians: one panel per workload, one bar per framework."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        print("--plot needs matplotlib: run --read FILE --plot in an environment that has it.")
        return
    results: Results = {
        name: sides for name, sides in measured["results"].items() if "fastmlp" in sides
    }
    peers = [peer for peer in COLOURS if any(peer in sides for sides in results.values())]
    if not peers:
        print("--plot needs results of at least one other framework.")
        return
    columns = min(4, len(results))
    lines = -(-len(results) // columns)
    figure = Figure(figsize=(3.1 * columns + 1.6, (0.3 * len(peers) + 1.0) * lines + 0.8))
    FigureCanvasAgg(figure)
    panels = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
    smallest = largest = 1.0
    for panel, (name, sides) in zip(panels.flat, results.items(), strict=False):
        own = median(sides["fastmlp"])
        for at, peer in enumerate(peers):
            if peer not in sides:
                panel.text(1.05, at, "-", va="center", fontsize=9, color="0.4")
                continue
            ratio = median(sides[peer]) / own
            smallest, largest = min(smallest, ratio), max(largest, ratio)
            panel.barh(at, ratio - 1, left=1, height=0.7, color=COLOURS[peer])
            panel.text(max(ratio, 1) * 1.05, at, f"{ratio:.2f}", va="center", fontsize=9)
        unit = f"{own:.1f} s" if name == "mnist" else f"{number(own * 1e6)} µs"
        panel.set_title(f"{name}\nfastmlp {unit}", fontsize=10)
        panel.axvline(1, color="black", linewidth=1)
        panel.spines[["top", "right"]].set_visible(False)
    for panel in list(panels.flat)[len(results) :]:
        panel.set_visible(False)
    first = panels[0][0]
    first.set_xscale("log", base=2)
    first.set_xlim(smallest * 0.8, largest * 2.2)
    first.set_yticks(range(len(peers)), peers)
    first.invert_yaxis()
    for panel in panels.flat:
        panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        panel.tick_params(labelsize=9)
    threads = f"{measured['threads']} thread{'s' * (measured['threads'] > 1)}"
    figure.suptitle(
        f"Time relative to fastmlp (1 = as fast, more = slower), {threads}, "
        f"{measured['machine']['processor']}",
        fontsize=11,
    )
    figure.tight_layout()
    figure.savefig(path, dpi=200)
    print(f"wrote {path}")
