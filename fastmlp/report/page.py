"""The page: results, curves, confusion matrix, mistakes, time, network, settings, environment.

All text from users or files goes through ``escape``: names of files, classes, metrics and
settings. The Content-Security-Policy of the page forbids scripts and network access.
"""

from __future__ import annotations

import datetime
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from fastmlp import _config, losses, metrics
from fastmlp._types import Array
from fastmlp.history import History
from fastmlp.io import write_atomically
from fastmlp.model import Sequential
from fastmlp.report import charts, pictures
from fastmlp.report.style import STYLE

__all__ = ["html", "write"]

_MOST_CLASSES = 25  # with more classes, a list of the most frequent errors replaces the matrix
_MOST_MISTAKES = 24
_MOST_POINTS = 1000
_MOST_CONFUSIONS = 20


def write(path: str | os.PathLike[str], model: Sequential, history: History, **more: Any) -> None:
    """Write the page of a run to a file atomically; see ``html`` for the other arguments.

    Raises
    ------
    ValueError
        If the samples do not fit the model.
    OSError
        If the file cannot be written; an existing file is then intact.
    """
    write_atomically(path, html(model, history, **more).encode("utf-8", "replace"))


def html(
    model: Sequential,
    history: History,
    *,
    title: str,
    settings: Mapping[str, Mapping[str, Any]],
    measured: Mapping[str, Mapping[str, float]],
    held_out: tuple[Array, Array] | None = None,
    held_out_name: str = "test",
    classes: Sequence[str] | None = None,
) -> str:
    """Return the page of a run.

    Parameters
    ----------
    model : Sequential
        The model after training.
    history : History
        History of the run; it may have no complete epoch.
    title : str
        Name of the data.
    settings : dict of str to dict
        Settings by name, grouped in tables by name.
    measured : dict of str to dict of float
        Results of ``evaluate`` by part of the data.
    held_out : tuple (x, y), default=None
        Samples not used in training, for the confusion matrix and the worst mistakes.
    held_out_name : str, default="test"
        Name of the part that ``held_out`` comes from: "test" or "valid".
    classes : list of str, default=None
        Names of the classes; None means their numbers.

    Returns
    -------
    page : str
        HTML without references to other files.

    Raises
    ------
    ValueError
        If the samples do not fit the model.
    """
    sections = [
        _section("Results", _results(history, measured)),
        _section("Learning curves", _curves(history)),
    ]
    if held_out is not None:
        sections += _prediction_sections(model, *held_out, held_out_name, classes)
    sections += [
        _section("Training time", _time(history)),
        _section("Network", _network(model)),
        _section("Settings", _settings(settings)),
        _section("Environment", _machine()),
    ]
    now = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    stopped = (
        f'<p class="note">Stopped by Ctrl-C after {len(history.epochs)} complete epochs; the '
        "weights are from the last complete step.</p>"
        if history.interrupted
        else ""
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "img-src data:; style-src 'unsafe-inline'\">"
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} - fastmlp</title><style>{STYLE}</style></head><body>"
        f"<header><h1>{escape(title)}</h1><p>{escape(_headline(model, measured))}</p>"
        f'<p class="faint">fastmlp, {now}</p></header>{stopped}<main>{"".join(sections)}</main>'
        "</body></html>\n"
    )


def _section(title: str, inside: str, about: str = "") -> str:
    if not inside:
        return ""
    note = f'<p class="faint">{about}</p>' if about else ""
    return f"<section><h2>{escape(title)}</h2>{note}{inside}</section>"


def _table(
    head: Sequence[object], rows: Sequence[Sequence[object]], kind: str = "", left: int = 1
) -> str:
    """Return a table; the first ``left`` columns hold text, the others numbers."""

    def line(cells: Sequence[object], tag: str) -> str:
        return "".join(
            f"<{tag}{'' if i < left else ' class=n'}>{escape(str(cell))}</{tag}>"
            for i, cell in enumerate(cells)
        )

    top = f"<thead><tr>{line(head, 'th')}</tr></thead>" if head else ""
    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f'<div class="scroll"><table class="{kind}">{top}<tbody>{body}</tbody></table></div>'


def _is_share(name: str) -> bool:
    return name.removeprefix("val_") in ("accuracy", "error") or "top_" in name


def _figure(name: str, value: float) -> str:
    return f"{value:.2%}" if _is_share(name) else f"{value:.4g}"


