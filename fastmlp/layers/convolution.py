"""The convolution layer for images."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from fastmlp import _checks, activations, initializers
from fastmlp._arrays import empty
from fastmlp._types import Array, DType, Pair, Shape
from fastmlp.layers.base import GradientSink, Layer
from fastmlp.layers.window import Window
from fastmlp.parameter import Initializer, Parameter

__all__ = ["Conv2D"]


class Conv2D(Layer):
    """Convolution of images, channels last: ``y = activation(x * weight + bias)``.

    Every filter is applied at every position of the image. The output has one channel per filter.

    Parameters
    ----------
    filters : int
        Number of filters F, at least 1.
    kernel_size : int or (int, int)
        Height and width of a filter, at least 1.
    strides : int or (int, int), default=1
        Steps between positions, (y, x), at least 1.
    padding : {"valid", "same"}, default="valid"
        "valid": positions inside the image only, OH = (H - kh) // sy + 1. "same": zeros around the
        image, OH = ceil(H / sy). If their number is odd, the extra zero is at the bottom and right.
    activation : str or None, default="linear"
        Name of the activation; see ``fastmlp.activations``. Softmax is over the channels.
    init : str, array or initializer, default=None
        Initial weights; see ``fastmlp.initializers``. The fan-in is kh * kw * C. None means the
        model's ``init``, and "glorot_uniform" if the model has none.
    use_bias : bool, default=True
        Whether a bias is added.
    bias_init : str, array or initializer, default="zeros"
        Initial bias.
    trainable, learning_rate_multiplier, l1, l2
        Training settings; see ``Layer``.

    Attributes
    ----------
    weight : Parameter
        Filters, of shape (kh, kw, C, F). Set once the layer is part of a network.
    bias : Parameter or None
        Bias, of shape (F,); None without a bias. Set once the layer is part of a network.
    window : Window
        Sizes, strides and padding. Set once the layer is part of a network.

    Raises
    ------
    ValueError
        If a number is out of range, or a name is unknown.
    TypeError
        If an argument has the wrong type.

    Notes
    -----
    Samples are images (H, W, C) and outputs are images (OH, OW, F). As the first layer of a model,
    it also accepts ``input_shape=(H, W)`` for one channel. The forward pass takes
    N*OH*OW*kh*kw*C*F multiply-adds, the backward pass twice as many (once as many in the first
    layer of a network). The padding matches TensorFlow and Keras; PyTorch's ``padding=k // 2`` is
    the same for odd k and strides of 1. ``fastmlp.layouts`` converts filters and images from
    PyTorch.

    Examples
    --------
    >>> import fastmlp as fm
    >>> layers = [fm.Conv2D(32, 3, activation="relu"), fm.Flatten(), fm.Dense(10)]
    >>> fm.Sequential(layers, input_shape=(28, 28, 1)).layers[0].output_shape
    (26, 26, 32)
    """

    takes_images = True

    window: Window

    def __init__(
        self,
        filters: int,
        kernel_size: Pair,
        strides: Pair = 1,
        padding: str = "valid",
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
        self.filters = _checks.integer(filters, "filters", minimum=1)
        self.kernel_size = _checks.sizes(kernel_size, "kernel_size")
        self.strides = _checks.sizes(strides, "strides")
        _checks.lookup(padding, dict.fromkeys(("valid", "same")), "padding")
        self.padding = padding
        self.activation = activations.get(activation)
        self.own_init = init is not None
        self.init = initializers.get("glorot_uniform" if init is None else init)
        self.use_bias = _checks.boolean(use_bias, "use_bias")
        self.bias_init = initializers.get(bias_init)

    def build(self, input_shape: Shape) -> Shape:
        """Declare ``weight`` and, unless turned off, ``bias``. A sample must be an image."""
        name = self.name or "Conv2D"
        window = Window.of(input_shape, self.kernel_size, self.strides, self.padding, layer=name)
        shape = (*self.kernel_size, window.channels, self.filters)
        places = self.kernel_size[0] * self.kernel_size[1]
        fans = (places * window.channels, places * self.filters)
        self.window = window
        self.weight = Parameter("weight", shape, self.init, *fans)
        self.bias = (
            Parameter("bias", (self.filters,), self.bias_init, *fans) if self.use_bias else None
        )
        self.parameters = [self.weight] if self.bias is None else [self.weight, self.bias]
        return (window.out_height, window.out_width, self.filters)

    def workspace(self, n: int, dtype: DType) -> _Workspace:
        """Return the buffers for a batch of ``n`` samples."""
        return _Workspace((n, *(self.output_shape or ())), self, dtype)

    def forward(self, ops: ModuleType, x: Array, workspace: _Workspace) -> Array:
        """Return the activation of the convolution, (N, H, W, C) -> (N, OH, OW, F)."""
        workspace.x = x
        bias = None if self.bias is None else self.bias.value
        options: dict[str, Any] = {"strides": self.strides, "padding": self.padding}
        if self.activation.name == "relu":
            y: Array = ops.conv2d(x, self.weight.value, bias, **options, relu=True, out=workspace.y)
            return y
        z = ops.conv2d(x, self.weight.value, bias, **options, out=workspace.z)
        return self.activation.forward(ops, z, workspace.y)

    def backward(
        self,
        ops: ModuleType,
        dy: Array,
        workspace: _Workspace,
        sink: GradientSink,
        need_dx: bool,
    ) -> Array | None:
        """Return the input gradient; pass the gradients of the parameters to ``sink``."""
        dz = self.activation.backward(ops, dy, workspace.saved)
        x, dx = workspace.x, None
        options: dict[str, Any] = {"strides": self.strides, "padding": self.padding}
        if need_dx:
            if workspace.dx is None:
                workspace.dx = empty(x.shape, x.dtype)
            dx = ops.conv2d_backward_input(
                dz, self.weight.value, x.shape[1:3], **options, out=workspace.dx
            )
        sink.array(self.weight, ops.conv2d_backward_weights(x, dz, self.kernel_size, **options))
        if self.bias is not None:
            sink.row_sum(self.bias, dz.reshape(-1, self.filters))
        return dx

    def pre_activation(self, ops: ModuleType, x: Array) -> Array | None:
        """Return the convolution plus bias; None if the activation is linear."""
        if self.activation.name == "linear":
            return None
        bias = None if self.bias is None else self.bias.value
        options: dict[str, Any] = {"strides": self.strides, "padding": self.padding}
        z: Array = ops.conv2d(x, self.weight.value, bias, **options)
        return z

    def active_pieces(self, workspace: _Workspace) -> Array | None:
        """Return which outputs are positive; None if the activation is smooth."""
        return workspace.y > 0 if self.activation.kinked else None

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            "filters": self.filters,
            "kernel_size": list(self.kernel_size),
            "strides": list(self.strides),
            "padding": self.padding,
            "activation": self.activation.name,
            "init": initializers.config(self.init),
            "use_bias": self.use_bias,
            "bias_init": initializers.config(self.bias_init),
        }

    def __repr__(self) -> str:
        arguments = [str(self.filters), _checks.short_sizes(self.kernel_size)]
        if self.strides != (1, 1):
            arguments.append(f"strides={_checks.short_sizes(self.strides)}")
        if self.padding != "valid":
            arguments.append(f"padding={self.padding!r}")
        if self.activation.name != "linear":
            arguments.append(f"activation={self.activation.name!r}")
        arguments += [f"{key}={value!r}" for key, value in self.changed_settings().items()]
        return f"Conv2D({', '.join(arguments)})"


class _Workspace:
    """Buffers and saved inputs of a convolution for one batch."""

    __slots__ = ("dx", "saved", "x", "y", "z")

    x: Array

    def __init__(self, shape: Shape, layer: Conv2D, dtype: DType) -> None:
        self.y = empty(shape, dtype)
        # The activation runs in place unless its derivative needs the pre-activation.
        saves_input = layer.activation.saves == "input"
        self.z = empty(shape, dtype) if saves_input else self.y
        self.saved = self.z if saves_input else self.y
        self.dx: Array | None = None
