"""What a layer is: shapes, parameters, forward and backward."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from fastmlp import _checks
from fastmlp._types import Array, Shape
from fastmlp.parameter import Initializer, Parameter

__all__ = ["GradientSink", "Layer", "Training"]


@dataclass
class Training:
    """What a layer may know about a training pass; one object serves many passes.

    Attributes
    ----------
    seed : int
        The network's.
    step : int
        Number of the step in the life of the network, from 1. It differs from pass to pass.
    updates : bool
        Whether the pass is a step that changes the network. That of ``gradients`` changes nothing.
    """

    seed: int
    step: int = 1
    updates: bool = True


class GradientSink(Protocol):
    """Where a layer hands the gradients of its parameters, if it can as factors they are made of.

    So an optimizer may compute the gradient and keep it, or update the weights without ever
    storing it: the layer does not know.
    """

    def product(self, parameter: Parameter, x: Array, dz: Array) -> None:
        """Take the gradient ``x.T @ dz``: (N, I), (N, O) for a parameter (I, O)."""

    def row_sum(self, parameter: Parameter, dz: Array) -> None:
        """Take the gradient ``dz.sum(axis=0)``: (N, O) for a parameter (O,)."""

    def array(self, parameter: Parameter, gradient: Array) -> None:
        """Take a gradient as it is, of the parameter's shape; it is not kept."""


class _Setting:
    """What a layer says of the training of its parameters; checked whenever it is set."""

    def __init__(self, default: bool | float) -> None:
        self.default = default

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type[Any]) -> Any:
        return self if instance is None else instance.training_settings[self._name]

    def __set__(self, instance: Any, value: Any) -> None:
        if isinstance(self.default, bool):
            value = _checks.boolean(value, self._name)
        else:
            value = _checks.number(value, self._name, minimum=0.0)
        # A new dictionary: plans tell by it what they were made for.
        instance.training_settings = instance.training_settings | {self._name: value}


