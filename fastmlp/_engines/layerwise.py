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
from fastmlp._engines.base import CHUNK, Epochs, Outcome, Poll, Sums, Watch
from fastmlp.layers.base import GradientSink, Training
from fastmlp.losses import Loss
from fastmlp.network import Network
from fastmlp.optimizers import GradientStore, OptimizerState, UpdatingSink

__all__ = ["ReferenceEngine", "Workspace", "backward", "converted", "forward"]

Array = npt.NDArray[Any]

_KEPT_WORKSPACES = 4
# It does one at a time.
_NO_EPOCHS = Epochs(np.empty(0), np.empty(0, np.int64), np.empty(0), np.empty(0))


class Workspace:
    """The buffers of one pass of ``n`` samples through a network; one thread may use it at a time.

    Parameters
    ----------
    network : Network
        The network to pass through.
    n : int
        Number of samples.
    training : Training, optional
        What layers may know of a training pass; without it they predict.
    """

    __slots__ = ("dy", "pairs")

    def __init__(self, network: Network, n: int, training: Training | None = None) -> None:
        dtype = network.dtype
        if training is None:
            self.pairs = [(layer, layer.workspace(n, dtype)) for layer in network.layers]
        else:
            self.pairs = [
                (layer, layer.training_workspace(n, dtype, training)) for layer in network.layers
            ]
        self.dy = empty((n, *network.output_shape), dtype)


def converted(network: Network, x: Array) -> Array:
    """Return samples in the network's dtype, scaled; integers as they are."""
    if network.integers_below is not None:
        return x
    if x.dtype == network.dtype and network.scale == 1:
        return np.ascontiguousarray(x)
    result = empty(x.shape, network.dtype)
    np.multiply(x, network.dtype.type(network.scale), out=result, dtype=network.dtype)
    return result


def forward(ops: ModuleType, x: Array, workspace: Workspace) -> Array:
    """Return the output for ``x`` (n, *input_shape), which may be a buffer of the workspace."""
    for layer, buffers in workspace.pairs:
        x = layer.forward(ops, x, buffers)
    return x


def backward(
    network: Network,
    ops: ModuleType,
    dy: Array,
    workspace: Workspace,
    sink: GradientSink,
    *,
    trainable: bool = False,
) -> None:
    """Pass the gradients of all (or all trainable) parameters to ``sink``, after a ``forward``.

    ``dy`` (n, *output_shape) is the gradient of the loss by the output. It is overwritten.
    """
    first = network.lowest(trainable=trainable)
    for index in range(len(workspace.pairs) - 1, first - 1, -1):
        layer, buffers = workspace.pairs[index]
        dx = layer.backward(ops, dy, buffers, sink, index > first)
        if dx is not None:
            dy = dx


class _Mean:
    """A weighted mean that grows; 0 while nothing has weight."""

    def __init__(self, total: float = 0.0, weight: float = 0.0) -> None:
        self.total, self.weight = total, weight

    def add(self, value: float, weight: float) -> None:
        self.total += value * weight
        self.weight += weight

    @property
    def value(self) -> float:
        return self.total / self.weight if self.weight > 0 else self.total


