"""Convolution and pooling in pure numpy, forward and backward, with buffers allocated once.

Images have shape (channels, batch, height, width) here. Every row of the matrix of patches
therefore consists of runs as long as an image row, and one product with the matrix gives an image
in the same layout.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from frameworks.workloads import Conv, Pool, Shape, Workload

Array = np.ndarray


class Convolution:
    """A convolution as one product with the matrix of patches, and its activation."""

    def __init__(
        self,
        stage: Conv,
        shape: Shape,
        rows: int,
        weights: tuple[Array, Array],
        activations: tuple[Callable[..., None], Callable[..., None]],
    ) -> None:
        height, width, channels = shape
        size, pad = stage.size, stage.size // 2 if stage.same else 0
        out_height, out_width, filters = stage.output(shape)
        weight, bias = weights
        # (filters, channels * size * size), the layout for the product
        self.weight = np.ascontiguousarray(weight.transpose(3, 2, 0, 1).reshape(filters, -1))
        self.bias = bias.reshape(-1, 1)
        self.activate, self.derive = activations
        inside = np.s_[:, :, pad : pad + height, pad : pad + width]
        padded = (channels, rows, height + 2 * pad, width + 2 * pad)
        # The zeros around x are written only here.
        self.padded, self.d_padded = (np.zeros(padded, np.float32) for _ in range(2))
        self.x, self.dx = self.padded[inside], self.d_padded[inside]
        patches = (channels, size, size, rows, out_height, out_width)
        self.patches, self.d_patches = (np.empty(patches, np.float32) for _ in range(2))
        self.places = [
            (i, j, np.s_[:, :, i : i + out_height, j : j + out_width])
            for i in range(size)
            for j in range(size)
        ]
        self.y, self.dy = (
            np.zeros((filters, rows, out_height, out_width), np.float32) for _ in range(2)
        )
        self.zeros = np.zeros((filters, rows * out_height * out_width), np.float32)
        self.mask = np.empty(self.zeros.shape, bool)
        self.ones = np.ones((self.zeros.shape[1], 1), np.float32)
        self.d_weight, self.d_bias = np.empty_like(self.weight), np.empty_like(self.bias)

    def forward(self) -> None:
        for i, j, place in self.places:
            np.copyto(self.patches[:, i, j], self.padded[place])
        y = self.y.reshape(self.zeros.shape)
        np.matmul(self.weight, self.patches.reshape(self.weight.shape[1], -1), out=y)
        y += self.bias
        self.activate(y, self.zeros)

    def backward(self, need_dx: bool) -> None:
        """Compute ``dx`` from ``dy``, and subtract the gradients."""
        dz, patches = self.dy.reshape(self.zeros.shape), self.patches
        self.derive(dz, self.y.reshape(dz.shape), self.mask)
        np.matmul(dz, patches.reshape(self.weight.shape[1], -1).T, out=self.d_weight)
        np.matmul(dz, self.ones, out=self.d_bias)
        if need_dx:
            d_patches = self.d_patches
            np.matmul(self.weight.T, dz, out=d_patches.reshape(self.weight.shape[1], -1))
            self.d_padded.fill(0)
            for i, j, place in self.places:
                self.d_padded[place] += d_patches[:, i, j]
        self.weight -= self.d_weight
        self.bias -= self.d_bias


class Pooling:
    """The maximum of every window.

    If several elements are the maximum, each of them gets the gradient. After relu these are zeros,
    where the gradient ends.
    """

    def __init__(self, stage: Pool, shape: Shape, rows: int) -> None:
        height, width, channels = shape
        out_height, out_width, _ = stage.output(shape)
        step = stage.strides
        self.x, self.dx = (np.zeros((channels, rows, height, width), np.float32) for _ in range(2))
        self.y, self.dy, self.part = (
            np.empty((channels, rows, out_height, out_width), np.float32) for _ in range(3)
        )
        self.mask = np.empty(self.y.shape, bool)
        self.overlap = stage.size > step
        self.places = [
            np.s_[:, :, i : i + step * out_height : step, j : j + step * out_width : step]
            for i in range(stage.size)
            for j in range(stage.size)
        ]

    def forward(self) -> None:
        first, *others = self.places
        np.copyto(self.y, self.x[first])
        for place in others:
            np.maximum(self.y, self.x[place], out=self.y)

    def backward(self, need_dx: bool) -> None:
        if self.overlap:
            self.dx.fill(0)
        for place in self.places:
            np.equal(self.x[place], self.y, out=self.mask)
            if self.overlap:
                self.dx[place] += np.multiply(self.dy, self.mask, out=self.part)
            else:
                np.multiply(self.dy, self.mask, out=self.dx[place])


class Front:
    """The stages of a network before its dense layers, for batches of one size.

    Convolutions are followed by poolings, not by each other.
    """

    def __init__(
        self,
        workload: Workload,
        rows: int,
        weights: list[tuple[Array, Array]],
        activations: tuple[Callable[..., None], Callable[..., None]],
    ) -> None:
        given = iter(weights)
        self.stages: list[Convolution | Pooling] = [
            Convolution(stage, shape, rows, next(given), activations)
            if isinstance(stage, Conv)
            else Pooling(stage, shape, rows)
            for stage, shape in zip(workload.stages, workload.shapes, strict=False)
        ]
        # Each stage writes to the input of the next stage, with or without zeros around it.
        for stage, after in zip(self.stages[:-1], self.stages[1:], strict=True):
            if isinstance(stage, Pooling):
                stage.y, stage.dy = after.x, after.dx
            else:
                after.x, after.dx = stage.y, stage.dy
        self.flat = np.empty((rows, *workload.shapes[-1]), np.float32)

    def forward(self, x: Array) -> Array:
        """Return the last image of all samples ``x`` (N, H, W, C), flattened."""
        np.copyto(self.stages[0].x, x.transpose(3, 0, 1, 2))
        for stage in self.stages:
            stage.forward()
        np.copyto(self.flat, self.stages[-1].y.transpose(1, 2, 3, 0))
        return self.flat.reshape(len(x), -1)

    def backward(self, dy: Array) -> None:
        """Subtract all gradients."""
        np.copyto(self.stages[-1].dy, dy.reshape(self.flat.shape).transpose(3, 0, 1, 2))
        for i in range(len(self.stages) - 1, -1, -1):
            self.stages[i].backward(i > 0)
