"""The fully connected layer."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from fastmlp import _checks, activations, initializers
from fastmlp._arrays import empty
from fastmlp._types import Array, DType, Shape
from fastmlp.layers.base import GradientSink, Layer
from fastmlp.parameter import Initializer, Parameter

__all__ = ["Dense"]


class Dense(Layer):
    """Fully connected layer: ``y = activation(x @ weight + bias)``.

    Parameters
    ----------
    units : int
        Number of outputs O, at least 1.
    activation : str or None, default="linear"
        Name of the activation; see ``fastmlp.activations``. None means "linear".
    init : str, array or initializer, default=None
        Initial weights; see ``fastmlp.initializers``. None means the model's ``init``, and
        "glorot_uniform" if the model has none.
    use_bias : bool, default=True
        Whether a bias is added.
    bias_init : str, array or initializer, default="zeros"
        Initial bias.
    trainable, learning_rate_multiplier, l1, l2
        Training settings; see ``Layer``.

    Attributes
    ----------
    weight : Parameter
        Weights, of shape (I, O). Set once the layer is part of a network.
    bias : Parameter or None
        Bias, of shape (O,); None without a bias. Set once the layer is part of a network.

    Raises
    ------
    ValueError
        If ``units`` is less than 1, a number is out of range, or a name is unknown.
    TypeError
        If an argument has the wrong type.

    Notes
    -----
    Samples have shape (I,) and outputs shape (O,). The forward pass takes N*I*O multiply-adds, the
    backward pass twice as many, or as many as the forward pass in the first layer of a network. A
    training step stores the output, and also the pre-activation if the derivative needs it.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential([fm.Dense(3, activation="relu")], input_shape=4)
    >>> model.layers[0].weight.shape, model.layers[0].bias.shape
    ((4, 3), (3,))
    """

    def __init__(
        self,
        units: int,
        activation: str | None = "linear",
        init: str | Array | Initializer | None = None,
        use_bias: bool = True,
        bias_init: str | Array | Initializer = "zeros",
        *,
        trainable: bool = True,
        learning_rate_multiplier: float = 1.0,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        super().__init__(
            trainable=trainable, learning_rate_multiplier=learning_rate_multiplier, l1=l1, l2=l2
        )
        self.units = _checks.integer(units, "units", minimum=1)
        self.activation = activations.get(activation)
        self.own_init = init is not None
        self.init = initializers.get("glorot_uniform" if init is None else init)
        self.use_bias = _checks.boolean(use_bias, "use_bias")
        self.bias_init = initializers.get(bias_init)

    def build(self, input_shape: Shape) -> Shape:
        """Declare ``weight`` and, unless turned off, ``bias``. A sample must have one dimension."""
        if len(input_shape) != 1:
            raise ValueError(
                f"{self.name or 'Dense'}: a sample must have shape (features,), got {input_shape}. "
                "Add fm.Flatten() before this layer."
            )
        fans = (input_shape[0], self.units)
        self.weight = Parameter("weight", fans, self.init, *fans)
        self.bias = (
            Parameter("bias", (self.units,), self.bias_init, *fans) if self.use_bias else None
        )
        self.parameters = [self.weight] if self.bias is None else [self.weight, self.bias]
        return (self.units,)

    def workspace(self, n: int, dtype: DType) -> _Workspace:
        """Return the buffers for a batch of ``n`` samples."""
        return _Workspace(n, self, dtype)

    def forward(self, ops: ModuleType, x: Array, workspace: _Workspace) -> Array:
        """Return the activation of ``x @ weight + bias``, (N, I) -> (N, O)."""
        workspace.x = x
        bias = None if self.bias is None else self.bias.value
        if self.activation.name == "relu":
            y: Array = ops.dense(x, self.weight.value, bias, relu=True, out=workspace.y)
            return y
        z = ops.dense(x, self.weight.value, bias, out=workspace.z)
        return self.activation.forward(ops, z, workspace.y)

    def backward(
        self,
        ops: ModuleType,
        dy: Array,
        workspace: _Workspace,
        sink: GradientSink,
        need_dx: bool,
    ) -> Array | None:
        """Return the gradient of the input; pass the gradients of the parameters to ``sink``."""
        dz = self.activation.backward(ops, dy, workspace.saved)
        dx = None
        if need_dx:
            if workspace.dx is None:
                workspace.dx = empty(workspace.x.shape, workspace.x.dtype)
            dx = ops.matmul(dz, self.weight.value, transpose_b=True, out=workspace.dx)
        sink.product(self.weight, workspace.x, dz)
        if self.bias is not None:
            sink.row_sum(self.bias, dz)
        return dx

    def pre_activation(self, ops: ModuleType, x: Array) -> Array | None:
        """Return ``x @ weight + bias``; None if the activation is linear."""
        if self.activation.name == "linear":
            return None
        bias = None if self.bias is None else self.bias.value
        z: Array = ops.dense(x, self.weight.value, bias)
        return z

    def active_pieces(self, workspace: _Workspace) -> Array | None:
        """Return which outputs are positive; None if the activation is smooth."""
        return workspace.y > 0 if self.activation.kinked else None

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "units": self.units,
            "activation": self.activation.name,
            "init": initializers.config(self.init),
            "use_bias": self.use_bias,
            "bias_init": initializers.config(self.bias_init),
        }

    def __repr__(self) -> str:
        shown: dict[str, Any] = self.changed_settings()
        if self.activation.name != "linear":
            shown = {"activation": self.activation.name} | shown
        return f"Dense({', '.join([str(self.units), *(f'{k}={v!r}' for k, v in shown.items())])})"


class _Workspace:
    """Buffers and saved inputs of a dense layer for one batch."""

    __slots__ = ("dx", "saved", "x", "y", "z")

    x: Array

    def __init__(self, n: int, layer: Dense, dtype: DType) -> None:
        self.y = empty((n, layer.units), dtype)
        # The activation runs in place unless its derivative needs the pre-activation.
        saves_input = layer.activation.saves == "input"
        self.z = empty((n, layer.units), dtype) if saves_input else self.y
        self.saved = self.z if saves_input else self.y
        self.dx: Array | None = None
