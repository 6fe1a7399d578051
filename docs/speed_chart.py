"""Write the speed table of README.md and its chart, both from docs/speed.csv.

    python docs/speed_chart.py

Each row of the file is a network: its layers, the batch size, the median microseconds of a training
step in each library, and the percentage of the peak speed that fastmlp reaches. Needs matplotlib.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parent
DATA = DOCS / "speed.csv"
CHART = DOCS / "figures" / "speed.svg"
README = DOCS.parent / "README.md"

COLOURS = {"numpy": "#2f9e6b", "PyTorch": "#d9544d", "JAX": "#3b82d6"}
GREY = "#797c80"  # has the same contrast, 4.3, on a white and on a nearly black page
SIGN = "\N{MULTIPLICATION SIGN}"
TABLE = re.compile(r"(?<=<!-- speed table -->\n\n).*?(?=\n<!-- end -->)", re.DOTALL)


def rows() -> list[dict[str, str]]:
    """Return the rows of the data file."""
    with DATA.open(newline="") as file:
        return list(csv.DictReader(file))


def microseconds(text: str) -> str:
    """Return a time with a space between thousands."""
    return f"{int(text):,}".replace(",", " ") if text.isdigit() else text


def times(number: float) -> str:
    """Return a ratio with two or three digits and the multiplication sign."""
    digits = 2 if number < 1.1 else 1 if number < 9.95 else 0
    return f"{number:.{digits}f}{SIGN}"


def table() -> str:
    """Return the table in Markdown."""
    columns = ("fastmlp", *COLOURS)
    lines = [f"| network, batch | {' | '.join(columns)} | peak |", "|---" * 6 + "|"]
    for row in rows():
        cells = [f"{row['network']}, {row['batch']}"]
        cells += [microseconds(row[name]) for name in columns]
        cells.append(f"{row['peak']} %" if row["peak"] else "")
        lines.append(f"| {' | '.join(cells).rstrip()} |")
    return "\n".join(lines) + "\n"


def draw() -> None:
    """Draw the time of every library as a multiple of fastmlp's."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams |= {
        "svg.fonttype": "none",
        "svg.hashsalt": "fastmlp",
        "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
        "font.size": 9,
        "text.color": GREY,
    }
    data = rows()
    figure = Figure(figsize=(8.6, 0.54 * len(data) + 0.75))
    ax = figure.add_axes((0.21, 0.06, 0.77, 0.87))
    for tick in (1, 2, 5, 10, 20, 50, 100):
        ax.axvline(tick, color=GREY, linewidth=1.2 if tick == 1 else 0.25, zorder=0)
        ax.text(tick, len(data) - 0.43, f"{tick}{SIGN}", ha="center", va="top", fontsize=8)
    height = 0.26
    for index, row in enumerate(data):
        ours = float(row["fastmlp"])
        heading = (
            f"{row['network']}, batch {row['batch']}\nfastmlp {microseconds(row['fastmlp'])} µs"
        )
        ax.text(0.97, index, heading, ha="right", va="center", fontsize=8)
        for place, (name, colour) in enumerate(COLOURS.items()):
            ratio, y = float(row[name]) / ours, index + (place - 1) * height
            label = name if index == 0 else None
            ax.barh(y, ratio - 1, 0.84 * height, left=1, color=colour, label=label)
            text = f"{times(ratio)} ({microseconds(row[name])} µs)"
            ax.text(1.03 * ratio, y, text, va="center", fontsize=7)
    ax.set(xscale="log", xlim=(1, 330), ylim=(len(data) - 0.45, -0.5))
    ax.axis("off")
    figure.legend(loc="upper left", bbox_to_anchor=(0.2, 1), ncols=3, frameon=False, handlelength=1)
    title = "time of a training step, in multiples of fastmlp's (log scale)"
    figure.text(0.98, 0.985, title, ha="right", va="top")
    metadata = {
        "Creator": None,
        "Date": None,
        "Title": "Time of a training step",
        "Description": DATA.read_text(),
    }
    figure.savefig(CHART, transparent=True, metadata=metadata)


def main() -> None:
    """Write the table and the chart."""
    text = README.read_text()
    if not TABLE.search(text):
        raise SystemExit("README.md has no <!-- speed table --> ... <!-- end -->")
    README.write_text(TABLE.sub(lambda match: table(), text))
    draw()


if __name__ == "__main__":
    main()
