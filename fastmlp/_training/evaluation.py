"""Loss and metrics over a source of data."""

from __future__ import annotations

from fastmlp._engines.base import PassResult, Poll
from fastmlp._training.scoring import Scores
from fastmlp._training.sources import Source
from fastmlp.losses import Loss
from fastmlp.network import Network

__all__ = ["evaluate", "measurements"]


def evaluate(
    network: Network, loss: Loss, source: Source, scores: Scores, poll: Poll | None = None
) -> dict[str, float]:
    """Return the mean loss over all samples, with penalties, and the metrics.

    If ``poll`` ends the pass, the metrics have no meaning.
    """
    result = source.evaluate(loss, scores, poll)
    return {"loss": result.mean + network.penalty()} | measurements(scores, result)


def measurements(scores: Scores, result: PassResult) -> dict[str, float]:
    """Return the accuracy and the metrics of a pass, as far as ``scores`` asks for them."""
    measured = {}
    if scores.accuracy:
        predictions = max(result.done, 1) * scores.predictions_per_sample
        measured["accuracy"] = result.correct / predictions
    if result.outputs is not None and result.targets is not None:
        for metric in scores.metrics:
            measured[metric.name] = metric.function(result.targets, result.outputs)
    return measured
