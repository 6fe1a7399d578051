"""Event files for TensorBoard."""

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
    """Write metrics, histograms and images of the filters for ``tensorboard --logdir``.

    Parameters
    ----------
    log_dir : str or path
        Folder of the run, created if necessary. TensorBoard shows every folder below its
        ``--logdir`` as one run, so runs in "runs/adam" and "runs/adagrad" can be compared.
    every_steps : int or None, default=None
        Write the loss of the batch, the learning rate and the histograms after steps whose number
        is a multiple of this. None means never.
    images : bool, default=True
        Whether to write an image of the filters of the first layer, before the first epoch and
        after every epoch: the filters of a Conv2D, or the weights of a Dense whose inputs are whole
        images (28 x 28 for 784 inputs). For other layers there is no image.
    histograms : bool, default=True
        Whether to write, after every ``every_steps`` steps, the minimum, maximum, mean, standard
        deviation and histogram of the weights, biases and their gradients, pre-activations,
        activations and pooled activations of every layer.
    probe : tuple (x, y) or (x, y, sample_weight), default=None
        Samples for the gradients and activations. None means training samples at even distances:
        as many as in a batch, but at most 512.
    validation_data : dict of str to tuple (x, y) or (x, y, sample_weight), default=None
        Data sets by name, such as "test" and "validation". Their loss is measured, and the metrics
        of ``compile`` or ``fit``.
    validation_steps : int or None, default=None
        Measure these sets after steps whose number is a multiple of this. None means after every
        epoch.

    Attributes
    ----------
    log_dir : str
    every_steps : int or None
        Number of steps between two calls: the argument, or its greatest common divisor with
        ``validation_steps``.

    Raises
    ------
    ValueError, TypeError
        If an argument is not as described; from ``fit``, before the first epoch, if samples do not
        fit the model.
    ImportError
        If tensorboardX or pillow is missing: ``pip install "fastmlp[tensorboard]"``.
    OSError
        From ``fit``, if a file cannot be written. The model then has the weights of the last
        complete step.

    Notes
    -----
    The curves "epoch/loss", "epoch/val_accuracy", "epoch/time" and so on show the columns of
    ``history``. "batch/loss" and "batch/learning_rate" show steps, and "test/loss" shows the set
    called test. "layer_0_dense_0/weight_gradient" is a histogram of the first layer, and
    "layer_0_dense_0/weight_gradient/std" one of its statistics. The x axis of all is the number of
    the last complete step, so that curves can be compared. The texts are ``model.summary()`` and
    the settings of the run.

    All values belong to the moment after the step. Gradients and activations are computed for the
    callback, because compiled plans keep neither. They use fixed samples instead of the batch of
    the step, and fixed dropout masks. So histograms change only with the weights, and runs can be
    compared. The callback does not affect training: the weights are bit-for-bit the same without
    it.

    Each event is in the file as soon as it happens, and the file is closed whenever ``fit`` ends. A
    resumed run continues in the same folder, where TensorBoard hides what was written after the
    checkpoint. A new run replaces what an older run left in the folder.

    Values that are not finite are shown in the curves and left out of the histograms.

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
            raise ValueError("validation_steps requires validation_data, got validation_data=None.")
        self._every, self._validation_steps = every_steps, validation_steps
        self.every_steps = math.gcd(every_steps or 0, validation_steps or 0) or None
        _events.require()
        self._file: _events.EventFile | None = None
        self._samples: Any = None
        self._sets: dict[str, Any] = {}

    def on_train_begin(self) -> None:
        """Check the samples, create the file, and write the texts and the first image."""
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
        # TensorBoard shows a resumed run up to its checkpoint, and nothing older than a new run.
        self._file = _events.EventFile(self.log_dir, first_step=step + 1 if step else 0)
        summary = "".join(f"    {line}\n" for line in self.model.summary().splitlines())
        self._write([_events.text("model", summary), _events.text("settings", self._settings())])
        if step == 0:
            self._write(self._picture())

    def on_batch_end(self, step: int, logs: dict[str, float]) -> None:
        """Write the values of a step."""
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
        """Write the values of an epoch."""
        values = [_events.scalar(f"epoch/{name}", value) for name, value in logs.items()]
        if self._validation_steps is None:
            values += self._measured()
        self._write(values + self._picture())

    def close(self) -> None:
        """Close the file and release the samples."""
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
            f"validation_data must be a dict of (x, y) tuples by name, got {type(given).__name__}."
        )
    if not given:
        raise ValueError("validation_data must have at least one set, got {}.")
    sets = {}
    for name, each in given.items():
        if not isinstance(name, str):
            raise TypeError(f"a name in validation_data must be a str, got {name!r}.")
        if not _NAME.fullmatch(name) or name in _TAKEN:
            raise ValueError(
                "a name in validation_data must consist of letters, digits, '_', '.' and '-', and "
                f"must not be {' or '.join(map(repr, _TAKEN))}, got {name!r}."
            )
        sets[name] = _checks.pair_or_triple(each, f"validation_data[{name!r}]")
    return sets
