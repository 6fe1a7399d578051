"""Samples that stay in their memory-mapped file: an engine passes a group of them at a time.

Both backends get the same groups in the same order, so every statement about the passes of an
engine holds for these passes too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp import _memmap
from fastmlp._engines import engine
from fastmlp._engines.base import CHUNK, Pass, PassResult, Poll, StepHook
from fastmlp._training.scoring import Scores
from fastmlp._training.sources import ArraySource, Part, Total
from fastmlp._types import Array
from fastmlp.losses import Loss
from fastmlp.optimizers import OptimizerState

__all__ = ["MemmapSource", "source_class"]


def source_class(x: Array) -> type[ArraySource]:
    """Return the class of source for an array: large memory-mapped files stay on disk."""
    return MemmapSource if _memmap.is_large(x) else ArraySource


class MemmapSource(ArraySource):
    """Samples in a memory-mapped file that is too large to load."""

    __slots__ = ()

    in_memory = False
    hooks = False  # a step of a group is not a step of the epoch

    def train(
        self,
        loss: Loss,
        state: OptimizerState,
        scores: Scores,
        epoch: int,
        poll: Poll,
        hook: StepHook | None = None,
        part: Part | None = None,
    ) -> PassResult:
        """Train one epoch."""
        network, total = self.network, Total(self.network, loss)
        out = self._kept_outputs() if scores.metrics else None
        index = network.epochs_begun - 1 if self.shuffle else None
        taken = []
        for group in _memmap.groups(self.x, self._dtype, self.batch, network.seed, index):
            job = Pass(
                group.samples,
                self.y[group.rows],
                group.order,
                self.batch,
                weights=None if self.weights is None else self.weights[group.rows],
                counts=scores.accuracy,
                out=None if out is None else out[total.done : total.done + len(group.rows)],
                poll=total.poll(poll),
            )
            result = engine(network).train(loss, state, job)
            taken.append(group.rows if group.order is None else group.rows[group.order])
            if not total.add(result, job.y, job.weights):
                break
        if out is None:
            return total.result()
        return total.result()._replace(outputs=out, targets=self.y[np.concatenate(taken)])

    def evaluate(self, loss: Loss, scores: Scores, poll: Poll | None = None) -> PassResult:
        """Measure the loss and what ``scores`` needs over all samples, without training."""
        network, total = self.network, Total(self.network, loss)
        out = self._new_outputs() if scores.metrics else None
        for group in _memmap.groups(self.x, self._dtype, CHUNK):
            rows = slice(total.done, total.done + len(group.rows))
            job = Pass(
                group.samples,
                self.y[rows],
                weights=None if self.weights is None else self.weights[rows],
                counts=scores.accuracy,
                out=None if out is None else out[rows],
                poll=total.poll(poll),
            )
            if not total.add(engine(network).evaluate(loss, job), job.y, job.weights):
                break
        return self._with_outputs(total.result(), out)

    def predict(self) -> Array:
        """Return the outputs for all samples."""
        network, out = self.network, self._new_outputs()
        for group in _memmap.groups(self.x, self._dtype, CHUNK):
            engine(network).predict(group.samples, out[group.rows[0] : group.rows[-1] + 1])
        return out

    def resume(self, steps: int, part: Part | None) -> None:
        """Continue after ``steps`` steps of an earlier run.

        Raises
        ------
        ValueError
            If the run stopped within an epoch.
        """
        if part is not None:
            raise ValueError(
                "resume: the checkpoint was written within an epoch, which can be resumed only "
                "with data in memory, but x is a memory-mapped file. Load the file into memory "
                "first."
            )

    @property
    def _dtype(self) -> np.dtype[Any]:
        """The type that samples are converted to; integers for an Embedding stay as they are."""
        return self.network.dtype if self.network.integers_below is None else self.x.dtype
