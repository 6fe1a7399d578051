"""Code that runs during ``fit``: the base class, and callbacks for what is often wanted.

``base`` holds the contract. None of them knows networks or training; what they may ask of the run
is in ``Callback.run``.
"""

from fastmlp.callbacks.base import Callback, RunInfo
from fastmlp.callbacks.early_stopping import EarlyStopping
from fastmlp.callbacks.loggers import CSVLogger, LearningRateLogger
from fastmlp.callbacks.model_checkpoint import ModelCheckpoint
from fastmlp.callbacks.tensorboard import TensorBoard

__all__ = [
    "CSVLogger",
    "Callback",
    "EarlyStopping",
    "LearningRateLogger",
    "ModelCheckpoint",
    "RunInfo",
    "TensorBoard",
]
