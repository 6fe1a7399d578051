"""Networks layer by layer, in Python, on plain numpy: the definition of what a plan computes.

Read ``ReferenceEngine.train`` to see what happens in a training step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import numpy.typing as npt

from fastmlp import _backend
from fastmlp._engines.base import CHUNK, Pass, PassResult, Sums
from fastmlp.layers.base import Training
from fastmlp.losses import Loss
from fastmlp.network import Network, Workspace
from fastmlp.optimizers import GradientStore, State, UpdatingSink

__all__ = ["ReferenceEngine"]

Array = npt.NDArray[Any]

_KEPT_WORKSPACES = 4


class ReferenceEngine:
    """Runs a network layer by layer, in Python, on plain numpy."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._ops: ModuleType = _backend.load("numpy")
        self._training = Training(network.seed)
        self._workspaces: dict[int, Workspace] = {}
        self._sink: tuple[State, UpdatingSink] | None = None

    def bundles(self, loss: Loss, state: State) -> bool:
        """Return False: ``train`` takes one epoch per call."""
        return False

    def train(self, loss: Loss, state: State, job: Pass) -> PassResult:
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
                output = network.forward(ops, network.converted(job.x[chosen]), workspace)
                if job.out is not None:
                    job.out[rows] = output
                weights = None if job.weights is None else job.weights[chosen]
                value, dy, weight = loss.measure(ops, output, targets, workspace.dy, weights)
                if not math.isfinite(value):
                    return PassResult(sums.mean, value, sums.correct, start, True)
                correct = int(loss.count_correct(output, targets).sum()) if job.counts else 0
                value += network.penalty()
                state.begin_step(step)
                network.backward(ops, dy, workspace, sink, trainable=True)
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
        """Measure the loss, and what else the pass asks for, without changing the network."""
        network, ops = self._network, self._ops
        network.to_plain()
        sums, value = Sums(), 0.0
        for rows, workspace in self._chunks(len(job.x)):
            targets = job.y[rows]
            output = network.forward(ops, network.converted(job.x[rows]), workspace)
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
            out[rows] = network.forward(self._ops, network.converted(x[rows]), workspace)

    def gradients(
        self, loss: Loss, x: Array, y: Array, *, weights: Array | None = None
    ) -> tuple[float, dict[str, Array]]:
        """Return the mean loss of one batch of all samples, and its gradient by parameter name."""
        network = self._network
        network.to_plain()
        training = Training(network.seed, updates=False)
        workspace, store = Workspace(network, len(x), training), GradientStore(self._ops)
        output = network.forward(self._ops, network.converted(x), workspace)
        value, dy, _ = loss.measure(self._ops, output, y, workspace.dy, weights)
        network.backward(self._ops, dy, workspace, store)
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
        """Return the buffers of a training step; a few batch sizes keep theirs."""
        if rows not in self._workspaces:
            if len(self._workspaces) >= _KEPT_WORKSPACES:
                self._workspaces.clear()
            self._workspaces[rows] = Workspace(self._network, rows, self._training)
        return self._workspaces[rows]


def _added(sums: Sums, n: int, value: float, weight: float, correct: int) -> Sums:
    """Return ``sums`` with a batch of ``n`` samples added."""
    loss = sums.loss + value * weight
    return Sums(sums.done + n, loss, sums.weight + weight, sums.correct + correct)
