"""Exceptions defined by fastmlp. All other errors are ValueError or TypeError."""

__all__ = ["DivergenceError", "FastmlpFormatError"]


class FastmlpFormatError(ValueError):
    """A data or model file is truncated, corrupt, too large, or not in the format of its name."""


class DivergenceError(ArithmeticError):
    """The loss became NaN or infinite during training.

    Attributes
    ----------
    epoch : int
        Epoch of the failing step, counted from 1.
    step : int
        Failing step, counted from 1 over the whole run.
    learning_rate : float
        Learning rate of this step.
    """

    def __init__(self, message: str, *, epoch: int, step: int, learning_rate: float) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.step = step
        self.learning_rate = learning_rate
