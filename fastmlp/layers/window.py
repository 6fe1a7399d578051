"""The positions of a window over an image, for convolutions and pooling."""

from __future__ import annotations

from dataclasses import dataclass

from fastmlp import _checks
from fastmlp._types import Pair, Shape
from fastmlp._windows import places

__all__ = ["Window"]


@dataclass(frozen=True)
class Window:
    """Sizes, strides and padding of a window over images of one shape.

    Attributes
    ----------
    height, width, channels : int
        Size of the input images.
    kernel_height, kernel_width : int
        Size of the window.
    stride_y, stride_x : int
        Steps between positions of the window.
    pad_top, pad_bottom, pad_left, pad_right : int
        Rows and columns of zeros around the image.
    out_height, out_width : int
        Number of positions in each direction, which is the size of the output.
    """

    height: int
    width: int
    channels: int
    kernel_height: int
    kernel_width: int
    stride_y: int
    stride_x: int
    pad_top: int
    pad_bottom: int
    pad_left: int
    pad_right: int
    out_height: int
    out_width: int

    @classmethod
    def of(
        cls,
        input_shape: Shape,
        size: Pair,
        strides: Pair = 1,
        padding: str = "valid",
        *,
        layer: str = "Window",
        argument: str = "kernel_size",
    ) -> Window:
        """Return the window of a layer over samples of ``input_shape``.

        Parameters
        ----------
        input_shape : tuple of int
            (height, width, channels).
        size, strides : int or (int, int)
            Size of the window and steps between its positions, (y, x), at least 1.
        padding : {"valid", "same"}, default="valid"
            As in ``fastmlp.reference.conv2d``.
        layer, argument : str
            Name of the layer, and the name it gives to ``size``, for error messages.

        Raises
        ------
        ValueError
            If a sample is not an image, a number is less than 1, the padding is unknown, or the
            window is larger than the image.
        TypeError
            If a number is not an integer.
        """
        kernel = _checks.sizes(size, argument)
        steps = _checks.sizes(strides, "strides")
        _checks.lookup(padding, dict.fromkeys(("valid", "same")), "padding")
        if len(input_shape) != 3:
            raise ValueError(
                f"{layer}: a sample must be an image (height, width, channels), got shape "
                f"{input_shape}."
            )
        height, width, _ = input_shape
        if padding == "valid" and (kernel[0] > height or kernel[1] > width):
            raise ValueError(
                f"{layer}: {argument} must be at most the size of the image, ({height}, {width}), "
                f"got {kernel}."
            )
        out_height, top, bottom = places(height, kernel[0], steps[0], padding)
        out_width, left, right = places(width, kernel[1], steps[1], padding)
        padded = top, bottom, left, right
        return cls(*input_shape, *kernel, *steps, *padded, out_height, out_width)
