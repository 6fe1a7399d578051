"""Exceptions of fastmlp's own; everything else is ValueError or TypeError."""

__all__ = ["DivergenceError", "FastmlpFormatError"]


class FastmlpFormatError(ValueError):
    """A data or model file is truncated, corrupt, too large or not what its name says."""


class DivergenceError(ArithmeticError):
    """The loss became NaN or infinite in training.

    Attributes
    ----------
    epoch : int
        Epoch of the failing step, counted from 1.
    step : int
        Step within the whole run, counted from 1.
    learning_rate : float
        Learning rate of that step.
    """

    def __init__(self, message: str, *, epoch: int, step: int, learning_rate: float) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.step = step
        self.learning_rate = learning_rate
