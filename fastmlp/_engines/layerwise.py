"""Networks layer by layer, in Python, on plain numpy: the definition of what a plan computes.

Read ``ReferenceEngine.train`` to see what happens in a training step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy as np

from fastmlp import _backend
from fastmlp._arrays import empty
from fastmlp._engines.base import CHUNK, Pass, PassResult, Sums
from fastmlp._types import Array
from fastmlp.layers.base import GradientSink, Training
from fastmlp.losses import Loss
from fastmlp.network import Network
from fastmlp.optimizers import GradientStore, OptimizerState, UpdatingSink

__all__ = ["ReferenceEngine", "Workspace", "backward", "converted", "forward"]

_KEPT_WORKSPACES = 4


class Workspace:
    """The buffers of one pass of ``n`` samples through a network, for one thread at a time.

    Parameters
    ----------
    network : Network
        The network to pass through.
    n : int
        Number of samples.
    training : Training, optional
        Information for layers about the training pass; None for prediction.
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
    """Return samples in the network's dtype, scaled. Integers for embeddings do not change."""
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

    ``dy`` (n, *output_shape) is the gradient with respect to the output. It is overwritten.
    """
    first = network.lowest(trainable=trainable)
    for index in range(len(workspace.pairs) - 1, first - 1, -1):
        layer, buffers = workspace.pairs[index]
        dx = layer.backward(ops, dy, buffers, sink, index > first)
        if dx is not None:
            dy = dx


class ReferenceEngine:
    """Runs a network layer by layer, in Python, on plain numpy."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._ops: ModuleType = _backend.load("numpy")
        self._training = Training(network.seed)
        self._workspaces: dict[int, Workspace] = {}
        self._sink: tuple[OptimizerState, UpdatingSink] | None = None

    def bundles(self, loss: Loss, state: OptimizerState) -> bool:
        """Return False: ``train`` takes one epoch per call."""
        return False

    def train(self, loss: Loss, state: OptimizerState, job: Pass) -> PassResult:
        """Take one step per batch; stop before a step whose loss is not finite."""
        network, ops, batch, order = self._network, self._ops, job.batch, job.order
        network.to_plain()
        if self._sink is None or self._sink[0] is not state:
            self._sink = state, UpdatingSink(ops, state)
        sink = self._sink[1]
        total = len(job.x if order is None else order)
        sums, value = job.begun or Sums(), 0.0
        step = sums.done // batch  # number of steps done in this epoch
        state.begin_run(-(-total // batch), done=step)
        first = network.steps_done - step
        before = 0 if job.hook is None else job.hook.before - step
        try:
            for start in range(sums.done, total, batch):
                rows: Any = slice(start, min(start + batch, total))
                workspace = self._workspace(rows.stop - start)
                chosen = rows if order is None else order[rows]
                targets = job.y[chosen]
                self._training.step = first + step + 1
                output = forward(ops, converted(network, job.x[chosen]), workspace)
                if job.out is not None:
                    job.out[rows] = output
                weights = None if job.weights is None else job.weights[chosen]
                value, dy, weight = loss.measure(ops, output, targets, workspace.dy, weights)
                if not math.isfinite(value):
                    return PassResult(sums.mean, value, sums.correct, start, True)
                correct = int(loss.count_correct(output, targets).sum()) if job.counts else 0
                value += network.penalty()
                state.begin_step(step)
                backward(network, ops, dy, workspace, sink, trainable=True)
                sink.finish()
                step += 1
                sums = _added(sums, len(targets), value, weight, correct)
                network.steps_done = first + step
                ends = job.poll is not None and job.poll(sums.done, sums.mean, sums.correct)
                if job.hook is not None and (before + step) % job.hook.every == 0:
                    ends = job.hook.call(sums, value) or ends
                if ends:
                    break
        finally:
            state.end_run(step)
        return PassResult(sums.mean, value, sums.correct, sums.done, False)

    def evaluate(self, loss: Loss, job: Pass) -> PassResult:
        """Measure the loss, and what else the pass requests, without changing the network."""
        network, ops = self._network, self._ops
        network.to_plain()
        sums, value = Sums(), 0.0
        for rows, workspace in self._chunks(len(job.x)):
            targets = job.y[rows]
            output = forward(ops, converted(network, job.x[rows]), workspace)
            if job.out is not None:
                job.out[rows] = output
            weights = None if job.weights is None else job.weights[rows]
            value, _, weight = loss.measure(ops, output, targets, workspace.dy, weights)
            correct = int(loss.count_correct(output, targets).sum()) if job.counts else 0
            sums = _added(sums, len(targets), value, weight, correct)
            if job.poll is not None and job.poll(sums.done, sums.mean, sums.correct):
                break
        bad = not math.isfinite(sums.mean)
        return PassResult(sums.mean, value, sums.correct, sums.done, bad)

    def predict(self, x: Array, out: Array) -> None:
        """Write the outputs to ``out`` (N, *output_shape)."""
        network = self._network
        network.to_plain()
        for rows, workspace in self._chunks(len(x)):
            out[rows] = forward(self._ops, converted(network, x[rows]), workspace)

    def gradients(
        self, loss: Loss, x: Array, y: Array, *, weights: Array | None = None
    ) -> tuple[float, dict[str, Array]]:
        """Return the mean loss of one batch of all samples, and its gradient by parameter name."""
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
        """Yield the rows of each chunk, with buffers that all chunks of this call share."""
        size = min(CHUNK, total)
        workspace = Workspace(self._network, size)
        for start in range(0, total, size):
            left = min(size, total - start)
            if left < size:
                workspace = Workspace(self._network, left)
            yield slice(start, start + left), workspace

    def _workspace(self, rows: int) -> Workspace:
        """Return the workspace of a training step. A few are kept, one per batch size."""
        if rows not in self._workspaces:
            if len(self._workspaces) >= _KEPT_WORKSPACES:
                self._workspaces.clear()
            self._workspaces[rows] = Workspace(self._network, rows, self._training)
        return self._workspaces[rows]


def _added(sums: Sums, n: int, value: float, weight: float, correct: int) -> Sums:
    """Return ``sums`` with a batch of ``n`` samples added."""
    loss = sums.loss + value * weight
    return Sums(sums.done + n, loss, sums.weight + weight, sums.correct + correct)
