"""Loss functions: what they accept as targets, and which operation computes them."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from fastmlp import _checks

__all__ = ["CrossEntropy", "Loss", "MeanSquaredError", "get"]

Array = npt.NDArray[Any]


class Loss:
    """Base class of the losses: a mean over the batch and its gradient by the model's output.

    Attributes
    ----------
    name : str
        Its name in ``fit(loss=...)`` and in model files.
    classifies : bool
        Whether targets are classes, so that an accuracy can be counted.
    """

    name: str = ""
    classifies = False

    def check_output(self, output_shape: tuple[int, ...]) -> None:
        """Raise ValueError if a model with this output cannot be trained with this loss."""

    def targets(
        self, y: Any, n: int, output_shape: tuple[int, ...], dtype: np.dtype[Any], name: str = "y"
    ) -> Array:
        """Return the targets ``y`` of ``n`` samples, checked, as the operation takes them."""
        raise NotImplementedError

    def __call__(
        self, ops: ModuleType, output: Array, targets: Array, out: Array
    ) -> tuple[float, Array]:
        """Return the mean loss and its gradient by ``output``, which is written to ``out``."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class CrossEntropy(Loss):
    """Mean of -log softmax(logits)[label], from logits: the last layer needs no softmax.

    Labels are integers (N,), or rows of probabilities (N, classes), one-hot for instance.
    """

    name = "cross_entropy"
    classifies = True

    def check_output(self, output_shape: tuple[int, ...]) -> None:
        """Require at least two outputs in a row: with one the loss is always 0."""
        if len(output_shape) != 1 or output_shape[0] < 2:
            raise ValueError(
                "cross_entropy needs a model with one output a class and at least 2 classes, "
                f"got outputs of shape {output_shape}."
            )

    def targets(
        self, y: Any, n: int, output_shape: tuple[int, ...], dtype: np.dtype[Any], name: str = "y"
    ) -> Array:
        """Return labels as int64 (N,) or probabilities as ``dtype`` (N, classes)."""
        return _checks.labels(y, n, output_shape[0], dtype, name)

    def __call__(
        self, ops: ModuleType, output: Array, targets: Array, out: Array
    ) -> tuple[float, Array]:
        """Return the mean loss and (softmax - one_hot) / N."""
        result: tuple[float, Array] = ops.softmax_cross_entropy(output, targets, out=out)
        return result


class MeanSquaredError(Loss):
    """Mean of (output - target)**2 over all elements of the batch."""

    name = "mse"

    def targets(
        self, y: Any, n: int, output_shape: tuple[int, ...], dtype: np.dtype[Any], name: str = "y"
    ) -> Array:
        """Return the targets as ``dtype`` (N, *output_shape); (N,) will do for one output."""
        return _checks.regression_targets(y, n, output_shape, dtype, name)

    def __call__(
        self, ops: ModuleType, output: Array, targets: Array, out: Array
    ) -> tuple[float, Array]:
        """Return the mean loss and 2 * (output - target) / size."""
        result: tuple[float, Array] = ops.mse(output, targets, out=out)
        return result


LOSSES: dict[str, type[Loss]] = {kind.name: kind for kind in (CrossEntropy, MeanSquaredError)}


def get(loss: str | Loss) -> Loss:
    """Return a loss from its name, or itself.

    Raises
    ------
    ValueError
        If there is no loss of that name; the message lists those there are.
    TypeError
        If it is neither a name nor a Loss.
    """
    if isinstance(loss, Loss):
        return loss
    return _checks.lookup(loss, LOSSES, "loss")()


def config(loss: Loss) -> str:
    """Return what ``get`` makes the loss of again.

    Raises
    ------
    ValueError
        If it is of a class that is not fastmlp's.
    """
    if LOSSES.get(loss.name) is not type(loss):
        raise ValueError(f"loss {loss!r} is of a class of your own and cannot be saved.")
    return loss.name
