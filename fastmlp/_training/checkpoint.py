"""What a checkpoint holds: all that a run of ``fit`` needs to continue bit-for-bit the same.

A checkpoint is a model file (``io.model_file``) with more in it: the states of the optimizer and
of the callbacks, the history, the progress and the sums of the current epoch, and the settings and
fingerprints of the data, so that no other run continues from it. Random numbers are functions of
counters, so saving the counters is enough.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fastmlp import _checks, _config, io, optimizers
from fastmlp._engines.base import Sums
from fastmlp._training.sources import Part
from fastmlp._types import Array
from fastmlp.callbacks import Callback
from fastmlp.errors import FastmlpFormatError
from fastmlp.history import History
from fastmlp.layers import Layer
from fastmlp.network import Network
from fastmlp.optimizers import Optimizer, OptimizerState

__all__ = ["Checkpoint", "fingerprint", "read", "write"]


_SPAN = re.compile(r"optimizer\.learning_rate(\.then)*\.steps was ")
"""How a difference in the length of a schedule begins, which a different number of epochs makes."""


def fingerprint(array: Array | None) -> dict[str, Any] | None:
    """Return what identifies an array: dtype, shape and a digest of its bytes."""
    if array is None:
        return None
    values = np.ascontiguousarray(array)
    digest = hashlib.sha256(values.reshape(-1).view(np.uint8).data).hexdigest()
    return {"dtype": str(array.dtype), "shape": list(array.shape), "sha256": digest}


# --- Writing ------------------------------------------------------------------------------------


def write(
    path: str | os.PathLike[str],
    network: Network,
    state: OptimizerState,
    history: History,
    callbacks: Sequence[Callback],
    part: Part | None,
    steps: int,
    config: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> None:
    """Write a checkpoint, atomically.

    Parameters
    ----------
    path : str or path
    network, state, history, callbacks
        The parts of the run, as they are now.
    part : Part or None
        The part of the current epoch that is done; None between two epochs.
    steps : int
        Number of steps of the run so far.
    config : dict
        What ``load_model`` needs besides the weights.
    settings : dict
        What a run that continues from here must have in common with this one.
    """
    arrays = {f"optimizer/{name}": value for name, value in state.arrays.items()}
    arrays |= {
        f"history/{name}": np.array(column, np.float64) for name, column in history.history.items()
    }
    kept = []
    for index, callback in enumerate(callbacks):
        plain = {}
        for name, value in callback.state().items():
            if isinstance(value, np.ndarray):
                arrays[f"callback/{index}/{name}"] = value
            else:
                plain[name] = value
        kept.append({"class": type(callback).__name__, "state": _encoded(plain)})
    if part is not None and part.outputs is not None:
        arrays["outputs"] = part.outputs
    training = {
        "settings": settings,
        "optimizer": optimizers.config(state.optimizer),
        "layers": [layer.training_settings for layer in network.layers],
        "counters": network.counters,
        "state": _encoded(
            {
                "step": state.step,
                "epoch": state.epoch,
                "learning_rate": state.learning_rate,
                "memory": state.memory,
            }
        ),
        "columns": list(history.history),
        "steps": steps,
        "part": None if part is None else _encoded([*part.sums, part.seconds]),
        "callbacks": kept,
        "runs_on": _runs_on(network),
    }
    io.write_model(path, config, network.arrays, training, arrays)


def _runs_on(network: Network) -> str:
    return "numpy" if network.backend == "numpy" else _config.instruction_set()


def _encoded(value: Any) -> Any:
    """Return plain values for JSON, with infinity and NaN as text in an object."""
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    if isinstance(value, dict):
        return {name: _encoded(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encoded(each) for each in value]
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"float"}:
            return float(value["float"])
        return {name: _decoded(each) for name, each in value.items()}
    return [_decoded(each) for each in value] if isinstance(value, list) else value


# --- Reading ------------------------------------------------------------------------------------


class Checkpoint:
    """A checkpoint that was read and whose checksum is right; it is not applied yet.

    Parameters
    ----------
    path : str
        For messages.
    training : dict
        The training part of the file's header.
    values, arrays : dict of str to array
        Arrays of the network, and of its training.

    Raises
    ------
    ValueError, TypeError, KeyError
        If the content is not what ``write`` writes.
    """

    def __init__(
        self,
        path: str,
        training: Mapping[str, Any],
        values: Mapping[str, Array],
        arrays: Mapping[str, Array],
    ) -> None:
        self._path, self._values = path, values
        self._settings: dict[str, Any] = dict(training["settings"])
        self._optimizer = optimizers.get(dict(training["optimizer"]))
        self._layers = [_training_settings(each) for each in training["layers"]]
        self._counters = {
            name: _checks.integer(training["counters"][name], name, minimum=0)
            for name in ("epochs_begun", "steps_done")
        }
        self._state = _decoded(training["state"])
        for name in ("step", "epoch"):
            _checks.integer(self._state[name], name, minimum=0)
        float(self._state["learning_rate"])
        self._slots = _below(arrays, "optimizer/")
        columns = _below(arrays, "history/")
        self._history = {name: columns[name] for name in training["columns"]}
        self.epochs = max(map(len, self._history.values()), default=0)
        if any(column.shape != (self.epochs,) for column in self._history.values()):
            raise ValueError("the columns of the history have different lengths")
        self._callbacks = [
            (str(kept["class"]), _decoded(kept["state"]) | _below(arrays, f"callback/{index}/"))
            for index, kept in enumerate(training["callbacks"])
        ]
        self.part: Part | None = None
        if training["part"] is not None:
            done, loss, weight, correct, seconds = _decoded(training["part"])
            sums = Sums(
                _checks.integer(done, "done", minimum=1),
                float(loss),
                float(weight),
                _checks.integer(correct, "correct", minimum=0),
            )
            self.part = Part(sums, float(seconds), arrays.get("outputs"))
        # Missing in old files; only runs with batches from Python use it.
        self.steps = _checks.integer(training.get("steps", 0), "steps", minimum=0)
        self._runs_on = str(training["runs_on"])

    def check(
        self, settings: Mapping[str, Any], network: Network, optimizer: Optimizer, batch: int
    ) -> None:
        """Check that a run may continue from here.

        Raises
        ------
        ValueError
            If its settings, data or arrays are different; the message says which.
        """
        differences = [
            difference
            for name in (
                *self._settings,
                *(name for name in settings if name not in self._settings),
            )
            for difference in _differences(name, self._settings.get(name), settings.get(name))
        ]
        if not differences and len(self._layers) != len(network.layers):
            differences.append(f"it has {len(self._layers)} layers, not {len(network.layers)}")
        if not differences and self.part is not None:
            done, total = self.part.sums.done, settings["x"]["shape"][0]
            if done > total or (done % batch and done != total):
                differences.append(f"{done} of {total} samples done are not whole batches")
        if differences:
            message = f"resume: {self._path} belongs to a different run: {'; '.join(differences)}."
            if all(_SPAN.match(difference) for difference in differences):
                message += (
                    " Keep the length of the schedule: pass the same steps= (for the command, the "
                    "same --epochs and --warmup)."
                )
            raise ValueError(message)
        self._check_arrays(network, optimizer)
        if self._runs_on != _runs_on(network):
            warnings.warn(
                f"resume: {self._path} was written on {self._runs_on}, but this run uses "
                f"{_runs_on(network)}. Its results will differ by rounding from the results of an "
                "uninterrupted run.",
                stacklevel=4,
            )

    def _check_arrays(self, network: Network, optimizer: Optimizer) -> None:
        """Check the names, shapes and types of the arrays, since files may be wrong."""
        expected = {name: (value.shape, value.dtype) for name, value in network.arrays.items()}
        trained = {name.partition("/")[2] for name in self._slots} & set(network.named_parameters)
        slots = {f"{slot}/{name}": expected[name] for name in trained for slot in optimizer.slots}
        for known, arrays in ((expected, self._values), (slots, self._slots)):
            if known != {name: (value.shape, value.dtype) for name, value in arrays.items()}:
                raise ValueError(f"resume: the arrays in {self._path} do not fit the model.")
        network.check_ranges(self._values)

    def apply(self, network: Network, optimizer: Optimizer, history: History) -> None:
        """Restore the network, the state of the optimizer and the history."""
        network.assign(self._values)
        network.counters = self._counters
        for layer, changed in zip(network.layers, self._layers, strict=True):
            for name, value in changed.items():
                setattr(layer, name, value)
        for name, value in self._optimizer.config().items():
            if name != "name" and value != optimizer.config()[name]:
                setattr(optimizer, name, getattr(self._optimizer, name))
        network.forget()
        state = network.state(optimizer)
        state.step, state.epoch = self._state["step"], self._state["epoch"]
        state.learning_rate, state.memory = self._state["learning_rate"], self._state["memory"]
        state.arrays = self._slots
        history.extend(self._history)

    def restore(self, callbacks: Sequence[Callback]) -> None:
        """Restore the states of callbacks, matched by class and order."""
        left = list(self._callbacks)
        for callback in callbacks:
            for index, (kind, state) in enumerate(left):
                if kind == type(callback).__name__:
                    callback.restore(state)
                    del left[index]
                    break


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint and verify its checksum.

    Raises
    ------
    FastmlpFormatError
        If it is damaged or not a checkpoint.
    OSError
        If it cannot be read.
    """
    with io.ModelFile(path) as file:
        if file.training is not None:
            values, arrays = file.read()
            return Checkpoint(os.fspath(path), file.training, values, arrays)
    raise FastmlpFormatError(
        f"resume: {os.fspath(path)} is a model file, not a checkpoint. ModelCheckpoint (for the "
        "command, --checkpoint) writes checkpoints."
    )


