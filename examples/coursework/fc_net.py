"""Fully connected networks with the interface of CS231n: TwoLayerNet and FullyConnectedNet."""

import numpy as np

from fastmlp import kernels

from .layer_utils import (
    affine_bn_relu_backward,
    affine_bn_relu_forward,
    affine_ln_relu_backward,
    affine_ln_relu_forward,
    affine_relu_backward,
    affine_relu_forward,
)
from .layers import (
    affine_backward,
    affine_forward,
    dropout_backward,
    dropout_forward,
    softmax_loss,
)


class TwoLayerNet:
    """affine - relu - affine - softmax.

    Parameters
    ----------
    input_dim, hidden_dim, num_classes : int
        Sizes: 3 * 32 * 32, 100 and 10 by default.
    weight_scale : float, default=1e-3
        Standard deviation of the initial weights, drawn by numpy's global generator; biases are 0.
    reg : float, default=0.0
        The penalty is ``0.5 * reg * sum(W**2)`` over the weights, without biases.

    Attributes
    ----------
    params : dict
        "W1" (D, H), "b1" (H,), "W2" (H, C) and "b2" (C,).
    """

    def __init__(
        self, input_dim=3 * 32 * 32, hidden_dim=100, num_classes=10, weight_scale=1e-3, reg=0.0
    ):
        self.reg = reg
        self.params = {
            "W1": np.random.normal(0, weight_scale, (input_dim, hidden_dim)),
            "b1": np.zeros(hidden_dim),
            "W2": np.random.normal(0, weight_scale, (hidden_dim, num_classes)),
            "b2": np.zeros(num_classes),
        }

    def loss(self, X, y=None):
        """Return the loss and its gradients, or without labels the scores.

        Parameters
        ----------
        X : array of shape (N, d_1, ..., d_k)
        y : array of shape (N,), optional
            Class numbers.

        Returns
        -------
        scores : array of shape (N, C), if y is None
        loss, grads : float and dict of the shapes and names of ``params``, otherwise
        """
        params = self.params
        hidden, cache1 = affine_relu_forward(X, params["W1"], params["b1"])
        scores, cache2 = affine_forward(hidden, params["W2"], params["b2"])
        if y is None:
            return scores
        loss, dscores = softmax_loss(scores, y)
        grads = {}
        dhidden, grads["W2"], grads["b2"] = affine_backward(dscores, cache2)
        _, grads["W1"], grads["b1"] = affine_relu_backward(dhidden, cache1)
        return loss + add_penalty(params, grads, self.reg), grads


