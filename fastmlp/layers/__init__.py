"""The layers, one family a file, and the base class for others.

``base`` holds the contract every layer keeps; a new layer is a new file and a line in ``LAYERS``.
"""

from fastmlp.layers.activation import Activation
from fastmlp.layers.base import Layer
from fastmlp.layers.dense import Dense
from fastmlp.layers.flatten import Flatten

__all__ = ["LAYERS", "Activation", "Dense", "Flatten", "Layer"]

# What a model file may name.
LAYERS: dict[str, type[Layer]] = {"Dense": Dense, "Activation": Activation, "Flatten": Flatten}
