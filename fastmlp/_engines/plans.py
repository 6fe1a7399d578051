"""Networks as compiled plans: made when first needed, kept, and run."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp import _threads
from fastmlp._engines.base import CHUNK, Epochs, Outcome, Poll, Sums, Watch
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
from fastmlp.losses import Loss
from fastmlp.network import Network
from fastmlp.optimizers import OptimizerState

__all__ = ["Plan", "PlanEngine"]

Array = npt.NDArray[Any]

_PARALLEL_STEP = 300_000  # a step of fewer floating point operations is faster on one thread
_PARALLEL_CALL = 5_000_000  # so is a call: starting a thread takes 50 microseconds
_KEPT_PLANS = 8
_POLL_SECONDS = 0.05
# Steps of a plan that take so many operations at least see the clock every time.
_LONG_STEP = 1_000_000
_ALIASING = 1024  # bytes: samples so far apart, or a multiple, are copied to the arena

# Threads may predict at once: one of them makes a plan, which brings the weights to panels.
_making = threading.Lock()


def _unlock() -> None:
    """Begin anew in a child of fork: who held the lock is not there."""
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
        self.steps_done = 0  # in the last run
        self.stored: dict[str, Array] = {}
        builder = build(network, settings, self.stored)
        self.flops = sum(operation.flops for operation in builder.operations)
        if settings.threads > 1 and self.flops < _PARALLEL_STEP:
            settings = replace(settings, threads=1)
            builder = build(network, settings, self.stored)
        self.threads = settings.threads
        self.operations: list[Operation] = builder.operations
        self._builder = builder
        self._asks_python = any(operation.kind == "python" for operation in self.operations)
        self._program, self._arena = builder.finish()
        self._compiled_loss = settings.loss is not None and has_compiled_loss(settings.loss)
        self._features = math.prod(network.input_shape)
        self._gather = settings.gather or isinstance(builder, NarrowBuilder)
        value_bytes = 1 if settings.bytes_ else settings.index_bytes or network.dtype.itemsize
        self._sample_bytes = self._features * value_bytes

    def is_current(self) -> bool:
        """Return whether the arrays whose addresses it holds are still those of the network.

        If so, what it has computed from them is brought up to date.
        """
        for stored, live in self._builder.storage:  # a loop: this is part of every prediction
            if stored.live is not live:
                return False
        for derived in self._builder.derived:
            derived.refresh()
        return True

    def one(self, x: Array, out: Array) -> None:
        """Predict one sample."""
        self._program.one(x, out, self._sample_bytes, not self._gather, self._features)

    def run(
        self,
        x: Array,
        *,
        y: Array | None = None,
        order: Array | None = None,
        batch: int | None = None,
        weights: Array | None = None,
        out: Array | None = None,
        epochs: int = 1,
        first_step: int = 1,
        counts: bool = False,
        poll: Poll | None = None,
        begun: Sums | None = None,
        watch: Watch | None = None,
    ) -> Outcome:
        """Pass all samples, in their order or in ``order``, ``batch`` at a time.

        ``first_step`` is the number that the first step has in the life of the network.
        """
        total = len(x) if order is None else len(order) // epochs
        batch = self.rows if batch is None else batch
        skipped = 0 if begun is None else begun.done // batch
        coefficients = None
        state = self.state
        steps = -(-total // batch)
        rates = np.empty(0)
        if state is not None:
            rates = state.begin_run(steps, epochs, skipped)
            if has_compiled_update(state):
                # Those of the whole epoch, as in a run that begins with it: numpy's functions of
                # arrays may round an element differently in another place.
                first = state.step + 1 - skipped
                coefficients = state.optimizer.coefficients(first, rates)[skipped:]
        context = self._builder.context
        # Operations in Python count from the start of the epoch.
        context.first_step, context.batch = first_step - skipped, batch
        context.x, context.y, context.order, context.weights = x, y, order, weights
        self.steps_done = 0
        if not self._compiled_loss:
            y = None  # may be anything
        labels = y if y is not None and y.ndim == 1 and y.dtype == np.int64 else None
        small = self.flops * steps * epochs < _PARALLEL_CALL
        losses, seconds = np.empty(epochs), np.empty(epochs)
        correct = np.empty(epochs, np.int64)
        try:
            mean, loss, right, done, bad, complete = self._program.run(
                x,
                total,
                batch,
                sample_bytes=self._sample_bytes,
                in_place=not self._gather,
                x_row=self._features,
                order=order,
                labels=labels,
                targets=None if labels is not None else y,
                weights=weights,
                out=out,
                counts=counts,
                stops=state is not None,
                coefficients=coefficients,
                first_step=first_step,
                poll=poll,
                # Python has its say in every step of a plan anyway.
                every_step=self._asks_python,
                interval=_POLL_SECONDS,
                steps_between=1 if self.flops >= _LONG_STEP else 16,
                watch=None if watch is None else _watcher(watch, state, batch),
                watched=0 if watch is None else watch.every,
                steps_before=0 if watch is None else watch.before,
                sums=begun,
                threads=1 if small else self.threads,
                epoch_loss=losses,
                epoch_seconds=seconds,
                epoch_correct=correct,
            )
        finally:
            context.clear()
            if state is not None:  # also if Python raised in the middle
                ended, samples = self._program.progress
                steps_done = ended * steps + (-(-samples // batch) if ended < epochs else 0)
                self.steps_done = steps_done - skipped
                state.end_run(steps_done)
                self.changed()
        at_ends = rates[steps - 1 :: steps][:complete]
        columns = Epochs(losses[:complete], correct[:complete], seconds[:complete], at_ends)
        return Outcome(mean, loss, right, done, bad, columns)

    def changed(self) -> None:
        """Tell what is computed from the arrays of the network that they have changed."""
        for stored, _ in self._builder.storage:
            stored.changes += 1

    def __str__(self) -> str:
        return describe(self.operations, self.rows, self._arena)


class PlanEngine:
    """Runs a network as compiled plans, which it keeps."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._custom = not all(has_rule(layer) for layer in network.layers)
        self._most_listed = most_listed(network)
        self._plans: dict[Any, list[Plan]] = {}
        # For one sample of the network's dtype; None while somebody runs it.
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
        """Take a plan that nobody else runs, made if need be, and its key for ``give_back``."""
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
            # An embedding reads them where they are.
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
        """Return a plan for samples of the network's dtype, shuffled if it trains."""
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
        """Return whether ``train`` takes several epochs at once: where Python has no say."""
        return not self._custom and has_compiled_loss(loss) and has_compiled_update(state)

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
        network = self._network
        key, plan = self.plan(
            "train",
            batch,
            x,
            loss,
            state,
            shuffled=order is not None,
            outputs=out is not None,
        )
        before = network.steps_done
        if watch is not None:
            watch = watch._replace(call=self._seen(watch.call, plan, batch, begun))
        try:
            outcome = plan.run(
                x,
                y=y,
                order=order,
                batch=batch,
                weights=weights,
                out=out,
                epochs=epochs,
                first_step=before + 1,
                counts=counts,
                poll=poll,
                begun=begun,
                watch=watch,
            )
        finally:
            network.steps_done = before + plan.steps_done
        self.give_back(key, plan)
        return outcome

    def _seen(
        self, call: Callable[[Sums, float], Any], plan: Plan, batch: int, begun: Sums | None
    ) -> Callable[[Sums, float], Any]:
        """Return a watch that finds a network whose counters are right."""
        network = self._network
        first = network.steps_done - (0 if begun is None else begun.done // batch)

        def seen(sums: Sums, loss: float) -> Any:
            network.steps_done = first + -(-sums.done // batch)
            plan.changed()
            return call(sums, loss)

        return seen

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
        rows = min(CHUNK, len(x))
        key, plan = self.plan("evaluate", rows, x, loss, outputs=out is not None)
        outcome = plan.run(x, y=y, weights=weights, out=out, counts=counts, poll=poll)
        self.give_back(key, plan)
        return outcome

    def predict(self, x: Array, out: Array) -> None:
        """Write the outputs to ``out`` (N, *output_shape)."""
        if len(x) == 1 and x.dtype is self._network.dtype and not self._custom:
            single, self._single = self._single, None
            if single is None or not single.is_current():
                with _making:
                    gather = self._network.scale != 1
                    settings = PlanSettings("predict", 1, 1, gather=gather)
                    single = Plan(self._network, settings)
            single.one(x, out)
            self._single = single
            return
        key, plan = self.plan("predict", min(CHUNK, len(x)), x)
        plan.run(x, out=out)
        self.give_back(key, plan)

    def gradients(
        self, loss: Loss, x: Array, y: Array, *, weights: Array | None = None
    ) -> tuple[float, dict[str, Array]]:
        """Return the mean loss and its gradient by every parameter."""
        _, plan = self.plan("gradients", len(x), x, loss)
        outcome = plan.run(x, y=y, weights=weights)
        # The arrays are the caller's now; the plan, large as the batch may be, is not kept.
        gradients = {name: plan.stored[name] for name in self._network.named_parameters}
        return outcome.loss + self._network.penalty(), gradients


def _watcher(watch: Watch, state: OptimizerState | None, batch: int) -> Callable[..., Any]:
    """Return what a program calls: it tells the state which step is done, then the watch."""

    def call(done: int, loss_sum: float, weight: float, correct: int, loss: float) -> Any:
        if state is not None:
            state.begin_step(-(-done // batch) - 1)
        return watch.call(Sums(done, loss_sum, weight, correct), loss)

    return call


def _identity(loss: Loss | None) -> Any:
    """Return what tells plans apart: fastmlp's own losses are equal by their settings."""
    return loss.key if loss is not None and has_compiled_loss(loss) else loss
