"""Networks as compiled plans, which are made when first needed, kept, and run.

``layerwise`` has the same passes in readable form.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from fastmlp import _threads
from fastmlp._engines.base import CHUNK, Epochs, Pass, PassResult, Poll, StepHook, Sums
from fastmlp._plan.compiler import (
    PlanSettings,
    build,
    has_compiled_loss,
    has_compiled_update,
    has_rule,
)
from fastmlp._plan.narrow import NarrowBuilder
from fastmlp._plan.operation import Operation, describe
from fastmlp._plan.sparsity import leaves_zeros, most_listed
from fastmlp._types import Array
from fastmlp.losses import Loss
from fastmlp.network import Network
from fastmlp.optimizers import OptimizerState

__all__ = ["Plan", "PlanEngine"]

# Minimum floating-point operations of a step for several threads; below this one is faster.
_PARALLEL_STEP = 300_000
# The same for a call of all its steps, because starting a thread takes 50 microseconds.
_PARALLEL_CALL = 5_000_000
_KEPT_PLANS = 8
_POLL_SECONDS = 0.05
# Minimum floating-point operations of a step for a look at the clock after every step.
_LONG_STEP = 1_000_000
# Samples whose size is a multiple of this many bytes are copied to the arena, because their
# addresses compete for the same sets of the cache.
_ALIASING = 1024

# Held while a plan is made, because that packs the weights, and several threads may predict.
_making = threading.Lock()


def _unlock() -> None:
    """Replace the lock in a child of fork, where the thread that holds it does not exist."""
    global _making
    _making = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


class Plan:
    """A network compiled for one purpose and a maximum number of samples at a time.

    Parameters
    ----------
    network : Network
    settings : PlanSettings
    """

    def __init__(self, network: Network, settings: PlanSettings) -> None:
        self.rows = settings.rows
        self.state = settings.state
        self.stored: dict[str, Array] = {}
        builder = build(network, settings, self.stored)
        self.flops = sum(operation.flops for operation in builder.operations)
        if settings.threads > 1 and self.flops < _PARALLEL_STEP:
            settings = replace(settings, threads=1)
            builder = build(network, settings, self.stored)
        self.threads = settings.threads
        self.operations: list[Operation] = builder.operations
        self._builder = builder
        # A plan with Python parts calls Python in every step anyway.
        self.asks_python = any(operation.kind == "python" for operation in self.operations)
        self.steps_between = 1 if self.flops >= _LONG_STEP else 16
        self.program, self._arena = builder.finish()
        self._compiled_loss = settings.loss is not None and has_compiled_loss(settings.loss)
        self.features = math.prod(network.input_shape)
        self.gather = settings.gather or isinstance(builder, NarrowBuilder)
        value_bytes = 1 if settings.bytes_ else settings.index_bytes or network.dtype.itemsize
        self.sample_bytes = self.features * value_bytes

    def is_current(self) -> bool:
        """Return whether the plan holds the addresses of the network's current arrays.

        If it does, the values that it derives from them are brought up to date.
        """
        for stored, live in self._builder.storage:  # a loop, as predictions need it fast
            if stored.live is not live:
                return False
        for derived in self._builder.derived:
            derived.refresh()
        return True

    def measure(
        self,
        x: Array,
        y: Array | None = None,
        weights: Array | None = None,
        out: Array | None = None,
        counts: bool = False,
        poll: Poll | None = None,
    ) -> PassResult:
        """Pass all samples, ``rows`` at a time, without training; arguments are as in ``Pass``."""
        labels, targets = self.begin(x, y, None, weights)
        losses, seconds, correct = np.empty(1), np.empty(1), np.empty(1, np.int64)
        steps = -(-len(x) // self.rows)
        try:
            found = self.program.run(
                x,
                len(x),
                self.rows,
                sample_bytes=self.sample_bytes,
                in_place=not self.gather,
                x_row=self.features,
                labels=labels,
                targets=targets,
                weights=weights,
                out=out,
                counts=counts,
                poll=poll,
                interval=_POLL_SECONDS,
                every_step=self.asks_python,
                steps_between=self.steps_between,
                threads=self.threads_of_call(steps),
                epoch_loss=losses,
                epoch_seconds=seconds,
                epoch_correct=correct,
            )
        finally:
            self.end()
        return PassResult(*found[:5])

    def begin(
        self,
        x: Array,
        y: Array | None,
        order: Array | None,
        weights: Array | None,
        first_step: int = 1,
    ) -> tuple[Array | None, Array | None]:
        """Prepare operations in Python; return the labels or the targets for a compiled loss.

        ``first_step`` is the number of the first step of the epoch, counted from the creation of
        the network.
        """
        context = self._builder.context
        context.first_step = first_step
        context.x, context.y, context.order, context.weights = x, y, order, weights
        if y is None or not self._compiled_loss:  # a loss in Python may have any targets
            return None, None
        return (y, None) if y.ndim == 1 and y.dtype == np.int64 else (None, y)

    def end(self) -> None:
        """Release the arrays of a pass."""
        self._builder.context.clear()

    def threads_of_call(self, steps: int) -> int:
        """Return the fastest number of threads for a call with this number of steps."""
        return 1 if self.flops * steps < _PARALLEL_CALL else self.threads

    def changed(self) -> None:
        """Mark the arrays of the network as changed, so that derived values are computed again."""
        for stored, _ in self._builder.storage:
            stored.changes += 1

    def __str__(self) -> str:
        return describe(self.operations, self.rows, self._arena)


class PlanEngine:
    """Runs a network as compiled plans, and keeps the plans."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._custom = not all(has_rule(layer) for layer in network.layers)
        self._most_listed = most_listed(network)
        self._plans: dict[Any, list[Plan]] = {}
        # The plan for one sample of the network's dtype; None while a thread runs it.
        self._single: Plan | None = None

    def plan(
        self,
        purpose: str,
        rows: int,
        x: Array,
        loss: Loss | None = None,
        state: OptimizerState | None = None,
        *,
        shuffled: bool = False,
        outputs: bool = False,
    ) -> tuple[Any, Plan]:
        """Take a plan for exclusive use, and its key for ``give_back``; make one if necessary."""
        network = self._network
        threads = _threads.get_num_threads()
        row_bytes = math.prod(x.shape[1:]) * x.dtype.itemsize
        gather = (
            shuffled
            or x.dtype != network.dtype
            or network.scale != 1
            or self._custom
            or (loss is not None and not has_compiled_loss(loss))
            or (row_bytes % _ALIASING == 0 and rows > 1)
        )
        bytes_, index_bytes = x.dtype == np.uint8, 0
        if network.integers_below is not None:
            # An embedding reads the integers in place.
            gather, bytes_, index_bytes = False, False, x.dtype.itemsize
        clips = "" if state is None else state.optimizer.clips
        settings = (clips, network.training_settings)
        listed = leaves_zeros(x, rows, self._most_listed)
        samples = (gather, bytes_, index_bytes, listed)
        key = (purpose, rows, threads, samples, _identity(loss), state, settings, outputs)
        with _making:
            while self._plans.get(key):
                plan = self._plans[key].pop()
                if plan.is_current():
                    return key, plan
            if len(self._plans) >= _KEPT_PLANS:
                self._plans.clear()
            plan_settings = PlanSettings(
                purpose,
                rows,
                threads,
                loss,
                state,
                gather=gather,
                bytes_=bytes_,
                outputs=outputs,
                index_bytes=index_bytes,
                listed=listed,
            )
            return key, Plan(network, plan_settings)

    def describe(self, purpose: str, rows: int, loss: Loss, state: OptimizerState) -> Plan:
        """Return the plan for samples of the network's dtype, shuffled in training."""
        network, trains = self._network, purpose == "train"
        dtype = network.dtype if network.integers_below is None else np.dtype(np.int64)
        x = np.empty((1, *network.input_shape), dtype)
        used = None if purpose == "predict" else loss
        return self.plan(purpose, rows, x, used, state if trains else None, shuffled=trains)[1]

    def give_back(self, key: Any, plan: Plan) -> None:
        """Keep a plan for the next call."""
        with _making:
            self._plans.setdefault(key, []).append(plan)

    def bundles(self, loss: Loss, state: OptimizerState) -> bool:
        """Return whether ``train`` takes several epochs per call: if no part is in Python."""
        return not self._custom and has_compiled_loss(loss) and has_compiled_update(state)

    def train(self, loss: Loss, state: OptimizerState, job: Pass) -> PassResult:
        """Take one step per batch; stop before a step whose loss is not finite."""
        network, order, batch, epochs = self._network, job.order, job.batch, job.epochs
        begun, hook, out = job.begun, job.hook, job.out
        key, plan = self.plan(
            "train",
            batch,
            job.x,
            loss,
            state,
            shuffled=order is not None,
            outputs=out is not None,
        )
        total = len(job.x) if order is None else len(order) // epochs
        steps = -(-total // batch)  # of an epoch
        skipped = 0 if begun is None else begun.done // batch
        before = network.steps_done
        rates = state.begin_run(steps, epochs, skipped)
        # Coefficients of the whole epoch, also if it is resumed: numpy's functions of arrays may
        # round an element differently in another place.
        first, table = state.step + 1 - skipped, None
        if has_compiled_update(state):
            table = state.optimizer.coefficients(first, rates)[skipped:]
        labels, targets = plan.begin(job.x, job.y, order, job.weights, before + 1 - skipped)
        losses, seconds = np.empty(epochs), np.empty(epochs)
        corrects = np.empty(epochs, np.int64)
        try:
            mean, value, correct, done, bad, complete = plan.program.run(
                job.x,
                total,
                batch,
                sample_bytes=plan.sample_bytes,
                in_place=not plan.gather,
                x_row=plan.features,
                order=order,
                labels=labels,
                targets=targets,
                weights=job.weights,
                out=out,
                counts=job.counts,
                stops=True,
                coefficients=table,
                first_step=before + 1,
                poll=job.poll,
                interval=_POLL_SECONDS,
                every_step=plan.asks_python,
                steps_between=plan.steps_between,
                watch=None if hook is None else self._between_steps(plan, state, job, hook),
                watched=0 if hook is None else hook.every,
                steps_before=0 if hook is None else hook.before,
                sums=begun,
                threads=plan.threads_of_call(steps * epochs),
                epoch_loss=losses,
                epoch_seconds=seconds,
                epoch_correct=corrects,
            )
        finally:  # also if Python raised between two steps
            plan.end()
            ended, samples = plan.program.progress
            taken = ended * steps + (-(-samples // batch) if ended < epochs else 0)
            network.steps_done = before + taken - skipped
            state.end_run(taken)
            plan.changed()
        self.give_back(key, plan)
        at_ends = rates[steps - 1 :: steps][:complete]
        columns = Epochs(losses[:complete], corrects[:complete], seconds[:complete], at_ends)
        return PassResult(mean, value, correct, done, bad, columns)

    def _between_steps(
        self, plan: Plan, state: OptimizerState, job: Pass, hook: StepHook
    ) -> Callable[..., Any]:
        """Return what a program calls between steps: the hook, on a network that is up to date."""
        network, batch = self._network, job.batch
        first = network.steps_done - (0 if job.begun is None else job.begun.done // batch)

        def between(done: int, loss_sum: float, weight: float, correct: int, loss: float) -> Any:
            steps = -(-done // batch)
            network.steps_done = first + steps
            state.begin_step(steps - 1)
            plan.changed()
            return hook.call(Sums(done, loss_sum, weight, correct), loss)

        return between

    def evaluate(self, loss: Loss, job: Pass) -> PassResult:
        """Measure the loss, and what else the pass asks for, without changing the network."""
        rows = min(CHUNK, len(job.x))
        key, plan = self.plan("evaluate", rows, job.x, loss, outputs=job.out is not None)
        result = plan.measure(job.x, job.y, job.weights, job.out, job.counts, job.poll)
        self.give_back(key, plan)
        return result

    def predict(self, x: Array, out: Array) -> None:
        """Write the outputs for ``x`` (N, *input_shape) to ``out`` (N, *output_shape)."""
        if len(x) == 1 and x.dtype is self._network.dtype and not self._custom:
            single, self._single = self._single, None
            if single is None or not single.is_current():
                with _making:
                    gather = self._network.scale != 1
                    settings = PlanSettings("predict", 1, 1, gather=gather)
                    single = Plan(self._network, settings)
            single.program.one(x, out, single.sample_bytes, not single.gather, single.features)
            self._single = single
            return
        key, plan = self.plan("predict", min(CHUNK, len(x)), x)
        plan.measure(x, out=out)
        self.give_back(key, plan)

    def gradients(
        self, loss: Loss, x: Array, y: Array, *, weights: Array | None = None
    ) -> tuple[float, dict[str, Array]]:
        """Return the mean loss of one batch of all samples, and its gradient by parameter name."""
        _, plan = self.plan("gradients", len(x), x, loss)
        result = plan.measure(x, y, weights)
        # The plan is not kept: it may be as large as the batch, and the caller gets its arrays.
        gradients = {name: plan.stored[name] for name in self._network.named_parameters}
        return result.loss + self._network.penalty(), gradients


def _identity(loss: Loss | None) -> Any:
    """Return the key of a loss: built-in losses with equal settings can share plans."""
    return loss.key if loss is not None and has_compiled_loss(loss) else loss