class ReferenceEngine:
    """Runs a network layer by layer, in Python, on plain numpy."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._ops: ModuleType = _backend.load("numpy")
        self._training = Training(network.seed)
        self._workspaces: dict[int, Workspace] = {}
        self._sink: tuple[OptimizerState, UpdatingSink] | None = None

    def bundles(self, loss: Loss, state: OptimizerState) -> bool:
        """Return False: ``train`` takes one epoch at once."""
        return False

    def train(
        self,
        loss: Loss,
        state: OptimizerState,
        x: Array,
        y: Array,
        order: Array | None,
        batch: int,
        *,
        weights: Array | None = None,
        epochs: int = 1,
        counts: bool = False,
        out: Array | None = None,
        poll: Poll | None = None,
        begun: Sums | None = None,
        watch: Watch | None = None,
    ) -> Outcome:
        """Do a step for every batch of ``x``, taken in ``order``; stop before a loss not finite."""
        network, ops = self._network, self._ops
        network.to_plain()
        if self._sink is None or self._sink[0] is not state:
            self._sink = state, UpdatingSink(ops, state)
        sink = self._sink[1]
        begun, value, total = begun or Sums(), 0.0, len(x if order is None else order)
        mean, correct, done = _Mean(begun.loss, begun.weight), begun.correct, begun.done // batch
        state.begin_run(-(-total // batch), done=done)
        before = 0 if watch is None else watch.before - done
        first = network.steps_done - done
        try:
            for start in range(begun.done, total, batch):
                stop = min(start + batch, total)
                rows: Any = slice(start, stop) if order is None else order[start:stop]
                workspace = self._workspace(stop - start)
                targets = y[rows]
                self._training.step = first + done + 1
                output = forward(ops, converted(network, x[rows]), workspace)
                if out is not None:
                    out[start:stop] = output
                of_rows = None if weights is None else weights[rows]
                value, dy, weight = loss.measure(ops, output, targets, workspace.dy, of_rows)
                if not math.isfinite(value):
                    return Outcome(mean.value, value, correct, start, True, _NO_EPOCHS)
                if counts:
                    correct += int(loss.right(output, targets).sum())
                value += network.penalty()
                state.begin_step(done)
                backward(network, ops, dy, workspace, sink, trainable=True)
                sink.finish()
                done += 1
                mean.add(value, weight)
                ends = poll is not None and poll(stop, mean.value, correct)
                network.steps_done = first + done
                if watch is not None and (before + done) % watch.every == 0:
                    sums = Sums(stop, mean.total, mean.weight, correct)
                    ends = watch.call(sums, value) or ends
                if ends:
                    return Outcome(mean.value, value, correct, stop, False, _NO_EPOCHS)
        finally:
            state.end_run(done)
        return Outcome(mean.value, value, correct, total, False, _NO_EPOCHS)

    def evaluate(
        self,
        loss: Loss,
        x: Array,
        y: Array,
        *,
        weights: Array | None = None,
        counts: bool = False,
        out: Array | None = None,
        poll: Poll | None = None,
    ) -> Outcome:
        """Measure the loss, and the right answers if they are to be counted; outputs to ``out``."""
        network, ops, total = self._network, self._ops, len(x)
        network.to_plain()
        mean, correct, done, value = _Mean(), 0, 0, 0.0
        for rows, workspace in self._chunks(total):
            targets = y[rows]
            output = forward(ops, converted(network, x[rows]), workspace)
            if out is not None:
                out[rows] = output
            of_rows = None if weights is None else weights[rows]
            value, _, weight = loss.measure(ops, output, targets, workspace.dy, of_rows)
            mean.add(value, weight)
            correct += int(loss.right(output, targets).sum()) if counts else 0
            done += len(targets)
            if poll is not None and poll(done, mean.value, correct):
                break
        return Outcome(mean.value, value, correct, done, not math.isfinite(mean.value), _NO_EPOCHS)

    def predict(self, x: Array, out: Array) -> None:
        """Write the outputs to ``out`` (N, *output_shape)."""
        network = self._network
        network.to_plain()
        for rows, workspace in self._chunks(len(x)):
            out[rows] = forward(self._ops, converted(network, x[rows]), workspace)

    def gradients(
        self, loss: Loss, x: Array, y: Array, *, weights: Array | None = None
    ) -> tuple[float, dict[str, Array]]:
        """Return the mean loss and its gradient by every parameter."""
        network = self._network
        network.to_plain()
        training = Training(network.seed, updates=False)
        workspace, store = Workspace(network, len(x), training), GradientStore(self._ops)
        output = forward(self._ops, converted(network, x), workspace)
        value, dy, _ = loss.measure(self._ops, output, y, workspace.dy, weights)
        backward(network, self._ops, dy, workspace, store)
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
            self._workspaces[rows] = Workspace(self._network, rows, self._training)
        return self._workspaces[rows]
