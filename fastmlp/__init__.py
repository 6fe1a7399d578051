"""fastmlp: the fastest way to train and run small neural networks on a CPU from Python.

``import fastmlp as fm``, and start with ``fm.MLP``, ``fm.Sequential`` and ``fm.datasets``.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from fastmlp import _threadpoolctl, initializers, metrics
from fastmlp._config import __version__ as __version__
from fastmlp._config import show_config
from fastmlp._threads import get_num_threads, set_num_threads
from fastmlp.architectures import CNN, MLP
from fastmlp.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    LearningRateLogger,
    ModelCheckpoint,
    TensorBoard,
)
from fastmlp.errors import DivergenceError, FastmlpFormatError
from fastmlp.gradcheck import GradcheckCurve, GradcheckResult, gradcheck
from fastmlp.history import History
from fastmlp.layers import (
    Activation,
    AvgPool2D,
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GaussianNoise,
    GlobalAvgPool2D,
    Layer,
    LayerNorm,
    MaxPool2D,
    Standardize,
)
from fastmlp.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Hinge,
    Huber,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
)
from fastmlp.model import Sequential, load_model
from fastmlp.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop
from fastmlp.optimizers.schedules import (
    CosineDecay,
    ExponentialDecay,
    ReduceOnPlateau,
    StepDecay,
    Warmup,
)
from fastmlp.parameter import Parameter
from fastmlp.splitting import train_test_split

__all__ = [
    "CNN",
    "MLP",
    "SGD",
    "Activation",
    "Adagrad",
    "Adam",
    "AdamW",
    "AvgPool2D",
    "BatchNorm",
    "BinaryCrossEntropy",
    "CSVLogger",
    "Callback",
    "Conv2D",
    "CosineDecay",
    "CrossEntropy",
    "Dense",
    "DivergenceError",
    "Dropout",
    "EarlyStopping",
    "Embedding",
    "ExponentialDecay",
    "FastmlpFormatError",
    "Flatten",
    "GaussianNoise",
    "GlobalAvgPool2D",
    "GradcheckCurve",
    "GradcheckResult",
    "Hinge",
    "History",
    "Huber",
    "Layer",
    "LayerNorm",
    "LearningRateLogger",
    "Loss",
    "MaxPool2D",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "ModelCheckpoint",
    "Parameter",
    "RMSprop",
    "ReduceOnPlateau",
    "Sequential",
    "Standardize",
    "StepDecay",
    "TensorBoard",
    "Warmup",
    "datasets",
    "get_num_threads",
    "gradcheck",
    "initializers",
    "kernels",
    "layouts",
    "load_model",
    "metrics",
    "plot",
    "reference",
    "set_num_threads",
    "show_config",
    "train_test_split",
]

_threadpoolctl.register()


def __getattr__(name: str) -> ModuleType:
    # Imported on first use, because most models do not need them.
    if name in ("datasets", "kernels", "layouts", "plot", "reference"):
        return importlib.import_module(f"fastmlp.{name}")
    raise AttributeError(f"module 'fastmlp' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
