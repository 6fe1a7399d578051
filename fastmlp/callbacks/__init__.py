"""Code that runs during ``fit``: the base class, and callbacks for common tasks.

``base`` has the contract. Callbacks import neither networks nor the training loop; they get what
they need from ``Callback.model`` and ``Callback.run``.
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
