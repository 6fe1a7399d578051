"""Networks as compiled plans, which are made when first needed, kept, and run.

``layerwise`` has the same passes in readable form.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp import _threads
from fastmlp._engines.base import CHUNK, Epochs, Pass, PassResult, Poll, StepHook, Sums
from fastmlp._plan.builder import Builder
from fastmlp._plan.core import Operation, describe
from fastmlp._plan.narrow import LaneBuilder, is_narrow
from fastmlp._plan.sparsity import leaves_zeros, most_listed
from fastmlp.layers import Layer
from fastmlp.layers.base import Training
from fastmlp.losses import Loss
from fastmlp.losses import is_compiled as _is_compiled_loss
from fastmlp.network import Network
from fastmlp.optimizers import OPTIMIZERS, State

__all__ = ["Plan", "PlanEngine"]

Array = npt.NDArray[Any]

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
    """A network compiled for one purpose and at most ``rows`` samples at a time.

    Parameters
    ----------
    network : Network
    purpose : {"train", "gradients", "evaluate", "predict"}
    rows : int
        Maximum batch size.
    threads : int
        Maximum number of threads.
    loss : Loss, optional
        The loss, for all purposes except "predict".
    state : State, optional
        State of the optimizer, for "train".
    gather : bool, default=True
        Whether samples are copied to the arena, to be shuffled, converted or scaled.
    bytes_ : bool, default=False
        Whether samples are uint8.
    outputs : bool, default=False
        Whether a plan with a loss also returns the outputs.
    index_bytes : int, default=0
        Size of an integer if samples are integers, which are not gathered.
    listed : bool, default=False
        Whether samples have many zeros, which the first products skip.
    """

    def __init__(
        self,
        network: Network,
        purpose: str,
        rows: int,
        threads: int,
        loss: Loss | None = None,
        state: State | None = None,
        *,
        gather: bool = True,
        bytes_: bool = False,
        outputs: bool = False,
        index_bytes: int = 0,
        listed: bool = False,
    ) -> None:
        self.rows = rows
        self._index_bytes = index_bytes
        self._listed = listed
        self.stored: dict[str, Array] = {}
        self._outputs = outputs
        # Targets, order and weights of a pass, for a loss in Python.
        self._targets: tuple[Array | None, Array | None, Array | None] = (None, None, None)
        builder = self._build(network, purpose, threads, loss, state, gather, bytes_)
        self.flops = sum(operation.flops for operation in builder.operations)
        if threads > 1 and self.flops < _PARALLEL_STEP:
            threads = 1
            builder = self._build(network, purpose, threads, loss, state, gather, bytes_)
        self.threads = threads
        self.operations: list[Operation] = builder.operations
        self._builder = builder
        # A plan with Python parts calls Python in every step anyway.
        self.asks_python = any(operation.kind == "python" for operation in self.operations)
        self.steps_between = 1 if self.flops >= _LONG_STEP else 16
        self.program, self._arena = builder.finish()
        self._losses = np.asarray(self.program.losses)
        self._correct = np.asarray(self.program.correct)
        self._compiled_loss = loss is not None and _is_compiled_loss(loss)
        self.features = math.prod(network.input_shape)
        self.gather = gather or isinstance(builder, LaneBuilder)
        value_bytes = 1 if bytes_ else index_bytes or network.dtype.itemsize
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

    def _build(
        self,
        network: Network,
        purpose: str,
        threads: int,
        loss: Loss | None,
        state: State | None,
        gather: bool,
        bytes_: bool,
    ) -> Builder:
        own = state is not None and not _is_compiled(state)
        stored = self.stored if purpose == "gradients" or own else None
        training = None
        if purpose in ("train", "gradients"):
            training = Training(network.seed, updates=purpose == "train")
        # A property of the network: plans of two kinds would take the weights from each other.
        kind = LaneBuilder if is_narrow(network) else Builder
        builder = kind(network.dtype, self.rows, threads, state, stored, training)
        builder.index_bytes = self._index_bytes
        builder.listed = self._listed
        columns = math.prod(network.input_shape)
        x = builder.gather(columns, bytes_, network.scale) if gather else builder.input(columns)
        first = None
        if purpose in ("train", "gradients"):
            first = network.lowest(trainable=purpose == "train")
        values = [x]
        for index, layer in enumerate(network.layers):
            y = layer.lower(builder, values[-1])
            y.deep = y.deep or (first is not None and index > first)
            values.append(y)
        if loss is None:
            builder.output(values[-1])
            return builder
        if purpose == "train":
            builder.penalties(network.named_parameters.values())
        if self._outputs:  # before the loss, which may write its gradient over them
            builder.output(values[-1])
        trains = first is not None
        if _is_compiled_loss(loss):
            gradient = loss.lower(builder, values[-1], gradient=trains)
        else:
            gradient = self._custom_loss(builder, network, loss, values[-1], trains)
        if first is None:
            return builder
        for index in range(len(network.layers) - 1, first - 1, -1):
            if gradient is None:
                break
            x, y = values[index], values[index + 1]
            if x is not y:
                gradient = network.layers[index].lower_backward(
                    builder, x, y, gradient, index > first
                )
        if own and purpose == "train" and state is not None:
            self._custom_update(builder, network, state)
        else:
            builder.finish_updates()
        return builder

    def _custom_loss(
        self, builder: Builder, network: Network, loss: Loss, x: Any, trains: bool
    ) -> Any:
        outputs = builder.on_rows(x)
        dy = builder.row_buffer("d loss", x.columns, zero=True)

        def compute(rows: int, first: int) -> None:
            y, order, weights = self._targets
            if y is None:
                raise ValueError("a loss needs targets.")
            here: Any = slice(first, first + rows)
            here = here if order is None else order[here]
            targets = y[here]
            output = np.ascontiguousarray(builder.view(outputs.buffer, rows))
            output = output.reshape(rows, *network.output_shape)
            value, gradient, total = loss.measure(
                builder.ops,
                output,
                targets,
                np.empty_like(output),
                None if weights is None else weights[here],
            )
            self.program.weight = total
            self._losses[:rows] = value * (total / rows)
            if loss.classifies:
                self._correct[:rows] = loss.count_correct(output, targets)
            builder.view(dy, rows)[...] = gradient.reshape(rows, -1)

        builder.python(None, f"loss {loss!r}", compute, [outputs.buffer], [dy], checks=True)
        return builder.gradient_on_rows(dy, x) if trains else None

    def _custom_update(self, builder: Builder, network: Network, state: State) -> None:
        def update(rows: int, first: int) -> None:
            state.begin_step(first // builder.batch)
            known = network.named_parameters.values()
            trained = [each for each in known if each.trainable and each.name in self.stored]
            state.clip(builder.ops, [self.stored[each.name] for each in trained])
            for parameter in trained:
                gradient, value = self.stored[parameter.name], parameter.value
                slots = {s: stored.value for s, stored in state.of(parameter).items()}
                rate = state.rate_of(parameter)
                state.optimizer.update(builder.ops, value, gradient, slots, state.step, rate)
                parameter.write(value)
                for s, stored in state.of(parameter).items():
                    stored.write(slots[s])

        builder.meet()
        builder.python(None, f"update {state.optimizer!r}", update, [], [])

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
        labels, targets = self.begin(y, None, weights)
        losses, seconds, correct = np.empty(1), np.empty(1), np.empty(1, np.int64)
        steps = -(-len(x) // self.rows)
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
        self.end()
        return PassResult(*found[:5])

    def begin(
        self,
        y: Array | None,
        order: Array | None,
        weights: Array | None,
        first_step: int = 1,
    ) -> tuple[Array | None, Array | None]:
        """Prepare operations in Python; return the labels or the targets for a compiled loss.

        ``first_step`` is the number of the first step of the epoch, over the life of the network.
        """
        self._builder.first_step = first_step
        self._targets = (y, order, weights)
        if y is None or not self._compiled_loss:  # a loss in Python may have any targets
            return None, None
        return (y, None) if y.ndim == 1 and y.dtype == np.int64 else (None, y)

    def end(self) -> None:
        """Release the arrays of a pass."""
        self._targets = (None, None, None)

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
        self._custom = any(_is_custom(layer) for layer in network.layers)
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
        state: State | None = None,
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
            or (loss is not None and not _is_compiled_loss(loss))
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
            made = Plan(
                network,
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
            return key, made

    def describe(self, purpose: str, rows: int, loss: Loss, state: State) -> Plan:
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

    def bundles(self, loss: Loss, state: State) -> bool:
        """Return whether ``train`` takes several epochs per call: if no part is in Python."""
        return not self._custom and _is_compiled_loss(loss) and _is_compiled(state)

    def train(self, loss: Loss, state: State, job: Pass) -> PassResult:
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
        if _is_compiled(state):
            table = state.optimizer.coefficients(first, rates)[skipped:]
        labels, targets = plan.begin(job.y, order, job.weights, before + 1 - skipped)
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
            ended, samples = plan.program.progress
            taken = ended * steps + (-(-samples // batch) if ended < epochs else 0)
            network.steps_done = before + taken - skipped
            state.end_run(taken)
            plan.changed()
        plan.end()
        self.give_back(key, plan)
        at_ends = rates[steps - 1 :: steps][:complete]
        columns = Epochs(losses[:complete], corrects[:complete], seconds[:complete], at_ends)
        return PassResult(mean, value, correct, done, bad, columns)

    def _between_steps(
        self, plan: Plan, state: State, job: Pass, hook: StepHook
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
                    single = Plan(self._network, "predict", 1, 1, gather=gather)
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
    return loss.key if loss is not None and _is_compiled_loss(loss) else loss


def _is_compiled(state: State) -> bool:
    return type(state.optimizer) in OPTIMIZERS.values()


def _is_custom(layer: Layer) -> bool:
    return type(layer).lower is Layer.lower
