"""Pooling layers: each window of an image becomes one pixel, separately for each channel."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from fastmlp import _checks
from fastmlp._arrays import empty
from fastmlp._types import Array, DType, Pair, Shape
from fastmlp.layers.base import GradientSink, Layer
from fastmlp.layers.window import Window

__all__ = ["AvgPool2D", "GlobalAvgPool2D", "MaxPool2D"]


class _Windowed(Layer):
    """Base class of the pooling layers."""

    takes_images = True

    window: Window

    def workspace(self, n: int, dtype: DType) -> _Workspace:
        """Return the buffers for a batch of ``n`` samples."""
        return _Workspace((n, *(self.input_shape or ())), (n, *(self.output_shape or ())), dtype)


class _Pool(_Windowed):
    """Base class of pooling layers with a window size and strides."""

    def __init__(
        self,
        pool_size: Pair = 2,
        strides: Pair | None = None,
    ) -> None:
        super().__init__()
        self.pool_size = _checks.sizes(pool_size, "pool_size")
        self.strides = self.pool_size if strides is None else _checks.sizes(strides, "strides")

    def build(self, input_shape: Shape) -> Shape:
        """Return the shape of the pooled image."""
        name = self.name or type(self).__name__
        self.window = window = Window.of(
            input_shape, self.pool_size, self.strides, layer=name, argument="pool_size"
        )
        return (window.out_height, window.out_width, window.channels)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"pool_size": list(self.pool_size), "strides": list(self.strides)}

    def __repr__(self) -> str:
        text = _checks.short_sizes(self.pool_size)
        if self.strides != self.pool_size:
            text += f", strides={_checks.short_sizes(self.strides)}"
        return f"{type(self).__name__}({text})"


class MaxPool2D(_Pool):
    """Take the maximum of each window, (N, H, W, C) -> (N, OH, OW, C).

    Parameters
    ----------
    pool_size : int or (int, int), default=2
        Height and width of the window, at least 1.
    strides : int or (int, int), default=None
        Steps between windows, (y, x), at least 1; None means ``pool_size``. Windows that extend
        past the border are left out: OH = (H - height) // sy + 1.

    Attributes
    ----------
    window : Window
        Sizes and strides. Set once the layer is part of a network.

    Raises
    ------
    ValueError
        If a number is less than 1.
    TypeError
        If a number is not an integer.

    Notes
    -----
    The gradient of a window goes to the maximum; if several elements are equal, to the first of
    them in row-major order.
    A training step stores the position of each maximum, in one byte for windows of up to 256
    elements.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.Sequential([fm.MaxPool2D(2)], input_shape=(28, 28, 3)).output_shape
    (14, 14, 3)
    """

    def forward(self, ops: ModuleType, x: Array, workspace: _Workspace) -> Array:
        """Return the maximum of each window."""
        y: Array
        y, workspace.index = ops.max_pool2d(
            x, self.pool_size, strides=self.strides, out=workspace.y
        )
        return y

    def backward(
        self, ops: ModuleType, dy: Array, workspace: _Workspace, sink: GradientSink, need_dx: bool
    ) -> Array | None:
        """Return the gradient with respect to the input."""
        if not need_dx:
            return None
        size = self.window.height, self.window.width
        dx: Array = ops.max_pool2d_backward(
            dy, workspace.index, size, self.pool_size, strides=self.strides, out=workspace.dx
        )
        return dx

    def active_pieces(self, workspace: _Workspace) -> Array | None:
        """Return the position of each maximum: when it changes, the derivative jumps."""
        return workspace.index


class AvgPool2D(_Pool):
    """Take the mean of each window, (N, H, W, C) -> (N, OH, OW, C).

    Parameters
    ----------
    pool_size : int or (int, int), default=2
        Height and width of the window, at least 1.
    strides : int or (int, int), default=None
        Steps between windows, (y, x), at least 1; None means ``pool_size``. Windows that extend
        past the border are left out: OH = (H - height) // sy + 1.

    Attributes
    ----------
    window : Window
        Sizes and strides. Set once the layer is part of a network.

    Raises
    ------
    ValueError
        If a number is less than 1.
    TypeError
        If a number is not an integer.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.Sequential([fm.AvgPool2D(3, strides=2)], input_shape=(28, 28, 3)).output_shape
    (13, 13, 3)
    """

    def forward(self, ops: ModuleType, x: Array, workspace: _Workspace) -> Array:
        """Return the mean of each window."""
        y: Array = ops.avg_pool2d(x, self.pool_size, strides=self.strides, out=workspace.y)
        return y

    def backward(
        self, ops: ModuleType, dy: Array, workspace: _Workspace, sink: GradientSink, need_dx: bool
    ) -> Array | None:
        """Return the gradient with respect to the input."""
        if not need_dx:
            return None
        size = self.window.height, self.window.width
        dx: Array = ops.avg_pool2d_backward(
            dy, size, self.pool_size, strides=self.strides, out=workspace.dx
        )
        return dx


class GlobalAvgPool2D(_Windowed):
    """Take the mean of each channel over the whole image, (N, H, W, C) -> (N, C).

    If it replaces Flatten, the dense layer after it needs one weight per channel and output.

    Attributes
    ----------
    window : Window
        A window of the size of the image. Set once the layer is part of a network.

    References
    ----------
    Lin, Chen and Yan, Network in network, 2014, section 3.2.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.Sequential([fm.GlobalAvgPool2D()], input_shape=(7, 7, 64)).output_shape
    (64,)
    """

    def build(self, input_shape: Shape) -> Shape:
        """Return the output shape, (channels,)."""
        size = (input_shape[0], input_shape[1]) if len(input_shape) == 3 else 1
        self.window = Window.of(input_shape, size, layer=self.name or "GlobalAvgPool2D")
        return (self.window.channels,)

    def forward(self, ops: ModuleType, x: Array, workspace: _Workspace) -> Array:
        """Return the mean of each channel."""
        y: Array = ops.global_avg_pool2d(x, out=workspace.y)
        return y

    def backward(
        self, ops: ModuleType, dy: Array, workspace: _Workspace, sink: GradientSink, need_dx: bool
    ) -> Array | None:
        """Return the gradient with respect to the input."""
        if not need_dx:
            return None
        size = self.window.height, self.window.width
        dx: Array = ops.global_avg_pool2d_backward(dy, size, out=workspace.dx)
        return dx


class _Workspace:
    """Buffers and saved positions of a pooling layer for one batch."""

    __slots__ = ("_dtype", "_dx", "_shape", "index", "y")

    index: Array

    def __init__(self, input_shape: Shape, output_shape: Shape, dtype: DType) -> None:
        self.y = empty(output_shape, dtype)
        self._shape, self._dtype = input_shape, dtype
        self._dx: Array | None = None

    @property
    def dx(self) -> Array:
        """The buffer of the input gradient, allocated on first use."""
        if self._dx is None:
            self._dx = empty(self._shape, self._dtype)
        return self._dx
