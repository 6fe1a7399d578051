"""Batches from Python: iterables, generators and functions that return one.

An epoch is one pass of an engine, or a few. The pass goes round a buffer that holds one batch, and
after every step Python fills the buffer with the next batch. So threads start once per pass, and a
step finds the data that it would find in an array.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from fastmlp import _checks, _frames
from fastmlp._engines import engine
from fastmlp._engines.base import Pass, PassResult, Poll, StepHook, Sums
from fastmlp._training.memmap import source_class
from fastmlp._training.scoring import Scores
from fastmlp._training.sources import Batch, Part, Total
from fastmlp._types import Array
from fastmlp.losses import Loss
from fastmlp.network import Network
from fastmlp.optimizers import OptimizerState

__all__ = ["GeneratorSource", "gives_batches"]


# Maximum steps and samples of one pass, as its learning rates and its order are made in advance.
_STEPS = 256
_SAMPLES = 1 << 16


def gives_batches(value: Any) -> bool:
    """Return whether ``value`` yields batches rather than being an array.

    Lists are arrays here, as they may hold numbers.
    """
    if isinstance(value, (np.ndarray, np.generic, list, tuple, str, bytes, dict)):
        return False
    if hasattr(value, "__array__") or _frames.is_frame(value):
        return False
    lists = hasattr(value, "__len__") and hasattr(value, "__getitem__")
    return callable(value) or (isinstance(value, Iterable) and not lists)


class GeneratorSource:
    """Batches from Python: from an iterator, or from something that restarts in every epoch.

    Parameters
    ----------
    network : Network
        The batches must fit it.
    given : iterable, or callable without arguments that returns one
        What the user passed.
    name : str
        What messages call it.
    steps : int or None
        Batches in a training epoch; None means every batch that ``given`` yields.

    Attributes
    ----------
    restarts : bool
        Whether it can be passed more than once; an iterator cannot.
    given_now, given : int
        Batches taken since the start of the pass, and in all.
    trained : int
        Complete steps, including the steps before a resumed run was interrupted.

    Raises
    ------
    TypeError
        If ``given`` cannot yield batches.
    """

    in_memory = False
    hooks = True
    data = None
    samples = None
    outputs: Array | None = None

    def __init__(
        self, network: Network, given: Any, name: str = "x", steps: int | None = None
    ) -> None:
        wrong = isinstance(given, (str, bytes, dict, np.ndarray)) or _frames.is_frame(given)
        if wrong or not (callable(given) or isinstance(given, Iterable)):
            raise TypeError(
                f"{name} must be an iterable of (x, y) or (x, y, sample_weight) batches, or a "
                f"function that returns one, got {type(given).__name__}."
            )
        self.network, self.name, self.steps = network, name, steps
        self.restarts = not isinstance(given, Iterator)
        self.given_now = self.given = self.trained = 0
        self._from = given
        self._iterator: Iterator[Any] | None = None
        self._epoch = ""
        # What all batches must share: types of samples and targets, whether there are weights.
        self._kind: tuple[Any, ...] | None = None

    # --- Passes -----------------------------------------------------------------------------------

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
        """Train one epoch: one step for each of the next batches.

        Outputs are from before each step. ``poll`` and ``hook`` are called after a step, before the
        next batch is taken.

        Raises
        ------
        ValueError, TypeError
            If a batch does not fit, there are fewer than ``steps``, or there is none.
        """
        network, steps = self.network, self.steps
        self.begin(f"epoch {epoch}: ")
        progress = _Epoch(self, loss, poll, hook)
        outputs: list[Array] = []
        targets: list[Array] | None = [] if scores.metrics else None
        batch = self.next(loss, trains=True)
        if batch is None:
            raise self._too_few()
        while True:
            ring = _Ring(batch, _STEPS if steps is None else steps - progress.done)
            out = None
            if targets is not None:
                out = np.empty((len(ring.order), *network.output_shape), network.dtype)
            job = Pass(
                ring.batch.x,
                ring.batch.y,
                ring.order,
                len(batch.x),
                weights=ring.batch.weights,
                counts=scores.accuracy,
                out=out,
                hook=progress.hook(ring, targets),
            )
            result = engine(network).train(loss, state, job)
            if out is not None:
                outputs.append(out[: result.done].copy())
            if result.bad or progress.stopped or progress.following is None:
                break
            batch = progress.following
        if not (result.bad or progress.stopped) and steps is not None and progress.done < steps:
            raise self._too_few()
        sums = progress.sums
        result = PassResult(sums.mean, result.loss, sums.correct, sums.done, result.bad)
        if targets is None or not progress.done:
            return result
        return result._replace(
            outputs=np.concatenate(outputs), targets=np.concatenate(targets[: progress.done])
        )

    def evaluate(self, loss: Loss, scores: Scores, poll: Poll | None = None) -> PassResult:
        """Measure the loss and what ``scores`` needs over all batches, without training.

        Raises
        ------
        ValueError, TypeError
            If a batch does not fit, or there is none.
        """
        network, total = self.network, Total(self.network, loss)
        outputs: list[Array] = []
        targets: list[Array] = []
        self.begin()
        try:
            while (batch := self.next(loss)) is not None:
                out = None
                if scores.metrics:
                    out = np.empty((len(batch.x), *network.output_shape), network.dtype)
                    outputs.append(out)
                    targets.append(batch.y.copy())  # the generator may reuse its memory
                job = Pass(
                    batch.x,
                    batch.y,
                    weights=batch.weights,
                    counts=scores.accuracy,
                    out=out,
                    poll=total.poll(poll),
                )
                if not total.add(engine(network).evaluate(loss, job), batch.y, batch.weights):
                    break
        finally:
            self.close()
        self._check_not_empty()
        if not scores.metrics:
            return total.result()
        return total.result()._replace(
            outputs=np.concatenate(outputs), targets=np.concatenate(targets)
        )

    def predict(self) -> Array:
        """Return the outputs for all batches: samples, or tuples that begin with samples.

        Raises
        ------
        ValueError, TypeError
            If a batch does not fit the network, or there is none.
        """
        results = []
        self.begin()
        try:
            while (item := self._take()) is not self:
                x = item[0] if isinstance(item, tuple) and item else item
                try:
                    samples = self.network.samples(x)
                except (ValueError, TypeError) as error:
                    raise self._located(error) from error
                results.append(source_class(samples)(self.network, samples).predict())
        finally:
            self.close()
        self._check_not_empty()
        return np.concatenate(results)

    def steps_done(self, epochs: int, samples: int) -> int:
        """Return the number of steps done so far; epochs may differ in length."""
        return self.trained

    def resume(self, steps: int, part: Part | None) -> None:
        """Continue after ``steps`` steps of an earlier run.

        Raises
        ------
        ValueError
            If the run stopped within an epoch.
        """
        if part is not None:
            # The iterable may not yield the same batches again.
            raise ValueError(
                "resume: the checkpoint was written within an epoch, but batches from Python can "
                "be resumed only between epochs. Use a checkpoint from the end of an epoch "
                "(every_epochs)."
            )
        self.trained = steps

    # --- Batches ----------------------------------------------------------------------------------

    def begin(self, epoch: str = "") -> None:
        """Begin a pass: from the start, or where an iterator is.

        ``epoch`` is what messages say about batches of the pass.
        """
        self.close()
        self._epoch = epoch
        self.given_now = 0
        if self._iterator is not None and not self.restarts:
            return
        again = self._from
        if not isinstance(again, Iterable):
            again = again()
            if not isinstance(again, Iterable):
                raise TypeError(
                    f"{self.name} must return an iterable of batches, got {type(again).__name__}."
                )
        self._iterator = iter(again)

    def next(self, loss: Loss, *, trains: bool = False) -> Batch | None:
        """Return the next batch, checked as ``train_on_batch`` checks it; None at the end.

        Raises
        ------
        ValueError, TypeError
            If it does not fit the network, the loss or the batches before; the message has its
            number.
        """
        item = self._take()
        if item is self:
            return None
        if item is None:
            raise TypeError(f"{self.where}a batch must be a tuple (x, y), got None.")
        try:
            return self._checked(item, loss, trains)
        except (ValueError, TypeError) as error:
            raise self._located(error) from error

    def close(self) -> None:
        """End an unfinished pass: close a generator that was made for it.

        An iterator that the user passed stays open, because it may be used elsewhere.
        """
        close = getattr(self._iterator, "close", None)
        if self.restarts:
            self._iterator = None
            if close is not None:
                close()

    @property
    def where(self) -> str:
        """The current batch, for messages."""
        return f"{self._epoch}batch {self.given_now} of {self.name}: "

    def _take(self) -> Any:
        """Return the next batch as it is given; the source itself at the end."""
        if self._iterator is None:
            raise RuntimeError("begin must be called before a batch is taken.")
        item = next(self._iterator, self)
        if item is not self:
            self.given_now += 1
            self.given += 1
        return item

    def _checked(self, item: Any, loss: Loss, trains: bool) -> Batch:
        x, y, weights = _checks.pair_or_triple(item, "it")
        samples, targets = self.network.data(x, y, loss)
        n = len(samples)
        if trains:
            self.network.check_batches(n, n)
        given = self.network.weights(weights, n, loss)
        # The shapes of samples and weights are known.
        kind = samples.dtype, (targets.dtype, targets.shape[1:]), given is not None
        if self._kind is None:
            self._kind = kind
        elif kind != self._kind:
            for name, was, now in zip(("x", "y", "sample_weight"), self._kind, kind, strict=True):
                if was != now:
                    raise ValueError(
                        f"{name} must be {_described(was)}, as in the first batch, got "
                        f"{_described(now)}."
                    )
        return Batch(samples, targets, given)

    def _located(self, error: ValueError | TypeError) -> ValueError | TypeError:
        """Return the error with the number of the batch in its message."""
        kind = ValueError if isinstance(error, ValueError) else TypeError
        return kind(self.where + str(error))

    def _check_not_empty(self) -> None:
        if self.given_now == 0:
            raise ValueError(f"{self.name} must yield at least one batch, got none.")

    def _too_few(self) -> ValueError:
        if self.steps is None:
            return ValueError(f"{self._epoch}x must yield at least one batch, got none.")
        return ValueError(
            f"{self._epoch}x must yield {self.steps} batches per epoch (steps_per_epoch), got "
            f"{self.given_now} ({self.given} in total). The model keeps the weights after the last "
            "batch, and model.history the epochs before."
        )


def _described(kind: Any) -> str:
    """Describe a dtype, a dtype and the shape of a target, or whether something is given."""
    if isinstance(kind, bool):
        return "an array" if kind else "None"
    if isinstance(kind, tuple):
        return f"{kind[0]} ({', '.join(['N', *map(str, kind[1])])}{',' * (not kind[1])})"
    return str(kind)


class _Ring:
    """A buffer for one batch, which a pass of several steps goes round."""

    def __init__(self, batch: Batch, steps: int) -> None:
        self._rows = len(batch.x)
        steps = max(1, min(steps, _STEPS, _SAMPLES // self._rows))
        self.order = np.tile(np.arange(self._rows), steps)
        self.batch = Batch(
            batch.x.copy(),
            batch.y.copy(),
            None if batch.weights is None else batch.weights.copy(),
        )

    def put(self, batch: Batch) -> bool:
        """Copy the next batch into the buffer; return False if its size is different."""
        if len(batch.x) != self._rows:
            return False
        for to, part in zip(self.batch, batch, strict=True):
            if to is not None and part is not None:
                np.copyto(to, part)
        return True


class _Epoch:
    """What the passes of one epoch add up to, and what happens between its steps."""

    def __init__(
        self, source: GeneratorSource, loss: Loss, poll: Poll, hook: StepHook | None
    ) -> None:
        self._source, self._loss, self._poll, self._hook = source, loss, poll, hook
        self.done = 0  # steps
        self.sums = Sums()
        self.stopped = False
        self.following: Batch | None = None

    def hook(self, ring: _Ring, targets: list[Array] | None) -> StepHook:
        """Return the hook of a pass, which fills the ring after every step.

        ``targets`` gets a copy of the targets of each batch.
        """
        before, last, source = self.sums, len(ring.order), self._source
        self.following = None
        if targets is not None:
            targets.append(ring.batch.y.copy())

        def after(sums: Sums, value: float) -> bool:
            self.done += 1
            source.trained += 1
            self.sums = Sums(
                before.done + sums.done,
                before.loss + sums.loss,
                before.weight + sums.weight,
                before.correct + sums.correct,
            )
            self.stopped = self._stops(value)
            if self.stopped or self.done == source.steps:
                self.following = None
                return True
            self.following = source.next(self._loss, trains=True)
            if self.following is None or sums.done == last or not ring.put(self.following):
                return True
            if targets is not None:
                targets.append(ring.batch.y.copy())
            return False

        return StepHook(after, 1, 0)

    def _stops(self, value: float) -> bool:
        """Call the hook and the poll of the epoch; return whether it is to end."""
        sums, hook, ends = self.sums, self._hook, False
        if hook is not None and (hook.before + self.done) % hook.every == 0:
            ends = bool(hook.call(sums, value))
        return bool(self._poll(sums.done, sums.mean, sums.correct)) or ends
