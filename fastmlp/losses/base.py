"""What a loss is: targets, a weighted mean over the batch and its gradient."""

from __future__ import annotations

import inspect
from collections.abc import Hashable
from types import ModuleType
from typing import Any

import numpy as np

from fastmlp._checks import refuse_old_names
from fastmlp._types import Array, Shape

__all__ = ["Loss"]


# Methods that had other names in 0.1.0; a class that still overrides them would be ignored.
_RENAMED = {
    "answers": "predictions_per_sample",
    "right": "count_correct",
    "kink_sides": "active_pieces",
}


class Loss:
    """Base class of the losses: a mean over the batch and its gradient by the model's output.

    With weights ``w`` of the samples it is the weighted mean ``sum(w * l) / sum(w)`` of the losses
    ``l`` of the samples; 0 where no sample of the batch has a weight.

    Attributes
    ----------
    name : str
        Its name in ``fit(loss=...)`` and in model files.
    classifies : bool
        Whether targets are answers that an output gives or misses, so that an accuracy can be
        counted.
    """

    name: str = ""
    classifies = False

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        refuse_old_names(cls, _RENAMED)

    def __init__(self, **settings: Hashable) -> None:
        # In the one form in which equal settings are equal; they never change.
        self._settings = settings

    def check_output(self, output_shape: Shape) -> None:
        """Raise ValueError if a model with this output cannot be trained with this loss."""

    def targets(
        self, y: Any, n: int, output_shape: Shape, dtype: np.dtype[Any], name: str = "y"
    ) -> Array:
        """Return the targets ``y`` of ``n`` samples, checked, as the operation takes them."""
        raise NotImplementedError

    def __call__(
        self,
        ops: ModuleType,
        output: Array,
        targets: Array,
        out: Array,
        weights: Array | None = None,
    ) -> tuple[float, Array]:
        """Return the mean loss and its gradient by ``output``, which is written to ``out``.

        ``weights`` are those of the samples, float64 (N,). A loss of your own may leave the
        argument out; then it cannot be trained with ``sample_weight``.
        """
        raise NotImplementedError

    def total_weight(self, output: Array, targets: Array, weights: Array | None) -> float:
        """Return what the sum over the batch is divided by: the sum of the weights."""
        return float(len(output) if weights is None else weights.sum())

    def measure(
        self, ops: ModuleType, output: Array, targets: Array, out: Array, weights: Array | None
    ) -> tuple[float, Array, float]:
        """Return the mean loss, its gradient and the weight of the batch."""
        if weights is None:
            value, gradient = self(ops, output, targets, out)
        else:
            value, gradient = self(ops, output, targets, out, weights=weights)
        return value, gradient, self.total_weight(output, targets, weights)

    @property
    def takes_weights(self) -> bool:
        """Whether ``__call__`` has an argument for the weights of the samples."""
        parameters = inspect.signature(self.__call__).parameters
        return "weights" in parameters or any(
            parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values()
        )

    def predictions_per_sample(self, output_shape: Shape) -> int:
        """Return the number of predictions per sample that count for the accuracy."""
        return 1

    def count_correct(self, output: Array, targets: Array) -> Array:
        """Return the number of correct predictions of each sample, (N,).

        Of several largest outputs the first counts.
        """
        labels = targets if targets.ndim == 1 else targets.argmax(axis=1)
        correct: Array = output.argmax(axis=1) == labels
        return correct

    def active_pieces(self, output: Array, targets: Array) -> Array | None:
        """Return the smooth piece of the loss that each output is on; None if the loss is smooth.

        ``gradcheck`` leaves out a difference quotient whose steps reach another piece.
        """
        return None

    @property
    def key(self) -> Hashable:
        """What is equal for losses that compute the same."""
        return type(self), *self._settings.values()

    def changed(self) -> dict[str, Any]:
        """Return the settings that are not the defaults, as the constructor takes them."""
        defaults = {n: p.default for n, p in inspect.signature(type(self)).parameters.items()}
        return {
            name: getattr(self, name)
            for name, value in self._settings.items()
            if value != defaults[name]
        }

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.changed().items())
        return f"{type(self).__name__}({settings})"
