"""ThreeLayerConvNet with the interface of CS231n."""

import numpy as np

from .fc_net import add_penalty
from .layer_utils import (
    affine_relu_backward,
    affine_relu_forward,
    conv_relu_pool_backward,
    conv_relu_pool_forward,
)
from .layers import affine_backward, affine_forward, softmax_loss


class ThreeLayerConvNet:
    """conv - relu - 2 x 2 max-pool - affine - relu - affine - softmax, on (N, C, H, W).

    Parameters
    ----------
    input_dim : tuple (C, H, W), default=(3, 32, 32)
        H and W even.
    num_filters : int, default=32
    filter_size : int, default=7
        An odd number; the images are padded so that the convolution keeps their size.
    hidden_dim, num_classes : int
        100 and 10 by default.
    weight_scale : float, default=1e-3
        Standard deviation of the initial weights. numpy's global generator draws them.
    reg : float, default=0.0
        The penalty is ``0.5 * reg * sum(W**2)`` over the weights, without biases.
    dtype : dtype, default=numpy.float32

    Attributes
    ----------
    params : dict
        "W1" (F, C, filter_size, filter_size), "W2" (F * H/2 * W/2, hidden_dim), "W3", and "b1" to
        "b3".
    """

    def __init__(
        self,
        input_dim=(3, 32, 32),
        num_filters=32,
        filter_size=7,
        hidden_dim=100,
        num_classes=10,
        weight_scale=1e-3,
        reg=0.0,
        dtype=np.float32,
    ):
        channels, height, width = input_dim
        self.reg = reg
        self.dtype = dtype
        shapes = {
            "W1": (num_filters, channels, filter_size, filter_size),
            "b1": num_filters,
            "W2": (num_filters * (height // 2) * (width // 2), hidden_dim),
            "b2": hidden_dim,
            "W3": (hidden_dim, num_classes),
            "b3": num_classes,
        }
        self.params = {
            name: (
                np.random.normal(0, weight_scale, shape) if name[0] == "W" else np.zeros(shape)
            ).astype(dtype)
            for name, shape in shapes.items()
        }

    def loss(self, X, y=None):
        """Return the loss and its gradients, or without labels the scores; see TwoLayerNet.loss."""
        params = self.params
        conv_param = {"stride": 1, "pad": (params["W1"].shape[2] - 1) // 2}
        pool_param = {"pool_height": 2, "pool_width": 2, "stride": 2}
        x = np.asarray(X, self.dtype)
        out, cache1 = conv_relu_pool_forward(x, params["W1"], params["b1"], conv_param, pool_param)
        out, cache2 = affine_relu_forward(out, params["W2"], params["b2"])
        scores, cache3 = affine_forward(out, params["W3"], params["b3"])
        if y is None:
            return scores
        loss, dout = softmax_loss(scores, y)
        grads = {}
        dout, grads["W3"], grads["b3"] = affine_backward(dout, cache3)
        dout, grads["W2"], grads["b2"] = affine_relu_backward(dout, cache2)
        _, grads["W1"], grads["b1"] = conv_relu_pool_backward(dout, cache1)
        return loss + add_penalty(params, grads, self.reg), grads
