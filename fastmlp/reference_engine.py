"""Networks layer by layer, in Python, on plain numpy: the definition of what a plan does."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp import _backend
from fastmlp._arrays import empty
from fastmlp.losses import Loss
from fastmlp.network import Network, Workspace
from fastmlp.optimizers import GradientStore, State, UpdatingSink
from fastmlp.passes import CHUNK, Epochs, Outcome, Poll

__all__ = ["ReferenceEngine"]

Array = npt.NDArray[Any]

_KEPT_WORKSPACES = 4
# It does one at a time.
_NO_EPOCHS = Epochs(np.empty(0), np.empty(0, np.int64), np.empty(0), np.empty(0))


class ReferenceEngine:
    """Runs a network layer by layer, in Python, on plain numpy."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._ops: ModuleType = _backend.load("numpy")
        self._workspaces: dict[int, Workspace] = {}
        self._sink: tuple[State, UpdatingSink] | None = None

    def bundles(self, loss: Loss, state: State) -> bool:
        """Return False: ``train`` takes one epoch at once."""
        return False

    def train(
        self,
        loss: Loss,
        state: State,
        x: Array,
        y: Array,
        order: Array | None,
        batch: int,
        *,
        epochs: int = 1,
        counts: bool = False,
        poll: Poll | None = None,
    ) -> Outcome:
        """Do a step for every batch of ``x``, taken in ``order``; stop before a loss not finite."""
        network, ops = self._network, self._ops
        network.to_plain()
        if self._sink is None or self._sink[0] is not state:
            self._sink = state, UpdatingSink(ops, state)
        sink = self._sink[1]
        loss_sum, value, correct, done, total = 0.0, 0.0, 0, 0, len(x)
        state.begin_run(-(-total // batch))
        try:
            for start in range(0, total, batch):
                stop = min(start + batch, total)
                rows: Any = slice(start, stop) if order is None else order[start:stop]
                n = stop - start
                workspace = self._workspace(n)
                targets = y[rows]
                output = network.forward(ops, self._samples(x[rows]), workspace)
                value, dy = loss(ops, output, targets, workspace.dy)
                if not math.isfinite(value):
                    return Outcome(loss_sum, value, correct, start, True, _NO_EPOCHS)
                if counts:
                    correct += ops.count_correct(output, targets)
                value += network.penalty()
                state.begin_step(done)
                network.backward(ops, dy, workspace, sink, trainable=True)
                sink.finish()
                done += 1
                loss_sum += value * n
                if poll is not None and poll(stop, loss_sum, correct):
                    return Outcome(loss_sum, value, correct, stop, False, _NO_EPOCHS)
        finally:
            state.end_run(done)
        return Outcome(loss_sum, value, correct, total, False, _NO_EPOCHS)

    def evaluate(
        self, loss: Loss, x: Array, y: Array, *, counts: bool, poll: Poll | None = None
    ) -> Outcome:
        """Measure the loss, and the samples classified right if they are to be counted."""
        network, ops, total = self._network, self._ops, len(x)
        network.to_plain()
        loss_sum, correct, done, value = 0.0, 0, 0, 0.0
        for rows, workspace in self._chunks(total):
            targets = y[rows]
            output = network.forward(ops, self._samples(x[rows]), workspace)
            value, _ = loss(ops, output, targets, workspace.dy)
            loss_sum += value * len(targets)
            correct += ops.count_correct(output, targets) if counts else 0
            done += len(targets)
            if poll is not None and poll(done, loss_sum, correct):
                break
        return Outcome(loss_sum, value, correct, done, not math.isfinite(loss_sum), _NO_EPOCHS)

    def predict(self, x: Array, out: Array) -> None:
        """Write the outputs to ``out`` (N, *output_shape)."""
        network = self._network
        network.to_plain()
        for rows, workspace in self._chunks(len(x)):
            out[rows] = network.forward(self._ops, self._samples(x[rows]), workspace)

    def gradients(self, loss: Loss, x: Array, y: Array) -> tuple[float, dict[str, Array]]:
        """Return the mean loss and its gradient by every parameter."""
        network = self._network
        network.to_plain()
        workspace, store = Workspace(network, len(x)), GradientStore(self._ops)
        output = network.forward(self._ops, self._samples(x), workspace)
        value, dy = loss(self._ops, output, y, workspace.dy)
        network.backward(self._ops, dy, workspace, store)
        value += network.penalty()
        return value, {name: store.gradients[name] for name in network.named_parameters}

    def _chunks(self, total: int) -> Iterator[tuple[slice, Workspace]]:
        """Yield the rows of each chunk with buffers for them: the caller's own, used again."""
        size = min(CHUNK, total)
        workspace = Workspace(self._network, size)
        for start in range(0, total, size):
            left = min(size, total - start)
            if left < size:
                workspace = Workspace(self._network, left)
            yield slice(start, start + left), workspace

    def _workspace(self, rows: int) -> Workspace:
        """Return the buffers of a training step; those of a few batch sizes are kept."""
        if rows not in self._workspaces:
            if len(self._workspaces) >= _KEPT_WORKSPACES:
                self._workspaces.clear()
            self._workspaces[rows] = Workspace(self._network, rows)
        return self._workspaces[rows]

    def _samples(self, x: Array) -> Array:
        """Return samples in the network's dtype, scaled."""
        network = self._network
        if x.dtype == network.dtype and network.scale == 1:
            return np.ascontiguousarray(x)
        result = empty(x.shape, network.dtype)
        np.multiply(x, network.dtype.type(network.scale), out=result, dtype=network.dtype)
        return result