def _training_settings(given: Mapping[str, Any]) -> dict[str, bool | float]:
    """Return the training settings of a layer, checked."""
    return {
        name: _checks.boolean(given[name], name)
        if isinstance(default, bool)
        else _checks.number(given[name], name, minimum=0.0)
        for name, default in Layer.training_settings.items()
    }


def _below(arrays: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {n.removeprefix(prefix): value for n, value in arrays.items() if n.startswith(prefix)}


def _plain(value: Any) -> Any:
    """Return plain values as they come back from JSON."""
    return json.loads(json.dumps(value))


def _differences(name: str, there: Any, here: Any) -> list[str]:
    """Describe the differences between a setting in the checkpoint and in this run."""
    there, here = _plain(there), _plain(here)
    if there == here:
        return []
    if isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        each = enumerate(zip(there, here, strict=True))
        return [words for i, pair in each for words in _differences(f"{name}[{i}]", *pair)]
    if _is_fingerprint(there) and _is_fingerprint(here):
        if (there["dtype"], there["shape"]) == (here["dtype"], here["shape"]):
            return [f"{name} has other values"]
    elif isinstance(there, dict) and isinstance(here, dict):
        for kind in ("name", "layer"):
            one, other = there.get(kind), here.get(kind)
            if one != other:  # different classes: their settings cannot be compared
                return [f"{name} was {_short(one)}, is now {_short(other)}"]
        if there.keys() == here.keys():
            pairs = {f"{name}.{key}": (there[key], here[key]) for key in there}
            return [words for key, pair in pairs.items() for words in _differences(key, *pair)]
    return [f"{name} was {_short(there)}, is now {_short(here)}"]


def _is_fingerprint(value: Any) -> bool:
    return isinstance(value, dict) and set(value) == {"dtype", "shape", "sha256"}


def _short(value: Any) -> str:
    if _is_fingerprint(value):
        return f"{value['dtype']} {tuple(value['shape'])}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_short(each)}" for name, each in value.items()) + "}"
    text = "[" + ", ".join(map(_short, value)) + "]" if isinstance(value, list) else repr(value)
    return text if len(text) <= 200 else text[:197] + "..."
