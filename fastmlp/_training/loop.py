"""The loop of ``fit`` over epochs.

The steps of an epoch are in ``source.train``, which passes them to an engine. To read what happens
in a step, begin with ``fastmlp/_engines/layerwise.py``, which trains layer by layer on numpy. The
compiled plans of ``fastmlp/_engines/plans.py`` do the same in fewer passes over memory.
"""

from __future__ import annotations

import contextlib
import time

from fastmlp._engines.base import PassResult
from fastmlp._training.bundles import Bundles
from fastmlp._training.evaluation import evaluate, measurements
from fastmlp._training.run import FitSettings, Run
from fastmlp._training.sources import Part, Source
from fastmlp._types import Array
from fastmlp.errors import DivergenceError
from fastmlp.losses import Loss
from fastmlp.network import Network
from fastmlp.optimizers import Optimizer, OptimizerState

__all__ = ["fit"]


def fit(
    network: Network, loss: Loss, optimizer: Optimizer, settings: FitSettings, run: Run
) -> None:
    """Train until the history has ``settings.epochs`` epochs."""
    source, scores = settings.source, settings.scores
    with contextlib.ExitStack() as stack:
        stack.callback(source.close)
        for callback in reversed(settings.callbacks):
            stack.callback(callback.close)
        run.begin()
        with run.interrupt as interrupt, settings.progress:
            bundles = Bundles(network, loss, optimizer, settings, run.is_interrupted)
            while run.epoch < run.epochs and not (interrupt.requested or network.stop_training):
                count = bundles.size(run.epochs - run.epoch)
                if count > 1:
                    run.epoch = run.history.extend(bundles.train(count))
                    continue
                run.begin_epoch()
                part = run.part
                began = time.perf_counter() - (0.0 if part is None else part.seconds)
                state, before, hook = network.state(optimizer), network.snapshot(), run.hook(began)
                try:
                    result = source.train(loss, state, scores, run.epoch, run.poll, hook, part)
                finally:
                    state.epoch += 1
                if result.bad or not (interrupt.requested or network.is_finite()):
                    raise _divergence(network, state, source, result, run.epoch, part, before)
                if interrupt.requested:
                    break
                logs = {"loss": result.mean} | measurements(scores, result)
                if settings.validation is not None:
                    found = evaluate(network, loss, settings.validation, scores, run.is_interrupted)
                    if interrupt.requested:
                        break
                    logs |= {f"val_{name}": value for name, value in found.items()}
                logs["learning_rate"] = state.learning_rate
                state.observe(logs)
                logs["time"] = time.perf_counter() - began
                bundles.adapt(logs["time"])
                run.end_epoch(logs, result.done)
        run.end()


def _divergence(
    network: Network,
    state: OptimizerState,
    source: Source,
    result: PassResult,
    epoch: int,
    part: Part | None,
    before: list[Array],
) -> DivergenceError:
    """Restore the weights from before the epoch, or its resumed part; return the error to raise."""
    rate = state.learning_rate
    network.restore(before)
    network.forget()
    step = source.steps_done(epoch - 1, result.done) + result.bad
    what = f"the loss is {result.loss}" if result.bad else "a weight is not finite"
    where = f"the start of epoch {epoch}" if part is None else "the checkpoint"
    return DivergenceError(
        f"Training diverged: {what} in epoch {epoch}, step {step}, at learning rate {rate:g}. "
        f"The model has the weights from {where} again. Lower the learning rate, "
        "and check that the inputs are scaled, for instance to [0, 1].",
        epoch=epoch,
        step=step,
        learning_rate=rate,
    )
