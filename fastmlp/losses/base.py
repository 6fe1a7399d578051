"""The base class of losses: targets, a weighted mean over the batch, and its gradient."""

from __future__ import annotations

import inspect
from collections.abc import Hashable
from types import ModuleType
from typing import Any

from fastmlp._checks import refuse_old_names
from fastmlp._types import Array, DType, Shape

__all__ = ["Loss"]


# Names of methods from before the release of 0.1.0. A method under an old name would be ignored
# silently.
_RENAMED = {
    "answers": "predictions_per_sample",
    "right": "count_correct",
    "kink_sides": "active_pieces",
}


class Loss:
    """Base class of losses: a mean over the batch and its gradient.

    With sample weights ``w``, the loss of a batch is the weighted mean ``sum(w * l) / sum(w)`` of
    the losses ``l`` of its samples. It is 0 if all weights of the batch are 0.

    Attributes
    ----------
    name : str
        Name of the loss in ``fit(loss=...)`` and in model files.
    classifies : bool
        Whether a prediction is either correct or wrong, so that the loss has an accuracy.
    """

    name: str = ""
    classifies = False

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        refuse_old_names(cls, _RENAMED)

    def __init__(self, **settings: Hashable) -> None:
        # In normalized form, so that equal settings compare equal. They never change.
        self._settings = settings

    def check_output(self, output_shape: Shape) -> None:
        """Raise ValueError if the loss does not accept outputs of this shape."""

    def targets(self, y: Any, n: int, output_shape: Shape, dtype: DType, name: str = "y") -> Array:
        """Return the targets ``y`` of ``n`` samples, checked, in the form the loss reads."""
        raise NotImplementedError

    def __call__(
        self,
        ops: ModuleType,
        output: Array,
        targets: Array,
        out: Array,
        weights: Array | None = None,
    ) -> tuple[float, Array]:
        """Return the mean loss and its gradient with respect to ``output``, written to ``out``.

        ``weights`` are sample weights, float64 (N,). A user-defined loss may omit this argument;
        then it does not support ``sample_weight``.
        """
        raise NotImplementedError

    def total_weight(self, output: Array, targets: Array, weights: Array | None) -> float:
        """Return the divisor of the mean: the sum of the weights."""
        return float(len(output) if weights is None else weights.sum())

    def measure(
        self, ops: ModuleType, output: Array, targets: Array, out: Array, weights: Array | None
    ) -> tuple[float, Array, float]:
        """Return the mean loss, its gradient and the total weight of the batch."""
        if weights is None:
            value, gradient = self(ops, output, targets, out)
        else:
            value, gradient = self(ops, output, targets, out, weights=weights)
        return value, gradient, self.total_weight(output, targets, weights)

    @property
    def takes_weights(self) -> bool:
        """Whether ``__call__`` has an argument ``weights`` for sample weights."""
        parameters = inspect.signature(self.__call__).parameters
        return "weights" in parameters or any(
            parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values()
        )

    def predictions_per_sample(self, output_shape: Shape) -> int:
        """Return the number of predictions per sample that the accuracy counts."""
        return 1

    def count_correct(self, output: Array, targets: Array) -> Array:
        """Return the number of correct predictions of each sample, (N,).

        The prediction is the class with the largest output; the first one if several are equal.
        """
        labels = targets if targets.ndim == 1 else targets.argmax(axis=1)
        correct: Array = output.argmax(axis=1) == labels
        return correct

    def active_pieces(self, output: Array, targets: Array) -> Array | None:
        """Return the smooth piece of the loss that each output is on; None if the loss is smooth.

        ``gradcheck`` leaves out difference quotients whose steps reach another piece.
        """
        return None

    @property
    def key(self) -> Hashable:
        """A key that is equal for losses that compute the same."""
        return type(self), *self._settings.values()

    def changed(self) -> dict[str, Any]:
        """Return the constructor arguments that differ from the defaults."""
        defaults = {n: p.default for n, p in inspect.signature(type(self)).parameters.items()}
        return {
            name: getattr(self, name)
            for name, value in self._settings.items()
            if value != defaults[name]
        }

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.changed().items())
        return f"{type(self).__name__}({settings})"
