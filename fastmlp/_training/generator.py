"""Batches from Python: sources of them, and passes of whole epochs over what they give.

An epoch is one pass of an engine, or a few. Its order goes round and round in the memory of one
batch, and after every step Python fills that memory with the next batch. So threads start once,
and a step finds what it would find in an array.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastmlp import _checks, _frames
from fastmlp._engines import engine
from fastmlp._engines.base import Epochs, Outcome, Poll, Sums, Watch
from fastmlp._training.memmap import Total
from fastmlp.losses import Loss
from fastmlp.network import Network
from fastmlp.optimizers import OptimizerState

__all__ = ["Batch", "Source", "evaluate", "gives_batches", "predict", "train"]

Array = npt.NDArray[Any]

# Steps and samples of one pass, at most: learning rates and the order are made for all of them.
_STEPS = 256
_SAMPLES = 1 << 16


class Batch(NamedTuple):
    """Samples, targets and weights, checked: as a pass takes them."""

    x: Array
    y: Array
    weights: Array | None


def gives_batches(value: Any) -> bool:
    """Return whether ``value`` gives batches, and is no array: lists of numbers are arrays."""
    if isinstance(value, (np.ndarray, np.generic, list, tuple, str, bytes, dict)):
        return False
    if hasattr(value, "__array__") or _frames.is_frame(value):
        return False
    lists = hasattr(value, "__len__") and hasattr(value, "__getitem__")
    return callable(value) or (isinstance(value, Iterable) and not lists)


class Source:
    """What gives batches: an iterator, or something to begin again in every epoch.

    Parameters
    ----------
    given : iterable, or callable without arguments that returns one
        What the user passed.
    network : Network
    loss : Loss
        What the batches must fit.
    name : str
        What messages call it.

    Attributes
    ----------
    name : str
    begins_again : bool
        Whether it can be passed more than once.
    given_now, given : int
        Batches since ``begin``, and in all.
    trained : int
        Complete steps.

    Raises
    ------
    TypeError
        If it gives nothing.
    """

    def __init__(self, given: Any, network: Network, loss: Loss, name: str = "x") -> None:
        wrong = isinstance(given, (str, bytes, dict, np.ndarray)) or _frames.is_frame(given)
        if wrong or not (callable(given) or isinstance(given, Iterable)):
            raise TypeError(
                f"{name} must be an iterable of batches (x, y) or (x, y, sample_weight), or a "
                f"function that returns one, got {type(given).__name__}."
            )
        self._from, self._network, self._loss, self.name = given, network, loss, name
        self.begins_again = not isinstance(given, Iterator)
        self.given_now = self.given = self.trained = 0
        self._iterator: Iterator[Any] | None = None
        self._where = ""
        # What all batches must have in common: types of samples and targets, whether weights.
        self._kind: tuple[Any, ...] | None = None

    def begin(self, epoch: int | None = None) -> None:
        """Begin a pass: anew, unless it is an iterator, which goes on."""
        self.close()
        self._where = "" if epoch is None else f"epoch {epoch}, "
        self.given_now = 0
        if self._iterator is not None and not self.begins_again:
            return
        again = self._from
        if not isinstance(again, Iterable):
            again = again()
            if not isinstance(again, Iterable):
                raise TypeError(
                    f"{self.name} must return an iterable of batches, got {type(again).__name__}."
                )
        self._iterator = iter(again)

    def take(self) -> Any:
        """Return the next batch as it is given; None at the end."""
        if self._iterator is None:
            raise RuntimeError("a source must begin before it gives anything.")
        item = next(self._iterator, self)
        if item is self:
            return None
        self.given_now += 1
        self.given += 1
        if item is None:
            raise TypeError(f"{self.where}a batch must be a tuple (x, y), got None.")
        return item

    def close(self) -> None:
        """End a pass that is not at its end: a generator that was made for it runs no further.

        An iterator that the user passed stays as it is: it may go on elsewhere.
        """
        close = getattr(self._iterator, "close", None)
        if self.begins_again:
            self._iterator = None
            if close is not None:
                close()

    @property
    def where(self) -> str:
        """The present batch, for a message."""
        return f"{self._where}batch {self.given_now} of {self.name}: "

    def next(self, *, trains: bool = False) -> Batch | None:
        """Return the next batch, checked as those of ``train_on_batch``; None at the end.

        Raises
        ------
        ValueError, TypeError
            If it does not fit the network, the loss or the batches before; the message has its
            number.
        """
        item = self.take()
        if item is None:
            return None
        try:
            return self._checked(item, trains)
        except (ValueError, TypeError) as error:
            kind = ValueError if isinstance(error, ValueError) else TypeError
            raise kind(self.where + str(error)) from error

    def _checked(self, item: Any, trains: bool) -> Batch:
        x, y, weights = _checks.pair_or_triple(item, "it")
        samples, targets = self._network.data(x, y, self._loss)
        n = len(samples)
        if trains:
            self._network.check_batches(n, n)
        given = self._network.weights(weights, n, self._loss)
        batch = Batch(samples, targets, given)
        # Of samples and weights the shapes are known.
        kind = samples.dtype, (targets.dtype, targets.shape[1:]), given is not None
        if self._kind is None:
            self._kind = kind
        elif kind != self._kind:
            for name, was, now in zip(("x", "y", "sample_weight"), self._kind, kind, strict=True):
                if was != now:
                    raise ValueError(
                        f"{name} must be like that of the first batch, {_described(was)}, got "
                        f"{_described(now)}."
                    )
        return batch


def _described(kind: Any) -> str:
    """Return in words: a dtype, a dtype and the shape of a target, or whether there is anything."""
    if isinstance(kind, bool):
        return "given" if kind else "left out"
    if isinstance(kind, tuple):
        return f"{kind[0]} ({', '.join(['N', *map(str, kind[1])])}{',' * (not kind[1])})"
    return str(kind)


class _Ring:
    """The memory of one batch, which a pass of several steps goes round."""

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
        """Take the next batch; return False if it is of another size."""
        if len(batch.x) != self._rows:
            return False
        for to, part in zip(self.batch, batch, strict=True):
            if to is not None and part is not None:
                np.copyto(to, part)
        return True


def train(
    network: Network,
    loss: Loss,
    state: OptimizerState,
    source: Source,
    steps: int | None,
    *,
    counts: bool = False,
    outputs: bool = False,
    poll: Poll | None = None,
    watch: Watch | None = None,
) -> tuple[Outcome, Array | None, Array | None]:
    """Do an epoch: a step for each of the next batches.

    Parameters
    ----------
    steps : int or None
        How many; None means all there are.
    outputs : bool
        Whether outputs are wanted, each from before its step, and targets.
    poll, watch
        Asked after every step, when the next batch has not been taken.

    Returns
    -------
    outcome : Outcome
        Its ``bad`` is true if it ended before a loss that is not finite.
    outputs, targets : array or None

    Raises
    ------
    ValueError, TypeError
        If a batch is not what it must be, there are fewer than ``steps`` of them, or none.
    """
    epoch = _Epoch(network, source, steps, poll, watch)
    kept: tuple[list[Array], list[Array]] = [], []
    batch = source.next(trains=True)
    if batch is None:
        raise _too_few(source, steps)
    while True:
        ring = _Ring(batch, _STEPS if steps is None else steps - epoch.done)
        n, rows = len(ring.order), len(batch.x)
        out = np.empty((n, *network.output_shape), network.dtype) if outputs else None
        outcome = engine(network).train(
            loss,
            state,
            ring.batch.x,
            ring.batch.y,
            ring.order,
            rows,
            weights=ring.batch.weights,
            counts=counts,
            out=out,
            watch=epoch.watch(ring, kept[1] if outputs else None),
        )
        if out is not None:
            kept[0].append(out[: outcome.done].copy())
        following = epoch.following
        if outcome.bad or epoch.stopped or following is None:
            break
        batch = following
    if not (outcome.bad or epoch.stopped) and steps is not None and epoch.done < steps:
        raise _too_few(source, steps)
    sums = epoch.sums
    mean = sums.loss / sums.weight if sums.weight > 0 else sums.loss
    none = Epochs(np.empty(0), np.empty(0, np.int64), np.empty(0), np.empty(0))
    result = Outcome(mean, outcome.loss, sums.correct, sums.done, outcome.bad, none)
    if not outputs:
        return result, None, None
    targets = kept[1][: epoch.done]
    return result, np.concatenate(kept[0]), np.concatenate(targets) if targets else None


class _Epoch:
    """What the passes of one epoch come to, and what happens between its steps."""

    def __init__(
        self,
        network: Network,
        source: Source,
        steps: int | None,
        poll: Poll | None,
        watch: Watch | None,
    ) -> None:
        self._network, self._source, self._steps = network, source, steps
        self._poll, self._watch = poll, watch
        self.done = 0  # steps
        self.sums = Sums()
        self.stopped = False
        self.following: Batch | None = None

    def watch(self, ring: _Ring, targets: list[Array] | None) -> Watch:
        """Return who looks after every step of a pass, and fills the ring."""
        before, last = self.sums, len(ring.order)
        self.following = None
        if targets is not None:
            targets.append(ring.batch.y.copy())

        def after(sums: Sums, value: float) -> bool:
            self.done += 1
            self._source.trained += 1
            self.sums = Sums(
                before.done + sums.done,
                before.loss + sums.loss,
                before.weight + sums.weight,
                before.correct + sums.correct,
            )
            self.stopped = self._asked(value)
            if self.stopped or self.done == self._steps:
                self.following = None
                return True
            self.following = self._source.next(trains=True)
            if self.following is None or sums.done == last or not ring.put(self.following):
                return True
            if targets is not None:
                targets.append(ring.batch.y.copy())
            return False

        return Watch(after, 1, 0)

    def _asked(self, value: float) -> bool:
        """Ask those who look at the training; return whether it is to end."""
        sums, ends = self.sums, False
        if self._watch is not None and (self._watch.before + self.done) % self._watch.every == 0:
            ends = bool(self._watch.call(sums, value))
        if self._poll is not None:
            mean = sums.loss / sums.weight if sums.weight > 0 else sums.loss
            ends = bool(self._poll(sums.done, mean, sums.correct)) or ends
        return ends


def _too_few(source: Source, steps: int | None) -> ValueError:
    if steps is None:
        return ValueError(
            f"{source.where.partition('batch')[0]}x must give at least one batch, got none."
        )
    return ValueError(
        f"{source.where.partition('batch')[0]}x must give {steps} batches an epoch "
        f"(steps_per_epoch), got {source.given_now} ({source.given} in all). The weights are those "
        "after the last of them, and model.history has the epochs before."
    )


def evaluate(
    network: Network,
    loss: Loss,
    source: Source,
    *,
    counts: bool = False,
    outputs: bool = False,
    poll: Poll | None = None,
) -> tuple[Outcome, Array | None, Array | None]:
    """Measure the loss over all batches, and the right answers if they are to be counted.

    Returns
    -------
    outcome : Outcome
    outputs, targets : array or None
        If they are wanted.

    Raises
    ------
    ValueError, TypeError
        If a batch is not what it must be, or there is none.
    """
    total = Total(network, loss)
    kept: tuple[list[Array], list[Array]] = [], []
    source.begin()
    try:
        while (batch := source.next()) is not None:
            out = None
            if outputs:
                out = np.empty((len(batch.x), *network.output_shape), network.dtype)
                kept[0].append(out)
                kept[1].append(batch.y.copy())  # whoever gives it may fill it again
            outcome = engine(network).evaluate(
                loss,
                batch.x,
                batch.y,
                weights=batch.weights,
                counts=counts,
                out=out,
                poll=total.poll(poll),
            )
            if not total.add(outcome, batch.y, batch.weights):
                break
    finally:
        source.close()
    if source.given_now == 0:
        raise ValueError(f"{source.name} must give at least one batch, got none.")
    if not outputs:
        return total.outcome(), None, None
    return total.outcome(), np.concatenate(kept[0]), np.concatenate(kept[1])


def predict(network: Network, given: Any, run: Callable[[Array, Array], None]) -> Array:
    """Return the outputs for all batches of samples, those of ``run`` for each.

    Of a batch that is a tuple only the first element is looked at.

    Raises
    ------
    ValueError, TypeError
        If a batch does not fit the network, or there is none.
    """
    results = []
    batches = given() if not isinstance(given, Iterable) else given
    for number, batch in enumerate(batches, 1):
        x = batch[0] if isinstance(batch, tuple) and batch else batch
        try:
            samples = network.samples(x)
        except (ValueError, TypeError) as error:
            kind = ValueError if isinstance(error, ValueError) else TypeError
            raise kind(f"batch {number} of x: {error}") from error
        out = np.empty((len(samples), *network.output_shape), network.dtype)
        run(samples, out)
        results.append(out)
    if not results:
        raise ValueError("x must give at least one batch, got none.")
    return np.concatenate(results)
