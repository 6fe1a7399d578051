"""Layers, one family per file, and their base class.

``base`` defines what every layer implements. A new layer is a new file and an entry in ``LAYERS``.
"""

from fastmlp.layers.activation import Activation
from fastmlp.layers.base import Layer
from fastmlp.layers.convolution import Conv2D
from fastmlp.layers.dense import Dense
from fastmlp.layers.dropout import Dropout, GaussianNoise
from fastmlp.layers.embedding import Embedding
from fastmlp.layers.flatten import Flatten
from fastmlp.layers.normalization import BatchNorm, LayerNorm
from fastmlp.layers.pooling import AvgPool2D, GlobalAvgPool2D, MaxPool2D
from fastmlp.layers.standardize import Standardize

__all__ = [
    "LAYERS",
    "Activation",
    "AvgPool2D",
    "BatchNorm",
    "Conv2D",
    "Dense",
    "Dropout",
    "Embedding",
    "Flatten",
    "GaussianNoise",
    "GlobalAvgPool2D",
    "Layer",
    "LayerNorm",
    "MaxPool2D",
    "Standardize",
]

# The classes that a model file may name.
LAYERS: dict[str, type[Layer]] = {
    "Dense": Dense,
    "Activation": Activation,
    "Flatten": Flatten,
    "Conv2D": Conv2D,
    "MaxPool2D": MaxPool2D,
    "AvgPool2D": AvgPool2D,
    "GlobalAvgPool2D": GlobalAvgPool2D,
    "Dropout": Dropout,
    "GaussianNoise": GaussianNoise,
    "BatchNorm": BatchNorm,
    "LayerNorm": LayerNorm,
    "Embedding": Embedding,
    "Standardize": Standardize,
}
