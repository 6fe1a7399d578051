"""The data that users pass, checked and wrapped as sources."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp import _checks
from fastmlp._training.generator import GeneratorSource, gives_batches
from fastmlp._training.memmap import source_class
from fastmlp._training.sources import Source
from fastmlp.losses import Loss
from fastmlp.network import Network

__all__ = ["BATCH_SIZE", "for_evaluation", "for_prediction", "for_training", "for_validation"]

BATCH_SIZE = 32
"""The default of ``fit``; with batches from Python nothing else is allowed."""


def for_training(
    network: Network,
    loss: Loss,
    x: Any,
    y: Any,
    sample_weight: Any,
    *,
    epochs: int,
    batch_size: int,
    shuffle: bool,
    steps_per_epoch: int | None,
) -> Source:
    """Return the source for the data that ``fit`` trains on.

    Raises
    ------
    ValueError, TypeError
        If they do not fit the network, the loss or each other.
    """
    if y is None:
        source = _batches(network, loss, x, sample_weight, batch_size, steps_per_epoch)
        if source.steps is None and epochs > 1 and not source.restarts:
            raise ValueError(
                f"steps_per_epoch is required to train {epochs} epochs from an iterator, because "
                "an iterator cannot be restarted. Or pass a function that returns a new iterator."
            )
        return source
    if gives_batches(x):
        raise ValueError("y must be omitted when x yields (x, y) batches.")
    if steps_per_epoch is not None:
        raise ValueError(
            "steps_per_epoch can be set only when x yields batches, got steps_per_epoch="
            f"{steps_per_epoch!r} with arrays."
        )
    samples, targets = network.data(x, y, loss, in_pieces=True)
    network.check_batches(len(samples), batch_size)
    weights = network.weights(sample_weight, len(samples), loss)
    batch = min(batch_size, len(samples))
    # One batch of all samples needs no order: its mean is the same.
    shuffle = shuffle and batch < len(samples)
    return source_class(samples)(network, samples, targets, weights, batch, shuffle)


def for_validation(network: Network, loss: Loss, given: Any) -> Source | None:
    """Return the source for ``validation_data``, which is passed after every epoch.

    Raises
    ------
    ValueError, TypeError
        If the data do not fit the network, the loss or each other, or are an iterator.
    """
    if given is None:
        return None
    name = "validation_data"
    if gives_batches(given):
        source = GeneratorSource(network, given, name)
        if not source.restarts:
            raise ValueError(
                f"{name} cannot be an iterator, because it is evaluated after every epoch and an "
                "iterator cannot be restarted. Pass a function that returns a new iterator."
            )
        return source
    x, y, sample_weight = _checks.pair_or_triple(given, name)
    samples, targets = network.data(x, y, loss, f"{name}[0]", f"{name}[1]", in_pieces=True)
    weights = network.weights(sample_weight, len(samples), loss, f"{name}[2]")
    return source_class(samples)(network, samples, targets, weights)


def for_evaluation(network: Network, loss: Loss, x: Any, y: Any, sample_weight: Any) -> Source:
    """Return the source for the data of ``evaluate``.

    Raises
    ------
    ValueError, TypeError
        If they do not fit the network, the loss or each other.
    """
    if y is None:
        return _batches(network, loss, x, sample_weight)
    samples, targets = network.data(x, y, loss, in_pieces=True)
    weights = network.weights(sample_weight, len(samples), loss)
    return source_class(samples)(network, samples, targets, weights)


def for_prediction(network: Network, x: Any) -> Source:
    """Return the source for the samples of ``predict``.

    Raises
    ------
    ValueError, TypeError
        If they do not fit the network.
    """
    if not isinstance(x, np.ndarray) and gives_batches(x):  # the first test saves time
        return GeneratorSource(network, x)
    samples = network.samples(x, in_pieces=True)
    return source_class(samples)(network, samples)


def _batches(
    network: Network,
    loss: Loss,
    x: Any,
    sample_weight: Any,
    batch_size: int = BATCH_SIZE,
    steps_per_epoch: int | None = None,
) -> GeneratorSource:
    """Return the source for batches from Python, given without ``y``."""
    if isinstance(x, (np.ndarray, str, bytes, dict)) or not (
        isinstance(x, (list, tuple)) or gives_batches(x)
    ):
        raise TypeError(
            "y is required when x is an array. Omit y only if x is an iterable of (x, y) "
            "batches, or a function that returns one."
        )
    loss.check_output(network.output_shape)
    if batch_size != BATCH_SIZE:
        raise ValueError(
            f"batch_size must be omitted when x yields batches, got batch_size={batch_size}."
        )
    if sample_weight is not None:
        raise ValueError(
            "sample_weight must be omitted when x yields batches, got "
            f"{type(sample_weight).__name__}. Pass batches (x, y, sample_weight) instead."
        )
    return GeneratorSource(network, x, steps=steps_per_epoch)