def _headline(model: Sequential, measured: Mapping[str, Mapping[str, float]]) -> str:
    parts = [f"{model.num_parameters:,} parameters"]
    for part, values in list(measured.items())[-1:]:
        name = "accuracy" if "accuracy" in values else next(iter(values), "")
        if name:
            parts.append(f"{part} {name} {_figure(name, values[name])}")
    return ", ".join(parts)


# --- Results, curves, time ----------------------------------------------------------------------


def _results(history: History, measured: Mapping[str, Mapping[str, float]]) -> str:
    names = list(dict.fromkeys(name for values in measured.values() for name in values))
    rows = []
    if history.epochs:
        last = {name: values[-1] for name, values in history.history.items()}
        rows.append(["train, last epoch", *(_cell(last, name) for name in names)])
    rows += [[part, *(_cell(values, name) for name in names)] for part, values in measured.items()]
    return _table(["", *names], rows)


def _cell(values: Mapping[str, float], name: str) -> str:
    return _figure(name, values[name]) if name in values else ""


def _curves(history: History) -> str:
    columns = history.history
    if not history.epochs:
        return '<p class="faint">No epoch is complete.</p>'
    result = []
    for name, values in columns.items():
        if name.startswith("val_") or name in ("learning_rate", "time"):
            continue
        series = {"training": values}
        if "val_" + name in columns:
            series["validation"] = columns["val_" + name]
        loss = name == "loss"
        result.append(charts.lines(series, name, percent=_is_share(name), from_zero=loss))
    rates = columns["learning_rate"]
    if len(set(rates)) > 1:
        result.append(charts.lines({"learning rate": rates}, "learning rate", from_zero=True))
    return f'<div class="grid">{"".join(result)}</div>'


def _time(history: History) -> str:
    times = history.history.get("time", [])
    if not times:
        return ""
    rows = [
        ["epochs", str(len(times))],
        ["total", f"{sum(times):.4g} s"],
        ["median epoch", f"{statistics.median(times):.4g} s"],
        ["longest epoch", f"{max(times):.4g} s"],
    ]
    chart = charts.lines({"seconds": times}, "seconds per epoch", from_zero=True)
    return f'<div class="grid">{chart}{_table([], rows)}</div>'


# --- Predictions --------------------------------------------------------------------------------


def _prediction_sections(
    model: Sequential, x: Array, y: Array, part: str, classes: Sequence[str] | None
) -> list[str]:
    """Return the sections about samples that were not used in training."""
    targets = np.asarray(y)
    if not model.loss.classifies:
        return _regression_sections(model, x, targets, part)
    probabilities = model.predict_proba(x)
    if isinstance(model.loss, losses.BinaryCrossEntropy):
        if model.output_shape != (1,):
            return []  # several independent outputs do not form one class per sample
        true = (targets.reshape(len(x)) > 0.5).astype(np.int64)
        probabilities = np.hstack([1 - probabilities, probabilities])
        names = list(classes or ("no", "yes"))
    else:
        true = targets.astype(np.int64) if targets.ndim == 1 else targets.argmax(axis=1)
        names = list(classes or map(str, range(probabilities.shape[1])))
    taken = probabilities.argmax(axis=1)
    matrix = metrics.confusion_matrix(true, taken, labels=np.arange(len(names)))
    wrong = int((true != taken).sum())
    about = f"{wrong:,} of {len(x):,} {escape(_adjective(part))} samples are misclassified."
    mistakes = _mistakes(x, true, taken, probabilities, names)
    return [
        _section("Confusion matrix", _confusion(matrix, names), about),
        _section("Worst mistakes", mistakes, "Ordered by the probability of the wrong class."),
    ]


def _adjective(part: str) -> str:
    return "validation" if part == "valid" else part


