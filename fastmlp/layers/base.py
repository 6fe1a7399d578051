"""The base class of layers: shapes, parameters, forward and backward passes."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from fastmlp import _checks
from fastmlp._types import Array, DType, Shape
from fastmlp.parameter import Initializer, Parameter

__all__ = ["GradientSink", "Layer", "Training"]


@dataclass
class Training:
    """Information for layers about a training pass. One object serves many passes.

    Attributes
    ----------
    seed : int
        Seed of the network.
    step : int
        Number of the step, counted from the creation of the network and starting at 1. It changes
        from pass to pass.
    updates : bool
        Whether the pass is a training step, which changes the network. False for ``gradients``.
    """

    seed: int
    step: int = 1
    updates: bool = True


class GradientSink(Protocol):
    """Receiver of the gradients of a layer's parameters, where possible as factors of a product.

    The receiver may compute and store the gradient, or update the parameter without storing the
    gradient. This makes no difference to the layer.
    """

    def product(self, parameter: Parameter, x: Array, dz: Array) -> None:
        """Take the gradient ``x.T @ dz`` of a parameter (I, O), from x (N, I) and dz (N, O)."""

    def row_sum(self, parameter: Parameter, dz: Array) -> None:
        """Take the gradient ``dz.sum(axis=0)`` of a parameter (O,), from dz (N, O)."""

    def array(self, parameter: Parameter, gradient: Array) -> None:
        """Take a complete gradient, of the parameter's shape. The array is not kept."""


class _Setting:
    """A per-layer training setting, which is checked whenever it is set."""

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
        # A new dictionary, because the layers share the dictionary of defaults.
        instance.training_settings = instance.training_settings | {self._name: value}


class Layer:
    """Base class of all layers.

    A layer gets its settings when it is created, and its shapes when its network is created. The
    data of one batch (saved inputs, output buffers) is in a *workspace* for a given number of
    samples, never in the layer, so any number of threads can run the same layer.

    Parameters
    ----------
    trainable : bool, default=True
        Whether training changes the parameters. If False, training does not compute their
        gradients, nor anything that only these gradients need.
    learning_rate_multiplier : float, default=1.0
        Factor of the learning rate for the parameters, at least 0.
    l1, l2 : float, default=0.0
        Factors of the penalty ``l1 * sum(abs(weight)) + l2 * sum(weight**2)``, at least 0. The
        penalty is part of the loss. It covers the parameter named "weight", not the bias.

    Attributes
    ----------
    trainable, learning_rate_multiplier, l1, l2
        The arguments. They may be changed between calls to the model's methods.
    training_settings : dict
        These four settings by name. Do not change the dictionary in place.
    name : str
        Name within the network, such as "dense_0". Empty until the layer is part of a network.
    input_shape, output_shape : tuple of int or None
        Shapes of one sample. None until the layer is part of a network.
    number : int
        Position in the network, from 0.
    parameters : list of Parameter
        Trainable arrays, in the order in which the network lists them.
    buffers : list of Parameter
        Arrays that no gradient changes, such as running means.
    smallest_batch : int
        Minimum number of samples in a training batch.
    integers_below : int or None
        For a layer whose samples are integers: the samples are at least 0 and less than this. Such
        a layer must be the first of a network. None for all other layers.
    moves_buffers : bool
        Whether training steps change the buffers.
    init : Initializer
        Initializer of the weights, if the layer has weights.
    own_init : bool
        Whether to ignore the model's ``init``, because the layer was created with an ``init`` or
        has no weights.
    takes_images : bool
        Whether samples are images (height, width, channels). As the first layer of a network, such
        a layer also accepts (height, width) for one channel.

    Notes
    -----
    Prediction and evaluation call ``workspace``. Training steps and ``gradients`` call
    ``training_workspace``, so the workspace tells ``forward`` and ``backward`` whether the layer
    trains. A layer that does the same in both cases, as most do, implements ``workspace`` only.

    Examples
    --------
    >>> import fastmlp as fm
    >>> class Negate(fm.Layer):
    ...     def forward(self, ops, x, workspace):
    ...         return -x
    ...
    ...     def backward(self, ops, dy, workspace, sink, need_dx):
    ...         return -dy
    >>> fm.Sequential([Negate()], input_shape=2).predict([[1.0, -2.0]]).tolist()
    [[-1.0, 2.0]]
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
        # The name before the release of 0.1.0: a class that overrides it would be ignored silently.
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
        """Check the shape of one sample, declare the parameters and return the output shape.

        Raises
        ------
        ValueError
            If the layer does not accept this shape.
        """
        return input_shape

    def workspace(self, n: int, dtype: DType) -> Any:
        """Return the workspace that ``forward`` needs for ``n`` samples in prediction."""
        return None

    def training_workspace(self, n: int, dtype: DType, training: Training) -> Any:
        """Return the workspace of ``forward`` and ``backward`` for ``n`` samples in training.

        By default this is ``workspace(n, dtype)``. ``training.step`` is up to date whenever
        ``forward`` or ``backward`` is called.
        """
        return self.workspace(n, dtype)

    def forward(self, ops: ModuleType, x: Array, workspace: Any) -> Array:
        """Return the output for ``x`` (n, *input_shape), computed with the operations of ``ops``.

        ``forward`` must not change ``x``. The result may be a buffer of the workspace.
        """
        raise NotImplementedError

    def backward(
        self, ops: ModuleType, dy: Array, workspace: Any, sink: GradientSink, need_dx: bool
    ) -> Array | None:
        """Pass the parameters' gradients to ``sink`` and return the input gradient.

        ``dy`` (n, *output_shape) may be overwritten. Compute the input gradient first,
        because ``sink`` may update a parameter at once. If ``need_dx`` is False, the result is not
        used and may be None.
        """
        raise NotImplementedError

    def pre_activation(self, ops: ModuleType, x: Array) -> Array | None:
        """Return the input of the activation function for ``x``; None if there is no activation."""
        return None

    def check_ready(self) -> None:
        """Raise ValueError if the layer is not ready to run. Most layers always are."""

    def active_pieces(self, workspace: Any) -> Array | None:
        """Return the smooth piece that each value of the last ``forward`` is on.

        Piecewise smooth layers override this: relu returns whether each output is positive,
        max-pooling the position of each maximum. ``gradcheck`` leaves out difference quotients
        whose steps reach another piece. None means that the layer is smooth everywhere.
        """
        return None

    def config(self) -> dict[str, Any]:
        """Return the constructor arguments of an equal layer, as plain values for a model file."""
        return {}

    def changed_settings(self) -> dict[str, bool | float]:
        """Return the training settings that differ from the defaults, for a model file."""
        defaults = Layer.training_settings
        return {k: v for k, v in self.training_settings.items() if v != defaults[k]}

    def __repr__(self) -> str:
        arguments = self.config() | self.changed_settings()
        shown = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
        return f"{type(self).__name__}({shown})"
