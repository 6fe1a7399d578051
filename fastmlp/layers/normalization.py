"""Layers that normalize to mean 0 and variance 1, over the batch or within each sample."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from fastmlp import _checks
from fastmlp._arrays import empty
from fastmlp._types import Array, DType, Shape
from fastmlp.layers.base import GradientSink, Layer, Training
from fastmlp.parameter import Parameter

__all__ = ["BatchNorm", "LayerNorm"]


def _zeros(shape: Shape, fan_in: int, fan_out: int, seed: int, index: int) -> Array:
    return np.zeros(shape)


def _ones(shape: Shape, fan_in: int, fan_out: int, seed: int, index: int) -> Array:
    return np.ones(shape)


class BatchNorm(Layer):
    """Normalize each feature over the batch, then scale and shift it.

    ``y = gamma * (x - mean) / sqrt(variance + epsilon) + beta``

    Training uses the mean and variance of the batch over all axes but the last: per feature of
    (N, F), and per channel of images (N, H, W, C). Prediction and evaluation use running
    statistics, which each training step moves a little toward the statistics of its batch.

    Parameters
    ----------
    momentum : float, default=0.9
        Weight of the previous running statistics, at least 0 and below 1:
        ``running = momentum * running + (1 - momentum) * batch``.
    epsilon : float, default=1e-5
        Added to the variance, above 0 and finite.
    trainable, learning_rate_multiplier
        Training settings of ``gamma`` and ``beta``; see ``Layer``.

    Attributes
    ----------
    gamma, beta : Parameter
        Scale and shift, of shape (F,), initially 1 and 0. Set once the layer is part of a network.
    running_mean, running_variance : Parameter
        Running statistics, of shape (F,), initially 0 and 1. They are buffers: ``model.buffers``
        and model files contain them. Set once the layer is part of a network.

    Raises
    ------
    ValueError
        If a number is out of range. Training raises it if a batch has a single value per feature,
        which has no variance: one sample of shape (F,), for example in the shorter last batch of an
        epoch. Choose another ``batch_size`` or leave out the sample.
    TypeError
        If an argument is not a number.

    Notes
    -----
    The results match PyTorch, but ``momentum`` follows Keras: PyTorch's ``momentum=0.1`` is 0.9
    here. A batch of m values is normalized with the biased variance (divided by m), and the running
    variance takes the unbiased one (divided by m - 1). Keras uses the biased variance for both, and
    its defaults are 0.99 and 1e-3. Sums are in float64.

    With ``trainable=False``, gamma and beta do not change. As in PyTorch, training still normalizes
    with the statistics of the batch and still moves the running statistics.

    In prediction the layer is a scale and a shift, which are folded into the weights of a linear
    layer directly before it. Between ``Dense(units)`` and ``Activation("relu")`` it therefore costs
    nothing in prediction. Because ``beta`` replaces the bias, use ``Dense(units, use_bias=False)``.

    References
    ----------
    Ioffe and Szegedy, Batch normalization: accelerating deep network training by reducing internal
    covariate shift, 2015.

    Examples
    --------
    >>> import fastmlp as fm
    >>> layers = [fm.Dense(8), fm.BatchNorm(), fm.Activation("relu"), fm.Dense(3)]
    >>> model = fm.Sequential(layers, input_shape=4)
    >>> list(model.buffers)
    ['batchnorm_0.running_mean', 'batchnorm_0.running_variance']
    """

    def __init__(
        self,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        *,
        trainable: bool = True,
        learning_rate_multiplier: float = 1.0,
    ) -> None:
        super().__init__(trainable=trainable, learning_rate_multiplier=learning_rate_multiplier)
        self.momentum = _checks.number(momentum, "momentum", minimum=0.0, below=1.0)
        self.epsilon = _checks.positive(epsilon, "epsilon")

    def build(self, input_shape: Shape) -> Shape:
        """Declare ``gamma``, ``beta`` and the running statistics, one value per feature."""
        shape = input_shape[-1:]
        self.gamma = Parameter("gamma", shape, _ones, *shape, *shape)
        self.beta = Parameter("beta", shape, _zeros, *shape, *shape)
        self.running_mean = Parameter("running_mean", shape, _zeros, *shape, *shape)
        self.running_variance = Parameter(
            "running_variance", shape, _ones, *shape, *shape, minimum=0.0
        )
        self.parameters = [self.gamma, self.beta]
        self.buffers = [self.running_mean, self.running_variance]
        self.smallest_batch = 2 if all(size == 1 for size in input_shape[:-1]) else 1
        return input_shape

    def workspace(self, n: int, dtype: DType) -> _Workspace:
        """Return the buffers for a batch of ``n`` samples in prediction."""
        return _Workspace((n, *(self.output_shape or ())), dtype)

    def training_workspace(self, n: int, dtype: DType, training: Training) -> _Workspace:
        """Return the buffers for a batch of ``n`` samples in training."""
        return _Workspace((n, *(self.output_shape or ())), dtype, training)

    def forward(self, ops: ModuleType, x: Array, workspace: _Workspace) -> Array:
        """Normalize ``x`` by batch statistics in training, by running statistics in prediction."""
        gamma, beta = self.gamma.value, self.beta.value
        y: Array = workspace.y
        if workspace.training is None:
            mean, variance = self.running_mean.value, self.running_variance.value
            ops.batch_norm_inference(x, gamma, beta, mean, variance, epsilon=self.epsilon, out=y)
            return y
        workspace.x = x
        _, workspace.mean, workspace.variance = ops.batch_norm(
            x, gamma, beta, epsilon=self.epsilon, out=y
        )
        return y

    def backward(
        self,
        ops: ModuleType,
        dy: Array,
        workspace: _Workspace,
        sink: GradientSink,
        need_dx: bool,
    ) -> Array | None:
        """Return the input gradient, and update the running statistics."""
        mean, variance = workspace.mean, workspace.variance
        dx, dgamma, dbeta = ops.batch_norm_backward(
            dy, workspace.x, self.gamma.value, mean, variance, epsilon=self.epsilon, out=dy
        )
        sink.array(self.gamma, dgamma)
        sink.array(self.beta, dbeta)
        if workspace.training is not None and workspace.training.updates:
            count = dy.size // len(mean)
            self._move(self.running_mean, mean)
            self._move(self.running_variance, variance * (count / (count - 1)))
        result: Array = dx
        return result

    def _move(self, running: Parameter, new: Array) -> None:
        old = running.value.astype(np.float64)
        running.write(self.momentum * old + (1 - self.momentum) * new)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"momentum": self.momentum, "epsilon": self.epsilon}


class LayerNorm(Layer):
    """Normalize each sample over its last axis, then scale and shift it.

    ``y = gamma * (x - mean) / sqrt(variance + epsilon) + beta``

    Mean and variance are computed over the F values along the last axis of a sample, so training
    and prediction are the same, for any batch size.

    Parameters
    ----------
    epsilon : float, default=1e-5
        Added to the variance, above 0 and finite.
    trainable, learning_rate_multiplier
        Training settings of ``gamma`` and ``beta``; see ``Layer``.

    Attributes
    ----------
    gamma, beta : Parameter
        Scale and shift, of shape (F,), initially 1 and 0. Set once the layer is part of a network.

    Raises
    ------
    ValueError
        If ``epsilon`` is out of range.
    TypeError
        If ``epsilon`` is not a number.

    Notes
    -----
    The default ``epsilon`` is PyTorch's; the default of Keras is 1e-3. Sums are in float64.

    References
    ----------
    Ba, Kiros and Hinton, Layer normalization, 2016.

    Examples
    --------
    >>> import fastmlp as fm
    >>> layers = [fm.Dense(8), fm.LayerNorm(), fm.Activation("relu"), fm.Dense(3)]
    >>> fm.Sequential(layers, input_shape=4).layers[1].gamma.shape
    (8,)
    """

    def __init__(
        self,
        epsilon: float = 1e-5,
        *,
        trainable: bool = True,
        learning_rate_multiplier: float = 1.0,
    ) -> None:
        super().__init__(trainable=trainable, learning_rate_multiplier=learning_rate_multiplier)
        self.epsilon = _checks.positive(epsilon, "epsilon")

    def build(self, input_shape: Shape) -> Shape:
        """Declare ``gamma`` and ``beta``, one value per feature."""
        shape = input_shape[-1:]
        self.gamma = Parameter("gamma", shape, _ones, *shape, *shape)
        self.beta = Parameter("beta", shape, _zeros, *shape, *shape)
        self.parameters = [self.gamma, self.beta]
        return input_shape

    def workspace(self, n: int, dtype: DType) -> _Workspace:
        """Return the buffers for a batch of ``n`` samples."""
        return _Workspace((n, *(self.output_shape or ())), dtype)

    def forward(self, ops: ModuleType, x: Array, workspace: _Workspace) -> Array:
        """Return ``x`` with each sample normalized over its last axis."""
        workspace.x = x
        gamma, beta = self.gamma.value, self.beta.value
        y: Array = ops.layer_norm(x, gamma, beta, epsilon=self.epsilon, out=workspace.y)
        return y

    def backward(
        self,
        ops: ModuleType,
        dy: Array,
        workspace: _Workspace,
        sink: GradientSink,
        need_dx: bool,
    ) -> Array | None:
        """Return the input gradient; pass the gradients of the parameters to ``sink``."""
        dx, dgamma, dbeta = ops.layer_norm_backward(
            dy, workspace.x, self.gamma.value, epsilon=self.epsilon, out=dy
        )
        sink.array(self.gamma, dgamma)
        sink.array(self.beta, dbeta)
        result: Array = dx
        return result

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"epsilon": self.epsilon}


class _Workspace:
    """Buffers and saved inputs of a normalization for one batch."""

    __slots__ = ("mean", "training", "variance", "x", "y")

    x: Array
    mean: Array
    variance: Array

    def __init__(self, shape: Shape, dtype: DType, training: Training | None = None) -> None:
        self.y = empty(shape, dtype)
        self.training = training