def _confusion(matrix: Array, names: Sequence[str]) -> str:
    if len(names) > _MOST_CLASSES:
        errors = matrix.copy()
        np.fill_diagonal(errors, 0)
        order = np.argsort(-errors, axis=None, kind="stable")[:_MOST_CONFUSIONS]
        places = [divmod(int(place), len(names)) for place in order]
        rows = [[names[i], names[j], errors[i, j]] for i, j in places if errors[i, j]]
        return _table(["true", "predicted", "count"], rows, left=2)
    most = matrix.sum(axis=1).clip(min=1)
    head = "".join(f"<th class=n>{escape(name)}</th>" for name in names)
    lines = []
    for i, name in enumerate(names):
        cells = []
        for j, value in enumerate(matrix[i].tolist()):
            share = value / int(most[i])
            colour = "--good" if i == j else "--bad"
            strength = 100 * (0.55 * share if i == j else min(0.85, 4 * share + 0.12))
            style = (
                f' style="background:color-mix(in srgb, var({colour}) {strength:.0f}%, '
                'transparent)"'
                if value
                else ""
            )
            cells.append(f"<td class=n{style}>{value or ''}</td>")
        recall = f"{matrix[i, i] / most[i]:.1%}" if matrix[i].sum() else ""
        cells.append(f'<td class="n faint">{recall}</td>')
        lines.append(f"<tr><th>{escape(name)}</th>{''.join(cells)}</tr>")
    return (
        '<div class="scroll"><table class="matrix"><thead><tr><th class=faint>true \\ predicted'
        f"</th>{head}<th class='n faint'>recall</th></tr></thead><tbody>{''.join(lines)}</tbody>"
        "</table></div>"
    )


def _mistakes(
    x: Array, true: Array, taken: Array, probabilities: Array, names: Sequence[str]
) -> str:
    wrong = np.flatnonzero(true != taken)
    if not len(wrong):
        return '<p class="faint">None.</p>'
    sure = probabilities[wrong, taken[wrong]]
    shown = wrong[np.argsort(-sure, kind="stable")[:_MOST_MISTAKES]].tolist()
    if not pictures.is_image(x.shape[1:]):
        rows = [
            [i, names[true[i]], names[taken[i]], _share(probabilities[i, taken[i]]),
             _share(probabilities[i, true[i]])]
            for i in shown
        ]  # fmt: skip
        head = ["sample", "true", "predicted", "probability", "probability of true class"]
        return _table(head, rows, left=3)
    cards = [
        f'<figure class="card"><img src="{pictures.data_uri(x[i])}" alt="sample {i}">'
        f"<figcaption>true <b>{escape(names[true[i]])}</b>, predicted "
        f"<b>{escape(names[taken[i]])}</b><br><span class=faint>"
        f"{_share(probabilities[i, taken[i]])}<br>sample {i}</span>"
        "</figcaption></figure>"
        for i in shown
    ]
    return f'<div class="cards">{"".join(cards)}</div>'


def _share(value: float) -> str:
    return f"{value:.1%}"


def _regression_sections(model: Sequential, x: Array, targets: Array, part: str) -> list[str]:
    """Return the section about predicted numbers; only the first output is shown."""
    predicted = model.predict(x).reshape(len(x), -1)[:, 0].astype(np.float64)
    true = targets.reshape(len(x), -1)[:, 0].astype(np.float64)
    some = np.unique(np.linspace(0, len(x) - 1, min(len(x), _MOST_POINTS)).astype(int))
    which = "" if math.prod(model.output_shape) == 1 else " (first output)"
    chart = charts.points(true[some].tolist(), predicted[some].tolist(), f"predicted{which}")
    errors = np.abs(predicted - true)
    order = np.argsort(-errors, kind="stable")[:10].tolist()
    rows = [[i, f"{true[i]:.4g}", f"{predicted[i]:.4g}", f"{errors[i]:.4g}"] for i in order]
    table = _table(["sample", "true", "predicted", "error"], rows)
    about = f"{len(x):,} {escape(_adjective(part))} samples; the table lists the largest errors."
    return [_section("Predictions", f'<div class="grid">{chart}{table}</div>', about)]


# --- Network, settings, environment -------------------------------------------------------------


def _network(model: Sequential) -> str:
    rows = [
        [layer.name, repr(layer), _shape(layer.output_shape or ()), f"{_count(layer):,}"]
        for layer in model.layers
    ]
    about = f"input {_shape(model.input_shape)}, {model.dtype}"
    rows.append(["", about, "", f"{model.num_parameters:,}"])
    return _table(["layer", "", "output", "parameters"], rows, left=2)


def _count(layer: Any) -> int:
    return sum(math.prod(parameter.shape) for parameter in layer.parameters)


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _settings(settings: Mapping[str, Mapping[str, Any]]) -> str:
    tables = []
    for name, values in settings.items():
        rows = [[key, _text(value)] for key, value in values.items()]
        tables.append(f"<div><h3>{escape(name)}</h3>{_table([], rows, left=2)}</div>")
    return f'<div class="grid short">{"".join(tables)}</div>' if tables else ""


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _machine() -> str:
    return _table([], list(_config.config().items()), left=2)
