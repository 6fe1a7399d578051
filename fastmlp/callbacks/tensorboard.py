"""Watching a training in TensorBoard."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from typing import Any

from fastmlp import _checks
from fastmlp.callbacks import _events, _filters
from fastmlp.callbacks.base import Callback

__all__ = ["TensorBoard"]

_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_TAKEN = ("batch", "epoch")  # groups of curves


class TensorBoard(Callback):
    """Write what a training does to event files, for ``tensorboard --logdir``.

    Parameters
    ----------
    log_dir : str or path
        Folder of the run, made if need be. TensorBoard shows every folder below its ``--logdir``
        as a run: variants with folders of their own, "runs/adam" and "runs/adagrad", are compared
        in the same board.
    every_steps : int or None, default=None
        After steps whose number is a multiple the loss of the batch and the learning rate are
        written, and what ``histograms`` says. None means never.
    images : bool, default=True
        Whether a picture of the filters of the first layer is written, before the training and
        after every epoch: those of a Conv2D, or the weights of a Dense that sees whole images (28 x
        28 if it has 784 inputs). Without such a layer there is none.
    histograms : bool, default=True
        Whether, every ``every_steps``, least and largest value, mean, standard deviation and
        histogram are written of what every layer has: weights, biases and their gradients,
        pre-activations, activations, and activations of pools.
    probe : tuple (x, y) or (x, y, sample_weight), default=None
        The samples that gradients and activations are those of. None means as many of the training
        as a batch has, at most 512, taken at even distances.
    validation_data : dict of str to tuple (x, y) or (x, y, sample_weight), default=None
        Sets by their names, such as "test" and "validation", whose loss and metrics are measured,
        those of ``compile`` or ``fit``: with ``metrics=["error"]`` their error.
    validation_steps : int or None, default=None
        Measure after steps whose number is a multiple. None means after every epoch.

    Attributes
    ----------
    log_dir : str
    every_steps : int or None
        After how many steps it looks: the argument, or with ``validation_steps`` their greatest
        common divisor.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as above; from ``fit``, before it begins, if samples do not fit the
        model.
    ImportError
        If tensorboardX or pillow is missing: ``pip install "fastmlp[tensorboard]"``.
    OSError
        From ``fit``, if a file cannot be written. The model has the weights of the last complete
        step then.

    Notes
    -----
    Curves "epoch/loss", "epoch/val_accuracy", "epoch/time" and so on are what ``history`` has of
    each epoch; "batch/loss" and "batch/learning_rate" are those of steps; "test/loss" is that of
    the set called test; "layer_0_dense_0/weight_gradient/std" is a statistic of a layer, the first
    one, and "layer_0_dense_0/weight_gradient" its histogram. The axis of all is the number of the
    last complete step, so that they can be laid over each other. The texts are ``summary()`` of the
    model and the settings of the run.

    Everything is of the same moment, after the step, when nothing changes: also gradients and
    activations, which are computed for it, because the plans of a training keep neither. They are
    those of fixed samples, rather than those of the batch of the step, and masks of Dropout are
    always the same: what changes from one histogram to the next has been learnt, and is not due to
    other samples, and runs can be compared. The training itself is not touched: its weights are
    the same bits as without the callback.

    An event is in the file as soon as it happens; the file is closed however ``fit`` ends. A
    resumed run goes on in the same folder: what was written after the checkpoint, and is done
    again, is shown once. A new run replaces what an older one left in the folder.

    Values that are not finite are drawn as such in the curves, and left out of histograms.

    Examples
    --------
    >>> import fastmlp as fm
    >>> board = fm.TensorBoard("runs/adam", every_steps=100)  # doctest: +SKIP
    >>> model.fit(x, y, callbacks=[board])  # doctest: +SKIP
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str],
        every_steps: int | None = None,
        images: bool = True,
        histograms: bool = True,
        *,
        probe: tuple[Any, ...] | None = None,
        validation_data: Mapping[str, tuple[Any, ...]] | None = None,
        validation_steps: int | None = None,
    ) -> None:
        self.log_dir = _folder(log_dir)
        for name, value in (("every_steps", every_steps), ("validation_steps", validation_steps)):
            if value is not None:
                _checks.integer(value, name, minimum=1)
        self._images = _checks.boolean(images, "images")
        self._histograms = _checks.boolean(histograms, "histograms")
        self._given_probe = None if probe is None else _checks.pair_or_triple(probe, "probe")
        self._given_sets = _named_sets(validation_data)
        if validation_steps is not None and not self._given_sets:
            raise ValueError("validation_data must be given where validation_steps is, got None.")
        self._every, self._validation_steps = every_steps, validation_steps
        self.every_steps = math.gcd(every_steps or 0, validation_steps or 0) or None
        _events.require()
        self._file: _events.EventFile | None = None
        self._samples: Any = None
        self._sets: dict[str, Any] = {}

    def on_train_begin(self) -> None:
        """Check the samples, make the file, write the texts and the first picture."""
        self.close()
        self._sets = {
            name: self._checked(each, f"validation_data[{name!r}]", in_pieces=True)
            for name, each in self._given_sets.items()
        }
        if self._given_probe is not None:
            self._samples = self._checked(self._given_probe, "probe")
            self.model.check_batches(len(self._samples[0]), len(self._samples[0]))
        elif self._every is not None and self._histograms:
            self._samples = self.run.probe()
        step = self.run.step
        # A resumed run shows what was written up to its checkpoint, a new one nothing older.
        self._file = _events.EventFile(self.log_dir, first_step=step + 1 if step else 0)
        summary = "".join(f"    {line}\n" for line in self.model.summary().splitlines())
        self._write([_events.text("model", summary), _events.text("settings", self._settings())])
        if step == 0:
            self._write(self._picture())

    def on_batch_end(self, step: int, logs: dict[str, float]) -> None:
        """Write what is due after a step."""
        values = []
        if self._every is not None and step % self._every == 0:
            values += [_events.scalar(f"batch/{name}", value) for name, value in logs.items()]
            if self._histograms:
                for layer, kind, array in self.run.inside(*self._samples):
                    tag = f"layer_{layer.number}_{layer.name}/{kind}"
                    values += _events.distribution(tag, array)
        if self._validation_steps is not None and step % self._validation_steps == 0:
            values += self._measured()
        self._write(values)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Write what is due after an epoch."""
        values = [_events.scalar(f"epoch/{name}", value) for name, value in logs.items()]
        if self._validation_steps is None:
            values += self._measured()
        self._write(values + self._picture())

    def close(self) -> None:
        """Close the file, and let go of the samples."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._samples, self._sets = None, {}

    def _checked(
        self, given: tuple[Any, Any, Any], name: str, *, in_pieces: bool = False
    ) -> tuple[Any, Any, Any]:
        model, names = self.model, (f"{name}[0]", f"{name}[1]")
        x, y = model.data(given[0], given[1], model.loss, *names, in_pieces=in_pieces)
        return x, y, model.weights(given[2], len(x), model.loss, f"{name}[2]")

    def _settings(self) -> str:
        """Return a table of the settings of the run, in Markdown."""
        lines = ["| setting | value |", "| --- | --- |"]
        for name, value in self.run.settings.items():
            shown = value.replace("|", "\\|")
            lines.append(f"| {name} | `{shown}` |")
        return "\n".join(lines)

    def _measured(self) -> list[Any]:
        return [
            _events.scalar(f"{name}/{measured}", value)
            for name, each in self._sets.items()
            for measured, value in self.model.evaluate(*each).items()
        ]

    def _picture(self) -> list[Any]:
        filters = _filters.first_filters(self.model) if self._images else None
        return [] if filters is None else [_events.image("filters", _filters.picture(filters))]

    def _write(self, values: list[Any]) -> None:
        if values and self._file is not None:
            self._file.write(self.run.step, values)


def _folder(log_dir: Any) -> str:
    if not isinstance(log_dir, (str, os.PathLike)) or not isinstance(os.fspath(log_dir), str):
        raise TypeError(f"log_dir must be a str or a path, got {log_dir!r}.")
    path = os.fspath(log_dir)
    if not path:
        raise ValueError("log_dir must name a folder, got ''.")
    if os.path.exists(path) and not os.path.isdir(path):
        raise ValueError(f"log_dir must be a folder, got the file {path!r}.")
    return path


def _named_sets(given: Any) -> dict[str, tuple[Any, Any, Any]]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(
            f"validation_data must be a dict of names to tuples (x, y), got {type(given).__name__}."
        )
    if not given:
        raise ValueError("validation_data must have at least one set, got {}.")
    sets = {}
    for name, each in given.items():
        if not isinstance(name, str):
            raise TypeError(f"a name in validation_data must be a str, got {name!r}.")
        if not _NAME.fullmatch(name) or name in _TAKEN:
            raise ValueError(
                "a name in validation_data must be of letters, digits and _ . -, and not "
                f"{' or '.join(map(repr, _TAKEN))}, got {name!r}."
            )
        sets[name] = _checks.pair_or_triple(each, f"validation_data[{name!r}]")
    return sets
