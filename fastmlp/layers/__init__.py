"""The layers, one family a file, and the base class for others.

``base`` holds the contract every layer keeps; a new layer is a new file and a line in ``LAYERS``.
"""

from fastmlp.layers.activation import Activation
from fastmlp.layers.base import Layer
from fastmlp.layers.conv2d import Conv2D
from fastmlp.layers.dense import Dense
from fastmlp.layers.flatten import Flatten
from fastmlp.layers.pooling import AvgPool2D, GlobalAvgPool2D, MaxPool2D

__all__ = [
    "LAYERS",
    "Activation",
    "AvgPool2D",
    "Conv2D",
    "Dense",
    "Flatten",
    "GlobalAvgPool2D",
    "Layer",
    "MaxPool2D",
]

# What a model file may name.
LAYERS: dict[str, type[Layer]] = {
    "Dense": Dense,
    "Activation": Activation,
    "Flatten": Flatten,
    "Conv2D": Conv2D,
    "MaxPool2D": MaxPool2D,
    "AvgPool2D": AvgPool2D,
    "GlobalAvgPool2D": GlobalAvgPool2D,
}