class FullyConnectedNet:
    """{affine - [batch or layer norm] - relu - [dropout]} x (L - 1) - affine - softmax.

    Parameters
    ----------
    hidden_dims : list of int
        Units of the hidden layers.
    input_dim, num_classes : int
        3 * 32 * 32 and 10 by default.
    dropout_keep_ratio : float, default=1
        Probability of keeping a unit; 1 means no dropout.
    normalization : {None, "batchnorm", "layernorm"}, default=None
    reg : float, default=0.0
        The penalty is ``0.5 * reg * sum(W**2)`` over the weights, without biases.
    weight_scale : float, default=1e-2
        Standard deviation of the initial weights. numpy's global generator draws them.
    dtype : dtype, default=numpy.float32
        Type of the parameters, to which samples are converted. Use float64 for gradient checks.
    seed : int, default=None
        Seed of dropout. It makes all masks equal, as a gradient check requires.

    Attributes
    ----------
    params : dict
        "W1", "b1", ..., and with normalisation "gamma1", "beta1", ... for the hidden layers.
    """

    def __init__(
        self,
        hidden_dims,
        input_dim=3 * 32 * 32,
        num_classes=10,
        dropout_keep_ratio=1,
        normalization=None,
        reg=0.0,
        weight_scale=1e-2,
        dtype=np.float32,
        seed=None,
    ):
        if normalization not in (None, "batchnorm", "layernorm"):
            raise ValueError(
                f'normalization must be None, "batchnorm" or "layernorm", got {normalization!r}.'
            )
        self.normalization = normalization
        self.use_dropout = dropout_keep_ratio != 1
        self.reg = reg
        self.num_layers = 1 + len(hidden_dims)
        self.dtype = dtype
        self.params = {}
        sizes = [input_dim, *hidden_dims, num_classes]
        for number in range(1, self.num_layers + 1):
            shape = sizes[number - 1], sizes[number]
            self.params[f"W{number}"] = np.random.normal(0, weight_scale, shape)
            self.params[f"b{number}"] = np.zeros(shape[1])
            if normalization and number < self.num_layers:
                self.params[f"gamma{number}"] = np.ones(shape[1])
                self.params[f"beta{number}"] = np.zeros(shape[1])
        self.params = {name: value.astype(dtype) for name, value in self.params.items()}
        self.dropout_param = {"mode": "train", "p": dropout_keep_ratio} if self.use_dropout else {}
        if self.use_dropout and seed is not None:
            self.dropout_param["seed"] = seed
        # The mode and the running statistics of batchnorm; layernorm has neither.
        norm = {"batchnorm": {"mode": "train"}, "layernorm": {}}.get(normalization, {})
        self.bn_params = [dict(norm) for _ in hidden_dims] if normalization else []

    def loss(self, X, y=None):
        """Return the loss and its gradients, or without labels the scores; see TwoLayerNet.loss.

        With labels, dropout and batchnorm are in training mode; without labels, in test mode.
        """
        mode = "test" if y is None else "train"
        for param in (self.dropout_param, *self.bn_params):
            if "mode" in param:
                param["mode"] = mode
        out = np.asarray(X, self.dtype)
        caches = []
        for number in range(1, self.num_layers):
            out, cache = self._hidden_forward(out, number)
            caches.append(cache)
        last = self.num_layers
        scores, cache = affine_forward(out, self.params[f"W{last}"], self.params[f"b{last}"])
        if y is None:
            return scores
        loss, dout = softmax_loss(scores, y)
        grads = {}
        dout, grads[f"W{last}"], grads[f"b{last}"] = affine_backward(dout, cache)
        for number in range(last - 1, 0, -1):
            dout = self._hidden_backward(dout, caches[number - 1], number, grads)
        return loss + add_penalty(self.params, grads, self.reg), grads

    def _hidden_forward(self, x, number):
        weights = [self.params[f"{name}{number}"] for name in self._names()]
        if self.normalization == "batchnorm":
            out, cache = affine_bn_relu_forward(x, *weights, self.bn_params[number - 1])
        elif self.normalization == "layernorm":
            out, cache = affine_ln_relu_forward(x, *weights, self.bn_params[number - 1])
        else:
            out, cache = affine_relu_forward(x, *weights)
        if not self.use_dropout:
            return out, (cache, None)
        out, dropout = dropout_forward(out, self.dropout_param)
        return out, (cache, dropout)

    def _hidden_backward(self, dout, caches, number, grads):
        cache, dropout = caches
        if dropout is not None:
            dout = dropout_backward(dout, dropout)
        backward = {
            None: affine_relu_backward,
            "batchnorm": affine_bn_relu_backward,
            "layernorm": affine_ln_relu_backward,
        }[self.normalization]
        dx, *found = backward(dout, cache)
        for name, gradient in zip(self._names(), found, strict=True):
            grads[f"{name}{number}"] = gradient
        return dx

    def _names(self):
        return ("W", "b", "gamma", "beta") if self.normalization else ("W", "b")


def add_penalty(params, grads, reg):
    """Return ``0.5 * reg * sum(W**2)`` over all weights; add its gradient to their gradients."""
    penalty = 0.0
    for name in params:
        if reg and name.startswith("W"):
            penalty += kernels.weight_penalty(params[name], l2=0.5 * reg)
            kernels.weight_penalty_backward(grads[name], params[name], l2=0.5 * reg)
    return penalty