class Layer:
    """Base class of all layers.

    A layer is described when it is made and gets its shapes when its network is. What one batch
    needs (inputs to remember, buffers to write to) lives in a *workspace* made for a number of
    rows, never in the layer, so any number of threads can run the same layer.

    Parameters
    ----------
    trainable : bool, default=True
        Whether training changes the parameters. Without, their gradients are not computed, nor
        what only the gradients of frozen layers need.
    learning_rate_multiplier : float, default=1.0
        Factor of the learning rate for the parameters, at least 0.
    l1, l2 : float, default=0.0
        Factors, at least 0, of a penalty ``l1 * sum(abs(weight)) + l2 * sum(weight**2)`` that is
        part of the loss; of the parameter called "weight", not of biases.

    Attributes
    ----------
    trainable, learning_rate_multiplier, l1, l2
        The arguments; may be changed between calls of the model's methods.
    training_settings : dict
        These four by name; not to be changed in place.
    name : str
        Its name within the network, such as "dense_0"; empty before.
    input_shape, output_shape : tuple of int or None
        Shapes of one sample; None before the layer is part of a network.
    number : int
        Its place in the network, from 0.
    parameters : list of Parameter
        The trainable arrays, in the order of their names in the network.
    buffers : list of Parameter
        Arrays that no gradient changes, such as running means.
    smallest_batch : int
        Samples that a training step needs at least.
    integers_below : int or None
        For a first layer whose samples are integers, not real numbers: they lie from 0 to one less.
    moves_buffers : bool
        Whether training steps change the buffers.
    init : Initializer
        Initial weights, of a layer that has some.
    own_init : bool
        Whether a model's ``init`` is not for the layer: it was made with one, or has no weights.
    takes_images : bool
        Whether samples are images (height, width, channels): as the first layer of a network it
        then takes (height, width) for one channel.

    Notes
    -----
    A layer learns from its workspace whether it trains: ``workspace`` makes those of prediction and
    evaluation, ``training_workspace`` those of training steps and of ``gradients``. A layer that
    does the same in both, as most do, has the first only.
    """

    integers_below: int | None = None
    moves_buffers = True
    takes_images = False
    own_init = True

    init: Initializer

    trainable = _Setting(True)
    learning_rate_multiplier = _Setting(1.0)
    l1 = _Setting(0.0)
    l2 = _Setting(0.0)

    training_settings: dict[str, bool | float] = {  # noqa: RUF012 - it is never changed
        "trainable": True, "learning_rate_multiplier": 1.0, "l1": 0.0, "l2": 0.0,
    }  # fmt: skip

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        # A class that still overrides a method of 0.1.0 would be ignored.
        _checks.refuse_old_names(cls, {"kink_sides": "active_pieces"})

    def __init__(
        self,
        *,
        trainable: bool = True,
        learning_rate_multiplier: float = 1.0,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        self.trainable = trainable
        self.learning_rate_multiplier = learning_rate_multiplier
        self.l1 = l1
        self.l2 = l2
        self.name = ""
        self.number = 0
        self.input_shape: Shape | None = None
        self.output_shape: Shape | None = None
        self.parameters: list[Parameter] = []
        self.buffers: list[Parameter] = []
        self.smallest_batch = 1

    def build(self, input_shape: Shape) -> Shape:
        """Check the shape of one sample, declare the parameters, return the shape that comes out.

        Raises
        ------
        ValueError
            If the layer cannot take that shape.
        """
        return input_shape

    def workspace(self, n: int, dtype: np.dtype[Any]) -> Any:
        """Return what ``forward`` and ``backward`` need to pass ``n`` samples."""
        return None

    def training_workspace(self, n: int, dtype: np.dtype[Any], training: Training) -> Any:
        """Return what they need to pass ``n`` samples in training; here the same.

        ``training.step`` is right whenever ``forward`` and ``backward`` are called.
        """
        return self.workspace(n, dtype)

    def forward(self, ops: ModuleType, x: Array, workspace: Any) -> Array:
        """Return the output for ``x`` (n, *input_shape), computed with the operations ``ops``.

        ``x`` must be left as it is. The result may be a buffer of the workspace.
        """
        raise NotImplementedError

    def backward(
        self, ops: ModuleType, dy: Array, workspace: Any, sink: GradientSink, need_dx: bool
    ) -> Array | None:
        """Hand the parameters' gradients to ``sink`` and return the gradient by the input.

        ``dy`` (n, *output_shape) may be overwritten. ``sink`` may update a parameter at once, so
        the input's gradient is computed first. Without ``need_dx`` nothing reads the result.
        """
        raise NotImplementedError

    def pre_activation(self, ops: ModuleType, x: Array) -> Array | None:
        """Return what its activation is applied to, for ``x``; None if it has none."""
        return None

    def check_ready(self) -> None:
        """Refuse a pass that the layer is not ready for; most always are.

        Raises
        ------
        ValueError
            If something has to be done before.
        """

    def active_pieces(self, workspace: Any) -> Array | None:
        """Return which smooth piece each value of the last ``forward`` is on; None if it is smooth.

        A layer that is only piecewise smooth overrides this, such as relu (whether the output is
        positive) or max-pooling (the position of the maximum). ``gradcheck`` leaves out a
        difference quotient whose steps reach another piece.
        """
        return None

    def config(self) -> dict[str, Any]:
        """Return the arguments an equal layer is made with, as plain values for a model file."""
        return {}

    def changed_settings(self) -> dict[str, bool | float]:
        """Return those of the training settings that are not the defaults, for a model file."""
        defaults = Layer.training_settings
        return {k: v for k, v in self.training_settings.items() if v != defaults[k]}

    def __repr__(self) -> str:
        arguments = self.config() | self.changed_settings()
        shown = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        return f"{type(self).__name__}({shown})"
